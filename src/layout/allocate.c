/// One allocation for a whole layout, on the wanted kind and NUMA node, and its cutting into regions.
#include "base/checked.h"
#include "dray/spi/device.h"
#include "layout/physical.h"
#include "memory/populate.h"
#include "memory/region.h"
#include "os/os.h"

#include <errno.h>
#include <inttypes.h>

enum { policy_bind = 2, nodes_max = 1024 }; // MPOL_BIND; the kernel's most nodes

/// 0: what this kind of memory has by itself is enough.
static uint64_t alignment_wanted(const dray_layout *layout, const dray_layout_allocation *wanted)
{
    uint64_t alignment = layout->geometry.region_alignment, own = layout->env->os->page_bytes();
    dray_device_info info;
    if (wanted->storage == DRAY_STORAGE_DEVICE &&
        dray_device_get_info(wanted->device, &info, NULL) == DRAY_OK)
        own = info.alignment;
    return alignment > own ? alignment : 0;
}

static dray_status memory_make(const dray_layout *layout, const dray_layout_allocation *wanted,
                               dray_storage storage, bool on_demand, dray_region **out,
                               dray_error *error)
{
    dray_region_options options = {
        .struct_bytes = sizeof(options),
        .storage = storage,
        .bytes = layout->geometry.base_bytes,
        .alignment = alignment_wanted(layout, wanted),
        .on_demand = on_demand,
        .device = on_demand ? NULL : wanted->device,
    };
    return dray_region_create(dray_agent_context(layout->agent), &options, out, error);
}

// --- NUMA ----------------------------------------------------------------------------------------------------------

/// The node that memory shall be on: the device's, or the calling thread's.
static dray_status node_find(const dray_layout *layout, dray_device *device, unsigned *out_node,
                             dray_error *error)
{
    const drayi_os *os = layout->env->os;
    *out_node = 0;
    if (os->node_count() == 1)
        return DRAY_OK;
    if (!device) {
        int code = os->node_here(out_node);
        return code < 0 ? dray_fail_os(error, -code, "getcpu", "numa_aware: the thread's node")
                        : DRAY_OK;
    }
    dray_device_info info;
    DRAY_TRY(dray_device_get_info(device, &info, error));
    if (info.numa_node < 0)
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "numa_aware: which of the %u nodes %s is at is not known",
                         os->node_count(), info.name);
    *out_node = (unsigned)info.numa_node;
    return DRAY_OK;
}

/// Pages that do not exist yet are bound, then made: nothing has to be moved afterwards.
static dray_status node_bind(const dray_layout *layout, dray_region *region, unsigned node,
                             dray_error *error)
{
    drayi_env *env = layout->env;
    uint64_t bytes = dray_region_bytes(region), mask[nodes_max / 64] = {0};
    if (node >= nodes_max)
        return dray_fail(error, DRAY_E_UNSUPPORTED, "numa_aware: node %u is beyond %d", node,
                         nodes_max - 1);
    mask[node / 64] = UINT64_C(1) << (node % 64);
    int code = env->os->node_bind(dray_region_pointer(region), (size_t)bytes, policy_bind, mask,
                                  nodes_max + 1, 0); // the kernel reads one bit less
    if (code == -ENOSYS && env->os->node_count() == 1)
        code = 0; // a kernel without NUMA has nothing to bind to
    if (code < 0) {
        dray_fail_os(error, -code, "mbind", "numa_aware: %" PRIu64 " bytes to node %u", bytes, node);
        if (error)
            error->status = DRAY_E_UNSUPPORTED;
        return DRAY_E_UNSUPPORTED;
    }
    return drayi_region_populate(env, region, 0, bytes, error);
}

/// With a device that locks memory, the bound pages are given to its driver.
static dray_status bound_make(dray_layout *layout, const dray_layout_allocation *wanted,
                              dray_error *error)
{
    unsigned node;
    DRAY_TRY(node_find(layout, wanted->device, &node, error));
    bool driver_locks = wanted->storage == DRAY_STORAGE_PINNED && wanted->device;
    dray_region *host;
    DRAY_TRY(memory_make(layout, wanted, driver_locks ? DRAY_STORAGE_SYSTEM : wanted->storage, true,
                         &host, error));
    dray_status status = node_bind(layout, host, node, error);
    if (status == DRAY_OK && driver_locks)
        status = dray_device_pin(wanted->device, host, &layout->base, error);
    else if (status == DRAY_OK)
        layout->base = dray_region_retain(host);
    dray_region_release(host);
    return status;
}

// --- files ---------------------------------------------------------------------------------------------------------

/// Blocks that begin and end where direct I/O on this very file may.
static dray_status direct_check(const dray_layout *layout, dray_error *error)
{
    const dray_region_native *native = &layout->base->native;
    uint64_t alignment = layout->geometry.config.alignment;
    if (native->direct_fd < 0)
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "direct: the file system of %s refuses direct I/O", native->name);
    if (alignment % native->direct_offset_align)
        return dray_fail(error, DRAY_E_INVALID,
                         "direct: blocks are aligned to %" PRIu64 " bytes, direct I/O on %s wants "
                         "multiples of %u: set the alignment to that",
                         alignment, native->name, native->direct_offset_align);
    return DRAY_OK;
}

static dray_status file_make(dray_layout *layout, const dray_layout_allocation *wanted,
                             dray_error *error)
{
    dray_file_options options = {
        .struct_bytes = sizeof(options),
        .writable = 1,
        .create = 1,
        .anonymous = wanted->folder != NULL,
        .bytes = layout->geometry.base_bytes,
    };
    DRAY_TRY(dray_region_open(dray_agent_context(layout->agent),
                              wanted->path ? wanted->path : wanted->folder, &options, &layout->base,
                              error));
    layout->made_file = wanted->path != NULL;
    return wanted->direct ? direct_check(layout, error) : DRAY_OK;
}

dray_status drayi_layout_allocate(dray_layout *layout, const dray_layout_allocation *wanted,
                                  dray_error *error)
{
    uint64_t bytes = layout->geometry.base_bytes;
    dray_status status;
    if (wanted->storage == DRAY_STORAGE_DISK)
        status = file_make(layout, wanted, error);
    else if (wanted->numa_aware)
        status = bound_make(layout, wanted, error);
    else
        status = memory_make(layout, wanted, wanted->storage, false, &layout->base, error);
    if (status == DRAY_OK)
        return DRAY_OK;
    const char *place = wanted->path     ? wanted->path
                        : wanted->folder ? wanted->folder
                        : wanted->device ? dray_device_name(wanted->device)
                                         : NULL;
    return dray_fail_within(
        error, status, "layout: failed to allocate %s memory (%" PRIu64 " bytes)%s%s",
        dray_storage_name(wanted->storage), bytes, place ? " on " : "", place ? place : "");
}

dray_status drayi_layout_slice(dray_layout *layout, dray_error *error)
{
    const dray_layout_geometry *geometry = &layout->geometry;
    uint64_t last = (geometry->region_count - 1) * geometry->region_pitch;
    uint64_t wanted = last + geometry->region_bytes, found = dray_region_bytes(layout->base);
    if (found < wanted)
        return dray_fail(error, DRAY_E_INVALID,
                         "layout: base region (%" PRIu64 " bytes) is insufficient for %" PRIu64
                         " bytes with padding",
                         found, wanted);
    for (uint64_t i = 0; i < geometry->region_count; i++)
        DRAY_TRY(dray_region_view(layout->base, i * geometry->region_pitch, geometry->region_bytes,
                                  &layout->regions[i], error));
    return DRAY_OK;
}
