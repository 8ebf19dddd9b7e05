// Y = W X for block-sparse W and many tokens on Hopper's tensor cores: tiles of many rows and few tokens, windows of bsr_tall.py.
//
// A block of threads has GROUPS x STRIPS strips of 32 rows and TOKENS tokens, a tile after the other. CLUSTER blocks have the same
// rows, so the same windows and units, and other tokens. X comes in windows of up to STEPS steps of 64 columns, to one of STAGES
// places, the window's units of W, 32 x 32 each, to a ring of UNITS places, where they lie one after the other; each block copies a
// part of them for all of the cluster. A warpgroup has STRIPS strips, whose sums are in registers: it goes through its strips in
// a loop that is unrolled, and through a strip's units of the window in one that is not. For each window there are barriers, jumps
// over strips without a unit, and the end of its last products; the more columns a window has, the fewer these are.
//
// Macros set by the caller: CLUSTER, STEPS, STAGES, UNITS; those of output.cuh.

#define TOKENS 64
#define SPLIT 1
#define STRIPS 8

#include "machine/barriers.cuh"
#include "machine/order.cuh"
#include "machine/tensor_memory.cuh"
#include "machine/wgmma.cuh"
#include "made/wgmma.cuh"
#include "output.cuh"
#include "strip_sums.cuh"
#include "tile_order.cuh"
#include "told_words.cuh"

#define STEP_BYTES (TOKENS * 128)
#define X_BYTES (STEPS * STEP_BYTES) // of a window's place
#define UNIT_BYTES 2048 // 32 rows of 64 bytes, swizzled
#define BOXES 8 // of 32 columns of a window, at most

// Units lie in the order of warpgroups, strips and columns.
struct __align__(16) Window {
    u32 first;
    unsigned char units, steps, before[2]; // units of the warpgroups before the second, and the third
    u16 columns[4]; // of each step, in 64
    u64 masks[4]; // of each warpgroup: BOXES bits for each strip, which units there are
};

struct RowTile {
    int first_window, windows;
    short strips[GROUPS * STRIPS]; // or -1
};

struct Operands {
    TensorMap x; // boxes of 64 columns, TOKENS tokens
    Output out;
    const char *units;
    const Window *windows;
    const RowTile *tiles; // [row tiles]
    Order order; // of tiles of a cluster
};

// Where things are in shared memory.
struct Places {
    u32 x, ring, areas, windows;
    u32 full, read; // barriers of stages

    __device__ __forceinline__ Places(u32 base) : x(base), ring(x + STAGES * X_BYTES), areas(ring + UNITS * UNIT_BYTES) {
        windows = areas + GROUPS * 4 * STORE_BYTES, full = windows + STAGES * sizeof(Window), read = full + 8 * STAGES;
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
        int row_tile, token_tile;
        o.order.find(number, row_tile, token_tile);
        tile = o.tiles + row_tile, token = (token_tile * CLUSTER + blockIdx.x % CLUSTER) * TOKENS;
    }
};

// A warp tells all blocks of the cluster.
__device__ __forceinline__ void arrive_at_all(u32 barrier) {
    __syncwarp();
    if ((threadIdx.x & 31) < CLUSTER) arrive_there(barrier, threadIdx.x & 31);
}

// One warp copies X.
__device__ __forceinline__ void copy_x(const Operands &o, const Places &at) {
    Stage<STAGES> stage = {0, 0};
    for (Work work(o); work.more(); work.next()) {
        ToldHeads<Window> all(o.windows + work.tile->first_window, work.tile->windows);
        for (int window = 0; window < all.count; ++window, stage.next()) {
            all.turn(window);
            const u32 steps = __shfl_sync(~0u, all.own.y, window % 32) >> 8 & 0xFF, barrier = at.full + 8 * stage.index;
            const u32 first = __shfl_sync(~0u, all.own.z, window % 32), last = __shfl_sync(~0u, all.own.w, window % 32);
            wait_for(at.read + 8 * stage.index, stage.parity ^ 1);
            if (threadIdx.x % 32) continue;
            expect(barrier, steps * STEP_BYTES);
            for (u32 step = 0; step < steps; ++step) {
                const u32 column = (step < 2 ? first : last) >> step % 2 * 16 & 0xFFFF;
                copy_box(at.x + stage.index * X_BYTES + step * STEP_BYTES, o.x, column * 64, work.token, barrier);
            }
        }
    }
}

// The place in the ring of so many units: all before its end.
__device__ __forceinline__ u32 place_of(u32 place, u32 units) { return place + units > UNITS ? 0 : place; }

