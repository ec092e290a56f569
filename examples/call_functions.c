/// call_functions: a module over functions of the program itself, found by name in the registry, and a
/// module from bytes for whoever has one.
///
///     call_functions [MODULE FUNCTION [INT]]
#include <dray/module.h>

#include <stdio.h>
#include <stdlib.h>

static int add(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    int64_t sum = 0, value;
    for (int32_t i = 0; i < count; i++) {
        if (!dray_any_get_int(&arguments[i], &value))
            return dray_function_raise(handle, "TypeError", "add wants ints");
        sum += value;
    }
    *result = dray_any_int(sum);
    return 0;
}

static dray_status call(dray_context *context, dray_module *module, const char *name,
                        const dray_any *arguments, int32_t count, dray_error *error)
{
    dray_function_object *function;
    dray_any result;
    dray_status status = dray_module_get_function(module, name, true, &function, error);
    if (status != DRAY_OK)
        return status;
    status = dray_function_call(context, function, arguments, count, &result, error);
    dray_byte_array text;
    if (status == DRAY_OK && dray_any_get_text(&result, &text))
        printf("%s: %s\n", name, text.data);
    else if (status == DRAY_OK)
        printf("%s: %lld\n", name, (long long)result.as.i64);
    dray_any_release(&result);
    dray_object_release(&function->head);
    return status;
}

/// A table of the program's own functions; what fails in them arrives as an error.
static dray_status own_functions(dray_context *context, dray_error *error)
{
    const dray_static_function functions[] = {
        {.name = "add", .call = add, .handle = context, .doc = "the sum of ints"}};
    const dray_static_table table = {
        .struct_bytes = sizeof(table), .name = "own", .count = 1, .functions = functions};
    dray_module *module;
    dray_status status = dray_module_create_static(context, &table, &module, error);
    if (status != DRAY_OK)
        return status;
    const dray_any numbers[] = {dray_any_int(40), dray_any_int(2)};
    status = call(context, module, "add", numbers, 2, error);
    dray_any wrong = dray_any_text("forty");
    if (status == DRAY_OK && call(context, module, "add", &wrong, 1, error) == DRAY_E_FAILED)
        printf("add: %s\n", error->message);
    dray_any_release(&wrong);
    dray_module_release(module);
    return status;
}

/// The policy is the program's decision: this one trusts what its user named.
static dray_status from_file(dray_context *context, char **arguments, int count, dray_error *error)
{
    const dray_policy policy = {.struct_bytes = sizeof(policy), .trust = DRAY_TRUST_ALLOW};
    const dray_module_options options = {.struct_bytes = sizeof(options), .policy = &policy};
    dray_module *module;
    dray_status status = dray_module_load_file(context, arguments[1], &options, &module, error);
    if (status != DRAY_OK)
        return status;
    dray_any argument = dray_any_int(count > 3 ? atoll(arguments[3]) : 0);
    status = call(context, module, arguments[2], &argument, count > 3, error);
    dray_module_release(module);
    return status;
}

int main(int argc, char **argv)
{
    dray_context *context;
    dray_error error;
    dray_status status = dray_context_create(NULL, &context, &error);
    if (status == DRAY_OK) {
        status = own_functions(context, &error);
        if (status == DRAY_OK && argc > 2)
            status = from_file(context, argv, argc, &error);
        dray_context_destroy(context);
    }
    if (status != DRAY_OK)
        fprintf(stderr, "call_functions: %s\n", error.message);
    return status == DRAY_OK ? 0 : 1;
}
