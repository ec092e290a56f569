/// CUDA through its driver API, opened at run time: loading, describing, opening.
///
/// Work is done in the primary context of a device, the one that every other user of CUDA in this process
/// shares, pushed and popped around calls so that nobody's current context changes.
#include "device/cuda/cuda.h"
#include "os/os.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char library_name[] = "libcuda.so.1";

_Static_assert((int)DRAYI_CUDA_MEMORY == (int)DRAY_DEVICE_MEMORY &&
                   (int)DRAYI_CUDA_MANAGED == (int)DRAY_DEVICE_MANAGED &&
                   (int)DRAYI_CUDA_PINNED == (int)DRAY_DEVICE_PINNED &&
                   (int)DRAYI_CUDA_REGISTER == (int)DRAY_DEVICE_REGISTER &&
                   (int)DRAYI_CUDA_COPY == (int)DRAY_DEVICE_COPY &&
                   (int)DRAYI_CUDA_BATCH == (int)DRAY_DEVICE_BATCH &&
                   (int)DRAYI_CUDA_PEER == (int)DRAY_DEVICE_PEER,
               "groups of calls are capabilities");

typedef struct call_entry {
    const char *symbol;
    size_t at; // in drayi_cuda_calls
    uint32_t group;
} call_entry;

#define ENTRY(member, symbol, group, parameters) \
    {#symbol, offsetof(drayi_cuda_calls, member), DRAYI_CUDA_##group},
static const call_entry entries[] = {DRAYI_CUDA_CALLS(ENTRY)};
#undef ENTRY
enum { entry_count = sizeof(entries) / sizeof(entries[0]) };

// --- loading -----------------------------------------------------------------------------------------

static void text_add(char *text, size_t capacity, const char *word)
{
    size_t used = strlen(text);
    snprintf(text + used, capacity - used, "%s%s", used ? ", " : "", word);
}

/// Looks every call up. What is missing takes its group away; a group of alternatives needs one.
static dray_status calls_find(dray_driver *driver, dray_error *error)
{
    const uint32_t alternatives = DRAYI_CUDA_BATCH | DRAYI_CUDA_RELEASE;
    uint32_t found = 0;
    for (size_t i = 0; i < entry_count; i++) {
        const call_entry *entry = &entries[i];
        void *symbol = driver->env->os->library_symbol(driver->library, entry->symbol);
        // a function's address in an object pointer: what dlsym gives, and what C has no cast for
        memcpy((char *)&driver->calls + entry->at, &symbol, sizeof(symbol));
        if (symbol) {
            found |= entry->group;
            continue;
        }
        if (entry->group == DRAYI_CUDA_BASE)
            return dray_fail(error, DRAY_E_UNSUPPORTED, "%s has no %s: this driver is too old",
                             library_name, entry->symbol);
        driver->absent |= entry->group;
        text_add(driver->missing, sizeof(driver->missing), entry->symbol);
    }
    driver->absent &= ~(found & alternatives);
    if (driver->absent & DRAYI_CUDA_MEMORY)
        driver->absent |= DRAYI_CUDA_MANAGED; // freed and zeroed by the same calls
    if (driver->absent & DRAYI_CUDA_COPY)
        driver->absent |= DRAYI_CUDA_BATCH | DRAYI_CUDA_PEER;
    if (driver->absent & DRAYI_CUDA_RELEASE)
        return dray_fail(error, DRAY_E_UNSUPPORTED, "%s has no cuDevicePrimaryCtxRelease_v2",
                         library_name);
    return DRAY_OK;
}

static dray_status driver_start(dray_driver *driver, dray_error *error)
{
    const drayi_cuda_calls *calls = &driver->calls;
    CUresult code = calls->init(0);
    if (code == DRAYI_CUDA_STUB_LIBRARY)
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "%s is the toolkit's stub, no driver: CUDA_ERROR_STUB_LIBRARY (34)",
                         library_name);
    if (code != DRAYI_CUDA_SUCCESS) {
        drayi_cuda_fail(driver, NULL, error, code, "cuInit", "%s", "");
        if (error)
            error->status = DRAY_E_UNSUPPORTED;
        return DRAY_E_UNSUPPORTED;
    }
    code = calls->driver_version(&driver->version);
    if (code != DRAYI_CUDA_SUCCESS)
        return drayi_cuda_fail(driver, NULL, error, code, "cuDriverGetVersion", "%s", "");
    int count = 0;
    code = calls->device_count(&count);
    if (code != DRAYI_CUDA_SUCCESS)
        return drayi_cuda_fail(driver, NULL, error, code, "cuDeviceGetCount", "%s", "");
    if (count < 0)
        return drayi_cuda_fail_empty(error, "cuDeviceGetCount");
    if (count == 0)
        return dray_fail(error, DRAY_E_UNSUPPORTED, "the driver of CUDA %d.%d is here, no device is",
                         driver->version / 1000, driver->version % 1000 / 10);
    driver->count = count > DRAYI_CUDA_DEVICES_MAX ? DRAYI_CUDA_DEVICES_MAX : (uint32_t)count;
    for (uint32_t i = 0; i < driver->count; i++) {
        dray_device_self *device = &driver->devices[i];
        device->driver = driver;
        device->ordinal = i;
        code = calls->device_get(&device->device, (int)i);
        if (code != DRAYI_CUDA_SUCCESS)
            return drayi_cuda_fail(driver, NULL, error, code, "cuDeviceGet", "%u of %u", i,
                                   driver->count);
    }
    return DRAY_OK;
}

