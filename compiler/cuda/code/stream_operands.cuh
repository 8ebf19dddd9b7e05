// What a kernel of streams is told, and the part of it that a block of threads has.

#include "machine/words.cuh"

#define UNIT 16 // bytes: a stream is a sequence of units
#define GROUPS (WARPS / HALVES) // of 32 rows in a block

// A worker's part of the steps of all row blocks in a line, the first of its segments, which are parts of one block, and how many
// batches of steps the workers before it have.
struct Part {
    int begin, end, segment, batches;
};

// Segments [first, first + count) have the rows of a block.
struct Block {
    int first, count;
};

struct Operands {
    const uint4 *streams;
    const uint4 *heads; // [workers][WARPS]: the first four offsets of each warp
    const u32 *offsets; // [batches of all warps + 1], units: those of a worker's first warp, of its second, ...
    const Part *parts;  // [workers + 1]
    const Block *segments; // [blocks]
    const u16 *x;       // [tokens, k]
    u16 *y;             // [tokens, m]
    const float *bias;  // [m] or null
    const u16 *residual; // [tokens, m] or null
    const float *row_scales, *token_scales; // [m], [tokens] or null, of factors of eight bits
    float4 *partial;
    u32 *counters;
    i64 x_stride, y_stride, residual_stride;
    int m, k, tokens, blocks, steps, segment_count, slots, workers;
};

// The product of the tokens from one on, at most `count`.
__device__ __forceinline__ Operands from_token(Operands all, int first, int count) {
    all.x += first * all.x_stride;
    all.y += first * all.y_stride;
    if (all.residual) all.residual += first * all.residual_stride;
    if (all.token_scales) all.token_scales += first;
    all.tokens = min(all.tokens - first, count);
    return all;
}

// Tokens past TILES x 8 are another row of the grid, with its own sums.
__device__ __forceinline__ Operands of_this_row(Operands all) {
    all = from_token(all, blockIdx.y * TILES * 8, TILES * 8);
    all.partial += (i64)blockIdx.y * all.segment_count * GROUPS * 2 * TILES * 32;
    all.counters += blockIdx.y * all.blocks * WARPS;
    return all;
}
