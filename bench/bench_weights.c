/// Loading weights beside its baselines, cold and warm, and opening headers.
///
/// Every case of a round does the same work (the whole file, usable in memory at the end), one after
/// the other; the first round warms the machine up and is not counted.
#include "bench.h"

#include <stdlib.h>
#include <string.h>

typedef struct bench_state {
    dray_context *context;
    const bench_weights_options *options;
    const char *manifest;
    uint64_t model_bytes;
    FILE *out;
} bench_state;

typedef struct bench_case {
    const char *name;
    bool (*run)(bench_state *state, bench_run *run);
    bench_samples samples;
    bool refused;
    char why[96];
} bench_case;

// --- the cases -----------------------------------------------------------------------------------

static bool case_read(bench_state *state, bench_run *run)
{
    return bench_read_fresh(state->options->model, false, run);
}

static bool case_read_huge(bench_state *state, bench_run *run)
{
    return bench_read_fresh(state->options->model, true, run);
}

static bool case_map(bench_state *state, bench_run *run)
{
    return bench_map_touch(state->options->model, run);
}

static bool case_ring(bench_state *state, bench_run *run)
{
    return bench_ring_direct(state->options->model, run);
}

/// Forgets the highest resident size so far, so that the next one is this load's.
static void peak_reset(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "we");
    if (!file)
        return;
    fputs("5", file);
    fclose(file);
}

static uint64_t peak_resident(void)
{
    FILE *file = fopen("/proc/self/status", "re");
    char line[128];
    unsigned long kib = 0;
    while (file && fgets(line, sizeof(line), file)) {
        if (sscanf(line, "VmHWM: %lu", &kib) == 1)
            break;
    }
    if (file)
        fclose(file);
    return (uint64_t)kib * 1024;
}

static bool load(bench_state *state, dray_storage storage, const char *manifest, bench_run *run)
{
    dray_error error = {0};
    dray_weights *weights = NULL;
    dray_loaded *loaded = NULL;
    peak_reset();
    uint64_t before = bench_resident();
    double begin = bench_now(), cpu = bench_cpu();
    dray_status status =
        dray_weights_open(state->context, state->options->model, NULL, &weights, &error);
    if (status == DRAY_OK) {
        dray_load_options options = {
            .struct_bytes = sizeof(options), .storage = storage, .manifest = manifest};
        status = dray_weights_load(weights, &options, &loaded, &error);
    }
    run->seconds = bench_now() - begin;
    run->cpu_seconds = bench_cpu() - cpu;
    if (status == DRAY_OK) {
        dray_load_report report;
        dray_loaded_get_report(loaded, &report);
        uint64_t peak = peak_resident(), expected = before + report.destination_bytes;
        run->bytes = report.bytes;
        run->peak_extra_bytes = peak > expected ? peak - expected : 0;
        snprintf(run->note, sizeof(run->note), "%s", report.method);
    } else {
        snprintf(run->note, sizeof(run->note), "%.95s", error.message);
    }
    dray_loaded_free(loaded);
    dray_weights_close(weights);
    return status == DRAY_OK;
}

static bool case_pinned(bench_state *state, bench_run *run)
{
    return load(state, DRAY_STORAGE_PINNED, NULL, run);
}

static bool case_pinned_verified(bench_state *state, bench_run *run)
{
    return load(state, DRAY_STORAGE_PINNED, state->manifest, run);
}

static bool case_system(bench_state *state, bench_run *run)
{
    return load(state, DRAY_STORAGE_SYSTEM, NULL, run);
}

// --- rounds and lines ----------------------------------------------------------------------------

static double rate(const bench_run *run)
{
    return (double)run->bytes / run->seconds / 1e9;
}

/// How much faster than `base`, round by round; nothing where base could not run.
static void print_ratio(FILE *out, const char *name, const bench_case *each, const bench_case *base)
{
    double ratios[bench_rounds_max];
    if (base->refused)
        return;
    for (uint32_t i = 0; i < each->samples.count; i++)
        ratios[i] = rate(&each->samples.runs[i]) / rate(&base->samples.runs[i]);
    bench_print_spread(out, name, bench_spread_of(ratios, each->samples.count));
}

