// What the kernels of this folder share. Compiled by NVRTC together with one kernel, so nothing is included.
//
// Macros set by the caller: WARPS (of a block of threads), HALVES (1 or 2: warps that share a group of 32 rows, each with
// its part of the columns of a step), BF16 (of results and 16-bit factors, else fp16), KIND of the factors (0: 16 bits, 1: int8,
// 2: float8) of a kernel that has others than 16 bits, whose X is told as if two were one, TILES (of 8 tokens), ACTIVATION;
// UNITS of a step, at most, for kernels that have them; COLUMNS and STAGES of X in shared memory.

typedef unsigned int u32;
typedef unsigned short u16;
typedef unsigned long long u64;

#define UNIT 16 // bytes: a stream is a sequence of units
#define GROUPS (WARPS / HALVES) // of 32 rows in a block

// A worker's part of the steps of all row blocks in a line, the first of its segments, which are parts of one block, and how many
// batches of steps the workers before it have.
struct Part {
    int begin, end, segment, batches;
};

// Segments [first, first + count) have the rows of a block.
struct Block {
    int first, count;
};

struct Operands {
    const uint4 *streams;
    const uint4 *heads; // [workers][WARPS]: the first four offsets of each warp
    const u32 *offsets; // [batches of all warps + 1], units: those of a worker's first warp, of its second, ...
    const Part *parts;  // [workers + 1]
    const Block *segments; // [blocks]
    const u16 *x;       // [tokens, k]
    u16 *y;             // [tokens, m]
    const float *bias;  // [m] or null
    const u16 *residual; // [tokens, m] or null
    const float *row_scales, *token_scales; // [m], [tokens] or null, of factors of eight bits
    float4 *partial;
    u32 *counters;
    long long x_stride, y_stride, residual_stride;
    int m, k, tokens, blocks, steps, segment_count, slots, workers;
};

// The product of the tokens from one on, at most `count`.
__device__ __forceinline__ Operands from_token(Operands all, int first, int count) {
    all.x += first * all.x_stride;
    all.y += first * all.y_stride;
    if (all.residual) all.residual += first * all.residual_stride;
    if (all.token_scales) all.token_scales += first;
    all.tokens = min(all.tokens - first, count);
    return all;
}

// Tokens past TILES x 8 are another row of the grid, with its own sums.
__device__ __forceinline__ Operands of_this_row(Operands all) {
    all = from_token(all, blockIdx.y * TILES * 8, TILES * 8);
    all.partial += (long long)blockIdx.y * all.segment_count * GROUPS * 2 * TILES * 32;
    all.counters += blockIdx.y * all.blocks * WARPS;
    return all;
}

__device__ __forceinline__ u32 shared_address(const void *pointer) {
    return (u32)__cvta_generic_to_shared(pointer);
}

__device__ __forceinline__ void copy16(u32 to, const void *from) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}

// By shared addresses: an index into an array would cost an addition.
__device__ __forceinline__ u32 loaded(u32 address) {
    u32 word;
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(word) : "r"(address));
    return word;
}

__device__ __forceinline__ uint4 loaded16(u32 address) {
    uint4 v;
    asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(address));
    return v;
}

// Bytes that no one else loads.
__device__ __forceinline__ uint4 streamed(const uint4 *from) {
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(from));
    return v;
}

// The next kernel of the stream may begin to load weights while this one ends; nothing that another kernel writes or
// reads may be touched before `wait_for_kernel_before`.
__device__ __forceinline__ void allow_next_kernel() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

__device__ __forceinline__ void wait_for_kernel_before() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

__device__ __forceinline__ void wait_for(u32 barrier, u32 parity) {
    asm volatile(
        "{\n.reg .pred done;\nAGAIN:\n"
#if __CUDA_ARCH__ >= 900
        "mbarrier.try_wait.parity.shared.b64 done, [%0], %1;\n"
#else
        "mbarrier.test_wait.parity.shared.b64 done, [%0], %1;\n"
#endif
        "@!done bra AGAIN;\n}" ::"r"(barrier), "r"(parity) : "memory");
}

#if BF16
#define TYPE "bf16"
#else
#define TYPE "f16"
#endif

// D[16 x 8] += A[16 x 16] B[16 x 8]
__device__ __forceinline__ void mma(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32." TYPE "." TYPE ".f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// D[16 x 8] += A[16 x 64 bytes, two of four] B[64 bytes x 8], for which lanes 0 and 1 of each four (HALF 0) or 2 and 3 have the
// indices; all lanes for factors of eight bits. The bits of D are those of int32 for factors of int8.
template <int HALF>
__device__ __forceinline__ void sparse_mma(float (&d)[4], const uint4 &a, const uint4 &b, u32 indices) {
#if KIND == 1
    int *sums = (int *)d;
    asm("mma.sp::ordered_metadata.sync.aligned.m16n8k64.row.col.s32.s8.s8.s32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9,%10,%11}, {%0,%1,%2,%3}, %12, 0;"
        : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])
        : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b.x), "r"(b.y), "r"(b.z), "r"(b.w), "r"(indices));
