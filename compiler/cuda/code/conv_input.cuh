// What a convolution is told of its input, and where the window of a pixel lies in it.

#include "machine/words.cuh"

// Element k of a pixel: where it is from the pixel's first, and how far down and to the right.
struct Tap {
    int offset;       // elements
    short down, right;
};

struct Input {
    const u16 *x;
    const Tap *taps;                       // of each k or, with WIDE, of each eight
    i64 image_stride;
    int pixels, out_width, out_height;     // pixels: of y, in all images
    int height, width, row_stride, pixel_stride;
    int stride_down, stride_right, before_down, before_right; // padding before the first
};

// Where the window of a pixel of y begins in x: it may be outside.
struct Window {
    const u16 *at;
    int down, right; // far outside for pixels past the last

    __device__ __forceinline__ Window(const Input &in, int pixel) {
        const int per_image = in.out_width * in.out_height, within = pixel % per_image;
        down = within / in.out_width * in.stride_down - in.before_down;
        right = within % in.out_width * in.stride_right - in.before_right;
        at = in.x + pixel / per_image * in.image_stride + (i64)down * in.row_stride + right * in.pixel_stride;
        if (pixel >= in.pixels) down = -(1 << 30);
    }

    __device__ __forceinline__ bool has(const Input &in, const Tap &tap) const {
        return (u32)(down + tap.down) < (u32)in.height && (u32)(right + tap.right) < (u32)in.width;
    }
};
