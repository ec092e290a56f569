/// A context is an environment, a thread pool and the list of plug-ins.
#include "core/context.h"

#include "core/components.h"
#include "module/modules.h"
#include "os/pool.h"

#include <stdlib.h>
#include <string.h>

struct dray_context {
    drayi_env env; // first: drayi_env_of() is a cast
    const dray_backend_ops **backends;
    const dray_format_ops **formats;
    size_t backend_bytes, format_bytes; // as allocated
};

_Static_assert(offsetof(dray_context, env) == 0, "drayi_env_of() relies on it");

static void *heap_alloc(void *self, size_t bytes)
{
    (void)self;
    return malloc(bytes);
}

static void heap_free(void *self, void *pointer, size_t bytes)
{
    (void)self;
    (void)bytes;
    free(pointer);
}

/// The caller's plug-ins, then ours, NULL-terminated.
static dray_status list_join(drayi_env *env, const void *const *theirs, const void *const *ours,
                             const void ***out, size_t *out_bytes, dray_error *error)
{
    size_t count = 0, at = 0;
    for (const void *const *each = theirs; each && *each; each++)
        count++;
    for (const void *const *each = ours; *each; each++)
        count++;
    const void **list = drayi_alloc_array(env, count + 1, sizeof(*list), error);
    if (!list)
        return DRAY_E_NOMEM;
    for (const void *const *each = theirs; each && *each; each++)
        list[at++] = *each;
    for (const void *const *each = ours; *each; each++)
        list[at++] = *each;
    *out = list;
    *out_bytes = (count + 1) * sizeof(*list);
    return DRAY_OK;
}

static dray_status context_build(dray_context *context, const dray_context_options *options,
                                 dray_error *error)
{
    drayi_env *env = &context->env;
    DRAY_TRY(list_join(env, (const void *const *)options->backends,
                       (const void *const *)drayi_components.backends,
                       (const void ***)&context->backends, &context->backend_bytes, error));
    DRAY_TRY(list_join(env, (const void *const *)options->formats,
                       (const void *const *)drayi_components.formats,
                       (const void ***)&context->formats, &context->format_bytes, error));
    env->backends = context->backends;
    env->formats = context->formats;
    env->codecs = drayi_components.codecs;
    env->devices = drayi_components.devices;
    env->loaders = drayi_components.loaders;
    if (options->thread_count > 0)
        DRAY_TRY(drayi_pool_create(env, options->thread_count, &env->pool, error));
    return DRAY_OK;
}

dray_status drayi_context_create_with(const dray_context_options *given, const drayi_os *os,
                                      dray_context **out_context, dray_error *error)
{
    dray_context_options options;
    DRAY_TRY(drayi_options(&options, sizeof(options), given, "dray_context_options", error));
    if (!options.allocator.alloc != !options.allocator.free)
        return dray_fail(error, DRAY_E_INVALID,
                         "dray_context_options: the allocator has only one of alloc and free");
    drayi_env env = {.allocator = options.allocator, .os = os, .log = options.log};
    if (!env.allocator.alloc)
        env.allocator = (dray_allocator){.alloc = heap_alloc, .free = heap_free};
    dray_context *context = drayi_new(&env, dray_context, error);
    if (!context)
        return DRAY_E_NOMEM;
    context->env = env;
    dray_status status = context_build(context, &options, error);
    if (status != DRAY_OK)
        dray_context_destroy(context);
    else
        *out_context = context;
    return status;
}

dray_status dray_context_create(const dray_context_options *options, dray_context **out_context,
                                dray_error *error)
{
    return drayi_context_create_with(options, &drayi_os_linux, out_context, error);
}

void dray_context_destroy(dray_context *context)
{
    if (!context)
        return;
    drayi_modules_destroy(&context->env);
    drayi_env env = context->env; // outlives the memory that holds it
    drayi_pool_destroy(env.pool);
    drayi_free(&env, context->backends, context->backend_bytes);
    drayi_free(&env, context->formats, context->format_bytes);
    drayi_free(&env, context, sizeof(*context));
}

uint32_t dray_component_count(void)
{
    return drayi_components.info_count;
}

const dray_component_info *dray_component_at(uint32_t index)
{
    return index < drayi_components.info_count ? &drayi_components.infos[index] : NULL;
}
