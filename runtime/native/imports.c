/* The fixed table of what generated code may call: memory blocks, libm, half conversions. Nothing that allocates, aborts, or
 * does input and output. */
#include "imports.h"

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "half.h"
#include "sparsec.h"

/* Not in every libm, and exact when built from what is: the rounding mode is never changed from to-nearest-even. */
static float round_even_f(float x) { return rintf(x); }
static double round_even(double x) { return rint(x); }
static float exp10_f(float x) { return (float)pow(10.0, x); }
static double exp10_d(double x) { return pow(10.0, x); }
static void sincos_f(float x, float *s, float *c) { *s = sinf(x); *c = cosf(x); }
static void sincos_d(double x, double *s, double *c) { *s = sin(x); *c = cos(x); }

static float powi_f(float base, int exponent)
{
    double result = 1.0, square = base;
    for (unsigned n = exponent < 0 ? 0u - (unsigned)exponent : (unsigned)exponent; n; n >>= 1, square *= square)
        if (n & 1) result *= square;
    return (float)(exponent < 0 ? 1.0 / result : result);
}

static double powi_d(double base, int exponent)
{
    double result = 1.0, square = base;
    for (unsigned n = exponent < 0 ? 0u - (unsigned)exponent : (unsigned)exponent; n; n >>= 1, square *= square)
        if (n & 1) result *= square;
    return exponent < 0 ? 1.0 / result : result;
}

typedef void (*any_function)(void);

typedef struct {
    const char *symbol;
    any_function function;
} import;

#define OWN(symbol, function) {symbol, (any_function)(function)}
#define SAME(function) {#function, (any_function)(function)}
#define MATH(function) SAME(function), SAME(function##f)

static const import TABLE[] = {
    SAME(memcpy), SAME(memmove), SAME(memset), SAME(memcmp),
    MATH(acos), MATH(acosh), MATH(asin), MATH(asinh), MATH(atan), MATH(atan2), MATH(atanh), MATH(cbrt), MATH(ceil),
    MATH(copysign), MATH(cos), MATH(cosh), MATH(erf), MATH(erfc), MATH(exp), MATH(exp2), MATH(expm1), MATH(fabs), MATH(fdim),
    MATH(floor), MATH(fma), MATH(fmax), MATH(fmin), MATH(fmod), MATH(frexp), MATH(hypot), MATH(ldexp), MATH(lgamma),
    MATH(llrint), MATH(llround), MATH(log), MATH(log10), MATH(log1p), MATH(log2), MATH(logb), MATH(lrint), MATH(lround),
    MATH(modf), MATH(nearbyint), MATH(nextafter), MATH(pow), MATH(remainder), MATH(rint), MATH(round), MATH(scalbn),
    MATH(sin), MATH(sinh), MATH(sqrt), MATH(tan), MATH(tanh), MATH(tgamma), MATH(trunc),
    OWN("roundevenf", round_even_f), OWN("roundeven", round_even), OWN("exp10f", exp10_f), OWN("exp10", exp10_d),
    OWN("sincosf", sincos_f), OWN("sincos", sincos_d), OWN("__powisf2", powi_f), OWN("__powidf2", powi_d),
    OWN("__truncsfhf2", sparsec_truncsfhf2), OWN("__gnu_f2h_ieee", sparsec_truncsfhf2),
    OWN("__truncdfhf2", sparsec_truncdfhf2), OWN("__truncsfbf2", sparsec_truncsfbf2),
    OWN("__truncdfbf2", sparsec_truncdfbf2), OWN("__extendhfsf2", sparsec_extendhfsf2),
    OWN("__gnu_h2f_ieee", sparsec_extendhfsf2), OWN("__extendhfdf2", sparsec_extendhfdf2),
    OWN("__extendbfsf2", sparsec_extendbfsf2),
};

void *import_address(const char *symbol)
{
    for (size_t i = 0; i < sizeof TABLE / sizeof TABLE[0]; i++)
        if (strcmp(TABLE[i].symbol, symbol) == 0) return (void *)(uintptr_t)TABLE[i].function;
    return NULL;
}

int sparsec_has_import(const char *symbol)
{
    return import_address(symbol) != NULL;
}
