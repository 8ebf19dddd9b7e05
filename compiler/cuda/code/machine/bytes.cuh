// Arithmetic of bytes and bits that C++ has no words for.

#include "machine/words.cuh"

// The sum of products of four bytes each, and `start`.
__device__ __forceinline__ u32 dot(u32 bytes, u32 weights, u32 start) {
    u32 sum;
    asm("dp4a.u32.u32 %0, %1, %2, %3;" : "=r"(sum) : "r"(bytes), "r"(weights), "r"(start));
    return sum;
}

__device__ __forceinline__ u32 signed_dot(u32 bytes, u32 weights, u32 start) {
    u32 sum;
    asm("dp4a.s32.s32 %0, %1, %2, %3;" : "=r"(sum) : "r"(bytes), "r"(weights), "r"(start));
    return sum;
}

// 16 bits of each of two bytes' sign: __byte_perm cannot say this.
template <int BYTES>
__device__ __forceinline__ u32 spread(u32 bytes) {
    u32 mask;
    asm("prmt.b32 %0, %1, 0, %2;" : "=r"(mask) : "r"(bytes), "n"(BYTES));
    return mask;
}

// (word & mask) | others, in one instruction.
__device__ __forceinline__ u32 among(u32 word, u32 mask, u32 others) {
    u32 bits;
    asm("lop3.b32 %0, %1, %2, %3, 0xEA;" : "=r"(bits) : "r"(word), "r"(mask), "r"(others));
    return bits;
}
