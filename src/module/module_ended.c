/// Code that outlives its module.
///
/// Code may be unmapped when nobody can run it any more: no reference to the module (functions hold
/// one), and no object of its making, because an object's end is code of whoever made it. Objects that a
/// call returned are known here, held weakly: the ABI counts weak references, and while one is held the
/// object's memory stays, so that its count can be read after its end. The code that gives that memory
/// back is run by us, before unmapping. What cannot be followed (what is inside a container, what a
/// callback was given) pins the code for good. Not unmapping costs memory; the other mistake costs the
/// process.
#include "module/module_object.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct drayi_ended {
    drayi_ended *next;
    drayi_module_code *loaded;
};

enum { first_sweep = 64 };

drayi_module_code *drayi_module_code_create(drayi_modules *modules, const char *name,
                                            const dray_loaded_part *part, dray_module *provider,
                                            dray_error *error)
{
    drayi_env *env = modules->env;
    drayi_module_code *loaded = drayi_new(env, drayi_module_code, error);
    size_t name_bytes = strlen(name) + 1;
    char *copy = loaded ? drayi_alloc(env, name_bytes, error) : NULL;
    if (!copy) {
        drayi_free(env, loaded, sizeof(*loaded));
        return NULL;
    }
    memcpy(copy, name, name_bytes);
    loaded->modules = modules;
    loaded->part = *part;
    loaded->name = copy;
    loaded->name_bytes = name_bytes;
    loaded->sweep_at = first_sweep;
    loaded->provider = provider ? dray_module_retain(provider) : NULL;
    pthread_mutex_init(&loaded->lock, NULL);
    return loaded;
}

/// Nothing of the part is needed (or it stays mapped for good, with `keep`).
static void loaded_free(drayi_module_code *loaded, bool keep)
{
    drayi_env *env = loaded->modules->env;
    if (keep) {
        if (loaded->part.ops->abandon)
            loaded->part.ops->abandon(loaded->part.part); // and its provider stays, too
    } else {
        loaded->part.ops->destroy(loaded->part.part);
        dray_module_release(loaded->provider);
    }
    pthread_mutex_destroy(&loaded->lock);
    drayi_free(env, loaded->objects, loaded->object_capacity * sizeof(dray_object *));
    drayi_free(env, loaded->name, loaded->name_bytes);
    drayi_free(env, loaded, sizeof(*loaded));
}

void drayi_module_code_pin(drayi_module_code *loaded, const char *why)
{
    if (!atomic_load_explicit(&loaded->pinned, memory_order_relaxed))
        atomic_store(&loaded->pinned, why);
}

/// Gives back the memory of objects that have ended, in batches, outside the lock: that runs code of the
/// part. Returns how many are still alive.
static uint64_t loaded_sweep(drayi_module_code *loaded)
{
    dray_object *dead[64];
    for (;;) {
        uint64_t count = 0, alive = 0;
        pthread_mutex_lock(&loaded->lock);
        for (uint64_t i = 0; i < loaded->object_count; i++) {
            dray_object *object = loaded->objects[i];
            if (count < 64 && !dray_object_is_alive(object))
                dead[count++] = object;
            else
                loaded->objects[alive++] = object;
        }
        loaded->object_count = alive;
        pthread_mutex_unlock(&loaded->lock);
        for (uint64_t i = 0; i < count; i++)
            dray_object_release_weak(dead[i]);
        if (count < 64)
            return alive;
    }
}

/// Remembers an object of the part; without memory for that the code stays for good.
static void loaded_remember(drayi_module_code *loaded, dray_object *object)
{
    pthread_mutex_lock(&loaded->lock);
    bool full = loaded->object_count >= loaded->sweep_at;
    pthread_mutex_unlock(&loaded->lock);
    uint64_t alive = full ? loaded_sweep(loaded) : 0;
    pthread_mutex_lock(&loaded->lock);
    if (full)
        loaded->sweep_at = alive * 2 < first_sweep ? first_sweep : alive * 2;
    dray_status status =
        drayi_grow(loaded->modules->env, (void **)&loaded->objects, &loaded->object_capacity,
                   loaded->object_count + 1, sizeof(dray_object *), NULL);
    if (status == DRAY_OK) {
        dray_object_retain_weak(object);
        loaded->objects[loaded->object_count++] = object;
    }
    pthread_mutex_unlock(&loaded->lock);
    if (status != DRAY_OK)
        drayi_module_code_pin(loaded, "no memory was left to follow an object that it made");
}