#elif KIND == 2
    asm("mma.sp::ordered_metadata.sync.aligned.m16n8k64.row.col.f32.e4m3.e4m3.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9,%10,%11}, {%0,%1,%2,%3}, %12, 0;"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b.x), "r"(b.y), "r"(b.z), "r"(b.w), "r"(indices));
#else
    asm("mma.sp::ordered_metadata.sync.aligned.m16n8k32.row.col.f32." TYPE "." TYPE ".f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9,%10,%11}, {%0,%1,%2,%3}, %12, %13;"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b.x), "r"(b.y), "r"(b.z), "r"(b.w), "r"(indices), "n"(HALF));
#endif
}

// 32 columns of eight tokens, for which the lane loads from `x`.
__device__ __forceinline__ uint4 fragments_of_x(u32 x) {
    uint4 b;
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(b.x), "=r"(b.y), "=r"(b.z), "=r"(b.w) : "r"(x));
    return b;
}

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

// X, a tile of COLUMNS at a time, in shared memory for all warps of a block. STAGES tiles are in it; when a warp begins with
// one, it begins to copy its share of the one AHEAD of it, over the one that all warps must have finished by then.
//
// A tile is in slabs of 64 columns, 128 bytes of each token, whose eight pieces of 16 bytes are exchanged by the token's
// number, so that no two of eight tokens' same pieces share a bank. What is past the end of a row is zero.
struct Tokens {
    static const u32 SLAB = TILES * 8 * 128; // bytes
    static const u32 BYTES = COLUMNS / 64 * SLAB;
    static const int AHEAD = STAGES - 2;
    static const int PIECES = COLUMNS / 8; // of a token, of 16 bytes; all threads have the same ones of a multiple of 8 tokens

    const u16 *x; // the thread's first piece of a tile at column 0
    u32 place;    // and where it goes in a tile
    long long stride;
    int tokens, k, columns, from, left; // tiles are copied of so many columns, next the one at `from`; `left` are to be copied
    u32 data, barriers, lane_part;
    u32 stage, parity;                // of the tile that is read

    static __device__ __forceinline__ int count(int columns) { return (columns + COLUMNS - 1) / COLUMNS; }

    // `barriers_` has 8 bytes for each stage, to say that it is there, and 8 that it is read. All warps must call this; it
    // waits for the kernel before. In the first block, tiles begin at column `first`, in others at column 0.
    __device__ __forceinline__ void open(const Operands &o, const Part &part, int step_columns, int first, u32 data_,
                                         u32 barriers_) {
        const u32 piece = threadIdx.x % PIECES, token = threadIdx.x / PIECES;
        stride = o.x_stride, x = o.x + token * stride + piece * 8;
        place = piece / 8 * SLAB + token * 128 + ((piece ^ token) & 7) * 16;
        tokens = o.tokens - token, k = o.k - piece * 8;
        data = data_, barriers = barriers_;
        const int lane = threadIdx.x & 31;
        lane_part = lane % 8 * 128 + (lane / 8 ^ lane % 8) * 16;
        columns = o.steps * step_columns, from = first;
        const int blocks = (part.end - 1) / o.steps - part.begin / o.steps; // after the first
        const int last = ((part.end - 1) % o.steps + 1) * step_columns;     // where columns end in the last
        left = blocks ? count(columns - first) + (blocks - 1) * count(columns) + count(last) : count(last - first);
        if (threadIdx.x < 2) { // what its first and last sums need in the end
            const int block = (threadIdx.x == 0 ? part.begin : part.end - 1) / o.steps;
            asm volatile("prefetch.global.L2 [%0];" ::"l"(o.segments + block));
            asm volatile("prefetch.global.L2 [%0];" ::"l"(o.counters + block * WARPS));
        }
        stage = parity = 0;
        if (threadIdx.x < STAGES) {
            asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(barriers + 16 * threadIdx.x), "n"(WARPS * 32));
            asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(barriers + 16 * threadIdx.x + 8), "n"(WARPS));
        }
        __syncthreads();
        wait_for_kernel_before();
