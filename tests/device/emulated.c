// Runs a kernel for GPUs on a CPU: the threads of a block are coroutines, which take turns where they wait for each other.

#include <stdlib.h>
#include <ucontext.h>

enum { MOST = 1024, STACK = 64 << 10 };

static ucontext_t scheduler, threads[MOST];
static char *stacks;
static int current, block, alive[MOST], turns[MOST];
static float exchanged[2][MOST];
static void (*running)(void **);
static void **given;

static void wait_for_others(void) {
    int self = current;
    turns[self]++;
    swapcontext(&threads[self], &scheduler);
}

int emulated_thread(void) { return current; }
int emulated_block(void) { return block; }
void emulated_barrier(void) { wait_for_others(); }

float emulated_shuffle(int members, float value, int distance, int clamp) {
    int parity = turns[current] & 1;
    exchanged[parity][current] = value;
    wait_for_others();
    return exchanged[parity][current ^ distance];
}

static void body(void) {
    running(given);
    alive[current] = 0;
    swapcontext(&threads[current], &scheduler);
}

void emulated_launch(void (*kernel)(void **), void **arguments, int blocks, int count) {
    running = kernel, given = arguments;
    if (!stacks) stacks = malloc((size_t)MOST * STACK);
    for (block = 0; block < blocks; block++) {
        for (int at = 0; at < count; at++) {
            getcontext(&threads[at]);
            threads[at].uc_stack.ss_sp = stacks + (size_t)at * STACK;
            threads[at].uc_stack.ss_size = STACK;
            threads[at].uc_link = &scheduler;
            makecontext(&threads[at], body, 0);
            alive[at] = 1, turns[at] = 0;
        }
        for (int left = count; left;) {
            left = 0;
            for (current = 0; current < count; current++) {
                if (!alive[current]) continue;
                swapcontext(&scheduler, &threads[current]);
                left += alive[current];
            }
        }
    }
}
