// Y = W X for block-sparse W and many tokens: a warp has a strip of 32 rows, in the steps of bsr_rows.py.
//
// A block of threads has WARPS strips and TOKENS tokens, a tile after the other. X comes in steps of 64 columns, to STAGES places,
// the units of W that a step is multiplied by, 32 x 32 each and as `mma` wants them, to a ring of UNITS places. A warp multiplies
// the steps that its strip has units in and passes the others, as far as there are stages: none waits for another before it is
// so many steps ahead. CLUSTER blocks have the same tokens and steps, and other rows: each copies every second step of X for both.
//
// Macros set by the caller: TOKENS (a multiple of 8), STAGES and UNITS, CLUSTER, which STAGES is a multiple of; those of
// output.cuh.

#include "machine/barriers.cuh"
#include "machine/order.cuh"
#include "machine/tensor_memory.cuh"
#include "output.cuh"
#include "tile_order.cuh"
#include "told_words.cuh"

#define WARPS 12
#define EIGHTS (TOKENS / 8)
#define X_BYTES (TOKENS * 128) // of a step
#define UNIT_BYTES 2048
#define PITCH 80              // bytes of a token's 32 rows on their way out
#define STORE_BYTES (8 * PITCH) // of a warp

// Of a step and a tile. Units lie in the order of warps, then of columns.
struct Step {
    u16 column, units; // in 64; how many
    u32 mask;          // two bits of each warp: has it a unit of the first, of the second 32 columns?
    u32 first, unused;
};

struct RowTile {
    int first_step, steps;
    short strips[WARPS]; // of each warp, or -1
};

struct Operands {
    TensorMap x; // boxes of 64 columns, TOKENS tokens
    Output out;
    const char *units;
    const Step *steps;
    const RowTile *tiles; // [row tiles / CLUSTER, CLUSTER], of which the last have the same columns
    Order order;
};

// Where things are in shared memory.
struct Places {
    u32 x, ring, areas, heads;
    u32 full, read; // barriers of stages
    u32 ready;      // of stages that this block copies: all of the cluster wait for it

    __device__ __forceinline__ Places(u32 base) : x(base), ring(x + STAGES * X_BYTES), areas(ring + UNITS * UNIT_BYTES) {
        heads = areas + WARPS * STORE_BYTES, full = heads + STAGES * 8, read = full + 8 * STAGES, ready = read + 8 * STAGES;
    }
};

// The tiles of a block of threads, one after the other.
struct Work {
    const Operands &o;
    int number, token;
    const RowTile *tile;

    __device__ __forceinline__ Work(const Operands &operands) : o(operands), number(blockIdx.x / CLUSTER) { find(); }
    __device__ __forceinline__ bool more() const { return number < o.order.count(); }
    __device__ __forceinline__ void next() { number += gridDim.x / CLUSTER, find(); }
    __device__ __forceinline__ void find() {
        if (!more()) return;
        int row_tiles, token_tile;
        o.order.find(number, row_tiles, token_tile);
        tile = o.tiles + row_tiles * CLUSTER + blockIdx.x % CLUSTER, token = token_tile * TOKENS;
    }
};

// One warp says what comes next, and that there is room for it.
__device__ __forceinline__ void announce(const Operands &o, const Places &at) {
    Stage<STAGES> stage = {0, 0};
    bool again = false; // stages were used before
    for (Work work(o); work.more(); work.next()) {
        ToldHeads<Step> steps(o.steps + work.tile->first_step, work.tile->steps);
        for (int step = 0; step < steps.count; ++step, stage.next()) {
            steps.turn(step);
            const u32 column_units = __shfl_sync(~0u, steps.own.x, step % 32), mask = __shfl_sync(~0u, steps.own.y, step % 32);
            const u32 barrier = 8 * stage.index;
            if (again) wait_for(at.read + barrier, stage.parity ^ 1);
            again |= stage.index == STAGES - 1;
            if (threadIdx.x % 32 == 0) {
                store8(at.heads + barrier, column_units, mask);
                expect(at.full + barrier, X_BYTES + (column_units >> 16) * UNIT_BYTES);
                arrive_there(at.ready + barrier, stage.index % CLUSTER);
            }
        }
    }
}

