// Y = W X for 2:4 W and many tokens on Hopper's sparse tensor cores: blocks of nm24_tiles.py.
//
// A block of threads has tiles of BLOCKS x 64 rows x TOKENS tokens, one after the other: one warp copies, for each 64
// columns (128 of eight bits: X is told as if two were one of 16), a tile of X and the blocks of W to one of STAGES places
// in shared memory; GROUPS warpgroups have MT x 64 rows each and multiply. What a multiprocessor takes in from the L2, about
// 54 bytes a cycle, bounds it: so tiles are large, and the CLUSTER blocks of a cluster, whose tiles are one below the other, each
// copy a part of their tokens to all.
//
// The tiles that are left when all multiprocessors have had equally many are cut into parts of K, for all of them; the last
// one to have its part of a tile adds up the sums.

#include "machine/barriers.cuh"
#include "machine/order.cuh"
#include "machine/tensor_memory.cuh"
#include "machine/wgmma.cuh"
#include "made/wgmma.cuh"
#include "output.cuh"
#include "tile_order.cuh"

#define BLOCKS (GROUPS * MT)
#define W_INDICES 4096 // before them values, 64 bytes a row
#define W_BYTES (W_INDICES + (KIND ? 1024 : 512)) // indices are one or two words for each thread of a warpgroup
#define X_BYTES (TOKENS * 128)

struct Operands {
    TensorMap x; // boxes of 64 columns, TOKENS tokens
    Output out;
    const char *blocks; // [blocks of rows][steps]
    float4 *partial;
    u32 *counters; // [tiles in parts][CLUSTER x BLOCKS], zero between launches
    int row_blocks, steps; // of 64
    int x_bytes; // of a tile of X: tokens past the end of all take the tensor memory unit time, so they are not asked for
    Order order; // rows of a cluster's tiles
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
        row_tile = row_tile * CLUSTER + blockIdx.x % CLUSTER;
        begin = (i64)o.steps * part / split, end = (i64)o.steps * (part + 1) / split;
    }
};

