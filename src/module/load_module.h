/// From a source to a module: which loader, may it, and what it says.
#ifndef DRAY_MODULE_LOAD_MODULE_H
#define DRAY_MODULE_LOAD_MODULE_H

#include "module/loaders.h"

/// What is asked for.
typedef struct drayi_load_ask {
    const char *kind;                   // NULL or "auto": what the bytes look like
    bool raw;                           // create.<kind> only
    const dray_module_options *options; // NULL: none
    drayi_loader_entry *entry;          // NULL: found by kind; kept alive by the caller
    uint32_t nested;                    // import trees around it
} drayi_load_ask;

dray_status drayi_load(drayi_modules *modules, const drayi_load_ask *ask,
                       const dray_module_source *source, dray_module **out, dray_error *error);
dray_status drayi_load_memory(drayi_modules *modules, const drayi_load_ask *ask, const void *bytes,
                              uint64_t count, dray_module **out, dray_error *error);
dray_status drayi_load_path(drayi_modules *modules, const drayi_load_ask *ask, const char *path,
                            dray_module **out, dray_error *error);

/// The loader of a kind that stands in the registry, entered; or of "auto". DRAY_E_NOTFOUND with the
/// whole message. `image` is what is going to be loaded: it has to agree. A function that is no loader's
/// comes back in *out_function instead (a reference).
dray_status drayi_load_choose(drayi_modules *modules, const char *kind, bool raw, dray_image *image,
                              drayi_loader_call *out_call, dray_function_object **out_function,
                              dray_error *error);

/// Adds a loader without asking for a context.
dray_status drayi_loader_add(drayi_modules *modules, const dray_loader_ops *ops,
                             dray_module *provider, uint32_t flags, dray_error *error);

#endif
