/// Loaders in the registry: one entry per table, and a function object for each of its keys.
#ifndef DRAY_MODULE_LOADERS_H
#define DRAY_MODULE_LOADERS_H

#include "module/modules.h"

typedef struct drayi_loader_call drayi_loader_call;

/// A call that is inside a loader's code; on the stack of its thread.
struct drayi_loader_call {
    drayi_loader_call *next;
    drayi_loader_entry *entry;
    pthread_t thread;
};

struct drayi_loader_entry {
    drayi_loader_entry *next; // guarded by modules->lock, like all but the constants
    drayi_modules *modules;
    const dray_loader_ops *ops;
    dray_module *provider; // owned; or NULL
    uint64_t references;   // its function objects, the list, calls
    drayi_loader_call *calls;
};

enum drayi_front {
    DRAYI_FRONT_LOAD = 0,   // ffi.Module.load_from_bytes.<kind>
    DRAYI_FRONT_CREATE = 1, // ffi.Module.create.<kind>
    DRAYI_FRONT_FILE = 2    // ffi.Module.load_from_file.<ext>
};

extern const char *const drayi_front_keys[3]; // with the dot at the end

/// The loader behind a function of the registry, or NULL: it is no loader's.
drayi_loader_entry *drayi_loader_of(const dray_function_object *function);

void drayi_loader_enter(drayi_loader_entry *entry, drayi_loader_call *call);
void drayi_loader_leave(drayi_loader_call *call);

/// Every loader of now, each entered, in the order of registration; for sniffing. Freed by _leave_all.
typedef struct drayi_loader_list {
    drayi_loader_call *calls;
    uint64_t count, capacity;
} drayi_loader_list;
dray_status drayi_loader_enter_all(drayi_modules *modules, drayi_loader_list *out,
                                   dray_error *error);
void drayi_loader_leave_all(drayi_modules *modules, drayi_loader_list *list);

/// End of the context.
void drayi_loaders_free(drayi_modules *modules);

#endif
