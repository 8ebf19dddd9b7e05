// What is done to sums of dense products before they are rounded, and where they go.

#include "activation.cuh"
#include "machine/halves.cuh"

struct Epilogue {
    u16 *y;
    const float *bias;   // [m] or null
    const u16 *residual; // or null, of the type of y
    i64 stride, outer, inner; // of y: from row to row, from one of the outer and of the inner batch to the next; elements
    i64 residual_stride, residual_outer, residual_inner;
    float scale;
    int tokens, m;
    int wide;           // 16 bytes at a time can be written, and read of the residual
    int residual_first; // before the activation

    // Of one of the batch.
    __device__ __forceinline__ void select(int at_outer, int at_inner) {
        y += at_outer * outer + at_inner * inner;
        if (residual) residual += at_outer * residual_outer + at_inner * residual_inner;
    }

    // Of a row; zero past the end.
    __device__ __forceinline__ float bias_of(int row) const { return bias && row < m ? bias[row] : 0.0f; }

    __device__ __forceinline__ float finished(float sum, float offset, float added) const {
        const float value = activated(sum * scale + offset + (residual_first ? added : 0.0f));
        return residual_first ? value : value + added;
    }

    // Eight neighbouring rows of a token's residual, past the ends zeros.
    __device__ __forceinline__ uint4 added(int token, int row) const {
        if (!residual || token >= tokens || row >= m) return make_uint4(0, 0, 0, 0);
        const u16 *from = residual + token * residual_stride + row;
        if (wide && row + 8 <= m) return *(const uint4 *)from;
        u32 words[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const u32 low = row + 2 * i < m ? from[2 * i] : 0, high = row + 2 * i + 1 < m ? from[2 * i + 1] : 0;
            words[i] = low | high << 16;
        }
        return make_uint4(words[0], words[1], words[2], words[3]);
    }

    // Eight neighbouring rows of a token; past the ends nothing is written.
    __device__ __forceinline__ void put(uint4 v, int token, int row) const {
        if (token >= tokens || row >= m) return;
        u16 *to = y + token * stride + row;
        if (wide && row + 8 <= m) {
            *(uint4 *)to = v;
            return;
        }
        const u32 words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
        for (int i = 0; i < 8; ++i)
            if (row + i < m) to[i] = (u16)(words[i / 2] >> (i % 2 * 16));
    }

    // The sums of eight neighbouring rows of a token.
    __device__ __forceinline__ void write(const float (&sums)[8], int token, int row) const {
        const uint4 more = added(token, row);
        const u32 others[4] = {more.x, more.y, more.z, more.w};
        u32 words[4];
#pragma unroll
        for (int i = 0; i < 4; ++i)
            words[i] = rounded(
                finished(sums[2 * i], bias_of(row + 2 * i), widened((u16)others[i])),
                finished(sums[2 * i + 1], bias_of(row + 2 * i + 1), widened((u16)(others[i] >> 16))));
        put(make_uint4(words[0], words[1], words[2], words[3]), token, row);
    }
};

#define AREA_PITCH(EIGHTS) ((EIGHTS) * 16 + 16) // bytes of a token's rows, so that lanes share no bank
#define AREA_BYTES(EIGHTS) (16 * AREA_PITCH(EIGHTS))

// What a residual is to a warp that stores: there is none, it is added after the activation, or before it.
enum Added { NOTHING, LAST, FIRST };

