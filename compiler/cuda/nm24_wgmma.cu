// Y = W X for 2:4 W and many tokens on Hopper's sparse tensor cores: blocks of nm24_tiles.py.
//
// A block of threads has tiles of GROUPS x 64 rows x TOKENS tokens, one after the other. One warp copies, for each 64 columns
// (128 of eight bits: X is told as if two were one of 16), a tile of X to one of STAGES places in shared memory. Warpgroups
// have 64 rows each, load their part of W to registers AHEAD - 2 steps before it is needed, and multiply: from shared memory
// they would read X and W, which with the copies is more than it gives. What a multiprocessor takes in from the L2, about
// 54 bytes a cycle, bounds it then: so tiles are large.
//
// The tiles that are left when all multiprocessors have had equally many are cut into parts of K, for all of them; the last
// one to have its part of a tile adds up the sums.

#define W_INDICES 4096 // before them values, 64 bytes a row
#define W_BYTES (W_INDICES + (KIND ? 1024 : 512)) // indices are one or two words for each thread of a warpgroup
#define X_BYTES (TOKENS * 128)
#define AHEAD (TOKENS > 128 ? 3 : TOKENS > 64 ? 5 : 8) // fragments of a thread: one is multiplied, one may still be, others are loaded

struct Operands {
    TensorMap x; // boxes of 64 columns, TOKENS tokens
    Output out;
    const char *blocks; // [blocks of rows][steps]
    float4 *partial;
    u32 *counters; // [tiles in parts][GROUPS], zero between launches
    int row_blocks, steps; // of 64
    Order order;
    int whole, split; // tiles that are done as a whole; parts of each of the others
    u32 *begun; // or null: how many tiles all blocks of threads have begun, in all launches of so many blocks
};

// Begin with a tile when all others begin with theirs, so that what they share is still in the L2. It is no more than that:
// blocks that do not run yet are not waited for. The count begins again at zero long before it ends.
__device__ __forceinline__ void begin_together(u32 *begun) {
    const u32 round = atomicInc(begun, (gridDim.x << 20) - 1) / gridDim.x;
    for (int tries = 0; tries < 50 && *(volatile u32 *)begun / gridDim.x == round; ++tries) __nanosleep(500);
}

// A tile, or a part of one, and its steps.
struct Work {
    int row_tile, token_tile, cut, part, begin, end; // cut: its number among those in parts, negative for a whole one

    __device__ __forceinline__ Work(const Operands &o, int number) {
        const bool whole = number < o.whole;
        const int split = whole ? 1 : o.split;
        cut = whole ? -1 : (number - o.whole) / split;
        part = whole ? 0 : (number - o.whole) % split;
        o.order.find(whole ? number : o.whole + cut, row_tile, token_tile);
        begin = (long long)o.steps * part / split, end = (long long)o.steps * (part + 1) / split;
    }
};

// The sums of all parts of a tile, in the order of the parts, for the warpgroup that is last to have its part; false for
// the others.
__device__ __forceinline__ bool complete(const Operands &o, const Work &work, int block, float (&sums)[TOKENS / 2], u32 area,
                                         u32 meeting) {
    const int thread = threadIdx.x & 127, slot = work.cut * GROUPS + block;
    const auto place = [&](int part) { return o.partial + ((long long)slot * o.split + part) * (TOKENS / 8 * 128) + thread; };
    float4 *own = place(work.part);
#pragma unroll
    for (int i = 0; i < TOKENS / 8; ++i)
        __stcg(own + i * 128, make_float4(sums[4 * i], sums[4 * i + 1], sums[4 * i + 2], sums[4 * i + 3]));
    __threadfence();
    meet_warpgroup(meeting);
    if (thread == 0) {
        const u32 before = atomicAdd(o.counters + slot, 1);
        if (before == o.split - 1) o.counters[slot] = 0;
        asm volatile("st.shared.u32 [%0], %1;" ::"r"(area), "r"(before) : "memory");
    }
    meet_warpgroup(meeting);
    const bool last = loaded(area) == o.split - 1;
    meet_warpgroup(meeting);
    if (!last) return false;
    __threadfence();
#pragma unroll
    for (int i = 0; i < TOKENS / 2; ++i) sums[i] = 0.0f;
    for (int part = 0; part < o.split; ++part) {
        const float4 *theirs = place(part);
#pragma unroll
        for (int i = 0; i < TOKENS / 8; ++i) {
            const float4 v = __ldcg(theirs + i * 128);
            sums[4 * i] += v.x, sums[4 * i + 1] += v.y, sums[4 * i + 2] += v.z, sums[4 * i + 3] += v.w;
        }
    }
    return true;
}

// Of what is read once or twice, 16 bytes.
__device__ __forceinline__ uint4 streamed(const void *from) {
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(from));
    return v;
}