enum { limit_at = 0, pinned_at = 1, verified_at = 2, read_at = 3 }; // in the list of cases

static void print_case(FILE *out, const char *cache, const bench_case *all, size_t at)
{
    const bench_case *each = &all[at];
    uint32_t count = each->samples.count;
    double rates[bench_rounds_max], cpu[bench_rounds_max], apart[bench_rounds_max],
        extra[bench_rounds_max];
    fprintf(out, "{\"bench\":\"weights\",\"case\":\"%s\",\"cache\":\"%s\"", each->name, cache);
    if (each->refused) {
        fprintf(out, ",\"refused\":\"%s\"}\n", each->why);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        const bench_run *run = &each->samples.runs[i];
        double gigabytes = (double)run->bytes / 1e9;
        rates[i] = rate(run);
        cpu[i] = run->cpu_seconds / gigabytes;
        apart[i] = run->apart_cpu_seconds / gigabytes;
        extra[i] = (double)run->peak_extra_bytes / (1 << 20);
    }
    fprintf(out, ",\"rounds\":%u,\"bytes\":%llu,\"how\":\"%s\"", count,
            (unsigned long long)each->samples.runs[0].bytes, each->samples.runs[0].note);
    bench_print_spread(out, "gigabytes_per_second", bench_spread_of(rates, count));
    bench_print_spread(out, "cpu_seconds_per_gigabyte", bench_spread_of(cpu, count));
    if (at == limit_at)
        bench_print_spread(out, "prefault_cpu_seconds_per_gigabyte_apart",
                           bench_spread_of(apart, count));
    print_ratio(out, "ratio_to_limit", each, &all[limit_at]);
    print_ratio(out, "ratio_to_read", each, &all[read_at]);
    if (at == verified_at)
        print_ratio(out, "ratio_to_unverified", each, &all[pinned_at]);
    if (strncmp(each->name, "dray", 4) == 0)
        bench_print_spread(out, "peak_mib_above_destination", bench_spread_of(extra, count));
    fprintf(out, "}\n");
}

static bool cache_prepare(const char *model, bool cold)
{
    return cold ? bench_evict(model) : bench_fill(model);
}

static void case_round(bench_state *state, bench_case *each, bool cold, bool counted)
{
    bench_run run = {0};
    if (each->refused)
        return;
    if (!cache_prepare(state->options->model, cold)) {
        each->refused = true;
        snprintf(each->why, sizeof(each->why), "the page cache could not be %s here",
                 cold ? "emptied" : "filled");
        return;
    }
    bench_settle_memory(state->model_bytes + (64u << 20));
    if (!each->run(state, &run)) {
        each->refused = true;
        for (size_t i = 0; run.note[i]; i++) // it stands inside a JSON string
            each->why[i] =
                (char)(run.note[i] == '"' || run.note[i] == '\\' || (unsigned char)run.note[i] < 32
                           ? '\''
                           : run.note[i]);
        return;
    }
    if (counted)
        each->samples.runs[each->samples.count++] = run;
}

static void load_cases(bench_state *state, bool cold)
{
    static const struct {
        const char *name;
        bool (*run)(bench_state *, bench_run *);
    } list[] = {
        {"limit: io_uring O_DIRECT, pre-faulted", case_ring},
        {"dray pinned", case_pinned},
        {"dray pinned verified", case_pinned_verified},
        {"read, fresh memory", case_read},
        {"dray system", case_system},
        {"read, fresh huge pages", case_read_huge},
        {"map and touch", case_map},
    };
    enum { cases = sizeof(list) / sizeof(list[0]) };
    bench_case *all = calloc(cases, sizeof(*all));
    if (!all)
        return;
    for (size_t i = 0; i < cases; i++)
        all[i] = (bench_case){.name = list[i].name, .run = list[i].run};
    for (uint32_t round = 0; round <= state->options->rounds; round++) {
        for (size_t i = 0; i < cases; i++) // round 0 is the warm-up
            case_round(state, &all[i], cold, round > 0);
    }
    for (size_t i = 0; i < cases; i++)
        print_case(state->out, cold ? "cold" : "warm", all, i);
    free(all);
}