// The sums of a warp as `store_sums` has them, where all of it is inside and 16 bytes at a time can be written: all that is fetched
// is under way before the first of it is waited for.
template <int EIGHTS, Added ADDED>
__device__ __forceinline__ void store_whole(const Epilogue &out, const float (*sums)[4], int token, int row, char *area) {
    const int lane = threadIdx.x & 31, own = lane / EIGHTS, part = lane % EIGHTS; // a piece: eight rows of a token
    const int apart = 32 / EIGHTS; // tokens from one of a lane's pieces to the next
    char *const piece = area + own * AREA_PITCH(EIGHTS) + part * 16;
    char *const pair = area + lane / 4 * AREA_PITCH(EIGHTS) + lane % 4 * 4;
    uint4 more[EIGHTS / 2];
    if (ADDED != NOTHING) {
        const u16 *from = out.residual + (token + own) * out.residual_stride + row + part * 8;
#pragma unroll
        for (int each = 0; each < EIGHTS / 2; ++each) more[each] = *(const uint4 *)(from + each * apart * out.residual_stride);
    }
    float offsets[EIGHTS][2] = {};
    if (out.bias) {
        const float *from = out.bias + row + lane % 4 * 2;
#pragma unroll
        for (int each = 0; each < EIGHTS; ++each) offsets[each][0] = from[each * 8], offsets[each][1] = from[each * 8 + 1];
    }
    __syncwarp();
    if (ADDED != NOTHING) {
#pragma unroll
        for (int each = 0; each < EIGHTS / 2; ++each) *(uint4 *)(piece + each * apart * AREA_PITCH(EIGHTS)) = more[each];
        __syncwarp();
    }
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
        for (int each = 0; each < EIGHTS; ++each) {
            u32 *place = (u32 *)(pair + 8 * half * AREA_PITCH(EIGHTS) + each * 16);
            const u32 other = ADDED == NOTHING ? 0 : *place;
            float values[2];
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                const float sum = sums[each][2 * half + i] * out.scale + offsets[each][i], added = widened((u16)(other >> 16 * i));
                values[i] = ADDED == NOTHING ? activated(sum) : ADDED == LAST ? activated(sum) + added : activated(sum + added);
            }
            *place = rounded(values[0], values[1]);
        }
    __syncwarp();
    u16 *to = out.y + (token + own) * out.stride + row + part * 8;
#pragma unroll
    for (int each = 0; each < EIGHTS / 2; ++each)
        *(uint4 *)(to + each * apart * out.stride) = *(const uint4 *)(piece + each * apart * AREA_PITCH(EIGHTS));
}

// The sums of a warp, 16 tokens x EIGHTS x 8 rows as `mma` leaves them, through AREA_BYTES(EIGHTS) of shared memory of its own,
// where rows become neighbours.
template <int EIGHTS>
__device__ __forceinline__ void store_sums(const Epilogue &out, const float (*sums)[4], int token, int row, char *area) {
    if (out.wide && token + 16 <= out.tokens && row + 8 * EIGHTS <= out.m) // the same for all lanes
        return !out.residual         ? store_whole<EIGHTS, NOTHING>(out, sums, token, row, area)
               : out.residual_first ? store_whole<EIGHTS, FIRST>(out, sums, token, row, area)
                                    : store_whole<EIGHTS, LAST>(out, sums, token, row, area);
    const int lane = threadIdx.x & 31, column = row + lane % 4 * 2;
    float offsets[EIGHTS][2]; // of rows
#pragma unroll
    for (int each = 0; each < EIGHTS * 2; ++each) offsets[each / 2][each % 2] = out.bias_of(column + each / 2 * 8 + each % 2);
    __syncwarp();
    if (out.residual) {
#pragma unroll
        for (int each = 0; each < EIGHTS / 2; ++each) {
            const int piece = each * 32 + lane, own = piece / EIGHTS, part = piece % EIGHTS;
            *(uint4 *)(area + own * AREA_PITCH(EIGHTS) + part * 16) = out.added(token + own, row + part * 8);
        }
        __syncwarp();
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
        for (int each = 0; each < EIGHTS; ++each) {
            u32 *place = (u32 *)(area + (lane / 4 + 8 * half) * AREA_PITCH(EIGHTS) + each * 16 + lane % 4 * 4);
            const u32 other = out.residual ? *place : 0;
            const float *v = sums[each] + 2 * half;
            *place = rounded(out.finished(v[0], offsets[each][0], widened((u16)other)),
                             out.finished(v[1], offsets[each][1], widened((u16)(other >> 16))));
        }
    }
    __syncwarp();
#pragma unroll
    for (int each = 0; each < EIGHTS / 2; ++each) {
        const int piece = each * 32 + lane, own = piece / EIGHTS, part = piece % EIGHTS;
        out.put(*(const uint4 *)(area + own * AREA_PITCH(EIGHTS) + part * 16), token + own, row + part * 8);
    }
}
