/// Linux as a backend: what this kernel has, what memory is, and what is set on it.
///
/// Whether an advice exists is asked with a range of no bytes: the kernel checks the number first.
#include "dray/spi/region.h"
#include "hints/host.h"
#include "hints/host_settings.h"
#include "memory/prefetch.h"
#include "os/advice.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>

dray_status drayi_host_open(drayi_env *env, dray_device_self **out_host, dray_error *error)
{
    dray_device_self *host = drayi_new(env, dray_device_self, error);
    if (!host)
        return DRAY_E_NOMEM;
    host->env = env;
    *out_host = host;
    return DRAY_OK;
}

void drayi_host_close(dray_device_self *host)
{
    if (!host)
        return;
    drayi_env *env = host->env;
    drayi_host_maps_free(env, &host->maps);
    drayi_free(env, host, sizeof(*host));
}

dray_status drayi_host_look_up(dray_device_self *host, bool settings, dray_error *error)
{
    bool fresh = host->queues > 0 && host->maps.count > 0 && (host->maps.has_settings || !settings);
    return fresh ? DRAY_OK : drayi_host_maps_read(host->env, settings, &host->maps, error);
}

// --- what there is -----------------------------------------------------------------------------------------

/// "0-3" or "0" or "0,2-3": one more than the last number; 1 when it cannot be read.
static uint32_t node_count(const drayi_os *os)
{
    char text[128];
    int fd = os->open("/sys/devices/system/node/online", O_RDONLY, 0);
    if (fd < 0)
        return 1;
    ssize_t got = os->pread(fd, text, sizeof(text), 0);
    os->close(fd);
    uint32_t number = 0;
    for (ssize_t i = 0; i < got && text[i] != '\n'; i++)
        number = text[i] >= '0' && text[i] <= '9' && number < DRAY_HINT_NODES_MAX
                     ? number * 10 + (uint32_t)(text[i] - '0')
                     : 0;
    return number + 1;
}

static uint64_t lockable_bytes(const drayi_os *os)
{
    uint64_t soft, hard;
    bool privileged;
    if (os->lock_limit(&soft, &hard, &privileged) < 0)
        return 0;
    return privileged ? UINT64_MAX : soft;
}

void drayi_host_facts(drayi_env *env, dray_hint_abilities *out)
{
    const drayi_os *os = env->os;
    drayi_memory_facts memory;
    unsigned node = 0;
    out->page_bytes = os->page_bytes();
    out->huge_page_bytes = os->huge_page_bytes();
    out->lockable_bytes = lockable_bytes(os);
    out->host_free_bytes = os->memory_facts(&memory) < 0 ? DRAY_UNKNOWN : memory.available_bytes;
    out->node_count = node_count(os);
    out->current_node = os->node_here(&node) < 0 || node >= out->node_count ? 0 : node;
}

static bool knows_advice(const drayi_os *os, void *page, int advice)
{
    return os->advise(page, 0, advice) == 0;
}

static dray_status host_probe(dray_device_self *host, dray_hint_abilities *out, dray_error *error)
{
    const drayi_os *os = host->env->os;
    void *page = (void *)((uintptr_t)host & ~(uintptr_t)(os->page_bytes() - 1)); // any will do
    drayi_cachestat counts;
    uint64_t nodes[DRAY_HINT_NODES_MAX / 64];
    int mode;
    (void)error;
    out->family = "host";
    if (knows_advice(os, page, MADV_POPULATE_READ))
        out->features |= DRAY_HINT_HAS_POPULATE;
    if (knows_advice(os, page, MADV_COLD))
        out->features |= DRAY_HINT_HAS_COLD;
    if (knows_advice(os, page, MADV_COLLAPSE))
        out->features |= DRAY_HINT_HAS_COLLAPSE;
    if (os->cachestat(-1, 0, 1, &counts) == -EBADF)
        out->features |= DRAY_HINT_HAS_CACHESTAT;
    if (os->node_policy(page, &mode, nodes, DRAY_HINT_NODES_MAX) == 0)
        out->features |= DRAY_HINT_HAS_NUMA;
    return DRAY_OK;
}

// --- what memory is ----------------------------------------------------------------------------------------

static void look_at_region(dray_device_self *host, const dray_region *region, dray_hint_memory *out)
{
    dray_region_native native;
    dray_region_get_native(region, &native);
    out->kind = native.fd >= 0                          ? DRAY_HINT_MEMORY_FILE
                : native.storage == DRAY_STORAGE_PINNED ? DRAY_HINT_MEMORY_PINNED
                                                        : DRAY_HINT_MEMORY_MANAGED;
    out->first = (uintptr_t)native.pointer;
    out->bytes = native.bytes;
    out->read_only = !native.writable;
    if (native.fd >= 0)
        out->step_bytes = drayi_read_ahead_bytes(host->env, native.fd);
}

