// What is around products of warpgroups: sm_90a only.

// A matrix in shared memory, of rows of 128 bytes swizzled, eight rows together, as a descriptor says it.
__device__ __forceinline__ u64 swizzled_matrix(u32 address) {
    return (u64)(address >> 4) | 1ull << 16 | 64ull << 32 | 1ull << 62;
}

__device__ __forceinline__ void begin_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

// Wait for the products that were begun.
__device__ __forceinline__ void finish_products() {
    asm volatile("wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;" ::: "memory");
}

// What this thread wrote to shared memory can be read by products after the next barrier.
__device__ __forceinline__ void show_to_products() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
