// The walk of kernels whose steps are all of one size.

#include "warp_stream.cuh"

#define BROUGHT 4 // steps of a block, that another one brings to the L2

// X of a step: where a lane loads 32 columns from, beginning with one of the step's.
struct StepOfX {
    const Tokens &tokens;
    u32 first;

    __device__ __forceinline__ u32 at(u32 column) const { return tokens.at(first + column); }
};

// The walk of a block of threads over its part of a stream of equal steps (equal_steps.py), for all tokens of this row of the grid.
// A `Step` is a warp's, of WIDTH columns, in registers: `load(units)` begins to load it, while the warp multiplies by the one before;
// `add(sums, x)` adds its products to the warp's sums.
template <class Step>
__device__ __forceinline__ void walk_steps(const Operands &o) {
    const int WIDTH = Step::WIDTH;
    extern __shared__ __align__(1024) char shared[];
    const int warp = threadIdx.x / 32;
    const Part part = o.parts[blockIdx.x];
    const int count = part.end - part.begin;
    const uint4 *units = o.streams + ((i64)part.begin * WARPS + warp) * UNITS;

    const u32 x_data = shared_address(shared), x_barriers = x_data + Tokens::BYTES * STAGES;
    const u32 area = x_barriers + 16 * STAGES + warp % GROUPS * (HALVES == 1 ? STORE_BYTES : 1024 * TILES);
    Step now, next;
    now.load(units);
    if (blockIdx.x < gridDim.x / 2) { // it begins while the kernel before still runs: what later blocks begin with is brought near
        const Part later = o.parts[blockIdx.x + gridDim.x / 2];
        const uint4 *first = o.streams + (i64)later.begin * (WARPS * UNITS);
        for (int unit = threadIdx.x * 8; unit < min(later.end - later.begin, BROUGHT) * (WARPS * UNITS); unit += WARPS * 32 * 8)
            bring_to_l2(first + unit);
    }
    Tokens tokens;
    tokens.open(o, part, HALVES * WIDTH, x_data, x_barriers);
    Sums sums;
    sums.clear();
    int block = part.begin / o.steps, step = part.begin % o.steps, segment = part.segment;
    for (int each = 0; each < count; ++each) {
        const int column = step * HALVES * WIDTH % COLUMNS;
        if (each + 1 < count) next.load(units += WARPS * UNITS);
        if (each == 0 || column == 0) tokens.begin();
        now.add(sums, {tokens, (u32)(column + warp / GROUPS * WIDTH)});
        now = next;
        const bool last = ++step == o.steps || each + 1 == count;
        if (last || column + HALVES * WIDTH == COLUMNS) tokens.end();
        if (last) {
            sums.finish(o, block, segment, area, area);
            sums.clear();
            ++block, ++segment, step = 0;
        }
    }
}
