/// dray bench hints: planning, and cold file ranges, beside their baselines.
#include "../bench/bench.h"
#include "command.h"

typedef struct bench_hints_values {
    const char *scratch, *device;
    option_number rounds, threads;
    uint64_t bytes;
    bool no_cold;
} bench_hints_values;

static bool bench_hints_check(const void *values, option_problem *problem)
{
    const bench_hints_values *given = values;
    if (given->bytes && given->bytes < 1 << 20)
        return option_wrong(problem, "--bytes takes at least 1M");
    return bench_rounds_fit(given->rounds, problem);
}

static int bench_hints_run(const void *values)
{
    const bench_hints_values *given = values;
    bench_hints_options options = {
        .scratch = given->scratch ? given->scratch : ".",
        .device = given->device,
        .file_bytes = given->no_cold ? 0
                      : given->bytes ? given->bytes
                                     : UINT64_C(512) << 20,
        .rounds = given->rounds.given ? given->rounds.value : 5,
    };
    session job = session_begin("bench hints", false);
    dray_status status = session_context(&job, given->threads);
    if (status == DRAY_OK)
        status = bench_hints(job.context, &options, stdout, &job.error);
    return session_end(&job, status, false);
}

static const option bench_hints_table[] = {
    {"rounds", "N", "how often each case runs after a warm-up (default 5)", .parse = option_count,
     .at = offsetof(bench_hints_values, rounds)},
    {"scratch", "FOLDER", "where a file may be made and removed again (default: here)",
     .parse = option_text, .at = offsetof(bench_hints_values, scratch)},
    {"bytes", "SIZE", "of that file (default 512M)", .parse = option_bytes,
     .at = offsetof(bench_hints_values, bytes)},
    {"device", "NAME", "prefetch to a device, like cuda:0, beside a copy (default: none)",
     .parse = option_text, .at = offsetof(bench_hints_values, device)},
    {"threads", "N", "threads of the pool (default: as many as processors)", .parse = option_count,
     .at = offsetof(bench_hints_values, threads)},
    {"no-cold", NULL, "leave out the cases with an empty page cache",
     .at = offsetof(bench_hints_values, no_cold)},
    {0},
};

const command command_bench_hints = {
    .name = "bench hints",
    .summary = "plan hints, simulate them, and bring a cold file in",
    .description =
        "Plans 100,000 ranges; replays traces of a million accesses on the simulator; and makes a cold file\n"
        "resident by a hint, beside plain reads of the same bytes (pread, two of them, and an io_uring past the\n"
        "page cache into memory that is there already) and beside one madvise(WILLNEED), of which is shown\n"
        "how much of the file it loads. With --device, 10,000 prefetches in as few calls as the driver takes, beside\n"
        "one call each, and one of 64 MiB beside a copy. Prints a JSON line per case. Nothing passes or fails.\n",
    .options = bench_hints_table,
    .values_bytes = sizeof(bench_hints_values),
    .check = bench_hints_check,
    .run = bench_hints_run,
};
