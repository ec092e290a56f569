/// Two kinds of memory under one roof. Private memory is reserved without access rights, which costs
/// nothing even under strict overcommit, and gets them 64 MiB at a time. A memfd is given the limit as
/// its size, which is sparse, and is cut to what was used before it is sealed.
#include "weights/byte_sink.h"

#include "base/checked.h"
#include "memory/room.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

static const uint64_t huge_bytes = 2
                                   << 20; // boundary of the first byte; also where huge pages begin
static const uint64_t step_bytes = 64 << 20;
static const uint64_t default_cap = 64ull << 30;

uint64_t drayi_sink_cap(drayi_env *env, uint64_t wanted_max)
{
    if (wanted_max > 0)
        return wanted_max;
    drayi_memory_facts facts;
    bool known = env->os->memory_facts(&facts) == 0;
    return known ? drayi_min(default_cap, facts.available_bytes / 4 * 3) : default_cap;
}

static dray_status memfd_open(drayi_sink *sink, dray_error *error)
{
    const drayi_os *os = sink->env->os;
    const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    int fd = os->memfd("dray", flags | MFD_NOEXEC_SEAL);
    if (fd == -EINVAL) { // before Linux 6.3
        fd = os->memfd("dray", flags);
        sink->without_noexec = true;
    }
    if (fd < 0)
        return dray_fail_os(error, -fd, "memfd_create", "%s: sealed memory", sink->name);
    sink->memfd = fd;
    int code = os->truncate(fd, sink->limit);
    if (code < 0)
        return dray_fail_os(error, -code, "ftruncate",
                            "%s: sealed memory of up to %" PRIu64 " bytes", sink->name, sink->limit);
    return DRAY_OK;
}

/// Reserves the limit and room to place the phase. A limit that is only a cap may shrink to what the
/// address space has left.
static dray_status address_reserve(drayi_sink *sink, const drayi_sink_options *options,
                                   dray_error *error)
{
    const drayi_os *os = sink->env->os;
    bool sealed = sink->memfd >= 0;
    int protection = sealed ? PROT_READ | PROT_WRITE : PROT_NONE;
    int flags = sealed ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
    for (;;) {
        uint64_t outer;
        int code = -ENOMEM;
        void *at = NULL;
        if (drayi_add(sink->limit, sealed ? 0 : 2 * huge_bytes, &outer) && outer <= SIZE_MAX / 2)
            at = os->map(NULL, (size_t)outer, protection, flags | MAP_NORESERVE, sink->memfd, 0,
                         &code);
        if (at) {
            sink->mapping = at;
            sink->mapping_bytes = outer;
            return DRAY_OK;
        }
        if (code != -ENOMEM || options->limit_is_size || sink->limit <= step_bytes)
            return dray_fail_os(error, -code, "mmap", "%s: address space for %" PRIu64 " bytes",
                                sink->name, sink->limit);
        sink->limit /= 2;
    }
}

dray_status drayi_sink_open(drayi_sink *sink, drayi_env *env, const char *name,
                            const drayi_sink_options *options, dray_error *error)
{
    *sink = (drayi_sink){.env = env, .name = name, .limit = options->limit, .memfd = -1};
    if (sink->limit == 0)
        return DRAY_OK;
    if (options->limit_is_size)
        DRAY_TRY(drayi_room_check(env, sink->limit, name, error));
    if (options->sealed)
        DRAY_TRY(memfd_open(sink, error));
    DRAY_TRY(address_reserve(sink, options, error));
    if (options->sealed) {
        sink->at = sink->mapping;
        sink->usable = sink->limit;
        return DRAY_OK;
    }
    uint64_t skip = (uint64_t)(-(uintptr_t)sink->mapping) & (huge_bytes - 1);
    sink->at = sink->mapping + skip + options->phase;
    if (sink->limit >= 2 * huge_bytes && env->os->huge_page_bytes() > 0)
        env->os->advise(sink->mapping, (size_t)sink->mapping_bytes,
                        MADV_HUGEPAGE); // refusal costs speed only
    return DRAY_OK;
}

