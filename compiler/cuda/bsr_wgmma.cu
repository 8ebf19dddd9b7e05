// Y = W X for block-sparse W and many tokens on Hopper's tensor cores: steps and units of bsr_steps.py.
//
// A block of threads has up to STRIPS x ROW_GROUPS strips of 32 rows and 64 x TOKEN_GROUPS tokens, a tile after the other.
// One warp copies, for each step (64 columns in which some strip has a unit), a tile of X to one of STAGES places and the
// units, 32 x 32 each, to a ring of RING places. A warpgroup has 64 tokens and STRIPS strips, whose sums are in registers:
// with its part of X in registers, it multiplies by the units that there are. All warpgroups have the same steps, so it
// does not matter how units are distributed among strips.

#define GROUPS (ROW_GROUPS * TOKEN_GROUPS)
#define TOKENS (64 * TOKEN_GROUPS)
#define X_BYTES (TOKENS * 128)
#define UNIT_BYTES 2048 // 32 rows of 64 bytes, swizzled
#define STORE_PITCH 80 // bytes of a token's 32 rows on their way out
#define STORE_BYTES (16 * STORE_PITCH) // of a warp

// 64 columns of a tile of rows: bit r of `units[h]` says that strip r has a unit in columns 32 h and on; they lie in this
// order from `first` on.
struct __align__(16) Step {
    u32 units[2], first, column; // column: in 64
};

struct RowTile {
    int first_step, steps, strip, strips;
};

struct Operands {
    TensorMap x; // boxes of 64 columns, TOKENS tokens
    Output out;
    const char *units;
    const Step *steps;
    const RowTile *tiles; // [row tiles]
    Order order;
};

// Four 8 x 8 matrices; each lane gives the place of a row.
__device__ __forceinline__ void load_matrices(u32 (&a)[4], u32 row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3]) : "r"(row) : "memory");
}

// The sums of a warp, 16 tokens x 32 rows, to y; `area` is STORE_BYTES of its own.
__device__ __forceinline__ void store_strip(const float (&sums)[16], const Output &o, int first_row, int first_token, u32 area) {
    const int lane = threadIdx.x & 31;
    u32 words[2][4]; // 8 tokens, 8 rows
#pragma unroll
    for (int part = 0; part < 4; ++part) {
        const int row = first_row + 8 * part + lane % 4 * 2;
        const float even = o.bias && row < o.m ? o.bias[row] : 0.0f, odd = o.bias && row + 1 < o.m ? o.bias[row + 1] : 0.0f;
        const float *v = sums + 4 * part;
        words[0][part] = rounded(activated(v[0] + even), activated(v[1] + odd));
        words[1][part] = rounded(activated(v[2] + even), activated(v[3] + odd));
    }
    __syncwarp();
#pragma unroll
    for (int half = 0; half < 2; ++half)
        asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(
                         area + (half * 8 + lane % 8) * STORE_PITCH + lane / 8 * 16),
                     "r"(words[half][0]), "r"(words[half][1]), "r"(words[half][2]), "r"(words[half][3]) : "memory");
    __syncwarp();
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        const int in_area = half * 8 + lane / 4, token = first_token + in_area, column = first_row + lane % 4 * 8;
        if (token < o.tokens) o.write(token, column, area + in_area * STORE_PITCH + lane % 4 * 16);
    }
}

