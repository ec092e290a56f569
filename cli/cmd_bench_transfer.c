/// dray bench transfer: batches of blocks between memory, files and devices, beside their baselines.
#include "../bench/bench.h"
#include "command.h"

#include <string.h>

typedef struct bench_transfer_values {
    const char *scratch, *tmpfs, *device, *nixl, *engine;
    bool ucx;
    option_number rounds, threads, batch;
    uint64_t block;
} bench_transfer_values;

static bool bench_transfer_check(const void *values, option_problem *problem)
{
    const bench_transfer_values *given = values;
    const uint64_t block = given->block;
    if (block && block != 4 << 10 && block != 64 << 10 && block != 1 << 20 && block != 16 << 20 &&
        block != 64 << 20)
        return option_wrong(problem, "--block takes 4K, 64K, 1M, 16M or 64M");
    const uint32_t batch = given->batch.value;
    if (given->batch.given && batch != 1 && batch != 16 && batch != 256)
        return option_wrong(problem, "--batch takes 1, 16 or 256");
    const char *engine = given->engine;
    if (engine && !given->nixl)
        return option_wrong(problem, "--nixl-engine belongs to --nixl");
    if (engine && strcmp(engine, "AIO") != 0 && strcmp(engine, "URING") != 0 &&
        strcmp(engine, "POSIXAIO") != 0)
        return option_wrong(problem, "--nixl-engine takes AIO, URING or POSIXAIO");
    return bench_rounds_fit(given->rounds, problem);
}

static int bench_transfer_run(const void *values)
{
    const bench_transfer_values *given = values;
    bench_transfer_options options = {
        .disk = given->scratch ? given->scratch : ".",
        .tmpfs = given->tmpfs,
        .device = given->device,
        .nixl = given->nixl,
        .nixl_engine = given->engine ? given->engine : "AIO",
        .ucx = given->ucx,
        .block_bytes = given->block,
        .batch = given->batch.value,
        .rounds = given->rounds.given ? given->rounds.value : 5,
    };
    session job = session_begin("bench transfer", false);
    dray_status status = session_context(&job, given->threads);
    if (status == DRAY_OK)
        status = bench_transfer(job.context, &options, stdout, &job.error);
    return session_end(&job, status, false);
}

static const option bench_transfer_table[] = {
    {"rounds", "N", "how often each case runs after a warm-up (default 5)", .parse = option_count,
     .at = offsetof(bench_transfer_values, rounds)},
    {"scratch", "FOLDER", "where files may be made and removed again (default: here)",
     .parse = option_text, .at = offsetof(bench_transfer_values, scratch)},
    {"threads", "N", "threads of the pool (default: as many as processors)", .parse = option_count,
     .at = offsetof(bench_transfer_values, threads)},
    {"tmpfs", "FOLDER", "a folder on a tmpfs, like /dev/shm (default: not measured)",
     .parse = option_text, .at = offsetof(bench_transfer_values, tmpfs)},
    {"device", "NAME", "a device, like opencl:0 (default: none)", .parse = option_text,
     .at = offsetof(bench_transfer_values, device)},
    {"ucx", NULL, "a peer in another process over UCX, too",
     .at = offsetof(bench_transfer_values, ucx)},
    {"nixl", "LIBRARY", "files beside NIXL: its libnixl_capi.so (default: not measured)",
     .parse = option_text, .at = offsetof(bench_transfer_values, nixl)},
    {"nixl-engine", "NAME", "NIXL's engine: AIO, URING or POSIXAIO (default AIO)",
     .parse = option_text, .at = offsetof(bench_transfer_values, engine)},
    {"block", "SIZE", "only blocks of 4K, 64K, 1M, 16M or 64M", .parse = option_bytes,
     .at = offsetof(bench_transfer_values, block)},
    {"batch", "N", "only batches of 1, 16 or 256 blocks", .parse = option_count,
     .at = offsetof(bench_transfer_values, batch)},
    {0},
};

const command command_bench_transfer = {
    .name = "bench transfer",
    .summary = "move batches of blocks",
    .description =
        "Moves batches of blocks, in a shuffled order, between memory, files on the disk of --scratch and\n"
        "in --tmpfs, and --device, beside memcpy, non-temporal stores, a bare io_uring, pread and pwrite,\n"
        "and a bare loop of OpenCL enqueues; files through staging to --device beside either hop alone;\n"
        "memory of another process beside a bare UCP loop and ucx_perftest; and times planning. Prints a\n"
        "JSON line per case. Nothing passes or fails.\n",
    .options = bench_transfer_table,
    .values_bytes = sizeof(bench_transfer_values),
    .check = bench_transfer_check,
    .run = bench_transfer_run,
};
