/// What a context keeps for modules: the registry, the loaders, the providers of the ABI, and the code of
/// modules that ended but cannot be unmapped yet. Made by the first who needs it.
#ifndef DRAY_MODULE_MODULES_H
#define DRAY_MODULE_MODULES_H

#include "base/env.h"
#include "dray/module.h"
#include "dray/spi/loader.h"
#include "module/places.h"
#include "os/os.h"

#include <inttypes.h>
#include <time.h>

typedef struct drayi_modules drayi_modules;
typedef struct drayi_ended drayi_ended;
typedef struct drayi_loader_entry drayi_loader_entry;
typedef struct drayi_bridge drayi_bridge;

/// A library with the C functions of the ABI: the slot of the raised error is in it.
typedef struct drayi_provider {
    void *library;
    void (*set_raised)(dray_object *error);
    void (*set_raised_text)(const char *kind, const char *message);
    void (*take_raised)(dray_object **out_error);
} drayi_provider;

struct drayi_modules {
    drayi_env *env;
    dray_context *context;
    drayi_places places;
    dray_policy const *_Atomic policy; // of calls that bring none

    pthread_mutex_t lock;        // guards what follows
    pthread_cond_t load_ended;   // some loader's call came back
    drayi_loader_entry *loaders; // in the order of registration
    drayi_ended *ended;
    drayi_bridge *bridge;
    drayi_provider tvm, shim; // written once, see provider.h

    pthread_mutex_t tree_lock; // guards the imports of every module of the context
};

/// A function that stands in every registry; its handle is the drayi_modules.
typedef struct drayi_own_global {
    const char *name;
    dray_safe_call call;
} drayi_own_global;
extern const drayi_own_global drayi_own_globals[]; // NULL-terminated

/// NULL with `error`: out of memory.
drayi_modules *drayi_modules_of(drayi_env *env, dray_error *error);
/// Takes the bridge to libtvm_ffi away, if there is one.
void drayi_bridge_free(drayi_modules *modules);
/// Part of ending a context. Nothing of it is used any more.
void drayi_modules_destroy(drayi_env *env);

#endif
