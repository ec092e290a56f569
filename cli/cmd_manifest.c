/// dray manifest: writes down what the bytes are, so that they can be checked later.
#include "command.h"
#include "json_out.h"
#include "progress.h"
#include "text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct manifest_values {
    const char *file, *output;
    uint64_t chunk_bytes;
    option_number threads;
    bool lenient, json;
} manifest_values;

/// Where the manifest was written: as asked, or beside the first file. Caller frees.
static char *manifest_path(const dray_weights *weights, const char *output)
{
    return output ? text_format("%s", output)
                  : text_format("%s.dray", dray_weights_file_at(weights, 0)->path);
}

static void report_out(const session *job, const manifest_values *given)
{
    dray_weights_info info;
    dray_weights_get_info(job->weights, &info);
    char *path = manifest_path(job->weights, given->output);
    struct stat facts;
    uint64_t bytes = stat(path, &facts) == 0 ? (uint64_t)facts.st_size : DRAY_UNKNOWN;
    double seconds = session_seconds(job);
    if (given->json) {
        json_out json = json_begin(stdout);
        json_object(&json, NULL);
        json_string(&json, "manifest", path);
        json_u64_or_null(&json, "manifest_bytes", bytes, DRAY_UNKNOWN);
        json_u64(&json, "tensor_count", info.tensor_count);
        json_u64(&json, "tensor_bytes", info.tensor_bytes);
        json_rounded(&json, "seconds", seconds);
        json_end(&json);
        json_finish(&json);
    } else {
        char tensors[TEXT_NUMBER_BYTES], size[TEXT_NUMBER_BYTES], own[TEXT_NUMBER_BYTES],
            time[TEXT_NUMBER_BYTES];
        char *safe = text_safe(path, strlen(path));
        printf("%s: checksums of %s tensors (%s) in %s, written in %s\n", safe,
               text_count(tensors, info.tensor_count), text_bytes(size, info.tensor_bytes),
               bytes == DRAY_UNKNOWN ? "?" : text_bytes(own, bytes), text_seconds(time, seconds));
        free(safe);
    }
    free(path);
}

static int manifest_run(const void *values)
{
    const manifest_values *given = values;
    session job = session_begin("manifest", given->json);
    dray_status status = session_open(&job, given->file, given->lenient, given->threads, 0);
    if (status == DRAY_OK) {
        progress bar;
        dray_manifest_options options = {
            .struct_bytes = sizeof(options),
            .path = given->output,
            .chunk_bytes = given->chunk_bytes,
            .events = {.self = &bar, .progress = progress_update},
        };
        progress_begin(&bar, "reading");
        status = dray_manifest_write(job.weights, &options, &job.error);
        progress_end(&bar);
    }
    if (status == DRAY_OK)
        report_out(&job, given);
    return session_end(&job, status, false);
}

static bool manifest_check(const void *values, option_problem *problem)
{
    const manifest_values *given = values;
    if (given->chunk_bytes && (given->chunk_bytes < 64u << 10 || given->chunk_bytes > 1u << 30))
        return option_wrong(problem, "--chunk takes sizes from 64K to 1G");
    return true;
}

static const option manifest_options[] = {
    {"output", "PATH", "where to write it (default: FILE.dray, beside the model)",
     .parse = option_text, .at = offsetof(manifest_values, output)},
    {"chunk", "SIZE", "bytes per checksum, 64K to 1G (default: 4M)", .parse = option_bytes,
     .at = offsetof(manifest_values, chunk_bytes)},
    {"threads", "N", "threads of the pool; 0: none (default: one per processor, 16 at most)",
     .parse = option_count, .at = offsetof(manifest_values, threads)},
    {"lenient", NULL, "relax the rules that the format names; each is a warning",
     .at = offsetof(manifest_values, lenient)},
    {"json", NULL, "one JSON document on standard output", .at = offsetof(manifest_values, json)},
    {0},
};

const command command_manifest = {
    .name = "manifest",
    .summary = "write the checksums that load and verify check against",
    .description =
        "Reads every tensor once and writes a manifest: XXH3-128 per chunk and per tensor. It guards\n"
        "against broken disks, copies and downloads. It is no signature: who can change the model can\n"
        "change the manifest as well.\n",
    .operand = {.name = "FILE", .at = offsetof(manifest_values, file)},
    .options = manifest_options,
    .values_bytes = sizeof(manifest_values),
    .check = manifest_check,
    .run = manifest_run,
};
