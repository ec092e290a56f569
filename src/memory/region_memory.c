/// Anonymous memory, ordinary or locked, huge pages where they help, at a chosen phase.
///
/// The phase is why a destination needs no staging: when byte 0 of the region must sit `phase` bytes
/// behind an aligned address, the mapping simply begins that much earlier.
#include "base/checked.h"
#include "memory/lock.h"
#include "memory/numa.h"
#include "memory/region.h"
#include "memory/region_device.h"
#include "memory/room.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/mman.h>

enum { huge_never = 1, huge_always = 2 };

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static dray_status options_check(const dray_region_options *options, dray_error *error)
{
    if (options->bytes == 0)
        return dray_fail(error, DRAY_E_INVALID, "create region: zero bytes");
    if (!drayi_is_power_of_two(options->alignment))
        return dray_fail(error, DRAY_E_INVALID,
                         "create region: alignment %" PRIu64 " is not a power of two",
                         options->alignment);
    if (options->phase >= options->alignment)
        return dray_fail(error, DRAY_E_INVALID,
                         "create region: phase %" PRIu64 " is not below the alignment %" PRIu64,
                         options->phase, options->alignment);
    if (options->huge_pages > huge_always)
        return dray_fail(error, DRAY_E_INVALID, "create region: huge_pages %u is not 0, 1 or 2",
                         options->huge_pages);
    return DRAY_OK;
}

/// Maps so that the region's first byte lies at its phase, trims what alignment made too much.
static dray_status memory_map(dray_region *region, const dray_region_options *options,
                              uint64_t alignment, dray_error *error)
{
    const drayi_os *os = region->env->os;
    uint64_t page = os->page_bytes(), inner, outer;
    if (!drayi_add(options->bytes, options->phase, &inner) || !drayi_round_up(inner, page, &inner) ||
        !drayi_add(inner, alignment > page ? alignment : 0, &outer) || outer > SIZE_MAX / 2)
        return dray_fail(error, DRAY_E_NOMEM,
                         "create region: %" PRIu64 " bytes are more than can be addressed",
                         options->bytes);
    int code;
    char *at = os->map(NULL, (size_t)outer, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                       0, &code);
    if (!at)
        return dray_fail_os(error, -code, "mmap", "create region: %" PRIu64 " bytes of %s memory",
                            options->bytes, dray_storage_name(options->storage));
    char *begin = (char *)(((uintptr_t)at + alignment - 1) & ~(uintptr_t)(alignment - 1));
    if (alignment <= page)
        begin = at;
    uint64_t head = (uint64_t)(begin - at), tail = outer - head - inner;
    if (head)
        os->unmap(at, (size_t)head);
    if (tail)
        os->unmap(begin + inner, (size_t)tail);
    region->mapping = begin;
    region->mapping_bytes = inner;
    region->native.pointer = begin + options->phase;
    return DRAY_OK;
}

static dray_status memory_settle(dray_region *region, const dray_region_options *options,
                                 dray_error *error)
{
    const drayi_os *os = region->env->os;
    uint64_t huge = os->huge_page_bytes();
    bool wants_huge = options->huge_pages == huge_always ||
                      (options->huge_pages == 0 && options->bytes >= 2 * huge);
    if (huge && options->huge_pages != huge_never && wants_huge)
        os->advise(region->mapping, (size_t)region->mapping_bytes,
                   MADV_HUGEPAGE); // advice: refusal costs speed only
    if (options->storage == DRAY_STORAGE_PINNED) {
        DRAY_TRY(drayi_lock(region->env, region->mapping, region->mapping_bytes,
                            options->on_demand != 0, "memory", error));
    } else if (!options->on_demand) {
        int code = os->advise(region->mapping, (size_t)region->mapping_bytes, MADV_POPULATE_WRITE);
        if (code < 0 && code != -EINVAL) // before Linux 5.14: pages come as they are touched
            return dray_fail_os(error, -code, "madvise", "fault in %" PRIu64 " bytes of memory",
                                region->mapping_bytes);
    }
    return DRAY_OK;
}

