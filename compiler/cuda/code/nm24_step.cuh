// What all steps of nm24_streams.py and nm24_byte_streams.py are: 32 rows of W and 128 bytes of each of X's rows.

#include "machine/tensor_core.cuh"

#define INDEX_BYTES (KIND ? 512 : 256) // of a step; before 2048 of values: of each half of the columns, of each 16 rows

// The indices of a step, of each half of the columns, each 16 rows.
struct Nm24Indices {
    u32 words[2][2];

    // 16 rows of a half times eight tokens; all but the sums and fragments are known to the compiler.
    __device__ __forceinline__ void multiply(float (&sums)[4], int half, int rows, const uint4 &a, const uint4 &b) const {
        if (half == 0) sparse_mma<0>(sums, a, b, words[0][rows]);
        else sparse_mma<1>(sums, a, b, words[1][rows]);
    }
};
