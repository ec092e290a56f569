/// dray hints simulate: what policies would do to managed memory, tried on a trace of accesses.
#include "command.h"
#include "json_out.h"
#include "table.h"
#include "text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define POLICIES_MAX 8

typedef struct simulate_values {
    const char *trace, *plot;
    uint64_t capacity;
    option_words policies;
    option_number devices, points;
    bool host_reaches, peers, json;
} simulate_values;

typedef struct simulate_job {
    session base;
    const simulate_values *given;
    dray_trace *trace;
    uint32_t count;
    dray_simulation *simulations[POLICIES_MAX];
} simulate_job;

/// What is simulated when nothing is said.
static const option_words default_only = {.words = {"default"}, .count = 1};

static const option_words *policies_of(const simulate_values *given)
{
    return given->policies.count ? &given->policies : &default_only;
}

static bool simulate_check(const void *values, option_problem *problem)
{
    const simulate_values *given = values;
    const option_words *policies = policies_of(given);
    if (policies->count > POLICIES_MAX)
        return option_wrong(problem, "%u policies, at most %d at a time", policies->count,
                            POLICIES_MAX);
    for (uint32_t i = 0; i < policies->count; i++) {
        dray_hint_policy policy;
        dray_error error;
        if (dray_hint_policy_parse(policies->words[i], &policy, &error) != DRAY_OK)
            return option_wrong(problem, "--policy %.64s: %s", policies->words[i], error.message);
    }
    if (given->capacity && given->capacity < DRAY_SIMULATED_BLOCK_BYTES)
        return option_wrong(problem, "--capacity: a device holds one block of 2 MiB at least");
    return true;
}

// --- the drawing -----------------------------------------------------------------------------------

static void plot_write(void *self, const char *text, size_t bytes)
{
    fwrite(text, 1, bytes, self);
}

/// A drawing that could not be written whole is not left there.
static dray_status plot_file(simulate_job *job, const char *path)
{
    FILE *file = fopen(path, "we");
    if (!file)
        return dray_fail_os(&job->base.error, errno, "open", "plot %s", path);
    const char *name = strrchr(job->given->trace, '/');
    dray_status status =
        dray_simulation_plot(job->simulations, job->count, name ? name + 1 : job->given->trace,
                             plot_write, file, &job->base.error);
    errno = 0;
    bool whole = !ferror(file);
    whole = fclose(file) == 0 && whole;
    if (status == DRAY_OK && !whole)
        status = dray_fail_os(&job->base.error, errno ? errno : EIO, "write", "plot %s", path);
    if (status != DRAY_OK)
        unlink(path);
    return status;
}

// --- for people ------------------------------------------------------------------------------------

static void print_head(const simulate_job *job)
{
    const dray_simulation_report *report = dray_simulation_report_of(job->simulations[0]);
    char accesses[TEXT_NUMBER_BYTES], managed[TEXT_NUMBER_BYTES], capacity[TEXT_NUMBER_BYTES];
    printf("simulated: %s accesses to %s of managed memory, %u device%s with %s; counts of a model,\n"
           "not measured on any device\n\n",
           text_count(accesses, report->accesses), text_bytes(managed, report->managed_bytes),
           report->devices, report->devices == 1 ? "" : "s",
           text_bytes(capacity, report->capacity_bytes));
}

static void print_row(table *rows, const dray_simulation_report *report)
{
    char policy[DRAY_HINT_TEXT_BYTES], text[TEXT_NUMBER_BYTES];
    table_cell(rows, "%s", dray_hint_policy_print(&report->policy, policy));
    table_cell(rows, "%s", text_count(text, report->host_faults));
    table_cell(rows, "%s", text_count(text, report->device_faults));
    table_cell(rows, "%s", text_bytes(text, report->to_devices_bytes));
    table_cell(rows, "%s", text_bytes(text, report->to_host_bytes));
    table_cell(rows, "%s", text_bytes(text, report->between_devices_bytes));
    table_cell(rows, "%s", text_bytes(text, report->remote_bytes));
    table_cell(rows, "%s", text_count(text, report->evictions));
    table_cell(rows, "%s", text_count(text, report->thrashing_blocks));
    table_cell(rows, "%s", text_count(text, report->throttles));
    table_cell(rows, "%s", text_count(text, report->pins));
}