// The sums of all parts of a tile, in the order of the parts, for the warpgroup that is last to have its part; false for
// the others.
__device__ __forceinline__ bool complete(const Operands &o, const Work &work, int block, float (&sums)[TOKENS / 2], u32 area,
                                         u32 meeting) {
    const int thread = threadIdx.x & 127, slot = (work.cut * CLUSTER + blockIdx.x % CLUSTER) * BLOCKS + block;
    const auto place = [&](int part) { return o.partial + ((i64)slot * o.split + part) * (TOKENS / 8 * 128) + thread; };
    float4 *own = place(work.part);
#pragma unroll
    for (int i = 0; i < TOKENS / 8; ++i)
        __stcg(own + i * 128, make_float4(sums[4 * i], sums[4 * i + 1], sums[4 * i + 2], sums[4 * i + 3]));
    meet_warpgroup(meeting);
    if (thread == 0) {
        const u32 before = arrivals_before(o.counters + slot);
        if (before == o.split - 1) o.counters[slot] = 0;
        store4(area, before);
    }
    meet_warpgroup(meeting);
    const bool last = loaded(area) == o.split - 1;
    meet_warpgroup(meeting);
    if (!last) return false;
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

// A step's tile of X is copied, by all blocks of the cluster to all.
__device__ __forceinline__ void bring_x(const Operands &o, u32 tile, int step, int token, u32 barrier) {
#if CLUSTER > 1
    const int part = blockIdx.x % CLUSTER;
    copy_box_to_blocks(tile + part * (X_BYTES / CLUSTER), o.x, step * 64, token + part * (TOKENS / CLUSTER), barrier, (1 << CLUSTER) - 1);
#else
    copy_box(tile, o.x, step * 64, token, barrier);
#endif
}

// This warp has read a stage, into which all blocks of the cluster copy.
__device__ __forceinline__ void release(u32 barrier) {
#if CLUSTER > 1
    __syncwarp();
    if ((threadIdx.x & 31) < CLUSTER) arrive_there(barrier, threadIdx.x & 31);
#else
    arrive(barrier);
#endif
}

extern "C" __global__ void __launch_bounds__(128 * (GROUPS + 1), 1)
#if CLUSTER > 1
    __cluster_dims__(CLUSTER, 1, 1)
#endif
    nm24_wgmma(const __grid_constant__ Operands o) {
    extern __shared__ __align__(1024) char shared[];
    const u32 x_tiles = shared_address(shared), w_blocks = x_tiles + STAGES * X_BYTES;
    const u32 areas = w_blocks + STAGES * BLOCKS * W_BYTES, full = areas + GROUPS * AREA_BYTES, read = full + 8 * STAGES;
    const int group = threadIdx.x / 128, count = o.whole + (o.order.count() - o.whole) * o.split;
    make_barriers<STAGES, CLUSTER * GROUPS * 4>(full);
    if (CLUSTER > 1) meet_cluster();
    wait_for_kernel_before();
    Stage<STAGES> stage = {0, 0};

    if (group == GROUPS) {
        if (GROUPS > 1) give_registers<GROUPS == 3 ? 32 : 40>();
        if (threadIdx.x == GROUPS * 128)
            for (int first = 0; first < count; first += gridDim.x / CLUSTER) {
                const int number = first + blockIdx.x / CLUSTER;
                if (o.begun) begin_together(o.begun);
                if (number >= count) break;
                const Work work(o, number);
                const int inside = max(0, min(BLOCKS, o.row_blocks - work.row_tile * BLOCKS));
                const char *blocks = o.blocks + ((i64)work.row_tile * BLOCKS * o.steps + work.begin) * W_BYTES;
                for (int step = work.begin; step < work.end; ++step, blocks += W_BYTES) {
                    const u32 barrier = full + 8 * stage.index;
                    wait_for(read + 8 * stage.index, stage.parity ^ 1);
                    expect(barrier, o.x_bytes + inside * W_BYTES);
                    bring_x(o, x_tiles + stage.index * X_BYTES, step, work.token_tile * TOKENS, barrier);
                    const char *from = blocks;
                    for (int each = 0; each < inside; ++each, from += (i64)o.steps * W_BYTES)
                        copy_bytes(w_blocks + (stage.index * BLOCKS + each) * W_BYTES, from, W_BYTES, barrier);
                    stage.next();
                }
            }
    } else {
        if (GROUPS > 1) take_registers<GROUPS == 3 ? 160 : 232>();
        const u32 area = areas + group * AREA_BYTES, own_index = W_INDICES + (threadIdx.x & 127) * 4;
        for (int number = blockIdx.x / CLUSTER; number < count; number += gridDim.x / CLUSTER) {
            const Work work(o, number);
            float sums[MT][TOKENS / 2];
            float2 biases[MT]; // here, so that nothing waits for them
#pragma unroll
            for (int mt = 0; mt < MT; ++mt) {
                const int first = (work.row_tile * BLOCKS + group * MT + mt) * 64, row = first_of_rows(first, first + 32);
                biases[mt] = o.out.biases(row, row + 8);
            }
            u32 before = 0;
            for (int step = work.begin; step < work.end; ++step) {
                wait_for(full + 8 * stage.index, stage.parity);
                const u32 x = x_tiles + stage.index * X_BYTES, w = w_blocks + (stage.index * BLOCKS + group * MT) * W_BYTES;
                // Of either half of the columns. Products read them until they are done, and those of the step before are not yet:
                // ptxas 13.0 and 13.5 have two steps' in registers of their own, which is to be looked at whenever this loop changes.
                u32 indices[MT][2];
#pragma unroll
                for (int mt = 0; mt < MT; ++mt) {
                    indices[mt][0] = loaded(w + mt * W_BYTES + own_index);
                    indices[mt][1] = KIND ? loaded(w + mt * W_BYTES + own_index + 512) : indices[mt][0];
                }
                begin_products();
#pragma unroll
                for (int mt = 0; mt < MT; ++mt) {
                    const u32 own = w + mt * W_BYTES;
                    sparse_wgmma<0>(sums[mt], matrix_at<2>(own), matrix_at<1>(x), indices[mt][0], step != work.begin);
                    sparse_wgmma<KIND ? 0 : 1>(sums[mt], matrix_at<2>(own + 32), matrix_at<1>(x + 64), indices[mt][1], 1);
                }
                end_products();
                wait_for_products<1>();
                if (step != work.begin) release(read + 8 * before);
                before = stage.index;
                stage.next();
            }
            wait_for_products<0>();
            release(read + 8 * before);
#pragma unroll
            for (int mt = 0; mt < MT; ++mt) {
#if KIND == 1
#pragma unroll
                for (int each = 0; each < TOKENS / 2; ++each) sums[mt][each] = (float)__float_as_int(sums[mt][each]);
#endif
                const int block = group * MT + mt, row_block = work.row_tile * BLOCKS + block;
                if (row_block >= o.row_blocks) break;
                if (work.cut < 0 || complete(o, work, block, sums[mt], area, group + 1))
                    store<TOKENS>(sums[mt], o.out, row_block * 64, row_block * 64 + 32, work.token_tile * TOKENS, biases[mt], area, group + 1);
            }
        }
    }
    if (CLUSTER > 1) meet_cluster(); // no one writes to the shared memory of a block that is gone
}
