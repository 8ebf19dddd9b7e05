// Numbers of four bits as 16-bit floating-point numbers: of 16 bits as many as there are of a number are put below the bits of
// a large power of two, which is then subtracted together with the 8 that numbers are stored with.

#include "machine/bytes.cuh"
#include "machine/halves.cuh"
#include "stream_sums.cuh"

#if BF16
#define WHOLE 0x43004300 // 128, of which the last bits are units
#define MINUS 0xC308C308 // 128 + 8
#define ONE 0x3F803F80
#else
#define WHOLE 0x64006400 // 1024
#define MINUS 0xE408E408
#define ONE 0x3C003C00
#define MINUS_OF_HIGH 0xD480D480 // 64 + 8
#define ONE_OF_HIGH 0x2C002C00   // 1/16
#endif

// The two numbers at bits 0 and 16.
__device__ __forceinline__ u32 low_numbers(u32 word) { return fma_of_pairs(among(word, 0x000F000F, WHOLE), ONE, MINUS); }

// The two numbers at bits 4 and 20: sixteen times as large where there is room for that, which costs no shift.
__device__ __forceinline__ u32 high_numbers(u32 word) {
#if BF16
    return low_numbers(word >> 4);
#else
    return fma_of_pairs(among(word, 0x00F000F0, WHOLE), ONE_OF_HIGH, MINUS_OF_HIGH);
#endif
}

// Numbers as they are stored, 8 more than they are, which takes one instruction: as float16 below its smallest normal number, which
// tensor cores take like others (bfloat16 has too few bits). The product of LESS_LOW or LESS_HIGH and the same X, in the same
// order, takes off what is too much, of zeros exactly; sums are then multiplied by STORED_UNIT, those of high numbers before that
// by HIGH_UNIT.
#define LESS_LOW 0x80088008 // -8 times the smallest number
#define LESS_HIGH 0x80808080
#define STORED_UNIT 16777216.0f
#define HIGH_UNIT 0.0625f

__device__ __forceinline__ u32 stored_low(u32 word) { return word & 0x000F000F; }
__device__ __forceinline__ u32 stored_high(u32 word) { return word & 0x00F000F0; }

// Add the sums of a step, times the scales of their rows, of which `bits` are a lane's four, and `unit`.
__device__ __forceinline__ void add_scaled(Sums &sums, const Sums &step, const uint4 &bits, float unit) {
    const float scales[4] = {__uint_as_float(bits.x), __uint_as_float(bits.y), __uint_as_float(bits.z), __uint_as_float(bits.w)};
#pragma unroll
    for (int each = 0; each < 8 * TILES; ++each) // 16 rows, tile, eight rows, two tokens
        (&sums.values[0][0][0])[each] += scales[each / (4 * TILES) * 2 + each / 2 % 2] * unit * (&step.values[0][0][0])[each];
}
