/// dray bench: what bench/ measures, as a verb. JSON lines on standard output, one per case.
#include "../bench/bench.h"
#include "command.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct bench_values {
    const char *what;
    const char *model;
    const char *scratch;
    option_number rounds, threads;
    bool no_cold, no_warm, no_headers;
    const char *tmpfs, *device;
    uint64_t block;
    option_number batch;
} bench_values;

static bool is_transfer(const bench_values *given)
{
    return strcmp(given->what, "transfer") == 0;
}

/// Options of the other benchmark would be ignored in silence.
static bool belongs(const bench_values *given, option_problem *problem)
{
    bool of_weights = given->model || given->no_cold || given->no_warm || given->no_headers;
    bool of_transfer = given->tmpfs || given->device || given->block || given->batch.given;
    if (is_transfer(given) && of_weights)
        return option_wrong(problem, "--model and --no-... belong to dray bench weights");
    if (!is_transfer(given) && of_transfer)
        return option_wrong(problem,
                            "--tmpfs, --device, --block and --batch belong to dray bench transfer");
    return true;
}

static bool bench_check(const void *values, option_problem *problem)
{
    const bench_values *given = values;
    if (strcmp(given->what, "weights") != 0 && !is_transfer(given))
        return option_wrong(
            problem, "there is no benchmark \"%.32s\"; there are: weights, transfer", given->what);
    if (given->rounds.given && (given->rounds.value == 0 || given->rounds.value > bench_rounds_max))
        return option_wrong(problem, "--rounds takes a number from 1 to %d", bench_rounds_max);
    const uint64_t block = given->block;
    if (block && block != 4 << 10 && block != 64 << 10 && block != 1 << 20 && block != 16 << 20 &&
        block != 64 << 20)
        return option_wrong(problem, "--block takes 4K, 64K, 1M, 16M or 64M");
    const uint32_t batch = given->batch.value;
    if (given->batch.given && batch != 1 && batch != 16 && batch != 256)
        return option_wrong(problem, "--batch takes 1, 16 or 256");
    return belongs(given, problem);
}

static dray_status run_weights(session *job, const bench_values *given)
{
    bench_weights_options options = {
        .model = given->model,
        .scratch = given->scratch ? given->scratch : ".",
        .rounds = given->rounds.given ? given->rounds.value : 5,
        .cold = !given->no_cold,
        .warm = !given->no_warm,
        .headers = !given->no_headers,
    };
    return bench_weights(job->context, &options, stdout, &job->error);
}

static dray_status run_transfer(session *job, const bench_values *given)
{
    bench_transfer_options options = {
        .disk = given->scratch ? given->scratch : ".",
        .tmpfs = given->tmpfs,
        .device = given->device,
        .block_bytes = given->block,
        .batch = given->batch.value,
        .rounds = given->rounds.given ? given->rounds.value : 5,
    };
    return bench_transfer(job->context, &options, stdout, &job->error);
}

static int bench_run_verb(const void *values)
{
    const bench_values *given = values;
    session job = session_begin("bench", false);
    dray_status status = session_context(&job, given->threads);
    if (status == DRAY_OK)
        status = is_transfer(given) ? run_transfer(&job, given) : run_weights(&job, given);
    return session_end(&job, status, false);
}

static const option bench_options[] = {
    {"model", "FILE", "the model whose loading is measured; without it only headers are opened",
     .parse = option_text, .at = offsetof(bench_values, model)},
    {"rounds", "N", "how often each case runs after a warm-up (default 5)", .parse = option_count,
     .at = offsetof(bench_values, rounds)},
    {"scratch", "FOLDER", "where files may be made and removed again (default: here)",
     .parse = option_text, .at = offsetof(bench_values, scratch)},
    {"threads", "N", "threads of the pool (default: as many as processors)", .parse = option_count,
     .at = offsetof(bench_values, threads)},
    {"tmpfs", "FOLDER", "transfer: a folder on a tmpfs, like /dev/shm (default: not measured)",
     .parse = option_text, .at = offsetof(bench_values, tmpfs)},
    {"device", "NAME", "transfer: a device, like opencl:0 (default: none)", .parse = option_text,
     .at = offsetof(bench_values, device)},
    {"block", "SIZE", "transfer: only blocks of 4K, 64K, 1M, 16M or 64M", .parse = option_bytes,
     .at = offsetof(bench_values, block)},
    {"batch", "N", "transfer: only batches of 1, 16 or 256 blocks", .parse = option_count,
     .at = offsetof(bench_values, batch)},
    {"no-cold", NULL, "leave out the cases with an empty page cache",
     .at = offsetof(bench_values, no_cold)},
    {"no-warm", NULL, "leave out the cases with the model in the page cache",
     .at = offsetof(bench_values, no_warm)},
    {"no-headers", NULL, "leave out the opening of headers",
     .at = offsetof(bench_values, no_headers)},
    {0},
};

const command command_bench = {
    .name = "bench",
    .summary = "measure this machine: dray beside its baselines, as JSON lines",
    .description =
        "`dray bench weights` loads a model by every way, dray's and its baselines', one after the other\n"
        "in each round, and prints a JSON line per case: median, smallest, largest, and the ratio to the\n"
        "limit (a bare io_uring with O_DIRECT into memory that is there already) and to plain read(),\n"
        "taken round by round. Cold cases empty the page cache first. Nothing passes or fails.\n\n"
        "`dray bench transfer` moves batches of blocks, in a shuffled order, between memory, files on the\n"
        "disk of --scratch and in --tmpfs, and --device, beside memcpy, non-temporal stores, a bare\n"
        "io_uring, pread and pwrite, and a bare loop of OpenCL enqueues; and times planning.\n",
    .operand = {"WHAT", offsetof(bench_values, what)},
    .options = bench_options,
    .values_bytes = sizeof(bench_values),
    .check = bench_check,
    .run = bench_run_verb,
};
