// Y = X W^T for dense W and few tokens, where the weight's bytes are what it costs: each lane reads 16 bytes of a row at once,
// which are the fragments of two products, as the order of columns does not matter if X has the same.
//
// A block of threads has SLABS x 16 rows and a part of K, of which its warps take 32 columns in turns, UNITS times at once.
// Where K is in several parts, the block that comes last adds up the sums of all, in their order.
//
// Macros: WARPS, SLABS, UNITS, TILES (of 8 tokens).

#include "epilogue.cuh"
#include "machine/global_memory.cuh"
#include "machine/order.cuh"
#include "machine/tensor_core.cuh"

#define ROWS (SLABS * 16)
#define PITCH (ROWS + 4) // floats of a token, so that lanes share no bank

struct Operands {
    const u16 *w, *x; // [m, k], [tokens, k]: rows at multiples of 16 bytes, k a multiple of 8
    i64 w_stride, x_stride;
    Epilogue out;
    float *partial; // [blocks of rows][parts][TILES x 8 tokens][ROWS]
    u32 *counters;  // [blocks of rows], zero between launches
    int k, parts;
};

// The eight rows of a token whose number this thread has, over all parts; false if another block does it.
__device__ __forceinline__ bool complete(const Operands &o, float (&sums)[8], int number, char *shared) {
    if (o.parts == 1) return true;
    const i64 size = TILES * 8 * ROWS;
    float *all = o.partial + blockIdx.x * o.parts * size;
    if (number < TILES * SLABS * 16) {
        float4 *own = (float4 *)(all + blockIdx.y * size + number * 8);
        __stcg(own, make_float4(sums[0], sums[1], sums[2], sums[3]));
        __stcg(own + 1, make_float4(sums[4], sums[5], sums[6], sums[7]));
    }
    __syncthreads();
    u32 *before = (u32 *)shared;
    if (threadIdx.x == 0) {
        *before = arrivals_before(o.counters + blockIdx.x);
        if (*before + 1 == o.parts) o.counters[blockIdx.x] = 0;
    }
    __syncthreads();
    if (*before + 1 != o.parts) return false;
    if (number >= TILES * SLABS * 16) return true;
#pragma unroll
    for (int i = 0; i < 8; ++i) sums[i] = 0.0f;
    for (int part = 0; part < o.parts; ++part) {
        const float4 *theirs = (const float4 *)(all + part * size + number * 8);
        const float4 low = __ldcg(theirs), high = __ldcg(theirs + 1);
        sums[0] += low.x, sums[1] += low.y, sums[2] += low.z, sums[3] += low.w;
        sums[4] += high.x, sums[5] += high.y, sums[6] += high.z, sums[7] += high.w;
    }
    return true;
}

extern "C" __global__ void __launch_bounds__(32 * WARPS) dense_few(const __grid_constant__ Operands o) {
    extern __shared__ __align__(128) char shared[];
    allow_next_kernel();
    const int warp = threadIdx.x / 32, lane = threadIdx.x & 31, first_row = blockIdx.x * ROWS;
    const int units = (o.k + 31) / 32, begin = (i64)units * blockIdx.y / o.parts, end = (i64)units * (blockIdx.y + 1) / o.parts;
    const u16 *w[SLABS][2], *x[TILES];
#pragma unroll
    for (int each = 0; each < SLABS * 2; ++each)
        w[each / 2][each % 2] = o.w + min(first_row + each * 8 + lane / 4, o.out.m - 1) * o.w_stride + lane % 4 * 8;
#pragma unroll
    for (int tile = 0; tile < TILES; ++tile)
        x[tile] = o.x + min(tile * 8 + lane / 4, o.out.tokens - 1) * o.x_stride + lane % 4 * 8;
    float sums[SLABS][TILES][4];
#pragma unroll
    for (int each = 0; each < SLABS * TILES * 4; ++each) (&sums[0][0][0])[each] = 0.0f;
    const uint4 nothing = make_uint4(0, 0, 0, 0);
    const int last = o.k - lane % 4 * 8; // columns from here on are past the end
    bool waited = false;
    for (int unit = begin + warp; unit < end; unit += WARPS * UNITS) {
        uint4 own[UNITS][SLABS][2];
#pragma unroll
        for (int each = 0; each < UNITS; ++each)
#pragma unroll
            for (int slab = 0; slab < SLABS * 2; ++slab) {
                const int at = unit + each * WARPS;
                own[each][slab / 2][slab % 2] = at < end && at * 32 < last ? streamed(w[slab / 2][slab % 2] + at * 32) : nothing;
            }
        if (!waited) wait_for_kernel_before(), waited = true;
#pragma unroll
        for (int each = 0; each < UNITS; ++each)
#pragma unroll
            for (int tile = 0; tile < TILES; ++tile) {
                const int at = unit + each * WARPS;
                const uint4 b = at < end && at * 32 < last ? *(const uint4 *)(x[tile] + at * 32) : nothing;
#pragma unroll
                for (int slab = 0; slab < SLABS; ++slab) {
                    const uint4 low = own[each][slab][0], high = own[each][slab][1];
                    const u32 first[4] = {low.x, high.x, low.y, high.y}, second[4] = {low.z, high.z, low.w, high.w};
                    mma(sums[slab][tile], first, b.x, b.y);
                    mma(sums[slab][tile], second, b.z, b.w);
                }
            }
    }
    if (!waited) wait_for_kernel_before();

    float *area = (float *)shared; // [warps][tokens][PITCH]
#pragma unroll
    for (int slab = 0; slab < SLABS; ++slab)
#pragma unroll
        for (int tile = 0; tile < TILES; ++tile)
#pragma unroll
            for (int i = 0; i < 4; ++i)
                area[(warp * TILES * 8 + tile * 8 + lane % 4 * 2 + i % 2) * PITCH + slab * 16 + i / 2 * 8 + lane / 4] =
                    sums[slab][tile][i];
    __syncthreads();
    const int number = threadIdx.x, token = number / (ROWS / 8), row = number % (ROWS / 8) * 8;
    float total[8] = {};
    if (token < TILES * 8)
#pragma unroll
        for (int from = 0; from < WARPS; ++from) {
            const float4 *theirs = (const float4 *)(area + (from * TILES * 8 + token) * PITCH + row);
            const float4 low = theirs[0], high = theirs[1];
            total[0] += low.x, total[1] += low.y, total[2] += low.z, total[3] += low.w;
            total[4] += high.x, total[5] += high.y, total[6] += high.z, total[7] += high.w;
        }
    __syncthreads();
    if (complete(o, total, number, shared) && token < TILES * 8) o.out.write(total, token, first_row + row);
}
