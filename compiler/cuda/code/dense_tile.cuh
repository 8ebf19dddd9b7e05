// A tile of a dense product: TOKENS x ROWS sums, K in steps of 64 through STAGES places in shared memory.
//
// Macros: TOKENS, ROWS, WARPS_T x WARPS_R warps with equal parts of both, STAGES; X_LINES, W_LINES: 0 where neighbours along
// K lie together in memory, 1 where tokens of X or rows of W do; X_WIDE, W_WIDE: 16 bytes at a time can be read; WGMMA: four
// warps at a time multiply from shared memory, which only sm_90a does, with 16 tokens and all rows each (WARPS_R is 1).

#include "epilogue.cuh"
#include "machine/copies.cuh"
#include "machine/shared_memory.cuh"
#include "machine/tensor_core.cuh"
#include "machine/wgmma.cuh"
#include "made/wgmma.cuh"
#include "tile_order.cuh"

#define STEP 64
#define THREADS (32 * WARPS_T * WARPS_R)
#define WARP_TOKENS (TOKENS / WARPS_T)
#define WARP_ROWS (ROWS / WARPS_R)
#define X_BYTES (X_LINES ? (TOKENS + 63) / 64 * 8192 : TOKENS * 128)
#define W_BYTES (W_LINES ? (ROWS + 63) / 64 * 8192 : ROWS * 128)
#define STAGE_BYTES (X_BYTES + W_BYTES)
#define AHEAD (WGMMA ? STAGES - 2 : STAGES - 1) // steps that are copied before they are multiplied; `wgmma` begins with the next early
#define RESIDENT (WGMMA && TOKENS * ROWS <= 128 * 128 ? 2 : 1) // blocks that are to fit into a multiprocessor's registers
#define EIGHTS_AT_ONCE (WARP_ROWS / 8 < 8 ? WARP_ROWS / 8 : 8) // rows on their way out, of a warp

// Matrices of a batch with two axes; strides in elements.
struct Matrix {
    const u16 *at;
    i64 stride, outer, inner; // stride: of lines, within which elements are neighbours

    __device__ __forceinline__ void select(int at_outer, int at_inner) { at += at_outer * outer + at_inner * inner; }
};

// 64 x LINES elements in shared memory: 128 bytes of K of each line or, with BY_LINES, of 64 lines of each k; of the eight
// pieces of 16 bytes, those of eight neighbours lie in different banks.
template <int LINES, bool BY_LINES>
struct Tile {
    static const int PIECES = LINES * 8; // of 16 bytes

    // Where eight neighbours are: k to k + 8 of a line or, with BY_LINES, a k of eight lines.
    static __device__ __forceinline__ u32 place(int line, int k) {
        if (BY_LINES) return line / 64 * 8192 + k * 128 + ((line / 8 ^ k) & 7) * 16;
        return line * 128 + ((k / 8 ^ line) & 7) * 16;
    }

    // The line and the k of a piece.
    static __device__ __forceinline__ void find(int piece, int &line, int &k) {
        if (BY_LINES)
            line = piece % (LINES / 8) * 8, k = piece / (LINES / 8);
        else
            line = piece / 8, k = piece % 8 * 8;
    }

    // 16 lines x 16 k for the first operand of `mma`.
    static __device__ __forceinline__ void first_operand(u32 (&a)[4], u32 base, int line, int k) {
        const int lane = threadIdx.x & 31;
        if (BY_LINES)
            load_transposed(a, base + place(line + lane / 8 % 2 * 8, k + lane / 16 * 8 + lane % 8));
        else
            load_matrices(a, base + place(line + lane % 16, k + lane / 16 * 8));
    }

    // The same for the second operand: two words for eight lines, then two for the others.
    static __device__ __forceinline__ void second_operand(u32 (&b)[4], u32 base, int line, int k) {
        const int lane = threadIdx.x & 31;
        if (BY_LINES)
            load_transposed(b, base + place(line + lane / 16 * 8, k + lane / 8 % 2 * 8 + lane % 8));
        else
            load_matrices(b, base + place(line + lane / 16 * 8 + lane % 8, k + lane / 8 % 2 * 8));
    }
};

// The place of this thread's piece number `each`, and which line and k it is.
template <typename To>
__device__ __forceinline__ u32 own_piece(int each, int &line, int &k) {
    static_assert(To::PIECES % THREADS == 0, "all threads have equally many");
    To::find(threadIdx.x + each * THREADS, line, k);
    return To::place(line, k);
}

// Copies the parts of a matrix [lines, k] that begin at line `first` to tiles; what is past its ends is zero.
template <int LINES, bool BY_LINES, bool WIDE>
struct Lines {
    typedef Tile<LINES, BY_LINES> To;

    const u16 *at;
    i64 stride;
    int first, lines, k;

    __device__ __forceinline__ void copy(u32 base, int from_k) const {
        if (WIDE)
            copy_wide(base, from_k);
        else
            copy_narrow(base, from_k);
    }

    __device__ __forceinline__ void copy_wide(u32 base, int from_k) const {
#pragma unroll
        for (int each = 0; each < To::PIECES / THREADS; ++each) {
            int line, own_k;
            const u32 to = base + own_piece<To>(each, line, own_k);
            line += first, own_k += from_k;
            const int left = BY_LINES ? (own_k < k ? lines - line : 0) : (line < lines ? k - own_k : 0);
            copy16(to, left > 0 ? at + (BY_LINES ? own_k * stride + line : line * stride + own_k) : at, 2 * max(0, min(left, 8)));
        }
    }

