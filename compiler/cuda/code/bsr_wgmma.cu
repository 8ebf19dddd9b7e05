// Y = W X for block-sparse W and many tokens on Hopper's tensor cores: windows and units of bsr_steps.py.
//
// A block of threads has up to GROUPS x STRIPS strips of 32 rows and TOKENS tokens, a tile after the other. One warp copies
// X, some steps of 64 columns together: a window, to one of STAGES places, and the window's units of W, 32 x 32 each, to a
// ring of UNITS places. A warpgroup has STRIPS strips, whose sums are in registers. As a register has no run-time number,
// it goes through its strips in a loop that is unrolled, and through a strip's units of the window in one that is not. All
// warpgroups have the same windows, so it matters little how units are distributed among strips. What takes time is not
// products alone: with a window come barriers, jumps over strips without a unit, and the end of its last products, which
// three warpgroups wait for in turn.
//
// Where there are few tiles, each is done by SPLIT blocks of threads, a cluster, that have a part of its windows each. They
// put their sums into their shared memory, and each adds up and writes some of the strips.
//
// Macros set by the caller: TOKENS (64 or 128), SPLIT, STAGES, STEPS of a window, UNITS; those of output.cuh.

#define STRIPS 4 // of a warpgroup

#include "machine/barriers.cuh"
#include "machine/order.cuh"
#include "machine/tensor_memory.cuh"
#include "machine/wgmma.cuh"
#include "made/wgmma.cuh"
#include "output.cuh"
#include "strip_sums.cuh"
#include "tile_order.cuh"

#define BOX_BYTES (TOKENS * 128)
#define STEP_BYTES (128 * 128) // a step's place: units know where the next step's is
#define UNIT_BYTES 2048 // 32 rows of 64 bytes, swizzled
#define MOST 24 // units of a window
#define COUNTS 16 // bytes of a window before them
#define PLACES 28

// Units lie in the order of strips, then of columns, from `first` on; the second warpgroup's from `first + splits[0]` on, the
// third's from `first + splits[1]` on.
struct __align__(16) Window {
    u32 first;
    unsigned char units, steps, splits[2];
    u16 columns[4]; // of each step, in 64
    u32 counts[GROUPS]; // of the units of each strip, a byte each
    u16 places[MOST]; // of what each unit is multiplied by, in 16 bytes within the window's part of X
};

struct RowTile {
    int first_window, windows, strip, strips;
};

struct Operands {
    TensorMap x; // boxes of 64 columns, TOKENS tokens
    Output out;
    const char *units;
    const Window *windows;
    const RowTile *tiles; // [row tiles]
    Order order;
};

// A tile, or a part of one, and its windows.
struct Work {
    int row_tile, token_tile, part, first_window, windows;

    __device__ __forceinline__ Work(const Operands &o, int number) {
        o.order.find(number / SPLIT, row_tile, token_tile);
        part = number % SPLIT;
        const int all = o.tiles[row_tile].windows, begin = all * part / SPLIT;
        first_window = o.tiles[row_tile].first_window + begin, windows = all * (part + 1) / SPLIT - begin;
    }
};

