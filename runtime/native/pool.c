/* A pool of threads that spin for a moment between steps and sleep between runs.
 *
 * A step is opened (`epoch` becomes odd) and closed (even) when its chunks are dealt out. Each thread has a share of
 * neighbouring chunks, the same in every step with as many, so that it finds in its caches what it wrote a step ago; it takes
 * them from the front, and then from the back of what others have left. A worker says that it is `busy` before it looks at
 * `epoch`, and the caller looks at all that are busy after closing (both sequentially consistent): so either the worker sees
 * the step closed, or the caller waits for it. Workers that come late or not at all delay nobody.
 *
 * What threads write all the time has a line of its own for each: a line that sixteen of them write goes from core to core,
 * and a step would take microseconds to begin and end.
 */
#define _GNU_SOURCE
#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define LINE 64           /* bytes of a cache line */
#define SPIN_NS 100000    /* a worker that found no work for this long goes to sleep */
#define STACK_BYTES ((size_t)8 << 20)
#define SPINS_PER_LOOK 64 /* pauses between two looks at the clock */

/* One thread's: its own line, because its owner writes it for each chunk. Seat 0 is the caller's. */
struct seat {
    _Alignas(LINE) _Atomic uint64_t share; /* chunks that are left: the first in the upper half, the one behind the last below */
    _Alignas(LINE) _Atomic int busy; /* its thread may read the open step */
    sparsec_pool *pool;
    pthread_t thread;
};

struct sparsec_pool {
    int64_t threads;
    int64_t started; /* threads, the caller included */
    uint64_t generation; /* of the process that has the threads; see `fork_generation` */
    int64_t spin_ns;
    struct seat *seats;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    _Atomic int claimed;
    _Atomic int stop;

    /* the open step */
    sparsec_kernel kernel;
    void *const *args;
    int64_t extent;
    int64_t chunks;

    _Alignas(LINE) _Atomic uint64_t epoch; /* odd while a step is open */
    _Atomic int64_t sleepers;
};

/* Threads do not survive fork(): a pool of another generation has none, and is never claimed. */
static _Atomic uint64_t fork_generation;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

static void count_fork(void)
{
    atomic_fetch_add(&fork_generation, 1);
}

static void watch_forks(void)
{
    pthread_atfork(NULL, NULL, count_fork);
}

static inline void pause_cpu(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static inline uint64_t share_of(uint64_t first, uint64_t behind)
{
    return first << 32 | behind;
}

/* A chunk from the front of a share, or from its back; -1 if none is left. */
static int64_t take(struct seat *seat, int from_back)
{
    uint64_t share = atomic_load_explicit(&seat->share, memory_order_relaxed);
    for (;;) {
        const uint64_t first = share >> 32, behind = share & UINT32_MAX;
        if (first >= behind) return -1;
        const uint64_t rest = from_back ? share_of(first, behind - 1) : share_of(first + 1, behind);
        if (atomic_compare_exchange_weak_explicit(&seat->share, &share, rest, memory_order_relaxed, memory_order_relaxed)) {
            return (int64_t)(from_back ? behind - 1 : first);
        }
    }
}

static int64_t take_from_others(sparsec_pool *pool, int64_t self)
{
    for (int64_t i = 1; i < pool->threads; i++) {
        const int64_t chunk = take(&pool->seats[(self + i) % pool->threads], 1);
        if (chunk >= 0) return chunk;
    }
    return -1;
}

static void work(sparsec_pool *pool, struct seat *seat)
{
    const sparsec_kernel kernel = pool->kernel;
    void *const *const args = pool->args;
    const int64_t chunks = pool->chunks, size = pool->extent / chunks, larger = pool->extent % chunks;
    for (;;) {
        int64_t chunk = take(seat, 0);
        if (chunk < 0) chunk = take_from_others(pool, seat - pool->seats);
        if (chunk < 0) return;
        const int64_t begin = chunk * size + (chunk < larger ? chunk : larger);
        kernel(args, begin, begin + size + (chunk < larger));
    }
}

static void sleep_until_change(sparsec_pool *pool, uint64_t last)
{
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->sleepers, 1);
    while (atomic_load(&pool->epoch) == last && !atomic_load(&pool->stop)) pthread_cond_wait(&pool->wake, &pool->mutex);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->mutex);
}

/* Return when a step is open that is not the one `seen`, or when the pool is to stop. */
static void wait_for_work(sparsec_pool *pool, uint64_t seen)
{
    uint64_t now = seen;
    while (!atomic_load(&pool->stop)) {
        const int64_t deadline = now_ns() + pool->spin_ns;
        do {
            for (int spin = 0; spin < SPINS_PER_LOOK; spin++) {
                now = atomic_load_explicit(&pool->epoch, memory_order_acquire);
                if (now % 2 && now != seen) return;
                pause_cpu();
            }
        } while (now_ns() < deadline);
        sleep_until_change(pool, now);
    }
}

