// softmax(scale Q K^T + mask) V for each head, keys a tile after the other with the softmax put right as it goes
// (FlashAttention-2, Dao 2023, arXiv:2307.08691), on tensor cores of sm_80 and later.
//
// A block of threads has QUERIES = WARPS x SLABS x 16 queries of a head. Tiles of KEYS keys and their values are copied to
// STAGES places in shared memory, whose rows are 16 bytes longer than SIZE elements, so that eight neighbours' same pieces
// lie in different banks. Queries, sums and statistics are in registers.
//
// Macros: WARPS, SLABS, KEYS, STAGES, SIZE (of a head, filled up with zeros to a multiple of 16), MASK (0: there is none, 1: its own for
// each query, 2: one for all queries of a head).

#define THREADS (32 * WARPS)
#define QUERIES (WARPS * SLABS * 16)
#define PITCH (SIZE * 2 + 16)
#define TILE_BYTES (KEYS * PITCH)
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

// A tile of rows of a head, from row `first` on, to shared memory; past the ends there are zeros.
__device__ __forceinline__ void copy_rows(u32 to, const u16 *at, i64 stride, int first, int rows, int size) {
    const int pieces = SIZE / 8;
#pragma unroll
    for (int each = 0; each < (KEYS * pieces + THREADS - 1) / THREADS; ++each) {
        const int piece = each * THREADS + threadIdx.x, row = piece / pieces, column = piece % pieces * 8;
        if (KEYS * pieces % THREADS && row >= KEYS) break;
        const bool inside = first + row < rows && column < size;
        copy16(to + row * PITCH + column * 2, inside ? at + (first + row) * stride + column : at, inside ? 16 : 0);
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

extern "C" __global__ void __launch_bounds__(THREADS) attention(const __grid_constant__ Operands o) {
    extern __shared__ __align__(128) char shared[];
    allow_next_kernel();
    wait_for_kernel_before();
    const u32 base = shared_address(shared);
    const int lane = threadIdx.x & 31, which = blockIdx.x / o.tiles, batch = which / o.heads, head = which % o.heads;
    const int tile = o.causal ? o.tiles - 1 - blockIdx.x % o.tiles : blockIdx.x % o.tiles; // those with most keys first
    const int first = tile * QUERIES + threadIdx.x / 32 * SLABS * 16 + lane / 4; // of this lane's queries
    const u16 *q = o.q.at + batch * o.q.batch + head * o.q.head;
    const u16 *k = o.k.at + batch * o.k.batch + head / o.shared_by * o.k.head;
    const u16 *v = o.v.at + batch * o.v.batch + head / o.shared_by * o.v.head;
    const float *mask = o.mask + batch * o.mask_batch + head * o.mask_head;
    const int ahead = o.keys - o.queries; // a causal query meets so many keys more than its number says
    const int keys = o.causal ? max(0, min(o.keys, (tile + 1) * QUERIES + ahead)) : o.keys, count = (keys + KEYS - 1) / KEYS;
    const auto copy = [&](int which_tile) {
        const u32 to = base + which_tile % STAGES * 2 * TILE_BYTES;
        copy_rows(to, k, o.k.token, which_tile * KEYS, o.keys, o.size);
        copy_rows(to + TILE_BYTES, v, o.v.token, which_tile * KEYS, o.keys, o.size);
    };
#pragma unroll
    for (int each = 0; each < STAGES - 1; ++each) {
        if (each < count) copy(each);
        end_copies();
    }

    u32 queries[SLABS][SIZE / 16][4];
#pragma unroll
    for (int slab = 0; slab < SLABS; ++slab)
#pragma unroll
        for (int part = 0; part < SIZE / 16; ++part)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const int query = first + slab * 16 + i % 2 * 8, column = part * 16 + i / 2 * 8 + lane % 4 * 2;
                const bool inside = query < o.queries && column < o.size;
                queries[slab][part][i] = inside ? *(const u32 *)(q + query * o.q.token + column) : 0;
            }
    float sums[SLABS][SIZE / 8][4];
    Statistics statistics[SLABS][2];
#pragma unroll
    for (int slab = 0; slab < SLABS; ++slab) {
        statistics[slab][0] = statistics[slab][1] = {LEAST, 0.0f};
#pragma unroll
        for (int each = 0; each < SIZE / 2; ++each) (&sums[slab][0][0])[each] = 0.0f;
    }

    for (int step = 0; step < count; ++step) {
        wait_for_copies<STAGES - 2>();
        __syncthreads(); // this tile is there, and all are done with the one before
        if (step + STAGES - 1 < count) copy(step + STAGES - 1);
        end_copies();
        const u32 own_keys = base + step % STAGES * 2 * TILE_BYTES, values = own_keys + TILE_BYTES;

        float of_keys[KEYS / 4]; // the mask's
        if (MASK == 2)
#pragma unroll
            for (int each = 0; each < KEYS / 4; ++each) {
                const int key = step * KEYS + each / 2 * 8 + lane % 4 * 2 + each % 2;
                of_keys[each] = key < o.keys ? mask[key * o.mask_key] * LOG2_E : 0.0f;
            }
        float products[SLABS][KEYS / 8][4];
#pragma unroll
        for (int slab = 0; slab < SLABS; ++slab)
#pragma unroll
            for (int each = 0; each < KEYS / 2; ++each) (&products[slab][0][0])[each] = 0.0f;
#pragma unroll
        for (int part = 0; part < SIZE / 16; ++part)
#pragma unroll
            for (int key = 0; key < KEYS; key += 16) {
                u32 b[4];
                load_matrices(b, own_keys + (key + lane / 16 * 8 + lane % 8) * PITCH + part * 32 + lane / 8 % 2 * 16);
#pragma unroll
                for (int slab = 0; slab < SLABS; ++slab) {
                    mma(products[slab][key / 8], queries[slab][part], b[0], b[1]);
                    mma(products[slab][key / 8 + 1], queries[slab][part], b[2], b[3]);
                }
            }

        // Some of the keys of this tile are not for all queries.
        const bool cut = (step + 1) * KEYS > o.keys || (o.causal && (step + 1) * KEYS > tile * QUERIES + ahead + 1);
        u32 powers[SLABS][KEYS / 8][2];
#pragma unroll
        for (int slab = 0; slab < SLABS; ++slab)
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const int query = first + slab * 16 + half * 8;
                const int end = o.causal ? min(o.keys, query + ahead + 1) : o.keys;
                const float *added = mask + min(query, o.queries - 1) * o.mask_query;
                float most = LEAST;
#pragma unroll
                for (int each = 0; each < KEYS / 4; ++each) {
                    const int key = step * KEYS + each / 2 * 8 + lane % 4 * 2 + each % 2;
                    float &value = products[slab][each / 2][half * 2 + each % 2];
                    value *= o.scale * LOG2_E;
                    if (MASK == 1 && key < o.keys) value += added[key * o.mask_key] * LOG2_E;
                    if (MASK == 2) value += of_keys[each];
                    if (cut && key >= end) value = LEAST;
                    most = fmaxf(most, value);
                }
                Statistics &own = statistics[slab][half];
                const float factor = own.raise(most), below = own.base();
#pragma unroll
                for (int each = 0; each < SIZE / 8; ++each)
                    sums[slab][each][half * 2] *= factor, sums[slab][each][half * 2 + 1] *= factor;
#pragma unroll
                for (int each = 0; each < KEYS / 8; ++each) {
                    const float even = power_of_two(products[slab][each][half * 2] - below);
                    const float odd = power_of_two(products[slab][each][half * 2 + 1] - below);
                    own.total += even + odd;
                    powers[slab][each][half] = rounded(even, odd);
                }
            }

#pragma unroll
        for (int key = 0; key < KEYS; key += 16)
#pragma unroll
            for (int part = 0; part < SIZE / 16; ++part) {
                u32 b[4];
                load_transposed(b, values + (key + lane / 8 % 2 * 8 + lane % 8) * PITCH + part * 32 + lane / 16 * 16);
#pragma unroll
                for (int slab = 0; slab < SLABS; ++slab) {
                    const u32 a[4] = {powers[slab][key / 8][0], powers[slab][key / 8][1], powers[slab][key / 8 + 1][0],
                                      powers[slab][key / 8 + 1][1]};
                    mma(sums[slab][part * 2], a, b[0], b[1]);
                    mma(sums[slab][part * 2 + 1], a, b[2], b[3]);
                }
            }
    }
    wait_for_copies<0>();

    u16 *y = (u16 *)o.y.at + batch * o.y.batch + head * o.y.head;
#pragma unroll
    for (int slab = 0; slab < SLABS; ++slab)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            float total = statistics[slab][half].total;
            total += __shfl_xor_sync(~0u, total, 1);
            total += __shfl_xor_sync(~0u, total, 2);
            const int query = first + slab * 16 + half * 8;
            if (query >= o.queries) continue;
#pragma unroll
            for (int each = 0; each < SIZE / 8; ++each) {
                const int column = each * 8 + lane % 4 * 2;
                const float *value = sums[slab][each] + half * 2;
                if (column < o.size)
                    *(u32 *)(y + query * o.y.token + column) = rounded(value[0] / total, value[1] / total);
            }
        }
}
