/// OpenCL through its ICD loader, opened at run time: loading, describing, opening.
///
/// The devices of all platforms are numbered through. Each opened device has a context of its own, so
/// that its buffers are on that device and not wherever a shared context moves them; between two devices
/// bytes go by the host.
#include "device/opencl/opencl.h"
#include "os/os.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char library_name[] = "libOpenCL.so.1";

_Static_assert((int)DRAYI_OPENCL_MEMORY == (int)DRAY_DEVICE_MEMORY &&
                   (int)DRAYI_OPENCL_MANAGED == (int)DRAY_DEVICE_MANAGED &&
                   (int)DRAYI_OPENCL_COPY == (int)DRAY_DEVICE_COPY,
               "groups of calls are capabilities");

typedef struct call_entry {
    const char *symbol;
    size_t at; // in drayi_opencl_calls
    uint32_t group;
} call_entry;

#define ENTRY(member, symbol, group, result, parameters) \
    {#symbol, offsetof(drayi_opencl_calls, member), DRAYI_OPENCL_##group},
static const call_entry entries[] = {DRAYI_OPENCL_CALLS(ENTRY)};
#undef ENTRY

// --- loading -----------------------------------------------------------------------------------------

static dray_status calls_find(dray_driver *driver, dray_error *error)
{
    for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
        const call_entry *entry = &entries[i];
        void *symbol = driver->env->os->library_symbol(driver->library, entry->symbol);
        // a function's address in an object pointer: what dlsym gives, and what C has no cast for
        memcpy((char *)&driver->calls + entry->at, &symbol, sizeof(symbol));
        if (symbol)
            continue;
        if (entry->group == DRAYI_OPENCL_BASE)
            return dray_fail(error, DRAY_E_UNSUPPORTED, "%s has no %s", library_name, entry->symbol);
        driver->absent |= entry->group;
        size_t used = strlen(driver->missing);
        snprintf(driver->missing + used, sizeof(driver->missing) - used, "%s%s", used ? ", " : "",
                 entry->symbol);
    }
    return DRAY_OK;
}

/// The devices of one platform; one without any is passed over.
static dray_status platform_add(dray_driver *driver, cl_platform_id platform, dray_error *error)
{
    cl_device_id devices[DRAYI_OPENCL_DEVICES_MAX];
    cl_uint count = 0;
    cl_int code = driver->calls.devices(platform, DRAYI_OPENCL_DEVICE_TYPE_ALL,
                                        DRAYI_OPENCL_DEVICES_MAX, devices, &count);
    if (code == DRAYI_OPENCL_DEVICE_NOT_FOUND)
        return DRAY_OK;
    if (code != DRAYI_OPENCL_SUCCESS)
        return drayi_opencl_fail(error, code, "clGetDeviceIDs", "%s", "");
    if (count > DRAYI_OPENCL_DEVICES_MAX)
        count = DRAYI_OPENCL_DEVICES_MAX;
    for (cl_uint i = 0; i < count && driver->count < DRAYI_OPENCL_DEVICES_MAX; i++)
        driver->places[driver->count++] =
            (drayi_opencl_place){.platform = platform, .device = devices[i]};
    return DRAY_OK;
}

static dray_status driver_start(dray_driver *driver, dray_error *error)
{
    enum { platforms_max = 32 };
    cl_platform_id platforms[platforms_max];
    cl_uint count = 0;
    cl_int code = driver->calls.platforms(platforms_max, platforms, &count);
    if (code == DRAYI_OPENCL_PLATFORM_NOT_FOUND || (code == DRAYI_OPENCL_SUCCESS && count == 0))
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "the OpenCL loader is here, no driver is registered with it");
    if (code != DRAYI_OPENCL_SUCCESS) {
        drayi_opencl_fail(error, code, "clGetPlatformIDs", "%s", "");
        if (error)
            error->status = DRAY_E_UNSUPPORTED;
        return DRAY_E_UNSUPPORTED;
    }
    for (cl_uint i = 0; i < count && i < platforms_max; i++)
        DRAY_TRY(platform_add(driver, platforms[i], error));
    if (driver->count == 0)
        return dray_fail(error, DRAY_E_UNSUPPORTED, "%u OpenCL driver%s, and no device", count,
                         count == 1 ? "" : "s");
    return DRAY_OK;
}

