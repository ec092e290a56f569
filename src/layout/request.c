/// What is asked of the builder, read before anything is made: one source of memory, no part missing, none
/// that means nothing.
#include "layout/physical.h"

#include <inttypes.h>

static dray_status source_check(const dray_layout_options *options, dray_error *error)
{
    const struct {
        const char *name;
        bool given;
    } sources[] = {{"allocate", options->allocate != NULL},
                   {"provided", options->provided != NULL},
                   {"registered", options->registered != NULL}};
    const char *first = NULL;
    for (size_t i = 0; i < 3; i++) {
        if (sources[i].given && first)
            return dray_fail(error, DRAY_E_INVALID,
                             "layout: memory comes from one source, given are %s and %s", first,
                             sources[i].name);
        if (sources[i].given)
            first = sources[i].name;
    }
    if (!first)
        return dray_fail(error, DRAY_E_INVALID,
                         "layout: the memory is missing: one of allocate, provided and registered "
                         "is wanted");
    if (options->unregistered && options->peers_may_write)
        return dray_fail(error, DRAY_E_INVALID,
                         "layout: unregistered and peers_may_write: peers reach registered memory "
                         "only");
    if (options->registered && (options->unregistered || options->peers_may_write))
        return dray_fail(
            error, DRAY_E_INVALID,
            "layout: %s is for memory that the builder registers, and this is registered "
            "already",
            options->unregistered ? "unregistered" : "peers_may_write");
    return DRAY_OK;
}

static dray_status disk_check(const dray_layout_allocation *wanted, dray_error *error)
{
    if (!wanted->path == !wanted->folder)
        return dray_fail(
            error, DRAY_E_INVALID,
            wanted->path ? "layout: allocate disk: both a path and a folder are given; a path is "
                           "for a file that stays, a folder for one without a name"
                         : "layout: allocate disk: a path is missing, or a folder for a file "
                           "without a name");
    if (wanted->device || wanted->numa_aware)
        return dray_fail(error, DRAY_E_INVALID, "layout: allocate disk: %s means nothing there",
                         wanted->device ? "a device" : "numa_aware");
    return DRAY_OK;
}

static dray_status allocation_check(const dray_layout_allocation *wanted, dray_error *error)
{
    const char *kind = dray_storage_name(wanted->storage);
    bool host = wanted->storage == DRAY_STORAGE_SYSTEM || wanted->storage == DRAY_STORAGE_PINNED;
    bool device = wanted->storage == DRAY_STORAGE_DEVICE || wanted->storage == DRAY_STORAGE_MANAGED;
    if (wanted->storage == 0)
        return dray_fail(error, DRAY_E_INVALID,
                         "layout: allocate: the storage kind is missing: system, pinned, device, "
                         "managed or disk");
    if (wanted->storage == DRAY_STORAGE_DISK)
        return disk_check(wanted, error);
    if (!host && !device)
        return dray_fail(error, DRAY_E_INVALID,
                         "layout: allocate: %s memory is not made here (system, pinned, device, "
                         "managed and disk are)",
                         kind);
    if (wanted->path || wanted->folder || wanted->direct)
        return dray_fail(error, DRAY_E_INVALID,
                         "layout: allocate %s: %s is given, which is for disk", kind,
                         wanted->path     ? "a path"
                         : wanted->folder ? "a folder"
                                          : "direct");
    if (device && !wanted->device)
        return dray_fail(error, DRAY_E_INVALID, "layout: allocate %s: the device is missing", kind);
    if (device && wanted->numa_aware)
        return dray_fail(error, DRAY_E_INVALID,
                         "layout: allocate %s: numa_aware is for system and pinned memory", kind);
    if (wanted->storage == DRAY_STORAGE_SYSTEM && wanted->device && !wanted->numa_aware)
        return dray_fail(error, DRAY_E_INVALID,
                         "layout: allocate system: a device is given, which only numa_aware needs");
    return DRAY_OK;
}

