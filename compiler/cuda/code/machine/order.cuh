// Kernels, blocks and threads before and after others, and the registers that they leave to others.

#include "machine/words.cuh"

// The next kernel of the stream may take multiprocessors that are free, and begin to load weights while this one ends; nothing that
// another kernel writes or reads may be touched before `wait_for_kernel_before`.
__device__ __forceinline__ void allow_next_kernel() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

__device__ __forceinline__ void wait_for_kernel_before() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// So many threads of a block, all that use a barrier, from 1 to 15; barrier 0 is `__syncthreads`.
template <int COUNT>
__device__ __forceinline__ void meet(u32 barrier) {
    asm volatile("bar.sync %0, %1;" ::"r"(barrier), "n"(COUNT) : "memory");
}

__device__ __forceinline__ void meet_warpgroup(u32 barrier) { meet<128>(barrier); }

// What is written before and after, for all threads of the GPU; `__threadfence` does more and takes longer.
__device__ __forceinline__ void fence() { asm volatile("fence.acq_rel.gpu;" ::: "memory"); }

// Arrive at a counter in global memory: how many have arrived before. What they wrote before that is there for who asks after it, and
// for those that it then meets. One fence: two, around an atomic addition, are half a microsecond slower.
__device__ __forceinline__ u32 arrivals_before(u32 *counter) {
    u32 before;
    asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], 1;" : "=r"(before) : "l"(counter) : "memory");
    return before;
}

// A warpgroup has so many registers a thread from here on, fewer than before or more: sm_90a only.
template <int COUNT>
__device__ __forceinline__ void give_registers() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(COUNT));
}

template <int COUNT>
__device__ __forceinline__ void take_registers() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(COUNT));
}
