/// dray hints apply: a hint about tensors of a mapped model file, and what came of it.
#include "command.h"
#include "hint_options.h"
#include "json_out.h"
#include "table.h"
#include "text.h"
#include <dray/spi/region.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct apply_values {
    const char *file, *tensors;
    struct {
        bool given;
        dray_hint_policy value;
    } policy;
    struct {
        bool given;
        dray_hint_location value;
    } prefetch;
    bool release, lenient, json;
} apply_values;

static bool parse_policy(const char *text, void *field, option_problem *problem)
{
    apply_values values = {.policy.given = true};
    if (!option_hint_policy(text, &values.policy.value, problem))
        return false;
    memcpy(field, &values.policy, sizeof(values.policy));
    return true;
}

static bool parse_prefetch(const char *text, void *field, option_problem *problem)
{
    apply_values values = {.prefetch.given = true};
    if (!option_hint_location(text, &values.prefetch.value, problem))
        return false;
    if (values.prefetch.value.place == DRAY_HINT_NOWHERE)
        return option_wrong(problem,
                            "--prefetch takes a place: host, numa:N, numa:current, device:N");
    memcpy(field, &values.prefetch, sizeof(values.prefetch));
    return true;
}

static bool apply_check(const void *values, option_problem *problem)
{
    const apply_values *given = values;
    int wishes = given->policy.given + given->prefetch.given + given->release;
    return wishes == 1 ||
           option_wrong(problem, "give one of --policy, --prefetch and --release, not %d", wishes);
}

// --- the work ------------------------------------------------------------------------------------------

typedef struct apply_job {
    session base;
    const apply_values *given;
    uint32_t file_count;
    dray_model_data **files; // mapped; NULL: no tensor of it is wanted
    uint64_t *tensors;       // that are wanted, in file order
    uint64_t tensor_count, bytes;
    dray_hints *hints;
    dray_hint_plan *plan;
    dray_hint_run *run;
    dray_residency before, after;
} apply_job;

static void job_end(apply_job *job)
{
    dray_hint_run_destroy(job->run);
    dray_hint_plan_destroy(job->plan);
    dray_hints_close(job->hints);
    for (uint32_t i = 0; job->files && i < job->file_count; i++)
        dray_model_data_close(job->files[i]);
    free(job->files);
    free(job->tensors);
}

static dray_status file_map(apply_job *job, uint32_t index, const dray_region *region)
{
    dray_region_native native;
    const dray_weights_file *file = dray_weights_file_at(job->base.weights, index);
    if (job->files[index])
        return DRAY_OK;
    dray_region_get_native(region, &native);
    if (native.storage != DRAY_STORAGE_DISK)
        return dray_fail(&job->base.error, DRAY_E_UNSUPPORTED,
                         "%s: its bytes were unpacked into memory; hints are about mapped files",
                         file->path);
    dray_model_data_options options = {.struct_bytes = sizeof(options),
                                       .backing = DRAY_BACKING_MAPPED,
                                       .keep_compressed = 1,
                                       .offset = native.file_offset,
                                       .bytes = file->bytes};
    return dray_model_data_open_fd(job->base.context, native.fd, file->path, &options,
                                   &job->files[index], &job->base.error);
}

static dray_status tensors_find(apply_job *job)
{
    const dray_weights *weights = job->base.weights;
    const char *pattern = job->given->tensors;
    dray_weights_info info;
    const dray_tensor *tensor;
    dray_span span;
    dray_weights_get_info(weights, &info);
    job->file_count = info.file_count;
    job->files = text_memory(NULL, (info.file_count + 1) * sizeof(void *));
    memset(job->files, 0, (info.file_count + 1) * sizeof(void *));
    job->tensors = text_memory(NULL, (info.tensor_count + 1) * sizeof(*job->tensors));
    dray_status status = dray_tensor_pattern_check(pattern, &job->base.error);
    for (uint64_t i = 0; status == DRAY_OK && (tensor = dray_weights_tensor_at(weights, i)); i++) {
        if (!dray_tensor_matches(tensor, pattern) || tensor->bytes == 0)
            continue;
        status = dray_weights_tensor_span(weights, i, &span, &job->base.error);
        if (status == DRAY_OK)
            status = file_map(job, tensor->file, span.region);
        job->tensors[job->tensor_count++] = i;
        job->bytes += tensor->bytes;
    }
    if (status == DRAY_OK && job->tensor_count == 0)
        return dray_fail(&job->base.error, DRAY_E_NOTFOUND,
                         "none of %" PRIu64 " tensors matches \"%s\"", info.tensor_count,
                         pattern ? pattern : "*");
    return status;
}