// What a thread has of a block of 64 rows: values of two halves of the columns, their indices.
struct Fragment {
    uint4 values[2];
    u32 indices[2];

    __device__ __forceinline__ void load(const char *block) {
        const char *own = block + (threadIdx.x & 127) * 16;
        values[0] = streamed(own), values[1] = streamed(own + 2048);
        const u32 *index = (const u32 *)(block + W_INDICES) + (threadIdx.x & 127);
        indices[0] = __ldg(index);
        indices[1] = KIND ? __ldg(index + 128) : indices[0];
    }
};


extern "C" __global__ void __launch_bounds__(128 * (GROUPS + 1), 1) nm24_wgmma(const __grid_constant__ Operands o) {
    extern __shared__ __align__(1024) char shared[];
    const u32 x_tiles = shared_address(shared);
    const u32 areas = x_tiles + STAGES * X_BYTES, full = areas + GROUPS * AREA_BYTES, read = full + 8 * STAGES;
    const int group = threadIdx.x / 128, count = o.whole + (o.order.count() - o.whole) * o.split;
    make_barriers<STAGES>(full, GROUPS * 4);
    wait_for_kernel_before();
    Stage<STAGES> stage = {0, 0};

    if (group == GROUPS) {
#if GROUPS == 3
        asm volatile("setmaxnreg.dec.sync.aligned.u32 32;");
#elif GROUPS == 2
        asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
#endif
        if (threadIdx.x == GROUPS * 128)
            for (int first = 0; first < count; first += gridDim.x) {
                const int number = first + blockIdx.x;
                if (o.begun) begin_together(o.begun);
                if (number >= count) break;
                const Work work(o, number);
                for (int step = work.begin; step < work.end; ++step) {
                    const u32 barrier = full + 8 * stage.index;
                    wait_for(read + 8 * stage.index, stage.parity ^ 1);
                    expect(barrier, X_BYTES);
                    copy_box(x_tiles + stage.index * X_BYTES, o.x, step * 64, work.token_tile * TOKENS, barrier);
                    stage.next();
                }
            }
    } else {
#if GROUPS == 3
        asm volatile("setmaxnreg.inc.sync.aligned.u32 160;");
#elif GROUPS == 2
        asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
#endif
        const u32 area = areas + group * AREA_BYTES;
        float sums[TOKENS / 2];
        Fragment fragments[AHEAD];
        const char *blocks;
        // Of a tile that is done next, where W is, and the first of it.
        const auto begin = [&](const Work &next) {
            blocks = o.blocks + (long long)min(next.row_tile * GROUPS + group, o.row_blocks - 1) * o.steps * W_BYTES;
#pragma unroll
            for (int each = 0; each < AHEAD - 1; ++each)
                fragments[each].load(blocks + (long long)min(next.begin + each, next.end - 1) * W_BYTES);
        };
        if (blockIdx.x < count) begin(Work(o, blockIdx.x));
        for (int number = blockIdx.x; number < count; number += gridDim.x) {
            const Work work(o, number);
            const int row_block = work.row_tile * GROUPS + group;
            u32 before = 0;
            for (int first = work.begin; first < work.end; first += AHEAD) {
#pragma unroll
                for (int each = 0; each < AHEAD; ++each) {
                    const int step = first + each;
                    if (step >= work.end) break;
                    wait_for(full + 8 * stage.index, stage.parity);
                    const u32 x = x_tiles + stage.index * X_BYTES;
                    const Fragment &w = fragments[each];
                    begin_products();
                    sparse_wgmma<0>(sums, w.values[0], matrix_at<1>(x), w.indices[0], step != work.begin);
                    sparse_wgmma<KIND ? 0 : 1>(sums, w.values[1], matrix_at<1>(x + 64), w.indices[1], 1);
                    end_products();
                    wait_for_products<1>();
                    fragments[(each + AHEAD - 1) % AHEAD].load(blocks + (long long)min(step + AHEAD - 1, work.end - 1) * W_BYTES);
                    if (step != work.begin) arrive(read + 8 * before);
                    before = stage.index;
                    stage.next();
                }
            }
            wait_for_products<0>();
            arrive(read + 8 * before);
            if (number + gridDim.x < count) begin(Work(o, number + gridDim.x));
#if KIND == 1
#pragma unroll
            for (int each = 0; each < TOKENS / 2; ++each) sums[each] = (float)__float_as_int(sums[each]);
#endif
            if (row_block >= o.row_blocks) continue;
            if (work.cut < 0 || complete(o, work, group, sums, area, group + 1))
                store<TOKENS>(sums, o.out, row_block * 64, row_block * 64 + 32, work.token_tile * TOKENS, area, group + 1);
        }
    }
}
