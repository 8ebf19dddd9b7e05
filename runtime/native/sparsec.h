/* The runtime core of sparsec: everything that Python calls, in plain C11 and without Python.h.
 *
 * A model is a flat code image mapped executable, a step table, and a list of contexts (one arena and one pointer table per
 * run in flight). A pool is a set of threads that one run at a time may use; a run that finds it taken works alone.
 */
#ifndef SPARSEC_H
#define SPARSEC_H

#include <stdint.h>

/* What others may call, and what files of the core call of each other; runtime/c/core.c makes both static. */
#if !defined(SPARSEC_API)
#if defined(__GNUC__)
#define SPARSEC_API __attribute__((visibility("default")))
#else
#define SPARSEC_API
#endif
#define SPARSEC_OWN
#endif

/* Counts changes of what is below, for whoever loads the library. */
#define SPARSEC_INTERFACE 4
SPARSEC_API int sparsec_interface(void);

/* The uniform entry of a kernel: does units [begin, end) on the buffers in `args`. */
typedef void (*sparsec_kernel)(void *const *args, int64_t begin, int64_t end);

enum sparsec_space { SPARSEC_INPUT, SPARSEC_OUTPUT, SPARSEC_WEIGHTS, SPARSEC_ARENA };

typedef struct {
    uint64_t space;    /* enum sparsec_space */
    uint64_t position; /* index of a tensor, or byte offset */
} sparsec_buffer;

typedef struct {
    uint64_t entry;     /* byte offset of the kernel's entry in the image; its address, if that is NULL */
    uint64_t first_arg; /* index into the table of buffers */
    int64_t extent;     /* units of work */
    int64_t grain;      /* fewest units worth a chunk; >= extent: serial */
} sparsec_step;

typedef struct {
    const char *symbol;
    uint64_t slot; /* byte offset of an 8-byte slot in the writable part of the image */
} sparsec_import;

typedef struct {
    uint64_t bytes; /* in memory */
    uint64_t half;  /* 1: floats that are stored as halves; 0: stored as they are */
} sparsec_piece;

typedef struct {
    const uint8_t *image; /* NULL: the kernels are linked with the core */
    uint64_t image_bytes;
    uint64_t writable_offset; /* page-aligned; [0, writable_offset) becomes read-only and executable */
    const sparsec_import *imports;
    uint64_t import_count;
    const sparsec_step *steps;
    uint64_t step_count;
    const sparsec_buffer *buffers;
    uint64_t buffer_count;
    const uint8_t *weights; /* stays the caller's; must outlive the model, unless there are pieces */
    uint64_t arena_bytes;
    uint64_t status; /* arena offset, a multiple of 8, of an int64 that a failed check sets to its number + 1; or SPARSEC_NO_STATUS */
    const sparsec_piece *pieces; /* what memory is made of, in order, if the weights are not stored as kernels read them */
    uint64_t piece_count;        /* 0: the weights are used in place */
} sparsec_program;

#define SPARSEC_NO_STATUS UINT64_MAX

typedef struct sparsec_pool sparsec_pool;
typedef struct sparsec_model sparsec_model;

enum sparsec_status {
    SPARSEC_OK,
    SPARSEC_NO_MEMORY,
    SPARSEC_UNKNOWN_IMPORT,
    SPARSEC_NO_EXECUTABLE_MEMORY,
    SPARSEC_BAD_IMAGE,
    SPARSEC_FAILED_CHECK
};

/* Start a pool in which `threads` threads work, the caller's among them. NULL if none could be made. */
SPARSEC_API sparsec_pool *sparsec_pool_create(int64_t threads);
SPARSEC_API void sparsec_pool_destroy(sparsec_pool *pool);
SPARSEC_API int64_t sparsec_pool_threads(const sparsec_pool *pool);

/* Copy and map the program. On SPARSEC_UNKNOWN_IMPORT `*culprit` is the index of the import. */
SPARSEC_API int sparsec_model_create(const sparsec_program *program, sparsec_model **model, uint64_t *culprit);
/* The weights as kernels read them: the caller's or, if there are pieces, the model's, which other models may be given. */
SPARSEC_API const uint8_t *sparsec_model_weights(const sparsec_model *model);
/* No run may be in flight. */
SPARSEC_API void sparsec_model_destroy(sparsec_model *model);

/* Run once; may be called from many threads. `step_ns`, if not NULL, receives the nanoseconds of every step. `pool` may be NULL.
 * After a step with a failed check no other runs, and on SPARSEC_FAILED_CHECK `*failed_check` is the number of the check. */
SPARSEC_API int sparsec_model_run(sparsec_model *model, sparsec_pool *pool, void *const *inputs, void *const *outputs,
                                  int64_t *step_ns, int64_t *failed_check);

/* Bit i is set if the processor and the operating system support the feature `sparsec_cpu_feature_name(i)`. */
SPARSEC_API uint64_t sparsec_cpu_features(void);
/* NULL past the last one. Names are LLVM's. */
SPARSEC_API const char *sparsec_cpu_feature_name(int64_t bit);

/* 1 if generated code may import `symbol`. */
SPARSEC_API int sparsec_has_import(const char *symbol);

#endif