extern "C" __global__ void
#if SPLIT > 1
__cluster_dims__(SPLIT, 1, 1)
#endif
__launch_bounds__(128 * (GROUPS + 1), 1) bsr_wgmma(const __grid_constant__ Operands o) {
    extern __shared__ __align__(1024) char shared[];
    const u32 x_stages = shared_address(shared), ring = x_stages + STAGES * STEPS * STEP_BYTES;
    const u32 areas = ring + UNITS * UNIT_BYTES, windows = areas + GROUPS * 4 * STORE_BYTES;
    const u32 full = windows + STAGES * sizeof(Window), read = full + 8 * STAGES;
    const int group = __shfl_sync(~0u, threadIdx.x / 128, 0), lane = threadIdx.x & 31; // the compiler knows: of a warp
    make_barriers<STAGES, GROUPS * 4>(full);
    wait_for_kernel_before();
    Stage<STAGES> stage = {0, 0};
    u32 place = 0; // in the ring

    if (group == GROUPS) {
        give_registers<24>();
        if (threadIdx.x == GROUPS * 128) {
            Stage<STAGES> oldest = {0, 0};
            u32 taken = 0, units = 0; // of the stages and of the ring
            for (int number = blockIdx.x; number < o.order.count() * SPLIT; number += gridDim.x) {
                const Work work(o, number);
                const Window *from = o.windows + work.first_window;
                int left = work.windows;
                if (!left) continue;
                uint4 ahead = *(const uint4 *)from;
                for (; left > 0; --left, ++from) {
                    const uint4 head = ahead;
                    ahead = *(const uint4 *)(from + (left > 1)); // now, so that nothing waits for it
                    const u32 own = head.y & 0xFF, steps = head.y >> 8 & 0xFF;
                    while (taken == STAGES || units + own > UNITS) {
                        wait_for(read + 8 * oldest.index, oldest.parity);
                        units -= loaded(windows + oldest.index * sizeof(Window) + 4) & 0xFF, --taken;
                        oldest.next();
                    }
                    ++taken, units += own;
                    const u32 barrier = full + 8 * stage.index, x = x_stages + stage.index * STEPS * STEP_BYTES;
                    expect(barrier, sizeof(Window) + steps * BOX_BYTES + own * UNIT_BYTES);
                    copy_bytes(windows + stage.index * sizeof(Window), from, sizeof(Window), barrier);
                    for (u32 step = 0; step < steps; ++step) {
                        const u32 column = (step < 2 ? head.z : head.w) >> (step % 2 * 16) & 0xFFFF;
                        copy_box(x + step * STEP_BYTES, o.x, column * 64, work.token_tile * TOKENS, barrier);
                    }
                    const char *first = o.units + (i64)head.x * UNIT_BYTES;
                    const u32 whole = min(own, UNITS - place); // before the ring's end
                    copy_bytes(ring + place * UNIT_BYTES, first, whole * UNIT_BYTES, barrier);
                    if (own > whole) copy_bytes(ring, first + whole * UNIT_BYTES, (own - whole) * UNIT_BYTES, barrier);
                    place = (place + own) % UNITS;
                    stage.next();
                }
            }
        }
    } else {
        take_registers<160>();
        const int warp = threadIdx.x / 32 % 4;
        const u32 area = areas + threadIdx.x / 32 * STORE_BYTES;
        for (int number = blockIdx.x; number < o.order.count() * SPLIT; number += gridDim.x) {
            const Work work(o, number);
            const RowTile tile = o.tiles[work.row_tile];
            float sums[STRIPS][HALVES][16]; // 64 tokens, and 64 more
#pragma unroll
            for (int each = 0; each < 16 * HALVES * STRIPS; ++each) (&sums[0][0][0])[each] = 0.0f;
            for (int left = work.windows; left > 0; --left) {
                wait_for(full + 8 * stage.index, stage.parity);
                const u32 window = windows + stage.index * sizeof(Window);
                const u32 x = x_stages + stage.index * STEPS * STEP_BYTES;
                const u32 head = loaded(window + 4); // units, steps, splits
                const u32 split = group == 0 ? 0 : head >> (8 + 8 * group) & 0xFF;
                u32 next = window + PLACES + 2 * split, at = (place + split) % UNITS, raw = loaded2(next);
                const u32 counts = same(loaded(window + COUNTS + group * 4));
                begin_products();
#pragma unroll
                for (int strip = 0; strip < STRIPS; ++strip)
#pragma unroll 1
                    for (u32 some = counts >> strip * 8 & 0xFF; some; --some) {
                        const u32 both = same(at << 16 | raw);
                        const u32 a = (both & 0xFFFF) + (matrix_place(x) | FIRST_BIT);
                        const u32 b = (both >> 16) * (UNIT_BYTES / 16) + (matrix_place(ring) | FIRST_BIT);
                        raw = loaded2(next += 2);
                        at = at + 1 == UNITS ? 0 : at + 1;
#pragma unroll
                        for (int tokens = 0; tokens < HALVES; ++tokens) {
                            const u32 own = a + tokens * (64 * 128 / 16);
                            wgmma(sums[strip][tokens], placed<1>(own), placed<2>(b));
                            wgmma(sums[strip][tokens], placed<1>(own + 2), placed<2>(b + 2)); // the other 16 columns
                        }
                    }
                end_products();
                place = (place + (head & 0xFF)) % UNITS;
                wait_for_products<0>();
                arrive(read + 8 * stage.index);
                stage.next();
            }
            const int first_token = work.token_tile * TOKENS + warp * 16;
#if SPLIT > 1
            exchange(sums, x_stages);
#endif
#pragma unroll
            for (int strip = 0; strip < STRIPS; ++strip)
#pragma unroll
                for (int tokens = 0; tokens < HALVES; ++tokens) {
                    const int which = group * STRIPS + strip, token = first_token + tokens * 64;
                    if (which < tile.strips && token < o.out.tokens) {
#if SPLIT > 1
                        const int own = strip * HALVES + tokens;
                        if (own % SPLIT != work.part) continue;
                        add_up(sums[strip][tokens], x_stages, own);
#endif
                        store_strip(sums[strip][tokens], o.out, (tile.strip + which) * 32, token, area);
                    }
                }
#if SPLIT > 1
            meet_cluster(); // all have read what is here
#endif
        }
    }
}
