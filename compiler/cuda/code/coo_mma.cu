// Y = W X for W of few nonzeros, on dense tensor cores: points (see coo_streams.py) are scattered into shared memory.
//
// A warp keeps a tile of zeros, the fragments of its 32 rows and 32 columns of WORDS steps. Its lanes store the tile's
// nonzeros, 32 in a round, each where its point says; then they load fragments, and store zeros where nonzeros were. So an
// element that is zero costs nothing but its bytes in shared memory. A tile has from LEAST to ROUNDS rounds, which are
// loaded in registers during the tile before.

#include "warp_stream.cuh"

#define TILE_BYTES (WORDS * 2048)
#define AHEAD 48 // rounds from the one that is loaded to the one that is brought to the L2

struct Points {
    u32 values[ROUNDS]; // low half: the nonzero; high half: its byte in the tile
    u32 count;

    __device__ __forceinline__ void load(const u32 *from, u32 count_) {
        count = count_;
        if (count == 0) return; // past the last tile
#pragma unroll
        for (u32 each = 0; each < ROUNDS; ++each)
            if (each < LEAST || each < count) values[each] = streamed4(from + each * 32);
    }

    // Store the nonzeros, or zeros in their places.
    template <bool ZEROS>
    __device__ __forceinline__ void scatter(u32 tile) const {
#pragma unroll
        for (u32 each = 0; each < ROUNDS; ++each)
            if (each < LEAST || each < count) store2(tile + (values[each] >> 16), ZEROS ? 0 : values[each]);
    }
};

__device__ __forceinline__ void clear_tile(u32 tile) {
    for (u32 at = (threadIdx.x & 31) * 16; at < TILE_BYTES; at += 512) store16(tile + at, make_uint4(0, 0, 0, 0));
}

extern "C" __global__ void __launch_bounds__(32 * WARPS, 1) coo_mma(const Operands all) {
    extern __shared__ __align__(1024) char shared[];
    allow_next_kernel();
    const Operands o = of_this_row(all);
    const int lane = threadIdx.x & 31, warp = threadIdx.x / 32;
    const Part part = o.parts[blockIdx.x];
    const int count = o.parts[blockIdx.x + 1].batches - part.batches;
    const u32 *offsets = o.offsets + part.batches * WARPS + warp * count;

    const u32 x_data = shared_address(shared), x_barriers = x_data + Tokens::BYTES * STAGES;
    const u32 tiles = x_barriers + 128, tile = tiles + warp * o.slots;
    const u32 area = tiles + (warp % GROUPS + GROUPS) * o.slots; // of the second warp with the same rows
    const uint4 head = o.heads[blockIdx.x * WARPS + warp];
    const u32 *points = (const u32 *)o.streams + head.x * 32 + lane; // of the tile that is loaded next
    const u32 *last_point = (const u32 *)o.streams + offsets[count] * 32;
    Points next;
    next.load(points, head.y - head.x);
    points = (const u32 *)o.streams + head.y * 32 + lane;
    u32 end = head.z, rounds = head.z - head.y;
    clear_tile(tile);
    __syncwarp();
    int block = part.begin / o.steps, step = part.begin % o.steps, segment = part.segment, column = 0;
    Tokens tokens;
    tokens.open(o, part, HALVES * 32, step * HALVES * 32, x_data, x_barriers);
    tokens.skip(warp / GROUPS * 32);
    Sums sums;
    sums.clear();
    for (int each = 0; each < count; ++each) {
        if (column == 0) tokens.begin();
        const int here = min(o.steps, part.end - block * o.steps) - step; // of this block
        const Points now = next;
        next.load(points, rounds);
        const u32 *ahead = points + (AHEAD * 32 + lane * 31);
        if (lane < rounds && ahead < last_point) bring_to_l2(ahead);
        points += rounds * 32, rounds = offsets[min(each + 3, count)] - end, end += rounds;
        now.scatter<false>(tile);
        __syncwarp();
#pragma unroll
        for (int word = 0; word < WORDS; ++word) {
            if (word > 0 && word >= here) break;
            u32 a[4][4];
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const uint4 v = loaded16(tile + (word * 4 + i) * 512 + lane * 16);
                a[i][0] = v.x, a[i][1] = v.y, a[i][2] = v.z, a[i][3] = v.w;
            }
            multiply(sums.values, a, tokens.at(column + word * HALVES * 32));
        }
        __syncwarp();
        now.scatter<true>(tile);
        __syncwarp();
        const bool last = here <= WORDS;
        step += WORDS, column = last || column + WORDS * HALVES * 32 == COLUMNS ? 0 : column + WORDS * HALVES * 32;
        if (column == 0) tokens.end();
        if (last) {
            sums.finish(o, block, segment, area, tile);
            clear_tile(tile);
            __syncwarp();
            sums.clear();
            ++block, ++segment, step = 0;
        }
    }
}
