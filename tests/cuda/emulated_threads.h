// The threads of a block or cluster on a CPU, and where they meet: the part of `emulation.h` that runs a kernel. Each thread is a
// coroutine, which goes on until it must meet the others of its warp or block. Blocks run one after the other, those of a cluster
// (macro CLUSTER) together.

#include <deque>
#include <functional>
#include <memory>
#include <ucontext.h>
#include <vector>

struct Index {
    u32 x, y, z;
} threadIdx, blockIdx, blockDim, gridDim;

const int SHARED_BYTES = 232448;
#ifndef CLUSTER
#define CLUSTER 1 // blocks that run at the same time
#endif
alignas(1024) char shared[CLUSTER * SHARED_BYTES];

struct Copy {
    u32 to, bytes;
    const void *from;
};

struct Thread {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    std::deque<std::vector<Copy>> groups; // of copies, the last one not ended yet
    int barriers_of_warp = 0, barriers_of_block = 0, exchanges = 0;
    bool done = false;
};

struct Warp {
    int arrived = 0, barriers = 0;
    u32 words[2][32][8]; // what lanes give each other, in turns
};

const int STACK = 256 << 10;
std::vector<Thread> threads;
std::vector<Warp> warps;
int arrived[CLUSTER + 1], barriers[CLUSTER + 1], current; // of each block, and of the cluster
ucontext_t scheduler;
std::function<void()> kernel;

inline void yield() { swapcontext(&threads[current].context, &scheduler); }

inline void __syncwarp() {
    Warp &warp = warps[current / 32];
    const int before = warp.barriers;
    if (++warp.arrived == std::min<int>(32, blockDim.x - current % blockDim.x / 32 * 32)) {
        warp.arrived = 0, ++warp.barriers;
        return;
    }
    while (warps[current / 32].barriers == before) yield();
}

inline int own_block() { return current / (int)blockDim.x; }

inline void meet_all(int which, int count) {
    const int before = barriers[which];
    if (++arrived[which] == count) {
        arrived[which] = 0, ++barriers[which];
        return;
    }
    while (barriers[which] == before) yield();
}
inline void __syncthreads() { meet_all(own_block(), blockDim.x); }
inline void meet_cluster() { meet_all(CLUSTER, CLUSTER * blockDim.x); }

// A block's place in the shared memory of all, given one of this block or one `in_block`.
const u32 THERE = 1 << 24;
inline u32 in_block(u32 address, u32 block) { return address | (block + 1) * THERE; }
inline char *shared_at(u32 address) {
    const int block = address / THERE ? address / THERE - 1 : own_block();
    return shared + block * SHARED_BYTES + address % THERE;
}

// What all lanes of the warp give.
template <int NUMBER>
inline const u32 (*exchanged(const u32 (&own)[NUMBER]))[8] {
    auto &words = warps[current / 32].words[threads[current].exchanges++ % 2];
    memcpy(words[current % 32], own, sizeof own);
    __syncwarp();
    return words;
}

struct Meeting {
    int arrived, times;
} meetings[16]; // of some threads of a block, by barrier
template <int NUMBER>
inline void meet(u32 barrier) {
    Meeting &meeting = meetings[barrier];
    const int before = meeting.times;
    if (++meeting.arrived == NUMBER) {
        meeting.arrived = 0, ++meeting.times;
        return;
    }
    while (meeting.times == before) yield();
}

inline void meet_warpgroup(u32 barrier) { meet<128>(barrier); }

// Calls a kernel with what is at an address.
template <typename T>
inline void call(void (*function)(T), const void *operands) {
    function(*(const T *)operands);
}

inline void begin() {
    kernel();
    threads[current].done = true;
    yield();
}

// Runs all blocks, one after the other. A warp of each may be slow. Ends the process if threads wait for each other.
#ifndef SLOW_WARP
#define SLOW_WARP -1
#endif
#define MOST_SWITCHES (1ll << 28)
inline void emulate(int blocks_x, int blocks_y, int count, std::function<void()> body) {
    kernel = body;
    gridDim = {(u32)blocks_x, (u32)blocks_y, 1}, blockDim = {(u32)count, 1, 1};
    const int all = CLUSTER * count;
    for (int block = 0; block < blocks_x * blocks_y; block += CLUSTER) {
        memset(shared, 0xFF, sizeof shared);
        memset(arrived, 0, sizeof arrived), memset(barriers, 0, sizeof barriers);
        warps = std::vector<Warp>((all + 31) / 32);
        if ((int)threads.size() != all) {
            threads = std::vector<Thread>(all);
            for (Thread &each : threads) each.stack.reset(new char[STACK]);
        }
        for (Thread &each : threads) {
            each.groups.clear(), each.done = false, each.exchanges = 0;
            getcontext(&each.context);
            each.context.uc_stack = {each.stack.get(), 0, STACK};
            each.context.uc_link = &scheduler;
            makecontext(&each.context, begin, 0);
        }
        for (int left = all, turn = 0; left; ++turn) {
            if ((i64)turn * all > MOST_SWITCHES) abort();
            for (current = 0; current < all; ++current)
                if (!threads[current].done && (current % count / 32 != SLOW_WARP || turn % 64 == 0)) {
                    const int own = block + own_block();
                    threadIdx = {(u32)(current % count), 0, 0}, blockIdx = {(u32)(own % blocks_x), (u32)(own / blocks_x), 0};
                    swapcontext(&scheduler, &threads[current].context);
                    left -= threads[current].done;
                }
        }
    }
}