static const dray_tensor *tensor_of(const apply_job *job, uint64_t index)
{
    return dray_weights_tensor_at(job->base.weights, job->tensors[index]);
}

static void add_known(uint64_t *sum, uint64_t more)
{
    *sum = *sum == DRAY_UNKNOWN || more == DRAY_UNKNOWN ? DRAY_UNKNOWN : *sum + more;
}

/// Tensors that lie close together are looked at as one, so that no page is counted twice.
static dray_status residency_sum(apply_job *job, dray_residency *out)
{
    const uint64_t page_bytes = dray_hints_abilities(job->hints)->page_bytes;
    *out = (dray_residency){0};
    for (uint64_t i = 0; i < job->tensor_count;) {
        const dray_tensor *first = tensor_of(job, i);
        uint64_t end = first->offset + first->bytes;
        for (i++; i < job->tensor_count; i++) {
            const dray_tensor *tensor = tensor_of(job, i);
            if (tensor->file != first->file || tensor->offset > end + page_bytes)
                break;
            end = tensor->offset + tensor->bytes;
        }
        dray_residency part;
        dray_status status = dray_model_data_residency(
            job->files[first->file], first->offset, end - first->offset, &part, &job->base.error);
        if (status != DRAY_OK)
            return status;
        out->bytes += part.bytes;
        add_known(&out->mapped_bytes, part.mapped_bytes);
        add_known(&out->cached_bytes, part.cached_bytes);
    }
    return DRAY_OK;
}

static dray_status plan_fill(apply_job *job)
{
    const apply_values *given = job->given;
    for (uint64_t i = 0; i < job->tensor_count; i++) {
        const dray_tensor *tensor = tensor_of(job, i);
        dray_span span = {.region = dray_model_data_region(job->files[tensor->file]),
                          .offset = tensor->offset,
                          .bytes = tensor->bytes};
        dray_hint_range range;
        dray_status status = dray_hint_range_span(&span, &range, &job->base.error);
        if (status != DRAY_OK)
            return status;
        if (given->policy.given)
            dray_hint_plan_policy(job->plan, range, given->policy.value);
        else if (given->prefetch.given)
            dray_hint_plan_prefetch(job->plan, range, given->prefetch.value);
        else
            dray_hint_plan_release(job->plan, range, DRAY_HINT_OUT);
    }
    return DRAY_OK;
}

static dray_status job_prepare(apply_job *job)
{
    dray_error *error = &job->base.error;
    dray_status status = tensors_find(job);
    if (status == DRAY_OK)
        status = dray_hints_open(job->base.context, NULL, &job->hints, error);
    if (status == DRAY_OK)
        status = dray_hint_plan_create(job->base.context, &job->plan, error);
    if (status == DRAY_OK)
        status = plan_fill(job);
    if (status == DRAY_OK)
        status = dray_hint_run_create(job->hints, job->plan, NULL, &job->run, error);
    return status;
}

/// Failures of single hints stand in their results; only the first is returned.
static dray_status job_run(apply_job *job)
{
    dray_status status = residency_sum(job, &job->before);
    if (status != DRAY_OK)
        return status;
    status = dray_hint_run_start(job->run, &job->base.error);
    dray_status end = dray_hint_run_wait(job->run, status == DRAY_OK ? &job->base.error : NULL);
    if (status == DRAY_OK)
        status = end;
    dray_status looked = residency_sum(job, &job->after) == DRAY_OK ? DRAY_OK : DRAY_E_INTERNAL;
    return status == DRAY_OK ? looked : status;
}

