/// dray load: tensors into memory, into a file, or nowhere, and a report of where every byte went.
#include "command.h"
#include "json_out.h"
#include "location.h"
#include "progress.h"
#include "table.h"
#include "terminal.h"
#include "text.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

typedef struct load_values {
    const char *file;
    location to;
    const char *tensors;
    struct {
        bool given;
        int64_t first, last;
    } layers;
    dray_digest digest; // 0: none
    const char *manifest;
    dray_load_method method;
    uint64_t memory_limit;
    option_number threads;
    bool release, explain, lenient, json;
} load_values;

// --- options -------------------------------------------------------------------------------------

static bool parse_to(const char *text, void *field, option_problem *problem)
{
    location *to = field;
    return (location_parse(text, to) && to->storage != DRAY_STORAGE_REMOTE) ||
           option_wrong(problem, "wanted system, pinned, disk:PATH, null, a device like opencl:0 or "
                                 "cuda:0 (dray devices lists them), or managed:DEVICE");
}

static bool parse_layers(const char *text, void *field, option_problem *problem)
{
    load_values values = {.layers.given = true};
    char *end;
    errno = 0;
    values.layers.first = values.layers.last = strtoll(text, &end, 10);
    if (*end == '-' && isdigit((unsigned char)end[1]))
        values.layers.last = strtoll(end + 1, &end, 10);
    if (!isdigit((unsigned char)*text) || *end || errno)
        return option_wrong(problem, "wanted a layer like 3 or layers like 0-15");
    if (values.layers.last < values.layers.first)
        return option_wrong(problem, "the last layer comes before the first");
    memcpy(field, &values.layers, sizeof(values.layers));
    return true;
}

static bool parse_digest(const char *text, void *field, option_problem *problem)
{
    if (strcmp(text, "sha256") == 0)
        *(dray_digest *)field = DRAY_DIGEST_SHA256;
    else if (strcmp(text, "xxh3") == 0)
        *(dray_digest *)field = DRAY_DIGEST_XXH3_128;
    else
        return option_wrong(problem, "wanted sha256 or xxh3");
    return true;
}

static bool parse_method(const char *text, void *field, option_problem *problem)
{
    static const char *const names[] = {[DRAY_LOAD_AUTO] = "auto",
                                        [DRAY_LOAD_DIRECT] = "direct",
                                        [DRAY_LOAD_BUFFERED] = "buffered",
                                        [DRAY_LOAD_MAPPED] = "mapped"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(text, names[i]) == 0) {
            *(dray_load_method *)field = (dray_load_method)i;
            return true;
        }
    }
    return option_wrong(problem, "wanted auto, direct, buffered or mapped");
}

/// Options that contradict each other, each with the reason.
static bool load_check(const void *values, option_problem *problem)
{
    const load_values *given = values;
    char where[LOCATION_TEXT_BYTES];
    if (given->method == DRAY_LOAD_MAPPED && given->to.storage != DRAY_STORAGE_SYSTEM)
        return option_wrong(
            problem,
            "--method mapped copies nothing, so it goes with --to system and not with --to %s",
            location_text(&given->to, where));
    if (given->method == DRAY_LOAD_MAPPED && given->release)
        return option_wrong(
            problem, "--release gives the file's pages back, and --method mapped is made of them");
    if (given->manifest && given->to.storage == DRAY_STORAGE_NULL)
        return option_wrong(
            problem, "--manifest checks the bytes at the destination, and --to null keeps none");
    if (given->digest && given->to.storage == DRAY_STORAGE_NULL)
        return option_wrong(
            problem,
            "--digest is taken over the bytes at the destination, and --to null keeps none");
    return true;
}

static const option load_options[] = {
    {"to", "PLACE",
     "where the bytes go: system, pinned, disk:PATH, null, opencl:0, cuda:0 or managed:cuda:0",
     .parse = parse_to, .at = offsetof(load_values, to), .required = true},
    {"tensors", "GLOB", "only tensors whose names match, like 'blk.[0-3].*'", .parse = option_text,
     .at = offsetof(load_values, tensors)},
    {"layers", "A-B", "only the tensors of these layers", .parse = parse_layers,
     .at = offsetof(load_values, layers)},
    {"digest", "KIND", "a digest per tensor over the bytes at the destination: sha256 or xxh3",
     .parse = parse_digest, .at = offsetof(load_values, digest)},
    {"manifest", "M", "verify against this manifest while loading", .parse = option_text,
     .at = offsetof(load_values, manifest)},
    {"method", "HOW", "auto, direct (past the page cache), buffered, or mapped (no copy at all)",
     .parse = parse_method, .at = offsetof(load_values, method)},
    {"mem-limit", "SIZE", "allocate no more than this, destination included", .parse = option_bytes,
     .at = offsetof(load_values, memory_limit)},
    {"threads", "N", "threads of the pool; 0: none (default: one per processor, 16 at most)",
     .parse = option_count, .at = offsetof(load_values, threads)},
    {"release", NULL, "give the file's page cache back to the system, and say how much that was",
     .at = offsetof(load_values, release)},
    {"explain", NULL, "say what was chosen, and why", .at = offsetof(load_values, explain)},
    {"lenient", NULL, "relax the rules that the format names; each is a warning",
     .at = offsetof(load_values, lenient)},
    {"json", NULL, "one JSON document on standard output", .at = offsetof(load_values, json)},
    {0},
};