// --- headers -------------------------------------------------------------------------------------

static void header_case(bench_state *state, const char *name, const char *path, bool bounds_only)
{
    enum { opens = 41 };
    double times[opens];
    dray_error error = {0};
    uint64_t tensors = 0, bytes = 0;
    for (uint32_t i = 0; i < opens; i++) {
        dray_weights *weights = NULL;
        dray_weights_options options = {.struct_bytes = sizeof(options), .bounds_only = bounds_only};
        double begin = bench_now();
        dray_status status = dray_weights_open(state->context, path, &options, &weights, &error);
        times[i] = (bench_now() - begin) * 1e3;
        if (status != DRAY_OK) {
            fprintf(state->out, "{\"bench\":\"weights\",\"case\":\"%s\",\"refused\":\"%s\"}\n",
                    name, dray_status_name(status));
            return;
        }
        dray_weights_info info;
        dray_weights_get_info(weights, &info);
        tensors = info.tensor_count;
        bytes = dray_weights_file_at(weights, 0)->data_offset;
        dray_weights_close(weights);
    }
    fprintf(state->out,
            "{\"bench\":\"weights\",\"case\":\"%s\",\"header_bytes\":%llu,\"tensors\":%llu", name,
            (unsigned long long)bytes, (unsigned long long)tensors);
    bench_print_spread(state->out, "milliseconds", bench_spread_of(times, opens));
    fprintf(state->out, "}\n");
}

static void header_cases(bench_state *state)
{
    char small[4096], large[4096], tensors[4096];
    snprintf(small, sizeof(small), "%s/header-750k.gguf", state->options->scratch);
    snprintf(large, sizeof(large), "%s/header-4m.gguf", state->options->scratch);
    snprintf(tensors, sizeof(tensors), "%s/header-2000.safetensors", state->options->scratch);
    if (bench_write_gguf(small, 129, 32000, 6) && bench_write_gguf(large, 400, 152000, 8) &&
        bench_write_safetensors(tensors, 2000)) {
        header_case(state, "open gguf 750 KB, bounds only", small, true);
        header_case(state, "open gguf 750 KB, every string validated", small, false);
        header_case(state, "open gguf 4 MB, bounds only", large, true);
        header_case(state, "open gguf 4 MB, every string validated", large, false);
        header_case(state, "open safetensors, 2000 tensors", tensors, false);
    }
    remove(small);
    remove(large);
    remove(tensors);
}

/// Opens the model once, for its size and for a manifest of its own.
static dray_status model_prepare(bench_state *state, const char *path, dray_error *error)
{
    dray_weights *weights = NULL;
    dray_status status =
        dray_weights_open(state->context, state->options->model, NULL, &weights, error);
    if (status == DRAY_OK) {
        dray_weights_info info;
        dray_weights_get_info(weights, &info);
        state->model_bytes = info.tensor_bytes;
        dray_manifest_options options = {.struct_bytes = sizeof(options), .path = path};
        status = dray_manifest_write(weights, &options, error);
    }
    dray_weights_close(weights);
    return status;
}

dray_status bench_weights(dray_context *context, const bench_weights_options *options, FILE *out,
                          dray_error *error)
{
    char manifest[4096];
    bench_state state = {.context = context, .options = options, .manifest = manifest, .out = out};
    if (options->headers)
        header_cases(&state);
    if (!options->model)
        return DRAY_OK;
    snprintf(manifest, sizeof(manifest), "%s/bench.dray", options->scratch);
    dray_status status = model_prepare(&state, manifest, error);
    if (status != DRAY_OK)
        return status;
    if (options->cold)
        load_cases(&state, true);
    if (options->warm)
        load_cases(&state, false);
    remove(manifest);
    return DRAY_OK;
}
