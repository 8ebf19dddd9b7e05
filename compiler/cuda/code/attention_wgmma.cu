// Attention on Hopper's tensor cores: sm_90a only. Each warpgroup has 64 queries, in shared memory (in registers ptxas 13.0
// overwrites them in the loop); tiles are of 64 columns, rows of 128 bytes, swizzled.

#include "attention.cuh"
#include "machine/wgmma.cuh"
#include "made/wgmma.cuh"

struct Way {
    static const int PITCH = SIZE * 2;

    template <int ROWS>
    static __device__ __forceinline__ u32 place(int row, int column) {
        return column / 64 * (ROWS * 128) + row * 128 + ((column / 8 ^ row) & 7) * 16;
    }

    static __device__ __forceinline__ void arrived() { show_to_products(); }

    typedef u32 Queries; // the place of this warpgroup's

    static __device__ __forceinline__ void take(Queries &queries, u32 from, int row) { queries = from + row / 64 * (64 * 128); }

    static __device__ __forceinline__ void multiply_keys(float (&products)[1][KEYS / 8][4], Queries queries, u32 keys) {
        float(&sums)[KEYS / 2] = (float(&)[KEYS / 2])products[0];
        begin_products();
#pragma unroll
        for (int part = 0; part < SIZE / 16; ++part)
            by_keys(sums, matrix_at<1>(queries + part / 4 * (QUERIES * 128) + part % 4 * 32),
                    matrix_at<1>(keys + part / 4 * (KEYS * 128) + part % 4 * 32), part);
        end_products();
        wait_for_products<0>();
        settle(sums);
    }

    static __device__ __forceinline__ void multiply_values(float (&sums)[1][SIZE / 8][4], u32 (&powers)[1][KEYS / 8][2],
                                                           u32 values) {
        settle((float(&)[SIZE / 2])sums[0]);
        settle((u32(&)[KEYS / 4])powers[0]);
        begin_products();
#pragma unroll
        for (int key = 0; key < KEYS; key += 16)
#pragma unroll
            for (int part = 0; part < SIZE / 64; ++part)
                by_values((float(&)[32])sums[0][part * 8], (const u32(&)[4])powers[0][key / 8],
                          matrix_at<1>(values + part * (KEYS * 128) + key * 128));
        end_products();
        wait_for_products<0>();
        settle((float(&)[SIZE / 2])sums[0]);
        settle((u32(&)[KEYS / 4])powers[0]);
    }
};

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) attention_wgmma(const __grid_constant__ Operands o) {
    extern __shared__ __align__(1024) char shared[];
    allow_next_kernel();
    wait_for_kernel_before();
    attend<Way>(o, shared);
}
