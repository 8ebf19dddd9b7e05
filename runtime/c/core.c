/* The runtime core as part of a library with one network: included by its source, so that nothing of it can be seen outside,
 * and two networks in one program do not meet.
 */
#define SPARSEC_API static
#define SPARSEC_OWN static
#define SPARSEC_LINKED 1

#include "cpu.c"
#include "half.c"
#include "model.c"
#include "pool.c"

#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>

/* What generated code calls that not every C library has. A definition of the program's own goes first. */
#define FALLBACK __attribute__((weak, visibility("hidden")))

FALLBACK float roundevenf(float x) { return rintf(x); }
FALLBACK double roundeven(double x) { return rint(x); }

FALLBACK double __powidf2(double base, int exponent)
{
    double result = 1.0, square = base;
    for (unsigned n = exponent < 0 ? 0u - (unsigned)exponent : (unsigned)exponent; n; n >>= 1, square *= square)
        if (n & 1) result *= square;
    return exponent < 0 ? 1.0 / result : result;
}

FALLBACK float __powisf2(float base, int exponent) { return (float)__powidf2(base, exponent); }
FALLBACK half_in_register __truncsfhf2(float value) { return sparsec_truncsfhf2(value); }
FALLBACK half_in_register __truncdfhf2(double value) { return sparsec_truncdfhf2(value); }
FALLBACK half_in_register __truncsfbf2(float value) { return sparsec_truncsfbf2(value); }
FALLBACK half_in_register __truncdfbf2(double value) { return sparsec_truncdfbf2(value); }
FALLBACK float __extendhfsf2(half_in_register value) { return sparsec_extendhfsf2(value); }
FALLBACK double __extendhfdf2(half_in_register value) { return sparsec_extendhfdf2(value); }
FALLBACK float __extendbfsf2(half_in_register value) { return sparsec_extendbfsf2(value); }

static int has_features(const char *const *wanted)
{
    const uint64_t present = sparsec_cpu_features();
    for (; *wanted; wanted++) {
        int found = 0;
        for (int64_t bit = 0; sparsec_cpu_feature_name(bit); bit++)
            found |= strcmp(sparsec_cpu_feature_name(bit), *wanted) == 0 && (present >> bit & 1);
        if (!found) return 0;
    }
    return 1;
}

/* CRC-32 of zip and PNG, four bits at a time. */
static uint32_t checksum(const uint8_t *data, uint64_t bytes)
{
    uint32_t table[16], sum = 0xffffffff;
    for (uint32_t i = 0; i < 16; i++) {
        table[i] = i;
        for (int bit = 0; bit < 4; bit++) table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xedb88320 : 0);
    }
    for (uint64_t i = 0; i < bytes; i++) {
        sum ^= data[i];
        sum = sum >> 4 ^ table[sum & 15];
        sum = sum >> 4 ^ table[sum & 15];
    }
    return ~sum;
}

/* The file mapped, if it has so many bytes with that checksum; else NULL. */
static const uint8_t *map_weights(const char *path, uint64_t bytes, uint32_t crc)
{
    struct stat facts;
    if (!bytes) return (const uint8_t *)"";
    const int file = open(path, O_RDONLY);
    if (file < 0) return NULL;
    void *mapped = MAP_FAILED;
    if (fstat(file, &facts) == 0 && (uint64_t)facts.st_size == bytes) mapped = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, file, 0);
    close(file);
    if (mapped == MAP_FAILED) return NULL;
    if (checksum(mapped, bytes) == crc) return mapped;
    munmap(mapped, bytes);
    return NULL;
}