// One warp copies what windows are, and a part of their units to all blocks.
__device__ __forceinline__ void copy_units(const Operands &o, const Places &at) {
    Stage<STAGES> stage = {0, 0}, oldest = {0, 0};
    u32 taken = 0, used = 0, place = 0, held = 0; // of the stages and of the ring; of the ring by the stage of this lane's number
    const u32 rank = blockIdx.x % CLUSTER;
    for (Work work(o); work.more(); work.next()) {
        ToldHeads<Window> all(o.windows + work.tile->first_window, work.tile->windows);
        for (int window = 0; window < all.count; ++window, stage.next()) {
            all.turn(window);
            const u32 which = __shfl_sync(~0u, all.own.x, window % 32), own = __shfl_sync(~0u, all.own.y, window % 32) & 0xFF;
            const u32 to = place_of(place, own);
            const u32 room = to == place ? own : min(own + UNITS - place, (u32)UNITS); // with what is passed over at the end
            while (taken == STAGES || used + room > UNITS) {
                wait_for(at.read + 8 * oldest.index, oldest.parity);
                used -= __shfl_sync(~0u, held, oldest.index), --taken;
                oldest.next();
            }
            ++taken, used += room, place = to + own;
            if (threadIdx.x % 32 == stage.index) held = room;
            if (threadIdx.x % 32) continue;
            const u32 barrier = at.full + 8 * stage.index;
            expect(barrier, sizeof(Window) + own * UNIT_BYTES);
            copy_bytes(at.windows + stage.index * sizeof(Window), all.from + window, sizeof(Window), barrier);
            const u32 begin = own * rank / CLUSTER, end = own * (rank + 1) / CLUSTER;
            if (begin < end)
                copy_bytes_to_blocks(at.ring + (to + begin) * UNIT_BYTES, o.units + (i64)(which + begin) * UNIT_BYTES,
                                     (end - begin) * UNIT_BYTES, barrier, (1 << CLUSTER) - 1);
        }
    }
}

// Each of the other warpgroups multiplies its strips.
__device__ __forceinline__ void multiply(const Operands &o, const Places &at, int group) {
    Stage<STAGES> stage = {0, 0};
    u32 place = 0; // in the ring
    const int warp = threadIdx.x / 32 % 4;
    const u32 area = at.areas + threadIdx.x / 32 * STORE_BYTES;
    for (Work work(o); work.more(); work.next()) {
        float sums[STRIPS][16];
#pragma unroll
        for (int each = 0; each < 16 * STRIPS; ++each) (&sums[0][0])[each] = 0.0f;
#pragma unroll 1
        for (int left = work.tile->windows; left > 0; --left) {
            wait_for(at.full + 8 * stage.index, stage.parity);
            const u32 window = at.windows + stage.index * sizeof(Window);
            const u32 head = loaded(window + 4); // units, steps, those before
            const uint2 masks = loaded8(window + 16 + group * 8);
            const u64 mask = (u64)same(masks.y) << 32 | same(masks.x);
            const u32 to = place_of(place, head & 0xFF), before = group == 0 ? 0 : head >> (8 + 8 * group) & 0xFF;
            u32 unit = same((matrix_place(at.ring) | FIRST_BIT) + (to + before) * (UNIT_BYTES / 16));
            const u32 x = matrix_place(at.x + stage.index * X_BYTES) | FIRST_BIT;
            begin_products();
#pragma unroll
            for (int strip = 0; strip < STRIPS; ++strip)
#pragma unroll 1
                for (u32 own = (u32)(mask >> strip * BOXES) & ((1u << BOXES) - 1); own; own &= own - 1) {
                    const u32 box = __ffs(own) - 1;
                    multiply_unit(sums[strip], x + (box >> 1) * (STEP_BYTES / 16) + (box & 1) * (64 / 16), unit);
                    unit += UNIT_BYTES / 16;
                }
            end_products();
            wait_for_products<0>();
            arrive_at_all(at.read + 8 * stage.index);
            place = to + (head & 0xFF);
            stage.next();
        }
#pragma unroll
        for (int each = 0; each < STRIPS; ++each) {
            const int strip = work.tile->strips[group * STRIPS + each], token = work.token + warp * 16;
            if (strip >= 0 && token < o.out.tokens) store_strip(sums[each], o.out, strip * 32, token, area);
        }
    }
}

extern "C" __global__ void __cluster_dims__(CLUSTER, 1, 1)
__launch_bounds__(128 * (GROUPS + 1), 1) bsr_tall_wgmma(const __grid_constant__ Operands o) {
    extern __shared__ __align__(1024) char shared[];
    const Places at(shared_address(shared));
    const int warp = __shfl_sync(~0u, threadIdx.x / 32, 0); // the compiler knows: of a warp
    make_barriers<STAGES, CLUSTER * GROUPS * 4, 2>(at.full); // X, and units
    meet_cluster();
    wait_for_kernel_before();
    if (warp < GROUPS * 4) {
        take_registers<160>();
        multiply(o, at, warp / 4);
    } else {
        give_registers<32>();
        if (warp == GROUPS * 4)
            copy_x(o, at);
        else if (warp == GROUPS * 4 + 1)
            copy_units(o, at);
    }
    meet_cluster(); // no one writes to the shared memory of a block that is gone
}
