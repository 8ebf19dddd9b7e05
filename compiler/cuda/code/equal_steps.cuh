// X of a step: where a lane loads 32 columns from, beginning with one of the step's.
struct StepOfX {
    const Tokens &tokens;
    u32 first;

    __device__ __forceinline__ u32 at(u32 column) const { return tokens.at(first + column); }
};

// The walk of a block of threads over its part of a stream of equal steps (equal_steps.py), for all tokens of this row of the grid:
// `Step::add(sums, place, x)` adds to a warp's sums the products of its step of WIDTH columns, which lies at `place` in shared
// memory.
template <class Step>
__device__ __forceinline__ void walk_steps(const Operands &o) {
    const int WIDTH = Step::WIDTH;
    extern __shared__ __align__(1024) char shared[];
    const int warp = threadIdx.x / 32;
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
    tokens.open(o, part, HALVES * WIDTH, x_data, x_barriers);
    Sums sums;
    sums.clear();
    int block = part.begin / o.steps, step = part.begin % o.steps, segment = part.segment;
    for (int each = 0; each < count; ++each) {
        const int column = step * HALVES * WIDTH % COLUMNS, copied = each + STEPS - 1;
        if (each == 0 || column == 0) tokens.begin();
        stream.wait();
        stream.copy(units + (long long)copied * UNITS, 0, copied < count ? UNITS : 0);
        Step::add(sums, stream.place, {tokens, (u32)(column + warp / GROUPS * WIDTH)});
        stream.next();
        const bool last = ++step == o.steps || each + 1 == count;
        if (last || column + HALVES * WIDTH == COLUMNS) tokens.end();
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
