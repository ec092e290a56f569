#include "module/provider.h"

#include "module/image.h"
#include "module/module_object.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

extern const unsigned char drayi_shim_image[]; // cmake/DrayShim.cmake
extern const unsigned long drayi_shim_image_bytes;

static const char tvm_name[] = "libtvm_ffi.so";
static const char shim_name[] = "libdray_ffi.so.0";

/// False: a library that lacks one of them.
static bool provider_bind(const drayi_os *os, void *library, drayi_provider *out)
{
    drayi_provider provider = {0}; // its library is set last, see provider_publish()
    // ISO C has no cast from an object pointer to a function pointer; POSIX promises this one
    *(void **)&provider.set_raised = os->library_symbol(library, "TVMFFIErrorSetRaised");
    *(void **)&provider.set_raised_text =
        os->library_symbol(library, "TVMFFIErrorSetRaisedFromCStr");
    *(void **)&provider.take_raised = os->library_symbol(library, "TVMFFIErrorMoveFromRaised");
    *out = provider;
    return provider.set_raised && provider.set_raised_text && provider.take_raised;
}

/// Writes a provider once; whoever comes second finds it there, and gives `library` back.
static const drayi_provider *provider_publish(drayi_modules *modules, drayi_provider *where,
                                              void *library)
{
    drayi_provider provider;
    bool whole = provider_bind(modules->env->os, library, &provider);
    pthread_mutex_lock(&modules->lock);
    bool second = where->library != NULL;
    if (whole && !second) {
        *where = provider;
        __atomic_store_n(&where->library, library, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&modules->lock);
    if (!whole || second)
        modules->env->os->library_close(library);
    return whole ? where : NULL;
}

static const drayi_provider *provider_ready(const drayi_provider *provider)
{
    return __atomic_load_n(&provider->library, __ATOMIC_ACQUIRE) ? provider : NULL;
}

/// A provider that is in the process already; libtvm_ffi may have come since we last looked.
static const drayi_provider *provider_find(drayi_modules *modules, drayi_provider *where,
                                           const char *name)
{
    assert(modules);
    const drayi_provider *ready = provider_ready(where);
    if (ready)
        return ready;
    void *library = modules->env->os->library_find(name, false);
    return library ? provider_publish(modules, where, library) : NULL;
}

/// Opens libdray_ffi out of a sealed memfd. Under this spelling of its path nothing else is opened, so
/// a later library with the same number of descriptor is not taken for it.
static dray_status shim_open(drayi_modules *modules, void **out_library, dray_error *error)
{
    drayi_env *env = modules->env;
    const dray_module_source source = {.struct_bytes = sizeof(source),
                                       .bytes = drayi_shim_image,
                                       .byte_count = drayi_shim_image_bytes,
                                       .name = "libdray_ffi"};
    dray_image *image;
    DRAY_TRY(drayi_image_open(env, &source, &image, error));
    dray_status status = image->seal(image, error);
    if (status == DRAY_OK) {
        char path[64], why[256];
        snprintf(path, sizeof(path), "/proc/thread-self/fd/%d", image->fd);
        *out_library = env->os->library_open(path, why, sizeof(why));
        if (!*out_library)
            status = dray_fail(error, DRAY_E_UNSUPPORTED, "open libdray_ffi from memory: %s", why);
    }
    image->release(image);
    return status;
}

const drayi_provider *drayi_provider_of(drayi_modules *modules, dray_error *error)
{
    const drayi_provider *found = provider_find(modules, &modules->tvm, tvm_name);
    if (!found)
        found = provider_find(modules, &modules->shim, shim_name);
    if (found)
        return found;
    void *library = NULL;
    if (shim_open(modules, &library, error) != DRAY_OK)
        return NULL;
    found = provider_publish(modules, &modules->shim, library);
    if (!found)
        dray_fail(error, DRAY_E_INTERNAL, "libdray_ffi lacks its own functions");
    return found;
}

const drayi_provider *drayi_provider_tvm(drayi_modules *modules)
{
    return provider_find(modules, &modules->tvm, tvm_name);
}

dray_object *drayi_take_raised(drayi_modules *modules)
{
    // a module that was loaded before libtvm_ffi came still raises into libdray_ffi
    const drayi_provider *providers[] = {provider_find(modules, &modules->tvm, tvm_name),
                                         provider_find(modules, &modules->shim, shim_name)};
    for (unsigned i = 0; i < 2; i++) {
        dray_object *error = NULL;
        if (providers[i])
            providers[i]->take_raised(&error);
        if (error)
            return error;
    }
    return NULL;
}

void *drayi_context_symbol(const dray_load_request *request, const char *name)
{
    static const char marker[] = "__TVMFFI";
    if (strncmp(name, marker, sizeof(marker) - 1) != 0)
        return NULL;
    if (strcmp(name, "__TVMFFIEnvModLookupFromImports") == 0) {
        int (*lookup)(void *, const char *, dray_object **) = drayi_module_context_lookup;
        void *address;
        memcpy(&address, &lookup, sizeof(address));
        return address;
    }
    drayi_modules *modules = drayi_modules_of(request->env, NULL);
    const drayi_provider *provider = modules ? drayi_provider_of(modules, NULL) : NULL;
    return provider ? request->env->os->library_symbol(provider->library, name + 2) : NULL;
}

dray_status drayi_provide_symbols(const dray_load_request *request, const char *const *names,
                                  uint64_t count, dray_error *error)
{
    drayi_modules *modules = drayi_modules_of(request->env, error);
    const drayi_provider *provider = modules ? drayi_provider_of(modules, error) : NULL;
    if (!provider)
        return DRAY_E_UNSUPPORTED;
    const char *library = provider == &modules->tvm ? tvm_name : shim_name;
    for (uint64_t i = 0; i < count; i++)
        if (!request->env->os->library_symbol(provider->library, names[i]))
            return dray_fail(error, DRAY_E_UNSUPPORTED, "module %s needs %s, which %s does not have",
                             request->image->name, names[i], library);
    void *shared = request->env->os->library_find(library, true);
    if (!shared)
        return dray_fail(error, DRAY_E_UNSUPPORTED, "%s is not in this process any more", library);
    return DRAY_OK; // the handle is kept: what is global stays so
}
