/// The registry from outside, and the functions that stand in it from the start.
#include "module/load_module.h"
#include "module/module_object.h"

#include <string.h>

dray_status dray_global_set(dray_context *context, const char *name, dray_function_object *function,
                            dray_module *provider, uint32_t flags, dray_error *error)
{
    drayi_modules *modules = drayi_modules_of(drayi_env_of(context), error);
    if (!modules)
        return DRAY_E_NOMEM;
    return drayi_places_set(&modules->places, name, function, provider, flags, error);
}

dray_status dray_global_remove(dray_context *context, const char *name, int64_t timeout_ns,
                               dray_error *error)
{
    drayi_modules *modules = drayi_modules_of(drayi_env_of(context), error);
    if (!modules)
        return DRAY_E_NOMEM;
    return drayi_places_remove(&modules->places, name, NULL, timeout_ns, error);
}

dray_global_hold dray_global_borrow(dray_context *context, const char *name)
{
    drayi_modules *modules = drayi_modules_of(drayi_env_of(context), NULL);
    return modules ? drayi_places_borrow(&modules->places, name, strlen(name))
                   : (dray_global_hold){0};
}

dray_status dray_global_get(dray_context *context, const char *name,
                            dray_function_object **out_function, dray_error *error)
{
    drayi_modules *modules = drayi_modules_of(drayi_env_of(context), error);
    if (!modules)
        return DRAY_E_NOMEM;
    dray_global_hold hold = drayi_places_borrow(&modules->places, name, strlen(name));
    if (!hold.function)
        return dray_fail(error, DRAY_E_NOTFOUND, "global \"%.255s\" is not registered", name);
    dray_object_retain(&hold.function->head);
    *out_function = hold.function;
    dray_global_give_back(&hold);
    return DRAY_OK;
}

dray_status dray_global_list(dray_context *context, const char *prefix,
                             void (*each)(void *self, const char *name), void *self,
                             dray_error *error)
{
    drayi_modules *modules = drayi_modules_of(drayi_env_of(context), error);
    if (!modules)
        return DRAY_E_NOMEM;
    const char **names;
    uint64_t count, capacity;
    DRAY_TRY(drayi_places_list(&modules->places, prefix, &names, &count, &capacity, error));
    for (uint64_t i = 0; i < count; i++)
        each(self, names[i]);
    drayi_free(modules->env, names, capacity * sizeof(*names));
    return DRAY_OK;
}

void dray_module_set_policy(dray_context *context, const dray_policy *policy)
{
    drayi_modules *modules = drayi_modules_of(drayi_env_of(context), NULL);
    if (modules)
        atomic_store(&modules->policy, policy);
}

// --- functions of dray's own --------------------------------------------------------------------------

/// Hands a module over as a result; `module` is given up.
static int give_module(drayi_modules *modules, dray_module *module, dray_any *result)
{
    *result = dray_any_module(module);
    dray_module_release(module);
    return result->type_index != DRAY_TYPE_NONE
               ? 0
               : dray_function_raise(modules->context, "MemoryError", "no memory for a module");
}

/// ffi.ModuleLoadFromBytes (kind, Bytes) -> module
static int load_from_bytes(void *self, const dray_any *arguments, int32_t count, dray_any *result)
{
    drayi_modules *modules = self;
    dray_byte_array kind, bytes;
    if (count != 2 || !dray_any_get_text(&arguments[0], &kind) ||
        !dray_any_get_bytes(&arguments[1], &bytes))
        return dray_function_raise(modules->context, "TypeError",
                                   "ffi.ModuleLoadFromBytes wants (kind, bytes)");
    dray_error error;
    dray_module *module;
    const drayi_load_ask ask = {.kind = kind.data};
    if (drayi_load_memory(modules, &ask, bytes.data, bytes.size, &module, &error) != DRAY_OK)
        return drayi_raise(modules, &error);
    return give_module(modules, module, result);
}

/// ffi.ModuleLoadFromFile (path) -> module
static int load_from_file(void *self, const dray_any *arguments, int32_t count, dray_any *result)
{
    drayi_modules *modules = self;
    dray_byte_array path;
    if (count != 1 || !dray_any_get_text(&arguments[0], &path))
        return dray_function_raise(modules->context, "TypeError",
                                   "ffi.ModuleLoadFromFile wants (path)");
    dray_error error;
    dray_module *module;
    if (dray_module_load_file(modules->context, path.data, NULL, &module, &error) != DRAY_OK)
        return drayi_raise(modules, &error);
    return give_module(modules, module, result);
}

/// ffi.ModuleGetFunction (module, name[, through imports]) -> function, or none
static int get_function(void *self, const dray_any *arguments, int32_t count, dray_any *result)
{
    drayi_modules *modules = self;
    dray_module *module = count >= 1 ? dray_any_get_module(&arguments[0]) : NULL;
    dray_byte_array name;
    int64_t through = 0;
    if (count < 2 || count > 3 || !module || !dray_any_get_text(&arguments[1], &name) ||
        (count == 3 && !dray_any_get_int(&arguments[2], &through)))
        return dray_function_raise(modules->context, "TypeError",
                                   "ffi.ModuleGetFunction wants (module, name, through imports)");
    dray_error error;
    dray_function_object *function;
    dray_status status =
        dray_module_get_function(module, name.data, through != 0, &function, &error);
    if (status == DRAY_E_NOTFOUND)
        *result = dray_any_none();
    else if (status != DRAY_OK)
        return drayi_raise(modules, &error);
    else
        *result = dray_any_take(&function->head);
    return 0;
}

const drayi_own_global drayi_own_globals[] = {
    {"ffi.ModuleLoadFromBytes", load_from_bytes},
    {"ffi.ModuleLoadFromFile", load_from_file},
    {"ffi.ModuleGetFunction", get_function},
    {NULL, NULL},
};
