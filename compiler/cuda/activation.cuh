// What is done to a sum before it is rounded: ACTIVATION is its number in `product.py`.

// value * (1 + erf(value / sqrt 2)) / 2 within 6e-7, with two instructions of the special function unit and no branch: an epilogue
// does millions of them. 1 - erf as in Abramowitz and Stegun, 7.1.26; beyond 16 it is 0, so infinity stays.
__device__ __forceinline__ float gelu(float value) {
    const float size = fminf(fabsf(value), 16.0f), z = 0.70710678f * size;
    const float t = __fdividef(1.0f, fmaf(0.3275911f, z, 1.0f));
    float rest = fmaf(t, 1.061405429f, -1.453152027f);
    rest = fmaf(t, rest, 1.421413741f);
    rest = fmaf(t, rest, -0.284496736f);
    rest = t * fmaf(t, rest, 0.254829592f) * __expf(-z * z);
    return (value < 0.0f ? 0.0f : value) - 0.5f * size * rest; // NaN stays
}

__device__ __forceinline__ float activated(float value) {
#if ACTIVATION == 1
    return value < 0.0f ? 0.0f : value; // relu, NaN stays
#elif ACTIVATION == 2
    return gelu(value);
#elif ACTIVATION == 3
    return __fdividef(value, 1.0f + __expf(-value)); // silu
#else
    return value;
#endif
}

