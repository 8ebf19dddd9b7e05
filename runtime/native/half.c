/* Conversions between IEEE binary16, bfloat16, binary32 and binary64; to nearest, ties to even; NaN stays a quiet NaN. */
#include "half.h"

#include <stdint.h>
#include <string.h>

static half_in_register in_register(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t out_of_register(half_in_register value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits & 0xffff; /* the callee must not read what is above */
}

/* Round a binary64 to a format with `exponent_bits` and `mantissa_bits`. Binary64 holds every binary32 exactly, so one function
 * serves both sources without rounding twice. */
static uint32_t narrow(double value, int exponent_bits, int mantissa_bits)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    const int bias = (1 << (exponent_bits - 1)) - 1;
    const uint32_t sign = (uint32_t)(bits >> 63) << (exponent_bits + mantissa_bits);
    const uint32_t infinity = (uint32_t)((1 << exponent_bits) - 1) << mantissa_bits;
    const uint64_t fraction = bits & 0xfffffffffffff;
    const int exponent = (int)(bits >> 52 & 0x7ff);
    if (exponent == 0x7ff) {
        const uint32_t payload = (uint32_t)(fraction >> (52 - mantissa_bits));
        return sign | infinity | (fraction ? payload | 1u << (mantissa_bits - 1) : 0);
    }
    int target = exponent - 1023 + bias;
    uint64_t mantissa = fraction | (uint64_t)(exponent != 0) << 52;
    int shift = 52 - mantissa_bits;
    if (target <= 0) { /* subnormal in the target format */
        shift += 1 - target;
        target = 0;
        if (shift > 54) return sign;
    } else {
        mantissa &= 0xfffffffffffff; /* the leading one is implied */
    }
    const uint64_t kept = mantissa >> shift, rest = mantissa & (((uint64_t)1 << shift) - 1), tie = (uint64_t)1 << (shift - 1);
    const uint64_t rounded = ((uint64_t)(unsigned)target << mantissa_bits) + kept + (rest > tie || (rest == tie && (kept & 1)));
    return sign | (rounded >= infinity ? infinity : (uint32_t)rounded); /* a carry moves into the exponent, as it should */
}

static float widen_half(uint32_t half)
{
    const uint32_t sign = (half & 0x8000) << 16, exponent = half >> 10 & 0x1f, mantissa = half & 0x3ff;
    if (exponent == 0) {
        const float magnitude = (float)mantissa * 0x1p-24f;
        return sign ? -magnitude : magnitude;
    }
    const uint32_t quiet = exponent == 0x1f && mantissa ? 0x200 : 0;
    return in_register(sign | (exponent == 0x1f ? 0xffu : exponent + 112) << 23 | (mantissa | quiet) << 13);
}

half_in_register sparsec_truncsfhf2(float value)
{
    return in_register(narrow(value, 5, 10));
}

half_in_register sparsec_truncdfhf2(double value)
{
    return in_register(narrow(value, 5, 10));
}

half_in_register sparsec_truncsfbf2(float value)
{
    return in_register(narrow(value, 8, 7));
}

half_in_register sparsec_truncdfbf2(double value)
{
    return in_register(narrow(value, 8, 7));
}

float sparsec_extendhfsf2(half_in_register value)
{
    return widen_half(out_of_register(value));
}

double sparsec_extendhfdf2(half_in_register value)
{
    return widen_half(out_of_register(value));
}

float sparsec_extendbfsf2(half_in_register value)
{
    return in_register(out_of_register(value) << 16);
}

void sparsec_widen_halves(uint8_t *to, const uint8_t *from, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        uint16_t half;
        memcpy(&half, from + 2 * i, sizeof half);
        const float value = widen_half(half);
        memcpy(to + 4 * i, &value, sizeof value);
    }
}
