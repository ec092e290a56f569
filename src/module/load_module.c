#include "module/load_module.h"

#include "module/bundle.h"
#include "module/image.h"
#include "module/module_object.h"
#include "module/provider.h"
#include "module/trust.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/// Everything about one load. The image is opened first, then the loader is found, then the policy is
/// asked, then the loader.
typedef struct load_job {
    drayi_modules *modules;
    const drayi_load_ask *ask;
    dray_module_options options;
    dray_policy policy;
    dray_image *image;
} load_job;

static dray_status load_options(load_job *load, dray_error *error)
{
    DRAY_TRY(drayi_options(&load->options, sizeof(load->options), load->ask->options,
                           "dray_module_options", error));
    const dray_policy *policy = load->options.policy;
    if (!policy)
        policy = atomic_load(&load->modules->policy);
    return drayi_options(&load->policy, sizeof(load->policy), policy, "dray_policy", error);
}

/// An import tree that came with a library, or that is all there is. *module becomes its root.
static dray_status load_tree(load_job *load, const dray_loader_ops *ops, dray_module **module,
                             dray_error *error)
{
    const dray_loaded_part *part = &(*module)->loaded->part;
    if (!part->tree)
        return DRAY_OK;
    bool alone = (ops->flags & DRAY_LOADER_CONTAINER) != 0;
    const drayi_bundle_ask ask = {.bytes = part->tree,
                                  .byte_count = part->tree_bytes,
                                  .more_follows = !alone,
                                  .host = alone ? NULL : *module,
                                  .policy = &load->policy,
                                  .options = &load->options,
                                  .nested = load->ask->nested};
    dray_module *root = NULL;
    DRAY_TRY(drayi_bundle_load(load->modules, &ask, &root, error));
    dray_module_release(*module);
    *module = root;
    return DRAY_OK;
}

static dray_status load_part(load_job *load, const drayi_loader_entry *entry, dray_module **out,
                             dray_error *error)
{
    const dray_loader_ops *ops = entry->ops;
    if (!ops->load)
        return dray_fail(error, DRAY_E_UNSUPPORTED, "kind %s: %s", ops->kind, ops->refusal);
    if (ops->flags & DRAY_LOADER_WANTS_SEALED)
        DRAY_TRY(load->image->seal(load->image, error));
    const dray_load_request request = {
        .context = load->modules->context,
        .env = load->modules->env,
        .image = load->image,
        .loader = ops,
        .kind = ops->kind,
        .raw = load->ask->raw,
        .policy = &load->policy,
        .options = &load->options,
        .device = load->options.device,
        .context_symbol = drayi_context_symbol,
        .provide_symbols = drayi_provide_symbols,
    };
    dray_loaded_part part = {0};
    DRAY_TRY(ops->load(&request, &part, error));
    DRAY_TRY(drayi_module_wrap(load->modules, ops->kind, load->image->name, &part, entry->provider,
                               out, error));
    dray_status status = load_tree(load, ops, out, error);
    if (status != DRAY_OK) {
        dray_module_release(*out);
        *out = NULL;
    }
    return status;
}

/// A function of the registry that is no loader's: (Bytes) -> module.
static dray_status load_by_function(load_job *load, dray_function_object *function,
                                    dray_module **out, dray_error *error)
{
    DRAY_TRY(load->image->map(load->image, error));
    dray_byte_array bytes = {(const char *)load->image->bytes, load->image->byte_count};
    dray_any argument = dray_any_borrow_bytes(&bytes), result;
    DRAY_TRY(dray_function_call(load->modules->context, function, &argument, 1, &result, error));
    dray_module *module = dray_any_get_module(&result);
    dray_status status = DRAY_OK;
    if (module)
        *out = dray_module_retain(module);
    else
        status = dray_fail(error, DRAY_E_FAILED,
                           "its loader returned a value of type %d, no module", result.type_index);
    dray_any_release(&result);
    return status;
}

static dray_status load_admitted(load_job *load, const drayi_loader_entry *entry,
                                 dray_function_object *function, dray_module **out,
                                 dray_error *error)
{
    const char *kind = entry ? entry->ops->kind : load->ask->kind;
    bool native = entry && (entry->ops->flags & DRAY_LOADER_NATIVE) && entry->ops->load;
    DRAY_TRY(drayi_trust_admit(load->modules->env, &load->policy, &load->options, kind, native,
                               load->image, error));
    return entry ? load_part(load, entry, out, error) : load_by_function(load, function, out, error);
}

