// Attention on tensor cores of sm_80 and later, queries in registers. Rows of tiles are 16 bytes longer than SIZE elements, so that eight
// neighbours' same pieces lie in different banks.

#include "attention.cuh"

struct Way {
    static const int PITCH = SIZE * 2 + 16;

    template <int ROWS>
    static __device__ __forceinline__ u32 place(int row, int column) { return row * PITCH + column * 2; }

    static __device__ __forceinline__ void arrived() {}

    struct Queries {
        u32 words[SLABS][SIZE / 16][4];
    };

    // Those of a warp, which begin at a row of `from`.
    static __device__ __forceinline__ void take(Queries &queries, u32 from, int row) {
        const int lane = threadIdx.x & 31;
#pragma unroll
        for (int slab = 0; slab < SLABS; ++slab)
#pragma unroll
            for (int part = 0; part < SIZE / 16; ++part)
                load_matrices(queries.words[slab][part],
                              from + place<QUERIES>(row + slab * 16 + lane % 16, part * 16 + lane / 16 * 8));
    }

    static __device__ __forceinline__ void multiply_keys(float (&products)[SLABS][KEYS / 8][4], const Queries &queries, u32 keys) {
        const int lane = threadIdx.x & 31;
#pragma unroll
        for (int each = 0; each < SLABS * KEYS / 2; ++each) (&products[0][0][0])[each] = 0.0f;
#pragma unroll
        for (int part = 0; part < SIZE / 16; ++part)
#pragma unroll
            for (int key = 0; key < KEYS; key += 16) {
                u32 b[4];
                load_matrices(b, keys + place<KEYS>(key + lane / 16 * 8 + lane % 8, part * 16 + lane / 8 % 2 * 8));
#pragma unroll
                for (int slab = 0; slab < SLABS; ++slab) {
                    mma(products[slab][key / 8], queries.words[slab][part], b[0], b[1]);
                    mma(products[slab][key / 8 + 1], queries.words[slab][part], b[2], b[3]);
                }
            }
    }

    static __device__ __forceinline__ void multiply_values(float (&sums)[SLABS][SIZE / 8][4],
                                                           u32 (&powers)[SLABS][KEYS / 8][2], u32 values) {
        const int lane = threadIdx.x & 31;
#pragma unroll
        for (int key = 0; key < KEYS; key += 16)
#pragma unroll
            for (int part = 0; part < SIZE / 16; ++part) {
                u32 b[4];
                load_transposed(b, values + place<KEYS>(key + lane / 8 % 2 * 8 + lane % 8, part * 16 + lane / 16 * 8));
#pragma unroll
                for (int slab = 0; slab < SLABS; ++slab) {
                    const u32 a[4] = {powers[slab][key / 8][0], powers[slab][key / 8][1], powers[slab][key / 8 + 1][0],
                                      powers[slab][key / 8 + 1][1]};
                    mma(sums[slab][part * 2], a, b[0], b[1]);
                    mma(sums[slab][part * 2 + 1], a, b[2], b[3]);
                }
            }
    }
};

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) attention_mma(const __grid_constant__ Operands o) {
    extern __shared__ __align__(128) char shared[];
    allow_next_kernel();
    wait_for_kernel_before();
    attend<Way>(o, shared);
}