static void *worker(void *argument)
{
    struct seat *seat = argument;
    sparsec_pool *pool = seat->pool;
    uint64_t seen = 0;
    for (;;) {
        wait_for_work(pool, seen);
        if (atomic_load(&pool->stop)) return NULL;
        atomic_store(&seat->busy, 1);
        seen = atomic_load(&pool->epoch);
        if (seen % 2) work(pool, seat);
        atomic_store_explicit(&seat->busy, 0, memory_order_release);
    }
}

/* Make the epoch later, so that those who sleep may wake, and wake as many as are wanted. */
static void wake_workers(sparsec_pool *pool, uint64_t later, int64_t wanted)
{
    atomic_fetch_add(&pool->epoch, later);
    if (atomic_load(&pool->sleepers) == 0) return;
    pthread_mutex_lock(&pool->mutex);
    if (wanted >= atomic_load(&pool->sleepers)) {
        pthread_cond_broadcast(&pool->wake);
    } else {
        for (int64_t i = 0; i < wanted; i++) pthread_cond_signal(&pool->wake);
    }
    pthread_mutex_unlock(&pool->mutex);
}

static void wait_until_idle(struct seat *seat)
{
    for (int spin = 0; atomic_load(&seat->busy); spin++) {
        if (spin < 4096 && seat->pool->spin_ns) {
            pause_cpu();
        } else {
            sched_yield(); /* the worker may have lost its processor to somebody else */
        }
    }
}

void pool_run(sparsec_pool *pool, sparsec_kernel kernel, void *const *args, int64_t extent, int64_t chunks)
{
    pool->kernel = kernel;
    pool->args = args;
    pool->extent = extent;
    pool->chunks = chunks;
    for (int64_t i = 0; i < pool->threads; i++) {
        const uint64_t share = share_of((uint64_t)(i * chunks / pool->threads), (uint64_t)((i + 1) * chunks / pool->threads));
        atomic_store_explicit(&pool->seats[i].share, share, memory_order_relaxed);
    }
    wake_workers(pool, 1, chunks - 1);
    work(pool, pool->seats);
    atomic_fetch_add(&pool->epoch, 1);
    for (int64_t i = 1; i < pool->threads; i++) wait_until_idle(&pool->seats[i]);
}

int pool_claim(sparsec_pool *pool, int warm)
{
    int free_pool = 0;
    if (pool->generation != atomic_load(&fork_generation)) return 0;
    if (!atomic_compare_exchange_strong(&pool->claimed, &free_pool, 1)) return 0;
    if (warm) wake_workers(pool, 2, pool->threads - 1);
    return 1;
}

void pool_release(sparsec_pool *pool)
{
    atomic_store(&pool->claimed, 0);
}

/* Workers have room for large frames whatever the system's default is, and leave signals to the threads of the program. */
static int start_worker(struct seat *seat)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    if (pthread_attr_init(&attributes)) return 0;
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int failed = pthread_create(&seat->thread, &attributes, worker, seat);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return !failed;
}

static int64_t processors(void)
{
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
    return INT64_MAX;
}

sparsec_pool *sparsec_pool_create(int64_t threads)
{
    if (threads < 1 || threads > 4096) return NULL;
    pthread_once(&fork_once, watch_forks);
    sparsec_pool *pool = NULL;
    if (posix_memalign((void **)&pool, LINE, sizeof *pool)) return NULL;
    *pool = (sparsec_pool){.threads = threads, .generation = atomic_load(&fork_generation)};
    pool->spin_ns = threads <= processors() ? SPIN_NS : 0; /* spinning on a shared processor stops the others */
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    if (posix_memalign((void **)&pool->seats, LINE, (size_t)threads * sizeof *pool->seats)) pool->seats = NULL;
    for (pool->started = 1; pool->seats && pool->started < threads; pool->started++) {
        struct seat *seat = &pool->seats[pool->started];
        *seat = (struct seat){.pool = pool};
        if (!start_worker(seat)) break;
    }
    if (!pool->seats || pool->started < threads) {
        sparsec_pool_destroy(pool);
        return NULL;
    }
    pool->seats[0] = (struct seat){.pool = pool};
    return pool;
}

int64_t sparsec_pool_threads(const sparsec_pool *pool)
{
    return pool->generation == atomic_load(&fork_generation) ? pool->threads : 0;
}

void sparsec_pool_destroy(sparsec_pool *pool)
{
    if (!pool) return;
    if (pool->generation == atomic_load(&fork_generation)) {
        pthread_mutex_lock(&pool->mutex);
        atomic_store(&pool->stop, 1);
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->mutex);
        for (int64_t i = 1; i < pool->started; i++) pthread_join(pool->seats[i].thread, NULL);
        pthread_cond_destroy(&pool->wake);
        pthread_mutex_destroy(&pool->mutex);
    }
    free(pool->seats);
    free(pool);
}
