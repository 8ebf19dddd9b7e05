// Y = X W^T of dense matrices, or of a batch of them, on tensor cores of sm_80 and later.

#include "dense_tile.cuh"
#include "machine/order.cuh"

struct Operands {
    Matrix x, w; // [tokens, k], [m, k]
    Epilogue out;
    Order order;
    int k, inner; // inner: of the batch
};

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) dense_mma(const __grid_constant__ Operands operands) {
    extern __shared__ __align__(1024) char shared[];
    allow_next_kernel();
    wait_for_kernel_before();
    Operands o = operands;
    const int which = blockIdx.x / o.order.count(), outer = which / o.inner, inner = which % o.inner;
    o.x.select(outer, inner), o.w.select(outer, inner), o.out.select(outer, inner);
    int row_tile, token_tile;
    o.order.find(blockIdx.x % o.order.count(), row_tile, token_tile);
    const int row = row_tile * ROWS, token = token_tile * TOKENS;
    const Lines<TOKENS, X_LINES, X_WIDE> x = {o.x.at, o.x.stride, token, o.out.tokens, o.k};
    const Lines<ROWS, W_LINES, W_WIDE> w = {o.w.at, o.w.stride, row, o.out.m, o.k};
    multiply_tile(x, w, o.out, o.k, token, row, shared);
}
