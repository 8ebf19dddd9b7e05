// Attention on Hopper's tensor cores: sm_90a only. Each warpgroup has 64 queries, in registers; tiles are of 64 columns, rows
// of 128 bytes, swizzled.

struct Way {
    static const int PITCH = SIZE * 2;

    template <int ROWS>
    static __device__ __forceinline__ u32 place(int row, int column) {
        return column / 64 * (ROWS * 128) + row * 128 + ((column / 8 ^ row) & 7) * 16;
    }

    static __device__ __forceinline__ void arrived() { show_to_products(); }

    static __device__ __forceinline__ void multiply_keys(float (&products)[1][KEYS / 8][4], const u32 (&queries)[1][SIZE / 16][4],
                                                         u32 keys) {
        begin_products();
#pragma unroll
        for (int part = 0; part < SIZE / 16; ++part)
            by_keys((float(&)[KEYS / 2])products[0], queries[0][part],
                    swizzled_matrix(keys + part / 4 * (KEYS * 128) + part % 4 * 32), part);
        finish_products();
    }

    static __device__ __forceinline__ void multiply_values(float (&sums)[1][SIZE / 8][4], const u32 (&powers)[1][KEYS / 8][2],
                                                           u32 values) {
        begin_products();
#pragma unroll
        for (int key = 0; key < KEYS; key += 16) {
            const u32 a[4] = {powers[0][key / 8][0], powers[0][key / 8][1], powers[0][key / 8 + 1][0], powers[0][key / 8 + 1][1]};
#pragma unroll
            for (int part = 0; part < SIZE / 64; ++part)
                by_values((float(&)[32])sums[0][part * 8], a, swizzled_matrix(values + part * (KEYS * 128) + key * 128));
        }
        finish_products();
    }
};

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) attention_wgmma(const __grid_constant__ Operands o) {
    extern __shared__ __align__(1024) char shared[];
    allow_next_kernel();
    wait_for_kernel_before();
    attend<Way>(o, shared);
}
