// Y = W X for W of few nonzeros, on Hopper's tensor cores: sm_90a only. Nonzeros (see bank_streams.py) are scattered into
// tiles of 64 rows x 64 columns in shared memory, which products of warpgroups read.
//
// A block of threads has SLOTS places for tiles, all zeros to begin with. Tiles come in a line: for each step of 64 columns
// those of ROW_TILES x 64 rows. SCATTERERS warps take them in turns: each waits until the tile that was in the place before
// is multiplied, stores zeros where its nonzeros were and the next tile's nonzeros. Tiles' points are copied to shared memory
// PLACES tiles ahead. One warpgroup multiplies: the instruction takes 64 rows of X, tokens or whatever is behind them, and 256
// rows of W, in 128 cycles for each tile. One of the warps that scatter a step has the tensor memory unit bring its columns of X.

#include "coo_points.cuh"
#include "machine/barriers.cuh"
#include "machine/order.cuh"
#include "machine/tensor_memory.cuh"
#include "machine/wgmma.cuh"
#include "made/wgmma.cuh"
#include "output.cuh"
#include "told_words.cuh"

#define ROW_TILES 4
#define SLOTS (DEPTH * SCATTERERS)
#define STAGES (SLOTS / ROW_TILES) // steps that there are places for, and for their columns of X
#define TILE_BYTES 8192
#define X_BYTES (TOKENS * 128)
#define POINT_BYTES ((FIXED + 2 * ROUNDS) * 64) // of a tile, at most
#define THREADS (128 + 32 * SCATTERERS)

struct Part {
    int begin, end, segment, unused;
};

struct Segments {
    int first, count;
};

struct Operands {
    TensorMap x; // boxes of 64 columns, TOKENS tokens
    Output out;
    const char *streams;
    const u32 *starts; // [workers][SCATTERERS]: the first offset of each
    const u32 *offsets; // [tiles + 1], units: a worker's first warp's, its second's, ...
    const Part *parts; // [workers]
    const Segments *segments; // [blocks]
    float *partial; // [segments][TOKENS][ROWS]
    u32 *counters; // [blocks]
    int steps, blocks, segment_count; // steps of a block
};

__device__ __forceinline__ void scatter(const Operands &o, const Part &part, u32 ring, u32 x_stages, u32 full, u32 read, u32 places,
                                        u32 there) {
    const u32 warp = threadIdx.x / 32 - 4, lane = threadIdx.x & 31;
    const u32 tiles = (part.end - part.begin) * ROW_TILES, count = (tiles - warp + SCATTERERS - 1) / SCATTERERS;
    const u32 *offsets = o.offsets + part.begin * ROW_TILES + warp * (tiles / SCATTERERS) + min(warp, tiles % SCATTERERS);
    const u32 own_places = places + warp * (PLACES * POINT_BYTES), own_there = there + warp * (PLACES * 8);
    ToldWords<u32> ends(offsets + 1, count); // of this warp's tiles
    u32 begin = o.starts[blockIdx.x * SCATTERERS + warp], units[PLACES] = {}; // of the tiles that are copied
    const auto forget_first = [&] {
#pragma unroll
        for (int i = 0; i + 1 < PLACES; ++i) units[i] = units[i + 1];
    };
    const auto copy = [&](u32 which) {
        if (which >= count) return;
        const u32 end = ends.at(which), place = which % PLACES;
        if (lane == 0) {
            expect(own_there + 8 * place, (end - begin) * 64);
            copy_bytes(own_places + place * POINT_BYTES, o.streams + begin * 64ull, (end - begin) * 64, own_there + 8 * place);
        }
        forget_first();
        units[PLACES - 1] = end - begin, begin = end;
    };
#pragma unroll
    for (u32 each = 0; each < PLACES; ++each) copy(each);
    if (count < PLACES) // those that there are come first
        for (u32 each = count; each < PLACES; ++each) forget_first();
#pragma unroll
    for (u32 slot = warp; slot < SLOTS; slot += SCATTERERS)
        for (u32 at = lane * 16; at < TILE_BYTES; at += 512) store16(ring + slot * TILE_BYTES + at, make_uint4(0, 0, 0, 0));
    __syncwarp();
    wait_for_kernel_before();
    Places before[DEPTH] = {}; // the tiles in its places, the oldest first
    for (u32 each = 0; each < count; ++each) {
        const u32 number = warp + each * SCATTERERS, step = number / ROW_TILES, stage = step % STAGES;
        const u32 place = each % PLACES, tile = ring + number % SLOTS * TILE_BYTES;
        Points now;
        wait_for(own_there + 8 * place, each / PLACES % 2);
        now.load(own_places + place * POINT_BYTES, units[0]);
        __syncwarp();
        const u32 next = each + PLACES;
        if (next < count)
            copy(next);
        else
            forget_first();
        if (each >= DEPTH) wait_for(read + 8 * stage, (step / STAGES - 1) % 2);
        if (lane == 0 && each % ROW_TILES == warp % ROW_TILES) { // of each step one warp, in turns
            expect(full + 8 * stage, X_BYTES);
            copy_box(x_stages + stage * X_BYTES, o.x, (part.begin + step) % o.steps * 64, blockIdx.y * TOKENS, full + 8 * stage);
        }
        if (each >= DEPTH) each_place(before[0], tile, [](u32 place, u32) { store2(place, 0); });
        each_place(now.places, tile, [&](u32 place, u32 number) {
            store2(place, number >= MAIN ? now.places.more[number - MAIN] : now.values[number / 2] >> number % 2 * 16);
        });
        show_to_products();
        arrive(full + 8 * stage);
#pragma unroll
        for (int i = 0; i + 1 < DEPTH; ++i) before[i] = before[i + 1];
        before[DEPTH - 1] = now.places;
    }
}

