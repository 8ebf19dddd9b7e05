// Y = W X for 2:4 W of four bits a number, on sparse tensor cores: streams of w4_nm24_streams.py.
//
// A step is a group of 128 columns, whose numbers share a scale in each row. Products are with the whole numbers, which are
// exact; the sums of a step are then multiplied by the scales, in float32.

// A fragment of a lane from its eight numbers.
__device__ __forceinline__ uint4 expanded(u32 word) {
    return make_uint4(low_numbers(word), high_numbers(word), low_numbers(word >> 8), high_numbers(word >> 8));
}

extern "C" __global__ void __launch_bounds__(32 * WARPS, 1) w4_nm24_mma(const Operands all) {
    extern __shared__ __align__(1024) char shared[];
    allow_next_kernel();
    const Operands o = of_this_row(all);
    const int lane = threadIdx.x & 31, warp = threadIdx.x / 32;
    const Part part = o.parts[blockIdx.x];
    const int count = part.end - part.begin;
    const uint4 *units = o.streams + (long long)(part.begin * WARPS + warp * count) * UNITS;

    u32 free = shared_address(shared);
    const u32 x_data = free, x_barriers = x_data + Tokens::BYTES * STAGES;
    free = x_barriers + 16 * STAGES;
    WarpStream stream;
    stream.open(free + warp * STEPS * WarpStream::BYTES);
    const u32 area = free + WARPS * STEPS * WarpStream::BYTES + warp % GROUPS * (HALVES == 1 ? STORE_BYTES : 1024 * TILES);
    for (int each = 0; each < STEPS - 1; ++each) stream.copy(units + each * UNITS, 0, each < count ? UNITS : 0);
    Tokens tokens;
    tokens.open(o, part, HALVES * 128, x_data, x_barriers);
    Sums sums;
    sums.clear();
    int block = part.begin / o.steps, step = part.begin % o.steps, segment = part.segment;
    for (int each = 0; each < count; ++each) {
        const int column = step * HALVES * 128 % COLUMNS, copied = each + STEPS - 1;
        if (each == 0 || column == 0) tokens.begin();
        stream.wait();
        stream.copy(units + (long long)copied * UNITS, 0, copied < count ? UNITS : 0);

        Sums group;
        group.clear();
        const uint4 places = loaded16(stream.place + lane * 16);
        const u32 indices[2][2] = {{places.x, places.y}, {places.z, places.w}};
#pragma unroll
        for (int pair = 0; pair < 2; ++pair) {
            const uint4 words = loaded16(stream.place + 512 + pair * 512 + lane * 16);
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const u32 x = tokens.at(column + warp / GROUPS * 128 + pair * 64 + half * 32);
                const uint4 one = expanded(half ? words.z : words.x), two = expanded(half ? words.w : words.y);
#pragma unroll
                for (int i = 0; i < TILES; ++i) {
                    const uint4 b = fragments_of_x(x + i * 1024);
                    if (half == 0) {
                        sparse_mma<0>(group.values[0][i], one, b, indices[pair][0]);
                        sparse_mma<0>(group.values[1][i], two, b, indices[pair][1]);
                    } else {
                        sparse_mma<1>(group.values[0][i], one, b, indices[pair][0]);
                        sparse_mma<1>(group.values[1][i], two, b, indices[pair][1]);
                    }
                }
            }
        }
        const uint4 bits = loaded16(stream.place + 1536 + lane / 4 * 16);
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
