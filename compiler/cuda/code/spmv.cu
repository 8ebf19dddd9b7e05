// Y = X W^T for few tokens and unstructured W, without tensor cores: streams of spmv_streams.py.
//
// A lane has a row, whose nonzeros it multiplies one after the other with elements of X in shared memory, where all tokens of
// a column lie together. What it costs is bytes, and a gather of X for each nonzero.
//
// Macros: BITS of a distance, TOKENS (1, 2, 4 or 8), WARPS, AHEAD: steps of a warp in registers, WORKERS that there may be.

#include "activation.cuh"
#include "machine/bytes.cuh"
#include "machine/global_memory.cuh"
#include "machine/halves.cuh"
#include "machine/order.cuh"
#include "machine/shared_memory.cuh"
#include "spmv_step.cuh"

#define LANES 32
#define STEP_BYTES (1024 + 64 * BITS)
#define COLUMN_BYTES (TOKENS <= 2 ? 4 : 2 * TOKENS) // of X in shared memory: a float, or 16 bits for each token

// A block's part of the line of steps, which its warps share equally, and the columns that they need: the first one, even,
// and the end.
struct Worker {
    int begin, end, low, high;
};

// Neighbouring steps of 32 rows, a slice, that a warp does; `next` is the warp's next segment. Sums of `count` segments are of
// the slice: at places from `first` on, this one's at `place`.
struct alignas(16) Segment {
    int slice, steps, place, next, first, count, unused[2];
};

struct Operands {
    const char *steps;
    const u32 *starts;       // [segments][32]: the column that each lane's first distance counts from
    const Segment *segments; // the first of each warp, of all workers, then others
    const int *rows;         // [slices][32]: of a lane; m for none
    const u16 *x;            // [tokens, k]
    u16 *y;                  // [tokens, m]
    const float *bias;       // [m] or null
    const u16 *residual;     // [tokens, m] or null
    float *partial;          // [places][TOKENS][32]
    u32 *counters;           // [slices]
    i64 x_stride, y_stride, residual_stride;
    int m, k, tokens, unused;
    Worker workers[WORKERS]; // among the parameters, where they are at hand when a block begins
};

struct Sums {
    float values[TOKENS];

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int token = 0; token < TOKENS; ++token) values[token] = 0.0f;
    }

    // += value * X at a column's address.
    __device__ __forceinline__ void add(float value, u32 column) {
        if (TOKENS == 1) {
            values[0] = fmaf(value, loaded_float(column), values[0]);
            return;
        }
        u32 words[4]; // two tokens each
        if (TOKENS == 2) words[0] = loaded(column);
        if (TOKENS == 4) {
            const uint2 v = loaded8(column);
            words[0] = v.x, words[1] = v.y;
        }
        if (TOKENS == 8) {
            const uint4 v = loaded16(column);
            words[0] = v.x, words[1] = v.y, words[2] = v.z, words[3] = v.w;
        }
#pragma unroll
        for (int token = 0; token < TOKENS; ++token)
            values[token] = fmaf(value, widened((u16)(words[token / 2] >> token % 2 * 16)), values[token]);
    }

    __device__ __forceinline__ void add(const Step &step, u32 &column) {
        const u32 each = COLUMN_BYTES;
#pragma unroll
        for (int quad = 0; quad < 4; ++quad) {
            const u32 distances = step.distances(quad);
            u32 columns[4];
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const u32 weights = each * (i == 0 ? 0x1u : i == 1 ? 0x101u : i == 2 ? 0x10101u : 0x1010101u);
                columns[i] = BITS == 8 ? signed_dot(distances, weights, column) : dot(distances, weights, column);
            }
#pragma unroll
            for (int i = 0; i < 4; ++i) add(step.value(4 * quad + i), columns[i]);
            column = columns[3];
        }
    }

    // Where several segments have the same rows, the warp that comes last adds the sums of all, in their order, so that
    // results do not depend on who is last. Its counter is left at zero for the next launch.
    __device__ __forceinline__ bool complete(const Operands &o, const Segment &segment) {
        if (segment.count == 1) return true;
        const int lane = threadIdx.x & 31;
        const auto place = [&](int which, int token) { return o.partial + (which * TOKENS + token) * LANES + lane; };
#pragma unroll
        for (int token = 0; token < TOKENS; ++token) __stcg(place(segment.place, token), values[token]);
        __syncwarp();
        u32 before = 0;
        if (lane == 0) before = arrivals_before(o.counters + segment.slice);
        if (__shfl_sync(~0u, before, 0) + 1 != segment.count) return false;
        __syncwarp();
        clear();
        const int SOME = 8; // loads on their way, as registers allow
        for (int each = 0; each < segment.count; each += SOME) {
            float theirs[SOME][TOKENS];
#pragma unroll
            for (int i = 0; i < SOME; ++i)
#pragma unroll
                for (int token = 0; token < TOKENS; ++token)
                    theirs[i][token] = __ldcg(place(segment.first + min(each + i, segment.count - 1), token));
#pragma unroll
            for (int i = 0; i < SOME; ++i)
#pragma unroll
                for (int token = 0; token < TOKENS; ++token)
                    if (each + i < segment.count) values[token] += theirs[i][token];
        }
        if (lane == 0) o.counters[segment.slice] = 0;
        return true;
    }

    __device__ __forceinline__ void store(const Operands &o, int row) const {
        if (row >= o.m) return;
        const float offset = o.bias ? o.bias[row] : 0.0f;
#pragma unroll
        for (int token = 0; token < TOKENS; ++token)
            if (token < o.tokens) {
                const float added = o.residual ? widened(o.residual[token * o.residual_stride + row]) : 0.0f;
                const float value = activated(values[token] + offset, added);
                o.y[token * o.y_stride + row] = (u16)rounded(value, 0.0f);
            }
    }
};

