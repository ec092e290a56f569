// Calls the stock module through dray, in a process without libtvm_ffi. Usage: tvm_ffi_use <module>
#include <dray/module.h>

#include <stdio.h>

static void call(dray_context *context, dray_module *module, const char *name, dray_any argument)
{
    dray_function_object *function;
    dray_error error;
    dray_any result;
    dray_byte_array text;
    if (dray_module_get_function(module, name, false, &function, &error) != DRAY_OK) {
        printf("%s\n", error.message);
        return;
    }
    if (dray_function_call(context, function, &argument, 1, &result, &error) != DRAY_OK)
        printf("%s: %s\n", dray_status_name(error.status), error.message);
    else if (dray_any_get_text(&result, &text))
        printf("%s\n", text.data);
    else
        printf("%d\n", (int)result.as.i64);
    dray_any_release(&result);
    dray_any_release(&argument);
    dray_object_release(&function->head);
}

/// What libtvm_ffi answers by ending the process: a type that does not exist, past the checks of dray.
static void call_with_nonsense(dray_context *context, dray_module *module)
{
    dray_function_object *function;
    dray_any argument = {.type_index = 4711}, result = {0};
    if (dray_module_get_function(module, "add_one", false, &function, NULL) != DRAY_OK)
        return;
    int code = function->call(function, &argument, 1, &result);
    dray_any raised = dray_function_take_raised(context);
    printf("nonsense: %d, %s\n", code, dray_type_name(raised.type_index));
    dray_any_release(&raised);
    dray_object_release(&function->head);
}

int main(int argc, char **argv)
{
    dray_context *context;
    dray_error error;
    if (argc != 2 || dray_context_create(NULL, &context, &error) != DRAY_OK)
        return 1;
    const dray_policy policy = {.struct_bytes = sizeof(policy), .trust = DRAY_TRUST_ALLOW};
    const dray_module_options options = {.struct_bytes = sizeof(options), .policy = &policy};
    dray_module *module;
    if (dray_module_load_file(context, argv[1], &options, &module, &error) != DRAY_OK) {
        printf("%s\n", error.message);
        return 1;
    }
    call(context, module, "add_one", dray_any_int(41));
    call(context, module, "add_one", dray_any_int(13));
    call(context, module, "greet", dray_any_text("you"));
    call(context, module, "greet", dray_any_text("everybody who reads this"));
    call_with_nonsense(context, module);
    dray_module_release(module);
    dray_context_destroy(context);
    return 0;
}
