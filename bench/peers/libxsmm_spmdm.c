/* LIBXSMM's product of a sparse and a dense matrix (spmdm), float32, one thread, as three functions for ctypes. */
#include <libxsmm.h>
#include <stdlib.h>

typedef struct {
  libxsmm_spmdm_handle handle;
  libxsmm_CSR_sparseslice *slices;
} product;

const char *product_version(void) { return LIBXSMM_VERSION; }

/* `weight` is [m, k]; NULL if there is no memory. */
product *product_create(int m, int n, int k, const float *weight) {
  product *self = malloc(sizeof *self);
  if (self == NULL) return NULL;
  libxsmm_init();
  libxsmm_spmdm_init(m, n, k, 1, &self->handle, &self->slices);
  const int blocks = libxsmm_spmdm_get_num_createSparseSlice_blocks(&self->handle);
  for (int block = 0; block < blocks; ++block)
    libxsmm_spmdm_createSparseSlice_fp32_thread(&self->handle, 'N', weight, self->slices, block, 0, 1);
  return self;
}

/* y [m, n] = weight times x [k, n]. */
void product_run(product *self, const float *x, float *y) {
  const float one = 1, zero = 0;
  const int blocks = libxsmm_spmdm_get_num_compute_blocks(&self->handle);
  for (int block = 0; block < blocks; ++block)
    libxsmm_spmdm_compute_fp32_thread(&self->handle, 'N', 'N', &one, self->slices, x, 'N', &zero, y, block, 0, 1);
}

void product_destroy(product *self) {
  libxsmm_spmdm_destroy(&self->handle);
  free(self);
}
