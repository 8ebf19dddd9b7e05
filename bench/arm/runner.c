/* Runs compiled networks that a file describes, and writes their outputs to another: runner CASES OUTPUTS [REPEATS [THREADS]].
 *
 * It is the runtime core without Python, for machines, real or emulated, that have nothing else. `cases.py` has the format.
 * With REPEATS, each network runs that often, and the nanoseconds of each run go to standard output, a line for each network.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sparsec.h"

#define ALIGNMENT 64
#define NAME_BYTES 56
#define FEATURES_BYTES 256
enum { LACKS_FEATURE = 100 };

typedef struct {
    uint64_t image_bytes, writable_offset, imports, steps, buffers, weight_bytes, arena_bytes, status, inputs, outputs, pieces;
    char features[FEATURES_BYTES]; /* separated by blanks */
} header;

static uint8_t *cases, *place;

/* The next piece of the file; each begins at a multiple of the alignment. */
static void *next(size_t bytes)
{
    void *piece = place;
    place += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return piece;
}

static void *memory(size_t bytes)
{
    void *found = NULL;
    if (posix_memalign(&found, ALIGNMENT, bytes ? bytes : 1)) exit(3);
    return found;
}

static void read_cases(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) exit(2);
    const long size = ftell(file);
    rewind(file);
    cases = place = memory((size_t)size);
    if (fread(cases, 1, (size_t)size, file) != (size_t)size) exit(2);
    fclose(file);
}

static int has(const char *feature)
{
    const uint64_t present = sparsec_cpu_features();
    for (int64_t bit = 0; sparsec_cpu_feature_name(bit); bit++)
        if (strcmp(sparsec_cpu_feature_name(bit), feature) == 0) return present >> bit & 1;
    return 0;
}

static int has_all(char *features)
{
    for (char *each = strtok(features, " "); each; each = strtok(NULL, " "))
        if (!has(each)) return 0;
    return 1;
}

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static int64_t run(const sparsec_program *program, sparsec_pool *pool, void **inputs, void **outputs, long repeats)
{
    sparsec_model *model = NULL;
    uint64_t culprit = 0;
    int64_t failed = -1;
    int status = sparsec_model_create(program, &model, &culprit);
    for (long i = 0; status == SPARSEC_OK && i < repeats; i++) {
        const int64_t start = now();
        status = sparsec_model_run(model, pool, inputs, outputs, NULL, &failed);
        printf("%lld ", (long long)(now() - start));
    }
    printf("\n");
    sparsec_model_destroy(model);
    return status;
}

int main(int count, char **arguments)
{
    if (count < 3) return 2;
    const long repeats = count > 3 ? atol(arguments[3]) : 1;
    sparsec_pool *pool = sparsec_pool_create(count > 4 ? atol(arguments[4]) : 1);
    FILE *results = fopen(arguments[2], "wb");
    if (!results || !pool) return 2;
    read_cases(arguments[1]);
    const uint64_t networks = *(uint64_t *)next(sizeof(uint64_t));
    for (uint64_t number = 0; number < networks; number++) {
        header *head = next(sizeof *head);
        sparsec_program program = {0};
        program.image = next(program.image_bytes = head->image_bytes);
        program.writable_offset = head->writable_offset;
        struct { char symbol[NAME_BYTES]; uint64_t slot; } *named = next(head->imports * (NAME_BYTES + 8));
        sparsec_import *imports = memory(head->imports * sizeof *imports);
        for (uint64_t i = 0; i < head->imports; i++) imports[i] = (sparsec_import){named[i].symbol, named[i].slot};
        program.imports = imports;
        program.import_count = head->imports;
        program.steps = next((program.step_count = head->steps) * sizeof *program.steps);
        program.buffers = next((program.buffer_count = head->buffers) * sizeof *program.buffers);
        program.weights = next(head->weight_bytes);
        program.pieces = next((program.piece_count = head->pieces) * sizeof *program.pieces);
        program.arena_bytes = head->arena_bytes;
        program.status = head->status;
        const uint64_t *sizes = next((head->inputs + head->outputs) * sizeof *sizes);
        void **tensors = memory((head->inputs + head->outputs) * sizeof *tensors);
        for (uint64_t i = 0; i < head->inputs; i++) tensors[i] = next(sizes[i]);
        for (uint64_t i = head->inputs; i < head->inputs + head->outputs; i++) {
            tensors[i] = memory(sizes[i]);
            memset(tensors[i], 0xff, sizes[i]);
        }
        const int64_t status = has_all(head->features) ? run(&program, pool, tensors, tensors + head->inputs, repeats) : LACKS_FEATURE;
        fwrite(&status, sizeof status, 1, results);
        for (uint64_t i = head->inputs; i < head->inputs + head->outputs; i++) {
            fwrite(tensors[i], 1, sizes[i], results);
            free(tensors[i]);
        }
        free(imports);
        free(tensors);
    }
    sparsec_pool_destroy(pool);
    free(cases);
    return fclose(results) ? 2 : 0;
}
