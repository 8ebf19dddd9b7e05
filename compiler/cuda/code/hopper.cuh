// What kernels with `wgmma` share: sm_90a only. Compiled by NVRTC together with one kernel, so nothing is included.
//
// Macros set by the caller: BF16 (of results and 16-bit factors, else fp16), ACTIVATION; KIND of the factors (0: 16 bits, 1: int8,
// 2: float8), where a kernel has others than 16 bits.

typedef unsigned int u32;
typedef unsigned short u16;
typedef unsigned long long u64;

// A `CUtensorMap`: where a tensor lies and how boxes of it are put in shared memory.
struct alignas(64) TensorMap {
    u64 opaque[16];
};

__device__ __forceinline__ u32 shared_address(const void *pointer) {
    return (u32)__cvta_generic_to_shared(pointer);
}

__device__ __forceinline__ void wait_for_kernel_before() { asm volatile("griddepcontrol.wait;" ::: "memory"); }

// The threads of one warpgroup; barrier 0 is for all threads of a block.
__device__ __forceinline__ void meet_warpgroup(u32 barrier) { asm volatile("bar.sync %0, 128;" ::"r"(barrier) : "memory"); }

// Barriers that say of each of COUNT stages that it is full, and after them those that all warps have read it.
template <int COUNT>
__device__ __forceinline__ void make_barriers(u32 full, int warps) {
    if (threadIdx.x == 0) {
        for (int each = 0; each < COUNT; ++each) {
            asm volatile("mbarrier.init.shared.b64 [%0], 1;" ::"r"(full + 8 * each) : "memory");
            asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(full + 8 * (COUNT + each)), "r"(warps) : "memory");
        }
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    __syncthreads();
}

// A place in a ring of COUNT stages, and which round it is.
template <int COUNT>
struct Stage {
    u32 index, parity;

    __device__ __forceinline__ void next() {
        if (++index == COUNT) index = 0, parity ^= 1;
    }
};

__device__ __forceinline__ void expect(u32 barrier, u32 bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

// All lanes of a warp have read what the barrier is for.
__device__ __forceinline__ void arrive(u32 barrier) {
    __syncwarp();
    if ((threadIdx.x & 31) == 0) asm volatile("mbarrier.arrive.shared.b64 _, [%0];" ::"r"(barrier) : "memory");
}

__device__ __forceinline__ void wait_for(u32 barrier, u32 parity) {
    asm volatile("{\n.reg .pred done;\nAGAIN:\n"
                 "mbarrier.try_wait.parity.shared.b64 done, [%0], %1;\n"
                 "@!done bra AGAIN;\n}" ::"r"(barrier), "r"(parity) : "memory");
}

// Bytes in a row, a multiple of 16, from global to shared memory.
__device__ __forceinline__ void copy_bytes(u32 to, const void *from, u32 bytes, u32 barrier) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to),
                 "l"(from), "r"(bytes), "r"(barrier) : "memory");
}

// A box of a matrix; what is past the matrix's ends is zero.
__device__ __forceinline__ void copy_box(u32 to, const TensorMap &map, int column, int row, u32 barrier) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%2, %3}], [%4];" ::"r"(to), "l"(&map), "r"(column), "r"(row), "r"(barrier) : "memory");
}

// A box of pixels of images with channels last, from the pixel on whose window begins at (right, down), of the pixels that are so
// far to the right and down in their windows; what is outside an image is zero.
__device__ __forceinline__ void copy_pixels(u32 to, const TensorMap &map, int channel, int right, int down, int image,
                                            u16 far_right, u16 far_down, u32 barrier) {
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%2, %3, %4, %5}], [%6], {%7, %8};" ::"r"(to), "l"(&map), "r"(channel), "r"(right), "r"(down),
                 "r"(image), "r"(barrier), "h"(far_right), "h"(far_down) : "memory");
}

// All threads of all blocks of a cluster; what they wrote to shared memory before can be read after.
__device__ __forceinline__ void meet_cluster() {
    asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
}

