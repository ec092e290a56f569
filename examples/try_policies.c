/// Which policy suits these accesses? A model's weights are written once by the host and read by the device
/// in each of many steps; what the device can hold is a little less. Two policies are tried, without a device.
///
///     try_policies [STEPS]
#include <dray/dray.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define MIB (UINT64_C(1) << 20)

static dray_status trace_fill(dray_trace *trace, uint64_t steps, dray_error *error)
{
    const uint64_t weights = 64 * MIB;
    const uint32_t piece = 256 << 10;
    dray_access access = {.bytes = piece, .processor = DRAY_ACCESS_HOST, .write = 1};
    for (uint64_t step = 0; step <= steps; step++) { // step 0 is the host's
        for (access.offset = 0; access.offset < weights; access.offset += piece) {
            dray_status status = dray_trace_add(trace, &access, error);
            if (status != DRAY_OK)
                return status;
            access.time_ns += 2000;
        }
        access.processor = 0;
        access.write = 0;
    }
    return DRAY_OK;
}

static dray_status try_policy(const dray_trace *trace, const char *text, dray_error *error)
{
    dray_hint_policy policy;
    dray_simulation *simulation;
    const dray_simulate_options options = {.struct_bytes = sizeof(options),
                                           .capacity_bytes = 48 * MIB};
    dray_status status = dray_hint_policy_parse(text, &policy, error);
    if (status == DRAY_OK)
        status = dray_simulate(trace, &policy, &options, &simulation, error);
    if (status != DRAY_OK)
        return status;
    const dray_simulation_report *report = dray_simulation_report_of(simulation);
    printf("simulated, %-12s %6" PRIu64 " faults, %5" PRIu64 " MiB moved, %5" PRIu64
           " MiB read over the link\n",
           text, report->host_faults + report->device_faults,
           (report->to_devices_bytes + report->to_host_bytes) / MIB, report->remote_bytes / MIB);
    dray_simulation_destroy(simulation);
    return DRAY_OK;
}

int main(int count, char **arguments)
{
    const uint64_t steps = count > 1 ? strtoull(arguments[1], NULL, 10) : 20;
    dray_context *context = NULL;
    dray_trace *trace = NULL;
    dray_error error;
    dray_status status = dray_context_create(NULL, &context, &error);
    if (status == DRAY_OK)
        status = dray_trace_create(context, &trace, &error);
    if (status == DRAY_OK)
        status = trace_fill(trace, steps, &error);
    if (status == DRAY_OK)
        status = try_policy(trace, "default", &error);
    if (status == DRAY_OK)
        status = try_policy(trace, "prefer-host", &error);
    if (status != DRAY_OK)
        fprintf(stderr, "try_policies: %s\n", error.message);
    dray_trace_destroy(trace);
    dray_context_destroy(context);
    return status == DRAY_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