static void opencl_unload(dray_driver *driver)
{
    if (driver->library)
        driver->env->os->library_close(driver->library);
    drayi_free(driver->env, driver, sizeof(*driver));
}

static dray_status opencl_load(drayi_env *env, dray_driver **out_driver, dray_error *error)
{
    dray_driver *driver = drayi_new(env, dray_driver, error);
    if (!driver)
        return DRAY_E_NOMEM;
    driver->env = env;
    char why[256] = "";
    driver->library = env->os->library_open(library_name, why, sizeof(why));
    dray_status status = driver->library
                             ? calls_find(driver, error)
                             : dray_fail(error, DRAY_E_UNSUPPORTED, "no OpenCL loader: %s", why);
    if (status == DRAY_OK)
        status = driver_start(driver, error);
    if (status != DRAY_OK)
        opencl_unload(driver);
    else
        *out_driver = driver;
    return status;
}

static uint32_t opencl_count(const dray_driver *driver)
{
    return driver->count;
}

// --- describing ----------------------------------------------------------------------------------------

uint64_t drayi_opencl_number_of(const dray_driver *driver, cl_device_id device, cl_uint what,
                                size_t bytes, uint64_t unknown)
{
    uint64_t value = 0; // little-endian: shorter numbers fill its first bytes
    size_t wrote = 0;
    cl_int code = driver->calls.device_info(device, what, bytes, &value, &wrote);
    return code == DRAYI_OPENCL_SUCCESS && wrote == bytes ? value : unknown;
}

static void text_of(const dray_driver *driver, cl_device_id device, cl_uint what, char *out,
                    size_t room)
{
    out[0] = '\0';
    if (driver->calls.device_info(device, what, room, out, NULL) != DRAYI_OPENCL_SUCCESS)
        snprintf(out, room, "?");
    out[room - 1] = '\0';
}

static void texts_describe(const dray_driver *driver, const drayi_opencl_place *place,
                           dray_device_info *info)
{
    char version[128], driver_version[64], platform[56] = ""; // as much as info->driver holds
    text_of(driver, place->device, DRAYI_OPENCL_DEVICE_NAME, info->model, sizeof(info->model));
    text_of(driver, place->device, DRAYI_OPENCL_DEVICE_VERSION, version, sizeof(version));
    text_of(driver, place->device, DRAYI_OPENCL_DRIVER_VERSION, driver_version,
            sizeof(driver_version));
    if (driver->calls.platform_info(place->platform, DRAYI_OPENCL_PLATFORM_NAME, sizeof(platform),
                                    platform, NULL) != DRAYI_OPENCL_SUCCESS)
        platform[0] = '\0';
    platform[sizeof(platform) - 1] = '\0';
    snprintf(info->driver, sizeof(info->driver), "%s, driver %s, %s", version, driver_version,
             platform);
    snprintf(info->missing, sizeof(info->missing), "%s", driver->missing);
}