static dray_status load_image(load_job *load, dray_module **out, dray_error *error)
{
    drayi_loader_call call = {0};
    dray_function_object *function = NULL;
    dray_status status;
    if (load->ask->entry) {
        drayi_loader_enter(load->ask->entry, &call);
    } else {
        status = drayi_load_choose(load->modules, load->ask->kind, load->ask->raw, load->image,
                                   &call, &function, error);
        if (status != DRAY_OK)
            return status;
    }
    status = load_admitted(load, call.entry, function, out, error);
    if (call.entry)
        drayi_loader_leave(&call);
    if (function)
        dray_object_release(&function->head);
    return status;
}

dray_status drayi_load(drayi_modules *modules, const drayi_load_ask *ask,
                       const dray_module_source *source, dray_module **out, dray_error *error)
{
    load_job load = {.modules = modules, .ask = ask};
    *out = NULL;
    DRAY_TRY(load_options(&load, error));
    dray_status status = drayi_image_open(modules->env, source, &load.image, error);
    if (status != DRAY_OK)
        return dray_fail_within(error, status, "load module");
    status = load_image(&load, out, error);
    if (status != DRAY_OK)
        dray_fail_within(error, status, "load module %s", load.image->name);
    load.image->release(load.image);
    return status;
}

dray_status drayi_load_memory(drayi_modules *modules, const drayi_load_ask *ask, const void *bytes,
                              uint64_t count, dray_module **out, dray_error *error)
{
    const dray_module_source source = {
        .struct_bytes = sizeof(source), .bytes = bytes, .byte_count = count};
    return drayi_load(modules, ask, &source, out, error);
}

dray_status drayi_load_path(drayi_modules *modules, const drayi_load_ask *ask, const char *path,
                            dray_module **out, dray_error *error)
{
    const dray_module_source source = {.struct_bytes = sizeof(source), .path = path};
    return drayi_load(modules, ask, &source, out, error);
}

// --- public ---------------------------------------------------------------------------------------------

static dray_status load_in(dray_context *context, const drayi_load_ask *ask,
                           const dray_module_source *source, dray_module **out, dray_error *error)
{
    drayi_modules *modules = drayi_modules_of(drayi_env_of(context), error);
    return modules ? drayi_load(modules, ask, source, out, error) : DRAY_E_NOMEM;
}

dray_status dray_module_load(dray_context *context, const char *kind,
                             const dray_module_source *source, const dray_module_options *options,
                             dray_module **out_module, dray_error *error)
{
    return load_in(context, &(drayi_load_ask){.kind = kind, .options = options}, source, out_module,
                   error);
}

dray_status dray_module_load_bytes(dray_context *context, const char *kind, const void *bytes,
                                   uint64_t byte_count, const dray_module_options *options,
                                   dray_module **out_module, dray_error *error)
{
    const dray_module_source source = {
        .struct_bytes = sizeof(source), .bytes = bytes, .byte_count = byte_count};
    return dray_module_load(context, kind, &source, options, out_module, error);
}

dray_status dray_module_create(dray_context *context, const char *kind,
                               const dray_module_source *source, const dray_module_options *options,
                               dray_module **out_module, dray_error *error)
{
    return load_in(context, &(drayi_load_ask){.kind = kind, .raw = true, .options = options},
                   source, out_module, error);
}

/// The loader that stands under a path's extension, entered into `call`; or none.
static void enter_by_extension(drayi_modules *modules, const char *path, drayi_loader_call *call)
{
    const char *slash = strrchr(path, '/'), *dot = strrchr(slash ? slash : path, '.');
    char key[DRAYI_PLACE_NAME_MAX + 1];
    int length =
        dot ? snprintf(key, sizeof(key), "%s%s", drayi_front_keys[DRAYI_FRONT_FILE], dot + 1) : 0;
    if (length <= 0 || (size_t)length >= sizeof(key))
        return;
    dray_global_hold hold = drayi_places_borrow(&modules->places, key, (uint64_t)length);
    drayi_loader_entry *entry = hold.function ? drayi_loader_of(hold.function) : NULL;
    if (entry)
        drayi_loader_enter(entry, call);
    dray_global_give_back(&hold);
}

dray_status dray_module_load_file(dray_context *context, const char *path,
                                  const dray_module_options *options, dray_module **out_module,
                                  dray_error *error)
{
    drayi_modules *modules = drayi_modules_of(drayi_env_of(context), error);
    if (!modules)
        return DRAY_E_NOMEM;
    drayi_loader_call call = {0};
    enter_by_extension(modules, path, &call);
    const drayi_load_ask ask = {.kind = call.entry ? call.entry->ops->kind : NULL,
                                .options = options};
    dray_status status = drayi_load_path(modules, &ask, path, out_module, error);
    if (call.entry)
        drayi_loader_leave(&call);
    return status;
}
