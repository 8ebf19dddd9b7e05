// What is done to a sum before it is rounded: ACTIVATION is its number in `product.py`.

__device__ __forceinline__ float activated(float value) {
#if ACTIVATION == 1
    return value < 0.0f ? 0.0f : value; // relu, NaN stays
#elif ACTIVATION == 2
    return 0.5f * value * (1.0f + erff(value * 0.70710678f)); // gelu
#elif ACTIVATION == 3
    return value / (1.0f + expf(-value)); // silu
#else
    return value;
#endif
}

