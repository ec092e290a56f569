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
} bench_values;

static bool bench_check(const void *values, option_problem *problem)
{
    const bench_values *given = values;
    if (strcmp(given->what, "weights") != 0)
        return option_wrong(problem, "there is no benchmark \"%.32s\"; there is: weights",
                            given->what);
    if (given->rounds.given && (given->rounds.value == 0 || given->rounds.value > bench_rounds_max))
        return option_wrong(problem, "--rounds takes a number from 1 to %d", bench_rounds_max);
    return true;
}

static int bench_run_verb(const void *values)
{
    const bench_values *given = values;
    session job = session_begin("bench", false);
    dray_status status = session_context(&job, given->threads);
    if (status == DRAY_OK) {
        bench_weights_options options = {
            .model = given->model,
            .scratch = given->scratch ? given->scratch : ".",
            .rounds = given->rounds.given ? given->rounds.value : 5,
            .cold = !given->no_cold,
            .warm = !given->no_warm,
            .headers = !given->no_headers,
        };
        status = bench_weights(job.context, &options, stdout, &job.error);
    }
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
        "taken round by round. Cold cases empty the page cache first. Nothing passes or fails.\n",
    .operand = {"WHAT", offsetof(bench_values, what)},
    .options = bench_options,
    .values_bytes = sizeof(bench_values),
    .check = bench_check,
    .run = bench_run_verb,
};
