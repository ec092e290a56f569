/// Functions that a module's own code asked for, by name, through its context.
///
/// The ABI lends them: the code keeps the pointer in a static variable and never counts. So what was
/// lent lives as long as the module, even after its imports have changed; it is only not found any more.
#include "module/module_object.h"
#include "module/tree.h"

#include <string.h>

static size_t lent_bytes(const char *name)
{
    return sizeof(drayi_lent) + strlen(name) + 1;
}

/// Of what was lent before; under the lock. NULL: that name was not.
static dray_function_object *lent_find(const dray_module *module, const char *name)
{
    for (const drayi_lent *each = module->lent; each; each = each->next)
        if (!each->stale && strcmp(each->name, name) == 0)
            return each->function;
    return NULL;
}

/// Keeps `function` (taken over) and returns what is lent: the same, or that of a thread that was faster.
static dray_function_object *lend(dray_module *module, drayi_lent *lent, const char *name,
                                  dray_function_object *function)
{
    memcpy(lent->name, name, strlen(name) + 1);
    pthread_mutex_lock(&module->modules->tree_lock);
    dray_function_object *before = lent_find(module, name);
    if (!before) {
        lent->function = function;
        lent->next = module->lent;
        module->lent = lent;
    }
    pthread_mutex_unlock(&module->modules->tree_lock);
    if (!before)
        return function;
    drayi_free(drayi_module_env(module), lent, lent_bytes(name));
    dray_object_release(&function->head);
    return before;
}

static dray_status find_anywhere(dray_module *module, const char *name, dray_function_object **out,
                                 dray_error *error)
{
    dray_status status = drayi_module_find(module, name, false, out, error);
    if (status != DRAY_E_NOTFOUND)
        return status;
    status = dray_global_get(module->modules->context, name, out, error);
    if (status == DRAY_E_NOTFOUND)
        dray_fail(error, status, "module %s: neither its imports nor the registry have \"%s\"",
                  dray_module_name(module), name);
    return status;
}

int drayi_module_context_lookup(void *context, const char *name, dray_object **out)
{
    dray_module *module = context;
    pthread_mutex_lock(&module->modules->tree_lock);
    dray_function_object *function = lent_find(module, name);
    pthread_mutex_unlock(&module->modules->tree_lock);
    if (!function) {
        dray_error error;
        drayi_lent *lent = drayi_alloc(drayi_module_env(module), lent_bytes(name), &error);
        dray_status status = lent ? find_anywhere(module, name, &function, &error) : DRAY_E_NOMEM;
        if (status != DRAY_OK) {
            if (lent)
                drayi_free(drayi_module_env(module), lent, lent_bytes(name));
            return drayi_raise(module->modules, &error);
        }
        function = lend(module, lent, name, function);
    }
    *out = &function->head;
    return 0;
}

void drayi_module_lent_stale(dray_module *module)
{
    for (drayi_lent *each = module->lent; each; each = each->next)
        each->stale = true;
}

void drayi_module_lent_free(dray_module *module)
{
    while (module->lent) {
        drayi_lent *lent = module->lent;
        module->lent = lent->next;
        dray_object_release(&lent->function->head);
        drayi_free(drayi_module_env(module), lent, lent_bytes(lent->name));
    }
}
