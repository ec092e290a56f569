/// Every loader that looks at bytes, through the public call: as whatever the bytes look like, and as what the
/// first byte says they are. Loading without a device goes the same way and keeps what it copied.
#include "dray/module.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inspect(dray_context *context, const char *kind, const dray_module_source *source)
{
    dray_module_facts *facts;
    dray_error error;
    if (dray_module_inspect(context, kind, source, &facts, &error) != DRAY_OK)
        return;
    const dray_module_facts_view *view = dray_module_facts_get(facts);
    size_t letters = strlen(view->kind) + strlen(view->arch);
    for (uint64_t i = 0; i < view->function_count; i++)
        letters += strlen(view->functions[i]);
    if (letters == 0)
        abort(); // a kind has a name
    dray_module_facts_destroy(facts);
}

static void carry(dray_context *context, const char *kind, const dray_module_source *source)
{
    dray_module *module;
    dray_error error;
    if (dray_module_load(context, kind, source, NULL, &module, &error) == DRAY_OK)
        dray_module_release(module);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const kinds[] = {"opencl-binary", "spirv",  "cubin",
                                        "ptx",           "fatbin", "opencl-source"};
    dray_context *context;
    dray_error error;
    if (size == 0 || dray_context_create(NULL, &context, &error) != DRAY_OK)
        return 0;
    const dray_module_source source = {
        .struct_bytes = sizeof(source), .bytes = data + 1, .byte_count = size - 1};
    const char *kind = kinds[data[0] % (sizeof(kinds) / sizeof(kinds[0]))];
    inspect(context, "auto", &source);
    inspect(context, kind, &source);
    carry(context, kind, &source); // none of these is native, so no policy is asked
    dray_context_destroy(context);
    return 0;
}
