/// dray copy: bytes from one location to another, straight or through a third, and a report of how.
#include "copy_job.h"
#include "json_out.h"
#include "table.h"
#include "terminal.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// --- the command line --------------------------------------------------------------------------------

static bool parse_via(const char *text, void *field, option_problem *problem)
{
    location *via = field;
    bool memory = location_parse(text, via) && via->storage != DRAY_STORAGE_DISK &&
                  via->storage != DRAY_STORAGE_NULL && via->storage != DRAY_STORAGE_REMOTE;
    return memory || option_wrong(problem, "wanted system, pinned, or a device like opencl:0");
}

static bool end_parse(const char *name, const char *text, location *out, option_problem *problem)
{
    if (location_parse(text, out) && out->storage != DRAY_STORAGE_NULL)
        return true;
    char *safe = text_safe_start(text, strlen(text), 64);
    option_wrong(problem,
                 "%s is \"%s\"; wanted system, pinned, disk:PATH, agent://HOST:PORT/REGION, or a "
                 "device like opencl:0 or cuda:0 (dray devices lists them)",
                 name, safe);
    free(safe);
    return false;
}

static bool copy_check(const void *values, option_problem *problem)
{
    const copy_values *given = values;
    location source, target;
    if (!end_parse("SRC", given->source, &source, problem) ||
        !end_parse("DST", given->target, &target, problem))
        return false;
    if (!copy_has_size(&source) && given->bytes == 0)
        return option_wrong(problem, "SRC is memory, which has no size of its own: --bytes SIZE");
    if (given->replace && target.storage != DRAY_STORAGE_DISK)
        return option_wrong(problem, "--replace is about files, and DST is none");
    if (given->secret_file && source.storage != DRAY_STORAGE_REMOTE &&
        target.storage != DRAY_STORAGE_REMOTE)
        return option_wrong(problem,
                            "--secret-file is about agents, and neither SRC nor DST is one");
    return true;
}

// --- output ----------------------------------------------------------------------------------------

static double gigabytes_per_second(const copy_job *job)
{
    return job->seconds > 0 ? (double)job->bytes / 1e9 / job->seconds : 0;
}

static void place_out(json_out *json, const char *key, const location *at)
{
    char text[LOCATION_TEXT_BYTES];
    json_string(json, key, at->storage ? location_text(at, text) : NULL);
}

static void document_out(const copy_job *job)
{
    json_out json = json_begin(stdout);
    json_object(&json, NULL);
    json_u64(&json, "bytes", job->bytes);
    json_rounded(&json, "seconds", job->seconds);
    json_rounded(&json, "gigabytes_per_second", gigabytes_per_second(job));
    json_rounded(&json, "cpu_seconds", job->cpu_seconds);
    place_out(&json, "from", &job->source.at);
    place_out(&json, "to", &job->target.at);
    place_out(&json, "via", &job->given->via);
    json_string(&json, "backend", job->backend);
    json_u64(&json, "staging_bytes", job->staging_bytes);
    json_bool(&json, "verified", job->given->verify);
    json_string(&json, "source_xxh3", job->given->verify ? job->source.digest : NULL);
    json_string(&json, "target_xxh3", job->given->verify ? job->target.digest : NULL);
    if (job->given->explain) {
        json_array(&json, "explain");
        for (size_t i = 0; i < job->reason_count; i++)
            json_string(&json, NULL, job->reasons[i]);
        json_end(&json);
    }
    json_end(&json);
    json_finish(&json);
}

