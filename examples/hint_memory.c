/// dray/hints.h: tensors of a model file brought into memory and kept there, with an account of what the
/// system really did, and put back afterwards.
///
///     hint_memory MODEL [PATTERN]        build/dev/examples/hint_memory demo.gguf 'blk.0.*'
///
/// The same plan works on a device: open it, and give it to dray_hints_open().
#include <dray/dray.h>

#include <stdio.h>
#include <stdlib.h>

static void check(dray_status status, const dray_error *error)
{
    if (status == DRAY_OK)
        return;
    fprintf(stderr, "hint_memory: %s\n", error->message);
    exit(1);
}

static void write_out(void *self, const char *text, size_t bytes)
{
    (void)self;
    fwrite(text, 1, bytes, stdout);
}

/// One hint for each tensor of the file that matches. Returns how many. Hints in a row whose bytes are
/// neighbours become one call.
static uint64_t plan_tensors(const dray_weights *weights, dray_model_data *file, const char *pattern,
                             bool prefetch, dray_hint_plan *plan, dray_error *error)
{
    const dray_tensor *tensor;
    uint64_t count = 0;
    for (uint64_t i = 0; (tensor = dray_weights_tensor_at(weights, i)); i++) {
        if (!dray_tensor_matches(tensor, pattern) || tensor->bytes == 0)
            continue;
        dray_span span = {dray_model_data_region(file), tensor->offset, tensor->bytes};
        dray_hint_range range;
        check(dray_hint_range_span(&span, &range, error), error);
        if (prefetch)
            dray_hint_plan_prefetch(plan, range, dray_hint_at_host());
        else
            dray_hint_plan_policy(plan, range, dray_hint_prefer_host());
        count++;
    }
    return count;
}

static void run(dray_hints *hints, const dray_hint_plan *plan, dray_error *error)
{
    dray_hint_run *run;
    dray_hint_undo_report undone;
    check(dray_hint_run_create(hints, plan, NULL, &run, error), error);
    printf("these calls:\n");
    dray_hint_lowering_print(dray_hint_run_lowering(run), write_out, NULL);
    check(dray_hint_run_start(run, error), error);
    check(dray_hint_run_wait(run, error), error);
    uint64_t length = dray_hint_run_length(run);
    for (uint64_t i = 0; i<length; i += length> 1 ? length - 1 : 1) {
        const dray_hint_result *result = dray_hint_run_result(run, i); // of the first and the last
        printf("hint %u: %s%s%s\n", (unsigned)i, dray_hint_outcome_name(result->outcome),
               result->note ? ": " : "", result->note ? result->note : "");
    }
    printf("worst of all: %s\n", dray_hint_outcome_name(dray_hint_run_worst(run)));
    check(dray_hint_run_undo(run, &undone, error), error);
    printf("undone: %u restored, %u that only moved bytes\n", (unsigned)undone.restored,
           (unsigned)undone.impossible);
    dray_hint_run_destroy(run);
}

int main(int count, char **arguments)
{
    dray_error error;
    dray_context *context;
    dray_model_data *file;
    dray_weights *weights;
    dray_hints *hints;
    dray_hint_plan *plan;
    const char *pattern = count > 2 ? arguments[2] : NULL;
    if (count < 2) {
        fprintf(stderr, "usage: hint_memory MODEL [PATTERN]\n");
        return 2;
    }
    dray_model_data_options mapped = {.struct_bytes = sizeof(mapped),
                                      .backing = DRAY_BACKING_MAPPED};
    check(dray_context_create(NULL, &context, &error), &error);
    check(dray_tensor_pattern_check(pattern, &error), &error);
    check(dray_model_data_open(context, arguments[1], &mapped, &file, &error), &error);
    check(dray_weights_open(context, arguments[1], NULL, &weights, &error), &error);
    check(dray_hints_open(context, NULL, &hints, &error), &error); // NULL: Linux memory
    check(dray_hint_plan_create(context, &plan, &error), &error);
    uint64_t tensors = plan_tensors(weights, file, pattern, true, plan, &error);
    plan_tensors(weights, file, pattern, false, plan, &error);
    printf("%u tensors, %u hints\n", (unsigned)tensors, (unsigned)dray_hint_plan_length(plan));
    run(hints, plan, &error);
    dray_hint_plan_destroy(plan);
    dray_hints_close(hints);
    dray_weights_close(weights);
    dray_model_data_close(file);
    dray_context_destroy(context);
    return 0;
}
