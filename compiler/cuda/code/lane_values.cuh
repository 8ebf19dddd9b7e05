// Lane streams (see lane_streams.py) are expanded in registers.
//
// A lane loads its chunks of eight values a step ahead, and lays them out in its own bank of shared memory, as words
// (previous value, value). A pair of neighbouring elements is then one word, at the slot of the first value plus the
// first bit; four bits of the mask and two dot products of bytes give the slots of two pairs, and no bank is shared.
// A step is a batch of lane_streams.py here. WORDS: mask words of a lane in a step, each for 32 columns of the warp's 32 rows.
// FULL: chunks that each lane has in a step, needed or not. HELD: those that are loaded before the step; the few steps with more
// load the others when they come.

#include "machine/bytes.cuh"
#include "machine/global_memory.cuh"
#include "machine/shared_memory.cuh"

#define FAR_AHEAD 128 // units from the step that is loaded to what is brought to the L2; 32 lanes can bring 256

// A lane's mask words of a step.
struct Masks {
    u32 words[WORDS];

    __device__ __forceinline__ void load(const uint4 *step) {
        const u32 *from = (const u32 *)step + (threadIdx.x & 31) * WORDS;
#pragma unroll
        for (int word = 0; word < WORDS; ++word)
            if (WORDS == 4 && word == 0) *(uint4 *)words = streamed((const uint4 *)from);
            else if (WORDS < 4) words[word] = __ldg(from + word);
    }

    __device__ __forceinline__ u32 ones() const {
        u32 sum = 0;
#pragma unroll
        for (int word = 0; word < WORDS; ++word) sum += __popc(words[word]);
        return sum;
    }

    // The second becomes the first.
    __device__ __forceinline__ void shift() {
#pragma unroll
        for (int word = 0; word + 1 < WORDS; ++word) words[word] = words[word + 1];
    }
};

// A lane's values of a step.
struct LaneValues {
    static const u32 SLOT = 128;

    u32 slots;               // of this lane, SLOT bytes apart: those of the chunk before, then those of the step's
    uint4 held[HELD];        // the step's chunks
    u32 first, chunks, left; // values of the chunk before that are used; the step's chunks; values that it leaves, 1 to 8
    u32 rest;                // the slot of the chunk that the step before left
    u32 more;                // the unit where chunks begin that are not held

    __device__ __forceinline__ void open(u32 area) { rest = slots = area + (threadIdx.x & 31) * 4, left = 0; }

    static __device__ __forceinline__ u32 lanes_below() { return (1u << (threadIdx.x & 31)) - 1; }

    static __device__ __forceinline__ void lay_out(u32 at, u32 before, const uint4 &chunk) {
        store4(at, __byte_perm(before, chunk.x, 0x5432));
        store4(at + 1 * SLOT, chunk.x);
        store4(at + 2 * SLOT, __byte_perm(chunk.x, chunk.y, 0x5432));
        store4(at + 3 * SLOT, chunk.y);
        store4(at + 4 * SLOT, __byte_perm(chunk.y, chunk.z, 0x5432));
        store4(at + 5 * SLOT, chunk.z);
        store4(at + 6 * SLOT, __byte_perm(chunk.z, chunk.w, 0x5432));
        store4(at + 7 * SLOT, chunk.w);
    }

    // Begin to load the chunks of a step of `count` values, whose units begin at number `from`.
    __device__ __forceinline__ void load(u32 count, const uint4 *units, u32 from) {
        first = 8 - left, chunks = (count + first) / 8;
        left += 8 * chunks - count;
        const uint4 *own = units + (from + (threadIdx.x & 31));
#pragma unroll
        for (int row = 0; row < FULL; ++row) held[row] = streamed(own + row * 32);
        from += FULL * 32;
#pragma unroll
        for (int row = FULL; row < HELD; ++row) {
            const u32 taking = __ballot_sync(~0u, row < chunks);
            if (row < chunks) held[row] = streamed(units + (from + __popc(taking & lanes_below())));
            from += __popc(taking);
        }
        more = from;
    }

