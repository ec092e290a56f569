#include "module/loaders.h"

#include "module/load_module.h"
#include "module/module_object.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

const char *const drayi_front_keys[3] = {"ffi.Module.load_from_bytes.", "ffi.Module.create.",
                                         "ffi.Module.load_from_file."};

// --- life of an entry ----------------------------------------------------------------------------------

static void entry_unref(drayi_loader_entry *entry)
{
    drayi_modules *modules = entry->modules;
    pthread_mutex_lock(&modules->lock);
    bool last = --entry->references == 0;
    pthread_mutex_unlock(&modules->lock);
    if (!last)
        return;
    dray_module *provider = entry->provider;
    drayi_free(modules->env, entry, sizeof(*entry));
    dray_module_release(provider);
}

void drayi_loader_enter(drayi_loader_entry *entry, drayi_loader_call *call)
{
    pthread_mutex_lock(&entry->modules->lock);
    *call = (drayi_loader_call){.next = entry->calls, .entry = entry, .thread = pthread_self()};
    entry->calls = call;
    entry->references++;
    pthread_mutex_unlock(&entry->modules->lock);
}

void drayi_loader_leave(drayi_loader_call *call)
{
    drayi_loader_entry *entry = call->entry;
    pthread_mutex_lock(&entry->modules->lock);
    drayi_loader_call **at = &entry->calls;
    while (*at != call)
        at = &(*at)->next;
    *at = call->next;
    pthread_cond_broadcast(&entry->modules->load_ended);
    pthread_mutex_unlock(&entry->modules->lock);
    entry_unref(entry);
}

dray_status drayi_loader_enter_all(drayi_modules *modules, drayi_loader_list *out, dray_error *error)
{
    *out = (drayi_loader_list){0};
    dray_status status = DRAY_OK;
    pthread_mutex_lock(&modules->lock);
    for (const drayi_loader_entry *each = modules->loaders; each; each = each->next)
        out->capacity++;
    out->calls = drayi_alloc_array(modules->env, out->capacity, sizeof(*out->calls), error);
    if (!out->calls)
        status = DRAY_E_NOMEM;
    for (drayi_loader_entry *each = modules->loaders; each && status == DRAY_OK; each = each->next) {
        drayi_loader_call *call = &out->calls[out->count++];
        *call = (drayi_loader_call){.next = each->calls, .entry = each, .thread = pthread_self()};
        each->calls = call;
        each->references++;
    }
    pthread_mutex_unlock(&modules->lock);
    return status;
}

void drayi_loader_leave_all(drayi_modules *modules, drayi_loader_list *list)
{
    for (uint64_t i = 0; i < list->count; i++)
        drayi_loader_leave(&list->calls[i]);
    drayi_free(modules->env, list->calls, list->capacity * sizeof(*list->calls));
    *list = (drayi_loader_list){0};
}

// --- as a function of the registry ---------------------------------------------------------------------

typedef struct loader_front {
    drayi_loader_entry *entry;
    enum drayi_front front;
} loader_front;

static int front_call(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    const loader_front *self = handle;
    drayi_modules *modules = self->entry->modules;
    dray_error error;
    const drayi_load_ask ask = {.kind = self->entry->ops->kind,
                                .entry = self->entry,
                                .raw = self->front == DRAYI_FRONT_CREATE};
    dray_byte_array given;
    dray_module *module = NULL;
    dray_status status;
    bool file = self->front == DRAYI_FRONT_FILE;
    if (count < 1 || count > 2 ||
        !(file ? dray_any_get_text(&arguments[0], &given)
               : dray_any_get_bytes(&arguments[0], &given)))
        status =
            dray_fail(&error, DRAY_E_INVALID, "%s%s wants %s", drayi_front_keys[self->front],
                      file ? "*" : self->entry->ops->kind, file ? "(path, extension)" : "(bytes)");
    else if (file)
        status = drayi_load_path(modules, &ask, given.data, &module, &error);
    else
        status = drayi_load_memory(modules, &ask, given.data, given.size, &module, &error);
    if (status != DRAY_OK)
        return drayi_raise(modules, &error);
    *result = dray_any_module(module);
    dray_module_release(module);
    if (result->type_index == DRAY_TYPE_NONE)
        return dray_function_raise(modules->context, "MemoryError", "no memory for a module");
    return 0;
}