// One warp copies units. It says so of steps without any, too: were a stage full without it, the rounds of `read` could pass it by.
__device__ __forceinline__ void copy_units(const Operands &o, const Places &at) {
    Stage<STAGES> stage = {0, 0}, oldest = {0, 0};
    u32 taken = 0, units = 0, place = 0, held = 0; // of the stages and of the ring; units of the stage of this lane's number
    for (Work work(o); work.more(); work.next()) {
        ToldHeads<Step> steps(o.steps + work.tile->first_step, work.tile->steps);
        for (int step = 0; step < steps.count; ++step, stage.next()) {
            steps.turn(step);
            const u32 own = __shfl_sync(~0u, steps.own.x, step % 32) >> 16, which = __shfl_sync(~0u, steps.own.z, step % 32);
            while (taken == STAGES || units + own > UNITS) {
                wait_for(at.read + 8 * oldest.index, oldest.parity);
                units -= __shfl_sync(~0u, held, oldest.index), --taken;
                oldest.next();
            }
            ++taken, units += own;
            if (threadIdx.x % 32 == stage.index) held = own;
            const u32 whole = min(own, UNITS - place); // before the ring's end
            const u32 barrier = at.full + 8 * stage.index;
            if (threadIdx.x % 32 == 0) {
                const char *first = o.units + (i64)which * UNIT_BYTES;
                if (whole) copy_bytes(at.ring + place * UNIT_BYTES, first, whole * UNIT_BYTES, barrier);
                if (own > whole) copy_bytes(at.ring, first + whole * UNIT_BYTES, (own - whole) * UNIT_BYTES, barrier);
            }
            arrive(barrier);
            place = place + own >= UNITS ? place + own - UNITS : place + own;
        }
    }
}

// One warp copies X, every CLUSTER-th step for all blocks.
__device__ __forceinline__ void copy_x(const Operands &o, const Places &at) {
    Stage<STAGES> stage = {0, 0};
    for (Work work(o); work.more(); work.next()) {
        ToldHeads<Step> steps(o.steps + work.tile->first_step, work.tile->steps);
        for (int step = 0; step < steps.count; ++step, stage.next()) {
            steps.turn(step);
            const u32 column = __shfl_sync(~0u, steps.own.x, step % 32) & 0xFFFF, barrier = 8 * stage.index;
            if (stage.index % CLUSTER != blockIdx.x % CLUSTER) continue;
            wait_for(at.ready + barrier, stage.parity);
            if (threadIdx.x % 32 == 0)
                copy_box_to_blocks(at.x + stage.index * X_BYTES, o.x, column * 64, work.token, at.full + barrier, (1 << CLUSTER) - 1);
        }
    }
}

// Of a warp: 16 rows, and 16 more, x all tokens.
struct Sums {
    float values[2][EIGHTS][4];

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int each = 0; each < 8 * EIGHTS; ++each) (&values[0][0][0])[each] = 0.0f;
    }

    // Add a unit times its part of X; `unit` and `x` are this lane's places in them.
    __device__ __forceinline__ void multiply(u32 unit, u32 x) {
#pragma unroll
        for (int half = 0; half < 2; ++half) { // of its columns
            u32 a[2][4];
#pragma unroll
            for (int rows = 0; rows < 2; ++rows) {
                const uint4 v = loaded16(unit + half * 1024 + rows * 512);
                a[rows][0] = v.x, a[rows][1] = v.y, a[rows][2] = v.z, a[rows][3] = v.w;
            }
#pragma unroll
            for (int eight = 0; eight < EIGHTS; eight += 2) {
                u32 b[4]; // two words for eight tokens, then for the others
                if (eight + 1 < EIGHTS)
                    load_matrices(b, (x ^ half * 32) + eight * 1024);
                else
                    load_two_matrices(b, (x ^ half * 32) + eight * 1024);
#pragma unroll
                for (int each = 0; each < 2 && eight + each < EIGHTS; ++each)
#pragma unroll
                    for (int rows = 0; rows < 2; ++rows) mma(values[rows][eight + each], a[rows], b[2 * each], b[2 * each + 1]);
            }
        }
    }

    // To y, through `area`, where rows become neighbours; INSIDE: all are, 16 bytes at a time can be written, and nothing is added.
    template <bool INSIDE>
    __device__ __forceinline__ void store(const Output &o, int first_row, int first_token, u32 area) const {
        const int lane = threadIdx.x & 31, out_row = first_row + lane % 4 * 8;
        const u32 to = area + lane % 8 * PITCH + lane / 8 * 16, piece = area + lane / 4 * PITCH + lane % 4 * 16;
        const float2 biases[2] = {o.biases(first_row + lane / 4, first_row + lane / 4 + 8),
                                  o.biases(first_row + lane / 4 + 16, first_row + lane / 4 + 24)};
#pragma unroll
        for (int eight = 0; eight < EIGHTS; ++eight) {
            const int token = first_token + 8 * eight + lane / 4;
            u32 words[4] = {}; // 8 rows x 8 tokens
            __syncwarp();
            if (!INSIDE && o.residual) {
                store16(piece, o.added(token, out_row));
                __syncwarp();
                load_transposed(words, to);
            }
#pragma unroll
            for (int part = 0; part < 4; ++part) {
                const float *v = values[part / 2][eight] + part % 2 * 2, bias = part % 2 ? biases[part / 2].y : biases[part / 2].x;
                const float2 more = both_widened(words[part]); // zeros without a residual
                words[part] = INSIDE ? rounded(activated(v[0] + bias), activated(v[1] + bias))
                                     : rounded(activated(v[0] + bias, more.x), activated(v[1] + bias, more.y));
            }
            store_transposed(to, words);
            __syncwarp();
            if (INSIDE)
                *(uint4 *)(o.y + token * o.stride + out_row) = loaded16(piece);
            else if (token < o.tokens)
                o.write(token, out_row, piece);
        }
    }
};

