// Y = W X for block-sparse W and many tokens on Hopper's tensor cores: pairs of bsr_pairs.py.
//
// A block of threads has tiles of GROUPS pairs of strips, 32 rows each, x TOKENS tokens, one after the other. One warp copies:
// for each piece of 64 columns in which a strip has a unit, X to one of STAGES places, and the units to a ring of SLOTS
// places, one for each pair. A warpgroup has a pair and multiplies by it where at least one of its strips has a unit: the
// instruction takes 64 rows. In a place the two units have zeros before and after them, so that where only one strip has
// a unit, the other's is zero without being copied:
//
//     zeros | unit of the first strip, or the second's alone | unit of the second strip, or the first's alone | zeros

#include "machine/barriers.cuh"
#include "machine/order.cuh"
#include "machine/tensor_memory.cuh"
#include "machine/wgmma.cuh"
#include "made/wgmma.cuh"
#include "output.cuh"
#include "tile_order.cuh"
#include "told_words.cuh"

#define X_BYTES (TOKENS * 128)
#define UNIT_BYTES 4096 // 32 rows of 128 bytes, swizzled
#define SLOT_BYTES (3 * UNIT_BYTES)
#define EVERY_FIRST (0x15u & (1u << 2 * GROUPS) - 1) // the first strip of each pair

struct RowTile {
    int first_piece, pieces, first_unit, unused;
    int strips[2 * GROUPS]; // negative where there is none
};

struct Operands {
    TensorMap x; // boxes of 64 columns, TOKENS tokens
    Output out;
    const char *units; // in the order of pieces, then of strips
    const u32 *pieces; // column in 64, and from bit 16 on a bit for each strip that has a unit
    const RowTile *tiles; // [row tiles]
    Order order;
};

// How many pairs have a unit in a piece.
__device__ __forceinline__ u32 pairs_in(u32 strips) { return __popc((strips | strips >> 1) & EVERY_FIRST); }

extern "C" __global__ void __launch_bounds__(128 * GROUPS + 32, 1) bsr_pairs_wgmma(const __grid_constant__ Operands o) {
    extern __shared__ __align__(1024) char shared[];
    const u32 x_stages = shared_address(shared), slots = x_stages + STAGES * X_BYTES;
    const u32 areas = slots + SLOTS * SLOT_BYTES + UNIT_BYTES, full = areas + GROUPS * AREA_BYTES, read = full + 8 * STAGES;
    const int group = __shfl_sync(~0u, threadIdx.x / 128, 0); // the compiler knows: of a warp
    for (u32 each = threadIdx.x * 16; each < (SLOTS + 1) * UNIT_BYTES; each += blockDim.x * 16)
        *(uint4 *)(shared + STAGES * X_BYTES + each / UNIT_BYTES * SLOT_BYTES + each % UNIT_BYTES) = make_uint4(0, 0, 0, 0);
    show_to_products();
    make_barriers<STAGES, GROUPS * 4>(full);
    wait_for_kernel_before();
    Stage<STAGES> stage = {0, 0};
    Stage<SLOTS> slot = {0, 0};

    if (group == GROUPS) {
        Stage<STAGES> oldest = {0, 0};
        u32 count = 0, total = 0; // of the stages and of the slots that are taken
        u64 taken = 0; // slots of each stage, two bits each
        for (int number = blockIdx.x; number < o.order.count(); number += gridDim.x) {
            int row_tile, token_tile;
            o.order.find(number, row_tile, token_tile);
            const RowTile &tile = o.tiles[row_tile];
            const char *from = o.units + (i64)tile.first_unit * UNIT_BYTES;
            ToldWords<int> pieces(o.pieces + tile.first_piece, tile.pieces);
            for (int piece = 0; piece < pieces.count; ++piece) {
                const u32 word = pieces.at(piece), strips = word >> 16, needed = pairs_in(strips);
                while (count == STAGES || total + needed > SLOTS) {
                    wait_for(read + 8 * oldest.index, oldest.parity);
                    total -= taken >> 2 * oldest.index & 3, --count;
                    oldest.next();
                }
                taken = taken & ~(3ull << 2 * stage.index) | (u64)needed << 2 * stage.index;
                ++count, total += needed;
                const u32 barrier = full + 8 * stage.index;
                if (threadIdx.x == GROUPS * 128) {
                    expect(barrier, X_BYTES + __popc(strips) * UNIT_BYTES);
                    copy_box(x_stages + stage.index * X_BYTES, o.x, (word & 0xFFFF) * 64, token_tile * TOKENS, barrier);
                }
                for (int pair = 0; pair < GROUPS; ++pair) {
                    const u32 both = strips >> 2 * pair & 3;
                    if (!both) continue;
                    const u32 to = slots + slot.index * SLOT_BYTES + (both == 1 ? 2 : 1) * UNIT_BYTES;
                    const u32 bytes = both == 3 ? 2 * UNIT_BYTES : UNIT_BYTES;
                    if (threadIdx.x == GROUPS * 128) copy_bytes(to, from, bytes, barrier);
                    from += bytes;
                    slot.next();
                }
                stage.next();
            }
        }
    } else {
        const u32 area = areas + group * AREA_BYTES;
        for (int number = blockIdx.x; number < o.order.count(); number += gridDim.x) {
            int row_tile, token_tile;
            o.order.find(number, row_tile, token_tile);
            const RowTile &tile = o.tiles[row_tile];
            const int first = tile.strips[2 * group], second = tile.strips[2 * group + 1]; // negative where there is none
            const int first_row = first >= 0 ? first * 32 : o.out.m, second_row = second >= 0 ? second * 32 : o.out.m;
            const int row = first_of_rows(first_row, second_row);
            const float2 biases = o.out.biases(row, row + 8); // here, so that nothing waits for them
            ToldWords<int> pieces(o.pieces + tile.first_piece, tile.pieces);
            float sums[TOKENS / 2];
#pragma unroll
            for (int each = 0; each < TOKENS / 2; ++each) sums[each] = 0.0f;
            bool pending = false;
            u32 before = 0;
            for (int piece = 0; piece < pieces.count; ++piece) {
                const u32 strips = pieces.at(piece) >> 16, both = strips >> 2 * group & 3;
                const u32 index = (slot.index + pairs_in(strips & (1u << 2 * group) - 1)) % SLOTS;
                slot.index = (slot.index + pairs_in(strips)) % SLOTS;
                wait_for(full + 8 * stage.index, stage.parity);
                if (both) {
                    const u32 w = slots + index * SLOT_BYTES + (both == 3 ? 1 : both == 1 ? 2 : 0) * UNIT_BYTES;
                    const u32 x = x_stages + stage.index * X_BYTES;
                    begin_products();
#pragma unroll
                    for (int part = 0; part < 4; ++part)
                        wgmma(sums, matrix_at<1>(w + part * 32), matrix_at<1>(x + part * 32));
                    end_products();
                    wait_for_products<1>();
                } else
                    wait_for_products<0>();
                if (pending) arrive(read + 8 * before);
                pending = both;
                before = stage.index;
                if (!both) arrive(read + 8 * stage.index);
                stage.next();
            }
            wait_for_products<0>();
            if (pending) arrive(read + 8 * before);
            if (first >= 0) store<TOKENS>(sums, o.out, first_row, second_row, token_tile * TOKENS, biases, area, group + 1);
        }
    }
}
