/// The registry: names to functions, read by any number of threads that do not slow each other.
///
/// A name's *place* stays until the registry ends; what stands in it changes. So readers walk the table
/// without protection. A reader counts itself into one of the place's counters, picked by the address of
/// its stack, and then reads the function. A writer exchanges the function and then waits until it has
/// seen each counter at zero once: whoever came before the exchange has left, whoever came after saw
/// the new function. Both sides are sequentially consistent, which is what makes that true.
///
/// Memory: a name that was ever used keeps its place (some 700 bytes); tables that were outgrown stay,
/// too, which at most doubles them. Writers are serialized by a lock that is never held while a
/// function, a destructor or a callback runs.
#ifndef DRAY_MODULE_PLACES_H
#define DRAY_MODULE_PLACES_H

#include "base/env.h"
#include "dray/module.h"

#include <pthread.h>
#include <stdatomic.h>

enum { DRAYI_PLACE_COUNTERS = 8, DRAYI_PLACE_NAME_MAX = 255 };

typedef struct drayi_place drayi_place;
typedef struct drayi_places drayi_places;
typedef struct drayi_place_table drayi_place_table;
typedef struct drayi_retired drayi_retired;

typedef struct drayi_place_counter {
    _Atomic uint64_t inside;
    drayi_place *place;
    uint8_t own_line[48]; // so that no two counters share a line of cache
} drayi_place_counter;

struct drayi_place {
    drayi_places *places;
    uint64_t hash;
    uint64_t name_bytes;
    dray_function_object *_Atomic function; // owned; NULL: nobody stands here
    dray_module *provider;                  // guarded by places->lock; owned
    _Atomic uint32_t awaited; // writers that wait for counters: those who leave tell them
    uint8_t own_line[64];
    drayi_place_counter counters[DRAYI_PLACE_COUNTERS];
    char name[]; // terminated
};

struct drayi_places {
    drayi_env *env;
    pthread_mutex_t lock;
    pthread_cond_t left; // somebody left a place that is awaited
    drayi_place_table *_Atomic table;
    uint64_t count;         // of places; guarded by lock
    drayi_retired *retired; // guarded by lock
};

/// A place given up: what stood there, until nobody can be inside.
struct drayi_retired {
    drayi_retired *next;
    drayi_place *place;
    dray_function_object *function;
    dray_module *provider;
    uint32_t seen_empty; // one bit per counter
    bool awaited;        // its remover waits; otherwise the last who leaves ends it
    bool done;
};

dray_status drayi_places_init(drayi_places *places, drayi_env *env, dray_error *error);
/// Nobody uses it any more. Half-built and zeroed ones are fine.
void drayi_places_free(drayi_places *places);

/// An empty one when nothing stands under this name.
dray_global_hold drayi_places_borrow(drayi_places *places, const char *name, uint64_t name_bytes);

/// See dray_global_set(). Takes references of its own.
dray_status drayi_places_set(drayi_places *places, const char *name, dray_function_object *function,
                             dray_module *provider, uint32_t flags, dray_error *error);

/// See dray_global_remove(). `only` (may be NULL): DRAY_E_NOTFOUND unless this function stands there.
dray_status drayi_places_remove(drayi_places *places, const char *name,
                                const dray_function_object *only, int64_t timeout_ns,
                                dray_error *error);

/// Names that begin with `prefix` and are taken, sorted by byte; they stay valid. The array is of
/// drayi_alloc_array(env, *out_capacity, sizeof(char *)).
dray_status drayi_places_list(drayi_places *places, const char *prefix, const char ***out_names,
                              uint64_t *out_count, uint64_t *out_capacity, dray_error *error);

#endif