static dray_status opencl_describe(dray_driver *driver, uint32_t ordinal,
                                   dray_device_info *out_info, dray_error *error)
{
    const drayi_opencl_place *place = &driver->places[ordinal];
    cl_device_id device = place->device;
    if (!drayi_opencl_number_of(driver, device, DRAYI_OPENCL_DEVICE_AVAILABLE, sizeof(cl_bool), 1))
        return dray_fail(error, DRAY_E_UNSUPPORTED, "its driver says that it is not available");
    texts_describe(driver, place, out_info);
    out_info->total_bytes = drayi_opencl_number_of(
        driver, device, DRAYI_OPENCL_DEVICE_GLOBAL_MEM_SIZE, sizeof(cl_ulong), DRAY_UNKNOWN);
    out_info->largest_bytes = drayi_opencl_number_of(
        driver, device, DRAYI_OPENCL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof(cl_ulong), DRAY_UNKNOWN);
    uint64_t bits = drayi_opencl_number_of(driver, device, DRAYI_OPENCL_DEVICE_MEM_BASE_ADDR_ALIGN,
                                           sizeof(cl_uint), 8);
    out_info->alignment = bits >= 8 ? bits / 8 : 1;
    uint64_t svm = drayi_opencl_number_of(driver, device, DRAYI_OPENCL_DEVICE_SVM_CAPABILITIES,
                                          sizeof(cl_bitfield), 0);
    uint32_t found = DRAY_DEVICE_MEMORY | DRAY_DEVICE_COPY;
    if (svm & DRAYI_OPENCL_SVM_FINE_GRAIN_BUFFER) // coarse-grained needs maps around every touch
        found |= DRAY_DEVICE_MANAGED | DRAY_DEVICE_CONCURRENT_MANAGED;
    if (drayi_opencl_number_of(driver, device, DRAYI_OPENCL_DEVICE_HOST_UNIFIED_MEMORY,
                               sizeof(cl_bool), 0))
        found |= DRAY_DEVICE_INTEGRATED;
    out_info->capabilities = found & ~driver->absent;
    return DRAY_OK;
}

// --- opening -------------------------------------------------------------------------------------------

static void opencl_close(dray_device_self *device)
{
    const drayi_opencl_calls *calls = &device->driver->calls;
    if (device->program)
        calls->program_release(device->program);
    if (device->queue)
        calls->queue_release(device->queue);
    if (device->context)
        calls->context_release(device->context);
    pthread_mutex_destroy(&device->lock);
    drayi_free(device->driver->env, device, sizeof(*device));
}

static dray_status device_build(dray_device_self *device, dray_error *error)
{
    const drayi_opencl_calls *calls = &device->driver->calls;
    cl_int code = DRAYI_OPENCL_SUCCESS;
    device->context = calls->context_create(NULL, 1, &device->device, NULL, NULL, &code);
    if (code != DRAYI_OPENCL_SUCCESS)
        return drayi_opencl_fail(error, code, "clCreateContext", "%s", "");
    if (!device->context)
        return drayi_opencl_fail_empty(error, "clCreateContext");
    device->queue = calls->queue_create(device->context, device->device, 0, &code);
    if (code != DRAYI_OPENCL_SUCCESS)
        return drayi_opencl_fail(error, code, "clCreateCommandQueue", "%s", "");
    return device->queue ? DRAY_OK : drayi_opencl_fail_empty(error, "clCreateCommandQueue");
}

static dray_status opencl_open(dray_driver *driver, uint32_t ordinal, dray_device_self **out_device,
                               dray_error *error)
{
    dray_device_self *device = drayi_new(driver->env, dray_device_self, error);
    if (!device)
        return DRAY_E_NOMEM;
    device->driver = driver;
    pthread_mutex_init(&device->lock, NULL);
    device->ordinal = ordinal;
    device->device = driver->places[ordinal].device;
    dray_status status = device_build(device, error);
    if (status != DRAY_OK)
        opencl_close(device);
    else
        *out_device = device;
    return status;
}

static void *opencl_handle(const dray_device_self *device)
{
    return device->context;
}

const dray_device_ops drayi_device_opencl = {
    .abi = DRAY_DEVICE_ABI,
    .flags = DRAY_DEVICE_FAMILY_ONE_DEVICE | DRAY_DEVICE_FAMILY_LOOPS,
    .family = "opencl",
    .backend = "opencl",
    .load = opencl_load,
    .unload = opencl_unload,
    .count = opencl_count,
    .describe = opencl_describe,
    .open = opencl_open,
    .close = opencl_close,
    .handle = opencl_handle,
    .memory = &drayi_opencl_memory,
    .copy = &drayi_opencl_copy,
    .hints = &drayi_opencl_hints,
    .module = &drayi_opencl_programs,
};
