// Y = W X for 2:4 W on sparse tensor cores, where the weights' bytes are what counts: streams of nm24_streams.py, and of
// nm24_byte_streams.py for factors of eight bits.

#include "equal_steps.cuh"
#include "nm24_step.cuh"

struct Step {
    static const int WIDTH = 64;

    Nm24Indices indices;
    uint4 values[2][2]; // of each half of the columns, each 16 rows

    __device__ __forceinline__ void load(const uint4 *from) {
        const int lane = threadIdx.x & 31;
#if KIND
        const uint4 words = streamed(from + lane);
        indices = {{{words.x, words.y}, {words.z, words.w}}};
#else
        const uint2 words = streamed8((const uint2 *)from + lane);
        indices = {{{words.x, words.y}, {words.x, words.y}}};
#endif
#pragma unroll
        for (int each = 0; each < 4; ++each) values[each / 2][each % 2] = streamed(from + INDEX_BYTES / UNIT + each * 32 + lane);
    }

    __device__ __forceinline__ void add(Sums &sums, const StepOfX &x_of_step) const {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const u32 x = x_of_step.at(half * 32);
#pragma unroll
            for (int i = 0; i < TILES; ++i) {
                const uint4 b = fragments_of_x(x + i * 1024);
                indices.multiply(sums.values[0][i], half, 0, values[half][0], b);
                indices.multiply(sums.values[1][i], half, 1, values[half][1], b);
            }
        }
    }
};

extern "C" __global__ void __launch_bounds__(32 * WARPS, 1) nm24_mma(const Operands all) {
    allow_next_kernel();
    walk_steps<Step>(of_this_row(all));
}
