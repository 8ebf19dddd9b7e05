/* A network in a library: made ready, run, taken down. What a library is compiled from has the network's tables, and around
 * these functions those that its header declares. Names begin with sparsec, as no network's do.
 */
#include "core.c"

enum { /* as each header has them */
    SPARSEC_NETWORK_OK,
    SPARSEC_NETWORK_NO_MEMORY,
    SPARSEC_NETWORK_OTHER_PROCESSOR,
    SPARSEC_NETWORK_BAD_WEIGHTS,
    SPARSEC_NETWORK_FAILED_CHECK
};

typedef struct {
    sparsec_model *model;
    sparsec_pool *pool;
    const uint8_t *mapped; /* the file of weights, or NULL if they are in the library */
    uint64_t mapped_bytes;
} sparsec_network;

typedef struct {
    const char *path;
    uint64_t bytes;
    uint32_t crc;
} sparsec_weights_file;

static void sparsec_network_close(sparsec_network *network)
{
    if (!network) return;
    if (network->pool) sparsec_pool_destroy(network->pool);
    sparsec_model_destroy(network->model);
    if (network->mapped_bytes) munmap((void *)(uintptr_t)network->mapped, network->mapped_bytes);
    free(network);
}

/* `file` is NULL if `program` has its weights. */
static int sparsec_network_open(sparsec_network **result, sparsec_program program, const char *const *features,
                                const sparsec_weights_file *file, int threads)
{
    *result = NULL;
    if (!has_features(features)) return SPARSEC_NETWORK_OTHER_PROCESSOR;
    sparsec_network *network = calloc(1, sizeof *network);
    if (!network) return SPARSEC_NETWORK_NO_MEMORY;
    if (file) {
        program.weights = network->mapped = map_weights(file->path, file->bytes, file->crc);
        network->mapped_bytes = network->mapped ? file->bytes : 0;
    }
    uint64_t culprit;
    int status = program.weights ? SPARSEC_NETWORK_OK : SPARSEC_NETWORK_BAD_WEIGHTS;
    if (status == SPARSEC_NETWORK_OK) {
        network->pool = sparsec_pool_create(threads < 1 ? 1 : threads);
        if (!network->pool || sparsec_model_create(&program, &network->model, &culprit) != SPARSEC_OK)
            status = SPARSEC_NETWORK_NO_MEMORY;
    }
    if (status == SPARSEC_NETWORK_OK) *result = network;
    else sparsec_network_close(network);
    return status;
}

static int sparsec_network_run(sparsec_network *network, void *const *inputs, void *const *outputs)
{
    int64_t failed = -1;
    const int status = sparsec_model_run(network->model, network->pool, inputs, outputs, NULL, &failed);
    if (status == SPARSEC_FAILED_CHECK) return SPARSEC_NETWORK_FAILED_CHECK + (int)failed;
    return status == SPARSEC_OK ? SPARSEC_NETWORK_OK : SPARSEC_NETWORK_NO_MEMORY;
}

/* `checks` are messages of the network's own checks, in their order, then NULL. */
static const char *sparsec_network_message(const char *const *checks, int status)
{
    switch (status) {
    case SPARSEC_NETWORK_OK: return "all is well";
    case SPARSEC_NETWORK_NO_MEMORY: return "There is not enough memory.";
    case SPARSEC_NETWORK_OTHER_PROCESSOR: return "The processor lacks instructions that the network was compiled for.";
    case SPARSEC_NETWORK_BAD_WEIGHTS: return "The file of weights cannot be read, or belongs to another network.";
    }
    for (int check = SPARSEC_NETWORK_FAILED_CHECK; status >= check && *checks; checks++, check++)
        if (check == status) return *checks;
    return "There is no such status.";
}