static void front_destroy(void *handle)
{
    loader_front *self = handle;
    drayi_loader_entry *entry = self->entry;
    drayi_free(entry->modules->env, self, sizeof(*self));
    entry_unref(entry);
}

drayi_loader_entry *drayi_loader_of(const dray_function_object *function)
{
    const loader_front *self = drayi_function_self(function, front_call);
    return self ? self->entry : NULL;
}

static dray_status front_create(drayi_loader_entry *entry, enum drayi_front which,
                                dray_function_object **out, dray_error *error)
{
    drayi_modules *modules = entry->modules;
    loader_front *self = drayi_new(modules->env, loader_front, error);
    if (!self)
        return DRAY_E_NOMEM;
    *self = (loader_front){entry, which};
    dray_status status =
        dray_function_create(modules->context, front_call, self, front_destroy, out, error);
    if (status != DRAY_OK) {
        drayi_free(modules->env, self, sizeof(*self));
        return status;
    }
    pthread_mutex_lock(&modules->lock);
    entry->references++;
    pthread_mutex_unlock(&modules->lock);
    return DRAY_OK;
}

// --- the keys of a loader --------------------------------------------------------------------------------

/// The index'th key of a table and the front behind it; false: there are no more.
static bool key_at(const dray_loader_ops *ops, uint64_t index, char key[DRAYI_PLACE_NAME_MAX + 1],
                   enum drayi_front *out_front)
{
    const struct {
        uint32_t flag;
        enum drayi_front front;
    } by_flag[] = {{DRAY_LOADER_SERIALIZED, DRAYI_FRONT_LOAD},
                   {DRAY_LOADER_RAW, DRAYI_FRONT_CREATE}};
    for (unsigned i = 0; i < 2; i++) {
        if (!(ops->flags & by_flag[i].flag))
            continue;
        if (index-- == 0) {
            *out_front = by_flag[i].front;
            snprintf(key, DRAYI_PLACE_NAME_MAX + 1, "%s%s", drayi_front_keys[*out_front], ops->kind);
            return true;
        }
    }
    for (const char *const *each = ops->extensions; each && *each; each++)
        if (index-- == 0) {
            *out_front = DRAYI_FRONT_FILE;
            snprintf(key, DRAYI_PLACE_NAME_MAX + 1, "%s%s", drayi_front_keys[*out_front], *each);
            return true;
        }
    return false;
}

/// Takes back the keys before `end` that lead to `ops`.
static dray_status keys_remove(drayi_modules *modules, const dray_loader_ops *ops, uint64_t end,
                               int64_t timeout_ns, dray_error *error)
{
    char key[DRAYI_PLACE_NAME_MAX + 1];
    enum drayi_front which;
    dray_status status = DRAY_OK;
    for (uint64_t i = 0; i < end && key_at(ops, i, key, &which); i++) {
        dray_global_hold hold = drayi_places_borrow(&modules->places, key, strlen(key));
        const dray_function_object *function = hold.function;
        const drayi_loader_entry *entry = function ? drayi_loader_of(function) : NULL;
        bool ours = entry && entry->ops == ops;
        dray_global_give_back(&hold);
        if (!ours)
            continue;
        dray_status removed =
            drayi_places_remove(&modules->places, key, function, timeout_ns, error);
        if (removed == DRAY_E_BUSY || removed == DRAY_E_NOMEM)
            status = removed;
    }
    return status;
}

