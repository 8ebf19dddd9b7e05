// Sums of a kernel of streams, from products to Y.

#include "activation.cuh"
#include "machine/order.cuh"
#include "machine/shared_memory.cuh"
#include "machine/tensor_core.cuh"
#include "stream_operands.cuh"
#include "stream_tokens.cuh"

// Sums of a warp's 32 rows += A X^T, for A's 32 columns (16 columns, then 16 rows) and X's at `x`.
__device__ __forceinline__ void multiply(float (&sums)[2][TILES][4], const u32 (&a)[4][4], u32 x) {
#pragma unroll
    for (int i = 0; i < TILES; ++i) {
        const uint4 b = fragments_of_x(x + i * 1024);
        mma(sums[0][i], a[0], b.x, b.y);
        mma(sums[1][i], a[1], b.x, b.y);
        mma(sums[0][i], a[2], b.z, b.w);
        mma(sums[1][i], a[3], b.z, b.w);
    }
}

#define OWN (2 / HALVES)                // times 16 rows, whose sums a warp finishes
#define STORE_PITCH(PARTS) (32 * PARTS + 4) // bytes of a token's rows, so that lanes share no bank
#define STORE_TILES (TILES < 4 ? TILES : 4)
#define STORE_BYTES (8 * STORE_TILES * STORE_PITCH(2))

