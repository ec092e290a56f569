/// dray bench layout: blocks of a KV cache between layouts, beside their baselines.
#include "../bench/bench.h"
#include "command.h"

typedef struct bench_layout_values {
    const char *scratch;
    option_number rounds, threads, page, blocks;
    uint64_t memory;
    bool no_files;
} bench_layout_values;

static bool bench_layout_check(const void *values, option_problem *problem)
{
    const bench_layout_values *given = values;
    const uint32_t page = given->page.value, blocks = given->blocks.value;
    if (given->page.given && page != 16 && page != 32 && page != 64)
        return option_wrong(problem, "--page takes 16, 32 or 64");
    if (given->blocks.given && blocks != 1 && blocks != 4 && blocks != 16 && blocks != 64 &&
        blocks != 256)
        return option_wrong(problem, "--blocks takes 1, 4, 16, 64 or 256");
    if (given->no_files && given->scratch)
        return option_wrong(problem, "--scratch is for the files that --no-files leaves out");
    return bench_rounds_fit(given->rounds, problem);
}

static int bench_layout_run(const void *values)
{
    const bench_layout_values *given = values;
    bench_layout_options options = {
        .disk = given->no_files  ? NULL
                : given->scratch ? given->scratch
                                 : ".",
        .page = given->page.value,
        .blocks = given->blocks.value,
        .memory_bytes = given->memory ? given->memory : (uint64_t)2 << 30,
        .rounds = given->rounds.given ? given->rounds.value : 5,
    };
    option_number threads = given->threads.given ? given->threads : (option_number){true, 0};
    session job = session_begin("bench layout", false);
    dray_status status = session_context(&job, threads);
    if (status == DRAY_OK)
        status = bench_layout(job.context, &options, stdout, &job.error);
    return session_end(&job, status, false);
}

static const option bench_layout_table[] = {
    {"rounds", "N", "how often each case runs after a warm-up (default 5)", .parse = option_count,
     .at = offsetof(bench_layout_values, rounds)},
    {"page", "TOKENS", "only pages of 16, 32 or 64 tokens", .parse = option_count,
     .at = offsetof(bench_layout_values, page)},
    {"blocks", "N", "only 1, 4, 16, 64 or 256 blocks", .parse = option_count,
     .at = offsetof(bench_layout_values, blocks)},
    {"memory", "SIZE", "leave out what needs more than this on a side (default 2G)",
     .parse = option_bytes, .at = offsetof(bench_layout_values, memory)},
    {"scratch", "FOLDER", "where files may be made and removed again (default: here)",
     .parse = option_text, .at = offsetof(bench_layout_values, scratch)},
    {"no-files", NULL, "leave out the file tier", .at = offsetof(bench_layout_values, no_files)},
    {"threads", "N", "threads of the pool (default 0: one thread works, as in the baselines)",
     .parse = option_count, .at = offsetof(bench_layout_values, threads)},
    {0},
};

const command command_bench_layout = {
    .name = "bench layout",
    .summary = "move KV blocks between layouts",
    .description =
        "Moves blocks of a 70B model's KV cache (80 layers, K and V, 8 heads of 128 elements of 2 bytes)\n"
        "between contiguous, layer-separate and universal layouts in memory, and to and from a file with\n"
        "O_DIRECT, beside memcpy, non-temporal stores, a plain loop over regions and a bare io_uring; and\n"
        "times planning. Prints a JSON line per case. Nothing passes or fails.\n",
    .options = bench_layout_table,
    .values_bytes = sizeof(bench_layout_values),
    .check = bench_layout_check,
    .run = bench_layout_run,
};
