// Y = W X for W of four bits a number, of which groups of 16 neighbours in a row are there or not, on dense tensor cores:
// streams of w4_group_streams.py.
//
// A step is 128 columns, whose numbers share a scale in each row. Products are with the whole numbers, which are exact; the
// sums of a step are then multiplied by the scales, in float32. For up to eight tokens of float16 numbers are taken as they are
// stored: a product more for each 16 columns is less than an instruction more for each two numbers. For more it is not.

#include "four_bits.cuh"
#include "warp_stream.cuh"

#define HEADER 32 // bytes of masks, then 128 of scales, then groups
#define STORED (TILES == 1 && !BF16)

// Bytes of groups before those of a lane's rows.
__device__ __forceinline__ u32 bytes_before(u32 mask) {
    const u32 lane = threadIdx.x & 31, own = __popc(mask);
    u32 sum = own;
#pragma unroll
    for (u32 far = 4; far < 32; far *= 2) {
        const u32 other = __shfl_up_sync(~0u, sum, far);
        if (lane >= far) sum += other;
    }
    return (sum - own) * 8;
}

// A step of a warp, from global memory through registers, while it multiplies by the one before, to UNITS of shared memory.
struct StepAhead {
    u32 place;
    uint4 held[UNITS / 32];

    // Begin to load units [begin, end).
    __device__ __forceinline__ void load(const uint4 *units, u32 begin, u32 end) {
#pragma unroll
        for (int each = 0; each < UNITS / 32; ++each) {
            const u32 unit = begin + each * 32 + (threadIdx.x & 31);
            if (unit < end) held[each] = streamed(units + unit);
        }
    }

    // It takes the place of the one before.
    __device__ __forceinline__ void keep() const {
        __syncwarp();
#pragma unroll
        for (int each = 0; each < UNITS / 32; ++each) store16(place + (each * 32 + (threadIdx.x & 31)) * UNIT, held[each]);
        __syncwarp();
    }
};

extern "C" __global__ void __launch_bounds__(32 * WARPS, 1) w4_group_mma(const Operands all) {
    extern __shared__ __align__(1024) char shared[];
    allow_next_kernel();
    const Operands o = of_this_row(all);
    const int lane = threadIdx.x & 31, warp = threadIdx.x / 32;
    const Part part = o.parts[blockIdx.x];
    const int count = part.end - part.begin;
    const u32 *offsets = o.offsets + part.begin * WARPS + warp * count;

    u32 free = shared_address(shared);
    const u32 x_data = free, x_barriers = x_data + Tokens::BYTES * STAGES;
    free = x_barriers + 16 * STAGES;
    StepAhead ahead;
    ahead.place = free + warp * (UNITS * UNIT);
    const u32 area = free + WARPS * UNITS * UNIT + warp % GROUPS * (HALVES == 1 ? STORE_BYTES : 1024 * TILES);

    const uint4 head = o.heads[blockIdx.x * WARPS + warp];
    ahead.load(o.streams, head.x, head.y);
    // Units [begin, end) are those of the step that is loaded next.
    u32 begin = head.y, end = offsets[min(2, count)];
    Tokens tokens;
    tokens.open(o, part, HALVES * 128, x_data, x_barriers);
    tokens.lane_part = lane / 4 * 128 + (lane % 4 * 2 ^ lane / 4) * 16; // the first half of a group's columns
    Sums sums;
    sums.clear();
    int block = part.begin / o.steps, step = part.begin % o.steps, segment = part.segment;
    for (int each = 0; each < count; ++each) {
        const int column = step * HALVES * 128 % COLUMNS;
        if (each == 0 || column == 0) tokens.begin();
        ahead.keep();
        ahead.load(o.streams, begin, end);
        begin = end, end = offsets[min(each + 3, count)];

        Sums group, high;
        float less[2][TILES][4] = {}; // of low and of high numbers, for each row
        group.clear();
        high.clear();
        const u32 mask = loaded(ahead.place + lane / 4 * 4);
        u32 at = ahead.place + HEADER + 128 + bytes_before(mask) + __popc(mask & (1u << lane % 4 * 8) - 1) * 8;
        const u32 own = mask >> lane % 4 * 8;
#pragma unroll
        for (int part = 0; part < 2; ++part) { // 64 columns
            const u32 x = tokens.at(column + warp / GROUPS * 128 + part * 64);
            uint4 b[TILES][2];
#pragma unroll
            for (int i = 0; i < TILES; ++i) b[i][0] = loaded16(x + i * 1024), b[i][1] = loaded16((x + i * 1024) ^ 16);
            u32 words[2][2][2]; // 16 rows, 8 rows, 8 columns
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                uint2 found = make_uint2(0x88888888, 0x88888888);
                if (own >> (part * 4 + i) & 1) found = loaded8(at), at += 8;
                words[i / 2][i % 2][0] = found.x, words[i / 2][i % 2][1] = found.y;
            }
#pragma unroll
            for (int eight = 0; eight < 2; ++eight) {
                u32 low[2][4], top[2][4];
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    const u32 word = words[i / 2][i % 2][eight], next = word >> 8;
                    low[i / 2][i % 2] = STORED ? stored_low(word) : low_numbers(word);
                    low[i / 2][i % 2 + 2] = STORED ? stored_low(next) : low_numbers(next);
                    top[i / 2][i % 2] = STORED ? stored_high(word) : high_numbers(word);
                    top[i / 2][i % 2 + 2] = STORED ? stored_high(next) : high_numbers(next);
                }
                const u32 less_low[4] = {LESS_LOW, LESS_LOW, LESS_LOW, LESS_LOW}, less_top[4] = {LESS_HIGH, LESS_HIGH, LESS_HIGH, LESS_HIGH};
#pragma unroll
                for (int i = 0; i < TILES; ++i) {
                    const uint4 v = b[i][eight];
                    Sums &second = STORED ? high : group;
                    mma(group.values[0][i], low[0], v.x, v.y);
                    mma(group.values[1][i], low[1], v.x, v.y);
                    mma(second.values[0][i], top[0], v.z, v.w);
                    mma(second.values[1][i], top[1], v.z, v.w);
                    if (STORED) mma(less[0][i], less_low, v.x, v.y), mma(less[1][i], less_top, v.z, v.w);
                }
            }
        }
        if (STORED)
#pragma unroll
            for (int each = 0; each < 8 * TILES; ++each) {
                const float more = (&high.values[0][0][0])[each] + (&less[1][0][0])[each % (4 * TILES)];
                (&group.values[0][0][0])[each] += (&less[0][0][0])[each % (4 * TILES)];
                (&group.values[0][0][0])[each] += HIGH_UNIT * more;
            }
        add_scaled(sums, group, loaded16(ahead.place + HEADER + lane / 4 * 16), STORED ? STORED_UNIT : 1.0f);
        const bool last = ++step == o.steps || each + 1 == count;
        if (last || column + HALVES * 128 == COLUMNS) tokens.end();
        if (last) {
            sums.finish(o, block, segment, area, area);
            sums.clear();
            ++block, ++segment, step = 0;
        }
    }
}
