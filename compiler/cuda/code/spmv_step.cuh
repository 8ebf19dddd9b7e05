// A step of spmv_streams.py in registers: 16 nonzeros of each lane's row.
//
// Macro: BITS of a distance (3, 4, 5, 6 or 8).

#include "machine/global_memory.cuh"
#include "machine/halves.cuh"

// The bits of a plane of WIDTH bits, at bit AT of each byte, for four nonzeros.
template <int WIDTH, int AT>
__device__ __forceinline__ u32 plane(u32 word, int quad) {
    const int right = WIDTH * quad - AT;
    return (right < 0 ? word << -right : word >> right) & ((1u << WIDTH) - 1) * 0x01010101u << AT;
}

// 16 nonzeros of a lane: values, and distances of `BITS` bits, in planes of 8, 4, 2 and 1 bits.
struct Step {
    uint4 values[2];
    uint4 eight;
    uint2 four;
    u32 two, one;

    __device__ __forceinline__ void load(const char *from) {
        const u32 lane = threadIdx.x & 31;
        values[0] = streamed(from + lane * 16);
        values[1] = streamed(from + 512 + lane * 16);
        from += 1024;
        if (BITS & 8) eight = streamed(from + lane * 16);
        if (BITS & 4) four = streamed8(from + lane * 8);
        from += 256 * (BITS / 4 % 2);
        if (BITS & 2) two = streamed4(from + lane * 4);
        from += 128 * (BITS / 2 % 2);
        if (BITS & 1) one = streamed2(from + lane * 2);
    }

    // The distances of four nonzeros, a byte each.
    __device__ __forceinline__ u32 distances(int quad) const {
        if (BITS & 8) return (&eight.x)[quad];
        u32 found = 0;
        if (BITS & 4) found = plane<4, 0>(quad / 2 ? four.y : four.x, quad % 2);
        if (BITS & 2) found |= plane<2, BITS & 4>(two, quad);
        if (BITS & 1) found |= plane<1, BITS & 6>(one | one << 12, quad);
        return found;
    }

    __device__ __forceinline__ float value(int number) const {
        const u32 word = (&values[number / 8].x)[number / 2 % 4];
        return widened((u16)(number % 2 ? word >> 16 : word));
    }
};
