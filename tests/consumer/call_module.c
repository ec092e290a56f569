// Loads the user's module, looks at it, calls it. Usage: call_module <module>
#include <dray/module.h>

#include <stdio.h>
#include <string.h>

static int fail(const char *what, const char *why)
{
    printf("%s: %s\n", what, why);
    return 1;
}

static int use(dray_context *context, dray_module *module)
{
    dray_function_object *function;
    dray_error error;
    if (dray_module_get_function(module, "add_one", false, &function, &error) != DRAY_OK)
        return fail("get_function", error.message);
    dray_any argument = dray_any_int(41), result;
    if (dray_function_call(context, function, &argument, 1, &result, &error) != DRAY_OK)
        return fail("call", error.message);
    if (result.as.i64 != 42)
        return fail("call", "not 42");
    if (dray_function_call(context, function, &argument, 0, &result, &error) != DRAY_E_FAILED ||
        strcmp(error.message, "TypeError: add_one wants one int") != 0)
        return fail("wrong call", error.message);
    dray_object_release(&function->head);
    dray_any doc;
    dray_byte_array text;
    if (dray_module_function_doc(module, "add_one", &doc, &error) != DRAY_OK ||
        !dray_any_get_text(&doc, &text) || strcmp(text.data, "the int that follows") != 0)
        return fail("doc", "not found");
    dray_any_release(&doc);
    return 0;
}

int main(int argc, char **argv)
{
    dray_context *context;
    dray_error error;
    if (argc != 2 || dray_context_create(NULL, &context, &error) != DRAY_OK)
        return fail("usage", "call_module <module>");
    const dray_policy policy = {.struct_bytes = sizeof(policy), .trust = DRAY_TRUST_ALLOW};
    const dray_module_options options = {.struct_bytes = sizeof(options), .policy = &policy};
    dray_module *module;
    if (dray_module_load_file(context, argv[1], &options, &module, &error) != DRAY_OK)
        return fail("load", error.message);
    int code = use(context, module);
    dray_module_release(module);
    dray_context_destroy(context);
    return code;
}
