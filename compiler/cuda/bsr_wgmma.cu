// Y = W X for block-sparse W and many tokens on Hopper's tensor cores: windows and units of bsr_steps.py.
//
// A block of threads has up to GROUPS x STRIPS strips of 32 rows and TILES x 64 tokens, a tile after the other. One warp copies
// X, some steps of 64 columns together: a window, to one of STAGES places, and the window's units of W, 32 x 32 each, to a
// ring of UNITS places. A warpgroup has 64 tokens and 12 strips, whose sums are in registers. It loads a step of its tokens
// into registers, once for all strips, and multiplies it by the units of those that have one: from shared memory, small
// products would wait for X to be read again for each. As a register has no run-time number, strips are gone through in
// code that is unrolled, with a jump over each that has no unit.

#define GROUPS 2
#define OWN_STRIPS 12 // of a warpgroup
#define TOKENS (64 * TILES)
#define STEPS (4 / TILES) // of a window, at most
#define STEP_BYTES (TOKENS * 128)
#define UNIT_BYTES 2048 // 32 rows of 64 bytes, swizzled
#define STORE_PITCH 80 // bytes of a token's 32 rows on their way out
#define STORE_BYTES (16 * STORE_PITCH) // of a warp

// Units lie in the order of columns, then of strips, from `first` on.
struct __align__(16) Window {
    u32 first;
    u16 units, steps;
    u16 columns[4]; // of each step, in 64
    u32 strips[4][2]; // a bit for each strip that has a unit, for each 32 columns
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

// The places of a window's units in the ring: next to each other, so from its beginning on where its end is too near.
struct Ring {
    u32 place;

    // How many places a window with so many units takes, with those that are left out.
    __device__ __forceinline__ u32 needed(u32 units) const { return place + units > UNITS ? UNITS - place + units : units; }

    // The first place of a window.
    __device__ __forceinline__ u32 take(u32 units) {
        const u32 first = place + units > UNITS ? 0 : place;
        place = first + units;
        return first;
    }
};

// The sums of a warp, 16 tokens x 32 rows, to y; `area` is STORE_BYTES of its own.
__device__ __forceinline__ void store_strip(const float (&sums)[16], const Output &o, int first_row, int first_token, u32 area) {
    const int lane = threadIdx.x & 31;
    const u32 to = area + lane % 8 * STORE_PITCH + lane / 8 * 16;
    const auto place = [&](int half) { return area + (half * 8 + lane / 4) * STORE_PITCH + lane % 4 * 16; };
    const int token = first_token + lane / 4, out_row = first_row + lane % 4 * 8;
    __syncwarp();
    if (o.residual) {
        o.read(token, out_row, place(0)), o.read(token + 8, out_row, place(1));
        __syncwarp();
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        u32 words[4] = {}; // 8 tokens x 8 rows
        if (o.residual)
            asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                         : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3]) : "r"(to + half * 8 * STORE_PITCH) : "memory");
#pragma unroll
        for (int part = 0; part < 4; ++part) {
            const int row = first_row + 8 * part + lane % 4 * 2;
            const float even = o.bias && row < o.m ? o.bias[row] : 0.0f, odd = o.bias && row + 1 < o.m ? o.bias[row + 1] : 0.0f;
            const float *v = sums + 4 * part + 2 * half;
            const float2 more = both_widened(words[part]); // zeros without a residual
            words[part] = rounded(activated(v[0] + even) + more.x, activated(v[1] + odd) + more.y);
        }
        asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(to + half * 8 * STORE_PITCH),
                     "r"(words[0]), "r"(words[1]), "r"(words[2]), "r"(words[3]) : "memory");
    }
    __syncwarp();
    if (token < o.tokens) o.write(token, out_row, place(0));
    if (token + 8 < o.tokens) o.write(token + 8, out_row, place(1));
}

