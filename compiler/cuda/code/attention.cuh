// softmax(scale Q K^T + mask) V for each head, keys a tile after the other with the softmax put right as it goes
// (FlashAttention-2, Dao 2023, arXiv:2307.08691).
//
// A block of threads has QUERIES queries of a head, each warp some of them. Tiles of KEYS keys and tiles of their values are
// copied to STAGES places each in shared memory; sums and statistics are in registers. How tiles lie in shared memory and how
// they are multiplied is a `Way`'s.
//
// Macros: WARPS, SLABS (of 16 queries of a warp), KEYS, STAGES, SIZE (of a head, filled up with zeros), MASK (0: there is
// none, 1: its own for each query, 2: one for all queries of a head).

#include "machine/copies.cuh"
#include "machine/order.cuh"
#include "machine/shared_memory.cuh"
#include "machine/special.cuh"
#include "machine/tensor_core.cuh"

#define THREADS (32 * WARPS)
#define QUERIES (WARPS * SLABS * 16)
#define TILE_BYTES (KEYS * Way::PITCH)
#define LOG2_E 1.4426950408889634f
#define LEAST __uint_as_float(0xFF800000) // minus infinity

// Strides in elements.
struct Heads {
    const u16 *at;
    i64 batch, head, token;
};

struct Operands {
    Heads q, k, v, y;
    const float *mask;
    i64 mask_batch, mask_head, mask_query, mask_key;
    float scale;
    int heads, shared_by, queries, keys, size, tiles, causal; // shared_by: so many heads have the same keys and values
};

// ROWS rows of a head, from row `first` on, to shared memory; past the ends there are zeros.
template <typename Way, int ROWS>
__device__ __forceinline__ void copy_rows(u32 to, const u16 *at, i64 stride, int first, int rows, int size) {
    const int pieces = SIZE <= 16 ? 2 : SIZE <= 32 ? 4 : SIZE <= 64 ? 8 : 16; // of a row; a thread has the same of each row
    const int row = threadIdx.x / pieces, column = threadIdx.x % pieces * 8;
    const u16 *from = at + (first + row) * stride + column;
    if (column >= SIZE) return;
#pragma unroll
    for (int begin = 0; begin < ROWS; begin += THREADS / pieces, from += THREADS / pieces * stride) {
        if (ROWS % (THREADS / pieces) && begin + row >= ROWS) break;
        const bool inside = first + begin + row < rows && column < size;
        copy16(to + Way::template place<ROWS>(begin + row, column), inside ? from : at, inside ? 16 : 0);
    }
}

// One of 16 queries of a warp, of which each lane has parts of two: queries lane / 4 and lane / 4 + 8.
struct Statistics {
    float most, total; // the greatest value, and this lane's part of the sum of powers

    // Take `value` in, the greatest of this tile in this lane; returns what earlier powers are multiplied by.
    __device__ __forceinline__ float raise(float value) {
        value = fmaxf(value, __shfl_xor_sync(~0u, value, 1));
        value = fmaxf(most, fmaxf(value, __shfl_xor_sync(~0u, value, 2)));
        const float factor = power_of_two(most - (value == LEAST ? 0.0f : value));
        most = value;
        total *= factor;
        return factor;
    }

    // What powers are taken of the difference to.
    __device__ __forceinline__ float base() const { return most == LEAST ? 0.0f : most; }
};

