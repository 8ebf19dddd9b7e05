// Y = X W^T for dense W and many tokens on Hopper's tensor cores: sm_90a only.
//
// A block of threads has tiles of GROUPS x 64 tokens x ROWS rows, one after the other: one warp copies, for each 64 columns, a
// tile of X and one of W to one of STAGES places in shared memory; each warpgroup multiplies 64 tokens.

#define TOKENS (64 * GROUPS)
#define X_BYTES (TOKENS * 128)
#define W_BYTES (ROWS * 128)
#define WARP_AREA_BYTES AREA_BYTES(8) // for 64 rows of its sums on their way out

struct Operands {
    TensorMap x, w; // boxes of 64 columns; TOKENS tokens, ROWS rows
    Epilogue out;
    Order order;
    int steps;
};

extern "C" __global__ void __launch_bounds__(128 * (GROUPS + 1), 1) dense_wgmma(const __grid_constant__ Operands o) {
    extern __shared__ __align__(1024) char shared[];
    const u32 x_tiles = shared_address(shared), w_tiles = x_tiles + STAGES * X_BYTES;
    const u32 areas = w_tiles + STAGES * W_BYTES, full = areas + GROUPS * 4 * WARP_AREA_BYTES, read = full + 8 * STAGES;
    const int group = threadIdx.x / 128, count = o.order.count();
    make_barriers<STAGES>(full, GROUPS * 4);
    wait_for_kernel_before();
    Stage<STAGES> stage = {0, 0};

    if (group == GROUPS) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
        if (threadIdx.x == GROUPS * 128)
            for (int number = blockIdx.x; number < count; number += gridDim.x) {
                int row_tile, token_tile;
                o.order.find(number, row_tile, token_tile);
                for (int step = 0; step < o.steps; ++step) {
                    const u32 barrier = full + 8 * stage.index;
                    wait_for(read + 8 * stage.index, stage.parity ^ 1);
                    expect(barrier, X_BYTES + W_BYTES);
                    copy_box(x_tiles + stage.index * X_BYTES, o.x, step * 64, token_tile * TOKENS, barrier);
                    copy_box(w_tiles + stage.index * W_BYTES, o.w, step * 64, row_tile * ROWS, barrier);
                    stage.next();
                }
            }
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
        char *area = shared + (areas - x_tiles) + threadIdx.x / 32 * WARP_AREA_BYTES;
        for (int number = blockIdx.x; number < count; number += gridDim.x) {
            int row_tile, token_tile;
            o.order.find(number, row_tile, token_tile);
            float sums[ROWS / 2];
            u32 before = 0;
            for (int step = 0; step < o.steps; ++step) {
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
#pragma unroll
            for (int row = 0; row < ROWS; row += 64)
                if (token < o.out.tokens && row_tile * ROWS + row < o.out.m) // the same for all lanes
                    store_sums<8>(o.out, (const float(*)[4])(sums + row / 2), token, row_tile * ROWS + row, area);
        }
    }
}