dray_status drayi_sink_room(drayi_sink *sink, uint64_t *out_room, dray_error *error)
{
    *out_room = sink->usable - sink->used;
    if (*out_room > 0 || sink->used == sink->limit)
        return DRAY_OK;
    const drayi_os *os = sink->env->os;
    uint64_t page = os->page_bytes();
    uint64_t from = drayi_round_down((uintptr_t)sink->at + sink->usable, page);
    uint64_t to = drayi_min(sink->used + step_bytes, sink->limit) + (uintptr_t)sink->at;
    uint64_t pages = (to - from + page - 1) & ~(page - 1);
    int code = os->protect((void *)(uintptr_t)from, (size_t)pages, PROT_READ | PROT_WRITE);
    if (code < 0)
        return dray_fail_os(error, -code, "mprotect",
                            "%s: %" PRIu64 " bytes of memory behind %" PRIu64, sink->name, pages,
                            sink->used);
    sink->usable = to - (uintptr_t)sink->at;
    *out_room = sink->usable - sink->used;
    return DRAY_OK;
}

/// Read-only from here on, for everybody and for ever. Before Linux 6.7 a shared mapping of a
/// write-sealed memfd is refused even for reading; a private one shows the same pages.
static dray_status memfd_seal(drayi_sink *sink, dray_error *error)
{
    const drayi_os *os = sink->env->os;
    int code = os->truncate(sink->memfd, sink->used);
    if (code < 0)
        return dray_fail_os(error, -code, "ftruncate", "%s: cut sealed memory to %" PRIu64 " bytes",
                            sink->name, sink->used);
    os->unmap(sink->mapping, (size_t)sink->mapping_bytes);
    sink->mapping = NULL;
    code = os->seal(sink->memfd, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
    if (code < 0)
        return dray_fail_os(error, -code, "fcntl", "%s: seal %" PRIu64 " bytes", sink->name,
                            sink->used);
    if (sink->used == 0)
        return DRAY_OK;
    sink->mapping = os->map(NULL, (size_t)sink->used, PROT_READ, MAP_SHARED, sink->memfd, 0, &code);
    if (!sink->mapping && code == -EPERM)
        sink->mapping =
            os->map(NULL, (size_t)sink->used, PROT_READ, MAP_PRIVATE, sink->memfd, 0, &code);
    if (!sink->mapping)
        return dray_fail_os(error, -code, "mmap", "%s: %" PRIu64 " bytes of sealed memory",
                            sink->name, sink->used);
    sink->mapping_bytes = sink->used;
    sink->at = sink->mapping;
    return DRAY_OK;
}

static void unused_give_back(drayi_sink *sink)
{
    const drayi_os *os = sink->env->os;
    uint64_t page = os->page_bytes();
    uint8_t *first = (uint8_t *)drayi_round_down((uintptr_t)sink->at, page);
    uint64_t kept =
        sink->used == 0 ? 0 : ((uint64_t)(sink->at - first) + sink->used + page - 1) & ~(page - 1);
    uint64_t head = (uint64_t)(first - sink->mapping), tail = sink->mapping_bytes - head - kept;
    if (head > 0 && os->unmap(sink->mapping, (size_t)head) == 0) {
        sink->mapping += head;
        sink->mapping_bytes -= head;
    }
    if (tail > 0 && os->unmap(first + kept, (size_t)tail) == 0)
        sink->mapping_bytes -= tail;
    if (sink->mapping_bytes == 0)
        sink->mapping = NULL;
}

dray_status drayi_sink_finish(drayi_sink *sink, dray_error *error)
{
    if (!sink->mapping)
        return DRAY_OK;
    if (sink->memfd >= 0)
        return memfd_seal(sink, error);
    unused_give_back(sink);
    return DRAY_OK;
}

void drayi_sink_free(drayi_sink *sink)
{
    if (!sink->env)
        return;
    if (sink->mapping)
        sink->env->os->unmap(sink->mapping, (size_t)sink->mapping_bytes);
    drayi_close_file(sink->env->os, sink->memfd);
    *sink = (drayi_sink){.memfd = -1};
}