template <typename Way>
__device__ __forceinline__ void attend(const Operands &o, char *shared) {
    const u32 base = shared_address(shared), values_base = base + STAGES * TILE_BYTES;
    const u32 own = values_base + STAGES * TILE_BYTES; // queries, results at the end
    const int lane = threadIdx.x & 31, which = blockIdx.x / o.tiles, batch = which / o.heads, head = which % o.heads;
    const int tile = o.causal ? o.tiles - 1 - blockIdx.x % o.tiles : blockIdx.x % o.tiles; // those with most keys first
    const int of_warp = threadIdx.x / 32 * SLABS * 16, first = tile * QUERIES + of_warp + lane / 4; // of this lane's queries
    const u16 *k = o.k.at + batch * o.k.batch + head / o.shared_by * o.k.head;
    const u16 *v = o.v.at + batch * o.v.batch + head / o.shared_by * o.v.head;
    const float *mask = o.mask + batch * o.mask_batch + head * o.mask_head;
    const int ahead = o.keys - o.queries; // a causal query meets so many keys more than its number says
    const int keys = o.causal ? max(0, min(o.keys, (tile + 1) * QUERIES + ahead)) : o.keys, count = (keys + KEYS - 1) / KEYS;
    const auto copy_keys = [&](int step) {
        if (step < count) copy_rows<Way, KEYS>(base + step % STAGES * TILE_BYTES, k, o.k.token, step * KEYS, o.keys, o.size);
        end_copies();
    };
    const auto copy_values = [&](int step) {
        if (step < count) copy_rows<Way, KEYS>(values_base + step % STAGES * TILE_BYTES, v, o.v.token, step * KEYS, o.keys, o.size);
        end_copies();
    };
    const u16 *q = o.q.at + batch * o.q.batch + head * o.q.head;
    copy_rows<Way, QUERIES>(own, q, o.q.token, tile * QUERIES, o.queries, o.size);
    end_copies();
#pragma unroll
    for (int each = 0; each < STAGES - 1; ++each) copy_keys(each), copy_values(each);

    wait_for_copies<2 * STAGES - 2>();
    Way::arrived();
    __syncthreads();
    typename Way::Queries queries;
    Way::take(queries, own, of_warp);
    float sums[SLABS][SIZE / 8][4];
    Statistics statistics[SLABS][2];
#pragma unroll
    for (int slab = 0; slab < SLABS; ++slab) {
        statistics[slab][0] = statistics[slab][1] = {LEAST, 0.0f};
#pragma unroll
        for (int each = 0; each < SIZE / 2; ++each) (&sums[slab][0][0])[each] = 0.0f;
    }

    for (int step = 0; step < count; ++step) {
        wait_for_copies<2 * STAGES - 3>();
        Way::arrived();
        __syncthreads(); // the keys are there, and all are done with those before
        copy_keys(step + STAGES - 1);
        float of_keys[KEYS / 4]; // the mask's
        if (MASK == 2)
#pragma unroll
            for (int each = 0; each < KEYS / 4; ++each) {
                const int key = step * KEYS + each / 2 * 8 + lane % 4 * 2 + each % 2;
                of_keys[each] = key < o.keys ? mask[key * o.mask_key] * LOG2_E : 0.0f;
            }
        float products[SLABS][KEYS / 8][4];
        Way::multiply_keys(products, queries, base + step % STAGES * TILE_BYTES);

        // Some of the keys of this tile are not for all queries.
        const bool cut = (step + 1) * KEYS > o.keys || (o.causal && (step + 1) * KEYS > tile * QUERIES + ahead + 1);
        u32 powers[SLABS][KEYS / 8][2];
#pragma unroll
        for (int slab = 0; slab < SLABS; ++slab)
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const int query = first + slab * 16 + half * 8;
                if (MASK) {
                    const float *added = mask + min(query, o.queries - 1) * o.mask_query;
#pragma unroll
                    for (int each = 0; each < KEYS / 4; ++each) {
                        const int key = step * KEYS + each / 2 * 8 + lane % 4 * 2 + each % 2;
                        float &value = products[slab][each / 2][half * 2 + each % 2];
                        const float more = MASK == 2 ? of_keys[each] : key < o.keys ? added[key * o.mask_key] * LOG2_E : 0.0f;
                        value = value * (o.scale * LOG2_E) + more;
                    }
                }
                if (cut) {
                    const int end = o.causal ? min(o.keys, query + ahead + 1) : o.keys;
#pragma unroll
                    for (int each = 0; each < KEYS / 4; ++each)
                        if (step * KEYS + each / 2 * 8 + lane % 4 * 2 + each % 2 >= end)
                            products[slab][each / 2][half * 2 + each % 2] = LEAST;
                }
                float most = LEAST;
#pragma unroll
                for (int each = 0; each < KEYS / 4; ++each) most = fmaxf(most, products[slab][each / 2][half * 2 + each % 2]);
                Statistics &known = statistics[slab][half];
                const float unit = MASK ? 1.0f : o.scale * LOG2_E; // which is positive
                const float factor = known.raise(most * unit), below = known.base();
#pragma unroll
                for (int each = 0; each < SIZE / 8; ++each)
                    sums[slab][each][half * 2] *= factor, sums[slab][each][half * 2 + 1] *= factor;
#pragma unroll
                for (int each = 0; each < KEYS / 8; ++each) {
                    const float even = power_of_two(products[slab][each][half * 2] * unit - below);
                    const float odd = power_of_two(products[slab][each][half * 2 + 1] * unit - below);
                    known.total += even + odd;
                    powers[slab][each][half] = rounded(even, odd);
                }
            }

        wait_for_copies<2 * STAGES - 3>();
        Way::arrived();
        __syncthreads(); // the values are there, and all are done with those before
        copy_values(step + STAGES - 1);
        Way::multiply_values(sums, powers, values_base + step % STAGES * TILE_BYTES);
    }
    wait_for_copies<0>();
    __syncthreads(); // results are where queries were

    u16 *y = (u16 *)o.y.at + batch * o.y.batch + head * o.y.head;
    char *results = shared + (own - base);
#pragma unroll
    for (int slab = 0; slab < SLABS; ++slab) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            float total = statistics[slab][half].total;
            total += __shfl_xor_sync(~0u, total, 1);
            total += __shfl_xor_sync(~0u, total, 2);
            const float share = 1.0f / total;
            const int row = of_warp + slab * 16 + half * 8 + lane / 4;
#pragma unroll
            for (int each = 0; each < SIZE / 8; ++each) {
                const float *value = sums[slab][each] + half * 2;
                *(u32 *)(results + Way::template place<QUERIES>(row, each * 8) + lane % 4 * 4) =
                    rounded(value[0] * share, value[1] * share);
            }
        }
        __syncwarp();
#pragma unroll
        for (int each = 0; each < SIZE / 16; ++each) {
            const int piece = each * 32 + lane, row = of_warp + slab * 16 + piece / (SIZE / 8), column = piece % (SIZE / 8) * 8;
            const int query = tile * QUERIES + row;
            if (query < o.queries && column < o.size)
                *(uint4 *)(y + query * o.y.token + column) = *(const uint4 *)(results + Way::template place<QUERIES>(row, column));
        }
    }
}
