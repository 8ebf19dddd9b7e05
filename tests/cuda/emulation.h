// Kernels of compiler/cuda on a CPU: CUDA's words, and functions of code/machine, for a C++ compiler.
//
// Shared memory is NaN at first. An asynchronous copy makes its target NaN, and is done when its thread waits for it, not before.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#define __device__
#define __global__
#define __forceinline__ inline
#define __grid_constant__
#define __cluster_dims__(...)
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __shared__

using std::max;
using std::min;
inline float reciprocal(float value) { return 1.0f / value; }
inline float power_of_two(float value) { return std::exp2(value); }
typedef unsigned int u32;
typedef unsigned short u16;
typedef unsigned long long u64;
typedef long long i64;

struct uint4 {
    u32 x, y, z, w;
} __attribute__((aligned(16)));
struct uint2 {
    u32 x, y;
} __attribute__((aligned(8)));
struct float2 {
    float x, y;
} __attribute__((aligned(8)));
struct float4 {
    float x, y, z, w;
} __attribute__((aligned(16)));
struct int4 {
    int x, y, z, w;
} __attribute__((aligned(16)));
struct int2 {
    int x, y;
} __attribute__((aligned(8)));
inline uint2 make_uint2(u32 x, u32 y) { return {x, y}; }
inline uint4 make_uint4(u32 x, u32 y, u32 z, u32 w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

#include "emulated_threads.h"

inline u32 __float_as_uint(float value) {
    u32 bits;
    memcpy(&bits, &value, 4);
    return bits;
}
inline float __uint_as_float(u32 bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

inline float __shfl_xor_sync(u32, float value, int mask) {
    const u32 own[1] = {__float_as_uint(value)};
    return __uint_as_float(exchanged(own)[current % 32 ^ mask][0]);
}
inline u32 __shfl_sync(u32, u32 value, int lane) {
    const u32 own[1] = {value};
    return exchanged(own)[lane][0];
}
inline u32 __byte_perm(u32 low, u32 high, u32 selector) {
    const u64 both = low | (u64)high << 32;
    u32 picked = 0;
    for (int each = 0; each < 4; ++each) picked |= (u32)(both >> (selector >> 4 * each & 7) * 8 & 0xFF) << 8 * each;
    return picked;
}
inline int __ffs(u32 word) { return __builtin_ffs(word); }
inline int __popc(u32 word) { return __builtin_popcount(word); }
inline u32 __ballot_sync(u32, bool value) {
    const u32 own[1] = {value};
    const auto all = exchanged(own);
    u32 found = 0;
    for (int lane = 0; lane < 32; ++lane) found |= all[lane][0] << lane;
    return found;
}
inline bool __any_sync(u32, bool value) { return __ballot_sync(~0u, value) != 0; }
inline int __float_as_int(float value) { return (int)__float_as_uint(value); }
template <int BYTES>
inline u32 spread(u32 word) {
    u32 found = 0;
    for (int each = 0; each < 4; ++each) {
        const u32 which = BYTES >> 4 * each, byte = which & 4 ? 0 : word >> 8 * (which & 3) & 0xFF;
        found |= (which & 8 ? byte >> 7 ? 0xFF : 0 : byte) << 8 * each; // a selector's highest bit: eight times the sign
    }
    return found;
}
inline u32 dot(u32 bytes, u32 weights, u32 sum) {
    for (int each = 0; each < 32; each += 8) sum += (bytes >> each & 0xFF) * (weights >> each & 0xFF);
    return sum;
}
inline u32 signed_dot(u32 bytes, u32 weights, u32 sum) {
    for (int each = 0; each < 32; each += 8) sum += (signed char)(bytes >> each) * (signed char)(weights >> each);
    return sum;
}
inline void __threadfence() {}
inline void fence() {}
inline u32 atomicAdd(u32 *at, u32 value) {
    const u32 before = *at;
    *at += value;
    return before;
}
inline u32 arrivals_before(u32 *counter) { return atomicAdd(counter, 1); }
template <typename T>
inline T __ldcg(const T *at) {
    return *at;
}
template <typename T>
inline void __stcg(T *at, T value) {
    *at = value;
}
template <typename T>
inline T __ldg(const T *at) {
    return *at;
}

inline u32 shared_address(const void *pointer) { return (u32)((const char *)pointer - shared); }
inline void allow_next_kernel() {}
inline void wait_for_kernel_before() {}

inline void copy16(u32 to, const void *from, u32 bytes) {
    if (to % 16 || (bytes && (uintptr_t)from % 16) || to + 16 > SHARED_BYTES) abort();
    memset(shared_at(to), 0xFF, 16);
    auto &groups = threads[current].groups;
    if (groups.empty()) groups.emplace_back();
    groups.back().push_back({to, bytes, from});
}
inline void copy16(u32 to, const void *from) { copy16(to, from, 16); }
inline void end_copies() {
    auto &groups = threads[current].groups;
    if (groups.empty()) groups.emplace_back();
    groups.emplace_back();
}
template <int LEFT>
inline void wait_for_copies() {
    auto &groups = threads[current].groups;
    while ((int)groups.size() > LEFT + 1) {
        for (const Copy &each : groups.front()) {
            memset(shared_at(each.to), 0, 16);
            memcpy(shared_at(each.to), each.from, each.bytes);
        }
        groups.pop_front();
    }
}

template <typename T>
inline T &at_shared(u32 address) {
    if (address % sizeof(T) || address % THERE + sizeof(T) > SHARED_BYTES) abort();
    return *(T *)shared_at(address);
}
inline void store16(u32 to, uint4 v) { at_shared<uint4>(to) = v; }
inline void store2(u32 to, u16 value) { at_shared<u16>(to) = value; }
inline void store4(u32 to, u32 value) { at_shared<u32>(to) = value; }
inline u16 loaded2(u32 address) { return at_shared<u16>(address); }
inline void store8(u32 to, u32 low, u32 high) { at_shared<uint2>(to) = {low, high}; }
inline u32 loaded(u32 address) { return at_shared<u32>(address); }
inline uint2 loaded8(u32 address) { return at_shared<uint2>(address); }
inline uint4 loaded16(u32 address) { return at_shared<uint4>(address); }
inline float loaded_float(u32 address) { return at_shared<float>(address); }
inline float4 loaded_floats(u32 address) { return at_shared<float4>(address); }
inline void store_floats(u32 to, float a, float b) {
    at_shared<float>(to & ~4u) = a, at_shared<float>(to + 4) = b;
    if (to % 8) abort();
}

inline void store_floats(u32 to, const float *v) { at_shared<float4>(to) = {v[0], v[1], v[2], v[3]}; }

#include "emulated_barriers.h"

inline void load_matrices(u32 (&v)[4], u32 address, bool transposed) {
    const u32 own[1] = {address};
    const auto places = exchanged(own);
    const int lane = current % 32;
    for (int each = 0; each < 4; ++each) {
        u16 halves[2];
        for (int half = 0; half < 2; ++half) {
            const int row = transposed ? lane % 4 * 2 + half : lane / 4, column = transposed ? lane / 4 : lane % 4 * 2 + half;
            const u32 from = places[each * 8 + row][0];
            if (from % 16) abort();
            halves[half] = at_shared<u16>(from + 2 * column);
        }
        v[each] = halves[0] | (u32)halves[1] << 16;
    }
    __syncwarp(); // shared memory is not written before all lanes have it
}
inline void load_matrices(u32 (&v)[4], u32 address) { load_matrices(v, address, false); }
inline void load_transposed(u32 (&v)[4], u32 address) { load_matrices(v, address, true); }

inline void load_two_matrices(u32 (&v)[4], u32 address) {
    u32 all[4];
    load_matrices(all, address);
    v[0] = all[0], v[1] = all[1];
}
inline void store_transposed(u32 to, const u32 (&v)[4]) {
    const u32 own[5] = {v[0], v[1], v[2], v[3], to};
    const auto all = exchanged(own);
    const int lane = current % 32;
    for (int each = 0; each < 8; ++each) // a lane's row of a matrix is its column before
        at_shared<u16>(to + 2 * each) = (u16)(all[each * 4 + lane % 8 / 2][lane / 8] >> lane % 2 * 16);
    __syncwarp();
}

inline void store_matrices(u32 to, const u32 (&v)[4]) {
    const u32 own[5] = {v[0], v[1], v[2], v[3], to};
    const auto all = exchanged(own);
    const int lane = current % 32;
    for (int each = 0; each < 8; ++each)
        at_shared<u16>(to + 2 * each) = (u16)(all[lane % 8 * 4 + each / 2][lane / 8] >> each % 2 * 16);
    __syncwarp();
}

inline float widened(u16 bits) {
#if BF16
    return __uint_as_float((u32)bits << 16);
#else
    _Float16 value;
    memcpy(&value, &bits, 2);
    return (float)value;
#endif
}
inline u16 narrowed(float value) {
    if (value != value) return 0x7FFF;
#if BF16
    const u32 bits = __float_as_uint(value);
    return (u16)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
#else
    const _Float16 half = (_Float16)value;
    u16 bits;
    memcpy(&bits, &half, 2);
    return bits;
#endif
}
inline u16 rounded(float value) { return narrowed(value); }
inline u32 rounded(float low, float high) { return narrowed(low) | (u32)narrowed(high) << 16; }
inline float2 both_widened(u32 bits) { return {widened((u16)bits), widened((u16)(bits >> 16))}; }
template <typename T>
inline T in_place(const void *from) {
    if ((uintptr_t)from % sizeof(T)) abort();
    return *(const T *)from;
}
inline u32 streamed2(const void *from) { return in_place<u16>(from); }
inline u32 streamed4(const void *from) { return in_place<u32>(from); }
inline uint2 streamed8(const void *from) { return in_place<uint2>(from); }
inline uint4 streamed(const void *from) { return in_place<uint4>(from); }
inline void bring_to_l2(const void *) {}

inline void mma(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    const u32 own[6] = {a[0], a[1], a[2], a[3], b0, b1};
    const auto all = exchanged(own);
    const int lane = current % 32;
    for (int each = 0; each < 4; ++each) {
        const int row = lane / 4 + each / 2 * 8, column = lane % 4 * 2 + each % 2;
        for (int k = 0; k < 16; ++k) {
            const u32 x = all[row % 8 * 4 + k % 8 / 2][row / 8 + k / 8 * 2] >> (k % 2 * 16);
            const u32 w = all[column * 4 + k % 8 / 2][4 + k / 8] >> (k % 2 * 16);
            d[each] += widened((u16)x) * widened((u16)w);
        }
    }
}

// D[16 x 8] += A[16 x 32, two of four] B[32 x 8]; of each four lanes those with this HALF have indices.
template <int HALF>
inline void sparse_mma(float (&d)[4], const uint4 &a, const uint4 &b, u32 indices) {
    const u32 first[8] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w}, last[1] = {indices};
    u32 factors[32][8];
    memcpy(factors, exchanged(first), sizeof factors);
    const auto all = exchanged(last);
    const int lane = current % 32;
    for (int each = 0; each < 4; ++each) {
        const int row = lane / 4 + each / 2 * 8, column = lane % 4 * 2 + each % 2;
        for (int group = 0; group < 8; ++group) {
            const u32 both = factors[row % 8 * 4 + group % 4][row / 8 + group / 4 * 2];
            const u32 places = all[row % 8 * 4 + HALF * 2 + group / 4][0] >> (row / 8 * 16 + group % 4 * 4);
            if ((places & 3) >= (places >> 2 & 3)) abort(); // they must be in order
            for (int slot = 0; slot < 2; ++slot) {
                const int k = group * 4 + (places >> 2 * slot & 3);
                const u32 x = factors[column * 4 + k % 8 / 2][4 + k / 8] >> k % 2 * 16;
                d[each] += widened((u16)(both >> 16 * slot)) * widened((u16)x);
            }
        }
    }
}

#include "emulated_products.h"