// --- the load ------------------------------------------------------------------------------------

/// A load and all that is told about it.
typedef struct load_job {
    session base;
    const load_values *given;
    progress bar;
    dray_device *device; // NULL: the host
    dray_loaded *loaded;
    dray_load_report report;
    double seconds, cpu_seconds;
    char **reasons; // of --explain
    size_t reason_count;
    char (*digests)[65]; // per loaded tensor
} load_job;

static void on_explain(void *self, const char *line)
{
    load_job *job = self;
    job->reasons = text_memory(job->reasons, (job->reason_count + 1) * sizeof(*job->reasons));
    job->reasons[job->reason_count++] = text_safe(line, strlen(line));
}

static bool on_progress(void *self, uint64_t done, uint64_t total)
{
    load_job *job = self;
    return progress_update(&job->bar, done, total);
}

/// What --mem-limit leaves beside a model that was unpacked into memory, which is at most the limit.
static uint64_t limit_left(const load_job *job)
{
    uint64_t limit = job->given->memory_limit, held = session_held_bytes(&job->base);
    return limit > held ? limit - held : limit ? 1 : 0; // 0 would be no limit
}

static dray_status load_bytes(load_job *job)
{
    const load_values *given = job->given;
    dray_load_options options = {
        .struct_bytes = sizeof(options),
        .storage = given->to.storage,
        .method = given->method,
        .disk_path = given->to.path,
        .tensors = given->tensors,
        .use_layers = given->layers.given,
        .layer_first = given->layers.first,
        .layer_last = given->layers.last,
        .manifest = given->manifest,
        .memory_limit = limit_left(job),
        .release_source = given->release,
        .events = {.self = job,
                   .progress = on_progress,
                   .explain = given->explain ? on_explain : NULL},
        .device = job->device,
    };
    progress_begin(&job->bar, given->manifest ? "loading and verifying" : "loading");
    job->seconds = session_seconds(&job->base); // opening counts
    job->cpu_seconds = session_cpu_seconds(&job->base);
    dray_status status =
        dray_weights_load(job->base.weights, &options, &job->loaded, &job->base.error);
    progress_end(&job->bar);
    if (status != DRAY_OK)
        return status;
    dray_loaded_get_report(job->loaded, &job->report);
    job->seconds += job->report.seconds;
    job->cpu_seconds += job->report.cpu_seconds;
    return status;
}

static dray_status take_digests(load_job *job)
{
    uint64_t count = dray_loaded_count(job->loaded), done = 0;
    job->digests = text_memory(NULL, count * sizeof(*job->digests));
    progress_begin(&job->bar, "taking digests");
    dray_status status = DRAY_OK;
    for (uint64_t i = 0; i < count && status == DRAY_OK; i++) {
        dray_tensor_view view;
        status = dray_loaded_tensor_at(job->loaded, i, &view, &job->base.error);
        if (status == DRAY_OK)
            status = dray_loaded_digest(job->loaded, i, job->given->digest, job->digests[i],
                                        &job->base.error);
        if (status != DRAY_OK)
            break;
        done += view.tensor->bytes;
        if (!progress_update(&job->bar, done, job->report.bytes))
            status = dray_fail(&job->base.error, DRAY_E_CANCELLED,
                               "stopped after %" PRIu64 " of %" PRIu64 " digests", i + 1, count);
    }
    progress_end(&job->bar);
    return status;
}

/// The most memory the process ever held (VmHWM); DRAY_UNKNOWN: cannot be told.
static uint64_t peak_rss_bytes(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0 || usage.ru_maxrss <= 0)
        return DRAY_UNKNOWN;
    return (uint64_t)usage.ru_maxrss * 1024;
}

static double gigabytes_per_second(const load_job *job)
{
    return job->seconds > 0 ? (double)job->report.bytes / 1e9 / job->seconds : 0;
}

static const char *digest_prefix(dray_digest digest)
{
    return digest == DRAY_DIGEST_SHA256 ? "sha256" : "xxh3";
}

