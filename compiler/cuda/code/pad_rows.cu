// Rows of x, wherever they lie, to rows of `padded` elements with zeros behind: 16 bytes at a time can be read from them.

#include "machine/order.cuh"

#if KIND
typedef unsigned char Element;
#else
typedef u16 Element;
#endif

struct Rows {
    const Element *from;
    Element *to;
    i64 token_stride, k_stride;
    int tokens, k, padded;
};

extern "C" __global__ void pad_rows(const Rows rows) {
    allow_next_kernel();
    wait_for_kernel_before();
    for (i64 at = blockIdx.x * (i64)blockDim.x + threadIdx.x; at < (i64)rows.tokens * rows.padded;
         at += (i64)gridDim.x * blockDim.x) {
        const i64 token = at / rows.padded, k = at % rows.padded;
        rows.to[at] = k < rows.k ? rows.from[token * rows.token_stride + k * rows.k_stride] : (Element)0;
    }
}
