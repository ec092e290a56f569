/// dray bench module: loading and calling modules, beside their baselines.
#include "../bench/bench.h"
#include "command.h"

typedef struct bench_module_values {
    const char *scratch, *tvm_ffi;
    option_number rounds;
    uint64_t size;
} bench_module_values;

static bool bench_module_check(const void *values, option_problem *problem)
{
    const bench_module_values *given = values;
    if (given->size && (given->size < 1 << 16 || given->size > (uint64_t)1 << 30))
        return option_wrong(problem, "--size takes 64K to 1G");
    return bench_rounds_fit(given->rounds, problem);
}

static int bench_module_run(const void *values)
{
    const bench_module_values *given = values;
    bench_module_options options = {
        .scratch = given->scratch ? given->scratch : ".",
        .tvm_ffi = given->tvm_ffi,
        .bytes = given->size,
        .rounds = given->rounds.given ? given->rounds.value : 21,
    };
    session job = session_begin("bench module", false);
    dray_status status = session_context(&job, (option_number){.given = true});
    if (status == DRAY_OK)
        status = bench_module(job.context, &options, stdout, &job.error);
    return session_end(&job, status, false);
}

static const option bench_module_table[] = {
    {"rounds", "N", "how often each case runs after a warm-up (default 21)", .parse = option_count,
     .at = offsetof(bench_module_values, rounds)},
    {"size", "SIZE", "only a library of this size (default: 1 MB, then 100 MB)",
     .parse = option_bytes, .at = offsetof(bench_module_values, size)},
    {"scratch", "FOLDER", "where files may be made and removed again (default: here)",
     .parse = option_text, .at = offsetof(bench_module_values, scratch)},
    {"tvm-ffi", "FILE", "libtvm_ffi.so, to be measured, too", .parse = option_text,
     .at = offsetof(bench_module_values, tvm_ffi)},
    {0},
};

const command command_bench_module = {
    .name = "bench module",
    .summary = "load and call modules",
    .description =
        "Builds shared objects with the C compiler (cc) and loads them to their first function and away\n"
        "again: from the file where it is, and from bytes (sealing included), beside plain dlopen() and\n"
        "a temporary file that is written, opened and removed. Then a call through a function handle beside\n"
        "the bare pointer, look-ups in the registry with a reader on every processor, and import trees of 125\n"
        "to 1000 modules. Prints a JSON line per case. Nothing passes or fails.\n",
    .options = bench_module_table,
    .values_bytes = sizeof(bench_module_values),
    .check = bench_module_check,
    .run = bench_module_run,
};
