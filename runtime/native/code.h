/* Memory that code is copied to, and then executed from. */
#ifndef SPARSEC_CODE_H
#define SPARSEC_CODE_H

#include "sparsec.h"

/* Memory for an image that this thread may write, of so many bytes > 0. On failure NULL, and `*status` says why. */
SPARSEC_OWN uint8_t *code_open(uint64_t bytes, int *status);

/* Makes [0, writable_offset) of an opened image executable, for every thread; `slots` is how many bytes of the rest hold addresses
 * of imports. Returns a status. */
SPARSEC_OWN int code_seal(uint8_t *image, uint64_t bytes, uint64_t writable_offset, uint64_t slots);

/* Gives the memory back, sealed or not. */
SPARSEC_OWN void code_close(uint8_t *image, uint64_t bytes);

#endif
