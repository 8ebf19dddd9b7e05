// Y = W X for 2:4 W of four bits a number, on sparse tensor cores: streams of w4_nm24_streams.py.
//
// A step is a group of 128 columns, whose numbers share a scale in each row. Products are with the whole numbers, which are
// exact; the sums of a step are then multiplied by the scales, in float32.

#include "equal_steps.cuh"
#include "four_bits.cuh"

// A fragment of a lane from its eight numbers.
__device__ __forceinline__ uint4 expanded(u32 word) {
    return make_uint4(low_numbers(word), high_numbers(word), low_numbers(word >> 8), high_numbers(word >> 8));
}

struct Step {
    static const int WIDTH = 128;

    uint4 indices, words[2], scales; // words of each 64 columns; scales of the lane's rows

    __device__ __forceinline__ void load(const uint4 *from) {
        const int lane = threadIdx.x & 31;
        indices = streamed(from + lane), words[0] = streamed(from + 32 + lane), words[1] = streamed(from + 64 + lane);
        scales = streamed(from + 96 + lane / 4);
    }

    __device__ __forceinline__ void add(Sums &sums, const StepOfX &x_of_step) const {
        Sums group;
        group.clear();
#pragma unroll
        for (int pair = 0; pair < 2; ++pair) {
            const u32 first = pair ? indices.z : indices.x, second = pair ? indices.w : indices.y; // 16 rows each
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const u32 x = x_of_step.at(pair * 64 + half * 32);
                const uint4 one = expanded(half ? words[pair].z : words[pair].x), two = expanded(half ? words[pair].w : words[pair].y);
#pragma unroll
                for (int i = 0; i < TILES; ++i) {
                    const uint4 b = fragments_of_x(x + i * 1024);
                    if (half == 0) {
                        sparse_mma<0>(group.values[0][i], one, b, first);
                        sparse_mma<0>(group.values[1][i], two, b, second);
                    } else {
                        sparse_mma<1>(group.values[0][i], one, b, first);
                        sparse_mma<1>(group.values[1][i], two, b, second);
                    }
                }
            }
        }
        add_scaled(sums, group, scales, 1.0f);
    }
};

extern "C" __global__ void __launch_bounds__(32 * WARPS, 1) w4_nm24_mma(const Operands all) {
    allow_next_kernel();
    walk_steps<Step>(of_this_row(all));
}