#pragma unroll
        for (int each = 0; each < AHEAD; ++each) copy(each);
    }

    // The same with tiles at multiples of COLUMNS.
    __device__ __forceinline__ void open(const Operands &o, const Part &part, int step_columns, u32 data_, u32 barriers_) {
        open(o, part, step_columns, part.begin % o.steps * step_columns / COLUMNS * COLUMNS, data_, barriers_);
    }

    __device__ __forceinline__ void copy(u32 to) {
        if (left-- <= 0) return;
        const bool inside = from < k; // else 16 zeros are written
#pragma unroll
        for (int token = 0; token < TILES * 8; token += WARPS * 32 / PIECES) // after the thread's first
            if (token < tokens)
                asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(data + to * BYTES + place + token * 128),
                             "l"(x + token * stride + (inside ? from : 0)), "r"(inside ? 16 : 0) : "memory");
        from = from + COLUMNS < columns ? from + COLUMNS : 0;
        asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(barriers + 16 * to) : "memory");
    }

    // The warp's columns begin so many after the tile's.
    __device__ __forceinline__ void skip(u32 columns) { lane_part = (lane_part ^ (columns & 32) * 2) + columns / 64 * SLAB; }

    __device__ __forceinline__ void begin() {
        const bool over = stage + AHEAD >= STAGES;
        const u32 to = over ? stage + AHEAD - STAGES : stage + AHEAD;
        // The tile that was there before is two before this one: in this round of the stages only if this round had it.
        if (left > 0) wait_for(barriers + 16 * to + 8, over ? parity : parity ^ 1);
        copy(to);
        wait_for(barriers + 16 * stage, parity);
    }

    // What the lane loads from in columns [column, column + 32) of the tile; eight tokens further are 1024 bytes further.
    __device__ __forceinline__ u32 at(u32 column) const {
        return data + stage * BYTES + column / 64 * SLAB + (lane_part ^ (column & 32) * 2);
    }

    __device__ __forceinline__ void end() {
        __syncwarp();
        if ((threadIdx.x & 31) == 0)
            asm volatile("mbarrier.arrive.shared.b64 _, [%0];" ::"r"(barriers + 16 * stage + 8) : "memory");
        if (++stage == STAGES) stage = 0, parity ^= 1;
    }
};

__device__ __forceinline__ u16 rounded(float value) {
    u16 bits;
#if BF16
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
#else
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
#endif
    return bits;
}

__device__ __forceinline__ float widened(u16 bits) {
    float value;
#if BF16
    value = __uint_as_float((u32)bits << 16);
#else
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
#endif
    return value;
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
        const auto meet = [&] { asm volatile("bar.sync %0, 64;" ::"r"(group + 1) : "memory"); };
        meet();
#pragma unroll
        for (int tile = 0; tile < TILES; ++tile) {
            float v[4];
#pragma unroll
            for (int i = 0; i < 4; ++i) v[i] = second ? values[0][tile][i] : values[1][tile][i];
            asm volatile("st.shared.v4.f32 [%0], {%1,%2,%3,%4};" ::"r"(other + tile * 512), "f"(v[0]), "f"(v[1]), "f"(v[2]),
                         "f"(v[3]) : "memory");
        }
        meet();
#pragma unroll
        for (int tile = 0; tile < TILES; ++tile) {
            float v[4];
            asm volatile("ld.shared.v4.f32 {%0,%1,%2,%3}, [%4];" : "=f"(v[0]), "=f"(v[1]), "=f"(v[2]), "=f"(v[3])
                         : "r"(own + tile * 512) : "memory");
#pragma unroll
            for (int i = 0; i < 4; ++i) values[0][tile][i] = (second ? values[1][tile][i] : values[0][tile][i]) + v[i];
        }
        meet();
    }

    // What is written before and after, for all threads of the GPU; `__threadfence` does more and takes longer.
    static __device__ __forceinline__ void fence() { asm volatile("fence.acq_rel.gpu;" ::: "memory"); }

    // Where several segments have the same rows, the warp that comes last adds the sums of all, in their order, so that
    // results do not depend on who is last. Its counter is left at zero for the next launch.
    __device__ __forceinline__ bool complete(const Operands &o, int block, int segment) {
        const Block siblings = o.segments[block];
        if (siblings.count == 1) return true;
        const int warp = threadIdx.x / 32, lane = threadIdx.x & 31;
        const auto place = [&](int which) { return o.partial + (long long)(which * WARPS + warp) * (OWN * TILES * 32) + lane; };
        float4 *own = place(segment);
#pragma unroll
        for (int each = 0; each < OWN * TILES; ++each) {
            const float *v = values[each / TILES][each % TILES];
            __stcg(own + each * 32, make_float4(v[0], v[1], v[2], v[3]));
        }
        fence();
        __syncwarp();
        u32 *counter = o.counters + block * WARPS + warp, before = 0;
        if (lane == 0) before = atomicAdd(counter, 1);
        if (__shfl_sync(~0u, before, 0) + 1 != siblings.count) return false;
        if (lane == 0) *counter = 0;
        fence();
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
        return true;
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
                    asm volatile("st.shared.u16 [%0], %1;" ::"r"(area + token * PITCH + own * 2), "h"(bits) : "memory");
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
                    if (o.residual && token < count)
                        asm volatile("ld.shared.u16 %0, [%1];" : "=h"(bits) : "r"(place) : "memory");
                    sum = activated(sum + offset, widened(bits));
                    asm volatile("st.shared.u16 [%0], %1;" ::"r"(place), "h"(rounded(sum)) : "memory");
                }
            }
            __syncwarp();
            if (rows + own < o.m)
#pragma unroll 4
                for (int token = lane / ROWS; token < count; token += AT_ONCE) {
                    u16 bits;
                    asm volatile("ld.shared.u16 %0, [%1];" : "=h"(bits) : "r"(area + token * PITCH + own * 2) : "memory");
                    o.y[(8 * tile + token) * o.y_stride + rows + own] = bits;
                }
            __syncwarp();
        }
    }
};
