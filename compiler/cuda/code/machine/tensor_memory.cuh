// Hopper's tensor memory unit, which copies boxes of tensors to shared memory, and clusters of blocks: sm_90a only.

#include "machine/words.cuh"

// A `CUtensorMap`: where a tensor lies and how boxes of it are put in shared memory.
struct alignas(64) TensorMap {
    u64 opaque[16];
};

// Bytes in a row, a multiple of 16, from global to shared memory.
__device__ __forceinline__ void copy_bytes(u32 to, const void *from, u32 bytes, u32 barrier) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to),
                 "l"(from), "r"(bytes), "r"(barrier) : "memory");
}

// The same to all these blocks of the cluster, a bit each, at the same places; each one's barrier is told.
__device__ __forceinline__ void copy_bytes_to_blocks(u32 to, const void *from, u32 bytes, u32 barrier, u16 blocks) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1], %2, [%3], %4;" ::"r"(to),
                 "l"(from), "r"(bytes), "r"(barrier), "h"(blocks) : "memory");
}

// A box of a matrix; what is past the matrix's ends is zero.
__device__ __forceinline__ void copy_box(u32 to, const TensorMap &map, int column, int row, u32 barrier) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%2, %3}], [%4];" ::"r"(to), "l"(&map), "r"(column), "r"(row), "r"(barrier) : "memory");
}

// The same to all these blocks of the cluster, a bit each, at the same places; each one's barrier is told.
__device__ __forceinline__ void copy_box_to_blocks(u32 to, const TensorMap &map, int column, int row, u32 barrier, u16 blocks) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster "
                 "[%0], [%1, {%2, %3}], [%4], %5;" ::"r"(to), "l"(&map), "r"(column), "r"(row), "r"(barrier), "h"(blocks) : "memory");
}

// A box of pixels of images with channels last, from the pixel on whose window begins at (right, down), of the pixels that are so
// far to the right and down in their windows; what is outside an image is zero.
__device__ __forceinline__ void copy_pixels(u32 to, const TensorMap &map, int channel, int right, int down, int image,
                                            u16 far_right, u16 far_down, u32 barrier) {
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%2, %3, %4, %5}], [%6], {%7, %8};" ::"r"(to), "l"(&map), "r"(channel), "r"(right), "r"(down),
                 "r"(image), "r"(barrier), "h"(far_right), "h"(far_down) : "memory");
}

// All threads of all blocks of a cluster; what they wrote to shared memory before can be read after.
__device__ __forceinline__ void meet_cluster() {
    asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
}

// A place in shared memory as it is in a block of the cluster.
__device__ __forceinline__ u32 in_block(u32 address, u32 block) {
    u32 there;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(address), "r"(block));
    return there;
}

// Arrive at the barrier that a block of the cluster has at this place.
__device__ __forceinline__ void arrive_there(u32 barrier, u32 block) {
    asm volatile("mbarrier.arrive.shared::cluster.b64 _, [%0];" ::"r"(in_block(barrier, block)) : "memory");
}

// From such a place.
__device__ __forceinline__ float loaded_float_there(u32 there) {
    float value;
    asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(value) : "r"(there) : "memory");
    return value;
}

__device__ __forceinline__ float4 loaded_floats_there(u32 there) {
    float4 v;
    asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w) : "r"(there) : "memory");
    return v;
}