static void context_let_go(dray_device_self *device)
{
    if (!device->context)
        return;
    const drayi_cuda_calls *calls = &device->driver->calls;
    drayi_cuda_loops_unload(device);
    if (calls->context_release)
        calls->context_release(device->device);
    else
        calls->context_release1(device->device);
}

static void cuda_unload(dray_driver *driver)
{
    for (uint32_t i = 0; i < driver->count; i++)
        context_let_go(&driver->devices[i]);
    if (driver->library)
        driver->env->os->library_close(driver->library);
    pthread_mutex_destroy(&driver->lock);
    drayi_free(driver->env, driver, sizeof(*driver));
}

static dray_status cuda_load(drayi_env *env, dray_driver **out_driver, dray_error *error)
{
    dray_driver *driver = drayi_new(env, dray_driver, error);
    if (!driver)
        return DRAY_E_NOMEM;
    driver->env = env;
    pthread_mutex_init(&driver->lock, NULL);
    char why[256] = "";
    driver->library = env->os->library_open(library_name, why, sizeof(why));
    dray_status status = driver->library
                             ? calls_find(driver, error)
                             : dray_fail(error, DRAY_E_UNSUPPORTED, "no CUDA driver: %s", why);
    if (status == DRAY_OK)
        status = driver_start(driver, error);
    if (status != DRAY_OK)
        cuda_unload(driver);
    else
        *out_driver = driver;
    return status;
}

static uint32_t cuda_count(const dray_driver *driver)
{
    return driver->count;
}

// --- contexts ------------------------------------------------------------------------------------------

static dray_status context_retain(dray_device_self *device, dray_error *error)
{
    dray_driver *driver = device->driver;
    dray_status status = DRAY_OK;
    pthread_mutex_lock(&driver->lock);
    if (!device->context) {
        CUcontext context = NULL;
        CUresult code = driver->calls.context_retain(&context, device->device);
        if (code != DRAYI_CUDA_SUCCESS)
            status = drayi_cuda_fail(driver, device, error, code, "cuDevicePrimaryCtxRetain",
                                     "of device %u", device->ordinal);
        else if (!context)
            status = drayi_cuda_fail_empty(error, "cuDevicePrimaryCtxRetain");
        device->context = context;
    }
    pthread_mutex_unlock(&driver->lock);
    return status;
}

dray_status drayi_cuda_enter(dray_device_self *device, dray_error *error)
{
    const dray_driver *driver = device->driver;
    CUresult lost = atomic_load(&device->lost);
    if (lost)
        return drayi_cuda_fail(driver, device, error, lost, "CUDA",
                               "gave cuda:%u up at an earlier error", device->ordinal);
    DRAY_TRY(context_retain(device, error));
    CUresult code = driver->calls.context_push(device->context);
    return code == DRAYI_CUDA_SUCCESS
               ? DRAY_OK
               : drayi_cuda_fail(driver, device, error, code, "cuCtxPushCurrent_v2", "%s", "");
}

void drayi_cuda_leave(dray_device_self *device)
{
    CUcontext popped;
    device->driver->calls.context_pop(&popped);
}

// --- describing ----------------------------------------------------------------------------------------

int drayi_cuda_attribute_of(const dray_device_self *device, int number, int unknown)
{
    int value = unknown;
    CUresult code = device->driver->calls.device_attribute(&value, (drayi_cuda_attribute)number,
                                                           device->device);
    return code == DRAYI_CUDA_SUCCESS ? value : unknown;
}

static uint32_t capabilities_of(const dray_device_self *device)
{
    static const struct {
        int attribute;
        uint32_t capability;
    } needs[] = {
        {DRAYI_CUDA_ATTRIBUTE_MANAGED, DRAY_DEVICE_MANAGED},
        {DRAYI_CUDA_ATTRIBUTE_HOST_REGISTER, DRAY_DEVICE_REGISTER},
        {DRAYI_CUDA_ATTRIBUTE_CONCURRENT_MANAGED, DRAY_DEVICE_CONCURRENT_MANAGED},
        {DRAYI_CUDA_ATTRIBUTE_PAGEABLE, DRAY_DEVICE_PAGEABLE},
        {DRAYI_CUDA_ATTRIBUTE_INTEGRATED, DRAY_DEVICE_INTEGRATED},
        // one address space for host and devices: batches and managed pointers rely on it
        {DRAYI_CUDA_ATTRIBUTE_UNIFIED_ADDRESSING, DRAY_DEVICE_BATCH},
        {DRAYI_CUDA_ATTRIBUTE_UNIFIED_ADDRESSING, DRAY_DEVICE_MANAGED},
    };
    uint32_t found = DRAY_DEVICE_MEMORY | DRAY_DEVICE_MANAGED | DRAY_DEVICE_PINNED |
                     DRAY_DEVICE_REGISTER | DRAY_DEVICE_COPY | DRAY_DEVICE_BATCH |
                     DRAY_DEVICE_PEER | DRAY_DEVICE_CONCURRENT_MANAGED | DRAY_DEVICE_PAGEABLE |
                     DRAY_DEVICE_INTEGRATED;
    for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++) {
        if (drayi_cuda_attribute_of(device, needs[i].attribute, 0) <= 0)
            found &= ~needs[i].capability;
    }
    return found & ~device->driver->absent;
}

