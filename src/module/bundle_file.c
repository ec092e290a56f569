/// Import trees for programs: read without loading anything, and written.
#include "abi/import_tree.h"
#include "base/arena.h"
#include "dray/bundle.h"
#include "module/image.h"
#include "module/load_module.h"

#include <string.h>

struct dray_bundle {
    drayi_env *env;
    drayi_arena arena; // kinds, terminated
    dray_image *image; // whose bytes the payloads are
    drayi_tree tree;
    dray_bundle_module *modules;
};

/// The tree's bytes inside the image, by the loader that knows its kind.
static dray_status find_tree(drayi_modules *modules, dray_image *image, const uint8_t **out_bytes,
                             uint64_t *out_count, bool *out_alone, dray_error *error)
{
    drayi_loader_call call;
    dray_function_object *function;
    dray_status status = drayi_load_choose(modules, NULL, false, image, &call, &function, error);
    if (status != DRAY_OK)
        return status;
    *out_bytes = NULL;
    if (call.entry) {
        const dray_loader_ops *ops = call.entry->ops;
        *out_alone = (ops->flags & DRAY_LOADER_CONTAINER) != 0;
        if (ops->tree)
            status = ops->tree(modules->env, image, out_bytes, out_count, error);
        drayi_loader_leave(&call);
    } else {
        dray_object_release(&function->head);
    }
    if (status == DRAY_OK && !*out_bytes)
        return dray_fail(error, DRAY_E_NOTFOUND, "there is no import tree in it");
    return status;
}

static dray_status copy_modules(dray_bundle *bundle, dray_error *error)
{
    bundle->modules =
        drayi_alloc_array(bundle->env, bundle->tree.count, sizeof(*bundle->modules), error);
    if (!bundle->modules)
        return DRAY_E_NOMEM;
    for (uint64_t i = 0; i < bundle->tree.count; i++) {
        const drayi_tree_module *from = &bundle->tree.modules[i];
        const char *kind =
            drayi_arena_text(&bundle->arena, from->kind.bytes, from->kind.length, error);
        if (!kind)
            return DRAY_E_NOMEM;
        bundle->modules[i] = (dray_bundle_module){.kind = kind,
                                                  .payload = from->payload,
                                                  .payload_bytes = from->payload_bytes,
                                                  .imports = from->imports,
                                                  .import_count = from->import_count,
                                                  .is_host = from->is_host};
    }
    return DRAY_OK;
}

static dray_status bundle_build(drayi_modules *modules, dray_bundle *bundle,
                                const dray_module_source *source, dray_error *error)
{
    const uint8_t *bytes = NULL;
    uint64_t count = 0;
    bool alone = false;
    DRAY_TRY(drayi_image_open(bundle->env, source, &bundle->image, error));
    DRAY_TRY(drayi_image_own(bundle->image, error));
    DRAY_TRY(find_tree(modules, bundle->image, &bytes, &count, &alone, error));
    DRAY_TRY(drayi_tree_read(bundle->env, bytes, count, !alone, &bundle->tree, error));
    return copy_modules(bundle, error);
}

dray_status dray_bundle_open(dray_context *context, const dray_module_source *source,
                             dray_bundle **out_bundle, dray_error *error)
{
    drayi_modules *modules = drayi_modules_of(drayi_env_of(context), error);
    dray_bundle *bundle = modules ? drayi_new(modules->env, dray_bundle, error) : NULL;
    if (!bundle)
        return DRAY_E_NOMEM;
    bundle->env = modules->env;
    bundle->arena.env = modules->env;
    dray_status status = bundle_build(modules, bundle, source, error);
    if (status == DRAY_OK) {
        *out_bundle = bundle;
        return DRAY_OK;
    }
    if (bundle->image)
        dray_fail_within(error, status, "bundle %s", bundle->image->name);
    dray_bundle_destroy(bundle);
    return status;
}

uint64_t dray_bundle_count(const dray_bundle *bundle)
{
    return bundle->tree.count;
}

uint64_t dray_bundle_depth(const dray_bundle *bundle)
{
    return bundle->tree.depth;
}

const dray_bundle_module *dray_bundle_at(const dray_bundle *bundle, uint64_t index)
{
    return index < bundle->tree.count ? &bundle->modules[index] : NULL;
}

void dray_bundle_destroy(dray_bundle *bundle)
{
    if (!bundle)
        return;
    drayi_env *env = bundle->env;
    drayi_free(env, bundle->modules, bundle->tree.count * sizeof(*bundle->modules));
    drayi_tree_free(env, &bundle->tree);
    if (bundle->image)
        bundle->image->release(bundle->image);
    drayi_arena_free(&bundle->arena);
    drayi_free(env, bundle, sizeof(*bundle));
}

dray_status dray_bundle_write(dray_context *context, const dray_bundle_module *modules,
                              uint64_t count, dray_any *out_bytes, dray_error *error)
{
    drayi_env *env = drayi_env_of(context);
    uint8_t *bytes = NULL;
    uint64_t byte_count = 0;
    drayi_tree_module *nodes = drayi_alloc_array(env, count, sizeof(*nodes), error);
    if (!nodes)
        return DRAY_E_NOMEM;
    for (uint64_t i = 0; i < count; i++) {
        const dray_bundle_module *from = &modules[i];
        const char *kind = from->is_host ? "_lib" : from->kind;
        nodes[i] = (drayi_tree_module){.kind = {kind, strlen(kind)},
                                       .payload = from->payload,
                                       .payload_bytes = from->is_host ? 0 : from->payload_bytes,
                                       .imports = from->imports,
                                       .import_count = from->import_count,
                                       .is_host = from->is_host != 0};
    }
    dray_status status = drayi_tree_write(env, nodes, count, &bytes, &byte_count, error);
    drayi_free(env, nodes, count * sizeof(*nodes));
    if (status != DRAY_OK)
        return status;
    *out_bytes = dray_any_string(DRAY_TYPE_BYTES, bytes, byte_count);
    drayi_free(env, bytes, byte_count);
    return out_bytes->type_index == DRAY_TYPE_NONE
               ? dray_fail(error, DRAY_E_NOMEM, "out of memory: a bundle's bytes")
               : DRAY_OK;
}
