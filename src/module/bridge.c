/// The way between a context and libtvm_ffi, when that is in the process: its users find dray's loaders
/// under the same names, and errors pass both ways, since both raise into its slot (see provider.h).
///
/// What is registered there may be kept by its users longer than the context lives. So it is a function
/// object of its own, on the process's heap, that leads to the context's function until the bridge is
/// taken away, and fails with a sentence afterwards. Taking it away waits for calls that are inside.
///
/// A module of dray's is a plain object over there, to be used through dray.ModuleGetFunction; its C++
/// Module object is never made by us, so places that insist on one say that they got something else.
#include "module/modules.h"
#include "module/provider.h"

#include <stdio.h>
#include <string.h>

typedef struct bridge_function {
    dray_function_object object; // first
    void (*raise)(const char *kind, const char *message);
    pthread_mutex_t lock;
    pthread_cond_t left;
    dray_function_object *target; // guarded by lock; NULL: the bridge is gone
    uint64_t inside;              // guarded by lock: calls
} bridge_function;

typedef struct bridge_entry {
    char name[DRAYI_PLACE_NAME_MAX + 1];
    bridge_function *function; // a reference
} bridge_entry;

struct drayi_bridge {
    bridge_entry *entries;
    uint64_t count, capacity;
};

/// The functions of libtvm_ffi that a bridge needs.
typedef struct tvm_calls {
    const drayi_provider *provider;
    void (*version)(uint32_t out_version[3]);
    int (*set_global)(const dray_byte_array *name, dray_object *function, int replace);
    int (*get_global)(const dray_byte_array *name, dray_object **out);
    int (*set_context_symbol)(const char *name, void *symbol); // NULL: this version has none
} tvm_calls;

enum { tvm_major = 0, tvm_minor = 1 };

// --- functions that lead to the context ------------------------------------------------------------

static void bridge_function_delete(void *self, int flags)
{
    bridge_function *function = self;
    if (flags & DRAY_DELETE_STRONG) {
        pthread_mutex_destroy(&function->lock);
        pthread_cond_destroy(&function->left);
    }
    if (flags & DRAY_DELETE_WEAK)
        dray_ffi_free(function);
}

static int bridge_function_call(void *handle, const dray_any *arguments, int32_t count,
                                dray_any *result)
{
    bridge_function *function = handle;
    pthread_mutex_lock(&function->lock);
    dray_function_object *target = function->target;
    function->inside += target != NULL;
    pthread_mutex_unlock(&function->lock);
    if (!target) {
        function->raise("RuntimeError", "the dray context behind this function has ended");
        return -1;
    }
    int code = target->call(target, arguments, count, result);
    pthread_mutex_lock(&function->lock);
    if (--function->inside == 0)
        pthread_cond_broadcast(&function->left);
    pthread_mutex_unlock(&function->lock);
    return code;
}

/// Afterwards no call is inside, and none gets there.
static void bridge_function_cut(bridge_function *function)
{
    pthread_mutex_lock(&function->lock);
    dray_function_object *target = function->target;
    function->target = NULL;
    while (function->inside > 0)
        pthread_cond_wait(&function->left, &function->lock);
    pthread_mutex_unlock(&function->lock);
    if (target)
        dray_object_release(&target->head);
}

/// Takes `target` over.
static bridge_function *bridge_function_create(const tvm_calls *tvm, dray_function_object *target,
                                               dray_error *error)
{
    bridge_function *function = dray_ffi_alloc(sizeof(*function));
    if (!function) {
        dray_object_release(&target->head);
        dray_fail(error, DRAY_E_NOMEM, "bridge: no memory for a function");
        return NULL;
    }
    function->object.head = (dray_object){.count = DRAY_OBJECT_FRESH,
                                          .type_index = DRAY_TYPE_FUNCTION,
                                          .deleter = bridge_function_delete};
    function->object.call = bridge_function_call;
    function->raise = tvm->provider->set_raised_text;
    function->target = target;
    pthread_mutex_init(&function->lock, NULL);
    pthread_cond_init(&function->left, NULL);
    return function;
}

// --- libtvm_ffi ----------------------------------------------------------------------------------------