static dray_status list_check(const char *name, dray_region *const *regions, uint64_t count,
                              uint64_t wanted, dray_error *error)
{
    if (count == 0)
        return dray_fail(error, DRAY_E_INVALID, "layout: %s: no memory regions are given", name);
    if (!regions)
        return dray_fail(error, DRAY_E_INVALID,
                         "layout: %s: region_count is %" PRIu64 ", but regions is NULL", name,
                         count);
    for (uint64_t i = 0; i < count; i++) {
        if (!regions[i])
            return dray_fail(error, DRAY_E_INVALID, "layout: %s: region %" PRIu64 " is NULL", name,
                             i);
    }
    if (count == wanted)
        return DRAY_OK;
    if (wanted == 1)
        return dray_fail(error, DRAY_E_INVALID,
                         "layout: %s: fully contiguous layout requires a single memory region, got "
                         "%" PRIu64,
                         name, count);
    return dray_fail(error, DRAY_E_INVALID,
                     "layout: %s: memory region count (%" PRIu64 ") does not match required "
                     "allocations (%" PRIu64 "), one per layer",
                     name, count, wanted);
}

static dray_status base_check(const dray_layout_provided *given, dray_error *error)
{
    if (given->region_count == 1 && given->regions && given->regions[0])
        return DRAY_OK;
    return dray_fail(error, DRAY_E_INVALID,
                     "layout: provided: is_base wants one base region, got %" PRIu64,
                     given->regions ? given->region_count : 0);
}

/// The kind that the geometry is for: its regions' first, as far as there is one.
static dray_storage storage_of(const drayi_layout_request *request)
{
    if (request->options.allocate)
        return request->allocate.storage;
    dray_region *const *regions =
        request->options.provided ? request->provided.regions : request->registered.regions;
    uint64_t count = request->options.provided ? request->provided.region_count
                                               : request->registered.region_count;
    return regions && count && regions[0] ? dray_region_storage(regions[0]) : DRAY_STORAGE_SYSTEM;
}

static dray_status parts_read(drayi_layout_request *out, dray_error *error)
{
    const dray_layout_options *options = &out->options;
    if (options->allocate)
        return drayi_options(&out->allocate, sizeof(out->allocate), options->allocate,
                             "dray_layout_allocation", error);
    if (options->provided)
        return drayi_options(&out->provided, sizeof(out->provided), options->provided,
                             "dray_layout_provided", error);
    return drayi_options(&out->registered, sizeof(out->registered), options->registered,
                         "dray_layout_registered", error);
}

static dray_status parts_check(const drayi_layout_request *request, dray_error *error)
{
    const dray_layout_options *options = &request->options;
    uint64_t wanted = request->geometry.region_count;
    if (options->allocate)
        return allocation_check(&request->allocate, error);
    if (options->provided && request->provided.is_base)
        return base_check(&request->provided, error);
    if (options->provided)
        return list_check("provided", request->provided.regions, request->provided.region_count,
                          wanted, error);
    DRAY_TRY(list_check("registered", request->registered.regions, request->registered.region_count,
                        wanted, error));
    if (!request->registered.handles)
        return dray_fail(error, DRAY_E_INVALID,
                         "layout: registered: the handles are missing: memory regions without "
                         "registration metadata go into provided");
    return DRAY_OK;
}

dray_status drayi_layout_request_read(const dray_layout_options *given, drayi_layout_request *out,
                                      dray_error *error)
{
    *out = (drayi_layout_request){0};
    if (!given)
        return dray_fail(error, DRAY_E_INVALID, "layout: the options are missing");
    DRAY_TRY(
        drayi_options(&out->options, sizeof(out->options), given, "dray_layout_options", error));
    if (!out->options.config)
        return dray_fail(error, DRAY_E_INVALID, "layout: the configuration is missing");
    DRAY_TRY(source_check(&out->options, error));
    DRAY_TRY(parts_read(out, error));
    dray_status status =
        dray_layout_measure(out->options.config, storage_of(out), &out->geometry, error);
    return status == DRAY_OK ? parts_check(out, error) : dray_fail_within(error, status, "layout");
}