extern "C" __global__ void __launch_bounds__(128 * (GROUPS + 1), 1) bsr_wgmma(const __grid_constant__ Operands o) {
    extern __shared__ __align__(1024) char shared[];
    const u32 x_stages = shared_address(shared), units = x_stages + STAGES * STEPS * STEP_BYTES;
    const u32 areas = units + UNITS * UNIT_BYTES, windows = areas + GROUPS * 4 * STORE_BYTES;
    const u32 full = windows + STAGES * sizeof(Window), read = full + 8 * STAGES;
    const int group = __shfl_sync(~0u, threadIdx.x / 128, 0), lane = threadIdx.x & 31; // the compiler knows: of a warp
    make_barriers<STAGES>(full, GROUPS * 4);
    wait_for_kernel_before();
    Stage<STAGES> stage = {0, 0};
    Ring ring = {0};

    if (group == GROUPS) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 24;");
        if (threadIdx.x == GROUPS * 128) {
            Stage<STAGES> oldest = {0, 0};
            u32 count = 0, total = 0; // of the stages and of the ring's places that are taken
            u64 taken = 0; // places of each stage, a byte each
            for (int number = blockIdx.x; number < o.order.count(); number += gridDim.x) {
                int row_tile, token_tile;
                o.order.find(number, row_tile, token_tile);
                const Window *from = o.windows + o.tiles[row_tile].first_window;
                for (int left = o.tiles[row_tile].windows; left > 0; --left, ++from) {
                    const uint4 head = *(const uint4 *)from;
                    const u32 own = head.y & 0xFFFF, steps = head.y >> 16, needed = ring.needed(own);
                    while (count == STAGES || total + needed > UNITS) {
                        wait_for(read + 8 * oldest.index, oldest.parity);
                        total -= taken >> 8 * oldest.index & 0xFF, --count;
                        oldest.next();
                    }
                    taken = taken & ~(0xFFull << 8 * stage.index) | (u64)needed << 8 * stage.index;
                    ++count, total += needed;
                    const u32 barrier = full + 8 * stage.index, x = x_stages + stage.index * STEPS * STEP_BYTES;
                    expect(barrier, sizeof(Window) + steps * STEP_BYTES + own * UNIT_BYTES);
                    copy_bytes(windows + stage.index * sizeof(Window), from, sizeof(Window), barrier);
                    for (u32 step = 0; step < steps; ++step) {
                        const u32 column = (step < 2 ? head.z : head.w) >> (step % 2 * 16) & 0xFFFF;
                        copy_box(x + step * STEP_BYTES, o.x, column * 64, token_tile * TOKENS, barrier);
                    }
                    copy_bytes(units + ring.take(own) * UNIT_BYTES, o.units + (long long)head.x * UNIT_BYTES, own * UNIT_BYTES, barrier);
                    stage.next();
                }
            }
        }
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 240;");
        const int warp = threadIdx.x / 32 % 4;
        const u32 area = areas + threadIdx.x / 32 * STORE_BYTES;
        const int tokens = (TILES == 2 ? group * 64 : 0) + warp * 16, first_strip = TILES == 2 ? 0 : group * OWN_STRIPS;
        // Lane l gives the place of token l % 16 of the warp's, columns 0..7 or 8..15 of 16.
        const u32 own_token = (tokens + lane % 16) * 128, chunk = lane / 16 ^ lane % 8;
        for (int number = blockIdx.x; number < o.order.count(); number += gridDim.x) {
            int row_tile, token_tile;
            o.order.find(number, row_tile, token_tile);
            const RowTile tile = o.tiles[row_tile];
            float sums[OWN_STRIPS][16];
#pragma unroll
            for (int each = 0; each < 16 * OWN_STRIPS; ++each) (&sums[0][0])[each] = 0.0f;
            for (int left = tile.windows; left > 0; --left) {
                wait_for(full + 8 * stage.index, stage.parity);
                const Window &window = *(const Window *)(shared + (windows - x_stages) + stage.index * sizeof(Window));
                const int steps = __shfl_sync(~0u, window.steps, 0);
                u32 unit = units / 16 + ring.take(__shfl_sync(~0u, window.units, 0)) * (UNIT_BYTES / 16);
                u32 from = x_stages + stage.index * STEPS * STEP_BYTES + own_token;
#pragma unroll 1
                for (int step = 0; step < steps; ++step, from += STEP_BYTES) {
                    u32 a[4][4]; // of each 16 columns
#pragma unroll
                    for (int each = 0; each < 4; ++each)
                        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                                     : "=r"(a[each][0]), "=r"(a[each][1]), "=r"(a[each][2]), "=r"(a[each][3])
                                     : "r"(from + (chunk ^ each * 2) * 16) : "memory");
                    u32 strips[2];
#pragma unroll
                    for (int half = 0; half < 2; ++half) strips[half] = __shfl_sync(~0u, window.strips[step][half], 0);
                    begin_products();
#pragma unroll
                    for (int half = 0; half < 2; ++half) {
                        const u32 own = strips[half] >> first_strip;
                        const u32 first = unit + __popc(strips[half] & (1u << first_strip) - 1) * (UNIT_BYTES / 16);
#pragma unroll
                        for (int strip = 0; strip < OWN_STRIPS; ++strip)
                            if (own >> strip & 1) {
                                const u32 at = first + __popc(own & (1u << strip) - 1) * (UNIT_BYTES / 16);
                                wgmma(sums[strip], a[2 * half], matrix_from<2>(at));
                                wgmma(sums[strip], a[2 * half + 1], matrix_from<2>(at + 2)); // the other 16 columns
                            }
                        unit += __popc(strips[half]) * (UNIT_BYTES / 16);
                    }
                    end_products();
                    wait_for_products<0>();
                }
                arrive(read + 8 * stage.index);
                stage.next();
            }
            const int first_token = token_tile * TOKENS + tokens;
            if (first_token >= o.out.tokens) continue;
#pragma unroll
            for (int strip = 0; strip < OWN_STRIPS; ++strip)
                if (first_strip + strip < tile.strips)
                    store_strip(sums[strip], o.out, (tile.strip + first_strip + strip) * 32, first_token, area);
        }
    }
}
