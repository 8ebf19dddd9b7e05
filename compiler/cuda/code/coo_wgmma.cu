// Y = W X for W of few nonzeros, on Hopper's tensor cores: sm_90a only. Nonzeros (see bank_streams.py) are scattered into
// tiles of HEIGHT rows x 64 columns in shared memory, which products of warpgroups read.
//
// Tiles come in a line: for each step of 64 columns those of ROWS rows. SCATTERERS warps, each with a place for one, all zeros to
// begin with, take them in turns: each waits until the tile before is multiplied, stores zeros where its nonzeros were and the
// next tile's nonzeros. Tiles' points are copied to shared memory PLACES tiles ahead. Warpgroups multiply, each a tile of every
// step. The warp that has a step's first tile has the tensor memory unit bring the columns of X of the step that is AHEAD steps later.

#include "coo_points.cuh"
#include "machine/barriers.cuh"
#include "machine/order.cuh"
#include "machine/tensor_memory.cuh"
#include "machine/wgmma.cuh"
#include "made/wgmma.cuh"
#include "output.cuh"
#include "told_words.cuh"

#define TILES (ROWS / HEIGHT) // of a step
#define PARTS (HEIGHT / 64) // of a tile, that products have
#define STAGES (SCATTERERS / TILES + 1 + AHEAD) // steps whose columns of X there are places for
#define X_BYTES (TOKENS * 128)
#define OUT_BYTES (TOKENS * 128) // of shared memory, through which a warpgroup's results go
#define POINT_BYTES ((FIXED + 2 * ROUNDS) * 64) // of a tile, at most
#define MULTIPLYING (128 * TILES) // threads
#define THREADS (MULTIPLYING + 32 * SCATTERERS)
#define SUMS (TOKENS / 2) // of 64 rows, that a thread has

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
    const uint4 *heads; // [workers][SCATTERERS]: the first offsets of each
    const u32 *offsets; // [tiles + 1], units: a worker's first warp's, its second's, ...
    const Part *parts; // [workers]
    const Segments *segments; // [blocks]
    float4 *partial; // [segments][TILES * PARTS][SUMS / 4][128 threads]
    u32 *counters; // [blocks]
    int steps, blocks, segment_count; // steps of a block
};

// Where all is in shared memory.
struct Shared {
    u32 tiles, x, points;
    u32 there, full, read, x_full, x_read; // barriers: of points; of tiles; of columns of X
    u32 left; // two blocks, + 1, that others have parts of and that are to be finished here

    __device__ __forceinline__ explicit Shared(u32 begin) {
        tiles = begin, x = tiles + SCATTERERS * TILE_BYTES, points = x + STAGES * X_BYTES;
        there = points + SCATTERERS * PLACES * POINT_BYTES, full = there + 8 * SCATTERERS * PLACES, read = full + 8 * SCATTERERS;
        x_full = read + 8 * SCATTERERS, x_read = x_full + 8 * STAGES, left = x_read + 8 * STAGES;
    }
};

// A step's columns of X, if there is such a step.
__device__ __forceinline__ void bring_x(const Operands &o, const Part &part, const Shared &s, u32 step) {
    if (step >= part.end - part.begin) return;
    const u32 stage = step % STAGES, full = s.x_full + 8 * stage;
    if (step >= STAGES) wait_for(s.x_read + 8 * stage, (step / STAGES - 1) % 2);
    if ((threadIdx.x & 31) == 0) {
        expect(full, X_BYTES);
        copy_box(s.x + stage * X_BYTES, o.x, (part.begin + step) % o.steps * 64, blockIdx.y * TOKENS, full);
    }
}