// --- JSON ----------------------------------------------------------------------------------------------

static void residency_out(json_out *json, const char *key, const dray_residency *residency)
{
    json_object_flat(json, key);
    json_u64(json, "bytes", residency->bytes);
    json_u64_or_null(json, "cached_bytes", residency->cached_bytes, DRAY_UNKNOWN);
    json_u64_or_null(json, "mapped_bytes", residency->mapped_bytes, DRAY_UNKNOWN);
    json_end(json);
}

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

static void entry_out(json_out *json, const apply_job *job, uint64_t index)
{
    const dray_tensor *tensor = tensor_of(job, index);
    const dray_hint_result *result = dray_hint_run_result(job->run, index);
    json_object_flat(json, NULL);
    json_text(json, "name", tensor->name.bytes, tensor->name.length);
    json_u64(json, "bytes", tensor->bytes);
    json_string(json, "outcome", dray_hint_outcome_name(result->outcome));
    json_string(json, "note", result->note);
    if (result->outcome == DRAY_HINT_FAILED)
        json_string(json, "code", result->code_name);
    json_end(json);
}

static void document_out(const apply_job *job, dray_status status)
{
    const dray_hint_call *calls;
    uint64_t call_count = dray_hint_lowering_calls(dray_hint_run_lowering(job->run), &calls);
    json_out json = json_begin(stdout);
    json_object(&json, NULL);
    json_string(&json, "model", job->given->file);
    json_u64(&json, "tensor_count", job->tensor_count);
    json_u64(&json, "bytes", job->bytes);
    residency_out(&json, "before", &job->before);
    residency_out(&json, "after", &job->after);
    json_string(&json, "worst", dray_hint_outcome_name(dray_hint_run_worst(job->run)));
    json_rounded(&json, "seconds", session_seconds(&job->base));
    json_array(&json, "calls");
    for (uint64_t i = 0; i < call_count; i++)
        call_out(&json, &calls[i]);
    json_end(&json);
    json_array(&json, "tensors");
    for (uint64_t i = 0; i < job->tensor_count; i++)
        entry_out(&json, job, i);
    json_end(&json);
    session_warnings_out(&json, job->base.weights);
    if (status != DRAY_OK)
        session_error_out(&json, &job->base.error);
    json_end(&json);
    json_finish(&json);
}

// --- for people ----------------------------------------------------------------------------------------

static const char *bytes_or_unknown(char out[TEXT_NUMBER_BYTES], uint64_t bytes)
{
    return bytes == DRAY_UNKNOWN ? "unknown" : text_bytes(out, bytes);
}

static void print_residency(const apply_job *job)
{
    static const table_column columns[] = {{"", TABLE_LEFT, 0},
                                           {"in the page cache", TABLE_RIGHT, 0},
                                           {"in this process", TABLE_RIGHT, 0},
                                           {"of", TABLE_RIGHT, 0}};
    char cached[TEXT_NUMBER_BYTES], mapped[TEXT_NUMBER_BYTES], whole[TEXT_NUMBER_BYTES];
    table *rows = table_create(columns, 4);
    for (int i = 0; i < 2; i++) {
        const dray_residency *seen = i == 0 ? &job->before : &job->after;
        table_cell(rows, "%s", i == 0 ? "before" : "after");
        table_cell(rows, "%s", bytes_or_unknown(cached, seen->cached_bytes));
        table_cell(rows, "%s", bytes_or_unknown(mapped, seen->mapped_bytes));
        table_cell(rows, "%s", text_bytes(whole, seen->bytes));
    }
    table_print(rows, stdout, 2);
    table_destroy(rows);
}

