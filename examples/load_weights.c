/// load_weights: opens a model, loads it into locked memory (ordinary memory where locking is not
/// allowed), and prints the first numbers of its tensors.
///
///     load_weights FILE
#include <dray/dray.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/// The first bytes of a tensor, whatever their type is.
static void print_tensor(const dray_tensor_view *view)
{
    const dray_tensor *tensor = view->tensor;
    const dray_dtype_info *dtype = dray_dtype_get_info(tensor->dtype);
    printf("%-32.*s %-6s", (int)tensor->name.length, tensor->name.bytes, dtype->name);
    for (uint32_t axis = 0; axis < tensor->rank; axis++)
        printf("%s%" PRIu64, axis ? "x" : " ", tensor->shape[axis]);
    if (tensor->dtype == DRAY_DTYPE_F32 && tensor->bytes >= sizeof(float)) {
        float first;
        memcpy(&first, view->pointer, sizeof(first)); // tensors may stand at any address
        printf("  begins with %g", (double)first);
    }
    putchar('\n');
}

static dray_status load(dray_weights *weights, dray_loaded **out_loaded, dray_error *error)
{
    dray_load_options options = {.struct_bytes = sizeof(options), .storage = DRAY_STORAGE_PINNED};
    dray_status status = dray_weights_load(weights, &options, out_loaded, error);
    if (status != DRAY_E_NOMEM)
        return status;
    fprintf(stderr, "load_weights: %s; using ordinary memory\n", error->message);
    options.storage = DRAY_STORAGE_SYSTEM;
    return dray_weights_load(weights, &options, out_loaded, error);
}

int main(int count, char **arguments)
{
    dray_context *context = NULL;
    dray_weights *weights = NULL;
    dray_loaded *loaded = NULL;
    dray_error error;
    if (count != 2) {
        fputs("usage: load_weights FILE\n", stderr);
        return 2;
    }
    dray_context_options options = {.struct_bytes = sizeof(options), .thread_count = 2};
    dray_status status = dray_context_create(&options, &context, &error);
    if (status == DRAY_OK)
        status = dray_weights_open(context, arguments[1], NULL, &weights, &error);
    if (status == DRAY_OK)
        status = load(weights, &loaded, &error);
    for (uint64_t i = 0; status == DRAY_OK && i < dray_loaded_count(loaded); i++) {
        dray_tensor_view view;
        status = dray_loaded_tensor_at(loaded, i, &view, &error);
        if (status == DRAY_OK)
            print_tensor(&view);
    }
    if (status != DRAY_OK)
        fprintf(stderr, "load_weights: %s\n", error.message);
    dray_loaded_free(loaded); // in the opposite order; NULL is fine
    dray_weights_close(weights);
    dray_context_destroy(context);
    return status == DRAY_OK ? 0 : 1;
}
