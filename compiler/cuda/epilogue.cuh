// What is done to sums of dense products before they are rounded, and where they go.

struct Epilogue {
    u16 *y;
    const float *bias;   // [m], or [tokens] with `bias_by_token`, or null
    const u16 *residual; // or null, of the type of y
    i64 stride, outer, inner; // of y: from row to row, from one of the outer and of the inner batch to the next; elements
    i64 residual_stride, residual_outer, residual_inner;
    float scale;
    int tokens, m;
    int wide;           // 16 bytes at a time can be written, and read of the residual
    int residual_first; // before the activation
    int bias_by_token;

    // Of one of the batch.
    __device__ __forceinline__ void select(int at_outer, int at_inner) {
        y += at_outer * outer + at_inner * inner;
        if (residual) residual += at_outer * residual_outer + at_inner * residual_inner;
    }

    __device__ __forceinline__ float finished(float sum, int token, int row, u16 added) const {
        const float value = sum * scale + (bias ? bias[bias_by_token ? token : row] : 0.0f);
        const float other = residual ? widened(added) : 0.0f;
        return residual_first ? activated(value + other) : activated(value) + other;
    }

    // The sums of eight neighbouring rows of a token; past the ends nothing is read or written.
    __device__ __forceinline__ void write(const float (&sums)[8], int token, int row) const {
        if (token >= tokens || row >= m) return;
        u16 *to = y + token * stride + row;
        const u16 *from = residual + token * residual_stride + row;
        if (wide && row + 8 <= m) {
            uint4 added = make_uint4(0, 0, 0, 0);
            if (residual) added = *(const uint4 *)from;
            const u32 more[4] = {added.x, added.y, added.z, added.w};
            u32 words[4];
#pragma unroll
            for (int i = 0; i < 4; ++i)
                words[i] = rounded(finished(sums[2 * i], token, row + 2 * i, (u16)more[i]),
                                   finished(sums[2 * i + 1], token, row + 2 * i + 1, (u16)(more[i] >> 16)));
            *(uint4 *)to = make_uint4(words[0], words[1], words[2], words[3]);
            return;
        }
#pragma unroll
        for (int i = 0; i < 8; ++i)
            if (row + i < m) to[i] = (u16)rounded(finished(sums[i], token, row + i, residual ? from[i] : (u16)0), 0.0f);
    }
};
