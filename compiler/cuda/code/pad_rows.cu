// Rows of x, wherever they lie, to rows of `padded` elements with zeros behind: 16 bytes at a time can be read from them.
#if KIND
typedef unsigned char Element;
#else
typedef u16 Element;
#endif

struct Rows {
    const Element *from;
    Element *to;
    long long token_stride, k_stride;
    int tokens, k, padded;
};

extern "C" __global__ void pad_rows(const Rows rows) {
    allow_next_kernel();
    wait_for_kernel_before();
    for (long long at = blockIdx.x * (long long)blockDim.x + threadIdx.x; at < (long long)rows.tokens * rows.padded;
         at += (long long)gridDim.x * blockDim.x) {
        const long long token = at / rows.padded, k = at % rows.padded;
        rows.to[at] = k < rows.k ? rows.from[token * rows.token_stride + k * rows.k_stride] : (Element)0;
    }
}