static dray_status keys_add(drayi_loader_entry *entry, uint32_t flags, dray_error *error)
{
    drayi_modules *modules = entry->modules;
    char key[DRAYI_PLACE_NAME_MAX + 1];
    enum drayi_front which;
    for (uint64_t i = 0; key_at(entry->ops, i, key, &which); i++) {
        dray_function_object *function = NULL;
        dray_status status = front_create(entry, which, &function, error);
        if (status == DRAY_OK) {
            status =
                drayi_places_set(&modules->places, key, function, entry->provider, flags, error);
            dray_object_release(&function->head);
        }
        if (status != DRAY_OK) {
            keys_remove(modules, entry->ops, i, -1, NULL);
            return status;
        }
    }
    return DRAY_OK;
}

static bool kind_is_sound(const char *kind)
{
    size_t length = kind ? strnlen(kind, 64) : 0;
    return length >= 1 && length <= 63 &&
           strspn(kind, "abcdefghijklmnopqrstuvwxyz0123456789-_") == length &&
           strcmp(kind, "auto") != 0;
}

static dray_status check_ops(const dray_loader_ops *ops, dray_error *error)
{
    if (!ops || ops->abi != DRAY_LOADER_ABI)
        return dray_fail(error, DRAY_E_INVALID, "loader: a table of abi %u is wanted, this is %u",
                         DRAY_LOADER_ABI, ops ? ops->abi : 0);
    if (!kind_is_sound(ops->kind))
        return dray_fail(error, DRAY_E_INVALID,
                         "loader: a kind is 1 to 63 of a-z, 0-9, '-' and '_', and not \"auto\"");
    if (!(ops->flags & (DRAY_LOADER_RAW | DRAY_LOADER_SERIALIZED)))
        return dray_fail(error, DRAY_E_INVALID, "loader %s: neither raw nor serialized", ops->kind);
    if (!ops->load && !ops->refusal)
        return dray_fail(error, DRAY_E_INVALID, "loader %s: it does not load, and does not say why",
                         ops->kind);
    return DRAY_OK;
}

// --- registering -------------------------------------------------------------------------------------------

static void entry_link(drayi_loader_entry *entry)
{
    pthread_mutex_lock(&entry->modules->lock);
    drayi_loader_entry **at = &entry->modules->loaders;
    while (*at)
        at = &(*at)->next;
    *at = entry;
    pthread_mutex_unlock(&entry->modules->lock);
}

/// Out of the list; NULL: no entry with this table is in it. The list's reference is the caller's now.
static drayi_loader_entry *entry_unlink(drayi_modules *modules, const dray_loader_ops *ops)
{
    pthread_mutex_lock(&modules->lock);
    drayi_loader_entry **at = &modules->loaders;
    while (*at && (*at)->ops != ops)
        at = &(*at)->next;
    drayi_loader_entry *entry = *at;
    if (entry)
        *at = entry->next;
    pthread_mutex_unlock(&modules->lock);
    return entry;
}

static bool thread_is_inside(const drayi_loader_entry *entry)
{
    bool inside = false;
    pthread_mutex_lock(&entry->modules->lock);
    for (const drayi_loader_call *call = entry->calls; call; call = call->next)
        inside |= pthread_equal(call->thread, pthread_self()) != 0;
    pthread_mutex_unlock(&entry->modules->lock);
    return inside;
}

/// Until no call is inside; a call of this very thread would never leave.
static dray_status calls_wait(drayi_loader_entry *entry, int64_t timeout_ns, dray_error *error)
{
    drayi_modules *modules = entry->modules;
    int64_t deadline = timeout_ns < 0 ? INT64_MAX : modules->env->os->now_ns() + timeout_ns;
    struct timespec until = {.tv_sec = deadline / 1000000000, .tv_nsec = deadline % 1000000000};
    if (thread_is_inside(entry))
        return dray_fail(error, DRAY_E_BUSY, "loader %s: unregistered from inside its own call",
                         entry->ops->kind);
    int code = 0;
    pthread_mutex_lock(&modules->lock);
    while (entry->calls && code == 0) {
        if (timeout_ns < 0)
            pthread_cond_wait(&modules->load_ended, &modules->lock);
        else
            code = pthread_cond_timedwait(&modules->load_ended, &modules->lock, &until);
    }
    bool inside = entry->calls != NULL;
    pthread_mutex_unlock(&modules->lock);
    if (inside)
        return dray_fail(error, DRAY_E_BUSY,
                         "loader %s: a load is still in flight after %" PRId64 " ms",
                         entry->ops->kind, timeout_ns / 1000000);
    return DRAY_OK;
}

