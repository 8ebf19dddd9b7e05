// Floating-point numbers of 16 bits, as instructions and floats have them.
//
// Macro set by the caller: BF16 (else fp16).

#include "machine/words.cuh"

#if BF16
#define TYPE "bf16"
#else
#define TYPE "f16"
#endif

__device__ __forceinline__ float widened(u16 bits) {
#if BF16
    return __uint_as_float((u32)bits << 16);
#else
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
#endif
}

__device__ __forceinline__ float2 both_widened(u32 bits) {
    float low, high;
#if BF16
    low = __uint_as_float(bits << 16), high = __uint_as_float(bits & 0xFFFF0000);
#else
    asm("{\n.reg .b16 l, h;\nmov.b32 {l, h}, %2;\ncvt.f32.f16 %0, l;\ncvt.f32.f16 %1, h;\n}" : "=f"(low), "=f"(high) : "r"(bits));
#endif
    return make_float2(low, high);
}

__device__ __forceinline__ u16 rounded(float value) {
    u16 bits;
    asm("cvt.rn." TYPE ".f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}

// Two values; the first in the low half.
__device__ __forceinline__ u32 rounded(float low, float high) {
    u32 bits;
    asm("cvt.rn." TYPE "x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
    return bits;
}

// factors * others + added, of two values each.
__device__ __forceinline__ u32 fma_of_pairs(u32 factors, u32 others, u32 added) {
    u32 pair;
    asm("fma.rn." TYPE "x2 %0, %1, %2, %3;" : "=r"(pair) : "r"(factors), "r"(others), "r"(added));
    return pair;
}
