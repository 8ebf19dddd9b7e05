/* A loaded program: its executable image, its steps, and one context per run in flight. */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "code.h"
#include "half.h"
#include "imports.h"
#include "pool.h"
#include "sparsec.h"

#define ALIGNMENT 64
#define HUGE_PAGE ((size_t)1 << 21)
#define CHUNKS_PER_THREAD 4 /* uneven rows: enough chunks that the last one is short, few enough that dealing is cheap */

/* Contexts are only ever added, and claimed by a compare-exchange: a fork() in the middle of a run loses one, and blocks nobody. */
typedef struct context {
    struct context *older;
    _Atomic int claimed;
    uint8_t *arena;
    void *pointers[]; /* one per buffer; those of inputs and outputs are set by each run */
} context;

struct sparsec_model {
    uint8_t *image;
    uint64_t image_bytes;
    sparsec_step *steps;
    uint64_t step_count;
    sparsec_buffer *buffers;
    uint64_t buffer_count;
    uint8_t *weights;
    uint8_t *widened; /* NULL, or the weights, which are the model's then */
    uint64_t arena_bytes;
    uint64_t status;
    int has_parallel_steps;
    context *_Atomic contexts;
};

int sparsec_interface(void)
{
    return SPARSEC_INTERFACE;
}

static void *copy_of(const void *data, size_t bytes)
{
    void *copy = malloc(bytes ? bytes : 1);
    if (copy && bytes) memcpy(copy, data, bytes);
    return copy;
}

static uint8_t *aligned_memory(uint64_t bytes)
{
    void *memory = NULL;
    const size_t alignment = bytes >= 2 * HUGE_PAGE ? HUGE_PAGE : ALIGNMENT;
    if (bytes > SIZE_MAX - HUGE_PAGE || posix_memalign(&memory, alignment, bytes ? bytes : ALIGNMENT)) return NULL;
#if defined(MADV_HUGEPAGE)
    if (alignment == HUGE_PAGE) madvise(memory, bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE); /* only a hint: may fail */
#endif
    return memory;
}

/* The weights as kernels read them, made of what is stored; NULL without memory. */
static uint8_t *widened(const sparsec_program *program)
{
    uint64_t bytes = 0;
    for (uint64_t i = 0; i < program->piece_count; i++) bytes += program->pieces[i].bytes;
    uint8_t *const weights = aligned_memory(bytes), *to = weights;
    const uint8_t *from = program->weights;
    for (uint64_t i = 0; weights && i < program->piece_count; i++) {
        const sparsec_piece *piece = &program->pieces[i];
        if (piece->half)
            sparsec_widen_halves(to, from, piece->bytes / 4);
        else
            memcpy(to, from, piece->bytes);
        from += piece->half ? piece->bytes / 2 : piece->bytes;
        to += piece->bytes;
    }
    return weights;
}

#if defined(SPARSEC_LINKED)

static int map_image(const sparsec_program *program, sparsec_model *model, uint64_t *culprit)
{
    (void)model, (void)culprit;
    return program->image ? SPARSEC_BAD_IMAGE : SPARSEC_OK;
}

static void unmap_image(sparsec_model *model)
{
    (void)model;
}

#else

static int write_imports(const sparsec_program *program, uint8_t *image, uint64_t *culprit)
{
    for (uint64_t i = 0; i < program->import_count; i++) {
        const sparsec_import *import = &program->imports[i];
        void *address = import_address(import->symbol);
        *culprit = i;
        if (!address) return SPARSEC_UNKNOWN_IMPORT;
        if (import->slot < program->writable_offset || import->slot > program->image_bytes - 8) return SPARSEC_BAD_IMAGE;
        memcpy(image + import->slot, &address, sizeof address);
    }
    return SPARSEC_OK;
}

static int map_image(const sparsec_program *program, sparsec_model *model, uint64_t *culprit)
{
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), bytes = program->image_bytes;
    if (bytes == 0 || program->writable_offset > bytes || (program->writable_offset % page && program->writable_offset != bytes))
        return SPARSEC_BAD_IMAGE;
    int status = SPARSEC_OK;
    model->image = code_open(bytes, &status);
    if (!model->image) return status;
    model->image_bytes = bytes;
    memcpy(model->image, program->image, bytes);
    status = write_imports(program, model->image, culprit);
    return status == SPARSEC_OK ? code_seal(model->image, bytes, program->writable_offset, 8 * program->import_count) : status;
}

static void unmap_image(sparsec_model *model)
{
    if (model->image) code_close(model->image, model->image_bytes);
}

#endif

