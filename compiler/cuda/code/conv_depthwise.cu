// Convolution whose filters have one channel each. A thread has eight filters of a pixel or, with ACROSS, of so many neighbouring
// pixels of a row, whose windows share what is read.
//
// Macros: BY_EIGHTS (eight channels are those of eight filters, and 16 bytes at a time can be read); ACROSS, 0 for windows of any
// form, else with BY_EIGHTS and for windows of RIGHT pixels in a row, STEP from one window to the next, whose dilation is 1.

#include "conv_input.cuh"
#include "epilogue.cuh"
#include "machine/order.cuh"

struct Operands {
    Input in;
    const u16 *weight; // [taps][filters, filled up to eights]
    Epilogue out;      // [pixels, filters]
    int taps, filters, of_channel; // of_channel: filters that have the same channel
    int rows_of_taps, apart;       // with ACROSS: of a window, and from one to the next
};

__device__ __forceinline__ void widen(float (&to)[8], uint4 from) {
    const u32 words[4] = {from.x, from.y, from.z, from.w};
#pragma unroll
    for (int i = 0; i < 8; ++i) to[i] = widened((u16)(words[i / 2] >> i % 2 * 16));
}

// Of eight filters of a pixel.
__device__ __forceinline__ void filters_of_pixel(const Operands &o, i64 number) {
    const int parts = (o.filters + 7) / 8, pixel = number / parts, first = number % parts * 8;
    if (pixel >= o.in.pixels) return;
    const Window window(o.in, pixel);
    float sums[8] = {}, factors[8];
    for (int each = 0; each < o.taps; ++each) {
        const Tap tap = o.in.taps[each];
        if (!window.has(o.in, tap)) continue;
        const u16 *from = window.at + tap.offset;
        widen(factors, *(const uint4 *)(o.weight + (i64)each * parts * 8 + first));
#if BY_EIGHTS
        float values[8];
        widen(values, *(const uint4 *)(from + first));
#pragma unroll
        for (int i = 0; i < 8; ++i) sums[i] += values[i] * factors[i];
#else
#pragma unroll
        for (int i = 0; i < 8; ++i)
            if (first + i < o.filters) sums[i] += widened(from[(first + i) / o.of_channel]) * factors[i];
#endif
    }
    o.out.write(sums, pixel, first);
}

#if ACROSS
// Of eight filters of neighbouring pixels of a row: each pixel of x that their windows have is read once for a row of taps.
__device__ __forceinline__ void filters_of_pixels(const Operands &o, i64 number) {
    const int parts = o.filters / 8, first = number % parts * 8, in_row = (o.in.out_width + ACROSS - 1) / ACROSS;
    const i64 row = number / parts / in_row; // of y, in all images
    const int column = number / parts % in_row * ACROSS;
    if (row * o.in.out_width >= o.in.pixels) return;
    const int down = row % o.in.out_height * o.in.stride_down - o.in.before_down, right = column * STEP - o.in.before_right;
    const u16 *image = o.in.x + row / o.in.out_height * o.in.image_stride + first;
    float sums[ACROSS][8] = {};
    for (int i = 0; i < o.rows_of_taps; ++i) {
        const int at = down + i * o.apart;
        if ((u32)at >= (u32)o.in.height) continue;
        float factors[RIGHT][8];
#pragma unroll
        for (int j = 0; j < RIGHT; ++j) widen(factors[j], *(const uint4 *)(o.weight + (i64)(i * RIGHT + j) * parts * 8 + first));
        const u16 *from = image + (i64)at * o.in.row_stride;
#pragma unroll
        for (int each = 0; each < (ACROSS - 1) * STEP + RIGHT; ++each) {
            if ((u32)(right + each) >= (u32)o.in.width) continue;
            float values[8];
            widen(values, *(const uint4 *)(from + (i64)(right + each) * o.in.pixel_stride));
#pragma unroll
            for (int j = each % STEP; j < RIGHT; j += STEP)
                if (each >= j && (each - j) / STEP < ACROSS)
#pragma unroll
                    for (int k = 0; k < 8; ++k) sums[(each - j) / STEP][k] += values[k] * factors[j][k];
        }
    }
#pragma unroll
    for (int each = 0; each < ACROSS; ++each)
        if (column + each < o.in.out_width) o.out.write(sums[each], row * o.in.out_width + column + each, first);
}
#endif

extern "C" __global__ void __launch_bounds__(256) conv_depthwise(const __grid_constant__ Operands o) {
    allow_next_kernel();
    wait_for_kernel_before();
    const i64 number = blockIdx.x * (i64)256 + threadIdx.x;
#if ACROSS
    filters_of_pixels(o, number);
#else
    filters_of_pixel(o, number);
#endif
}