/// Ends an entry that is in the list no more.
static dray_status entry_end(drayi_loader_entry *entry, int64_t timeout_ns, dray_error *error)
{
    if (thread_is_inside(entry))
        timeout_ns = 0; // it would wait for itself
    dray_status removed = keys_remove(entry->modules, entry->ops, UINT64_MAX, timeout_ns, error);
    dray_status waited = calls_wait(entry, timeout_ns, error);
    entry_unref(entry);
    return removed != DRAY_OK ? removed : waited;
}

/// The entry of the same kind that `entry` has replaced, out of the list; or NULL.
static drayi_loader_entry *replaced_by(const drayi_loader_entry *entry)
{
    drayi_modules *modules = entry->modules;
    pthread_mutex_lock(&modules->lock);
    drayi_loader_entry **at = &modules->loaders;
    while (*at && strcmp((*at)->ops->kind, entry->ops->kind) != 0)
        at = &(*at)->next;
    drayi_loader_entry *old = *at;
    if (old)
        *at = old->next;
    pthread_mutex_unlock(&modules->lock);
    return old;
}

dray_status drayi_loader_add(drayi_modules *modules, const dray_loader_ops *ops,
                             dray_module *provider, uint32_t flags, dray_error *error)
{
    DRAY_TRY(check_ops(ops, error));
    drayi_loader_entry *entry = drayi_new(modules->env, drayi_loader_entry, error);
    if (!entry)
        return DRAY_E_NOMEM;
    *entry = (drayi_loader_entry){.modules = modules,
                                  .ops = ops,
                                  .provider = provider ? dray_module_retain(provider) : NULL,
                                  .references = 1};
    dray_status status = keys_add(entry, flags, error);
    if (status != DRAY_OK) {
        entry_unref(entry);
        return status;
    }
    drayi_loader_entry *old = replaced_by(entry);
    entry_link(entry);
    return old ? entry_end(old, -1, error) : DRAY_OK;
}

dray_status dray_loader_register(dray_context *context, const dray_loader_ops *ops,
                                 dray_module *provider, uint32_t flags, dray_error *error)
{
    drayi_modules *modules = drayi_modules_of(drayi_env_of(context), error);
    return modules ? drayi_loader_add(modules, ops, provider, flags, error) : DRAY_E_NOMEM;
}

dray_status dray_loader_unregister(dray_context *context, const dray_loader_ops *ops,
                                   int64_t timeout_ns, dray_error *error)
{
    drayi_modules *modules = drayi_modules_of(drayi_env_of(context), error);
    if (!modules)
        return DRAY_E_NOMEM;
    drayi_loader_entry *entry = entry_unlink(modules, ops);
    if (!entry)
        return dray_fail(error, DRAY_E_NOTFOUND, "loader %s is not registered",
                         ops ? ops->kind : "(none)");
    return entry_end(entry, timeout_ns, error);
}

dray_status dray_loader_list(dray_context *context,
                             void (*each)(void *self, const dray_loader_ops *ops), void *self,
                             dray_error *error)
{
    drayi_modules *modules = drayi_modules_of(drayi_env_of(context), error);
    if (!modules)
        return DRAY_E_NOMEM;
    drayi_loader_list list;
    DRAY_TRY(drayi_loader_enter_all(modules, &list, error));
    for (uint64_t i = 0; i < list.count; i++)
        each(self, list.calls[i].entry->ops);
    drayi_loader_leave_all(modules, &list);
    return DRAY_OK;
}

void drayi_loaders_free(drayi_modules *modules)
{
    while (modules->loaders) {
        drayi_loader_entry *entry = modules->loaders;
        modules->loaders = entry->next;
        entry_unref(entry);
    }
}
