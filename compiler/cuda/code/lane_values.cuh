// Lane streams (see lane_streams.py) are expanded in registers.
//
// A lane loads its chunks of 16 bytes a step ahead, and lays them out in its own bank of shared memory, which no other lane uses.
// Values are laid out as words (previous value, value): a pair of neighbouring elements is then one word, at the slot of the
// first value plus the first bit, and two masks of 16 bits. Pairs are laid out as they are, each after a word of zeros, which is
// what a pair without a bit loads. Four bits of the mask and dot products of bytes give the slots.
// A step is a batch of lane_streams.py here. PAIRS: whether items are pairs, else values. WORDS: mask words of a lane in a step, each
// for WIDTH columns of the warp's 32 rows. FULL: chunks that each lane has in a step, needed or not. HELD: those that are loaded
// before the step; the few steps with more load the others when they come.

#include "machine/bytes.cuh"
#include "machine/global_memory.cuh"
#include "machine/shared_memory.cuh"

#define WIDTH (PAIRS ? 64 : 32)
#define FAR_AHEAD 240 // units from the step that is loaded to what is brought to the L2; 32 lanes can bring 256

// A lane's mask words of a step: one, two or four.
struct alignas(4 * WORDS) Masks {
    u32 words[WORDS];

    __device__ __forceinline__ void load(const uint4 *step) {
        const u32 *from = (const u32 *)step + (threadIdx.x & 31) * WORDS;
        if (WORDS == 4) *(uint4 *)words = streamed(from);
        else if (WORDS == 2) *(uint2 *)words = streamed8(from);
        else words[0] = streamed4(from);
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

// A lane's items of a step.
struct LaneItems {
    static const u32 CHUNK = PAIRS ? 4 : 8;     // items
    static const u32 ROW = 128, ROWS = 8;       // bytes of a word of each lane; words that a chunk is laid out as
    static const u32 SLOT = ROWS / CHUNK * ROW; // from an item to the next

    u32 slots;               // of this lane: those of the chunk before, then those of the step's
    uint4 held[HELD];        // the step's chunks
    u32 first, chunks, left; // items of the chunk before that are used; the step's chunks; items that it leaves, 1 to CHUNK
    u32 rest;                // the slot of the chunk that the step before left
    u32 more;                // the unit where chunks begin that are not held

    __device__ __forceinline__ void open(u32 area, u32 rows) {
        rest = slots = area + (threadIdx.x & 31) * 4, left = 0;
        clear(rows);
    }

    // The zeros before pairs.
    __device__ __forceinline__ void clear(u32 rows) const {
        if (PAIRS)
            for (u32 row = 0; row < rows; row += 2) store4(slots + row * ROW, 0);
    }

    static __device__ __forceinline__ u32 lanes_below() { return (1u << (threadIdx.x & 31)) - 1; }

    static __device__ __forceinline__ void lay_out(u32 at, u32 before, const uint4 &chunk) {
        if (!PAIRS) {
            store4(at, __byte_perm(before, chunk.x, 0x5432));
            store4(at + 2 * ROW, __byte_perm(chunk.x, chunk.y, 0x5432));
            store4(at + 4 * ROW, __byte_perm(chunk.y, chunk.z, 0x5432));
            store4(at + 6 * ROW, __byte_perm(chunk.z, chunk.w, 0x5432));
        }
        store4(at + 1 * ROW, chunk.x);
        store4(at + 3 * ROW, chunk.y);
        store4(at + 5 * ROW, chunk.z);
        store4(at + 7 * ROW, chunk.w);
    }

    // Begin to load the chunks of a step of `count` items, whose units begin at number `from`.
    __device__ __forceinline__ void load(u32 count, const uint4 *units, u32 from) {
        first = CHUNK - left, chunks = (count + first) / CHUNK;
        left += CHUNK * chunks - count;
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

    // Have the step's items and one more in slots from the one whose address is returned.
    __device__ __forceinline__ u32 take(const uint4 *units) {
        const uint4 last = saved();
        lay_out(slots, 0, last);
        rest = slots + chunks * (ROWS * ROW);
        u32 before = last.w;
#pragma unroll
        for (int row = 0; row < HELD; ++row) {
            if (row < FULL || row < chunks) lay_out(slots + (row + 1) * (ROWS * ROW), before, held[row]);
            before = held[row].w;
        }
        for (u32 row = HELD; __any_sync(~0u, row < chunks); ++row) {
            const u32 taking = __ballot_sync(~0u, row < chunks);
            if (row < chunks) {
                const uint4 chunk = streamed(units + (more + __popc(taking & lanes_below())));
                lay_out(slots + (row + 1) * (ROWS * ROW), before, chunk);
                before = chunk.w;
            }
            more += __popc(taking);
        }
        return slots + first * SLOT;
    }

    // The chunk that the step before left, while slots are used for something else.
    __device__ __forceinline__ uint4 saved() const {
        return make_uint4(loaded(rest + ROW), loaded(rest + 3 * ROW), loaded(rest + 5 * ROW), loaded(rest + 7 * ROW));
    }

    __device__ __forceinline__ void restore(const uint4 &chunk, u32 rows) {
        clear(rows);
        rest = slots;
        lay_out(slots, 0, chunk);
    }
};

// The steps of one warp: masks are loaded two steps ahead, chunks one.
struct LaneStream {
    const uint4 *units;
    const u32 *offsets;
    u32 step, count, end;             // steps begun, of all; the unit behind the last
    u32 first, second, third, fourth; // where the first step begins; the step after this one, and those after it
    Masks masks, next;                // of this step and the one after it
    LaneItems items;

    // Begin to load the first masks, and to bring what is behind them to the L2; there are `rows` of slots in `area`.
    __device__ __forceinline__ void open(const uint4 *units_, const u32 *offsets_, u32 count_, const uint4 &head, u32 area, u32 rows) {
        units = units_, offsets = offsets_, count = count_, step = 0;
        first = head.x, second = head.y, third = head.z, fourth = head.w;
        bring(first, fourth); // where all end is not known yet, and not waited for
        bring(first + 256, fourth);
        masks.load(units + first);
        if (count > 1) next.load(units + second);
        end = offsets[count];
        items.open(area, rows);
    }

    // Begin to load the first chunks. It waits for the masks, so what else is to begin comes before it.
    __device__ __forceinline__ void begin() { items.load(masks.ones(), units, first + 8 * WORDS); }

    // Of the units from one on as many as 32 lines hold, but none from `to` on.
    __device__ __forceinline__ void bring(u32 from, u32 to) const {
        const u32 line = from + (threadIdx.x & 31) * 8;
        if (line < to) bring_to_l2(units + line);
    }

    // Have this step's items laid out, at the address that is returned, and its masks in `now`; begin to load the next.
    __device__ __forceinline__ u32 take(Masks &now) {
        const u32 at = items.take(units);
        now = masks, masks = next;
        if (++step < count) {
            items.load(masks.ones(), units, second + 8 * WORDS);
            bring(second + FAR_AHEAD, min(third + FAR_AHEAD + 8, end));
            second = third, third = fourth, fourth = offsets[min(step + 3, count)];
            if (step + 1 < count) next.load(units + second);
        }
        return at;
    }
};

// The fragments of 32 columns of a mask word, 16 columns after 16 rows, whose first item's slot is `at`; both go on to the next
// columns.
__device__ __forceinline__ void expand(u32 (&a)[4][4], u32 &mask, u32 &at) {
#pragma unroll
    for (int group = 0; group < (PAIRS ? 4 : 8); ++group) {
        const u32 bits = mask & 0x80808080;
        mask <<= 1;
#if PAIRS // of four registers, each an item: twice 128 from one to the next, and 128 more to its zeros or to itself
        a[group][0] = loaded(dot(bits, 0x00000001, at));
        a[group][1] = loaded(dot(bits, 0x00000102, at));
        a[group][2] = loaded(dot(bits, 0x00010202, at));
        a[group][3] = loaded(dot(bits, 0x01020202, at));
        at = dot(bits, 0x02020202, at);
#else
        a[group / 2][group % 2 * 2] = loaded(dot(bits, 0x00000001, at)) & spread<0x9988>(bits);
        a[group / 2][group % 2 * 2 + 1] = loaded(dot(bits, 0x00010101, at)) & spread<0xBBAA>(bits);
        at = dot(bits, 0x01010101, at);
#endif
    }
}
