/// State of the rig is global, as drayi_os has no `self`; tests are single programs.
#include "device_rig.h"

#include "testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { hidden_max = 4 };

static const char *hidden_library;
static const char *hidden_symbols[hidden_max];
enum { replaced_max = 2 };
static struct {
    const char *symbol;
    void *function;
} replaced[replaced_max];
static drayi_os table;

/// Drivers keep things to the end of the process; they are not our leaks.
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libpocl\nleak:libLLVM\nleak:libOpenCL\nleak:clGetPlatformIDs\n";
}

bool device_rig_has_standin(void)
{
    const char *path = getenv("DRAY_STANDIN_CUDA");
    return path && path[0];
}

static void *rig_library_open(const char *name, char *out_why, size_t why_bytes)
{
    if (hidden_library && strcmp(name, hidden_library) == 0) {
        snprintf(out_why, why_bytes, "%s: cannot open shared object file", name);
        return NULL;
    }
    static const char *const standins[][2] = {{"libcuda.so.1", "DRAY_STANDIN_CUDA"},
                                              {"libnvrtc.so.13", "DRAY_STANDIN_CUDA"},
                                              {"libcufile.so.0", "DRAY_STANDIN_CUFILE"},
                                              {"libnixl_capi.so", "DRAY_STANDIN_NIXL_CAPI"}};
    for (size_t i = 0; i < sizeof(standins) / sizeof(standins[0]); i++) {
        const char *path = getenv(standins[i][1]);
        if (strcmp(name, standins[i][0]) == 0 && path && path[0])
            return drayi_os_linux.library_open(path, out_why, why_bytes);
    }
    return drayi_os_linux.library_open(name, out_why, why_bytes);
}

/// The function of that name; the library stays loaded.
static void standin_function(const char *name, void *out_function)
{
    char why[256];
    void *library = drayi_os_linux.library_open(getenv("DRAY_STANDIN_CUDA"), why, sizeof(why));
    if (!library)
        fail_msg("%s", why);
    void *symbol = drayi_os_linux.library_symbol(library, name);
    assert_non_null(symbol);
    memcpy(out_function, &symbol, sizeof(symbol));
    drayi_os_linux.library_close(library);
}

static void *rig_library_symbol(void *library, const char *name)
{
    for (int i = 0; i < hidden_max; i++) {
        if (hidden_symbols[i] && strcmp(name, hidden_symbols[i]) == 0)
            return NULL;
    }
    for (int i = 0; i < replaced_max; i++) {
        if (replaced[i].symbol && strcmp(name, replaced[i].symbol) == 0)
            return replaced[i].function;
    }
    if (strncmp(name, "cu", 2) == 0 && device_rig_has_standin()) {
        static standin_lacks_fn lacks;
        if (!lacks)
            standin_function("standin_lacks", &lacks);
        if (lacks(name))
            return NULL;
    }
    return drayi_os_linux.library_symbol(library, name);
}

void device_rig_replace_symbol(const char *name, void *function)
{
    for (int i = 0; i < replaced_max; i++) {
        if (!name) {
            replaced[i].symbol = NULL;
        } else if (!replaced[i].symbol) {
            replaced[i].symbol = name;
            replaced[i].function = function;
            return;
        }
    }
    if (name)
        fail_msg("%s: %d calls are replaced already", name, replaced_max);
}

void *device_rig_real_symbol(const char *library, const char *name)
{
    char why[256];
    void *opened = drayi_os_linux.library_open(library, why, sizeof(why));
    void *symbol = opened ? drayi_os_linux.library_symbol(opened, name) : NULL;
    if (opened)
        drayi_os_linux.library_close(opened);
    return symbol;
}

const drayi_os *device_rig_os(void)
{
    table = drayi_os_linux;
    table.library_open = rig_library_open;
    table.library_symbol = rig_library_symbol;
    return &table;
}

void device_rig_hide_library(const char *name)
{
    hidden_library = name;
}

void device_rig_hide_symbol(const char *name)
{
    if (!name)
        memset(hidden_symbols, 0, sizeof(hidden_symbols));
    for (int i = 0; name && i < hidden_max; i++) {
        if (!hidden_symbols[i]) {
            hidden_symbols[i] = name;
            return;
        }
    }
}