extern "C" __global__ void __launch_bounds__(128 * (GROUPS + 1), 1) bsr_wgmma(const __grid_constant__ Operands o) {
    extern __shared__ __align__(1024) char shared[];
    const u32 x_tiles = shared_address(shared), ring = x_tiles + STAGES * X_BYTES, areas = ring + RING * UNIT_BYTES;
    const u32 steps = areas + GROUPS * 4 * STORE_BYTES, full = steps + STAGES * sizeof(Step), read = full + 8 * STAGES;
    const int group = __shfl_sync(~0u, threadIdx.x / 128, 0), lane = threadIdx.x & 31; // the same for a warp, for the compiler too
    make_barriers<STAGES>(full, GROUPS * 4);
    wait_for_kernel_before();

    if (group == GROUPS) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 24;");
        if (threadIdx.x == GROUPS * 128) {
            Stage<STAGES> stage = {0, 0}, oldest = {0, 0};
            u32 place = 0;
            int taken = 0, units = 0; // stages and places of the ring that are taken
            for (int number = blockIdx.x; number < o.order.count(); number += gridDim.x) {
                int row_tile, token_tile;
                o.order.find(number, row_tile, token_tile);
                const RowTile tile = o.tiles[row_tile];
                for (int each = 0; each < tile.steps; ++each) {
                    const Step *from = o.steps + tile.first_step + each;
                    const Step step = *from;
                    const int count = __popc(step.units[0]) + __popc(step.units[1]);
                    while (taken == STAGES || units + count > RING) {
                        wait_for(read + 8 * oldest.index, oldest.parity);
                        const u32 it = steps + oldest.index * sizeof(Step);
                        units -= __popc(loaded(it)) + __popc(loaded(it + 4)), --taken;
                        oldest.next();
                    }
                    ++taken, units += count;
                    const u32 barrier = full + 8 * stage.index;
                    expect(barrier, sizeof(Step) + X_BYTES + count * UNIT_BYTES);
                    copy_bytes(steps + stage.index * sizeof(Step), from, sizeof(Step), barrier);
                    copy_box(x_tiles + stage.index * X_BYTES, o.x, step.column * 64, token_tile * TOKENS, barrier);
                    const char *first = o.units + (long long)step.first * UNIT_BYTES;
                    const int whole = min(count, RING - (int)place); // before the ring's end
                    copy_bytes(ring + place * UNIT_BYTES, first, whole * UNIT_BYTES, barrier);
                    if (count > whole) copy_bytes(ring, first + whole * UNIT_BYTES, (count - whole) * UNIT_BYTES, barrier);
                    place = (place + count) % RING;
                    stage.next();
                }
            }
        }
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 240;");
        const int row_group = group / TOKEN_GROUPS, token_group = group % TOKEN_GROUPS, warp = threadIdx.x / 32 % 4;
        const u32 area = areas + threadIdx.x / 32 * STORE_BYTES;
        // Lane l gives the place of token l % 16 and of columns 8 (l / 16) and on.
        const u32 own_row = x_tiles + (token_group * 64 + warp * 16 + lane % 16) * 128;
        Stage<STAGES> stage = {0, 0};
        u32 place = 0;
        for (int number = blockIdx.x; number < o.order.count(); number += gridDim.x) {
            int row_tile, token_tile;
            o.order.find(number, row_tile, token_tile);
            const RowTile tile = o.tiles[row_tile];
            float sums[STRIPS][16];
#pragma unroll
            for (int each = 0; each < 16 * STRIPS; ++each) sums[each / 16][each % 16] = 0.0f;
            for (int each = 0; each < tile.steps; ++each) {
                wait_for(full + 8 * stage.index, stage.parity);
                u32 x[2][2][4]; // 32 columns, 16 of them
#pragma unroll
                for (int at = 0; at < 4; ++at)
                    load_matrices(x[at / 2][at % 2], own_row + stage.index * X_BYTES + ((at * 2 + lane / 16) ^ (lane % 8)) * 16);
                begin_products();
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    const u32 mask = __shfl_sync(~0u, loaded(steps + stage.index * sizeof(Step) + 4 * half), 0), own = mask >> (STRIPS * row_group);
                    u32 unit = place + (row_group ? __popc(mask & ((1u << STRIPS) - 1)) : 0);
#pragma unroll
                    for (int strip = 0; strip < STRIPS; ++strip)
                        if (own >> strip & 1) {
                            const u64 w = matrix_at<2>(ring + unit % RING * UNIT_BYTES);
                            wgmma(sums[strip], x[half][0], w);
                            wgmma(sums[strip], x[half][1], w + 2);
                            ++unit;
                        }
                    place = (place + __popc(mask)) % RING;
                }
                end_products();
                wait_for_products<0>();
                arrive(read + 8 * stage.index);
                stage.next();
            }
            const int first_token = token_tile * TOKENS + token_group * 64 + warp * 16;
#pragma unroll
            for (int strip = 0; strip < STRIPS; ++strip) {
                const int which = row_group * STRIPS + strip;
                if (which < tile.strips && first_token < o.out.tokens)
                    store_strip(sums[strip], o.out, (tile.strip + which) * 32, first_token, area);
            }
        }
    }
}