__device__ __forceinline__ void scatter(const Operands &o, const Part &part, const Shared &s) {
    const u32 warp = (threadIdx.x - MULTIPLYING) / 32, lane = threadIdx.x & 31;
    const u32 tiles = (part.end - part.begin) * TILES, count = (tiles - warp + SCATTERERS - 1) / SCATTERERS;
    const u32 *offsets = o.offsets + part.begin * TILES + warp * (tiles / SCATTERERS) + min(warp, tiles % SCATTERERS);
    const u32 own_points = s.points + warp * (PLACES * POINT_BYTES), own_there = s.there + warp * (PLACES * 8);
    const u32 tile = s.tiles + warp * TILE_BYTES;
    ToldWords<u32> ends(offsets + 1, count); // of this warp's tiles
    const uint4 head = o.heads[blockIdx.x * SCATTERERS + warp]; // so that the first need not wait for those
    const u32 first[4] = {head.x, head.y, head.z, head.w};
    u32 begin = first[0], units[PLACES] = {}; // of the tiles that are copied
    const auto forget_first = [&] {
#pragma unroll
        for (int i = 0; i + 1 < PLACES; ++i) units[i] = units[i + 1];
    };
    const auto copy = [&](u32 which, u32 end) {
        const u32 place = which % PLACES;
        if (lane == 0) {
            expect(own_there + 8 * place, (end - begin) * 64);
            copy_bytes(own_points + place * POINT_BYTES, o.streams + begin * 64ull, (end - begin) * 64, own_there + 8 * place);
        }
        forget_first();
        units[PLACES - 1] = end - begin, begin = end;
    };
#pragma unroll
    for (u32 each = 0; each < PLACES; ++each)
        if (each < count)
            copy(each, first[each + 1]);
        else
            forget_first(); // those that there are come first
    for (u32 at = lane * 16; at < TILE_BYTES; at += 512) store16(tile + at, make_uint4(0, 0, 0, 0));
    __syncwarp();
    for (u32 each = 0; each < PLACES; ++each) ends.at(each);
    Places before = {}; // of the tile that is there
    for (u32 each = 0; each < count; ++each) {
        const u32 number = warp + each * SCATTERERS, place = each % PLACES;
        if (number % TILES == 0) {
            const u32 step = number / TILES;
            if (each == 0) {
                wait_for_kernel_before(); // which may write X
                for (u32 first = step; first < AHEAD; first += SCATTERERS / TILES) bring_x(o, part, s, first);
            }
            bring_x(o, part, s, step + AHEAD);
        }
        Points now;
        wait_for(own_there + 8 * place, each / PLACES % 2);
        now.load(own_points + place * POINT_BYTES, units[0]);
        __syncwarp();
        const u32 next = each + PLACES;
        if (next < count)
            copy(next, ends.at(next));
        else
            forget_first();
        if (each > 0) {
            wait_for(s.read + 8 * warp, (each - 1) % 2);
            clear(before, tile);
            __syncwarp(); // other lanes' nonzeros may be there now
        }
        put(now, tile);
        show_to_products();
        arrive(s.full + 8 * warp);
        before = now.places;
    }
}

// Where a thread's sums of 64 rows of a segment are.
__device__ __forceinline__ float4 *partial_of(const Operands &o, int segment, int part) {
    return o.partial + (((i64)blockIdx.y * o.segment_count + segment) * (TILES * PARTS) + part) * (SUMS / 4 * 128) + threadIdx.x % 128;
}

// A warpgroup's sums of a segment, for a worker to add up: whether it is the last of the block's that is here, in one thread.
__device__ __forceinline__ bool give(const Operands &o, const float (&sums)[PARTS][SUMS], int segment, int block, int workers) {
    const int group = threadIdx.x / 128;
#pragma unroll
    for (int part = 0; part < PARTS; ++part) {
        float4 *to = partial_of(o, segment, group * PARTS + part);
        const float *v = sums[part];
#pragma unroll
        for (int i = 0; i < SUMS; i += 4) __stcg(to + i / 4 * 128, make_float4(v[i], v[i + 1], v[i + 2], v[i + 3]));
    }
    meet_warpgroup(1 + group);
    if (threadIdx.x % 128) return false;
    u32 *counter = o.counters + blockIdx.y * o.blocks + block;
    const bool last = arrivals_before(counter) + 1 == workers * TILES;
    if (last) *counter = 0;
    return last;
}

