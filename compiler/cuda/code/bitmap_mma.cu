// Y = W X for unstructured W, on dense tensor cores: lane streams (see lane_streams.py) are expanded in registers.
//
// A lane takes from its own stream, eight values at a time, and lays them out in its own bank of shared memory, as words
// (previous value, value). A pair of neighbouring elements is then one word, at the slot of the first value plus the
// first bit; four bits of the mask and two dot products of bytes give the slots of two pairs, and no bank is shared.
// WORDS: mask words of a lane in a step, each for 32 columns of the warp's 32 rows. CHUNK_BITS: of the most chunks that a
// lane takes in a step.

__device__ __forceinline__ u32 dot(u32 bytes, u32 weights, u32 start) {
    u32 sum;
    asm("dp4a.u32.u32 %0, %1, %2, %3;" : "=r"(sum) : "r"(bytes), "r"(weights), "r"(start));
    return sum;
}

// 16 bits of each of two bytes' sign: __byte_perm cannot say this.
template <int BYTES>
__device__ __forceinline__ u32 spread(u32 bytes) {
    u32 mask;
    asm("prmt.b32 %0, %1, 0, %2;" : "=r"(mask) : "r"(bytes), "n"(BYTES));
    return mask;
}

struct LaneValues {
    u32 slots;        // of this lane, SLOT bytes apart
    uint4 chunk;      // the eight values that came last
    u32 left;         // of those not yet used: 0 at the start, then 1 to 8

    static const u32 SLOT = 128;

    __device__ __forceinline__ void put(u32 address, u32 word) {
        asm volatile("st.shared.u32 [%0], %1;" ::"r"(address), "r"(word));
    }

    __device__ __forceinline__ void lay_out(u32 first, u32 before) {
        put(first, __byte_perm(before, chunk.x, 0x5432));
        put(first + 1 * SLOT, chunk.x);
        put(first + 2 * SLOT, __byte_perm(chunk.x, chunk.y, 0x5432));
        put(first + 3 * SLOT, chunk.y);
        put(first + 4 * SLOT, __byte_perm(chunk.y, chunk.z, 0x5432));
        put(first + 5 * SLOT, chunk.z);
        put(first + 6 * SLOT, __byte_perm(chunk.z, chunk.w, 0x5432));
        put(first + 7 * SLOT, chunk.w);
    }

    // Have `count` values and one more in the slots from the one whose address is returned; chunks begin at `from`.
    __device__ __forceinline__ u32 take(u32 count, u32 from) {
        const u32 first = 8 - left, chunks = (count + first) / 8, below = (1u << (threadIdx.x & 31)) - 1;
#pragma unroll
        for (int bit = 0; bit < CHUNK_BITS; ++bit)
            from += __popc(__ballot_sync(~0u, chunks >> bit & 1) & below) * (UNIT << bit);
        lay_out(slots, 0);
        left += 8 * chunks - count;
        const u32 end = from + chunks * UNIT;
        for (u32 to = slots; from != end; from += UNIT) {
            const u32 before = chunk.w;
            chunk = loaded16(from);
            lay_out(to += 8 * SLOT, before);
        }
        return slots + first * SLOT;
    }
};

extern "C" __global__ void __launch_bounds__(32 * WARPS, 1) bitmap_mma(const Operands all) {
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
    free += WARPS * STEPS * WarpStream::BYTES;
    LaneValues values;
    const u32 area = free + (warp % GROUPS + GROUPS) * o.slots * LaneValues::SLOT, // of the other warp; free between steps
              own_area = free + warp * o.slots * LaneValues::SLOT;
    values.slots = own_area + lane * 4;
    values.chunk = make_uint4(0, 0, 0, 0);
    values.left = 0;

    const uint4 head = o.heads[blockIdx.x * WARPS + warp];
    stream.copy(o.streams, head.x, head.y);
    if (STEPS > 2) stream.copy(o.streams, head.y, head.z);
    if (STEPS > 3) stream.copy(o.streams, head.z, head.w);
    // Units [begin, end) are those of the step that is copied next.
    u32 begin = STEPS == 2 ? head.y : STEPS == 3 ? head.z : head.w, end = offsets[min(STEPS, count)];
    Tokens tokens;
    tokens.open(o, part, HALVES * 32 * WORDS, x_data, x_barriers);
    Sums sums;
    sums.clear();
    int block = part.begin / o.steps, step = part.begin % o.steps, segment = part.segment;
    for (int each = 0; each < count; ++each) {
        const int column = step * HALVES * WORDS * 32 % COLUMNS;
        if (each == 0 || column == 0) tokens.begin();
        stream.wait();
        stream.copy(o.streams, begin, end);
        begin = end, end = offsets[min(each + STEPS + 1, count)];

        u32 masks[WORDS], ones = 0;
        const u32 header = stream.place + lane * WORDS * 4;
        if (WORDS == 4) *(uint4 *)masks = loaded16(header);
        else
#pragma unroll
            for (int word = 0; word < WORDS; ++word) masks[word] = loaded(header + word * 4);
#pragma unroll
        for (int word = 0; word < WORDS; ++word) ones += __popc(masks[word]);
        u32 at = values.take(ones, stream.place + 128 * WORDS);
        stream.next();
#pragma unroll
        for (int word = 0; word < WORDS; ++word) {
            u32 mask = masks[word], a[4][4];
#pragma unroll
            for (int group = 0; group < 8; ++group) {
                const u32 bits = mask & 0x80808080;
                const u32 one = dot(bits, 0x00000001, at), two = dot(bits, 0x00010101, at);
                at = dot(bits, 0x01010101, at);
                mask <<= 1;
                a[group / 2][group % 2 * 2] = loaded(one) & spread<0x9988>(bits);
                a[group / 2][group % 2 * 2 + 1] = loaded(two) & spread<0xBBAA>(bits);
            }
            multiply(sums.values, a, tokens.at(column + (warp / GROUPS * WORDS + word) * 32));
        }
        const bool last = ++step == o.steps || each + 1 == count;
        if (last || column + HALVES * WORDS * 32 == COLUMNS) tokens.end();
        if (last) {
            if (sums.together(area) && sums.complete(o, block, segment)) sums.store(o, block, own_area);
            sums.clear();
            ++block, ++segment, step = 0;
        }
    }
}
