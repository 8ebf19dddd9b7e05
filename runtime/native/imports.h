/* The functions that generated code may call. */
#ifndef SPARSEC_IMPORTS_H
#define SPARSEC_IMPORTS_H

/* The address of `symbol`, or NULL if generated code may not have it. */
void *import_address(const char *symbol);

#endif