void drayi_module_code_track(drayi_module_code *loaded, const dray_any *value)
{
    bool (*contains)(dray_part *, const void *) = loaded->part.ops->contains;
    if (!contains || !dray_any_is_object(value) ||
        atomic_load_explicit(&loaded->pinned, memory_order_relaxed))
        return;
    int32_t type = value->type_index;
    void *deleter;
    memcpy(&deleter, &value->as.object->deleter, sizeof(deleter));
    if (type != DRAY_TYPE_TEXT && type != DRAY_TYPE_BYTES && type != DRAY_TYPE_SHAPE &&
        type != DRAY_TYPE_TENSOR && type != DRAY_TYPE_ERROR)
        drayi_module_code_pin(loaded, "it made an object that may hold or make others");
    else if (contains(loaded->part.part, deleter))
        loaded_remember(loaded, value->as.object);
}

// --- unmapping ----------------------------------------------------------------------------------------

/// Why the part must not be ended yet, or NULL. `buffer` may be used for the text.
static const char *loaded_why(drayi_module_code *loaded, char *buffer, size_t bytes)
{
    const char *why = atomic_load(&loaded->pinned);
    if (why) {
        snprintf(buffer, bytes, "%s", why);
        return buffer;
    }
    uint64_t alive = loaded_sweep(loaded);
    if (alive == 0)
        return NULL;
    snprintf(buffer, bytes, "%" PRIu64 " of the objects that it made %s still alive", alive,
             alive == 1 ? "is" : "are");
    return buffer;
}

/// What the platform keeps mapped can be ended all the same: its own loader says so, and unmaps nothing.
const char *dray_module_pinned(dray_module *module, char *buffer, size_t buffer_bytes)
{
    const dray_loaded_part *part = &module->loaded->part;
    const char *why = part->ops->pinned ? part->ops->pinned(part->part) : NULL;
    if (!why)
        return loaded_why(module->loaded, buffer, buffer_bytes);
    snprintf(buffer, buffer_bytes, "%s", why);
    return buffer;
}

/// Tries every one that ended; those that must stay go back into the list.
static uint64_t ended_collect(drayi_modules *modules)
{
    pthread_mutex_lock(&modules->lock);
    drayi_ended *list = modules->ended;
    modules->ended = NULL;
    pthread_mutex_unlock(&modules->lock);
    uint64_t kept = 0;
    while (list) {
        drayi_ended *ended = list;
        list = ended->next;
        char why[128];
        if (!loaded_why(ended->loaded, why, sizeof(why))) {
            loaded_free(ended->loaded, false);
            drayi_free(modules->env, ended, sizeof(*ended));
            continue;
        }
        kept++;
        pthread_mutex_lock(&modules->lock);
        ended->next = modules->ended;
        modules->ended = ended;
        pthread_mutex_unlock(&modules->lock);
    }
    return kept;
}

uint64_t dray_module_collect(dray_context *context)
{
    drayi_modules *modules = drayi_env_of(context)->modules;
    return modules ? ended_collect(modules) : 0;
}

void drayi_module_code_end(drayi_module_code *loaded)
{
    drayi_modules *modules = loaded->modules;
    char why[128];
    if (!loaded_why(loaded, why, sizeof(why))) {
        loaded_free(loaded, false);
    } else {
        drayi_ended *ended = drayi_new(modules->env, drayi_ended, NULL);
        if (!ended) { // then it is never unmapped
            loaded_free(loaded, true);
            return;
        }
        drayi_log(modules->env, DRAY_LOG_DEBUG, "module %s has ended and stays mapped: %s",
                  loaded->name, why);
        ended->loaded = loaded;
        pthread_mutex_lock(&modules->lock);
        ended->next = modules->ended;
        modules->ended = ended;
        pthread_mutex_unlock(&modules->lock);
    }
}

void drayi_ended_free(drayi_modules *modules)
{
    ended_collect(modules);
    while (modules->ended) {
        drayi_ended *ended = modules->ended;
        modules->ended = ended->next;
        loaded_free(ended->loaded, true);
        drayi_free(modules->env, ended, sizeof(*ended));
    }
}
