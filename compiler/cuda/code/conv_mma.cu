// Convolution as a product of which one operand is never made: pixels of y times filters, over taps and channels.
//
// y is [pixels of all images, filters]: X are pixels, W filters. A macro besides those of dense_tile.cuh: BY_EIGHTS, if eight
// channels at a time can be copied, else elements are read one by one, those of neighbouring pixels by neighbouring threads.

#include "conv_input.cuh"
#include "dense_tile.cuh"
#include "machine/order.cuh"

// Copies of LINES pixels from `first` on, eight channels at a time.
template <int LINES>
struct WidePixels {
    typedef Tile<LINES, false> To;

    const Input &in;
    const int k;
    const u16 *at[To::PIECES / THREADS];
    short down[To::PIECES / THREADS], right[To::PIECES / THREADS];

    __device__ __forceinline__ WidePixels(const Input &in_, int first, int k_) : in(in_), k(k_) {
#pragma unroll
        for (int each = 0; each < To::PIECES / THREADS; ++each) {
            int line, own_k;
            own_piece<To>(each, line, own_k);
            const Window window(in, first + line);
            at[each] = window.at, down[each] = max(window.down, -32768), right[each] = window.right;
        }
    }

    __device__ __forceinline__ void copy(u32 base, int from_k) const {
        int line, own_k;
        own_piece<To>(0, line, own_k); // the k of all of this thread's
        static_assert(THREADS % 8 == 0, "");
        const bool there = from_k + own_k < k;
        const Tap tap = there ? in.taps[(from_k + own_k) / 8] : Tap{0, 0, 0};
#pragma unroll
        for (int each = 0; each < To::PIECES / THREADS; ++each) {
            const u32 to = base + own_piece<To>(each, line, own_k);
            const bool inside = there && (u32)(down[each] + tap.down) < (u32)in.height &&
                                (u32)(right[each] + tap.right) < (u32)in.width;
            copy16(to, inside ? at[each] + tap.offset : in.x, inside ? 16 : 0);
        }
    }
};

// The same, element by element: eight neighbouring pixels' at a time, the same eight for all of a thread's pieces.
template <int LINES>
struct NarrowPixels {
    typedef Tile<LINES, true> To;

    const Input &in;
    const int k, first;

    __device__ __forceinline__ void copy(u32 base, int from_k) const {
        static_assert(THREADS % (LINES / 8) == 0, "");
        int line, own_k;
        own_piece<To>(0, line, own_k);
        u32 words[To::PIECES / THREADS][4];
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            const Window window(in, first + line + i);
#pragma unroll
            for (int each = 0; each < To::PIECES / THREADS; ++each) {
                int same_line;
                own_piece<To>(each, same_line, own_k);
                u32 bits = 0;
                if (from_k + own_k < k) {
                    const Tap tap = in.taps[from_k + own_k];
                    if (window.has(in, tap)) bits = window.at[tap.offset];
                }
                words[each][i / 2] = i % 2 ? words[each][i / 2] | bits << 16 : bits;
            }
        }
#pragma unroll
        for (int each = 0; each < To::PIECES / THREADS; ++each) {
            const u32 to = base + own_piece<To>(each, line, own_k);
            store16(to, make_uint4(words[each][0], words[each][1], words[each][2], words[each][3]));
        }
    }
};

struct Operands {
    Input in;
    const u16 *weight; // [groups][filters of a group][k], rows 16 bytes apart or a multiple of it
    i64 weight_stride, group_stride; // of x, from the channels of a group to the next's: elements
    Epilogue out; // batch: groups
    Order order;
    int k, filters, groups; // of a group: k, filters
};

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) conv_mma(const __grid_constant__ Operands operands) {
    extern __shared__ __align__(1024) char shared[];
    allow_next_kernel();
    wait_for_kernel_before();
    Operands o = operands;
    const int group = blockIdx.x / o.order.count();
    o.in.x += group * o.group_stride;
    o.out.select(0, group);
    if (o.out.bias) o.out.bias += group * o.filters;
    const u16 *weight = o.weight + group * o.filters * o.weight_stride;
    int row_tile, token_tile;
    o.order.find(blockIdx.x % o.order.count(), row_tile, token_tile);
    const int row = row_tile * ROWS, token = token_tile * TOKENS;
    const Lines<ROWS, false, true> w = {weight, o.weight_stride, row, o.filters, o.k};
#if BY_EIGHTS
    const WidePixels<TOKENS> x(o.in, token, o.k);
#else
    const NarrowPixels<TOKENS> x = {o.in, o.k, token};
#endif
    multiply_tile(x, w, o.out, o.k, token, row, shared);
}
