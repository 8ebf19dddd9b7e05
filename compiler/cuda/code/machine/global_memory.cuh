// Global memory as it is read once, and brought near before it is needed.

#include "machine/words.cuh"

// Bytes that no one else loads.
__device__ __forceinline__ u32 streamed2(const void *from) {
    u16 v;
    asm volatile("ld.global.nc.L1::no_allocate.u16 %0, [%1];" : "=h"(v) : "l"(from));
    return v;
}

__device__ __forceinline__ u32 streamed4(const void *from) {
    u32 v;
    asm volatile("ld.global.nc.L1::no_allocate.u32 %0, [%1];" : "=r"(v) : "l"(from));
    return v;
}

__device__ __forceinline__ uint2 streamed8(const void *from) {
    uint2 v;
    asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(from));
    return v;
}

__device__ __forceinline__ uint4 streamed(const void *from) { // 16
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(from));
    return v;
}

// The line of 128 bytes that this is in.
__device__ __forceinline__ void bring_to_l2(const void *from) { asm volatile("prefetch.global.L2 [%0];" ::"l"(from)); }
