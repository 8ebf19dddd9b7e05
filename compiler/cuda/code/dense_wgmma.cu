// Y = X W^T for dense W and many tokens on Hopper's tensor cores: sm_90a only. With WINDOWS the tokens of X are pixels of images with
// channels last, and K are the channels of each pixel of a window: a convolution.
//
// A block of threads has tiles of GROUPS x 64 tokens x ROWS rows, one after the other: one warp copies, for each 64 columns, a
// tile of X and one of W to one of STAGES places in shared memory; each warpgroup multiplies 64 tokens. Where there are few tiles,
// a cluster of SPLITS blocks has one, each block some of its columns; then each adds up what all have of some of its rows.

#include "epilogue.cuh"
#include "machine/barriers.cuh"
#include "machine/order.cuh"
#include "machine/shared_memory.cuh"
#include "machine/tensor_memory.cuh"
#include "machine/wgmma.cuh"
#include "made/wgmma.cuh"
#include "tile_order.cuh"

#define TOKENS (64 * GROUPS)
#define X_BYTES (TOKENS * 128)
#define W_BYTES (ROWS * 128)
#define WARP_AREA_BYTES AREA_BYTES(8) // for 64 rows of its sums on their way out
#define MULTIPLYING (128 * GROUPS) // threads
#define OWN (ROWS / 2 / SPLITS) // sums that a thread adds up
static_assert(SPLITS == 1 || STAGES * (X_BYTES + W_BYTES) >= MULTIPLYING * ROWS * 2, "sums fit where stages were");

struct Operands {
    TensorMap x, w; // boxes of 64 columns; TOKENS tokens, ROWS rows
    Epilogue out;
    Order order;
    int steps;
    int chunks, across, apart_right, apart_down; // of windows: 64 channels at a time; pixels of a row; from a pixel to the next
    int out_width, out_height, stride_right, stride_down, before_right, before_down;
};

// Copies the tiles of X.
struct Tokens {
    const Operands &o;
    int first, right, down, image;

    __device__ __forceinline__ Tokens(const Operands &o_, int token) : o(o_), first(token) {
#if WINDOWS
        right = token % o.out_width * o.stride_right - o.before_right, token /= o.out_width;
        down = token % o.out_height * o.stride_down - o.before_down, image = token / o.out_height;
#endif
    }

    __device__ __forceinline__ void copy(u32 to, int step, u32 barrier) const {
#if WINDOWS
        const int pixel = step / o.chunks;
        copy_pixels(to, o.x, step % o.chunks * 64, right, down, image, pixel % o.across * o.apart_right,
                    pixel / o.across * o.apart_down, barrier);
#else
        copy_box(to, o.x, step * 64, first, barrier);
#endif
    }
};

#if SPLITS > 1
// The sums of all blocks of a cluster, of this block's part of the rows; `place` is where each has its own.
__device__ __forceinline__ void add_up(const float (&sums)[ROWS / 2], float (&own)[OWN], u32 place, int rank) {
    meet<MULTIPLYING>(1); // all have read the stages
    const u32 mine = place + threadIdx.x * 4;
#pragma unroll
    for (int i = 0; i < ROWS / 2; ++i) store_float(mine + i * MULTIPLYING * 4, sums[i]);
    meet_cluster();
#pragma unroll
    for (int i = 0; i < OWN; ++i) own[i] = 0.0f;
#pragma unroll
    for (int block = 0; block < SPLITS; ++block) {
        const u32 from = in_block(mine, block) + rank * OWN * MULTIPLYING * 4;
#pragma unroll
        for (int i = 0; i < OWN; ++i) own[i] += loaded_float_there(from + i * MULTIPLYING * 4);
    }
    meet_cluster(); // nobody's memory goes before all have read it
}
#endif

extern "C" __global__ void __launch_bounds__(128 * (GROUPS + 1), 1)
#if SPLITS > 1
    __cluster_dims__(SPLITS, 1, 1)
#endif
    dense_wgmma(const __grid_constant__ Operands o) {
    extern __shared__ __align__(1024) char shared[];
    const u32 x_tiles = shared_address(shared), w_tiles = x_tiles + STAGES * X_BYTES;
    const u32 areas = w_tiles + STAGES * W_BYTES, full = areas + GROUPS * 4 * WARP_AREA_BYTES, read = full + 8 * STAGES;
    const int group = threadIdx.x / 128, count = o.order.count(), rank = blockIdx.x % SPLITS;
    const int first_step = o.steps * rank / SPLITS, steps = o.steps * (rank + 1) / SPLITS - first_step;
    make_barriers<STAGES, GROUPS * 4>(full);
    wait_for_kernel_before();
    Stage<STAGES> stage = {0, 0};

    if (group == GROUPS) {
        if (GROUPS > 1) give_registers<40>();
        if (threadIdx.x == GROUPS * 128)
            for (int number = blockIdx.x / SPLITS; number < count; number += gridDim.x / SPLITS) {
                int row_tile, token_tile;
                o.order.find(number, row_tile, token_tile);
                const Tokens tokens(o, token_tile * TOKENS);
                for (int step = first_step; step < first_step + steps; ++step) {
                    const u32 barrier = full + 8 * stage.index;
                    wait_for(read + 8 * stage.index, stage.parity ^ 1);
                    expect(barrier, X_BYTES + W_BYTES);
                    tokens.copy(x_tiles + stage.index * X_BYTES, step, barrier);
                    copy_box(w_tiles + stage.index * W_BYTES, o.w, step * 64, row_tile * ROWS, barrier);
                    stage.next();
                }
            }
#if SPLITS > 1
        meet_cluster();
        meet_cluster();
#endif
    } else {
        if (GROUPS > 1) take_registers<232>();
        char *area = shared + (areas - x_tiles) + threadIdx.x / 32 * WARP_AREA_BYTES;
        for (int number = blockIdx.x / SPLITS; number < count; number += gridDim.x / SPLITS) {
            int row_tile, token_tile;
            o.order.find(number, row_tile, token_tile);
            float sums[ROWS / 2];
            u32 before = 0;
            for (int step = 0; step < steps; ++step) {
                wait_for(full + 8 * stage.index, stage.parity);
                const u32 x = x_tiles + stage.index * X_BYTES + group * 8192, w = w_tiles + stage.index * W_BYTES;
                begin_products();
#pragma unroll
                for (int part = 0; part < 4; ++part)
                    wgmma(sums, matrix_at<1>(x + part * 32), matrix_at<1>(w + part * 32), step | part);
                end_products();
                wait_for_products<1>();
                if (step) arrive(read + 8 * before);
                before = stage.index;
                stage.next();
            }
            wait_for_products<0>();
            arrive(read + 8 * before);
            const int token = token_tile * TOKENS + group * 64 + threadIdx.x / 32 % 4 * 16;
#if SPLITS > 1
            float own[OWN];
            add_up(sums, own, x_tiles, rank);
            const int row = row_tile * ROWS + rank * OWN * 2;
            if (token < o.out.tokens && row < o.out.m) // the same for all lanes
                store_sums<OWN / 4>(o.out, (const float(*)[4])own, token, row, area);
#else
#pragma unroll
            for (int row = 0; row < ROWS; row += 64)
                if (token < o.out.tokens && row_tile * ROWS + row < o.out.m) // the same for all lanes
                    store_sums<8>(o.out, (const float(*)[4])(sums + row / 2), token, row_tile * ROWS + row, area);
#endif
        }
    }
}
