// A step of nm24_streams.py or nm24_byte_streams.py in shared memory: 32 rows of W and 128 bytes of each of X's rows.

struct Nm24Step {
    static const u32 INDEX_BYTES = KIND ? 512 : 256;

    u32 place, lane;
    u32 indices[2][2]; // of each half of the columns, each 16 rows

    __device__ __forceinline__ explicit Nm24Step(u32 place_) : place(place_), lane(threadIdx.x & 31) {
#if KIND
        const uint4 words = loaded16(place + lane * 16);
        indices[0][0] = words.x, indices[0][1] = words.y, indices[1][0] = words.z, indices[1][1] = words.w;
#else
        indices[0][0] = indices[1][0] = loaded(place + lane * 8);
        indices[0][1] = indices[1][1] = loaded(place + lane * 8 + 4);
#endif
    }

    __device__ __forceinline__ uint4 values(int half, int rows) const {
        return loaded16(place + INDEX_BYTES + half * 1024 + rows * 512 + lane * 16);
    }

    // 16 rows of a half times eight tokens; all but the sums and fragments are known to the compiler.
    __device__ __forceinline__ void multiply(float (&sums)[4], int half, int rows, const uint4 &a, const uint4 &b) const {
        if (half == 0) sparse_mma<0>(sums, a, b, indices[0][rows]);
        else sparse_mma<1>(sums, a, b, indices[1][rows]);
    }
};
