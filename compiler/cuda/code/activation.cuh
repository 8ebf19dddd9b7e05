// What is done to a sum before it is rounded: ACTIVATION is its number in `product.py`, and 8 more where something is added before.

#include "machine/special.cuh"

#define KIND_OF_ACTIVATION (ACTIVATION % 8)
#define ADDED_FIRST (ACTIVATION / 8)

// value * (1 + erf(value / sqrt 2)) / 2 within 6e-7, with two instructions of the special function unit and no branch: an epilogue
// does millions of them. 1 - erf as in Abramowitz and Stegun, 7.1.26; beyond 16 it is 0, so infinity stays.
__device__ __forceinline__ float gelu(float value) {
    const float size = fminf(fabsf(value), 16.0f), t = reciprocal(fmaf(0.2316419f, size, 1.0f));
    float rest = fmaf(t, 0.5307027145f, -0.7265760135f); // half of theirs
    rest = fmaf(t, rest, 0.7107068705f);
    rest = fmaf(t, rest, -0.142248368f);
    rest = t * fmaf(t, rest, 0.127414796f) * power_of_two(size * (size * -0.72134752f));
    return fmaf(-size, rest, value < 0.0f ? 0.0f : value); // NaN stays
}

__device__ __forceinline__ float activated(float value) {
#if KIND_OF_ACTIVATION == 1
    return value < 0.0f ? 0.0f : value; // relu, NaN stays
#elif KIND_OF_ACTIVATION == 2
    return gelu(value);
#elif KIND_OF_ACTIVATION == 3
    return value * reciprocal(1.0f + power_of_two(-1.44269504f * value)); // silu
#elif KIND_OF_ACTIVATION == 4
    return value < 0.0f ? 0.0f : value > 6.0f ? 6.0f : value; // relu6
#else
    return value;
#endif
}

// With what is added to it.
__device__ __forceinline__ float activated(float value, float added) {
    return ADDED_FIRST ? activated(value + added) : activated(value) + added;
}
