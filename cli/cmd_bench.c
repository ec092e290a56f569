/// dray bench: what bench/ measures, as verbs. JSON lines on standard output, one per case.
#include "../bench/bench.h"
#include "command.h"

bool bench_rounds_fit(option_number rounds, option_problem *problem)
{
    if (rounds.given && (rounds.value == 0 || rounds.value > bench_rounds_max))
        return option_wrong(problem, "--rounds takes a number from 1 to %d", bench_rounds_max);
    return true;
}

static const command *const parts[] = {
    &command_bench_weights, &command_bench_transfer, &command_bench_layout,
    &command_bench_hints,   &command_bench_module,   NULL,
};

const command command_bench = {
    .name = "bench",
    .summary = "measure this machine: dray beside its baselines, as JSON lines",
    .parts = parts,
};