static void print_copy(const copy_job *job)
{
    static const table_column columns[] = {{NULL, TABLE_LEFT, 0}, {NULL, TABLE_LEFT, TABLE_CUT_END}};
    char bytes[TEXT_NUMBER_BYTES], seconds[TEXT_NUMBER_BYTES], from[LOCATION_TEXT_BYTES],
        to[LOCATION_TEXT_BYTES];
    for (size_t i = 0; i < job->reason_count; i++) {
        char *reason = text_rounded(job->reasons[i]);
        printf("  %s\n", reason);
        free(reason);
    }
    printf("%s%s from %s to %s in %s%s\n", terminal_bold(stdout), text_bytes(bytes, job->bytes),
           location_text(&job->source.at, from), location_text(&job->target.at, to),
           text_seconds(seconds, job->seconds), terminal_plain(stdout));
    table *rows = table_create(columns, 2);
    table_cell(rows, "rate");
    table_cell(rows, "%.2f GB/s, %s of CPU time", gigabytes_per_second(job),
               text_seconds(seconds, job->cpu_seconds));
    table_cell(rows, "method");
    table_cell(rows, "%s", job->backend);
    table_cell(rows, "staging");
    table_cell(rows, "%s", text_bytes(bytes, job->staging_bytes));
    table_cell(rows, "verified");
    if (job->given->verify)
        table_cell(rows, "XXH3-128 of source and target, both read back: %s", job->target.digest);
    else
        table_cell(rows, "no (--verify reads both sides back)");
    table_print(rows, stdout, 2);
    table_destroy(rows);
}

// --- the verb --------------------------------------------------------------------------------------

static void job_end(copy_job *job, dray_status status)
{
    copy_ways_end(job);
    dray_agent_destroy(job->agent);
    dray_region_release(job->source.region);
    dray_region_release(job->target.region);
    dray_device_release(job->source.device);
    dray_device_release(job->target.device);
    dray_device_release(job->via_device);
    if (status != DRAY_OK && job->target.made)
        unlink(job->target.at.path);
    for (size_t i = 0; i < job->reason_count; i++)
        free(job->reasons[i]);
    free(job->reasons);
    secret_wipe(&job->secret);
}

static int copy_run(const void *values)
{
    const copy_values *given = values;
    copy_job job = {.base = session_begin("copy", given->json), .given = given};
    dray_status status = session_context(&job.base, given->threads);
    if (status == DRAY_OK)
        status = copy_places_open(&job);
    if (status == DRAY_OK)
        status = copy_bytes(&job);
    if (status == DRAY_OK && given->verify)
        status = copy_verify(&job);
    if (status == DRAY_OK && given->json)
        document_out(&job);
    else if (status == DRAY_OK)
        print_copy(&job);
    job_end(&job, status);
    return session_end(&job.base, status, false);
}

static const option copy_options[] = {
    {"bytes", "SIZE", "how much; needed when SRC is memory, at most the size of a file",
     .parse = option_bytes, .at = offsetof(copy_values, bytes)},
    {"via", "PLACE", "through memory of this kind: system, pinned, or a device like opencl:0",
     .parse = parse_via, .at = offsetof(copy_values, via)},
    {"verify", NULL, "read both sides back afterwards and compare their XXH3-128",
     .at = offsetof(copy_values, verify)},
    {"secret-file", "FILE",
     "the secret shared with an agent (default: the value of " SECRET_VARIABLE ", if any)",
     .parse = option_text, .at = offsetof(copy_values, secret_file)},
    {"replace", NULL, "write over a file that exists", .at = offsetof(copy_values, replace)},
    {"threads", "N", "threads of the pool; 0: none (default: one per processor, 16 at most)",
     .parse = option_count, .at = offsetof(copy_values, threads)},
    {"explain", NULL, "say what ran: the routes, and what was staged where",
     .at = offsetof(copy_values, explain)},
    {"json", NULL, "one JSON document on standard output", .at = offsetof(copy_values, json)},
    {0},
};

static const option_operand target_operand = {.name = "DST", .at = offsetof(copy_values, target)};

const command command_copy = {
    .name = "copy",
    .summary = "bytes between files, memory, devices and agents, straight or through a device",
    .description =
        "SRC and DST are system, pinned, disk:PATH, a device like opencl:0 or cuda:0, managed:DEVICE, or\n"
        "agent://HOST:PORT/REGION, a region that `dray agent serve` shares.\n"
        "Memory as a source is filled with a pattern; memory as a target is given back at the end. A file\n"
        "as a target must not exist, unless --replace is given, and is removed when the copy fails;\n"
        "`seconds` ends when it is on the disk.\n",
    .operand = {.name = "SRC", .at = offsetof(copy_values, source), .next = &target_operand},
    .options = copy_options,
    .values_bytes = sizeof(copy_values),
    .check = copy_check,
    .run = copy_run,
};