static void print_table(const simulate_job *job)
{
    static const table_column columns[] = {{"policy", TABLE_LEFT, TABLE_CUT_MIDDLE},
                                           {"host faults", TABLE_RIGHT, 0},
                                           {"device faults", TABLE_RIGHT, 0},
                                           {"to devices", TABLE_RIGHT, 0},
                                           {"to host", TABLE_RIGHT, 0},
                                           {"between", TABLE_RIGHT, TABLE_MAY_GO},
                                           {"over the link", TABLE_RIGHT, 0},
                                           {"evictions", TABLE_RIGHT, TABLE_MAY_GO},
                                           {"thrashing", TABLE_RIGHT, 0},
                                           {"throttles", TABLE_RIGHT, TABLE_MAY_GO},
                                           {"pins", TABLE_RIGHT, TABLE_MAY_GO}};
    table *rows = table_create(columns, sizeof(columns) / sizeof(columns[0]));
    for (uint32_t i = 0; i < job->count; i++)
        print_row(rows, dray_simulation_report_of(job->simulations[i]));
    table_print(rows, stdout, 2);
    table_destroy(rows);
}

static void print_all(const simulate_job *job)
{
    print_head(job);
    print_table(job);
    for (uint32_t i = 0; i < job->count; i++) {
        const dray_simulation_report *report = dray_simulation_report_of(job->simulations[i]);
        char policy[DRAY_HINT_TEXT_BYTES];
        if (report->note)
            printf("\n%s: %s\n", dray_hint_policy_print(&report->policy, policy), report->note);
    }
    if (job->given->plot) {
        char *path = text_safe(job->given->plot, strlen(job->given->plot));
        printf("\ndrawn in %s\n", path);
        free(path);
    }
}

// --- for programs ----------------------------------------------------------------------------------

static void timeline_out(json_out *json, const dray_simulation *simulation)
{
    const dray_simulation_point *points;
    const uint32_t count = dray_simulation_timeline(simulation, &points);
    json_array(json, "timeline");
    for (uint32_t i = 0; i < count; i++) {
        json_object_flat(json, NULL);
        json_u64(json, "begin_ns", points[i].begin_ns);
        json_u64(json, "faults", points[i].faults);
        json_u64(json, "to_devices_bytes", points[i].to_devices_bytes);
        json_u64(json, "to_host_bytes", points[i].to_host_bytes);
        json_u64(json, "between_devices_bytes", points[i].between_devices_bytes);
        json_u64(json, "remote_bytes", points[i].remote_bytes);
        json_u64(json, "thrash_events", points[i].thrash_events);
        json_u64(json, "device_bytes", points[i].device_bytes);
        json_end(json);
    }
    json_end(json);
}

static void report_out(json_out *json, const dray_simulation *simulation)
{
    const dray_simulation_report *report = dray_simulation_report_of(simulation);
    char policy[DRAY_HINT_TEXT_BYTES];
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {
        {"host_faults", report->host_faults},
        {"device_faults", report->device_faults},
        {"write_faults", report->write_faults},
        {"to_devices_bytes", report->to_devices_bytes},
        {"to_host_bytes", report->to_host_bytes},
        {"between_devices_bytes", report->between_devices_bytes},
        {"evictions", report->evictions},
        {"evicted_bytes", report->evicted_bytes},
        {"duplicated_bytes", report->duplicated_bytes},
        {"dropped_bytes", report->dropped_bytes},
        {"populated_bytes", report->populated_bytes},
        {"remote_accesses", report->remote_accesses},
        {"remote_bytes", report->remote_bytes},
        {"thrashing_blocks", report->thrashing_blocks},
        {"thrash_events", report->thrash_events},
        {"throttles", report->throttles},
        {"throttled_ns", report->throttled_ns},
        {"pins", report->pins},
        {"resets", report->resets},
        {"peak_device_bytes", report->peak_device_bytes},
    };
    json_object(json, NULL);
    json_string(json, "policy", dray_hint_policy_print(&report->policy, policy));
    json_string(json, "note", report->note);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        json_u64(json, numbers[i].name, numbers[i].value);
    timeline_out(json, simulation);
    json_end(json);
}

