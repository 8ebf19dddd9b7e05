// Y = W X for unstructured W, on dense tensor cores: lane streams are expanded in registers (see lane_values.cuh).

extern "C" __global__ void __launch_bounds__(32 * WARPS, 1) bitmap_mma(const Operands all) {
    extern __shared__ __align__(1024) char shared[];
    allow_next_kernel();
    const Operands o = of_this_row(all);
    const int warp = threadIdx.x / 32, half = HALVES == 1 ? 0 : warp / GROUPS;
    const Part part = o.parts[blockIdx.x];
    const int count = part.end - part.begin;

    const u32 x_data = shared_address(shared), x_barriers = x_data + Tokens::BYTES * STAGES, free = x_barriers + 16 * STAGES;
    const u32 area_bytes = o.slots * LaneValues::SLOT, own_area = free + warp * area_bytes;
    const u32 area = free + (warp % GROUPS + GROUPS) * area_bytes; // of the other warp
    LaneStream stream;
    stream.open(o.streams, o.offsets + part.begin * WARPS + warp * count, count, o.heads[blockIdx.x * WARPS + warp], own_area);
    Tokens tokens;
    tokens.open(o, part, HALVES * 32 * WORDS, x_data, x_barriers);
    int block = part.begin / o.steps, step = part.begin % o.steps, segment = part.segment;
    for (int done = 0; done < count; step = 0, ++block, ++segment) {
        Sums sums;
        sums.clear();
        for (const int end = min(count, done + o.steps - step); done < end; ++done, ++step) {
            const int column = step * HALVES * WORDS * 32 % COLUMNS;
            if (done == 0 || column == 0) tokens.begin();
            Masks masks;
            u32 at = stream.take(masks);
#pragma unroll
            for (int word = 0; word < WORDS; ++word) {
                u32 a[4][4];
                expand(a, masks.words[word], at);
                multiply(sums.values, a, tokens.at(column + (half * WORDS + word) * 32));
            }
            if (done + 1 == end || column + HALVES * WORDS * 32 == COLUMNS) tokens.end();
        }
        const uint4 saved = stream.values.saved();
        if (sums.together(area) && sums.complete(o, block, segment)) sums.store(o, block, own_area);
        __syncwarp();
        stream.values.restore(saved);
    }
}
