// Y = W X for 2:4 W and many tokens, on GPUs without products of warpgroups: streams of nm24_streams.py, by tiles.
//
// A block of threads has 256 rows and 128 tokens, a warp 64 of each. For 128 bytes of X's rows at a time, X and the steps of W
// are copied asynchronously to one of STAGES places; a warp copies those of one group of 32 rows.

#include "nm24_step.cuh"
#include "warp_stream.cuh"

#define ROW_GROUPS 8 // of 32 rows
#define TOKENS 128
#define X_BYTES (TOKENS * 128)
#define W_BYTES (UNITS * UNIT)
#define STAGE_BYTES (X_BYTES + ROW_GROUPS * W_BYTES)

// A step in shared memory.
struct Nm24Step {
    u32 place;
    Nm24Indices indices;

    __device__ __forceinline__ explicit Nm24Step(u32 place_) : place(place_ + (threadIdx.x & 31) * 16) {
#if KIND
        const uint4 words = loaded16(place);
        indices = {{{words.x, words.y}, {words.z, words.w}}};
#else
        const u32 own = place_ + (threadIdx.x & 31) * 8, first = loaded(own), second = loaded(own + 4);
        indices = {{{first, second}, {first, second}}};
#endif
    }

    __device__ __forceinline__ uint4 values(int half, int rows) const {
        return loaded16(place + INDEX_BYTES + half * 1024 + rows * 512);
    }
};

// Where the next step of a group of 32 rows lies.
struct GroupSteps {
    const uint4 *next_step;
    int half;

    __device__ __forceinline__ GroupSteps(const Operands &o, int group)
        : next_step(o.streams + ((i64)(group / GROUPS) * o.steps * WARPS + group % GROUPS) * UNITS), half(0) {}

    __device__ __forceinline__ const uint4 *next() {
        const uint4 *found = next_step + half * GROUPS * UNITS;
        if (++half == HALVES) half = 0, next_step += WARPS * UNITS;
        return found;
    }
};

// Begin to copy 128 bytes of each token, from element `column` on; rows' eight pieces are exchanged by the token's number.
__device__ __forceinline__ void copy_tokens(const Operands &o, int column, u32 to) {
#pragma unroll
    for (int first = 0; first < TOKENS * 8; first += ROW_GROUPS * 32) {
        const int piece = first + threadIdx.x, token = piece / 8, part = piece % 8;
        const bool inside = token < o.tokens && column + part * 8 < o.k; // else 16 zeros are written
        const u16 *from = o.x + (inside ? token * o.x_stride + column + part * 8 : 0);
        copy16(to + token * 128 + (part ^ token % 8) * 16, from, inside ? 16 : 0);
    }
}

extern "C" __global__ void __launch_bounds__(32 * ROW_GROUPS, 1) nm24_tile_mma(const Operands all) {
    extern __shared__ __align__(1024) char shared[];
    allow_next_kernel();
    wait_for_kernel_before();
    const Operands o = from_token(all, blockIdx.y * TOKENS, TOKENS);
    const int lane = threadIdx.x & 31, warp = threadIdx.x / 32;
    const int copied_group = min((int)blockIdx.x * ROW_GROUPS + warp, o.blocks * GROUPS - 1); // past the last one again
    const u32 stages = shared_address(shared);
    const int steps = o.steps * HALVES;
    GroupSteps source(o, copied_group);
    const auto copy = [&](int step) {
        if (step < steps) {
            const u32 stage = stages + step % STAGES * STAGE_BYTES, to = stage + X_BYTES + warp * W_BYTES;
            const uint4 *from = source.next();
            copy_tokens(o, step * 64, stage);
#pragma unroll
            for (int each = 0; each < UNITS; each += 32)
                if (each + lane < UNITS) copy16(to + (each + lane) * UNIT, from + each + lane);
        }
        end_copies();
    };
    for (int step = 0; step < STAGES - 1; ++step) copy(step);
    Sums sums[2];
    sums[0].clear(), sums[1].clear();
    for (int step = 0; step < steps; ++step) {
        wait_for_copies<STAGES - 2>();
        __syncthreads();
        copy(step + STAGES - 1);
        const u32 x = stages + step % STAGES * STAGE_BYTES, w = x + X_BYTES + warp % 4 * 2 * W_BYTES;
        const Nm24Step one(w), two(w + W_BYTES);
        const u32 own = x + warp / 4 * 64 * 128 + lane % 8 * 128;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const uint4 a[4] = {one.values(half, 0), one.values(half, 1), two.values(half, 0), two.values(half, 1)};
#pragma unroll
            for (int i = 0; i < TILES; ++i) {
                const uint4 b = fragments_of_x(own + i * 1024 + ((half * 4 + lane / 8) ^ lane % 8) * 16);
                one.indices.multiply(sums[0].values[0][i], half, 0, a[0], b);
                one.indices.multiply(sums[0].values[1][i], half, 1, a[1], b);
                two.indices.multiply(sums[1].values[0][i], half, 0, a[2], b);
                two.indices.multiply(sums[1].values[1][i], half, 1, a[3], b);
            }
        }
    }
    wait_for_copies<0>();
    __syncthreads(); // results take the place of the stages
    const Operands mine = from_token(o, warp / 4 * 64, 64);
    if (mine.tokens <= 0) return;
#pragma unroll
    for (int each = 0; each < 2; ++each) {
#if KIND == 1
        sums[each].become_floats();
#endif
        sums[each].store_rows<2>(mine, (blockIdx.x * ROW_GROUPS + warp % 4 * 2 + each) * 32, stages + warp * STORE_BYTES);
    }
}
