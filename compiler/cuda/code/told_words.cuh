// What all lanes of a warp are told, word after word.

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