    // Have the step's values and one more in slots from the one whose address is returned.
    __device__ __forceinline__ u32 take(const uint4 *units) {
        u32 words[8];
#pragma unroll
        for (int each = 0; each < 8; ++each) words[each] = loaded(rest + each * SLOT);
#pragma unroll
        for (int each = 0; each < 8; ++each) store4(slots + each * SLOT, words[each]);
        rest = slots + chunks * (8 * SLOT);
        u32 before = words[7];
#pragma unroll
        for (int row = 0; row < HELD; ++row) {
            if (row < FULL || row < chunks) lay_out(slots + (row + 1) * (8 * SLOT), before, held[row]);
            before = held[row].w;
        }
        for (u32 row = HELD; __any_sync(~0u, row < chunks); ++row) {
            const u32 taking = __ballot_sync(~0u, row < chunks);
            if (row < chunks) {
                const uint4 chunk = streamed(units + (more + __popc(taking & lanes_below())));
                lay_out(slots + (row + 1) * (8 * SLOT), before, chunk);
                before = chunk.w;
            }
            more += __popc(taking);
        }
        return slots + first * SLOT;
    }

    // The chunk that the step before left, while slots are used for something else.
    __device__ __forceinline__ uint4 saved() const {
        return make_uint4(loaded(rest + SLOT), loaded(rest + 3 * SLOT), loaded(rest + 5 * SLOT), loaded(rest + 7 * SLOT));
    }

    __device__ __forceinline__ void restore(const uint4 &chunk) {
        rest = slots;
        lay_out(slots, 0, chunk);
    }
};

// The steps of one warp: masks are loaded two steps ahead, chunks one.
struct LaneStream {
    const uint4 *units;
    const u32 *offsets;
    u32 step, count, end;         // steps begun, of all; the unit behind the last
    u32 second, third, fourth;    // where the step after this one begins, and those after it
    Masks masks, next;            // of this step and the one after it
    LaneValues values;

    __device__ __forceinline__ void open(const uint4 *units_, const u32 *offsets_, u32 count_, const uint4 &head, u32 area) {
        units = units_, offsets = offsets_, count = count_, step = 0, end = offsets[count];
        second = head.y, third = head.z, fourth = head.w;
        values.open(area);
        bring(head.x, end);
        masks.load(units + head.x);
        if (count > 1) next.load(units + second);
        values.load(masks.ones(), units, head.x + 8 * WORDS);
    }

    // Of the units from one on as many as 32 lines hold, but none from `to` on.
    __device__ __forceinline__ void bring(u32 from, u32 to) const {
        const u32 line = from + (threadIdx.x & 31) * 8;
        if (line < to) bring_to_l2(units + line);
    }

    // Have this step's values laid out, at the address that is returned, and its masks in `now`; begin to load the next.
    __device__ __forceinline__ u32 take(Masks &now) {
        const u32 at = values.take(units);
        now = masks, masks = next;
        if (++step < count) {
            values.load(masks.ones(), units, second + 8 * WORDS);
            bring(second + FAR_AHEAD, min(third + FAR_AHEAD + 8, end));
            second = third, third = fourth, fourth = offsets[min(step + 3, count)];
            if (step + 1 < count) next.load(units + second);
        }
        return at;
    }
};

// The fragments of a mask word's elements, 16 columns after 16 rows, whose first value's slot is `at`, which goes on to the next
// word's.
__device__ __forceinline__ void expand(u32 (&a)[4][4], u32 mask, u32 &at) {
#pragma unroll
    for (int group = 0; group < 8; ++group) {
        const u32 bits = mask & 0x80808080;
        const u32 one = dot(bits, 0x00000001, at), two = dot(bits, 0x00010101, at);
        at = dot(bits, 0x01010101, at);
        mask <<= 1;
        a[group / 2][group % 2 * 2] = loaded(one) & spread<0x9988>(bits);
        a[group / 2][group % 2 * 2 + 1] = loaded(two) & spread<0xBBAA>(bits);
    }
}