static dray_status tvm_find(drayi_modules *modules, tvm_calls *out, dray_error *error)
{
    const drayi_os *os = modules->env->os;
    tvm_calls tvm = {.provider = drayi_provider_tvm(modules)};
    if (!tvm.provider)
        return dray_fail(error, DRAY_E_NOTFOUND, "bridge: libtvm_ffi is not in this process");
    void *library = tvm.provider->library;
    // ISO C has no cast from an object pointer to a function pointer; POSIX promises this one
    *(void **)&tvm.version = os->library_symbol(library, "TVMFFIGetVersion");
    *(void **)&tvm.set_global = os->library_symbol(library, "TVMFFIFunctionSetGlobal");
    *(void **)&tvm.get_global = os->library_symbol(library, "TVMFFIFunctionGetGlobal");
    *(void **)&tvm.set_context_symbol =
        os->library_symbol(library, "TVMFFIEnvModRegisterContextSymbol");
    if (!tvm.version || !tvm.set_global || !tvm.get_global)
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "bridge: this libtvm_ffi has no version, or no globals");
    uint32_t version[3] = {0};
    tvm.version(version);
    if (version[0] != tvm_major || version[1] != tvm_minor)
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "bridge: libtvm_ffi %u.%u.%u is loaded, dray knows %d.%d", version[0],
                         version[1], version[2], tvm_major, tvm_minor);
    *out = tvm;
    return DRAY_OK;
}

static dray_object *tvm_global(const tvm_calls *tvm, const char *name)
{
    dray_byte_array text = {name, strlen(name)};
    dray_object *function = NULL;
    return tvm->get_global(&text, &function) == 0 ? function : NULL;
}

/// Its registry has no call for this in C, but a function in itself. Without one the name stays, and
/// leads to a function that says that its context has ended.
static void tvm_remove(const tvm_calls *tvm, const char *name)
{
    dray_object *remove = tvm_global(tvm, "ffi.FunctionRemoveGlobal");
    if (!remove)
        return;
    dray_any argument = dray_any_borrow_text(name), result = dray_any_none();
    dray_object *raised = NULL;
    if (((dray_function_object *)remove)->call(remove, &argument, 1, &result) != 0)
        tvm->provider->take_raised(&raised);
    dray_any_release(&result);
    dray_object_release(raised);
    dray_object_release(remove);
}

// --- the bridge ------------------------------------------------------------------------------------------

static dray_status bridge_add(drayi_modules *modules, const tvm_calls *tvm, drayi_bridge *bridge,
                              const char *name_there, const char *name_here, dray_error *error)
{
    dray_object *taken = tvm_global(tvm, name_there);
    if (taken) {
        dray_object_release(taken);
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "bridge: libtvm_ffi has a global \"%s\" already", name_there);
    }
    DRAY_TRY(drayi_grow(modules->env, (void **)&bridge->entries, &bridge->capacity,
                        bridge->count + 1, sizeof(bridge_entry), error));
    dray_function_object *target;
    DRAY_TRY(dray_global_get(modules->context, name_here, &target, error));
    bridge_function *function = bridge_function_create(tvm, target, error);
    if (!function)
        return DRAY_E_NOMEM;
    dray_byte_array text = {name_there, strlen(name_there)};
    if (tvm->set_global(&text, &function->object.head, 0) == 0) {
        bridge_entry *entry = &bridge->entries[bridge->count++];
        snprintf(entry->name, sizeof(entry->name), "%s", name_there);
        entry->function = function;
        return DRAY_OK;
    }
    dray_object *raised = NULL;
    tvm->provider->take_raised(&raised);
    dray_object_release(raised);
    bridge_function_cut(function);
    dray_object_release(&function->object.head);
    return dray_fail(error, DRAY_E_UNSUPPORTED, "bridge: libtvm_ffi refuses a global \"%s\"",
                     name_there);
}

