/// dray hints explain: the calls that a policy becomes on a backend. No driver is asked.
#include "command.h"
#include "hint_options.h"
#include "json_out.h"

#include <inttypes.h>
#include <string.h>

typedef struct explain_values {
    dray_hint_policy policy;
    uint64_t range_bytes;
    const char *backend;
    uint32_t driver; // 12020; 0: the newest
    bool json;
} explain_values;

static bool parse_backend(const char *text, void *field, option_problem *problem)
{
    if (strcmp(text, "cuda") != 0 && strcmp(text, "opencl") != 0 && strcmp(text, "host") != 0)
        return option_wrong(problem, "--on takes cuda, opencl or host, not \"%.32s\"", text);
    *(const char **)field = text;
    return true;
}

static bool parse_driver(const char *text, void *field, option_problem *problem)
{
    static const struct {
        const char *text;
        uint32_t version;
    } known[] = {{"11.8", 11080}, {"12.2", 12020}, {"12.8", 12080}, {"13.0", 13000}};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(text, known[i].text) == 0) {
            *(uint32_t *)field = known[i].version;
            return true;
        }
    }
    return option_wrong(problem, "--driver takes 11.8, 12.2, 12.8 or 13.0, not \"%.32s\"", text);
}

static bool explain_check(const void *values, option_problem *problem)
{
    const explain_values *given = values;
    if (given->driver && strcmp(given->backend, "cuda") != 0)
        return option_wrong(problem, "--driver is a version of CUDA: it goes with --on cuda");
    return true;
}

// --- a machine that has what the policy names --------------------------------------------------------

static uint32_t devices_named(const dray_hint_policy *policy)
{
    uint32_t count = 1;
    if (policy->preferred.place == DRAY_HINT_DEVICE)
        count = policy->preferred.index + 1;
    while (count < DRAY_HINT_DEVICES_MAX && policy->accessed_by.devices >> count)
        count++;
    return count;
}

/// What older drivers of CUDA lack.
static uint32_t features_missing(uint32_t driver)
{
    uint32_t missing = 0;
    if (driver && driver < 13000)
        missing |= DRAY_HINT_HAS_PREFETCH_BATCH | DRAY_HINT_HAS_DISCARD_BATCH;
    if (driver && driver < 12020)
        missing |= DRAY_HINT_HAS_ADVISE_V2 | DRAY_HINT_HAS_PREFETCH_V2 | DRAY_HINT_HAS_RANGE_NODES;
    return missing;
}

static dray_status machine_imagine(const explain_values *given, dray_hint_abilities *out,
                                   dray_error *error)
{
    const dray_hint_policy *policy = &given->policy;
    dray_status status = dray_hint_assume(given->backend, devices_named(policy), out, error);
    if (status != DRAY_OK)
        return status;
    out->features &= ~features_missing(given->driver);
    if (policy->preferred.place == DRAY_HINT_DEVICE && strcmp(given->backend, "opencl") == 0)
        out->ordinal = policy->preferred.index; // the device whose memory it is
    if (policy->preferred.place == DRAY_HINT_HOST_NUMA)
        out->node_count = policy->preferred.index + 1;
    return DRAY_OK;
}

// --- output --------------------------------------------------------------------------------------------

static void call_out(json_out *json, const dray_hint_call *call)
{
    json_object_flat(json, NULL);
    json_string(json, "function", dray_hint_function_name(call->function));
    json_u64(json, "bytes", call->bytes);
    json_string(json, "advice", dray_hint_advice_name(call->function, call->advice));
    json_object_flat(json, "location");
    json_string(json, "type", dray_hint_place_name(call->location.place));
    json_i64(json, "id", dray_hint_call_location_id(call));
    json_end(json);
    json_end(json);
}