static void texts_describe(dray_device_self *device, dray_device_info *info)
{
    const dray_driver *driver = device->driver;
    const drayi_cuda_calls *calls = &driver->calls;
    char name[100] = "";
    if (!calls->device_name ||
        calls->device_name(name, sizeof(name), device->device) != DRAYI_CUDA_SUCCESS)
        snprintf(name, sizeof(name), "CUDA device");
    name[sizeof(name) - 1] = '\0';
    snprintf(info->model, sizeof(info->model), "%s, compute %d.%d", name,
             drayi_cuda_attribute_of(device, DRAYI_CUDA_ATTRIBUTE_COMPUTE_MAJOR, 0),
             drayi_cuda_attribute_of(device, DRAYI_CUDA_ATTRIBUTE_COMPUTE_MINOR, 0));
    snprintf(info->driver, sizeof(info->driver), "CUDA driver API %d.%d, %s",
             driver->version / 1000, driver->version % 1000 / 10, library_name);
    snprintf(info->missing, sizeof(info->missing), "%s", driver->missing);
    text_add(info->symbols, sizeof(info->symbols),
             calls->context_release ? "cuDevicePrimaryCtxRelease_v2" : "cuDevicePrimaryCtxRelease");
    if (calls->copy_batch2 || calls->copy_batch1)
        text_add(info->symbols, sizeof(info->symbols),
                 calls->copy_batch2 ? "cuMemcpyBatchAsync_v2" : "cuMemcpyBatchAsync");
}

static dray_status memory_describe(dray_device_self *device, dray_device_info *info,
                                   dray_error *error)
{
    const drayi_cuda_calls *calls = &device->driver->calls;
    size_t total = 0, free_bytes = 0;
    CUresult code = calls->device_memory(&total, device->device);
    if (code != DRAYI_CUDA_SUCCESS)
        return drayi_cuda_fail(device->driver, device, error, code, "cuDeviceTotalMem_v2",
                               "of device %u", device->ordinal);
    info->total_bytes = total;
    info->largest_bytes = total;
    DRAY_TRY(drayi_cuda_enter(device, error));
    if (calls->memory_info && calls->memory_info(&free_bytes, &total) == DRAYI_CUDA_SUCCESS &&
        free_bytes <= total)
        info->free_bytes = free_bytes; // otherwise it stays unknown
    drayi_cuda_leave(device);
    return DRAY_OK;
}

static dray_status cuda_describe(dray_driver *driver, uint32_t ordinal, dray_device_info *out_info,
                                 dray_error *error)
{
    dray_device_self *device = &driver->devices[ordinal];
    texts_describe(device, out_info);
    out_info->alignment = DRAYI_CUDA_ALIGNMENT;
    out_info->capabilities = capabilities_of(device);
    out_info->numa_node = drayi_cuda_attribute_of(device, DRAYI_CUDA_ATTRIBUTE_HOST_NUMA_ID, -1);
    return memory_describe(device, out_info, error);
}

// --- opening -------------------------------------------------------------------------------------------

static dray_status cuda_open(dray_driver *driver, uint32_t ordinal, dray_device_self **out_device,
                             dray_error *error)
{
    dray_device_self *device = &driver->devices[ordinal];
    DRAY_TRY(context_retain(device, error));
    *out_device = device;
    return DRAY_OK;
}

/// The context is the driver's, and goes with it.
static void cuda_close(dray_device_self *device)
{
    (void)device;
}

static void *cuda_handle(const dray_device_self *device)
{
    return device->context;
}

const dray_device_ops drayi_device_cuda = {
    .abi = DRAY_DEVICE_ABI,
    .flags = DRAY_DEVICE_FAMILY_LOOPS,
    .family = "cuda",
    .backend = "cuda",
    .unproven = "no GPU so far: its tests run on a stand-in for the driver",
    .load = cuda_load,
    .unload = cuda_unload,
    .count = cuda_count,
    .describe = cuda_describe,
    .open = cuda_open,
    .close = cuda_close,
    .handle = cuda_handle,
    .memory = &drayi_cuda_memory,
    .copy = &drayi_cuda_copy,
    .hints = &drayi_cuda_hints,
    .module = &drayi_cuda_programs,
};