// Sums of four rows of a token.
__device__ __forceinline__ void store_four(const Output &o, float4 v, int token, int row) {
    if (row >= o.m) return;
    const float sums[4] = {v.x, v.y, v.z, v.w};
    u16 *to = o.y + token * o.stride + row;
    const u16 *residual = o.residual + token * o.residual_stride + row;
    const bool whole = o.wide && row + 4 <= o.m;
    uint2 more = make_uint2(0, 0), words;
    if (o.residual && whole) more = *(const uint2 *)residual;
    float w[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) w[i] = sums[i] + (o.bias && row + i < o.m ? o.bias[row + i] : 0.0f);
    if (o.residual && !whole) {
#pragma unroll
        for (int i = 0; i < 4; ++i)
            if (row + i < o.m) (i < 2 ? more.x : more.y) |= (u32)residual[i] << i % 2 * 16;
    }
    const float2 low = both_widened(more.x), high = both_widened(more.y); // zeros without a residual
    words = make_uint2(rounded(activated(w[0], low.x), activated(w[1], low.y)), rounded(activated(w[2], high.x), activated(w[3], high.y)));
    if (whole) {
        *(uint2 *)to = words;
        return;
    }
#pragma unroll
    for (int i = 0; i < 4; ++i)
        if (row + i < o.m) to[i] = (u16)((i < 2 ? words.x : words.y) >> i % 2 * 16);
}

// Where a segment's sums are: [TOKENS][ROWS].
__device__ __forceinline__ float *partial_of(const Operands &o, int segment) {
    return o.partial + ((i64)blockIdx.y * o.segment_count + segment) * (TOKENS * ROWS);
}

__device__ __forceinline__ int tokens_here(const Operands &o) { return min(o.out.tokens - (int)blockIdx.y * TOKENS, TOKENS); }

// The sums of all segments of a block, in their order, so that results do not depend on who adds them up: to y, by so many threads.
__device__ __forceinline__ void finish(const Operands &o, int block, int thread, int threads) {
    const int SOME = 4; // sums of four rows, that a thread has on their way
    const Segments segments = o.segments[block];
    const int count = tokens_here(o) * (ROWS / 4);
    for (int first = thread; first < count; first += threads * SOME) {
        float4 sums[SOME];
#pragma unroll
        for (int i = 0; i < SOME; ++i) sums[i] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll 2
        for (int which = 0; which < segments.count; ++which) {
            const float4 *from = (const float4 *)partial_of(o, segments.first + which);
            float4 more[SOME];
#pragma unroll
            for (int i = 0; i < SOME; ++i) more[i] = __ldcg(from + min(first + i * threads, count - 1));
#pragma unroll
            for (int i = 0; i < SOME; ++i)
                sums[i].x += more[i].x, sums[i].y += more[i].y, sums[i].z += more[i].z, sums[i].w += more[i].w;
        }
#pragma unroll
        for (int i = 0; i < SOME; ++i) {
            const int item = first + i * threads;
            if (item < count) store_four(o.out, sums[i], blockIdx.y * TOKENS + item / (ROWS / 4), block * ROWS + item % (ROWS / 4) * 4);
        }
    }
}

