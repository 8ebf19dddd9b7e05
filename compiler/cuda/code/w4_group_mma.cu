// Y = W X for W of four bits a number, of which groups of 16 neighbours in a row are there or not, on dense tensor cores:
// streams of w4_group_streams.py.
//
// A step is 128 columns, whose numbers share a scale in each row. Products are with the whole numbers, which are exact; the
// sums of a step are then multiplied by the scales, in float32.

#define HEADER 32 // bytes of masks, then 128 of scales, then groups

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
    WarpStream stream;
    stream.open(free + warp * STEPS * WarpStream::BYTES);
    const u32 area = free + WARPS * STEPS * WarpStream::BYTES + warp % GROUPS * (HALVES == 1 ? STORE_BYTES : 1024 * TILES);

    const uint4 head = o.heads[blockIdx.x * WARPS + warp];
    stream.copy(o.streams, head.x, head.y);
    if (STEPS > 2) stream.copy(o.streams, head.y, head.z);
    if (STEPS > 3) stream.copy(o.streams, head.z, head.w);
    // Units [begin, end) are those of the step that is copied next.
    u32 begin = STEPS == 2 ? head.y : STEPS == 3 ? head.z : head.w, end = offsets[min(STEPS, count)];
    Tokens tokens;
    tokens.open(o, part, HALVES * 128, x_data, x_barriers);
    Sums sums;
    sums.clear();
    int block = part.begin / o.steps, step = part.begin % o.steps, segment = part.segment;
    for (int each = 0; each < count; ++each) {
        const int column = step * HALVES * 128 % COLUMNS;
        if (each == 0 || column == 0) tokens.begin();
        stream.wait();
        stream.copy(o.streams, begin, end);
        begin = end, end = offsets[min(each + STEPS + 1, count)];

        Sums group;
        group.clear();
        const u32 mask = loaded(stream.place + lane / 4 * 4);
        u32 at = stream.place + HEADER + 128 + bytes_before(mask) + lane % 4 * 2;
#pragma unroll
        for (int word = 0; word < 4; ++word) {
            u32 a[4][4];
#pragma unroll
            for (int i = 0; i < 8; ++i) { // 16 columns, 16 rows, 8 rows
                u32 found = 0x8888;
                if (mask >> (word * 8 + i) & 1) {
                    u16 half;
                    asm volatile("ld.shared.u16 %0, [%1];" : "=h"(half) : "r"(at));
                    found = half, at += 8;
                }
                const u32 bytes = __byte_perm(found, 0, 0x4140);
                a[i / 2][i % 2] = low_numbers(bytes);
                a[i / 2][i % 2 + 2] = high_numbers(bytes);
            }
            multiply(group.values, a, tokens.at(column + warp / GROUPS * 128 + word * 32));
        }
        const uint4 bits = loaded16(stream.place + HEADER + lane / 4 * 16);
        const float scales[4] = {__uint_as_float(bits.x), __uint_as_float(bits.y), __uint_as_float(bits.z), __uint_as_float(bits.w)};
#pragma unroll
        for (int each = 0; each < 8 * TILES; ++each) // 16 rows, tile, eight rows, two tokens
            (&sums.values[0][0][0])[each] += scales[each / (4 * TILES) * 2 + each / 2 % 2] * (&group.values[0][0][0])[each];
        stream.next();
        const bool last = ++step == o.steps || each + 1 == count;
        if (last || column + HALVES * 128 == COLUMNS) tokens.end();
        if (last) {
            if (sums.together(area) && sums.complete(o, block, segment)) sums.store(o, block, area);
            sums.clear();
            ++block, ++segment, step = 0;
        }
    }
}
