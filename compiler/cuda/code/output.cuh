// What warpgroups do with sums of sparse products, and where results go: sm_90a only.
//
// Macros set by the caller: BF16 (of results and 16-bit factors, else fp16), ACTIVATION; KIND of the factors (0: 16 bits, 1: int8,
// 2: float8), where a kernel has others than 16 bits.

#include "activation.cuh"
#include "machine/order.cuh"
#include "machine/shared_memory.cuh"
#include "machine/tensor_core.cuh"

// Where results go: y [tokens, m], row by row, and what is added to them; `wide` if 16 bytes at a time can be written and
// read.
struct Output {
    u16 *y;
    const float *bias; // [m] or null
    const u16 *residual; // [tokens, m] or null
    const float *row_scales, *token_scales; // [m], [tokens] or null, of factors of eight bits
    i64 stride, residual_stride;
    int m, tokens, wide, unused;

    __device__ __forceinline__ float row_scale(int row) const { return row < m ? row_scales[row] : 0.0f; }

    __device__ __forceinline__ float token_scale(int token) const {
        return token_scales && token < tokens ? token_scales[token] : 1.0f;
    }

    // Of two rows that a thread has sums of.
    __device__ __forceinline__ float2 biases(int low, int high) const {
        return make_float2(bias && low < m ? bias[low] : 0.0f, bias && high < m ? bias[high] : 0.0f);
    }

    // Eight values of the residual, zeros past its ends.
    __device__ __forceinline__ uint4 added(int token, int row) const {
        uint4 v = make_uint4(0, 0, 0, 0);
        if (token >= tokens || row >= m) return v;
        const u16 *place = residual + token * residual_stride + row;
        if (wide && row + 8 <= m) return *(const uint4 *)place;
        u32 words[4] = {};
#pragma unroll
        for (int i = 0; i < 8; ++i)
            if (row + i < m) words[i / 2] |= (u32)place[i] << i % 2 * 16;
        return make_uint4(words[0], words[1], words[2], words[3]);
    }

    // Eight results from shared memory, of which those past the last row are not written.
    __device__ __forceinline__ void write(int token, int row, u32 from) const {
        if (row >= m) return;
        const uint4 v = loaded16(from);
        u16 *place = y + token * stride + row;
        if (wide && row + 8 <= m) {
            *(uint4 *)place = v;
            return;
        }
        const u32 words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
        for (int i = 0; i < 8; ++i)
            if (row + i < m) place[i] = (u16)(words[i / 2] >> (i % 2 * 16));
    }
};

#define AREA_TOKENS 64
#define AREA_BYTES (AREA_TOKENS * 128) // of shared memory for each warpgroup

// The first row that a thread of a warpgroup has sums of, of two times 32; the others are eight after it.
__device__ __forceinline__ int first_of_rows(int first_row, int second_row) {
    const int thread = threadIdx.x & 127;
    return (thread < 64 ? first_row : second_row) + thread / 32 % 2 * 16 + thread % 32 / 4;
}

// The sums of a warpgroup, two times 32 rows x COUNT tokens as `wgmma` leaves them, to y from `first_token` and those rows on:
// through `area`, where rows become neighbours; barrier `meeting` is the warpgroup's own.
template <int COUNT>
__device__ __forceinline__ void store(const float (&sums)[COUNT / 2], const Output &o, int first_row, int second_row,
                                      int first_token, float2 biases, u32 area, u32 meeting) {
    const int thread = threadIdx.x & 127, lane = thread & 31, warp = thread / 32;
    const int out_row = (thread % 8 < 4 ? first_row : second_row) + thread % 4 * 8;
#if KIND
    const int row = first_of_rows(first_row, second_row);
    const float low_scale = o.row_scale(row), high_scale = o.row_scale(row + 8);
#endif
    // Lane l gives the place of token l % 8 of eight, and of rows 0..7 or 8..15 of the warp's.
    const u32 to = area + ((lane / 16) * 8 + lane % 8) * 128 + (((warp * 2 + lane / 8 % 2) ^ (lane % 8)) * 16);
    const auto place = [&](int in_area) { return area + in_area * 128 + (thread % 8 ^ in_area % 8) * 16; };
#pragma unroll
    for (int begin = 0; begin < COUNT; begin += AREA_TOKENS) {
        if (first_token + begin >= o.tokens) break; // the same for all threads
        uint4 more[AREA_TOKENS / 16]; // all under way before the first is waited for
        if (o.residual)
#pragma unroll
            for (int each = 0; each < AREA_TOKENS && begin + each < COUNT; each += 16)
                more[each / 16] = o.added(first_token + begin + each + thread / 8, out_row);
        meet_warpgroup(meeting);
        if (o.residual) {
#pragma unroll
            for (int each = 0; each < AREA_TOKENS && begin + each < COUNT; each += 16)
                store16(place(each + thread / 8), more[each / 16]);
            meet_warpgroup(meeting);
        }
#pragma unroll
        for (int each = 0; each < AREA_TOKENS && begin + each < COUNT; each += 16) {
            const float *v = sums + (begin + each) / 2;
            float w[8];
#pragma unroll
            for (int i = 0; i < 8; ++i) {
                w[i] = v[i];
#if KIND
                w[i] *= (i & 2 ? high_scale : low_scale) * o.token_scale(first_token + begin + each + i / 4 * 8 + lane % 4 * 2 + i % 2);
#endif
                w[i] += i & 2 ? biases.y : biases.x;
            }
            u32 words[4] = {};
            if (o.residual) load_transposed(words, to + each * 128);
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const float2 more = both_widened(words[i]); // zeros without a residual
                words[i] = rounded(activated(w[2 * i], more.x), activated(w[2 * i + 1], more.y));
            }
            store_transposed(to + each * 128, words);
        }
        meet_warpgroup(meeting);
#pragma unroll
        for (int each = 0; each < AREA_TOKENS && begin + each < COUNT; each += 16) {
            const int in_area = each + thread / 8, token = first_token + begin + in_area;
            if (token < o.tokens) o.write(token, out_row, place(in_area));
        }
    }
}
