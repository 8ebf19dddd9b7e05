// Sums of strips of 32 rows, as warpgroups have them, from registers to Y.
//
// Macros: TOKENS (64 or 128), SPLIT: blocks of threads, a cluster, that have a part of a tile's windows each; STRIPS of a warpgroup.

#include "machine/order.cuh"
#include "machine/shared_memory.cuh"
#include "machine/tensor_core.cuh"
#include "machine/tensor_memory.cuh"
#include "output.cuh"

#define GROUPS 3
#define HALVES (TOKENS / 64)
#define STORE_PITCH 80 // bytes of a token's 32 rows on their way out
#define STORE_BYTES (16 * STORE_PITCH) // of a warp

// The sums of a warp, 16 tokens x 32 rows, to y; `area` is STORE_BYTES of its own.
__device__ __forceinline__ void store_strip(const float (&sums)[16], const Output &o, int first_row, int first_token, u32 area) {
    const int lane = threadIdx.x & 31;
    const u32 to = area + lane % 8 * STORE_PITCH + lane / 8 * 16;
    const auto place = [&](int half) { return area + (half * 8 + lane / 4) * STORE_PITCH + lane % 4 * 16; };
    const int token = first_token + lane / 4, out_row = first_row + lane % 4 * 8;
    __syncwarp();
    if (o.residual) {
        const uint4 first = o.added(token, out_row), second = o.added(token + 8, out_row);
        store16(place(0), first), store16(place(1), second);
        __syncwarp();
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        u32 words[4] = {}; // 8 tokens x 8 rows
        if (o.residual) load_matrices(words, to + half * 8 * STORE_PITCH);
#pragma unroll
        for (int part = 0; part < 4; ++part) {
            const int row = first_row + 8 * part + lane % 4 * 2;
            const float even = o.bias && row < o.m ? o.bias[row] : 0.0f, odd = o.bias && row + 1 < o.m ? o.bias[row + 1] : 0.0f;
            const float *v = sums + 4 * part + 2 * half;
            const float2 more = both_widened(words[part]); // zeros without a residual
            words[part] = rounded(activated(v[0] + even, more.x), activated(v[1] + odd, more.y));
        }
        store_matrices(to + half * 8 * STORE_PITCH, words);
    }
    __syncwarp();
    if (token < o.tokens) o.write(token, out_row, place(0));
    if (token + 8 < o.tokens) o.write(token + 8, out_row, place(1));
}

// The parts' sums of a tile, added up in the order of the parts: `rank` of the cluster writes every SPLIT-th strip of 64 tokens.
// `sums_at` is shared memory for all sums of a block of threads.
#if SPLIT > 1
__device__ __forceinline__ void exchange(const float (&sums)[STRIPS][HALVES][16], u32 sums_at) {
    const u32 own = sums_at + threadIdx.x / 32 * (STRIPS * HALVES * 2048) + threadIdx.x % 32 * 16;
    meet<GROUPS * 128>(1); // all have read what was there
#pragma unroll
    for (int strip = 0; strip < STRIPS; ++strip)
#pragma unroll
        for (int half = 0; half < HALVES; ++half)
#pragma unroll
            for (int each = 0; each < 4; ++each)
                store_floats(own + (strip * HALVES + half) * 2048 + each * 512, sums[strip][half] + 4 * each);
    meet_cluster();
}

__device__ __forceinline__ void add_up(float (&sums)[16], u32 sums_at, int which) {
    const u32 from = sums_at + (threadIdx.x / 32 * (STRIPS * HALVES) + which) * 2048 + threadIdx.x % 32 * 16;
#pragma unroll
    for (int each = 0; each < 16; ++each) sums[each] = 0.0f;
#pragma unroll
    for (int part = 0; part < SPLIT; ++part)
#pragma unroll
        for (int each = 0; each < 4; ++each) {
            const float4 v = loaded_floats_there(in_block(from + each * 512, part));
            sums[4 * each] += v.x, sums[4 * each + 1] += v.y, sums[4 * each + 2] += v.z, sums[4 * each + 3] += v.w;
        }
}
#endif
