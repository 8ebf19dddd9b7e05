/* Splitting one step over threads. */
#ifndef SPARSEC_POOL_H
#define SPARSEC_POOL_H

#include "sparsec.h"

/* Take the pool for one run: 1 if it was free. `warm` wakes the threads, for the first parallel step. */
SPARSEC_OWN int pool_claim(sparsec_pool *pool, int warm);
SPARSEC_OWN void pool_release(sparsec_pool *pool);

/* Do units [0, extent) in `chunks` even chunks, on all threads of a claimed pool, and return when all are done. */
SPARSEC_OWN void pool_run(sparsec_pool *pool, sparsec_kernel kernel, void *const *args, int64_t extent, int64_t chunks);

#endif
