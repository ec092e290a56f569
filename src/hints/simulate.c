/// Replays a trace under a policy: the migration model does it, this file keeps the time and the numbers.
#include "base/checked.h"
#include "hints/access_trace.h"
#include "hints/simulation.h"
#include "memory/migration.h"

#include <inttypes.h>
#include <string.h>

enum { points_default = 240, points_max = 4096 };

_Static_assert(DRAY_SIMULATED_DEVICES_MAX == DRAYI_MIGRATION_PROCESSORS_MAX - 1,
               "as many devices as the model has");
// NOLINTBEGIN(misc-redundant-expression): that they are equal is what is asserted
_Static_assert(DRAY_ACCESS_END_MAX == DRAYI_MIGRATION_BYTES_MAX, "every trace fits the model");
_Static_assert(DRAY_SIMULATED_BLOCK_BYTES == DRAYI_MIGRATION_BLOCK_BYTES, "one size of block");
// NOLINTEND(misc-redundant-expression)

// --- what is asked for -----------------------------------------------------------------------------

/// Highest number of a device that the policy names, plus one.
static uint32_t policy_devices(const dray_hint_policy *policy)
{
    uint32_t devices = policy->accessed_by.devices
                           ? 64u - (uint32_t)__builtin_clzll(policy->accessed_by.devices)
                           : 0;
    if (policy->preferred.place == DRAY_HINT_DEVICE && policy->preferred.index >= devices)
        devices = policy->preferred.index + 1;
    return devices;
}

/// `reset` unsets nothing here: nothing is set before the replay.
static drayi_migration_policy policy_of(const dray_hint_policy *policy)
{
    drayi_migration_policy own = DRAYI_MIGRATION_NO_POLICY;
    own.read_mostly = policy->read_mostly != 0;
    if (policy->preferred.place == DRAY_HINT_DEVICE)
        own.preferred = (uint8_t)(policy->preferred.index + 1);
    else if (policy->preferred.place != DRAY_HINT_NOWHERE)
        own.preferred = DRAYI_MIGRATION_HOST;
    own.accessed_by =
        (uint16_t)(policy->accessed_by.devices << 1 | (policy->accessed_by.host ? 1u : 0u));
    return own;
}

static const char *note_on(const dray_hint_policy *policy)
{
    dray_hint_place place = policy->preferred.place;
    return place == DRAY_HINT_HOST_NUMA || place == DRAY_HINT_CURRENT_NUMA
               ? "the model has one host and no NUMA nodes: simulated as prefer-host"
               : NULL;
}

/// Fills in what the caller left to us, and refuses what cannot be.
static dray_status options_complete(const dray_trace *trace, const dray_hint_policy *policy,
                                    dray_simulate_options *options, dray_error *error)
{
    if (trace->count == 0)
        return dray_fail(error, DRAY_E_INVALID, "simulate: the trace has no access");
    DRAY_TRY(dray_hint_policy_check(policy, error));
    uint32_t named =
        trace->devices > policy_devices(policy) ? trace->devices : policy_devices(policy);
    if (options->devices == 0)
        options->devices = named ? named : 1;
    if (options->devices > DRAY_SIMULATED_DEVICES_MAX)
        return dray_fail(error, DRAY_E_INVALID, "simulate: %u devices, at most %u can be simulated",
                         options->devices, DRAY_SIMULATED_DEVICES_MAX);
    if (named > options->devices)
        return dray_fail(error, DRAY_E_INVALID,
                         "simulate: device %u is named, there are %u, numbered from 0", named - 1,
                         options->devices);
    if (options->timeline_points > points_max)
        return dray_fail(error, DRAY_E_INVALID, "simulate: %u points of the timeline, at most %d",
                         options->timeline_points, points_max);
    if (options->timeline_points == 0)
        options->timeline_points = points_default;
    uint64_t all;
    if (options->capacity_bytes == 0 &&
        drayi_round_up(trace->end_bytes, DRAYI_MIGRATION_BLOCK_BYTES, &all))
        options->capacity_bytes = all;
    return DRAY_OK;
}

// --- the timeline ----------------------------------------------------------------------------------

static uint64_t faults_of(const drayi_migration_counts *counts)
{
    uint64_t faults = 0;
    for (unsigned p = 0; p < DRAYI_MIGRATION_PROCESSORS_MAX; p++)
        faults += counts->faults[p];
    return faults;
}

/// Ends the current point: what was counted since the one before.
static void point_end(dray_simulation *simulation, const drayi_migration *model,
                      drayi_migration_counts *before)
{
    const drayi_migration_counts *now = drayi_migration_counts_of(model);
    uint64_t held = 0;
    for (uint32_t i = 0; i < simulation->report.devices; i++)
        held += drayi_migration_used(model, i);
    simulation->points[simulation->point_count] = (dray_simulation_point){
        .begin_ns = simulation->begin_ns + simulation->point_count * simulation->point_ns,
        .faults = faults_of(now) - faults_of(before),
        .to_devices_bytes = now->to_devices_bytes - before->to_devices_bytes,
        .to_host_bytes = now->to_host_bytes - before->to_host_bytes,
        .between_devices_bytes = now->between_devices_bytes - before->between_devices_bytes,
        .remote_bytes = now->remote_bytes - before->remote_bytes,
        .thrash_events = now->thrash_events - before->thrash_events,
        .device_bytes = held,
    };
    simulation->point_count++;
    *before = *now;
}

