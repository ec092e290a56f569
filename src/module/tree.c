#include "module/tree.h"

#include <string.h>

/// A walk marks what it has seen and keeps it in a list, which is also its result. Every module that is
/// met is pushed in reverse order of the imports, so the first import is visited next.
typedef struct walk {
    drayi_env *env;
    drayi_module_list found;
    dray_module **stack;
    uint64_t depth, capacity;
} walk;

static dray_status walk_push(walk *w, const dray_module *module, dray_error *error)
{
    DRAY_TRY(drayi_grow(w->env, (void **)&w->stack, &w->capacity, w->depth + module->import_count,
                        sizeof(dray_module *), error));
    for (uint64_t i = module->import_count; i > 0; i--)
        w->stack[w->depth++] = module->imports[i - 1];
    return DRAY_OK;
}

static dray_status walk_visit(walk *w, dray_module *module, dray_error *error)
{
    if (module->seen)
        return DRAY_OK;
    DRAY_TRY(drayi_grow(w->env, (void **)&w->found.modules, &w->found.capacity, w->found.count + 1,
                        sizeof(dray_module *), error));
    w->found.modules[w->found.count++] = module;
    module->seen = true;
    return walk_push(w, module, error);
}

/// Under the tree_lock. The list is not retained yet; it is freed by the caller, on failure too.
static dray_status walk_from(walk *w, const dray_module *module, dray_error *error)
{
    dray_status status = walk_push(w, module, error);
    while (status == DRAY_OK && w->depth > 0)
        status = walk_visit(w, w->stack[--w->depth], error);
    for (uint64_t i = 0; i < w->found.count; i++)
        w->found.modules[i]->seen = false;
    drayi_free(w->env, w->stack, w->capacity * sizeof(dray_module *));
    return status;
}

static void list_drop(drayi_env *env, drayi_module_list *list)
{
    drayi_free(env, list->modules, list->capacity * sizeof(dray_module *));
    *list = (drayi_module_list){0};
}

void drayi_module_list_free(drayi_env *env, drayi_module_list *list)
{
    for (uint64_t i = 0; i < list->count; i++)
        dray_module_release(list->modules[i]);
    list_drop(env, list);
}

dray_status drayi_module_reachable(dray_module *module, drayi_module_list *out, dray_error *error)
{
    walk w = {.env = drayi_module_env(module)};
    pthread_mutex_lock(&module->modules->tree_lock);
    dray_status status = walk_from(&w, module, error);
    for (uint64_t i = 0; status == DRAY_OK && i < w.found.count; i++)
        dray_module_retain(w.found.modules[i]);
    pthread_mutex_unlock(&module->modules->tree_lock);
    if (status != DRAY_OK)
        list_drop(w.env, &w.found);
    *out = w.found;
    return status;
}

/// Would `module` reach itself through `imported`? Only one that was imported before can be reached.
static dray_status check_circle(dray_module *module, dray_module *imported, dray_error *error)
{
    bool circle = module == imported;
    if (!circle && module->imported) {
        walk w = {.env = drayi_module_env(module)};
        dray_status status = walk_from(&w, imported, error);
        for (uint64_t i = 0; i < w.found.count; i++)
            circle |= w.found.modules[i] == module;
        list_drop(w.env, &w.found);
        DRAY_TRY(status);
    }
    if (circle)
        return dray_fail(error, DRAY_E_INVALID, "import %s into %s: the module would import itself",
                         dray_module_name(imported), dray_module_name(module));
    return DRAY_OK;
}

dray_status dray_module_import(dray_module *module, dray_module *imported, dray_error *error)
{
    if (module->modules != imported->modules)
        return dray_fail(error, DRAY_E_INVALID, "import %s into %s: they are of two contexts",
                         dray_module_name(imported), dray_module_name(module));
    pthread_mutex_lock(&module->modules->tree_lock);
    dray_status status = check_circle(module, imported, error);
    if (status == DRAY_OK)
        status = drayi_grow(drayi_module_env(module), (void **)&module->imports,
                            &module->import_capacity, module->import_count + 1,
                            sizeof(dray_module *), error);
    if (status == DRAY_OK) {
        module->imports[module->import_count++] = dray_module_retain(imported);
        imported->imported = true;
        drayi_module_lent_stale(module);
    }
    pthread_mutex_unlock(&module->modules->tree_lock);
    return status;
}

void dray_module_clear_imports(dray_module *module)
{
    pthread_mutex_lock(&module->modules->tree_lock);
    drayi_module_list dropped = {module->imports, module->import_count, module->import_capacity};
    module->imports = NULL;
    module->import_count = module->import_capacity = 0;
    drayi_module_lent_stale(module);
    pthread_mutex_unlock(&module->modules->tree_lock);
    drayi_module_list_free(drayi_module_env(module), &dropped);
}

uint64_t dray_module_import_count(const dray_module *module)
{
    pthread_mutex_lock(&module->modules->tree_lock);
    uint64_t count = module->import_count;
    pthread_mutex_unlock(&module->modules->tree_lock);
    return count;
}

dray_module *dray_module_import_at(const dray_module *module, uint64_t index)
{
    pthread_mutex_lock(&module->modules->tree_lock);
    dray_module *imported =
        index < module->import_count ? dray_module_retain(module->imports[index]) : NULL;
    pthread_mutex_unlock(&module->modules->tree_lock);
    return imported;
}