/// Everything that stands here under one of the prefixes. What libtvm_ffi has itself (its own loader of
/// .so files) stays its own.
static dray_status bridge_loaders(drayi_modules *modules, const tvm_calls *tvm,
                                  drayi_bridge *bridge, const char *prefix, dray_error *error)
{
    const char **names;
    uint64_t count, capacity;
    DRAY_TRY(drayi_places_list(&modules->places, prefix, &names, &count, &capacity, error));
    dray_status status = DRAY_OK;
    for (uint64_t i = 0; i < count && status == DRAY_OK; i++)
        status = bridge_add(modules, tvm, bridge, names[i], names[i], error);
    drayi_free(modules->env, names, capacity * sizeof(*names));
    return status;
}

/// Modules made with dray/export.h raise through a pointer that their loader fills in. libtvm_ffi fills
/// those that it was told of; this one stays told, and is its own function.
static void tell_context_symbol(drayi_modules *modules, const tvm_calls *tvm)
{
    void *raise =
        modules->env->os->library_symbol(tvm->provider->library, "TVMFFIErrorSetRaisedFromCStr");
    dray_object *raised = NULL;
    if (tvm->set_context_symbol &&
        tvm->set_context_symbol("__TVMFFIErrorSetRaisedFromCStr", raise) != 0)
        tvm->provider->take_raised(&raised);
    dray_object_release(raised);
}

static dray_status bridge_fill(drayi_modules *modules, const tvm_calls *tvm, drayi_bridge *bridge,
                               dray_error *error)
{
    tell_context_symbol(modules, tvm);
    DRAY_TRY(bridge_add(modules, tvm, bridge, "ffi.ModuleLoadFromBytes", "ffi.ModuleLoadFromBytes",
                        error));
    DRAY_TRY(bridge_add(modules, tvm, bridge, "dray.ModuleLoadFromFile", "ffi.ModuleLoadFromFile",
                        error));
    DRAY_TRY(
        bridge_add(modules, tvm, bridge, "dray.ModuleGetFunction", "ffi.ModuleGetFunction", error));
    DRAY_TRY(bridge_loaders(modules, tvm, bridge, "ffi.Module.load_from_bytes.", error));
    return bridge_loaders(modules, tvm, bridge, "ffi.Module.create.", error);
}

static void bridge_end(drayi_modules *modules, drayi_bridge *bridge)
{
    tvm_calls tvm;
    bool there = tvm_find(modules, &tvm, NULL) == DRAY_OK;
    for (uint64_t i = 0; i < bridge->count; i++) {
        if (there)
            tvm_remove(&tvm, bridge->entries[i].name);
        bridge_function_cut(bridge->entries[i].function);
        dray_object_release(&bridge->entries[i].function->object.head);
    }
    drayi_free(modules->env, bridge->entries, bridge->capacity * sizeof(bridge_entry));
    drayi_free(modules->env, bridge, sizeof(*bridge));
}

dray_status dray_bridge_attach(dray_context *context, dray_error *error)
{
    drayi_modules *modules = drayi_modules_of(drayi_env_of(context), error);
    tvm_calls tvm;
    if (!modules)
        return DRAY_E_NOMEM;
    DRAY_TRY(tvm_find(modules, &tvm, error));
    drayi_bridge *bridge = drayi_new(modules->env, drayi_bridge, error);
    if (!bridge)
        return DRAY_E_NOMEM;
    dray_status status = bridge_fill(modules, &tvm, bridge, error);
    pthread_mutex_lock(&modules->lock);
    bool second = modules->bridge != NULL;
    if (status == DRAY_OK && !second)
        modules->bridge = bridge;
    pthread_mutex_unlock(&modules->lock);
    if (status == DRAY_OK && second)
        status = dray_fail(error, DRAY_E_INVALID, "bridge: this context has one already");
    if (status != DRAY_OK)
        bridge_end(modules, bridge);
    return status;
}

void drayi_bridge_free(drayi_modules *modules)
{
    pthread_mutex_lock(&modules->lock);
    drayi_bridge *bridge = modules->bridge;
    modules->bridge = NULL;
    pthread_mutex_unlock(&modules->lock);
    if (bridge)
        bridge_end(modules, bridge);
}

void dray_bridge_detach(dray_context *context)
{
    drayi_modules *modules = drayi_env_of(context)->modules;
    if (modules)
        drayi_bridge_free(modules);
}
