// Y = W X for unstructured W, on dense tensor cores: lane streams are expanded in registers (see lane_values.cuh).

#include "lane_values.cuh"
#include "warp_stream.cuh"

extern "C" __global__ void __launch_bounds__(32 * WARPS, 1) bitmap_mma(const Operands all) {
    extern __shared__ __align__(1024) char shared[];
    allow_next_kernel();
    const Operands o = of_this_row(all);
    const int warp = threadIdx.x / 32;
    const Part part = o.parts[blockIdx.x];
    const int batches = o.parts[blockIdx.x + 1].batches - part.batches;

    const u32 x_data = shared_address(shared), x_barriers = x_data + Tokens::BYTES * STAGES, free = x_barriers + 16 * STAGES;
    const u32 area_bytes = o.slots * LaneItems::ROW, own_area = free + warp * area_bytes;
    const u32 area = free + (warp % GROUPS + GROUPS) * area_bytes; // of the second warp with the same rows
    LaneStream stream;
    const uint4 head = o.heads[blockIdx.x * WARPS + warp];
    stream.open(o.streams, o.offsets + part.batches * WARPS + warp * batches, batches, head, own_area, o.slots);
    int block = part.begin / o.steps, step = part.begin % o.steps, segment = part.segment, left = part.end - part.begin;
    Tokens tokens;
    tokens.open(o, part, HALVES * WIDTH, step * HALVES * WIDTH, x_data, x_barriers);
    tokens.skip(warp / GROUPS * WIDTH);
    stream.begin();
    for (; left > 0; step = 0, ++block, ++segment) {
        Sums sums;
        sums.clear();
        int here = min(left, o.steps - step); // of this block
        left -= here;
        for (int column = 0; here > 0; here -= WORDS) {
            if (column == 0) tokens.begin();
            Masks masks;
            u32 at = stream.take(masks);
            const u32 x = tokens.at(column);
            const auto multiply_step = [&](u32 mask, int place) {
#pragma unroll
                for (int columns = 0; columns < WIDTH; columns += 32) {
                    u32 a[4][4];
                    expand(a, mask, at);
                    multiply(sums.values, a, Tokens::after(x, place * HALVES * WIDTH + columns));
                }
            };
            if (here >= WORDS)
#pragma unroll
                for (int word = 0; word < WORDS; ++word) multiply_step(masks.words[word], word);
            else
#pragma unroll 1
                for (int word = 0; word < here; ++word, masks.shift()) multiply_step(masks.words[0], word);
            column = column + WORDS * HALVES * WIDTH == COLUMNS ? 0 : column + WORDS * HALVES * WIDTH;
            if (column == 0 || here <= WORDS) tokens.end();
        }
        const uint4 saved = stream.items.saved();
        __syncwarp(); // sums pass through the slots of all lanes
        sums.finish(o, block, segment, area, own_area);
        __syncwarp();
        stream.items.restore(saved, o.slots);
    }
}