// --- JSON ----------------------------------------------------------------------------------------

static void loaded_tensors_out(json_out *json, load_job *job)
{
    dray_tensor_view view;
    json_array(json, "tensors");
    for (uint64_t i = 0; dray_loaded_tensor_at(job->loaded, i, &view, NULL) == DRAY_OK; i++) {
        json_object_flat(json, NULL);
        json_text(json, "name", view.tensor->name.bytes, view.tensor->name.length);
        json_u64(json, "bytes", view.tensor->bytes);
        if (job->digests) {
            char digest[80];
            snprintf(digest, sizeof(digest), "%s:%s", digest_prefix(job->given->digest),
                     job->digests[i]);
            json_string(json, "digest", digest);
        }
        json_end(json);
    }
    json_end(json);
}

static void load_document_out(load_job *job)
{
    const dray_load_report *report = &job->report;
    json_out json = json_begin(stdout);
    json_object(&json, NULL);
    json_u64(&json, "bytes", report->bytes);
    json_rounded(&json, "seconds", job->seconds);
    json_rounded(&json, "gigabytes_per_second", gigabytes_per_second(job));
    json_rounded(&json, "cpu_seconds", job->cpu_seconds);
    char where[LOCATION_TEXT_BYTES];
    json_string(&json, "to", location_text(&job->given->to, where));
    json_string(&json, "method", report->method);
    json_string(&json, "backend", report->backend);
    json_u64(&json, "read_bytes", report->read_bytes);
    json_u64(&json, "destination_bytes", report->destination_bytes);
    json_u64(&json, "staging_bytes", report->staging_bytes);
    json_u64(&json, "chunks_verified", report->chunks_verified);
    json_u64_or_null(&json, "peak_rss_bytes", peak_rss_bytes(), DRAY_UNKNOWN);
    json_u64_or_null(&json, "page_cache_bytes_before", report->cache_bytes_before, DRAY_UNKNOWN);
    json_u64_or_null(&json, "page_cache_bytes_after", report->cache_bytes_after, DRAY_UNKNOWN);
    if (job->given->explain) {
        json_array(&json, "explain");
        for (size_t i = 0; i < job->reason_count; i++)
            json_string(&json, NULL, job->reasons[i]);
        json_end(&json);
    }
    session_warnings_out(&json, job->base.weights);
    loaded_tensors_out(&json, job);
    json_end(&json);
    json_finish(&json);
}

// --- for people ----------------------------------------------------------------------------------

static void cell_known(table *rows, uint64_t bytes)
{
    char text[TEXT_NUMBER_BYTES];
    table_cell(rows, "%s", bytes == DRAY_UNKNOWN ? "unknown" : text_bytes(text, bytes));
}

static void print_places(const load_job *job)
{
    static const table_column columns[] = {{"where the bytes are", TABLE_LEFT, 0},
                                           {"before", TABLE_RIGHT, 0},
                                           {"after", TABLE_RIGHT, 0}};
    const dray_load_report *report = &job->report;
    bool mapped = job->given->method == DRAY_LOAD_MAPPED || strcmp(report->method, "mapped") == 0;
    table *rows = table_create(columns, 3);
    table_cell(rows, "page cache, of the model's files");
    cell_known(rows, report->cache_bytes_before);
    cell_known(rows, report->cache_bytes_after);
    if (job->given->to.storage != DRAY_STORAGE_NULL) {
        char where[LOCATION_TEXT_BYTES];
        table_cell(rows, "%s",
                   mapped ? "mapped from the page cache" : location_words(&job->given->to, where));
        cell_known(rows, 0);
        cell_known(rows, report->destination_bytes ? report->destination_bytes : report->bytes);
    }
    putchar('\n');
    table_print(rows, stdout, 2);
    table_destroy(rows);
}

static void print_digests(load_job *job)
{
    static const table_column columns[] = {{"tensor", TABLE_LEFT, TABLE_CUT_MIDDLE},
                                           {"digest", TABLE_LEFT, 0}};
    dray_tensor_view view;
    table *rows = table_create(columns, 2);
    for (uint64_t i = 0; dray_loaded_tensor_at(job->loaded, i, &view, NULL) == DRAY_OK; i++) {
        char *name = text_safe(view.tensor->name.bytes, view.tensor->name.length);
        table_cell(rows, "%s", name);
        table_cell(rows, "%s:%s", digest_prefix(job->given->digest), job->digests[i]);
        free(name);
    }
    table_print(rows, stdout, 2);
    putchar('\n');
    table_destroy(rows);
}

