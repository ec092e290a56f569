/// dray verify: are these still the bytes that the manifest was made of?
#include "command.h"
#include "json_out.h"
#include "progress.h"
#include "table.h"
#include "text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define BAD_KEPT_MAX 1000 // more bad chunks are counted, but not listed

typedef struct verify_values {
    const char *file, *manifest;
    option_number threads;
    bool lenient, json;
} verify_values;

typedef struct bad_chunk {
    const dray_tensor *tensor;
    uint64_t chunk, file_offset, bytes;
} bad_chunk;

typedef struct verify_job {
    session base;
    progress bar;
    dray_verify_report report;
    bad_chunk *bad;
    size_t bad_count;
} verify_job;

static bool on_progress(void *self, uint64_t done, uint64_t total)
{
    verify_job *job = self;
    return progress_update(&job->bar, done, total);
}

static void on_bad(void *self, const dray_tensor *tensor, uint64_t chunk, uint64_t file_offset,
                   uint64_t bytes)
{
    verify_job *job = self;
    if (job->bad_count == BAD_KEPT_MAX)
        return;
    job->bad = text_memory(job->bad, (job->bad_count + 1) * sizeof(*job->bad));
    job->bad[job->bad_count++] = (bad_chunk){tensor, chunk, file_offset, bytes};
}

static dray_status check(verify_job *job, const verify_values *given)
{
    dray_verify_options options = {
        .struct_bytes = sizeof(options),
        .manifest = given->manifest,
        .events = {.self = job, .progress = on_progress},
        .bad = on_bad,
        .bad_self = job,
    };
    progress_begin(&job->bar, "verifying");
    dray_status status =
        dray_weights_verify(job->base.weights, &options, &job->report, &job->base.error);
    progress_end(&job->bar);
    return status;
}

static void document_out(const verify_job *job, dray_status status)
{
    const dray_verify_report *report = &job->report;
    json_out json = json_begin(stdout);
    json_object(&json, NULL);
    json_bool(&json, "ok", status == DRAY_OK);
    json_u64(&json, "tensors_checked", report->tensors_checked);
    json_u64(&json, "tensors_total", report->tensors_total);
    json_u64(&json, "tensors_bad", report->tensors_bad);
    json_u64(&json, "chunks_checked", report->chunks_checked);
    json_u64(&json, "chunks_bad", report->chunks_bad);
    json_u64(&json, "bytes", report->bytes);
    json_rounded(&json, "seconds", report->seconds);
    json_array(&json, "bad");
    for (size_t i = 0; i < job->bad_count; i++) {
        const dray_tensor *tensor = job->bad[i].tensor;
        json_object_flat(&json, NULL);
        json_text(&json, "tensor", tensor->name.bytes, tensor->name.length);
        json_u64(&json, "chunk", job->bad[i].chunk);
        json_string(&json, "file", dray_weights_file_at(job->base.weights, tensor->file)->path);
        json_u64(&json, "offset", job->bad[i].file_offset);
        json_u64(&json, "bytes", job->bad[i].bytes);
        json_end(&json);
    }
    json_end(&json);
    if (status != DRAY_OK)
        session_error_out(&json, &job->base.error);
    json_end(&json);
    json_finish(&json);
}

static void print_bad(const verify_job *job)
{
    static const table_column columns[] = {{"bad tensor", TABLE_LEFT, TABLE_CUT_MIDDLE},
                                           {"chunk", TABLE_RIGHT, 0},
                                           {"bytes", TABLE_RIGHT, 0},
                                           {"offset", TABLE_RIGHT, 0},
                                           {"file", TABLE_LEFT, TABLE_CUT_MIDDLE}};
    if (job->bad_count == 0)
        return;
    table *rows = table_create(columns, 5);
    for (size_t i = 0; i < job->bad_count; i++) {
        const dray_tensor *tensor = job->bad[i].tensor;
        const char *path = dray_weights_file_at(job->base.weights, tensor->file)->path;
        char *name = text_safe(tensor->name.bytes, tensor->name.length),
             *file = text_safe(path, strlen(path));
        char bytes[TEXT_NUMBER_BYTES];
        table_cell(rows, "%s", name);
        table_cell(rows, "%" PRIu64, job->bad[i].chunk);
        table_cell(rows, "%s", text_bytes(bytes, job->bad[i].bytes));
        table_cell(rows, "%" PRIu64, job->bad[i].file_offset);
        table_cell(rows, "%s", file);
        free(name);
        free(file);
    }
    table_print(rows, stdout, 2);
    if (job->report.chunks_bad > job->bad_count)
        printf("  and %" PRIu64 " more\n", job->report.chunks_bad - job->bad_count);
    table_destroy(rows);
}

static void print_good(const verify_job *job)
{
    const dray_verify_report *report = &job->report;
    char tensors[TEXT_NUMBER_BYTES], chunks[TEXT_NUMBER_BYTES], bytes[TEXT_NUMBER_BYTES],
        seconds[TEXT_NUMBER_BYTES];
    printf("all %s tensors are as the manifest says: %s chunks, %s in %s (%.2f GB/s)\n",
           text_count(tensors, report->tensors_checked), text_count(chunks, report->chunks_checked),
           text_bytes(bytes, report->bytes), text_seconds(seconds, report->seconds),
           report->seconds > 0 ? (double)report->bytes / 1e9 / report->seconds : 0);
}

static int verify_run(const void *values)
{
    const verify_values *given = values;
    verify_job job = {.base = session_begin("verify", given->json)};
    dray_status status = session_open(&job.base, given->file, given->lenient, given->threads, 0);
    bool checked = status == DRAY_OK;
    if (checked)
        status = check(&job, given);
    if (checked && given->json)
        document_out(&job, status);
    else if (status == DRAY_OK)
        print_good(&job);
    else
        print_bad(&job);
    free(job.bad);
    int code = session_end(&job.base, status, checked);
    if (checked && status == DRAY_E_NOTFOUND && !given->manifest)
        session_complain(
            "verify",
            "dray manifest writes a manifest, best when the model has just come from its source");
    return code;
}

static const option verify_options[] = {
    {"manifest", "M", "the manifest (default: FILE.dray, beside the model)", .parse = option_text,
     .at = offsetof(verify_values, manifest)},
    {"threads", "N", "threads of the pool; 0: none (default: one per processor, 16 at most)",
     .parse = option_count, .at = offsetof(verify_values, threads)},
    {"lenient", NULL, "relax the rules that the format names; each is a warning",
     .at = offsetof(verify_values, lenient)},
    {"json", NULL, "one JSON document on standard output", .at = offsetof(verify_values, json)},
    {0},
};

const command command_verify = {
    .name = "verify",
    .summary = "check every byte of every tensor against a manifest",
    .description =
        "Reads all tensors and compares them, chunk by chunk, with the manifest that dray manifest\n"
        "wrote. Every bad chunk is named. Checking nothing at all is a failure, too.\n",
    .operand = {.name = "FILE", .at = offsetof(verify_values, file)},
    .options = verify_options,
    .values_bytes = sizeof(verify_values),
    .run = verify_run,
};
