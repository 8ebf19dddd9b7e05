// Y = X W^T for dense W and many tokens on Hopper's tensor cores: sm_90a only.
//
// A block of threads has tiles of GROUPS x 64 tokens x ROWS rows, one after the other: one warp copies, for each 64 columns, a
// tile of X and one of W to one of STAGES places in shared memory; each warpgroup multiplies 64 tokens.

#define TOKENS (64 * GROUPS)
#define X_BYTES (TOKENS * 128)
#define W_BYTES (ROWS * 128)
#define AREA_ROWS 32
#define AREA_PITCH (AREA_ROWS + 8) // floats, so that lanes share no bank
#define WARP_AREA_BYTES (16 * AREA_PITCH * 4) // of a warp, for its sums on their way out

struct Operands {
    TensorMap x, w; // boxes of 64 columns; TOKENS tokens, ROWS rows
    Epilogue out;
    Order order;
    int steps;
};

// The sums of a warp, 16 tokens x ROWS, through `area`.
__device__ __forceinline__ void store_sums(const float (&sums)[ROWS / 2], const Epilogue &out, int token, int row, char *area) {
    const int lane = threadIdx.x & 31;
    float *own = (float *)area;
#pragma unroll
    for (int begin = 0; begin < ROWS; begin += AREA_ROWS) {
        if (row + begin >= out.m) break; // the same for all threads
        __syncwarp();
#pragma unroll
        for (int each = 0; each < AREA_ROWS; each += 8) {
            const float *v = sums + (begin + each) / 2;
            float *to = own + lane / 4 * AREA_PITCH + each + lane % 4 * 2;
            *(float2 *)to = make_float2(v[0], v[1]);
            *(float2 *)(to + 8 * AREA_PITCH) = make_float2(v[2], v[3]);
        }
        __syncwarp();
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int in_area = half * 8 + lane / 4, column = lane % 4 * 8;
            const float4 *from = (const float4 *)(own + in_area * AREA_PITCH + column);
            const float4 low = from[0], high = from[1];
            const float eight[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
            out.write(eight, token + in_area, row + begin + column);
        }
    }
}

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
            if (token < o.out.tokens) store_sums(sums, o.out, token, row_tile * ROWS, area);
        }
    }
}