static void print_facts(const load_job *job)
{
    static const table_column columns[] = {{NULL, TABLE_LEFT, 0}, {NULL, TABLE_LEFT, TABLE_CUT_END}};
    const dray_load_report *report = &job->report;
    char cpu[TEXT_NUMBER_BYTES], bytes[TEXT_NUMBER_BYTES], count[TEXT_NUMBER_BYTES];
    table *rows = table_create(columns, 2);
    table_cell(rows, "rate");
    table_cell(rows, "%.2f GB/s, %s of CPU time", gigabytes_per_second(job),
               text_seconds(cpu, job->cpu_seconds));
    table_cell(rows, "method");
    bool known = report->backend && strcmp(report->backend, "none") != 0;
    table_cell(rows, "%s%s%s", report->method, known ? ", by " : "", known ? report->backend : "");
    table_cell(rows, "verified");
    bool read_back = job->device || job->given->to.storage == DRAY_STORAGE_DISK;
    if (report->chunks_verified)
        table_cell(rows, "%s chunks against the manifest%s",
                   text_count(count, report->chunks_verified),
                   read_back ? ", as read back from there" : "");
    else
        table_cell(rows, "no (--manifest M checks every byte%s)", read_back ? "" : " on the way");
    uint64_t peak = peak_rss_bytes();
    table_cell(rows, "peak memory");
    table_cell(rows, "%s, of it %s staging",
               peak == DRAY_UNKNOWN ? "unknown" : text_bytes(bytes, peak),
               text_bytes(count, report->staging_bytes));
    table_print(rows, stdout, 2);
    table_destroy(rows);
}

/// "method: buffered: all of it is cached" as a row of two cells.
static void print_reasons(const load_job *job)
{
    static const table_column columns[] = {{NULL, TABLE_LEFT, 0}, {NULL, TABLE_LEFT, 0}};
    if (job->reason_count == 0)
        return;
    table *rows = table_create(columns, 2);
    for (size_t i = 0; i < job->reason_count; i++) {
        const char *line = job->reasons[i], *colon = strstr(line, ": ");
        bool repeated =
            i > 0 && colon && strncmp(job->reasons[i - 1], line, (size_t)(colon - line) + 2) == 0;
        char *reason = text_rounded(colon ? colon + 2 : line);
        table_cell(rows, "%.*s", colon && !repeated ? (int)(colon - line) : 0, line);
        table_cell(rows, "%s", reason);
        free(reason);
    }
    table_print(rows, stdout, 2);
    putchar('\n');
    table_destroy(rows);
}

static void print_load(load_job *job)
{
    char count[TEXT_NUMBER_BYTES], bytes[TEXT_NUMBER_BYTES], seconds[TEXT_NUMBER_BYTES];
    char where[LOCATION_TEXT_BYTES];
    print_reasons(job);
    if (job->digests)
        print_digests(job);
    uint64_t loaded = dray_loaded_count(job->loaded);
    printf("%s%s tensor%s, %s to %s in %s%s\n", terminal_bold(stdout), text_count(count, loaded),
           loaded == 1 ? "" : "s", text_bytes(bytes, job->report.bytes),
           location_words(&job->given->to, where), text_seconds(seconds, job->seconds),
           terminal_plain(stdout));
    print_facts(job);
    print_places(job);
}

static int load_run(const void *values)
{
    const load_values *given = values;
    load_job job = {.base = session_begin("load", given->json), .given = given};
    dray_status status =
        session_open(&job.base, given->file, given->lenient, given->threads, given->memory_limit);
    if (status == DRAY_OK)
        status = location_open_device(&given->to, job.base.context, &job.device, &job.base.error);
    if (status == DRAY_OK)
        status = load_bytes(&job);
    if (status == DRAY_OK && given->digest)
        status = take_digests(&job);
    if (status == DRAY_OK && given->json)
        load_document_out(&job);
    else if (status == DRAY_OK)
        print_load(&job);
    dray_loaded_free(job.loaded);
    dray_device_release(job.device);
    for (size_t i = 0; i < job.reason_count; i++)
        free(job.reasons[i]);
    free(job.reasons);
    free(job.digests);
    return session_end(&job.base, status, false);
}

const command command_load = {
    .name = "load",
    .summary = "copy tensors into memory or a file, and say where every byte is",
    .description =
        "Loads a model, or some of its tensors, and reports how fast that was and where the bytes were\n"
        "before and after. `seconds` runs from before the file is opened until the last byte is usable;\n"
        "allocating, faulting in and locking the memory included. The memory is given back when the\n"
        "command ends: it shows and measures, and with disk:PATH it also leaves a file.\n",
    .operand = {.name = "FILE", .at = offsetof(load_values, file)},
    .options = load_options,
    .values_bytes = sizeof(load_values),
    .check = load_check,
    .run = load_run,
};
