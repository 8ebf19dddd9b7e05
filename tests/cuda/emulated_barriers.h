// Hopper's barriers in shared memory, and copies of its tensor memory unit, on a CPU: the part of `emulation.h` for `machine/barriers.cuh`
// and `machine/tensor_memory.cuh`. A copy is done at once.

// How many are still to arrive, how many of each round, whether its number is odd, and bytes that are still to come.
struct Barrier {
    u16 left, count : 15, odd : 1;
    int bytes;

    void add(int arrivals, int more) {
        if (arrivals > left) abort();
        left -= arrivals, bytes += more;
        if (!left && !bytes) left = count, odd ^= 1;
    }
};
template <int ARRIVALS>
inline void make_barrier(u32 barrier) {
    at_shared<Barrier>(barrier) = {ARRIVALS, ARRIVALS, 0, 0};
}
inline void wait_for(u32 barrier, u32 parity) {
    while (at_shared<Barrier>(barrier).odd == parity) yield();
}
inline void expect(u32 barrier, u32 bytes) { at_shared<Barrier>(barrier).add(1, bytes); }
inline void arrive_there(u32 barrier, u32 block) { expect(in_block(barrier, block), 0); }
inline void arrive(u32 barrier) {
    __syncwarp();
    if (current % 32 == 0) expect(barrier, 0);
}
inline void arrive_with_copies(u32 barrier) {
    end_copies();
    wait_for_copies<0>();
    expect(barrier, 0);
}
template <int COUNT, int READERS, int FILLERS = 1>
inline void make_barriers(u32 full) {
    if (threadIdx.x == 0)
        for (int each = 0; each < COUNT; ++each) make_barrier<FILLERS>(full + 8 * each), make_barrier<READERS>(full + 8 * (COUNT + each));
    __syncthreads();
}
template <int COUNT>
struct Stage {
    u32 index, parity;
    void next() {
        if (++index == COUNT) index = 0, parity ^= 1;
    }
};

struct alignas(64) TensorMap { // what `EmulatedDevice.tensor_map` says
    const char *at;
    i64 rows, columns, stride, box_rows, box_columns;
    u64 unused[10];
};
inline void copy_bytes(u32 to, const void *from, u32 bytes, u32 barrier) {
    if (to % 16 || (uintptr_t)from % 16 || bytes % 16 || !bytes || to % THERE + bytes > SHARED_BYTES) abort();
    memcpy(shared_at(to), from, bytes);
    at_shared<Barrier>(barrier).add(0, -(int)bytes);
}
inline void copy_bytes_to_blocks(u32 to, const void *from, u32 bytes, u32 barrier, u16 blocks) {
    for (u32 each = 0; each < CLUSTER; ++each)
        if (blocks >> each & 1) copy_bytes(in_block(to, each), from, bytes, in_block(barrier, each));
}
inline void copy_box(u32 to, const TensorMap &map, int column, int row, u32 barrier) {
    const int line = 2 * map.box_columns;
    if (to % THERE % (8 * line)) abort();
    for (int r = 0; r < map.box_rows; ++r)
        for (int c = 0; c < map.box_columns; ++c) {
            const bool inside = row + r < map.rows && column + c < map.columns;
            const u32 piece = c / 8 ^ (line == 128 ? r : r / 2) & (line / 16 - 1);
            const char *from = map.at + 2 * ((row + r) * map.stride + column + c);
            at_shared<u16>(to + r * line + piece * 16 + c % 8 * 2) = inside ? *(const u16 *)from : 0;
        }
    at_shared<Barrier>(barrier).add(0, -(int)map.box_rows * line);
}
inline void copy_box_to_blocks(u32 to, const TensorMap &map, int column, int row, u32 barrier, u16 blocks) {
    for (u32 each = 0; each < CLUSTER; ++each)
        if (blocks >> each & 1) copy_box(in_block(to, each), map, column, row, in_block(barrier, each));
}
template <int COUNT>
inline void give_registers() {}
template <int COUNT>
inline void take_registers() {}
