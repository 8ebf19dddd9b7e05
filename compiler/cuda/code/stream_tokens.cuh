// X of a kernel of streams in shared memory.

#include "machine/barriers.cuh"
#include "machine/copies.cuh"
#include "machine/global_memory.cuh"
#include "machine/order.cuh"
#include "machine/tensor_core.cuh"
#include "stream_operands.cuh"

// X, a tile of COLUMNS at a time, in shared memory for all warps of a block. STAGES tiles are in it; when a warp begins with
// one, it begins to copy its share of the one AHEAD of it, over the one that all warps must have finished by then.
//
// A tile is in slabs of 64 columns, 128 bytes of each token, whose eight pieces of 16 bytes are exchanged by the token's
// number, so that no two of eight tokens' same pieces share a bank. What is past the end of a row is zero.
struct Tokens {
    static const u32 SLAB = TILES * 8 * 128; // bytes
    static const u32 BYTES = COLUMNS / 64 * SLAB;
    static const int AHEAD = STAGES - 2;
    static const int PIECES = COLUMNS / 8; // of a token, of 16 bytes; all threads have the same ones of a multiple of 8 tokens

    const u16 *x; // the thread's first piece of a tile at column 0
    u32 place;    // and where it goes in a tile
    i64 stride;
    int tokens, k, columns, from, left; // tiles are copied of so many columns, next the one at `from`; `left` are to be copied
    u32 data, barriers, lane_part;
    u32 stage, parity;                // of the tile that is read

    static __device__ __forceinline__ int count(int columns) { return (columns + COLUMNS - 1) / COLUMNS; }

    // `barriers_` has 8 bytes for each stage, to say that it is there, and 8 that it is read. All warps must call this; it
    // waits for the kernel before. In the first block, tiles begin at column `first`, in others at column 0.
    __device__ __forceinline__ void open(const Operands &o, const Part &part, int step_columns, int first, u32 data_,
                                         u32 barriers_) {
        const u32 piece = threadIdx.x % PIECES, token = threadIdx.x / PIECES;
        stride = o.x_stride, x = o.x + token * stride + piece * 8;
        place = piece / 8 * SLAB + token * 128 + ((piece ^ token) & 7) * 16;
        tokens = o.tokens - token, k = o.k - piece * 8;
        data = data_, barriers = barriers_;
        const int lane = threadIdx.x & 31;
        lane_part = lane % 8 * 128 + (lane / 8 ^ lane % 8) * 16;
        columns = o.steps * step_columns, from = first;
        const int blocks = (part.end - 1) / o.steps - part.begin / o.steps; // after the first
        const int last = ((part.end - 1) % o.steps + 1) * step_columns;     // where columns end in the last
        left = blocks ? count(columns - first) + (blocks - 1) * count(columns) + count(last) : count(last - first);
        if (threadIdx.x < 2) { // what its first and last sums need in the end
            const int block = (threadIdx.x == 0 ? part.begin : part.end - 1) / o.steps;
            bring_to_l2(o.segments + block);
            bring_to_l2(o.counters + block * WARPS);
        }
        stage = parity = 0;
        if (threadIdx.x < STAGES) {
            make_barrier<WARPS * 32>(barriers + 16 * threadIdx.x);
            make_barrier<WARPS>(barriers + 16 * threadIdx.x + 8);
        }
        __syncthreads();
        wait_for_kernel_before();
#pragma unroll
        for (int each = 0; each < AHEAD; ++each) copy(each);
    }

    // The same with tiles at multiples of COLUMNS.
    __device__ __forceinline__ void open(const Operands &o, const Part &part, int step_columns, u32 data_, u32 barriers_) {
        open(o, part, step_columns, part.begin % o.steps * step_columns / COLUMNS * COLUMNS, data_, barriers_);
    }

    __device__ __forceinline__ void copy(u32 to) {
        if (left-- <= 0) return;
        const bool inside = from < k; // else 16 zeros are written
#pragma unroll
        for (int token = 0; token < TILES * 8; token += WARPS * 32 / PIECES) // after the thread's first
            if (token < tokens)
                copy16(data + to * BYTES + place + token * 128, x + token * stride + (inside ? from : 0), inside ? 16 : 0);
        from = from + COLUMNS < columns ? from + COLUMNS : 0;
        arrive_with_copies(barriers + 16 * to);
    }

    // The warp's columns begin so many after the tile's.
    __device__ __forceinline__ void skip(u32 columns) { lane_part = (lane_part ^ (columns & 32) * 2) + columns / 64 * SLAB; }

    __device__ __forceinline__ void begin() {
        const bool over = stage + AHEAD >= STAGES;
        const u32 to = over ? stage + AHEAD - STAGES : stage + AHEAD;
        // The tile that was there before is two before this one: in this round of the stages only if this round had it.
        if (left > 0) wait_for(barriers + 16 * to + 8, over ? parity : parity ^ 1);
        copy(to);
        wait_for(barriers + 16 * stage, parity);
    }

    // What the lane loads from in columns [column, column + 32) of the tile; eight tokens further are 1024 bytes further.
    __device__ __forceinline__ u32 at(u32 column) const {
        return data + stage * BYTES + column / 64 * SLAB + (lane_part ^ (column & 32) * 2);
    }

    // The same so many columns after `x`; both begin with a multiple of 64, or there are none between them.
    static __device__ __forceinline__ u32 after(u32 x, u32 columns) { return (x ^ (columns & 32) * 2) + columns / 64 * SLAB; }

    __device__ __forceinline__ void end() {
        arrive(barriers + 16 * stage + 8);
        if (++stage == STAGES) stage = 0, parity ^= 1;
    }
};

// 32 columns of eight tokens, for which the lane loads from `x`.
__device__ __forceinline__ uint4 fragments_of_x(u32 x) {
    u32 b[4];
    load_matrices(b, x);
    return make_uint4(b[0], b[1], b[2], b[3]);
}