// The sums of a warp, 32 rows x TILES x 8 tokens, and where they go.
struct Sums {
    float values[2][TILES][4];

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int each = 0; each < 8 * TILES; ++each) (&values[0][0][0])[each] = 0.0f;
    }

    // From the bits of whole numbers to numbers.
    __device__ __forceinline__ void become_floats() {
#pragma unroll
        for (int each = 0; each < 8 * TILES; ++each)
            (&values[0][0][0])[each] = (float)__float_as_int((&values[0][0][0])[each]);
    }

    // Two warps with the same rows give each other their sums of 16 of them, through `area`, 1024 TILES bytes of shared memory; those
    // that a warp has then come first.
    __device__ __forceinline__ void exchange(u32 area) {
        if (HALVES == 1) return;
        const int group = threadIdx.x / 32 % GROUPS;
        const bool second = threadIdx.x / 32 >= GROUPS;
        const u32 own = area + (second ? 512 * TILES : 0) + (threadIdx.x & 31) * 16, other = own + (second ? -512 * TILES : 512 * TILES);
        meet<64>(group + 1);
#pragma unroll
        for (int tile = 0; tile < TILES; ++tile) {
            float v[4];
#pragma unroll
            for (int i = 0; i < 4; ++i) v[i] = second ? values[0][tile][i] : values[1][tile][i];
            store_floats(other + tile * 512, v);
        }
        meet<64>(group + 1);
#pragma unroll
        for (int tile = 0; tile < TILES; ++tile) {
            const float4 theirs = loaded_floats(own + tile * 512);
            const float v[4] = {theirs.x, theirs.y, theirs.z, theirs.w};
#pragma unroll
            for (int i = 0; i < 4; ++i) values[0][tile][i] = (second ? values[1][tile][i] : values[0][tile][i]) + v[i];
        }
        meet<64>(group + 1);
    }

    // Where several segments have the same rows, the warp that comes last adds the sums of all, in their order, so that
    // results do not depend on who is last. Its counter is left at zero for the next launch.
    __device__ __forceinline__ bool complete(const Operands &o, int block, int segment) {
        const Block siblings = o.segments[block];
        if (siblings.count == 1) return true;
        const int warp = threadIdx.x / 32, lane = threadIdx.x & 31;
        const auto place = [&](int which) { return o.partial + (i64)(which * WARPS + warp) * (OWN * TILES * 32) + lane; };
        float4 *own = place(segment);
#pragma unroll
        for (int each = 0; each < OWN * TILES; ++each) {
            const float *v = values[each / TILES][each % TILES];
            __stcg(own + each * 32, make_float4(v[0], v[1], v[2], v[3]));
        }
        __syncwarp();
        u32 *counter = o.counters + block * WARPS + warp, before = 0;
        if (lane == 0) before = arrivals_before(counter);
        if (__shfl_sync(~0u, before, 0) + 1 != siblings.count) return false;
        __syncwarp();
        clear();
        const int SOME = OWN * TILES < 8 ? OWN * TILES : 8, TOGETHER = 16 / SOME; // loads on their way, as registers allow
        for (int sibling = 0; sibling < siblings.count; sibling += TOGETHER)
#pragma unroll
            for (int begin = 0; begin < OWN * TILES; begin += SOME) {
                float4 theirs[TOGETHER * SOME];
#pragma unroll
                for (int i = 0; i < TOGETHER * SOME; ++i)
                    theirs[i] = __ldcg(place(siblings.first + min(sibling + i / SOME, siblings.count - 1)) + (begin + i % SOME) * 32);
#pragma unroll
                for (int i = 0; i < TOGETHER * SOME; ++i) {
                    const float4 v = theirs[i];
                    float *sum = values[(begin + i % SOME) / TILES][(begin + i % SOME) % TILES];
                    if (sibling + i / SOME < siblings.count) sum[0] += v.x, sum[1] += v.y, sum[2] += v.z, sum[3] += v.w;
                }
            }
        if (lane == 0) *counter = 0;
        return true;
    }

    // The end of a segment: what its rows' warps have goes to Y, unless another warp does it later. Warps with the same rows share
    // `area`; `own` may be the same, or a warp's own.
    __device__ __forceinline__ void finish(const Operands &o, int block, int segment, u32 area, u32 own) {
#if KIND == 1
        become_floats();
#endif
        exchange(area);
        if (complete(o, block, segment)) store(o, block, own);
    }

    // Through `area`, which two warps with the same rows may share.
    __device__ __forceinline__ void store(const Operands &o, int block, u32 area) const {
        const int group = threadIdx.x / 32 % GROUPS, half = threadIdx.x / 32 / GROUPS;
        store_rows<OWN>(o, (block * GROUPS + group) * 32 + half * 16, area + half * (8 * STORE_TILES * STORE_PITCH(OWN)));
    }

    // The sums of 16 PARTS rows to y [tokens, m], from row `rows` on; neighbouring rows are brought together in `area`,
    // 8 STORE_TILES STORE_PITCH(PARTS) bytes of shared memory, some tokens at a time.
    template <int PARTS>
    __device__ __forceinline__ void store_rows(const Operands &o, int rows, u32 area) const {
        const int PITCH = STORE_PITCH(PARTS), ROWS = 16 * PARTS, AT_ONCE = 32 / ROWS; // tokens
        const int lane = threadIdx.x & 31, own = lane % ROWS;
#pragma unroll
        for (int tile = 0; tile < TILES; tile += STORE_TILES) {
            const int count = min(o.tokens - 8 * tile, 8 * STORE_TILES);
            if (o.residual) {
#pragma unroll 4
                for (int token = lane / ROWS; token < count; token += AT_ONCE) {
                    const u16 bits = rows + own < o.m ? o.residual[(8 * tile + token) * o.residual_stride + rows + own] : 0;
                    store2(area + token * PITCH + own * 2, bits);
                }
                __syncwarp();
            }
#pragma unroll
            for (int part = 0; part < 2 * PARTS; ++part) { // rows g, g + 8, g + 16, g + 24
                const int row = lane / 4 + 8 * part;
                const float offset = o.bias && rows + row < o.m ? o.bias[rows + row] : 0.0f;
#if KIND
                const float row_scale = rows + row < o.m ? o.row_scales[rows + row] : 0.0f;
#endif
#pragma unroll
                for (int each = 0; each < 2 * STORE_TILES; ++each) {
                    const int token = each / 2 * 8 + 2 * (lane & 3) + each % 2;
                    const u32 place = area + token * PITCH + row * 2;
                    float sum = values[part / 2][tile + each / 2][2 * (part & 1) + each % 2];
#if KIND
                    sum *= row_scale * (o.token_scales && token < count ? o.token_scales[8 * tile + token] : 1.0f);
#endif
                    u16 bits = 0;
                    if (o.residual && token < count) bits = loaded2(place);
                    sum = activated(sum + offset, widened(bits));
                    store2(place, rounded(sum));
                }
            }
            __syncwarp();
            if (rows + own < o.m)
#pragma unroll 4
                for (int token = lane / ROWS; token < count; token += AT_ONCE)
                    o.y[(8 * tile + token) * o.y_stride + rows + own] = loaded2(area + token * PITCH + own * 2);
            __syncwarp();
        }
    }
};