/// One line for all tensors of which the same came.
static void print_outcomes(const apply_job *job)
{
    char *seen = text_memory(NULL, job->tensor_count);
    memset(seen, 0, job->tensor_count);
    for (uint64_t i = 0; i < job->tensor_count; i++) {
        const dray_hint_result *result = dray_hint_run_result(job->run, i);
        uint64_t same = 0;
        for (uint64_t k = i; k < job->tensor_count && !seen[i]; k++) {
            const dray_hint_result *other = dray_hint_run_result(job->run, k);
            bool is_same = other->outcome == result->outcome && other->note == result->note &&
                           other->code == result->code;
            if (seen[k] || !is_same)
                continue;
            seen[k] = (char)(k > i);
            same++;
        }
        if (same > 0)
            printf("  %" PRIu64 " tensor%s %s%s%s%s%s\n", same, same == 1 ? "" : "s",
                   dray_hint_outcome_name(result->outcome), result->note ? ": " : "",
                   result->note ? result->note : "", result->code_name ? " " : "",
                   result->code_name ? result->code_name : "");
    }
    free(seen);
}

static void print_report(const apply_job *job)
{
    char bytes[TEXT_NUMBER_BYTES], seconds[TEXT_NUMBER_BYTES];
    const dray_hint_call *calls;
    uint64_t call_count = dray_hint_lowering_calls(dray_hint_run_lowering(job->run), &calls);
    char *safe = text_safe(job->given->file, strlen(job->given->file));
    printf("%s: %" PRIu64 " tensor%s, %s, %" PRIu64 " call%s, %s\n", safe, job->tensor_count,
           job->tensor_count == 1 ? "" : "s", text_bytes(bytes, job->bytes), call_count,
           call_count == 1 ? "" : "s", text_seconds(seconds, session_seconds(&job->base)));
    free(safe);
    print_residency(job);
    print_outcomes(job);
    if (job->given->policy.given && call_count > 0)
        printf("  what a policy sets on a mapping ends with this process; the page cache stays\n");
}

static int apply_run(const void *values)
{
    const apply_values *given = values;
    apply_job job = {.base = session_begin("hints apply", given->json), .given = given};
    dray_status status = session_open(&job.base, given->file, given->lenient, (option_number){0}, 0);
    if (status == DRAY_OK)
        status = job_prepare(&job);
    bool ran = status == DRAY_OK;
    if (ran) {
        status = job_run(&job);
        if (given->json)
            document_out(&job, status);
        else
            print_report(&job);
    }
    job_end(&job);
    return session_end(&job.base, status, ran && given->json);
}

static const option apply_options[] = {
    {"tensors", "GLOB", "only tensors whose names match, like 'blk.[0-3].*' (default: all)",
     .parse = option_text, .at = offsetof(apply_values, tensors)},
    {"policy", "P", HINT_POLICY_HELP, .parse = parse_policy, .at = offsetof(apply_values, policy)},
    {"prefetch", "LOCATION", "bring the bytes to host, numa:N or numa:current now",
     .parse = parse_prefetch, .at = offsetof(apply_values, prefetch)},
    {"release", NULL, "out of memory: of this process and of the page cache",
     .at = offsetof(apply_values, release)},
    {"lenient", NULL, "accept what breaks a rule of the format and can still be read",
     .at = offsetof(apply_values, lenient)},
    {"json", NULL, "one JSON document on standard output", .at = offsetof(apply_values, json)},
    {0},
};

const command command_hints_apply = {
    .name = "hints apply",
    .summary = "hint about tensors of a mapped model file, and measure what came of it",
    .description =
        "Maps the file, gives the hint for every tensor that matches (neighbours as one), and says what\n"
        "became of each: verified (measured), accepted, degraded, skipped with the reason, or failed. Where\n"
        "the bytes are is looked up before and after. Nothing is reported as done that was not seen.\n",
    .operand = {.name = "MODEL", .at = offsetof(apply_values, file)},
    .options = apply_options,
    .values_bytes = sizeof(apply_values),
    .check = apply_check,
    .run = apply_run,
};
