/// Prefetches to a device: 10,000 ranges in as few calls as its driver takes, beside one call for each; and one
/// large range beside a plain copy of as many bytes. The memory is kept small: drivers that are asked for
/// more managed memory than is free have hung.
///
/// Before each measured run the bytes are prefetched to the host and waited for, so that there is something
/// to move. Every line has the outcome that the hints had; where nothing moved ("no-effect", "skipped", a
/// simulated device) there is no rate, and a time is that of the calls alone.
#include "bench.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { ranges = 10000, range_bytes = 4096, ways = 2, large_bytes = 64 << 20 };

static const char *const way_names[ways] = {"as few calls as it takes", "one call each"};

typedef struct device_state {
    dray_context *context;
    const char *name;
    uint32_t rounds;
    FILE *out;
    dray_error *error;
    dray_device *device;
    dray_hints *hints;
    dray_region *managed; // ranges of a page, each with a page between, so that none merge
    dray_region *from, *to;
    dray_agent *agent;
    dray_plan *plan;
    dray_transfer *copy;
    dray_hint_outcome outcome; // of the last run
    uint64_t calls;
    bool simulated;
} device_state;

// --- runs --------------------------------------------------------------------------------------------

/// Carries a plan out and takes the time of the calls and their end; the plan goes.
static dray_status run_timed(device_state *state, dray_hint_plan *plan, bool one_each,
                             double *out_seconds)
{
    const dray_hint_run_options options = {.struct_bytes = sizeof(options),
                                           .lower = {.oversubscribe = one_each, .no_headroom = 1},
                                           .no_journal = 1,
                                           .no_verify = 1};
    dray_hint_run *run = NULL;
    const dray_hint_call *calls;
    dray_status status = dray_hint_run_create(state->hints, plan, &options, &run, state->error);
    dray_hint_plan_destroy(plan);
    if (status != DRAY_OK)
        return status;
    state->calls = dray_hint_lowering_calls(dray_hint_run_lowering(run), &calls);
    double begin = bench_now();
    status = dray_hint_run_start(run, state->error);
    if (status == DRAY_OK)
        status = dray_hint_run_wait(run, state->error);
    *out_seconds = bench_now() - begin;
    state->outcome = dray_hint_run_worst(run);
    dray_hint_run_destroy(run);
    return status;
}

static dray_status plan_whole(device_state *state, uint64_t bytes, dray_hint_location location,
                              dray_hint_plan **out_plan)
{
    dray_hint_range whole, part;
    dray_status status = dray_hint_plan_create(state->context, out_plan, state->error);
    if (status == DRAY_OK)
        status = dray_hint_range_region(state->managed, &whole, state->error);
    if (status == DRAY_OK)
        status = dray_hint_range_part(&whole, 0, bytes, &part, state->error);
    if (status == DRAY_OK)
        dray_hint_plan_prefetch(*out_plan, part, location);
    return status;
}

static dray_status prefetch_whole(device_state *state, uint64_t bytes, dray_hint_location location,
                                  double *out_seconds)
{
    dray_hint_plan *plan = NULL;
    dray_status status = plan_whole(state, bytes, location, &plan);
    return status == DRAY_OK ? run_timed(state, plan, false, out_seconds) : status;
}

static dray_status prefetch_ranges(device_state *state, bool one_each, double *out_seconds)
{
    const dray_hint_location home = dray_hint_at_device(dray_hints_abilities(state->hints)->ordinal);
    dray_hint_plan *plan = NULL;
    dray_hint_range whole, part;
    dray_status status = dray_hint_plan_create(state->context, &plan, state->error);
    if (status == DRAY_OK)
        status = dray_hint_range_region(state->managed, &whole, state->error);
    for (uint64_t i = 0; i < ranges && status == DRAY_OK; i++) {
        status = dray_hint_range_part(&whole, i * 2 * range_bytes, range_bytes, &part, state->error);
        if (status == DRAY_OK)
            dray_hint_plan_prefetch(plan, part, home);
    }
    return status == DRAY_OK ? run_timed(state, plan, one_each, out_seconds) : status;
}

// --- many ranges -------------------------------------------------------------------------------------

static dray_status many_measure(device_state *state)
{
    double values[ways][bench_rounds_max], ratios[bench_rounds_max], away;
    uint64_t calls[ways] = {0};
    dray_hint_outcome worst[ways] = {0};
    dray_status status = DRAY_OK;
    for (uint32_t round = 0; round <= state->rounds && status == DRAY_OK; round++) {
        for (uint32_t way = 0; way < ways && status == DRAY_OK; way++) {
            double seconds = 0;
            status = prefetch_whole(state, dray_region_bytes(state->managed), dray_hint_at_host(),
                                    &away);
            if (status == DRAY_OK)
                status = prefetch_ranges(state, way == 1, &seconds);
            calls[way] = state->calls;
            worst[way] = state->outcome;
            if (round > 0) // the first one warms up
                values[way][round - 1] = seconds * 1e3;
        }
        if (round > 0)
            ratios[round - 1] = values[0][round - 1] / values[1][round - 1];
    }
    const bool singly = calls[1] == ranges; // some drivers' calls take any number, always
    for (uint32_t way = 0; way < (singly ? 2u : 1u) && status == DRAY_OK; way++) {
        fprintf(state->out,
                "{\"bench\":\"hints\",\"case\":\"prefetch %d ranges\",\"device\":\"%s\",\"way\":"
                "\"%s\",\"calls\":%" PRIu64 ",\"outcome\":\"%s\"",
                (int)ranges, state->name, way_names[way], calls[way],
                dray_hint_outcome_name(worst[way]));
        bench_print_spread(state->out, "milliseconds", bench_spread_of(values[way], state->rounds));
        if (way == 0 && singly)
            bench_print_spread(state->out, "ratio_to_one_call_each",
                               bench_spread_of(ratios, state->rounds));
        fprintf(state->out, "}\n");
    }
    return status;
}