// --- the replay ------------------------------------------------------------------------------------

static void replay(dray_simulation *simulation, drayi_migration *model, const dray_trace *trace)
{
    drayi_migration_counts before = {0};
    uint64_t started_ns = 0; // the current point, counted from the first access
    for (uint64_t i = 0; i < trace->count; i++) {
        const dray_access *access = &trace->accesses[i];
        while (access->time_ns - simulation->begin_ns - started_ns >= simulation->point_ns) {
            point_end(simulation, model, &before);
            started_ns += simulation->point_ns;
        }
        unsigned processor =
            access->processor == DRAY_ACCESS_HOST ? DRAYI_MIGRATION_HOST : access->processor + 1u;
        drayi_migration_access(model, access->time_ns, processor, access->offset, access->bytes,
                               access->write != 0);
    }
    point_end(simulation, model, &before);
}

static void report_fill(dray_simulation *simulation, const drayi_migration_counts *counts)
{
    dray_simulation_report *report = &simulation->report;
    report->host_faults = counts->faults[DRAYI_MIGRATION_HOST];
    report->device_faults = faults_of(counts) - report->host_faults;
    report->write_faults = counts->write_faults;
    report->to_devices_bytes = counts->to_devices_bytes;
    report->to_host_bytes = counts->to_host_bytes;
    report->between_devices_bytes = counts->between_devices_bytes;
    report->evictions = counts->evictions;
    report->evicted_bytes = counts->evicted_bytes;
    report->duplicated_bytes = counts->duplicated_bytes;
    report->dropped_bytes = counts->dropped_bytes;
    report->populated_bytes = counts->populated_bytes;
    report->remote_accesses = counts->remote_accesses;
    report->remote_bytes = counts->remote_bytes;
    report->thrashing_blocks = counts->thrashing_blocks;
    report->thrash_events = counts->thrash_events;
    report->throttles = counts->throttles;
    report->pins = counts->pins;
    report->resets = counts->resets;
    report->throttled_ns = counts->throttled_ns;
    report->peak_device_bytes = counts->peak_device_bytes;
}

static dray_status simulation_build(dray_simulation *simulation, const dray_trace *trace,
                                    const dray_hint_policy *policy,
                                    const dray_simulate_options *options, dray_error *error)
{
    simulation->point_capacity = options->timeline_points;
    simulation->points = drayi_alloc_array(simulation->env, options->timeline_points,
                                           sizeof(*simulation->points), error);
    if (!simulation->points)
        return DRAY_E_NOMEM;
    simulation->begin_ns = trace->accesses[0].time_ns;
    simulation->end_ns = trace->accesses[trace->count - 1].time_ns;
    simulation->point_ns =
        (simulation->end_ns - simulation->begin_ns) / options->timeline_points + 1;
    simulation->report = (dray_simulation_report){
        .policy = *policy,
        .note = note_on(policy),
        .accesses = trace->count,
        .managed_bytes = trace->end_bytes,
        .capacity_bytes = options->capacity_bytes,
        .devices = options->devices,
    };
    drayi_migration_options model_options = {
        .bytes = trace->end_bytes,
        .capacity_bytes = options->capacity_bytes,
        .devices = options->devices,
        .host_reaches_devices = options->host_reaches_devices != 0,
        .devices_reach_each_other = options->devices_reach_each_other != 0,
    };
    drayi_migration *model;
    DRAY_TRY(drayi_migration_create(simulation->env, &model_options, &model, error));
    drayi_migration_set_policy(model, 0, trace->end_bytes, policy_of(policy));
    replay(simulation, model, trace);
    report_fill(simulation, drayi_migration_counts_of(model));
    drayi_migration_destroy(model);
    return DRAY_OK;
}

dray_status dray_simulate(const dray_trace *trace, const dray_hint_policy *policy,
                          const dray_simulate_options *options, dray_simulation **out_simulation,
                          dray_error *error)
{
    dray_simulate_options own = {.struct_bytes = sizeof(own)};
    if (options)
        DRAY_TRY(drayi_options(&own, sizeof(own), options, "simulate", error));
    DRAY_TRY(options_complete(trace, policy, &own, error));
    dray_simulation *simulation = drayi_new(trace->env, dray_simulation, error);
    if (!simulation)
        return DRAY_E_NOMEM;
    simulation->env = trace->env;
    dray_status status = simulation_build(simulation, trace, policy, &own, error);
    if (status != DRAY_OK) {
        dray_simulation_destroy(simulation);
        return dray_fail_within(error, status, "simulate");
    }
    *out_simulation = simulation;
    return DRAY_OK;
}

void dray_simulation_destroy(dray_simulation *simulation)
{
    if (!simulation)
        return;
    drayi_free(simulation->env, simulation->points,
               simulation->point_capacity * sizeof(*simulation->points));
    drayi_free(simulation->env, simulation, sizeof(*simulation));
}

const dray_simulation_report *dray_simulation_report_of(const dray_simulation *simulation)
{
    return &simulation->report;
}

uint32_t dray_simulation_timeline(const dray_simulation *simulation,
                                  const dray_simulation_point **out_points)
{
    *out_points = simulation->points;
    return simulation->point_count;
}