static void document_out(const simulate_job *job)
{
    const dray_simulation_report *first = dray_simulation_report_of(job->simulations[0]);
    json_out json = json_begin(stdout);
    json_object(&json, NULL);
    json_bool(&json, "simulated", true);
    json_string(&json, "trace", job->given->trace);
    json_u64(&json, "accesses", first->accesses);
    json_u64(&json, "managed_bytes", first->managed_bytes);
    json_u64(&json, "devices", first->devices);
    json_u64(&json, "capacity_bytes", first->capacity_bytes);
    json_u64(&json, "block_bytes", DRAY_SIMULATED_BLOCK_BYTES);
    json_bool(&json, "host_reaches_devices", job->given->host_reaches);
    json_bool(&json, "devices_reach_each_other", job->given->peers);
    json_string(&json, "plot", job->given->plot);
    json_array(&json, "policies");
    for (uint32_t i = 0; i < job->count; i++)
        report_out(&json, job->simulations[i]);
    json_end(&json);
    json_end(&json);
    json_finish(&json);
}

// --- the work --------------------------------------------------------------------------------------

static dray_status simulate_all(simulate_job *job)
{
    const simulate_values *given = job->given;
    const option_words *policies = policies_of(given);
    dray_simulate_options options = {
        .struct_bytes = sizeof(options),
        .capacity_bytes = given->capacity,
        .devices = given->devices.value,
        .timeline_points = given->points.value,
        .host_reaches_devices = given->host_reaches,
        .devices_reach_each_other = given->peers,
    };
    dray_status status = session_context(&job->base, (option_number){.given = true});
    if (status == DRAY_OK)
        status = dray_trace_read(job->base.context, given->trace, &job->trace, &job->base.error);
    for (uint32_t i = 0; i < policies->count && status == DRAY_OK; i++) {
        dray_hint_policy policy;
        status = dray_hint_policy_parse(policies->words[i], &policy, &job->base.error);
        if (status == DRAY_OK)
            status = dray_simulate(job->trace, &policy, &options, &job->simulations[i],
                                   &job->base.error);
        job->count += status == DRAY_OK;
    }
    if (status == DRAY_OK && given->plot)
        status = plot_file(job, given->plot);
    return status;
}

static int simulate_run(const void *values)
{
    const simulate_values *given = values;
    simulate_job job = {.base = session_begin("hints simulate", given->json), .given = given};
    dray_status status = simulate_all(&job);
    if (status == DRAY_OK && given->json)
        document_out(&job);
    else if (status == DRAY_OK)
        print_all(&job);
    for (uint32_t i = 0; i < job.count; i++)
        dray_simulation_destroy(job.simulations[i]);
    dray_trace_destroy(job.trace);
    return session_end(&job.base, status, false);
}

static const option simulate_options[] = {
    {"policy", "P", "a policy to try, up to 8 of them (default: default, which is no advice)",
     .parse = option_word, .at = offsetof(simulate_values, policies), .many = true},
    {"capacity", "SIZE", "memory of each device (default: enough for all of the trace)",
     .parse = option_bytes, .at = offsetof(simulate_values, capacity)},
    {"devices", "N", "how many devices there are (default: those that are named)",
     .parse = option_count, .at = offsetof(simulate_values, devices)},
    {"host-reaches-devices", NULL, "the host touches devices' memory without moving it (NVLink-C2C)",
     .at = offsetof(simulate_values, host_reaches)},
    {"peer-access", NULL, "devices touch each other's memory without moving it",
     .at = offsetof(simulate_values, peers)},
    {"plot", "FILE", "draw what happened over time, as SVG", .parse = option_text,
     .at = offsetof(simulate_values, plot)},
    {"points", "N", "points of the timeline, at most 4096 (default 240)", .parse = option_count,
     .at = offsetof(simulate_values, points)},
    {"json", NULL, "one JSON document on standard output", .at = offsetof(simulate_values, json)},
    {0},
};

const command command_hints_simulate = {
    .name = "hints simulate",
    .summary = "try policies on a trace of accesses, without a device",
    .description =
        "Replays TRACE, one access a line (time_ns processor offset bytes r|w; the processor is host or\n"
        "the number of a device; # begins a comment), on a model of managed memory: blocks of 2 MiB,\n"
        "migration on faults, eviction when a device is full, and the published rules of thrashing.\n"
        "Everything it says is simulated. Policies are written as in dray hints explain:\n"
        "read-mostly, prefer-device:0, prefer-host, accessed-by:0,1, and several with + between.\n",
    .operand = {.name = "TRACE", .at = offsetof(simulate_values, trace)},
    .options = simulate_options,
    .values_bytes = sizeof(simulate_values),
    .check = simulate_check,
    .run = simulate_run,
};