/// Mappings from the first byte of `range` to its last, without a gap?
static dray_status look_at_address(dray_device_self *host, const dray_hint_range *range,
                                   dray_hint_memory *out, dray_error *error)
{
    uint64_t first = (uintptr_t)range->pointer, end = first + range->bytes;
    DRAY_TRY(drayi_host_look_up(host, false, error));
    const drayi_host_map *map = drayi_host_maps_at(&host->maps, first);
    if (!map || map->first > first)
        return DRAY_OK;
    out->first = map->first;
    bool shared_file = true, writable = true;
    for (;; map = drayi_host_maps_next(&host->maps, map)) {
        if (!map)
            return DRAY_OK; // a hole
        shared_file &= map->shared && map->is_file;
        writable &= map->writable;
        if (map->end >= end)
            break;
    }
    // what a private mapping of a file has changed is in memory only
    out->kind = shared_file ? DRAY_HINT_MEMORY_FILE : DRAY_HINT_MEMORY_MANAGED;
    out->bytes = map->end - out->first;
    out->read_only = !writable;
    return DRAY_OK;
}

static dray_status host_look(dray_device_self *host, const dray_hint_range *range,
                             dray_hint_memory *out, dray_error *error)
{
    *out = (dray_hint_memory){0};
    if (!range->region)
        return look_at_address(host, range, out, error);
    look_at_region(host, range->region, out);
    return DRAY_OK;
}

// --- what is set -------------------------------------------------------------------------------------------

static void state_of_node_policy(dray_device_self *host, const dray_hint_range *range,
                                 dray_hint_state *out)
{
    uint64_t nodes[DRAY_HINT_NODES_MAX / 64] = {0};
    int mode = 0;
    if (host->env->os->node_policy(range->pointer, &mode, nodes, DRAY_HINT_NODES_MAX) < 0)
        return;
    out->own[DRAYI_HOST_POLICY] = (uint64_t)mode;
    out->own[DRAYI_HOST_NODES] = nodes[0];
    if (mode != 0) {
        out->own[DRAYI_HOST_ALL] |= DRAYI_HOST_BOUND;
        out->own[DRAYI_HOST_ANY] |= DRAYI_HOST_BOUND;
    }
}

static dray_status host_state(dray_device_self *host, const dray_hint_range *range,
                              dray_hint_state *out, dray_error *error)
{
    *out = (dray_hint_state){0};
    if (!range->pointer)
        return DRAY_OK; // a file that is not mapped: nothing can be set on it
    uint64_t first = (uintptr_t)range->pointer, end = first + range->bytes;
    DRAY_TRY(drayi_host_look_up(host, true, error));
    uint64_t all = UINT64_MAX, any = 0;
    const drayi_host_map *map = drayi_host_maps_at(&host->maps, first);
    for (; map && map->first < end; map = drayi_host_maps_next(&host->maps, map)) {
        all &= map->settings;
        any |= map->settings;
    }
    out->known = DRAY_HINT_KNOWS_OWN | DRAY_HINT_KNOWS_PREFERRED;
    out->own[DRAYI_HOST_ALL] = all == UINT64_MAX ? 0 : all;
    out->own[DRAYI_HOST_ANY] = any;
    out->may_be_mixed = all != any;
    state_of_node_policy(host, range, out);
    if (out->own[DRAYI_HOST_ALL] & DRAYI_HOST_LOCKED)
        out->preferred = dray_hint_at_host();
    else if (out->own[DRAYI_HOST_NODES])
        out->preferred = dray_hint_at_numa((uint32_t)__builtin_ctzll(out->own[DRAYI_HOST_NODES]));
    return DRAY_OK;
}

// --- queues: calls are synchronous ---------------------------------------------------------------------------

static dray_status host_queue_open(dray_device_self *host, dray_hint_queue **out_queue,
                                   dray_error *error)
{
    (void)error;
    host->queues++;
    host->maps.count = 0;
    *out_queue = (dray_hint_queue *)(void *)host; // it has nothing of its own
    return DRAY_OK;
}

static void host_queue_close(dray_hint_queue *queue)
{
    dray_device_self *host = (dray_device_self *)(void *)queue;
    host->queues--;
}

static const char *host_code_name(int32_t code)
{
    static const struct {
        int32_t code;
        const char *name;
    } known[] = {{EPERM, "EPERM"},   {EIO, "EIO"},       {EBADF, "EBADF"},   {EAGAIN, "EAGAIN"},
                 {ENOMEM, "ENOMEM"}, {EACCES, "EACCES"}, {EFAULT, "EFAULT"}, {EBUSY, "EBUSY"},
                 {ENODEV, "ENODEV"}, {EINVAL, "EINVAL"}, {ENOSPC, "ENOSPC"}, {ENOSYS, "ENOSYS"}};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (known[i].code == code)
            return known[i].name;
    }
    return NULL;
}

const dray_device_hints_ops drayi_host_hints = {
    .abi = DRAY_HINTS_ABI,
    .probe = host_probe,
    .look = host_look,
    .state = host_state,
    .queue_open = host_queue_open,
    .queue_close = host_queue_close,
    .call = drayi_host_call,
    .code_name = host_code_name,
};