// --- one large range -----------------------------------------------------------------------------------

static dray_status copy_timed(device_state *state, double *out_seconds)
{
    double begin = bench_now();
    dray_status status = dray_transfer_submit(state->copy, state->error);
    if (status == DRAY_OK)
        status = dray_transfer_wait(state->copy, -1, state->error);
    *out_seconds = bench_now() - begin;
    return status;
}

static dray_status large_measure(device_state *state)
{
    const dray_hint_location home = dray_hint_at_device(dray_hints_abilities(state->hints)->ordinal);
    double rates[2][bench_rounds_max], ratios[bench_rounds_max], away, seconds[2] = {1, 1};
    dray_status status = DRAY_OK;
    for (uint32_t round = 0; round <= state->rounds && status == DRAY_OK; round++) {
        status = prefetch_whole(state, large_bytes, dray_hint_at_host(), &away);
        if (status == DRAY_OK)
            status = prefetch_whole(state, large_bytes, home, &seconds[0]);
        if (status == DRAY_OK)
            status = copy_timed(state, &seconds[1]);
        for (uint32_t i = 0; i < 2 && round > 0; i++)
            rates[i][round - 1] = large_bytes / 1e9 / seconds[i];
        if (round > 0)
            ratios[round - 1] = seconds[1] / seconds[0];
    }
    if (status != DRAY_OK)
        return status;
    fprintf(state->out,
            "{\"bench\":\"hints\",\"case\":\"prefetch %d bytes\",\"device\":\"%s\",\"outcome\":"
            "\"%s\"",
            (int)large_bytes, state->name, dray_hint_outcome_name(state->outcome));
    if (state->outcome > DRAY_HINT_ACCEPTED ||
        state->simulated) { // no bytes moved: there is no rate
        fprintf(state->out, ",\"moved\":false");
    } else {
        bench_print_spread(state->out, "gigabytes_per_second",
                           bench_spread_of(rates[0], state->rounds));
        bench_print_spread(state->out, "ratio_to_copy", bench_spread_of(ratios, state->rounds));
    }
    bench_print_spread(state->out, "copy_gigabytes_per_second",
                       bench_spread_of(rates[1], state->rounds));
    fprintf(state->out, "}\n");
    return DRAY_OK;
}

// --- made, and taken apart -----------------------------------------------------------------------------

static dray_status region_make(device_state *state, dray_storage storage, uint64_t bytes,
                               dray_region **out)
{
    const dray_region_options options = {.struct_bytes = sizeof(options),
                                         .storage = storage,
                                         .bytes = bytes,
                                         .device =
                                             storage == DRAY_STORAGE_SYSTEM ? NULL : state->device};
    return dray_region_create(state->context, &options, out, state->error);
}

static dray_status copy_make(device_state *state, const dray_device_info *info)
{
    const char *const names[] = {info->backend, NULL};
    const dray_agent_options options = {
        .struct_bytes = sizeof(options), .name = "bench", .backends = names};
    const bool pinned = (info->capabilities & DRAY_DEVICE_PINNED) != 0;
    dray_status status = region_make(state, pinned ? DRAY_STORAGE_PINNED : DRAY_STORAGE_SYSTEM,
                                     large_bytes, &state->from);
    if (status == DRAY_OK)
        status = region_make(state, DRAY_STORAGE_DEVICE, large_bytes, &state->to);
    if (status == DRAY_OK)
        status = dray_agent_create(state->context, &options, &state->agent, state->error);
    const dray_copy copy = {.source = state->from, .target = state->to, .run_bytes = large_bytes};
    if (status == DRAY_OK)
        status = dray_plan_create(state->agent, &copy, 1, NULL, &state->plan, state->error);
    if (status == DRAY_OK)
        status = dray_transfer_create(state->agent, state->plan, NULL, &state->copy, state->error);
    return status;
}

static dray_status state_make(device_state *state)
{
    const uint64_t bytes = (uint64_t)ranges * 2 * range_bytes;
    dray_device_info info;
    dray_status status = dray_device_open(state->context, state->name, &state->device, state->error);
    if (status == DRAY_OK)
        status = dray_device_get_info(state->device, &info, state->error);
    if (status == DRAY_OK)
        status = dray_hints_open(state->context, state->device, &state->hints, state->error);
    if (status == DRAY_OK)
        status = region_make(state, DRAY_STORAGE_MANAGED, bytes, &state->managed);
    if (status == DRAY_OK)
        memset(dray_region_pointer(state->managed), 1, bytes);
    if (status != DRAY_OK)
        return status;
    state->simulated = strcmp(info.family, "sim") == 0;
    return copy_make(state, &info);
}

static void state_drop(device_state *state)
{
    dray_transfer_destroy(state->copy);
    dray_plan_destroy(state->plan);
    dray_agent_destroy(state->agent);
    dray_region_release(state->to);
    dray_region_release(state->from);
    dray_region_release(state->managed);
    dray_hints_close(state->hints);
    dray_device_release(state->device);
}

dray_status bench_hint_device(dray_context *context, const char *name, uint32_t rounds, FILE *out,
                              dray_error *error)
{
    device_state state = {
        .context = context, .name = name, .rounds = rounds, .out = out, .error = error};
    dray_status status = state_make(&state);
    if (status == DRAY_OK)
        status = many_measure(&state);
    if (status == DRAY_OK)
        status = large_measure(&state);
    state_drop(&state);
    return status;
}