    __device__ __forceinline__ void copy_narrow(u32 base, int from_k) const {
        u32 words[To::PIECES / THREADS][4]; // all are read before the first is written
#pragma unroll
        for (int each = 0; each < To::PIECES / THREADS; ++each) {
            int line, own_k;
            own_piece<To>(each, line, own_k);
            line += first, own_k += from_k;
#pragma unroll
            for (int i = 0; i < 8; ++i) {
                const int l = line + (BY_LINES ? i : 0), kk = own_k + (BY_LINES ? 0 : i);
                const u32 bits = l < lines && kk < k ? at[BY_LINES ? kk * stride + l : l * stride + kk] : 0;
                words[each][i / 2] = i % 2 ? words[each][i / 2] | bits << 16 : bits;
            }
        }
#pragma unroll
        for (int each = 0; each < To::PIECES / THREADS; ++each) {
            int line, own_k;
            const u32 to = base + own_piece<To>(each, line, own_k);
            store16(to, make_uint4(words[each][0], words[each][1], words[each][2], words[each][3]));
        }
    }
};

// The sums of a warp.
struct Sums {
    float values[WARP_TOKENS / 16][WARP_ROWS / 8][4];

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int each = 0; each < WARP_TOKENS * WARP_ROWS / 32; ++each) (&values[0][0][0])[each] = 0.0f;
#if WGMMA
        settle((float(&)[ROWS / 2])values[0]);
#endif
    }

    // Begin to add X W^T for a step that is in shared memory.
    __device__ __forceinline__ void multiply(u32 x, u32 w, int token, int row) {
#if WGMMA
        begin_products();
#pragma unroll
        for (int k = 0; k < STEP; k += 16) {
            const u64 own = matrix_at<1>(x + (X_LINES ? token / 64 * 8192 + k * 128 : token / 64 * 8192 + k * 2));
#if W_LINES
#pragma unroll
            for (int part = 0; part < ROWS / 64; ++part)
                wgmma((float(&)[32])values[0][part * 8], own, matrix_at<1>(w + part * 8192 + k * 128));
#else
            wgmma((float(&)[ROWS / 2])values[0], own, matrix_at<1>(w + k * 2));
#endif
        }
        end_products();
#else
#pragma unroll
        for (int k = 0; k < STEP; k += 16) {
            u32 a[WARP_TOKENS / 16][4], b[WARP_ROWS / 16][4];
#pragma unroll
            for (int t = 0; t < WARP_TOKENS / 16; ++t) Tile<TOKENS, X_LINES>::first_operand(a[t], x, token + 16 * t, k);
#pragma unroll
            for (int r = 0; r < WARP_ROWS / 16; ++r) Tile<ROWS, W_LINES>::second_operand(b[r], w, row + 16 * r, k);
#pragma unroll
            for (int t = 0; t < WARP_TOKENS / 16; ++t)
#pragma unroll
                for (int r = 0; r < WARP_ROWS / 8; ++r) mma(values[t][r], a[t], b[r / 2][r % 2 * 2], b[r / 2][r % 2 * 2 + 1]);
        }
#endif
    }

    // All of it to `out`, whose first token and row of this warp are given, through an area of the warp's.
    __device__ __forceinline__ void store(const Epilogue &out, int token, int row, char *area) const {
#pragma unroll
        for (int t = 0; t < WARP_TOKENS / 16; ++t)
#pragma unroll
            for (int r = 0; r < WARP_ROWS / 8; r += EIGHTS_AT_ONCE)
                store_sums<EIGHTS_AT_ONCE>(out, values[t] + r, token + 16 * t, row + 8 * r, area);
    }
};

// The tile of this block of threads: X and W copy their parts of K to shared memory.
template <typename X, typename W>
__device__ __forceinline__ void multiply_tile(const X &x, const W &w, const Epilogue &out, int k, int first_token, int first_row,
                                              char *shared) {
    const u32 base = shared_address(shared);
    const int warp = threadIdx.x / 32, token = warp / WARPS_R * WARP_TOKENS, row = warp % WARPS_R * WARP_ROWS;
    const int steps = (k + STEP - 1) / STEP;
    Sums sums;
    sums.clear();
    const auto copy = [&](int step, int stage) {
        if (step < steps) x.copy(base + stage * STAGE_BYTES, step * STEP), w.copy(base + stage * STAGE_BYTES + X_BYTES, step * STEP);
        end_copies();
    };
#pragma unroll
    for (int each = 0; each < AHEAD; ++each) copy(each, each);
    int from = 0, to = AHEAD;
    for (int step = 0; step < steps; ++step) {
        wait_for_copies<AHEAD - 1>();
#if WGMMA
        show_to_products();
        __syncthreads(); // this step is there, and all are done with the one before the last
        sums.multiply(base + from * STAGE_BYTES, base + from * STAGE_BYTES + X_BYTES, token, row);
        copy(step + AHEAD, to);
        wait_for_products<1>();
#else
        __syncthreads(); // this step is there, and all are done with the one before
        copy(step + AHEAD, to);
        sums.multiply(base + from * STAGE_BYTES, base + from * STAGE_BYTES + X_BYTES, token, row);
#endif
        from = from + 1 == STAGES ? 0 : from + 1;
        to = to + 1 == STAGES ? 0 : to + 1;
    }
#if WGMMA
    wait_for_products<0>();
    settle((float(&)[ROWS / 2])sums.values[0]);
#endif
    wait_for_copies<0>();
    __syncthreads();
    sums.store(out, first_token + token, first_row + row, shared + warp * AREA_BYTES(EIGHTS_AT_ONCE));
}
