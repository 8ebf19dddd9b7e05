// Convolution whose filters have one channel each. A thread has eight neighbours in memory: eight filters of a pixel in NHWC,
// eight pixels of a filter and an image in NCHW.
//
// Macros: NCHW; BY_EIGHTS (eight channels are those of eight filters, and 16 bytes at a time can be read).

struct Operands {
    Input in;
    const u16 *weight; // [taps][filters, filled up to eights], or [filters][taps] with NCHW
    i64 channel_stride; // of x, elements
    Epilogue out;       // [pixels, filters], or [filters, pixels] for each image with NCHW
    int taps, filters, of_channel; // of_channel: filters that have the same channel
    int images;
};

// Of eight filters of a pixel.
__device__ __forceinline__ void filters_of_pixel(const Operands &o, i64 number) {
    const int parts = (o.filters + 7) / 8, pixel = number / parts, first = number % parts * 8;
    if (pixel >= o.in.pixels) return;
    const Window window(o.in, pixel);
    float sums[8] = {};
    for (int each = 0; each < o.taps; ++each) {
        const Tap tap = o.in.taps[each];
        if (!window.has(o.in, tap)) continue;
        const u16 *from = window.at + tap.offset;
        const uint4 w = *(const uint4 *)(o.weight + (i64)each * parts * 8 + first);
        const u32 factors[4] = {w.x, w.y, w.z, w.w};
#if BY_EIGHTS
        const uint4 x = *(const uint4 *)(from + first);
        const u32 values[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
        for (int i = 0; i < 8; ++i)
            sums[i] += widened((u16)(values[i / 2] >> (i % 2 * 16))) * widened((u16)(factors[i / 2] >> (i % 2 * 16)));
#else
#pragma unroll
        for (int i = 0; i < 8; ++i)
            if (first + i < o.filters)
                sums[i] += widened(from[(first + i) / o.of_channel * o.channel_stride]) *
                           widened((u16)(factors[i / 2] >> (i % 2 * 16)));
#endif
    }
    o.out.write(sums, pixel, first);
}

// Of eight pixels of a filter.
__device__ __forceinline__ void pixels_of_filter(Operands o, i64 number) {
    const int parts = (o.in.pixels + 7) / 8, first = number % parts * 8, filter = number / parts % o.filters;
    const int image = number / parts / o.filters;
    if (image >= o.images) return;
    o.in.x += image * o.in.image_stride + filter / o.of_channel * o.channel_stride;
    o.out.select(image, 0);
    float sums[8] = {};
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        const Window window(o.in, first + i);
        for (int each = 0; each < o.taps; ++each) {
            const Tap tap = o.in.taps[each];
            if (window.has(o.in, tap)) sums[i] += widened(window.at[tap.offset]) * widened(o.weight[filter * o.taps + each]);
        }
    }
    o.out.write(sums, filter, first);
}

extern "C" __global__ void __launch_bounds__(256) conv_depthwise(const __grid_constant__ Operands o) {
    allow_next_kernel();
    wait_for_kernel_before();
    const i64 number = blockIdx.x * (i64)256 + threadIdx.x;
#if NCHW
    pixels_of_filter(o, number);
#else
    filters_of_pixel(o, number);
#endif
}
