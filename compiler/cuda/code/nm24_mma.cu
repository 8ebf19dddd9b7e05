// Y = W X for 2:4 W on sparse tensor cores, where the weights' bytes are what counts: streams of nm24_streams.py, and of
// nm24_byte_streams.py for factors of eight bits.

struct Step {
    static const int WIDTH = 64;

    static __device__ __forceinline__ void add(Sums &sums, u32 place, const StepOfX &x_of_step) {
        const Nm24Step w(place);
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const u32 x = x_of_step.at(half * 32);
            const uint4 one = w.values(half, 0), two = w.values(half, 1);
#pragma unroll
            for (int i = 0; i < TILES; ++i) {
                const uint4 b = fragments_of_x(x + i * 1024);
                w.multiply(sums.values[0][i], half, 0, one, b);
                w.multiply(sums.values[1][i], half, 1, two, b);
            }
        }
    }
};

extern "C" __global__ void __launch_bounds__(32 * WARPS, 1) nm24_mma(const Operands all) {
    allow_next_kernel();
    walk_steps<Step>(of_this_row(all));
}