int sparsec_model_create(const sparsec_program *program, sparsec_model **result, uint64_t *culprit)
{
    sparsec_model *model = calloc(1, sizeof *model);
    if (!model) return SPARSEC_NO_MEMORY;
    int status = map_image(program, model, culprit);
    model->steps = copy_of(program->steps, program->step_count * sizeof *program->steps);
    model->step_count = program->step_count;
    model->buffers = copy_of(program->buffers, program->buffer_count * sizeof *program->buffers);
    model->buffer_count = program->buffer_count;
    if (program->piece_count) model->widened = widened(program);
    model->weights = model->widened ? model->widened : (uint8_t *)(uintptr_t)program->weights; /* no kernel writes here */
    model->arena_bytes = program->arena_bytes;
    model->status = program->status;
    const int whole = model->steps && model->buffers && (model->widened || !program->piece_count);
    if (status == SPARSEC_OK && !whole) status = SPARSEC_NO_MEMORY;
    if (status != SPARSEC_OK) {
        sparsec_model_destroy(model);
        return status;
    }
    for (uint64_t i = 0; i < model->step_count; i++) model->has_parallel_steps |= model->steps[i].grain < model->steps[i].extent;
    *result = model;
    return SPARSEC_OK;
}

const uint8_t *sparsec_model_weights(const sparsec_model *model)
{
    return model->weights;
}

void sparsec_model_destroy(sparsec_model *model)
{
    if (!model) return;
    for (context *each = atomic_load(&model->contexts); each;) {
        context *older = each->older;
        free(each->arena);
        free(each);
        each = older;
    }
    unmap_image(model);
    free(model->steps);
    free(model->buffers);
    free(model->widened);
    free(model);
}

static context *new_context(sparsec_model *model)
{
    context *fresh = malloc(sizeof *fresh + model->buffer_count * sizeof(void *));
    if (!fresh) return NULL;
    fresh->arena = aligned_memory(model->arena_bytes);
    if (!fresh->arena) {
        free(fresh);
        return NULL;
    }
    atomic_init(&fresh->claimed, 1);
    for (uint64_t i = 0; i < model->buffer_count; i++) {
        const sparsec_buffer *buffer = &model->buffers[i];
        fresh->pointers[i] = (buffer->space == SPARSEC_WEIGHTS ? model->weights : fresh->arena) + buffer->position;
        if (buffer->space == SPARSEC_INPUT || buffer->space == SPARSEC_OUTPUT) fresh->pointers[i] = NULL;
    }
    fresh->older = atomic_load(&model->contexts);
    while (!atomic_compare_exchange_weak(&model->contexts, &fresh->older, fresh)) {
    }
    return fresh;
}

static context *claim_context(sparsec_model *model)
{
    for (context *each = atomic_load(&model->contexts); each; each = each->older) {
        int unclaimed = 0;
        if (atomic_compare_exchange_strong(&each->claimed, &unclaimed, 1)) return each;
    }
    return new_context(model);
}

static void bind_tensors(const sparsec_model *model, context *run, void *const *inputs, void *const *outputs)
{
    for (uint64_t i = 0; i < model->buffer_count; i++) {
        const sparsec_buffer *buffer = &model->buffers[i];
        if (buffer->space == SPARSEC_INPUT) run->pointers[i] = inputs[buffer->position];
        if (buffer->space == SPARSEC_OUTPUT) run->pointers[i] = outputs[buffer->position];
    }
}

static int64_t chunks_of(const sparsec_step *step, int64_t threads)
{
    const int64_t most = threads * CHUNKS_PER_THREAD, coarse = step->extent / step->grain;
    return coarse < most ? coarse : most;
}

static int64_t wall_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

int sparsec_model_run(sparsec_model *model, sparsec_pool *pool, void *const *inputs, void *const *outputs, int64_t *step_ns,
                      int64_t *failed_check)
{
    context *run = claim_context(model);
    if (!run) return SPARSEC_NO_MEMORY;
    bind_tensors(model, run, inputs, outputs);
    const int shared = pool && model->has_parallel_steps && sparsec_pool_threads(pool) > 1 && pool_claim(pool, 1);
    const int64_t threads = shared ? sparsec_pool_threads(pool) : 1;
    int64_t passed = 0; /* stands for the status of a model without checks */
    int64_t *const status = model->status == SPARSEC_NO_STATUS ? &passed : (int64_t *)(void *)(run->arena + model->status);
    *status = 0;
    int64_t before = step_ns ? wall_ns() : 0;
    for (uint64_t i = 0; i < model->step_count && *status == 0; i++) {
        const sparsec_step *step = &model->steps[i];
        const sparsec_kernel kernel = (sparsec_kernel)((uintptr_t)model->image + step->entry);
        void *const *args = run->pointers + step->first_arg;
        const int64_t chunks = shared ? chunks_of(step, threads) : 1;
        if (chunks > 1) {
            pool_run(pool, kernel, args, step->extent, chunks);
        } else if (step->extent > 0) {
            kernel(args, 0, step->extent);
        }
        if (step_ns) {
            const int64_t after = wall_ns();
            step_ns[i] = after - before;
            before = after;
        }
    }
    if (shared) pool_release(pool);
    const int64_t failed = *status;
    atomic_store(&run->claimed, 0);
    *failed_check = failed - 1;
    return failed ? SPARSEC_FAILED_CHECK : SPARSEC_OK;
}
