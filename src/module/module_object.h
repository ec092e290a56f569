/// A module from the inside.
#ifndef DRAY_MODULE_MODULE_OBJECT_H
#define DRAY_MODULE_MODULE_OBJECT_H

#include "module/modules.h"

/// What is loaded: a loader's part and everything that has to outlive the last code of it that can run.
/// It goes on after its module has ended, until nothing that the part made is alive.
typedef struct drayi_module_code {
    drayi_modules *modules;
    dray_loaded_part part;
    dray_module *provider; // whose code the loader is; or NULL
    char *name;            // drayi_alloc, name_bytes
    size_t name_bytes;

    pthread_mutex_t lock;  // guards what follows
    dray_object **objects; // made by the part and handed out; each held weakly
    uint64_t object_count, object_capacity;
    uint64_t sweep_at;          // look for dead ones when there are so many
    const char *_Atomic pinned; // static text: why it can never be unmapped; or NULL
} drayi_module_code;

/// A function of a module that was looked up by its own code: such code may keep it without counting.
typedef struct drayi_lent {
    struct drayi_lent *next;
    dray_function_object *function;
    bool stale; // the imports have changed since: not found any more, but alive
    char name[];
} drayi_lent;

struct dray_module {
    /// First: what libdray_ffi calls when it is handed this module as a library's context.
    int (*lookup)(void *context, const char *name, dray_object **out);
    _Atomic uint64_t references;
    drayi_modules *modules;
    drayi_module_code *loaded;
    char kind[64];
    uint32_t properties;
    const char **names; // sorted; of the part
    uint64_t name_count, name_capacity;

    // guarded by modules->tree_lock:
    dray_module **imports;
    uint64_t import_count, import_capacity;
    bool imported; // ever, by anybody: only then can an import close a circle
    bool seen;     // by the walk that holds the lock
    drayi_lent *lent;

    dray_module *next_to_end; // while it ends
};

static inline drayi_env *drayi_module_env(const dray_module *module)
{
    return module->modules->env;
}

/// Makes a module of a part, which is its own from here on, also on failure. `name` is copied.
dray_status drayi_module_wrap(drayi_modules *modules, const char *kind, const char *name,
                              const dray_loaded_part *part, dray_module *provider,
                              dray_module **out, dray_error *error);

/// For context symbols and libdray_ffi: a function of the imports, or of the registry; borrowed.
int drayi_module_context_lookup(void *context, const char *name, dray_object **out);
/// What was lent is not found any more, but stays alive as long as the module. Under the tree_lock.
void drayi_module_lent_stale(dray_module *module);
/// Gives back everything that was lent.
void drayi_module_lent_free(dray_module *module);

// --- code that outlives its module (module_ended.c) ---------------------------------------------------

drayi_module_code *drayi_module_code_create(drayi_modules *modules, const char *name,
                                            const dray_loaded_part *part, dray_module *provider,
                                            dray_error *error);
/// The module has ended: unmaps now, or keeps it until it can.
void drayi_module_code_end(drayi_module_code *loaded);
/// Looks at a value that the part's code returned, or at the error it raised.
void drayi_module_code_track(drayi_module_code *loaded, const dray_any *value);
/// From now on it is never unmapped. `why` is a static string.
void drayi_module_code_pin(drayi_module_code *loaded, const char *why);
/// End of the context: what is still needed stays mapped for good.
void drayi_ended_free(drayi_modules *modules);

// --- functions (module_function.c) ---------------------------------------------------------------------

/// A function object over a part's function; keeps the module.
dray_function_object *drayi_module_function(dray_module *module, const dray_part_function *function,
                                            dray_error *error);
/// Raises what `error` says, kind after its status, and returns -1: for functions of dray's own.
int drayi_raise(drayi_modules *modules, const dray_error *error);
/// What dray_function_create() was given as `self`, if it was given this `call`; otherwise NULL.
void *drayi_function_self(const dray_function_object *function, dray_safe_call call);

#endif
