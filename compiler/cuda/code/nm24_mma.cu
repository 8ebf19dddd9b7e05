// Y = W X for 2:4 W on sparse tensor cores, where the weights' bytes are what counts: streams of nm24_streams.py, and of
// nm24_byte_streams.py for factors of eight bits.

extern "C" __global__ void __launch_bounds__(32 * WARPS, 1) nm24_mma(const Operands all) {
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
    tokens.open(o, part, HALVES * 64, x_data, x_barriers);
    Sums sums;
    sums.clear();
    int block = part.begin / o.steps, step = part.begin % o.steps, segment = part.segment;
    for (int each = 0; each < count; ++each) {
        const int column = step * HALVES * 64 % COLUMNS, copied = each + STEPS - 1;
        if (each == 0 || column == 0) tokens.begin();
        stream.wait();
        stream.copy(units + (long long)copied * UNITS, 0, copied < count ? UNITS : 0);

        const Nm24Step w(stream.place);
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const u32 x = tokens.at(column + warp / GROUPS * 64 + half * 32);
            const uint4 one = w.values(half, 0), two = w.values(half, 1);
#pragma unroll
            for (int i = 0; i < TILES; ++i) {
                const uint4 b = fragments_of_x(x + i * 1024);
                w.multiply(sums.values[0][i], half, 0, one, b);
                w.multiply(sums.values[1][i], half, 1, two, b);
            }
        }
        stream.next();
        const bool last = ++step == o.steps || each + 1 == count;
        if (last || column + HALVES * 64 == COLUMNS) tokens.end();
        if (last) {
#if KIND == 1
            sums.become_floats();
#endif
            if (sums.together(area) && sums.complete(o, block, segment)) sums.store(o, block, area);
            sums.clear();
            ++block, ++segment, step = 0;
        }
    }
}