static void document_out(const explain_values *given, const dray_hint_lowering *lowering)
{
    char policy[DRAY_HINT_TEXT_BYTES];
    const dray_hint_call *calls;
    uint64_t count = dray_hint_lowering_calls(lowering, &calls);
    json_out json = json_begin(stdout);
    json_object(&json, NULL);
    json_string(&json, "policy", dray_hint_policy_print(&given->policy, policy));
    json_array(&json, "calls");
    for (uint64_t i = 0; i < count; i++)
        call_out(&json, &calls[i]);
    json_end(&json);
    json_end(&json);
    json_finish(&json);
}

static void write_stdout(void *self, const char *text, size_t bytes)
{
    (void)self;
    fwrite(text, 1, bytes, stdout);
}

/// The document has no place for them.
static void remarks_complain(const dray_hint_lowering *lowering)
{
    const dray_hint_remark *remarks;
    uint64_t count = dray_hint_lowering_remarks(lowering, &remarks);
    for (uint64_t i = 0; i < count; i++)
        fprintf(stderr, "dray hints explain: %s: %s\n",
                remarks[i].is_skip        ? "skipped"
                : remarks[i].is_no_effect ? "no effect"
                                          : "degraded",
                remarks[i].text);
}

static dray_status explain(session *job, const explain_values *given, dray_hint_plan *plan)
{
    dray_hint_abilities abilities;
    dray_hint_range range;
    dray_hint_lowering *lowering = NULL;
    dray_status status = machine_imagine(given, &abilities, &job->error);
    if (status == DRAY_OK) // an address that stands for one: nothing is ever read there
        status = dray_hint_range_raw((void *)(uintptr_t)abilities.page_bytes, given->range_bytes,
                                     &range, &job->error);
    if (status == DRAY_OK)
        status = dray_hint_plan_lower(dray_hint_plan_policy(plan, range, given->policy), &abilities,
                                      NULL, &lowering, &job->error);
    if (status != DRAY_OK)
        return status;
    if (given->json) {
        document_out(given, lowering);
        remarks_complain(lowering);
    } else {
        dray_hint_lowering_print(lowering, write_stdout, NULL);
    }
    dray_hint_lowering_destroy(lowering);
    return DRAY_OK;
}

static int explain_run(const void *values)
{
    const explain_values *given = values;
    session job = session_begin("hints explain", given->json);
    dray_hint_plan *plan = NULL;
    dray_status status = session_context(&job, (option_number){.given = true});
    if (status == DRAY_OK)
        status = dray_hint_plan_create(job.context, &plan, &job.error);
    if (status == DRAY_OK)
        status = explain(&job, given, plan);
    dray_hint_plan_destroy(plan);
    return session_end(&job, status, false);
}

static const option explain_options[] = {
    {"policy", "P", HINT_POLICY_HELP, .parse = option_hint_policy,
     .at = offsetof(explain_values, policy), .required = true},
    {"range", "BYTES", "how many bytes the hint is about", .parse = option_bytes,
     .at = offsetof(explain_values, range_bytes), .required = true},
    {"on", "BACKEND", "cuda, opencl or host", .parse = parse_backend,
     .at = offsetof(explain_values, backend), .required = true},
    {"driver", "VERSION", "with --on cuda: 11.8, 12.2, 12.8 or 13.0 (default: the newest)",
     .parse = parse_driver, .at = offsetof(explain_values, driver)},
    {"json", NULL, "one JSON document on standard output: {policy, calls}",
     .at = offsetof(explain_values, json)},
    {0},
};

const command command_hints_explain = {
    .name = "hints explain",
    .summary = "the exact calls that a policy becomes on a backend; no driver is needed",
    .description =
        "Prints the calls in their order, with the bytes, the advice and the location that each gets, and\n"
        "why parts of the policy become another call or none. It is the list that `dray hints apply` and the\n"
        "library execute, for a machine that has every device and NUMA node the policy names. What `reset`\n"
        "unsets depends on what is set; here everything it could unset is listed.\n",
    .options = explain_options,
    .values_bytes = sizeof(explain_values),
    .check = explain_check,
    .run = explain_run,
};
