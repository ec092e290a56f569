/// The simulator: accesses replayed per second, and the reading of their text.
///
/// Three traces of one million accesses: one that hits nearly always (what most of a real trace is), one in
/// random order over memory twice as large as the device (nearly every access faults and evicts), and
/// one that two processors fight over. Beside the replay stands the least that any replay has to do:
/// reading each access and adding up which block it touches.
#include "bench.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { accesses = 1000000, line_bytes_max = 64 };

typedef enum trace_kind {
    TRACE_SCAN = 0,
    TRACE_RANDOM = 1,
    TRACE_FIGHT = 2,
    trace_kinds = 3
} trace_kind;

static const char *const kind_names[trace_kinds] = {"scan, 1 GiB on a device of 2 GiB",
                                                    "random, 2 GiB on a device of 1 GiB",
                                                    "host and device in turn, 256 MiB"};
static const char *const policies[] = {"default", "read-mostly", "prefer-host", "prefer-device:0"};
enum { policy_count = sizeof(policies) / sizeof(policies[0]) };

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static dray_access access_of(trace_kind kind, uint64_t i, uint64_t *random)
{
    dray_access access = {.time_ns = i * 200, .bytes = 4096};
    switch (kind) {
    case TRACE_SCAN:
        access.offset = i * 4096 % (UINT64_C(1) << 30);
        break;
    case TRACE_RANDOM:
        access.offset = random_next(random) % ((UINT64_C(2) << 30) / 4096) * 4096;
        access.write = i % 4 == 0;
        break;
    default:
        access.offset = random_next(random) % ((UINT64_C(256) << 20) / 4096) * 4096;
        access.processor = i % 2 ? 0 : DRAY_ACCESS_HOST;
        access.write = i % 3 == 0;
    }
    return access;
}

static dray_status trace_make(dray_context *context, trace_kind kind, dray_trace **out_trace,
                              dray_error *error)
{
    uint64_t random = UINT64_C(0x2545f4914f6cdd1d);
    dray_status status = dray_trace_create(context, out_trace, error);
    for (uint64_t i = 0; i < accesses && status == DRAY_OK; i++) {
        dray_access access = access_of(kind, i, &random);
        status = dray_trace_add(*out_trace, &access, error);
    }
    return status;
}

/// What every replay does at least; `volatile` keeps it from being left out.
static void walk(const dray_trace *trace)
{
    const dray_access *list;
    const uint64_t count = dray_trace_accesses(trace, &list);
    uint64_t sum = 0;
    for (uint64_t i = 0; i < count; i++)
        sum += list[i].offset / DRAY_SIMULATED_BLOCK_BYTES + list[i].write + list[i].processor;
    volatile uint64_t kept = sum;
    (void)kept;
}

static uint64_t capacity_of(trace_kind kind)
{
    return kind == TRACE_SCAN ? UINT64_C(2) << 30 : UINT64_C(1) << 30;
}

static void print_case(FILE *out, trace_kind kind, const char *what, double *rates, uint32_t rounds)
{
    fprintf(out, "{\"bench\":\"hints\",\"case\":\"simulate\",\"trace\":\"%s\",\"policy\":\"%s\"",
            kind_names[kind], what);
    bench_print_spread(out, "million_accesses_per_second", bench_spread_of(rates, rounds));
    fprintf(out, ",\"accesses\":%d,\"rounds\":%u}\n", (int)accesses, rounds);
    fflush(out);
}

/// One round of all policies and the walk, in turn; rates in millions per second.
static dray_status round_run(const dray_trace *trace, trace_kind kind,
                             double out_rates[policy_count + 1], dray_error *error)
{
    const dray_simulate_options options = {.struct_bytes = sizeof(options),
                                           .capacity_bytes = capacity_of(kind)};
    for (uint32_t i = 0; i < policy_count; i++) {
        dray_hint_policy policy;
        dray_simulation *simulation = NULL;
        dray_status status = dray_hint_policy_parse(policies[i], &policy, error);
        double begin = bench_now();
        if (status == DRAY_OK)
            status = dray_simulate(trace, &policy, &options, &simulation, error);
        out_rates[i] = accesses / 1e6 / (bench_now() - begin);
        dray_simulation_destroy(simulation);
        if (status != DRAY_OK)
            return status;
    }
    double begin = bench_now();
    walk(trace);
    out_rates[policy_count] = accesses / 1e6 / (bench_now() - begin);
    return DRAY_OK;
}

static dray_status kind_run(dray_context *context, trace_kind kind, uint32_t rounds, FILE *out,
                            dray_error *error)
{
    double rates[policy_count + 1][bench_rounds_max], one[policy_count + 1];
    dray_trace *trace = NULL;
    dray_status status = trace_make(context, kind, &trace, error);
    for (uint32_t round = 0; round <= rounds && status == DRAY_OK; round++) {
        status = round_run(trace, kind, one, error);
        for (uint32_t i = 0; i <= policy_count && round > 0; i++) // the first one warms up
            rates[i][round - 1] = one[i];
    }
    dray_trace_destroy(trace);
    for (uint32_t i = 0; i <= policy_count && status == DRAY_OK; i++)
        print_case(out, kind, i < policy_count ? policies[i] : "none: only walking the trace",
                   rates[i], rounds);
    return status;
}

// --- reading text ----------------------------------------------------------------------------------

static dray_status reading_run(dray_context *context, uint32_t rounds, FILE *out, dray_error *error)
{
    char *text = malloc((size_t)accesses * line_bytes_max);
    if (!text)
        return dray_fail(error, DRAY_E_NOMEM, "bench: %d bytes of text", accesses * line_bytes_max);
    uint64_t random = UINT64_C(0x2545f4914f6cdd1d);
    size_t used = 0;
    for (uint64_t i = 0; i < accesses; i++) {
        dray_access access = access_of(TRACE_FIGHT, i, &random);
        used += (size_t)snprintf(text + used, line_bytes_max,
                                 "%" PRIu64 " %s %" PRIu64 " %" PRIu32 " %c\n", access.time_ns,
                                 access.processor ? "host" : "0", access.offset, access.bytes,
                                 access.write ? 'w' : 'r');
    }
    double rates[bench_rounds_max];
    dray_status status = DRAY_OK;
    for (uint32_t round = 0; round <= rounds && status == DRAY_OK; round++) {
        dray_trace *trace = NULL;
        double begin = bench_now();
        status = dray_trace_parse(context, text, used, &trace, error);
        if (round > 0)
            rates[round - 1] = accesses / 1e6 / (bench_now() - begin);
        dray_trace_destroy(trace);
    }
    free(text);
    if (status != DRAY_OK)
        return status;
    fprintf(out, "{\"bench\":\"hints\",\"case\":\"read a trace\",\"bytes\":%zu", used);
    bench_print_spread(out, "million_accesses_per_second", bench_spread_of(rates, rounds));
    fprintf(out, ",\"accesses\":%d,\"rounds\":%u}\n", (int)accesses, rounds);
    return DRAY_OK;
}

dray_status bench_simulate(dray_context *context, uint32_t rounds, FILE *out, dray_error *error)
{
    dray_status status = DRAY_OK;
    for (int kind = 0; kind < trace_kinds && status == DRAY_OK; kind++)
        status = kind_run(context, (trace_kind)kind, rounds, out, error);
    return status == DRAY_OK ? reading_run(context, rounds, out, error) : status;
}
