#include "module/modules.h"

#include "module/load_module.h"
#include "module/module_object.h"

static dray_status add_own_globals(drayi_modules *modules, dray_error *error)
{
    for (const drayi_own_global *each = drayi_own_globals; each->name; each++) {
        dray_function_object *function;
        DRAY_TRY(
            dray_function_create(modules->context, each->call, modules, NULL, &function, error));
        dray_status status =
            drayi_places_set(&modules->places, each->name, function, NULL, 0, error);
        dray_object_release(&function->head);
        DRAY_TRY(status);
    }
    return DRAY_OK;
}

static dray_status modules_build(drayi_modules *modules, dray_error *error)
{
    DRAY_TRY(drayi_places_init(&modules->places, modules->env, error));
    DRAY_TRY(add_own_globals(modules, error));
    for (const dray_loader_ops *const *each = modules->env->loaders; each && *each; each++)
        DRAY_TRY(drayi_loader_add(modules, *each, NULL, 0, error));
    return DRAY_OK;
}

static void modules_free(drayi_modules *modules)
{
    drayi_bridge_free(modules);
    drayi_places_free(&modules->places); // what stands there may keep modules
    drayi_loaders_free(modules);
    drayi_ended_free(modules);
    const drayi_os *os = modules->env->os;
    if (modules->tvm.library)
        os->library_close(modules->tvm.library);
    if (modules->shim.library)
        os->library_close(modules->shim.library);
    pthread_cond_destroy(&modules->load_ended);
    pthread_mutex_destroy(&modules->lock);
    pthread_mutex_destroy(&modules->tree_lock);
    drayi_free(modules->env, modules, sizeof(*modules));
}

static drayi_modules *modules_create(drayi_env *env, dray_error *error)
{
    drayi_modules *modules = drayi_new(env, drayi_modules, error);
    if (!modules)
        return NULL;
    modules->env = env;
    modules->context = (dray_context *)env; // the environment is what a context begins with
    pthread_mutex_init(&modules->lock, NULL);
    pthread_mutex_init(&modules->tree_lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&modules->load_ended, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (modules_build(modules, error) == DRAY_OK)
        return modules;
    modules_free(modules);
    return NULL;
}

drayi_modules *drayi_modules_of(drayi_env *env, dray_error *error)
{
    drayi_modules *modules = atomic_load_explicit(&env->modules, memory_order_acquire);
    if (modules)
        return modules;
    modules = modules_create(env, error);
    drayi_modules *first = NULL;
    if (!modules || atomic_compare_exchange_strong(&env->modules, &first, modules))
        return modules;
    modules_free(modules); // another thread was first
    return first;
}

void drayi_modules_destroy(drayi_env *env)
{
    if (env->modules)
        modules_free(env->modules);
}
