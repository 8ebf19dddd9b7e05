/* The compiler-runtime conversions of half and bfloat16, which not every system's libgcc or compiler-rt has. */
#ifndef SPARSEC_HALF_H
#define SPARSEC_HALF_H

#include "sparsec.h"

/* half and bfloat16 travel in the low 16 bits of a floating-point register. Declaring them as float keeps that calling convention
 * (x86-64 System V, AArch64) without needing a compiler that knows the types. */
typedef float half_in_register;

SPARSEC_OWN half_in_register sparsec_truncsfhf2(float value);
SPARSEC_OWN half_in_register sparsec_truncdfhf2(double value);
SPARSEC_OWN half_in_register sparsec_truncsfbf2(float value);
SPARSEC_OWN half_in_register sparsec_truncdfbf2(double value);
SPARSEC_OWN float sparsec_extendhfsf2(half_in_register value);
SPARSEC_OWN double sparsec_extendhfdf2(half_in_register value);
SPARSEC_OWN float sparsec_extendbfsf2(half_in_register value);

/* Widen `count` halves at `from` to floats at `to`; neither need be aligned. */
SPARSEC_OWN void sparsec_widen_halves(uint8_t *to, const uint8_t *from, uint64_t count);

#endif
