// Barriers in shared memory, 8 bytes each (`mbarrier`), and rings of places that they guard.

#include "machine/words.cuh"

// A barrier that so many must arrive at.
template <int ARRIVALS>
__device__ __forceinline__ void make_barrier(u32 barrier) {
    asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(barrier), "n"(ARRIVALS) : "memory");
}

// Wait for the end of a round of the barrier: of those with an even number (PARITY 0) or an odd one.
__device__ __forceinline__ void wait_for(u32 barrier, u32 parity) {
    asm volatile(
        "{\n.reg .pred done;\nAGAIN:\n"
#if __CUDA_ARCH__ >= 900
        "mbarrier.try_wait.parity.shared.b64 done, [%0], %1;\n"
#else
        "mbarrier.test_wait.parity.shared.b64 done, [%0], %1;\n"
#endif
        "@!done bra AGAIN;\n}" ::"r"(barrier), "r"(parity) : "memory");
}

// All lanes of a warp have read what the barrier is for: one arrival.
__device__ __forceinline__ void arrive(u32 barrier) {
    __syncwarp();
    if ((threadIdx.x & 31) == 0) asm volatile("mbarrier.arrive.shared.b64 _, [%0];" ::"r"(barrier) : "memory");
}

// This thread arrives when its copies are done (`copies.cuh`).
__device__ __forceinline__ void arrive_with_copies(u32 barrier) {
    asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(barrier) : "memory");
}

// This thread arrives, and with it so many bytes by the tensor memory unit (`tensor_memory.cuh`).
__device__ __forceinline__ void expect(u32 barrier, u32 bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

// Barriers that were made are there for all of a cluster, and for the tensor memory unit.
__device__ __forceinline__ void show_barriers() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

// Barriers that say of each of COUNT stages that it is full, as all FILLERS say, and after them those that all of so many warps, READERS,
// have read it.
template <int COUNT, int READERS, int FILLERS = 1>
__device__ __forceinline__ void make_barriers(u32 full) {
    if (threadIdx.x == 0) {
        for (int each = 0; each < COUNT; ++each) {
            make_barrier<FILLERS>(full + 8 * each);
            make_barrier<READERS>(full + 8 * (COUNT + each));
        }
        show_barriers();
    }
    __syncthreads();
}

// A place in a ring of COUNT stages, and which round it is.
template <int COUNT>
struct Stage {
    u32 index, parity;

    __device__ __forceinline__ void next() {
        if (++index == COUNT) index = 0, parity ^= 1;
    }
};
