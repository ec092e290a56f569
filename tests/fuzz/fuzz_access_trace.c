/// Text as a trace of accesses: what is read obeys every limit, reads the same when written out again, and
/// replays in a model that keeps its promises.
#include "dray/simulate.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static void must(bool what)
{
    if (!what)
        abort();
}

static void check(const dray_access *access, uint64_t time_before)
{
    must(access->bytes > 0 && access->bytes <= DRAY_ACCESS_BYTES_MAX);
    must(access->offset + access->bytes <= DRAY_ACCESS_END_MAX);
    must(access->processor == DRAY_ACCESS_HOST || access->processor < DRAY_SIMULATED_DEVICES_MAX);
    must(access->write <= 1 && access->time_ns >= time_before);
}

static void read_again(dray_context *context, const dray_access *accesses, uint64_t count)
{
    char *text = malloc((size_t)count * 96 + 1);
    must(text != NULL);
    size_t used = 0;
    for (uint64_t i = 0; i < count; i++) {
        const dray_access *each = &accesses[i];
        char processor[16] = "host";
        if (each->processor != DRAY_ACCESS_HOST)
            snprintf(processor, sizeof(processor), "%u", each->processor);
        used += (size_t)sprintf(text + used, "%" PRIu64 " %s %" PRIu64 " %" PRIu32 " %c\n",
                                each->time_ns, processor, each->offset, each->bytes,
                                each->write ? 'w' : 'r');
    }
    dray_trace *again;
    must(dray_trace_parse(context, text, used, &again, NULL) == DRAY_OK);
    const dray_access *same;
    must(dray_trace_accesses(again, &same) == count);
    must(count == 0 || memcmp(same, accesses, count * sizeof(*same)) == 0);
    dray_trace_destroy(again);
    free(text);
}

/// Only where the model stays small: a fuzzer has no patience.
static void replay(const dray_trace *trace, uint8_t choice)
{
    dray_hint_policy policy = {.read_mostly = choice & 1};
    if (choice & 2)
        policy.preferred = dray_hint_at_device(choice >> 5);
    if (choice & 4)
        policy.accessed_by.devices = choice >> 4;
    dray_simulate_options options = {.struct_bytes = sizeof(options),
                                     .capacity_bytes = 2 * DRAY_SIMULATED_BLOCK_BYTES,
                                     .timeline_points = 1u + choice,
                                     .host_reaches_devices = choice >> 3 & 1};
    dray_simulation *simulation;
    must(dray_simulate(trace, &policy, &options, &simulation, NULL) == DRAY_OK);
    const dray_simulation_report *report = dray_simulation_report_of(simulation);
    must(report->peak_device_bytes <= options.capacity_bytes);
    must(report->evicted_bytes <= report->to_host_bytes);
    must(report->populated_bytes <= (report->managed_bytes | 0xffff) + 1);
    dray_simulation_destroy(simulation);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    dray_context *context;
    must(dray_context_create(NULL, &context, NULL) == DRAY_OK);
    dray_trace *trace;
    dray_error error;
    dray_status status = dray_trace_parse(context, (const char *)bytes, count, &trace, &error);
    must(status == DRAY_OK || (status == DRAY_E_FORMAT && error.rule && error.offset <= count));
    if (status == DRAY_OK) {
        const dray_access *accesses;
        uint64_t wanted = dray_trace_accesses(trace, &accesses);
        for (uint64_t i = 0; i < wanted; i++)
            check(&accesses[i], i ? accesses[i - 1].time_ns : 0);
        read_again(context, accesses, wanted);
        if (wanted > 0 && dray_trace_end(trace) <= UINT64_C(1) << 30)
            replay(trace, bytes[0]);
        dray_trace_destroy(trace);
    }
    dray_context_destroy(context);
    return 0;
}