// A place in shared memory as it is in a block of the cluster.
__device__ __forceinline__ u32 in_block(u32 address, u32 block) {
    u32 there;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(address), "r"(block));
    return there;
}

// Where a matrix for `wgmma` lies in shared memory, as its descriptor says it.
__device__ __forceinline__ u32 matrix_place(u32 address) { return address >> 4; }

// A matrix at a place, K within rows of 128 bytes (SWIZZLE 1) or 64 bytes (2), eight rows together.
template <int SWIZZLE>
__device__ __forceinline__ u64 matrix_from(u32 place) {
    const u64 group = SWIZZLE == 1 ? 1024 : 512;
    return (u64)place | 1ull << 16 | group >> 4 << 32 | (u64)SWIZZLE << 62;
}

template <int SWIZZLE>
__device__ __forceinline__ u64 matrix_at(u32 address) {
    return matrix_from<SWIZZLE>(matrix_place(address));
}

__device__ __forceinline__ void begin_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

__device__ __forceinline__ void end_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// Wait until at most so many groups of products are unfinished.
template <int LEFT>
__device__ __forceinline__ void wait_for_products() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(LEFT) : "memory");
}

__device__ __forceinline__ u32 loaded(u32 address) {
    u32 word;
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(word) : "r"(address));
    return word;
}

// Two values, rounded; the first in the low half.
__device__ __forceinline__ u32 rounded(float low, float high) {
    u32 bits;
#if BF16
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
#else
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
#endif
    return bits;
}

// The order of tiles: for `together` tiles of tokens all rows are done before the next, so that they stay in the L2.
struct Order {
    int row_tiles, token_tiles, together;

    __device__ __forceinline__ int count() const { return row_tiles * token_tiles; }

    __device__ __forceinline__ void find(int tile, int &row_tile, int &token_tile) const {
        const int first = tile / (together * row_tiles) * together, width = min(together, token_tiles - first);
        const int within = tile - first * row_tiles;
        row_tile = within / width, token_tile = first + within % width;
    }
};

__device__ __forceinline__ float2 both_widened(u32 bits) {
    float low, high;
#if BF16
    low = __uint_as_float(bits << 16), high = __uint_as_float(bits & 0xFFFF0000);
#else
    asm("{\n.reg .b16 l, h;\nmov.b32 {l, h}, %2;\ncvt.f32.f16 %0, l;\ncvt.f32.f16 %1, h;\n}" : "=f"(low), "=f"(high) : "r"(bits));
#endif
    return make_float2(low, high);
}

// Where results go: y [tokens, m], row by row, and what is added to them; `wide` if 16 bytes at a time can be written and
// read.
struct Output {
    u16 *y;
    const float *bias; // [m] or null
    const u16 *residual; // [tokens, m] or null
    const float *row_scales, *token_scales; // [m], [tokens] or null, of factors of eight bits
    long long stride, residual_stride;
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
        uint4 v;
        asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(from) : "memory");
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

__device__ __forceinline__ void keep(u32 to, uint4 v) {
    asm volatile("st.shared.v4.u32 [%0], {%1,%2,%3,%4};" ::"r"(to), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
}

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
                keep(place(each + thread / 8), more[each / 16]);
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
            if (o.residual)
                asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                             : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3]) : "r"(to + each * 128) : "memory");
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const float2 more = both_widened(words[i]); // zeros without a residual
                words[i] = rounded(activated(w[2 * i], more.x), activated(w[2 * i + 1], more.y));
            }
            asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(to + each * 128),
                         "r"(words[0]), "r"(words[1]), "r"(words[2]), "r"(words[3]) : "memory");
        }
        meet_warpgroup(meeting);
#pragma unroll
        for (int each = 0; each < AREA_TOKENS && begin + each < COUNT; each += 16) {
            const int in_area = each + thread / 8, token = first_token + begin + in_area;
            if (token < o.tokens) o.write(token, out_row, place(in_area));
        }
    }
}
