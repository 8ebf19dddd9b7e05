// What all lanes of a warp are told, of a list in global memory, one after the other.

#include "machine/words.cuh"

// A list of words in global memory, by numbers of this type. Each lane loads one of 32, and one of the next 32, long before they
// are needed.
template <typename Number>
struct ToldWords {
    const u32 *from;
    Number count;
    u32 own, next;

    __device__ __forceinline__ ToldWords(const u32 *from_, Number count_) : from(from_), count(count_), next(load(0)) {}

    __device__ __forceinline__ u32 load(Number first) const {
        const Number which = first + (threadIdx.x & 31);
        return which < count ? from[which] : 0;
    }

    // For all lanes, of one number after the other.
    __device__ __forceinline__ u32 at(Number which) {
        if (which % 32 == 0) own = next, next = load(which + 32);
        return __shfl_sync(~0u, own, which % 32);
    }
};

// What items of a list begin with, 16 bytes each: each lane has one of 32, and one of the next 32, until `turn`.
template <typename Item>
struct ToldHeads {
    const Item *from;
    int count;
    uint4 own, after;

    __device__ __forceinline__ ToldHeads(const Item *from_, int count_) : from(from_), count(count_) {
        if (count) own = load(0), after = load(32);
    }

    __device__ __forceinline__ uint4 load(int first) const {
        return *(const uint4 *)(from + min(first + (int)threadIdx.x % 32, count - 1));
    }

    // Before lanes are asked for this one; one after the other.
    __device__ __forceinline__ void turn(int which) {
        if (which && which % 32 == 0) own = after, after = load(which + 32);
    }
};
