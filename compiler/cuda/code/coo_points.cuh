// Nonzeros of a tile of HEIGHT rows x 64 columns and where they go, as bank_streams.py has them: a lane's part of both.
//
// Macros: MAIN nonzeros of each lane for its own bank of shared memory; from LEAST to ROUNDS of any bank; HEIGHT.

#include "machine/shared_memory.cuh"

#define FIXED (MAIN * 3 / 2) // units of 64 bytes that every tile has
#define TILE_BYTES (HEIGHT * 128)
#define LINES (TILE_BYTES - 128) // bits of an address that say which word of its bank

// Where a lane's part of a tile goes.
struct Places {
    u32 words[(MAIN + 3) / 4]; // 16 bits for two of its bank: of the lower half and of the higher one
    u32 more[ROUNDS ? ROUNDS : 1]; // in its high half, the byte of a nonzero of any bank
    u32 units;
};

struct Points {
    Places places;
    u32 values[MAIN / 2];

    // From shared memory.
    __device__ __forceinline__ void load(u32 from, u32 units) {
        places.units = units;
        const u32 lane = threadIdx.x & 31, own = from + lane * 4;
#pragma unroll
        for (u32 each = 0; each < MAIN / 2; ++each) values[each] = loaded(own + each * 128);
#pragma unroll
        for (u32 each = 0; each < MAIN / 4; ++each) places.words[each] = loaded(own + MAIN * 64 + each * 128);
        if (MAIN % 4) places.words[MAIN / 4] = loaded2(from + lane * 2 + MAIN * 64 + MAIN / 4 * 128);
#pragma unroll
        for (u32 each = 0; each < ROUNDS; ++each)
            if (each < LEAST || FIXED + 2 * each < units) places.more[each] = loaded(own + FIXED * 64 + each * 128);
    }
};

// Call `put` with the word that a nonzero of the lane's bank is in and its number, of the lower half and of the higher one in turns;
// then `put_any` with where each of the others is, and its number.
template <class Put, class PutAny>
__device__ __forceinline__ void each_place(const Places &places, u32 tile, const Put &put, const PutAny &put_any) {
    const u32 bank = tile + (threadIdx.x & 31) * 4;
#pragma unroll
    for (u32 each = 0; each < MAIN / 2; ++each) {
        const u32 word = places.words[each / 2];
        put(bank + ((each % 2 ? word >> 16 : word) & LINES), 2 * each);
        put(bank + ((each % 2 ? word >> 9 : word << 7) & LINES), 2 * each + 1);
    }
#pragma unroll
    for (u32 each = 0; each < ROUNDS; ++each)
        if (each < LEAST || FIXED + 2 * each < places.units) put_any(tile + (places.more[each] >> 16), each);
}

__device__ __forceinline__ void put(const Points &points, u32 tile) {
    each_place(
        points.places, tile,
        [&](u32 word, u32 number) { store2(word + number % 2 * 2, points.values[number / 2] >> number % 2 * 16); },
        [&](u32 place, u32 number) { store2(place, points.places.more[number]); });
}

// Zeros where a tile's nonzeros are, and in the other halves of their words.
__device__ __forceinline__ void clear(const Places &places, u32 tile) {
    each_place(places, tile, [](u32 word, u32) { store4(word, 0); }, [](u32 place, u32) { store4(place & ~2u, 0); });
}
