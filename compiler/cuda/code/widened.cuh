// 16-bit floating-point numbers (BF16, else fp16) as float.

typedef long long i64;

__device__ __forceinline__ float widened(u16 bits) {
#if BF16
    return __uint_as_float((u32)bits << 16);
#else
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
#endif
}
