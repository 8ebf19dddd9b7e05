// What is around products of warpgroups (`wgmma`, whose text `wgmma.py` makes): sm_90a only.

#include "machine/words.cuh"

// Where a matrix lies in shared memory, as its descriptor says it.
__device__ __forceinline__ u32 matrix_place(u32 address) { return address >> 4; }

#define FIRST_BIT (1u << 16) // of every descriptor, within the word of its place

// The descriptor of a matrix, K within rows of 128 bytes (SWIZZLE 1) or 64 bytes (2), eight rows together, at a place with FIRST_BIT
// in it.
template <int SWIZZLE>
__device__ __forceinline__ u64 placed(u32 place) {
    return (u64)((SWIZZLE == 1 ? 1024 : 512) >> 4 | (u32)SWIZZLE << 30) << 32 | place;
}

template <int SWIZZLE>
__device__ __forceinline__ u64 matrix_at(u32 address) {
    return placed<SWIZZLE>(matrix_place(address) | FIRST_BIT);
}

// What all lanes of a warp have, so that the compiler knows it: descriptors made of it are worked out once for the warp, not for
// each lane and then moved, which takes longer than a small product.
__device__ __forceinline__ u32 same(u32 v) { return __shfl_sync(~0u, v, 0); }

// What is done to registers of products before this is done before, and what after it after: the compiler does not know that
// `wgmma` reads and writes them until it is waited for.
template <int COUNT>
__device__ __forceinline__ void settle(float (&values)[COUNT]) {
#pragma unroll
    for (int i = 0; i < COUNT; ++i) asm volatile("" : "+f"(values[i])::"memory");
}

template <int COUNT>
__device__ __forceinline__ void settle(u32 (&values)[COUNT]) {
#pragma unroll
    for (int i = 0; i < COUNT; ++i) asm volatile("" : "+r"(values[i])::"memory");
}

__device__ __forceinline__ void begin_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

__device__ __forceinline__ void end_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// Wait until at most so many groups of products are unfinished.
template <int LEFT>
__device__ __forceinline__ void wait_for_products() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(LEFT) : "memory");
}

// What this thread wrote to shared memory can be read by products after the next barrier.
__device__ __forceinline__ void show_to_products() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