// --- the stand-in ------------------------------------------------------------------------------------

void device_rig_standin(const standin_config *config)
{
    if (!device_rig_has_standin())
        return;
    standin_set_fn set;
    standin_function("standin_set", &set);
    set(config);
}

standin_counts device_rig_standin_counts(void)
{
    if (!device_rig_has_standin())
        return (standin_counts){0};
    standin_get_fn get;
    standin_function("standin_get", &get);
    standin_counts counts;
    get(&counts);
    return counts;
}

standin_page device_rig_standin_page(const void *pointer)
{
    static standin_page_fn page_at; // asked for often
    if (!page_at)
        standin_function("standin_page_at", &page_at);
    standin_page page = {0};
    assert_true(page_at(pointer, &page));
    return page;
}

int device_rig_standin_depth(void)
{
    if (!device_rig_has_standin())
        return 0;
    int (*depth)(void);
    standin_function("standin_depth", &depth);
    return depth();
}

void device_rig_reset(void)
{
    device_rig_hide_library(NULL);
    device_rig_hide_symbol(NULL);
    device_rig_replace_symbol(NULL, NULL);
    device_rig_standin(&(standin_config){.fresh = true});
}

dray_device_info device_rig_listed(const char *name)
{
    dray_context *context = device_rig_context(NULL, 0);
    dray_device_list *list;
    dray_error error = {0};
    assert_int_equal(dray_device_list_create(context, &list, &error), DRAY_OK);
    dray_device_info info = {.name = ""};
    for (uint32_t i = 0; i < dray_device_list_count(list); i++) {
        if (strcmp(dray_device_list_at(list, i)->name, name) == 0)
            info = *dray_device_list_at(list, i);
    }
    dray_device_list_destroy(list);
    dray_context_destroy(context);
    return info;
}

void device_rig_says(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" lacks \"%s\"", text, part);
}

// --- objects -----------------------------------------------------------------------------------------

dray_context *device_rig_context(const dray_allocator *allocator, uint32_t threads)
{
    dray_context_options options = {.struct_bytes = sizeof(options), .thread_count = threads};
    if (allocator)
        options.allocator = *allocator;
    dray_context *context = NULL;
    dray_error error = {0};
    if (drayi_context_create_with(&options, device_rig_os(), &context, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    return context;
}

dray_region *device_rig_region(dray_context *context, dray_device *device, dray_storage storage,
                               uint64_t bytes)
{
    dray_region_options options = {
        .struct_bytes = sizeof(options), .storage = storage, .bytes = bytes, .device = device};
    dray_region *region = NULL;
    dray_error error = {0};
    if (dray_region_create(context, &options, &region, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    return region;
}

dray_device_side device_rig_side(const dray_region *region, uint64_t offset)
{
    dray_region_native native;
    dray_region_get_native(region, &native);
    dray_device_side side = {.storage = native.storage,
                             .memory = native.device_memory,
                             .address = native.device_address + offset};
    if (native.pointer)
        side.pointer = (char *)native.pointer + offset;
    if (native.device) {
        dray_device_native device;
        dray_device_get_native(native.device, &device);
        side.device = device.self;
    }
    return side;
}

dray_status device_rig_copy(dray_device *device, dray_region *to, uint64_t to_offset,
                            dray_region *from, uint64_t from_offset, uint64_t bytes,
                            dray_error *error)
{
    dray_device_native native;
    dray_device_get_native(device, &native);
    const dray_device_copy_ops *copy = native.ops->copy;
    dray_device_run run = {.from = device_rig_side(from, from_offset),
                           .to = device_rig_side(to, to_offset),
                           .bytes = bytes};
    dray_stream *stream;
    dray_status status = copy->stream_open(native.self, &stream, error);
    if (status != DRAY_OK)
        return status;
    status = copy->start(stream, &run, 1, error);
    if (status == DRAY_OK)
        status = copy->wait(stream, error);
    copy->stream_close(stream);
    return status;
}
