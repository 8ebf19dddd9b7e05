// The maximum of each window of images with channels last. A thread has LANES neighbouring channels of a pixel, 8 or 1.

#include "machine/halves.cuh"
#include "machine/order.cuh"

struct Axis {
    int size, kernel, stride, dilation, before, out;
};

struct Operands {
    const u16 *x; // [images, down.size, right.size, channels]
    u16 *y;       // [images, down.out, right.out, channels]
    Axis down, right;
    int images, channels;
};

// NaN is more than every number.
__device__ __forceinline__ float larger(float a, float b) { return a >= b || a != a ? a : b; }

extern "C" __global__ void __launch_bounds__(256) max_pool(const __grid_constant__ Operands o) {
    allow_next_kernel();
    wait_for_kernel_before();
    const i64 number = blockIdx.x * (i64)256 + threadIdx.x;
    const int parts = o.channels / LANES, channel = number % parts * LANES;
    const i64 pixel = number / parts;
    const int image = pixel / (o.right.out * o.down.out), within = pixel % (o.right.out * o.down.out);
    if (image >= o.images) return;
    const int down = within / o.right.out * o.down.stride - o.down.before;
    const int right = within % o.right.out * o.right.stride - o.right.before;
    const u16 *from = o.x + (i64)image * o.down.size * o.right.size * o.channels + channel;
    float most[LANES];
#pragma unroll
    for (int i = 0; i < LANES; ++i) most[i] = -1.0f / 0.0f;
    for (int i = 0; i < o.down.kernel; ++i) {
        const int row = down + i * o.down.dilation;
        if ((u32)row >= (u32)o.down.size) continue;
        for (int j = 0; j < o.right.kernel; ++j) {
            const int column = right + j * o.right.dilation;
            if ((u32)column >= (u32)o.right.size) continue;
            const u16 *at = from + ((i64)row * o.right.size + column) * o.channels;
#if LANES == 8
            const uint4 v = *(const uint4 *)at;
            const u32 words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
            for (int lane = 0; lane < LANES; ++lane)
                most[lane] = larger(most[lane], widened((u16)(words[lane / 2] >> lane % 2 * 16)));
#else
            most[0] = larger(most[0], widened(*at));
#endif
        }
    }
    u16 *to = o.y + pixel * o.channels + channel;
#if LANES == 8
    *(uint4 *)to = make_uint4(rounded(most[0], most[1]), rounded(most[2], most[3]), rounded(most[4], most[5]), rounded(most[6], most[7]));
#else
    *to = (u16)rounded(most[0], most[0]);
#endif
}