__device__ __forceinline__ void multiply(const Operands &o, const Part &part, u32 ring, u32 x_stages, u32 full, u32 read, u32 left) {
    const int count = part.end - part.begin, warp = threadIdx.x / 32, lane = threadIdx.x & 31;
    int segment = part.segment, block = part.begin / o.steps;
    for (int step = 0; step < count; ++block, ++segment) {
        float sums[ROWS / 2] = {};
        const int begin = step, stop = min(count, (block + 1) * o.steps - part.begin);
        for (; step < stop; ++step) {
            const u32 stage = step % STAGES, x = x_stages + stage * X_BYTES, w = ring + stage * ROW_TILES * TILE_BYTES;
            wait_for(full + 8 * stage, step / STAGES % 2);
            begin_products();
#pragma unroll
            for (int k = 0; k < 4; ++k)
                wgmma(sums, matrix_at<1>(x + k * 32), matrix_at<1>(w + k * 32), k > 0 || step > begin);
            end_products();
            wait_for_products<1>();
            if (step > begin) arrive(read + 8 * ((step - 1) % STAGES));
        }
        wait_for_products<0>();
        arrive(read + 8 * ((step - 1) % STAGES));
        float *own = partial_of(o, segment);
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int token = warp * 16 + half * 8 + lane / 4;
            if (token < tokens_here(o))
#pragma unroll
                for (int i = 0; i < ROWS / 8; ++i)
                    __stcg((float2 *)(own + token * ROWS + i * 8 + lane % 4 * 2), make_float2(sums[4 * i + 2 * half], sums[4 * i + 2 * half + 1]));
        }
        const u32 all = o.segments[block].count;
        meet_warpgroup(1);
        if (all == 1)
            finish(o, block, threadIdx.x, 128);
        else if (threadIdx.x == 0) {
            u32 *counter = o.counters + blockIdx.y * o.blocks + block;
            const bool last = arrivals_before(counter) + 1 == all;
            if (last) *counter = 0;
            // The first and the last segment of a worker are those whose blocks others have, too.
            store4(left + 4 * (begin > 0), last ? block + 1 : 0);
        }
    }
}

// What is left to do when all is multiplied: blocks of which this worker was the last to have its part.
__device__ __forceinline__ void finish_shared(const Operands &o, u32 left) {
    __syncthreads();
    for (int each = 0; each < 2; ++each)
        if (const u32 block = loaded(left + 4 * each)) finish(o, block - 1, threadIdx.x, THREADS);
}

extern "C" __global__ void __launch_bounds__(THREADS, 1) coo_wgmma(const __grid_constant__ Operands o) {
    extern __shared__ __align__(1024) char shared[];
    allow_next_kernel();
    const u32 ring = shared_address(shared), x_stages = ring + SLOTS * TILE_BYTES, places = x_stages + STAGES * X_BYTES;
    const u32 there = places + SCATTERERS * PLACES * POINT_BYTES, full = there + 8 * SCATTERERS * PLACES, read = full + 8 * STAGES;
    const u32 left = read + 8 * STAGES;
    const Part part = o.parts[blockIdx.x];
    if (threadIdx.x == 0) {
        for (int each = 0; each < STAGES; ++each) {
            make_barrier<ROW_TILES + 1>(full + 8 * each); // and X
            make_barrier<4>(read + 8 * each);
        }
        for (int each = 0; each < SCATTERERS * PLACES; ++each) make_barrier<1>(there + 8 * each);
        store8(left, 0, 0);
        show_barriers();
    }
    __syncthreads();
    if (threadIdx.x >= 128) {
        scatter(o, part, ring, x_stages, full, read, places, there);
        finish_shared(o, left);
    } else {
        wait_for_kernel_before();
        multiply(o, part, ring, x_stages, full, read, left);
        finish_shared(o, left);
    }
}