// Two columns of X for some tokens, to shared memory: the tokens of each together.
__device__ __forceinline__ void put_columns(const u32 (&pairs)[TOKENS], u32 at) {
    if (TOKENS == 1) {
        store_floats(at, widened((u16)pairs[0]), widened((u16)(pairs[0] >> 16)));
        return;
    }
    u32 words[2][4]; // of a column, two tokens each
#pragma unroll
    for (int i = 0; i < TOKENS / 2; ++i) {
        words[0][i] = __byte_perm(pairs[2 * i], pairs[2 * i + 1], 0x5410);
        words[1][i] = __byte_perm(pairs[2 * i], pairs[2 * i + 1], 0x7632);
    }
    if (TOKENS == 2) store8(at, words[0][0], words[1][0]);
    if (TOKENS == 4) store16(at, make_uint4(words[0][0], words[0][1], words[1][0], words[1][1]));
    if (TOKENS == 8) // of eight lanes four begin with the other column: so no two share a bank
#pragma unroll
        for (int turn = 0; turn < 2; ++turn) {
            const u32 which = threadIdx.x >> 2 & 1 ^ turn;
            u32 v[4];
#pragma unroll
            for (int i = 0; i < 4; ++i) v[i] = which ? words[1][i] : words[0][i];
            store16(at + which * 16, make_uint4(v[0], v[1], v[2], v[3]));
        }
}

// The worker's columns of X to shared memory, zeros for tokens and columns that there are not.
__device__ __forceinline__ void copy_x(const Operands &o, const Worker &worker, u32 to) {
    const int SOME = TOKENS <= 2 ? 8 : 4, STRIDE = 64 * WARPS; // loads on their way, columns of all threads
    for (int begin = worker.low + 2 * threadIdx.x; begin < worker.high; begin += SOME * STRIDE) {
        u32 pairs[SOME][TOKENS]; // of columns
#pragma unroll
        for (int each = 0; each < SOME; ++each)
#pragma unroll
            for (int i = 0; i < TOKENS; ++i) {
                const int column = begin + each * STRIDE;
                const bool there = i < o.tokens && column < min(o.k, worker.high);
                pairs[each][i] = there ? *(const u32 *)(o.x + i * o.x_stride + column) : 0;
            }
#pragma unroll
        for (int each = 0; each < SOME; ++each) {
            const int column = begin + each * STRIDE;
            if (column < worker.high) put_columns(pairs[each], to + (column - worker.low) * COLUMN_BYTES);
        }
    }
}

// What a warp does: a segment, the column that its lane's next distance counts from, as an address, and the lane's row.
struct Task {
    Segment segment;
    u32 column;
    int row;

    // Begin to load what is said of a segment: before its steps, behind which it would wait.
    __device__ __forceinline__ void load(const Operands &o, int number) {
        const char *from = (const char *)(o.segments + number);
        const uint4 v = streamed(from);
        const uint2 sums = streamed8(from + 16);
        segment.slice = v.x, segment.steps = v.y, segment.place = v.z, segment.next = v.w;
        segment.first = sums.x, segment.count = sums.y;
        column = streamed4((const char *)(o.starts + number * LANES + (threadIdx.x & 31)));
    }

    __device__ __forceinline__ void open(const Operands &o, u32 origin) {
        column = origin + column * COLUMN_BYTES;
        row = o.rows[segment.slice * LANES + (threadIdx.x & 31)];
        bring_to_l2(o.counters + segment.slice);
        bring_to_l2(o.segments + segment.next);
        bring_to_l2(o.starts + segment.next * LANES);
    }
};

extern "C" __global__ void __launch_bounds__(32 * WARPS, 1) spmv(const __grid_constant__ Operands o) {
    extern __shared__ __align__(1024) char shared[];
    allow_next_kernel();
    const Worker worker = o.workers[blockIdx.x];
    const int warp = threadIdx.x / 32, share = worker.end - worker.begin;
    const int begin = worker.begin + (int)((i64)share * warp / WARPS);
    const int count = worker.begin + (int)((i64)share * (warp + 1) / WARPS) - begin;
    const char *steps = o.steps + (i64)begin * STEP_BYTES;
    Task task;
    task.load(o, blockIdx.x * WARPS + warp);
    Step ahead[AHEAD];
#pragma unroll
    for (int each = 0; each < AHEAD; ++each)
        if (each < count) ahead[each].load(steps + (i64)each * STEP_BYTES);
    const u32 x = shared_address(shared), origin = x - worker.low * COLUMN_BYTES; // of column 0
    task.open(o, origin);
    wait_for_kernel_before();
    copy_x(o, worker, x);
    __syncthreads();
    Sums sums;
    sums.clear();
    for (int each = 0; each < count; each += AHEAD)
#pragma unroll
        for (int turn = 0; turn < AHEAD; ++turn)
            if (each + turn < count) {
                sums.add(ahead[turn], task.column);
                const int next = each + turn + AHEAD;
                if (next < count) ahead[turn].load(steps + (i64)next * STEP_BYTES);
                if (--task.segment.steps == 0) {
                    if (sums.complete(o, task.segment)) sums.store(o, task.row);
                    if (each + turn + 1 < count) {
                        task.load(o, task.segment.next);
                        task.open(o, origin);
                        sums.clear();
                    }
                }
            }
}