dray_status drayi_region_node(drayi_env *env, const dray_region_options *options, int32_t *out_node,
                              dray_error *error)
{
    const struct dray_device *near = options->numa_device ? options->numa_device : options->device;
    *out_node = options->numa_node;
    if (options->numa == DRAY_NUMA_NODE)
        return DRAY_OK;
    if (options->numa != DRAY_NUMA_NEAR || !near)
        return dray_fail(error, DRAY_E_INVALID,
                         "create region: numa is %d%s; 0, 1, and 2 with a device are possible",
                         (int)options->numa, near ? "" : " without a device");
    const drayi_region_maker *maker = drayi_region_maker_of(near);
    *out_node = maker->node(near);
    if (*out_node < 0 && env->os->node_count() <= 1)
        *out_node = 0; // there is no other
    if (*out_node >= 0)
        return DRAY_OK;
    return dray_fail(error, DRAY_E_UNSUPPORTED,
                     "create region near %s: its driver does not tell which NUMA node is its own; "
                     "name one (DRAY_NUMA_NODE)",
                     maker->name(near));
}

/// Pages come from their node, if one is meant; when they are there, each is looked at.
static dray_status memory_settle_on_node(dray_region *region, const dray_region_options *options,
                                         dray_error *error)
{
    int32_t node;
    if (options->numa == DRAY_NUMA_ANY)
        return memory_settle(region, options, error);
    DRAY_TRY(drayi_region_node(region->env, options, &node, error));
    DRAY_TRY(drayi_numa_ask(region->env, region->mapping, region->mapping_bytes, node, error));
    DRAY_TRY(memory_settle(region, options, error));
    if (options->on_demand)
        return DRAY_OK;
    return drayi_numa_check(region->env, region->mapping, region->mapping_bytes, node, error);
}

static dray_status memory_build(dray_region *region, const dray_region_options *options,
                                dray_error *error)
{
    uint64_t alignment = options->alignment, huge = region->env->os->huge_page_bytes();
    if (huge && options->bytes >= 2 * huge && options->huge_pages != huge_never)
        alignment = drayi_max(alignment,
                              huge); // a huge page needs an aligned address; the phase stays right
    if (options->storage == DRAY_STORAGE_PINNED || !options->on_demand)
        DRAY_TRY(drayi_room_check(region->env, options->bytes, "create region", error));
    DRAY_TRY(memory_map(region, options, alignment, error));
    region->native.writable = 1;
    return memory_settle_on_node(region, options, error);
}

static dray_status kind_check(const dray_region_options *options, dray_error *error)
{
    bool memory = options->storage == DRAY_STORAGE_SYSTEM || options->storage == DRAY_STORAGE_PINNED;
    if (memory || (options->storage == DRAY_STORAGE_NULL && options->numa == DRAY_NUMA_ANY))
        return DRAY_OK;
    return dray_fail(error, DRAY_E_INVALID,
                     "create region: %s storage is not made here%s (system, pinned, null are)",
                     dray_storage_name(options->storage),
                     options->numa == DRAY_NUMA_ANY ? "" : ", or has no node");
}

dray_status drayi_region_make_memory(drayi_env *env, const dray_region_options *given,
                                     dray_region **out_region, dray_error *error)
{
    dray_region_options options = *given;
    dray_region *region;
    if (options.storage == 0)
        options.storage = DRAY_STORAGE_SYSTEM;
    if (options.alignment == 0)
        options.alignment = env->os->page_bytes();
    DRAY_TRY(options_check(&options, error));
    DRAY_TRY(kind_check(&options, error));
    DRAY_TRY(drayi_region_new(env, options.storage, options.bytes, NULL, &region, error));
    region->native.writable = 1;
    dray_status status =
        options.storage == DRAY_STORAGE_NULL ? DRAY_OK : memory_build(region, &options, error);
    if (status != DRAY_OK)
        dray_region_release(region);
    else
        *out_region = region;
    return status;
}

dray_status dray_region_create(dray_context *context, const dray_region_options *given,
                               dray_region **out_region, dray_error *error)
{
    dray_region_options options;
    DRAY_TRY(drayi_options(&options, sizeof(options), given, "dray_region_options", error));
    if (options.device && options.storage)
        return drayi_region_maker_of(options.device)
            ->make(options.device, &options, out_region, error);
    if (options.device || options.storage == DRAY_STORAGE_DEVICE ||
        options.storage == DRAY_STORAGE_MANAGED)
        return dray_fail(error, DRAY_E_INVALID, "create region: %s",
                         options.device ? "a device is given, but no storage kind"
                                        : "device and managed memory need a device");
    return drayi_region_make_memory(drayi_env_of(context), &options, out_region, error);
}
