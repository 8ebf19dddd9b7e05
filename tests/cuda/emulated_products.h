// Products of warpgroups on a CPU: the part of `emulation.h` for `machine/wgmma.cuh`. They are done as late as they may be, when they
// are waited for.

inline void show_barriers() {}
typedef std::vector<std::function<void()>> Products;
std::deque<Products> products_of[1024]; // of a thread, in groups, the last one not ended yet
inline void show_to_products() {}
inline void begin_products() {
    if (products_of[current].empty()) products_of[current].emplace_back();
}
inline void end_products() { products_of[current].emplace_back(); }
template <int LEFT>
inline void wait_for_products() {
    auto &groups = products_of[current];
    while ((int)groups.size() > LEFT + 1) {
        for (const auto &each : groups.front()) each();
        groups.pop_front();
    }
    __syncwarp();
}
template <int COUNT>
inline void settle(float (&)[COUNT]) {}
inline u32 same(u32 v) { return __shfl_sync(~0u, v, 0); }
const u32 FIRST_BIT = 1u << 16;
inline u32 matrix_place(u32 address) { return address >> 4; }
template <int SWIZZLE>
inline u64 placed(u32 place) { // rows of 128 bytes (1) or 64 (2)
    return (u64)SWIZZLE << 32 | (u64)(place & ~FIRST_BIT) << 4;
}
template <int SWIZZLE>
inline u64 matrix_at(u32 address) {
    return placed<SWIZZLE>(matrix_place(address));
}
inline float factor(u64 matrix, int row, int k) {
    const bool wide = matrix >> 32 == 1;
    const u32 place = (u32)matrix + row * (wide ? 128 : 64) + k * 2;
    return widened(at_shared<u16>(place ^ (place >> 7 & (wide ? 7 : 3)) << 4));
}
template <int COUNT>
inline void wgmma(float (&d)[COUNT], u64 a, u64 b) {
    float *sums = d;
    const int thread = current % 128;
    products_of[current].back().push_back([=] {
        for (int i = 0; i < COUNT; ++i) {
            const int row = thread / 32 * 16 + thread % 32 / 4 + i / 2 % 2 * 8, column = i / 4 * 8 + thread % 4 * 2 + i % 2;
            for (int k = 0; k < 16; ++k) sums[i] += factor(a, row, k) * factor(b, column, k);
        }
    });
}
template <int COUNT>
inline void multiply_unit(float (&d)[COUNT], u32 x_place, u32 unit_place) {
    wgmma(d, placed<1>(x_place), placed<2>(unit_place));
    wgmma(d, placed<1>(x_place + 2), placed<2>(unit_place + 2));
}