// Each of the other warps multiplies its strips.
__device__ __forceinline__ void multiply(const Operands &o, const Places &at, int warp) {
    Stage<STAGES> stage = {0, 0};
    u32 place = 0; // in the ring
    const int lane = threadIdx.x & 31;
    // Lane l gives the place of token l % 8 of eight (l / 16), of eight columns (l / 8 % 2).
    const u32 x_lane = at.x + lane / 16 * 1024 + lane % 8 * 128 + (lane / 8 % 2 ^ lane % 8) * 16, unit_lane = at.ring + lane * 16;
    for (Work work(o); work.more(); work.next()) {
        Sums sums;
        sums.clear();
#pragma unroll 1
        for (int left = work.tile->steps; left > 0; --left) {
            wait_for(at.full + 8 * stage.index, stage.parity);
            const uint2 head = loaded8(at.heads + 8 * stage.index); // column and units, mask
            const u32 x = x_lane + stage.index * X_BYTES;
            u32 unit = place + __popc(head.y & ((1u << 2 * warp) - 1));
            unit = unit >= UNITS ? unit - UNITS : unit;
#pragma unroll 1
            for (u32 own = head.y >> 2 * warp & 3; own; own &= own - 1) {
                sums.multiply(unit_lane + unit * UNIT_BYTES, own & 1 ? x : x ^ 64);
                unit = unit + 1 == UNITS ? 0 : unit + 1;
            }
            place += head.x >> 16;
            place = place >= UNITS ? place - UNITS : place;
            arrive(at.read + 8 * stage.index);
            stage.next();
        }
        const int strip = work.tile->strips[warp], row = strip * 32;
        if (strip < 0) continue;
        const u32 area = at.areas + warp * STORE_BYTES;
        if (o.out.wide && !o.out.residual && row + 32 <= o.out.m && work.token + TOKENS <= o.out.tokens)
            sums.store<true>(o.out, row, work.token, area);
        else
            sums.store<false>(o.out, row, work.token, area);
    }
}

extern "C" __global__ void __cluster_dims__(CLUSTER, 1, 1)
__launch_bounds__(32 * WARPS + 128, 1) bsr_rows_mma(const __grid_constant__ Operands o) {
    extern __shared__ __align__(1024) char shared[];
    const Places at(shared_address(shared));
    const int warp = __shfl_sync(~0u, threadIdx.x / 32, 0); // the compiler knows: of a warp
    if (threadIdx.x == 0)
        for (int each = 0; each < STAGES; ++each) make_barrier<CLUSTER>(at.ready + 8 * each);
    make_barriers<STAGES, WARPS, 2>(at.full); // what comes is announced, units are copied
    meet_cluster();
    wait_for_kernel_before();
    if (warp < WARPS) {
        take_registers<160>();
        multiply(o, at, warp);
    } else {
        give_registers<32>();
        if (warp == WARPS)
            announce(o, at);
        else if (warp == WARPS + 1)
            copy_units(o, at);
        else if (warp == WARPS + 2)
            copy_x(o, at);
    }
    meet_cluster(); // no one writes to the shared memory of a block that is gone
}