__device__ __forceinline__ void multiply(const Operands &o, const Part &part, const Shared &s) {
    const int count = part.end - part.begin, group = threadIdx.x / 128;
    int segment = part.segment, block = part.begin / o.steps;
    for (int step = 0; step < count; ++block, ++segment) {
        float sums[PARTS][SUMS];
#pragma unroll
        for (int i = 0; i < PARTS * SUMS; ++i) sums[i / SUMS][i % SUMS] = 0.0f;
        const int begin = step, stop = min(count, (block + 1) * o.steps - part.begin);
        u32 before = 0, x_before = 0; // barriers of what is being multiplied
        for (; step < stop; ++step) {
            const u32 stage = step % STAGES, number = step * TILES + group, slot = number % SCATTERERS;
            const u32 x = same(matrix_place(s.x + stage * X_BYTES) | FIRST_BIT);
            const u32 w = same(matrix_place(s.tiles + slot * TILE_BYTES) | FIRST_BIT);
            wait_for(s.x_full + 8 * stage, step / STAGES % 2);
            wait_for(s.full + 8 * slot, number / SCATTERERS % 2);
            begin_products();
#pragma unroll
            for (int k = 0; k < 4; ++k)
#pragma unroll
                for (int each = 0; each < PARTS; ++each)
                    wgmma(sums[each], placed<1>(w + each * 512 + k * 2), placed<1>(x + k * 2));
            end_products();
            wait_for_products<1>();
            if (step > begin) arrive(before), arrive(x_before);
            before = s.read + 8 * slot, x_before = s.x_read + 8 * stage;
        }
        wait_for_products<0>();
        arrive(before), arrive(x_before);
#pragma unroll
        for (int each = 0; each < PARTS; ++each) settle(sums[each]);
        const int workers = o.segments[block].count;
        if (give(o, sums, segment, block, workers) && workers > 1)
            // The first and the last segment of a worker are those whose blocks others have, too.
            store4(s.left + 4 * (begin > 0), block + 1);
    }
}

// The sums of all segments of a block, in their order, so that results do not depend on who adds them up, to y: by all warpgroups.
__device__ __forceinline__ void finish(const Operands &o, int block, u32 areas) {
    const int SOME = 32 / SUMS; // segments, that a thread has on their way
    const Segments segments = o.segments[block];
    const int group = threadIdx.x / 128;
    for (int part = group; part < TILES * PARTS; part += THREADS / 128) {
        float sums[SUMS] = {};
#pragma unroll SOME
        for (int which = 0; which < segments.count; ++which) {
            const float4 *from = partial_of(o, segments.first + which, part);
#pragma unroll
            for (int i = 0; i < SUMS; i += 4) {
                const float4 more = __ldcg(from + i / 4 * 128);
                sums[i] += more.x, sums[i + 1] += more.y, sums[i + 2] += more.z, sums[i + 3] += more.w;
            }
        }
        const int first = block * ROWS + part * 64, row = first_of_rows(first, first + 32);
        const float2 biases = o.out.biases(row, row + 8);
        store<TOKENS>(sums, o.out, first, first + 32, blockIdx.y * TOKENS, biases, areas + group * OUT_BYTES, 1 + group);
    }
}

// When all is multiplied: the blocks that are this worker's alone, and those of which it was the last to have its part.
__device__ __forceinline__ void finish_all(const Operands &o, const Part &part, const Shared &s) {
    __syncthreads();
    __syncthreads(); // one is enough, but compute-sanitizer's racecheck does not see that it orders `left`
    const u32 left[2] = {loaded(s.left), loaded(s.left + 4)};
    for (int block = part.begin / o.steps; block * o.steps < part.end; ++block)
        if (o.segments[block].count == 1 || block + 1 == left[0] || block + 1 == left[1]) finish(o, block, s.tiles);
}

extern "C" __global__ void __launch_bounds__(THREADS, 1) coo_wgmma(const __grid_constant__ Operands o) {
    extern __shared__ __align__(1024) char shared[];
    allow_next_kernel();
    const Shared s(shared_address(shared));
    const Part part = o.parts[blockIdx.x];
    if (threadIdx.x == 0) {
        for (int each = 0; each < STAGES; ++each) make_barrier<1>(s.x_full + 8 * each), make_barrier<4 * TILES>(s.x_read + 8 * each);
        for (int each = 0; each < SCATTERERS; ++each) make_barrier<1>(s.full + 8 * each), make_barrier<4>(s.read + 8 * each);
        for (int each = 0; each < SCATTERERS * PLACES; ++each) make_barrier<1>(s.there + 8 * each);
        store8(s.left, 0, 0);
        show_barriers();
    }
    __syncthreads();
    if (threadIdx.x >= MULTIPLYING) {
        scatter(o, part, s);
    } else {
        wait_for_kernel_before();
        multiply(o, part, s);
    }
    finish_all(o, part, s);
}
