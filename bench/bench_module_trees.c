/// Import trees of more and more modules: does each module cost the same? The modules are empty ones of a
/// loader made for this, so that the tree is what is measured; and shared objects, of which the dynamic
/// linker compares every new one with all that are there.
#include "bench_module.h"
#include "dray/spi/loader.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { modules_max = 1000, sizes_count = 4 };
static const uint64_t sizes[sizes_count] = {125, 250, 500, 1000};

typedef struct tree_state {
    dray_context *context;
    const bench_module_options *options;
    FILE *out;
    dray_bundle_module modules[modules_max];
    uint64_t next[modules_max];
    double micros[sizes_count][bench_rounds_max];
} tree_state;

// --- a kind of nothing -------------------------------------------------------------------------------

static void nothing_destroy(dray_part *part)
{
    (void)part;
}

static dray_status nothing_function(dray_part *part, const char *name, dray_part_function *out,
                                    dray_error *error)
{
    (void)part, (void)name, (void)out, (void)error;
    return DRAY_E_NOTFOUND;
}

static const dray_part_ops nothing_part = {
    .abi = DRAY_LOADER_ABI, .destroy = nothing_destroy, .function = nothing_function};

static dray_status nothing_load(const dray_load_request *request, dray_loaded_part *out,
                                dray_error *error)
{
    (void)request, (void)error;
    *out = (dray_loaded_part){.ops = &nothing_part};
    return DRAY_OK;
}

static const dray_loader_ops nothing_loader = {.abi = DRAY_LOADER_ABI,
                                               .flags = DRAY_LOADER_SERIALIZED,
                                               .kind = "bench-nothing",
                                               .load = nothing_load};

// --- measuring ---------------------------------------------------------------------------------------

/// A chain: each module imports the next.
static void make_chain(tree_state *state, uint64_t count, const char *kind, const void *payload,
                       uint64_t bytes)
{
    for (uint64_t i = 0; i < count; i++) {
        state->next[i] = i + 1;
        state->modules[i] = (dray_bundle_module){.kind = kind,
                                                 .payload = payload,
                                                 .payload_bytes = bytes,
                                                 .imports = &state->next[i],
                                                 .import_count = i + 1 < count};
    }
}

static dray_status load_once(tree_state *state, const dray_any *bundle, double *out_seconds,
                             dray_error *error)
{
    const dray_module_options options = {.struct_bytes = sizeof(options),
                                         .policy = &bench_module_policy};
    dray_byte_array bytes = {0};
    dray_module *root = NULL;
    dray_any_get_bytes(bundle, &bytes);
    double began = bench_now();
    dray_status status = dray_module_load_bytes(state->context, "bundle", bytes.data, bytes.size,
                                                &options, &root, error);
    dray_module_release(root);
    *out_seconds = bench_now() - began;
    return status;
}

static dray_status measure(tree_state *state, uint32_t which, const char *kind, const void *payload,
                           uint64_t payload_bytes, dray_error *error)
{
    dray_any bundle;
    make_chain(state, sizes[which], kind, payload, payload_bytes);
    dray_status status =
        dray_bundle_write(state->context, state->modules, sizes[which], &bundle, error);
    if (status != DRAY_OK)
        return status;
    for (uint32_t round = 0; status == DRAY_OK && round <= state->options->rounds; round++) {
        double seconds = 0;
        status = load_once(state, &bundle, &seconds, error);
        if (round > 0)
            state->micros[which][round - 1] = seconds * 1e6 / (double)sizes[which];
    }
    dray_any_release(&bundle);
    return status;
}

static dray_status measure_kind(tree_state *state, const char *kind, const void *payload,
                                uint64_t bytes, dray_error *error)
{
    dray_status status = DRAY_OK;
    for (uint32_t i = 0; i < sizes_count && status == DRAY_OK; i++)
        status = measure(state, i, kind, payload, bytes, error);
    for (uint32_t i = 0; i < sizes_count && status == DRAY_OK; i++) {
        fprintf(state->out,
                "{\"bench\":\"module\",\"what\":\"tree\",\"kind\":\"%s\",\"modules\":%llu", kind,
                (unsigned long long)sizes[i]);
        bench_print_spread(state->out, "microseconds_per_module",
                           bench_spread_of(state->micros[i], state->options->rounds));
        fprintf(state->out, ",\"rounds\":%u}\n", state->options->rounds);
    }
    fflush(state->out);
    return status;
}

static dray_status measure_libraries(tree_state *state, dray_error *error)
{
    char path[4096], why[256], *bytes = NULL;
    snprintf(path, sizeof(path), "%s/dray-bench-%ld.so", state->options->scratch, (long)getpid());
    bool made = bench_module_make(path, 4096, why);
    FILE *file = made ? fopen(path, "rb") : NULL;
    long count = file && fseek(file, 0, SEEK_END) == 0 ? ftell(file) : 0;
    bytes = count > 0 ? malloc((size_t)count) : NULL;
    if (bytes) {
        rewind(file);
        made = fread(bytes, 1, (size_t)count, file) == (size_t)count;
    }
    if (file)
        fclose(file);
    unlink(path);
    dray_status status = made && bytes ? measure_kind(state, "elf", bytes, (uint64_t)count, error)
                                       : dray_fail(error, DRAY_E_UNSUPPORTED, "%s",
                                                   made ? "its library is gone" : why);
    free(bytes);
    return status;
}

dray_status bench_module_trees(dray_context *context, const bench_module_options *options,
                               FILE *out, dray_error *error)
{
    tree_state *state = calloc(1, sizeof(*state));
    if (!state)
        return dray_fail(error, DRAY_E_NOMEM, "out of memory: the benchmark's state");
    bench_module_options fewer = *options;
    state->context = context;
    state->options = options;
    state->out = out;
    dray_status status = dray_loader_register(context, &nothing_loader, NULL, 0, error);
    if (status == DRAY_OK)
        status = measure_kind(state, nothing_loader.kind, "", 0, error);
    if (status == DRAY_OK)
        status = dray_loader_unregister(context, &nothing_loader, -1, error);
    fewer.rounds = fewer.rounds < 3 ? fewer.rounds : 3; // two thousand libraries each
    state->options = &fewer;
    if (status == DRAY_OK)
        status = measure_libraries(state, error);
    free(state);
    return status;
}
