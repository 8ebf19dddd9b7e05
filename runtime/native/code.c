/* Memory that code is copied to, and then executed from: written first, executable later, never both for one thread.
 *
 * On Apple's ARM processors, memory is mapped as code from the start (MAP_JIT), and each thread is either one that writes to
 * all such memory or one that executes it; threads start as the latter. So nothing that kernels write may lie in an image there.
 */
#define _GNU_SOURCE
#include "code.h"

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>

#if defined(__APPLE__) && defined(__aarch64__)

#include <libkern/OSCacheControl.h>
#include <pthread.h>

#define OPENED (PROT_READ | PROT_WRITE | PROT_EXEC)
#define KIND (MAP_PRIVATE | MAP_ANON | MAP_JIT)

static void this_thread_writes(int writes)
{
    pthread_jit_write_protect_np(!writes);
}

static int make_executable(uint8_t *image, uint64_t bytes, uint64_t writable_offset, uint64_t slots)
{
    sys_icache_invalidate(image, bytes);
    return bytes - writable_offset == slots ? SPARSEC_OK : SPARSEC_BAD_IMAGE;
}

#else

#define OPENED (PROT_READ | PROT_WRITE)
#define KIND (MAP_PRIVATE | MAP_ANONYMOUS)

static void this_thread_writes(int writes)
{
    (void)writes;
}

static int make_executable(uint8_t *image, uint64_t bytes, uint64_t writable_offset, uint64_t slots)
{
    (void)slots;
    __builtin___clear_cache((char *)image, (char *)image + bytes);
    const int failed = writable_offset && mprotect(image, writable_offset, PROT_READ | PROT_EXEC);
    return failed ? SPARSEC_NO_EXECUTABLE_MEMORY : SPARSEC_OK;
}

#endif

uint8_t *code_open(uint64_t bytes, int *status)
{
    uint8_t *image = mmap(NULL, bytes, OPENED, KIND, -1, 0);
    if (image == MAP_FAILED) {
        *status = errno == ENOMEM ? SPARSEC_NO_MEMORY : SPARSEC_NO_EXECUTABLE_MEMORY; /* EPERM, EACCES: a policy */
        return NULL;
    }
    this_thread_writes(1);
    return image;
}

int code_seal(uint8_t *image, uint64_t bytes, uint64_t writable_offset, uint64_t slots)
{
    const int status = make_executable(image, bytes, writable_offset, slots);
    this_thread_writes(0);
    return status;
}

void code_close(uint8_t *image, uint64_t bytes)
{
    this_thread_writes(0);
    munmap(image, bytes);
}
