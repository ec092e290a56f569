/// dray bench weights: loading a model by every way, dray's and its baselines'.
#include "../bench/bench.h"
#include "command.h"

typedef struct bench_weights_values {
    const char *model, *scratch;
    option_number rounds, threads;
    bool no_cold, no_warm, no_headers;
} bench_weights_values;

static bool bench_weights_check(const void *values, option_problem *problem)
{
    const bench_weights_values *given = values;
    return bench_rounds_fit(given->rounds, problem);
}

static int bench_weights_run(const void *values)
{
    const bench_weights_values *given = values;
    bench_weights_options options = {
        .model = given->model,
        .scratch = given->scratch ? given->scratch : ".",
        .rounds = given->rounds.given ? given->rounds.value : 5,
        .cold = !given->no_cold,
        .warm = !given->no_warm,
        .headers = !given->no_headers,
    };
    session job = session_begin("bench weights", false);
    dray_status status = session_context(&job, given->threads);
    if (status == DRAY_OK)
        status = bench_weights(job.context, &options, stdout, &job.error);
    return session_end(&job, status, false);
}

static const option bench_weights_table[] = {
    {"model", "FILE", "the model whose loading is measured; without it only headers are opened",
     .parse = option_text, .at = offsetof(bench_weights_values, model)},
    {"rounds", "N", "how often each case runs after a warm-up (default 5)", .parse = option_count,
     .at = offsetof(bench_weights_values, rounds)},
    {"scratch", "FOLDER", "where files may be made and removed again (default: here)",
     .parse = option_text, .at = offsetof(bench_weights_values, scratch)},
    {"threads", "N", "threads of the pool (default: as many as processors)", .parse = option_count,
     .at = offsetof(bench_weights_values, threads)},
    {"no-cold", NULL, "leave out the cases with an empty page cache",
     .at = offsetof(bench_weights_values, no_cold)},
    {"no-warm", NULL, "leave out the cases with the model in the page cache",
     .at = offsetof(bench_weights_values, no_warm)},
    {"no-headers", NULL, "leave out the opening of headers",
     .at = offsetof(bench_weights_values, no_headers)},
    {0},
};

const command command_bench_weights = {
    .name = "bench weights",
    .summary = "load a model by every way",
    .description =
        "Loads a model by every way, dray's and its baselines', one after the other in each round, and\n"
        "prints a JSON line per case: median, smallest, largest, and the ratio to the limit (a bare\n"
        "io_uring with O_DIRECT into memory that is there already) and to plain read(), taken round by\n"
        "round. Cold cases empty the page cache first. Nothing passes or fails.\n",
    .options = bench_weights_table,
    .values_bytes = sizeof(bench_weights_values),
    .check = bench_weights_check,
    .run = bench_weights_run,
};
