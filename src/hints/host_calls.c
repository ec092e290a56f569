/// Making the host's calls, with the services of src/memory, and looking at what came of each: most of
/// them succeed without an effect. Hints are rounded outwards to pages, what lets go is rounded inwards.
#include "dray/spi/region.h"
#include "hints/host.h"
#include "hints/host_settings.h"
#include "memory/lock.h"
#include "memory/populate.h"
#include "memory/prefetch.h"
#include "memory/release.h"
#include "memory/residency.h"
#include "os/advice.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>

/// A call under way.
typedef struct host_job {
    dray_device_self *host;
    const drayi_os *os;
    drayi_env *env;
    const dray_hint_call *call;
    drayi_extent extent;
    char name[32]; // of raw memory, for messages
    dray_hint_answer *answer;
    dray_error *error;
} host_job;

// --- where the bytes are --------------------------------------------------------------------------------------

static void extent_of_region(host_job *job, const dray_hint_range *range)
{
    dray_region_native native;
    drayi_file_facts facts;
    dray_region_get_native(range->region, &native);
    job->extent = (drayi_extent){
        .name = native.name,
        .at = range->pointer,
        .bytes = range->bytes,
        .fd = native.fd,
        .file_offset = native.fd >= 0 ? native.file_offset + range->offset : 0,
    };
    job->extent.to_file_end = native.fd >= 0 && job->os->facts(native.fd, &facts) == 0 &&
                              facts.bytes == job->extent.file_offset + range->bytes;
}

static void extent_of(host_job *job, const dray_hint_range *range)
{
    if (range->region) {
        extent_of_region(job, range);
        return;
    }
    snprintf(job->name, sizeof(job->name), "memory at 0x%" PRIxPTR, (uintptr_t)range->pointer);
    job->extent =
        (drayi_extent){.name = job->name, .at = range->pointer, .bytes = range->bytes, .fd = -1};
}

/// A file that is not mapped gets a mapping for the time of the call.
static dray_status map_for_now(host_job *job, void **out_mapping, uint64_t *out_bytes)
{
    drayi_extent *extent = &job->extent;
    uint64_t head = extent->file_offset & (job->os->page_bytes() - 1);
    int code;
    *out_bytes = extent->bytes + head;
    uint8_t *at = job->os->map(NULL, (size_t)*out_bytes, PROT_READ, MAP_SHARED, extent->fd,
                               extent->file_offset - head, &code);
    if (!at)
        return dray_fail_os(job->error, -code, "mmap", "map %" PRIu64 " bytes of %s", extent->bytes,
                            extent->name);
    extent->at = at + head;
    *out_mapping = at;
    return DRAY_OK;
}

// --- answers ------------------------------------------------------------------------------------------------

static void answer(host_job *job, dray_hint_outcome outcome, uint64_t bytes_done, const char *note)
{
    *job->answer = (dray_hint_answer){.outcome = outcome, .bytes_done = bytes_done, .note = note};
}

/// What is in memory now of what was asked for.
static dray_status answer_resident(host_job *job, const char *note)
{
    drayi_extent pages = drayi_extent_outwards(&job->extent, job->os->page_bytes());
    uint64_t resident = drayi_cached_bytes(job->env, &pages);
    if (resident == DRAY_UNKNOWN)
        resident = drayi_mapped_bytes(job->env, &pages);
    if (resident == DRAY_UNKNOWN)
        answer(job, DRAY_HINT_ACCEPTED, DRAY_UNKNOWN, "this kernel does not tell what is resident");
    else if (resident >= pages.bytes)
        answer(job, DRAY_HINT_VERIFIED, resident, note);
    else
        answer(job, resident ? DRAY_HINT_DEGRADED : DRAY_HINT_NO_EFFECT, resident,
               "not all of it is resident afterwards");
    return DRAY_OK;
}

static dray_status advise(host_job *job, const drayi_extent *pages, int advice)
{
    int code;
    do
        code = job->os->advise(pages->at, (size_t)pages->bytes, advice);
    while (code == -EINTR);
    if (code == 0)
        return DRAY_OK;
    return dray_fail_os(job->error, -code, "madvise", "%s of %" PRIu64 " bytes of %s",
                        dray_hint_advice_name(DRAY_HINT_MADVISE, (uint32_t)advice), pages->bytes,
                        pages->name);
}

// --- bringing in --------------------------------------------------------------------------------------------

static dray_status populate(host_job *job, int advice)
{
    if (job->extent.fd >= 0) {
        DRAY_TRY(drayi_prefetch(job->env, &job->extent, NULL, NULL, job->error));
        return answer_resident(job, "resident");
    }
    drayi_extent pages = drayi_extent_outwards(&job->extent, job->os->page_bytes());
    if (advice == MADV_POPULATE_WRITE)
        DRAY_TRY(drayi_populate_pages(job->env, &pages, job->error));
    else
        DRAY_TRY(advise(job, &pages, advice));
    return answer_resident(job, "resident");
}

static dray_status lock(host_job *job)
{
    drayi_extent pages = drayi_extent_outwards(&job->extent, job->os->page_bytes());
    DRAY_TRY(drayi_lock(job->env, pages.at, pages.bytes, false, pages.name, job->error));
    return answer_resident(job, "locked, and resident");
}

/// What a call has set (or unset), read back from the mappings.
static dray_status answer_setting(host_job *job, const drayi_extent *pages, uint32_t set,
                                  uint32_t unset)
{
    uint64_t first = (uintptr_t)pages->at, end = first + pages->bytes;
    bool is_so = true;
    if (drayi_host_maps_read(job->env, true, &job->host->maps, NULL) != DRAY_OK) {
        answer(job, DRAY_HINT_ACCEPTED, DRAY_UNKNOWN, "this process may not see its own mappings");
        return DRAY_OK;
    }
    const drayi_host_map *map = drayi_host_maps_at(&job->host->maps, first);
    for (; map && map->first < end; map = drayi_host_maps_next(&job->host->maps, map))
        is_so &= (map->settings & set) == set && !(map->settings & unset);
    answer(job, is_so ? DRAY_HINT_VERIFIED : DRAY_HINT_NO_EFFECT, DRAY_UNKNOWN,
           is_so ? "read back" : "the kernel said success, and it does not read back");
    return DRAY_OK;
}

static dray_status unlock(host_job *job)
{
    drayi_extent pages = drayi_extent_outwards(&job->extent, job->os->page_bytes());
    int code = job->os->unlock(pages.at, (size_t)pages.bytes);
    if (code < 0)
        return dray_fail_os(job->error, -code, "munlock", "unlock %" PRIu64 " bytes of %s",
                            pages.bytes, pages.name);
    return answer_setting(job, &pages, 0, DRAYI_HOST_LOCKED);
}

// --- letting go ---------------------------------------------------------------------------------------------

/// The file's pages, out of this process and out of the page cache.
static dray_status drop_cache(host_job *job)
{
    dray_release_report report;
    DRAY_TRY(drayi_release(job->env, &job->extent, DRAY_RELEASE_CACHE, &report, job->error));
    if (report.range_bytes == 0)
        answer(job, DRAY_HINT_SKIPPED, 0, "no whole page lies inside");
    else if (report.still_cached_bytes == DRAY_UNKNOWN)
        answer(job, DRAY_HINT_ACCEPTED, DRAY_UNKNOWN,
               "this kernel does not tell what is in the page cache");
    else if (report.still_cached_bytes == 0)
        answer(job, DRAY_HINT_VERIFIED, report.freed_bytes, "no longer in memory");
    else
        answer(job, DRAY_HINT_DEGRADED, report.freed_bytes,
               "some of it stays in the page cache: mapped elsewhere, dirty, or locked");
    return DRAY_OK;
}

static void answer_gone(host_job *job, uint64_t before, uint64_t after, const char *stays)
{
    if (before == DRAY_UNKNOWN || after == DRAY_UNKNOWN)
        answer(job, DRAY_HINT_ACCEPTED, DRAY_UNKNOWN, "this process may not see its own page table");
    else if (after == 0)
        answer(job, DRAY_HINT_VERIFIED, before, "no longer in memory");
    else
        answer(job, after < before ? DRAY_HINT_DEGRADED : DRAY_HINT_NO_EFFECT,
               before > after ? before - after : 0, stays);
}

static dray_status let_go(host_job *job, int advice)
{
    drayi_extent pages = drayi_extent_inwards(&job->extent, job->os->page_bytes());
    if (pages.bytes == 0) {
        answer(job, DRAY_HINT_SKIPPED, 0, "no whole page lies inside");
        return DRAY_OK;
    }
    uint64_t before = advice == MADV_COLD ? 0 : drayi_mapped_bytes(job->env, &pages);
    DRAY_TRY(advise(job, &pages, advice));
    if (advice == MADV_COLD)
        answer(job, DRAY_HINT_ACCEPTED, DRAY_UNKNOWN,
               "goes first when memory gets short; nothing has moved");
    else
        answer_gone(job, before, drayi_mapped_bytes(job->env, &pages),
                    "it stays in memory: there is no swap, or the pages are in use");
    return DRAY_OK;
}

// --- huge pages ---------------------------------------------------------------------------------------------

static uint64_t huge_bytes_in(host_job *job, const drayi_extent *pages)
{
    uint64_t first = (uintptr_t)pages->at, end = first + pages->bytes, sum = 0;
    if (drayi_host_maps_read(job->env, true, &job->host->maps, NULL) != DRAY_OK)
        return DRAY_UNKNOWN;
    const drayi_host_map *map = drayi_host_maps_at(&job->host->maps, first);
    for (; map && map->first < end; map = drayi_host_maps_next(&job->host->maps, map))
        sum += map->huge_bytes;
    return drayi_min(sum, pages->bytes);
}

static dray_status collapse(host_job *job)
{
    drayi_extent pages = drayi_extent_inwards(&job->extent, job->os->huge_page_bytes());
    DRAY_TRY(advise(job, &pages, MADV_COLLAPSE));
    uint64_t huge = huge_bytes_in(job, &pages);
    if (huge == DRAY_UNKNOWN)
        answer(job, DRAY_HINT_ACCEPTED, DRAY_UNKNOWN, "this kernel does not tell which are huge");
    else
        answer(job, huge >= pages.bytes ? DRAY_HINT_VERIFIED : DRAY_HINT_DEGRADED, huge,
               huge >= pages.bytes ? "in huge pages" : "only part of it is in huge pages");
    return DRAY_OK;
}

/// Advice that stays with the mapping until other advice comes.
static dray_status set_advice(host_job *job, int advice)
{
    drayi_extent pages = drayi_extent_outwards(&job->extent, job->os->page_bytes());
    DRAY_TRY(advise(job, &pages, advice));
    switch (advice) {
    case MADV_HUGEPAGE:
        return answer_setting(job, &pages, DRAYI_HOST_HUGE, DRAYI_HOST_NO_HUGE);
    case MADV_NOHUGEPAGE:
        return answer_setting(job, &pages, DRAYI_HOST_NO_HUGE, DRAYI_HOST_HUGE);
    case MADV_RANDOM:
        return answer_setting(job, &pages, DRAYI_HOST_RANDOM, DRAYI_HOST_SEQUENTIAL);
    case MADV_SEQUENTIAL:
        return answer_setting(job, &pages, DRAYI_HOST_SEQUENTIAL, DRAYI_HOST_RANDOM);
    default:
        return answer_setting(job, &pages, 0, DRAYI_HOST_READ_AHEAD);
    }
}

static dray_status call_madvise(host_job *job)
{
    int advice = (int)job->call->advice;
    switch (advice) {
    case MADV_POPULATE_READ:
    case MADV_POPULATE_WRITE:
    case MADV_WILLNEED:
        return populate(job, advice);
    case MADV_COLD:
    case MADV_PAGEOUT:
    case MADV_DONTNEED:
        return let_go(job, advice);
    case MADV_COLLAPSE:
        return collapse(job);
    default:
        break;
    }
    return set_advice(job, advice);
}

// --- nodes --------------------------------------------------------------------------------------------------

/// Has the page at `at` this policy?
static bool policy_is(host_job *job, const void *at)
{
    uint64_t nodes[DRAY_HINT_NODES_MAX / 64] = {0};
    int mode;
    return job->os->node_policy(at, &mode, nodes, DRAY_HINT_NODES_MAX) == 0 &&
           mode == (int)job->call->advice && nodes[0] == job->call->nodes;
}

static dray_status bind_node(host_job *job)
{
    uint64_t nodes[DRAY_HINT_NODES_MAX / 64] = {job->call->nodes};
    drayi_extent pages = drayi_extent_outwards(&job->extent, job->os->page_bytes());
    int code = job->os->node_bind(pages.at, (size_t)pages.bytes, (int)job->call->advice,
                                  job->call->nodes ? nodes : NULL,
                                  job->call->nodes ? DRAY_HINT_NODES_MAX : 0, 0);
    if (code < 0)
        return dray_fail_os(job->error, -code, "mbind", "%s for %" PRIu64 " bytes of %s",
                            dray_hint_advice_name(DRAY_HINT_MBIND, job->call->advice), pages.bytes,
                            pages.name);
    bool is_so =
        policy_is(job, pages.at) && policy_is(job, pages.at + pages.bytes - job->os->page_bytes());
    answer(job, is_so ? DRAY_HINT_VERIFIED : DRAY_HINT_NO_EFFECT, DRAY_UNKNOWN,
           is_so ? "the policy reads back" : "the policy does not read back");
    return DRAY_OK;
}

typedef struct move_count {
    uint64_t there, absent, elsewhere; // pages
} move_count;

enum { move_pages_at_once = 512 };

static int move_some(host_job *job, uint8_t *at, uint64_t count, move_count *sum)
{
    void *pages[move_pages_at_once];
    int nodes[move_pages_at_once], status[move_pages_at_once];
    for (uint64_t i = 0; i < count; i++) {
        pages[i] = at + i * job->os->page_bytes();
        nodes[i] = (int)job->call->location.index;
        status[i] = -EBUSY; // where the kernel stops early, it says nothing
    }
    int code = job->os->page_nodes(pages, count, nodes, status);
    if (code < 0)
        return code;
    for (uint64_t i = 0; i < count; i++) {
        if (status[i] == nodes[i])
            sum->there++;
        else if (status[i] == -ENOENT || status[i] == -EFAULT) // no page yet; the zero page
            sum->absent++;
        else
            sum->elsewhere++;
    }
    return 0;
}

static dray_status move_nodes(host_job *job)
{
    drayi_extent pages = drayi_extent_outwards(&job->extent, job->os->page_bytes());
    uint64_t page_bytes = job->os->page_bytes(), count = pages.bytes / page_bytes;
    move_count sum = {0};
    for (uint64_t done = 0; done < count;) {
        uint64_t some = drayi_min(count - done, move_pages_at_once);
        int code = move_some(job, pages.at + done * page_bytes, some, &sum);
        if (code == -ENOENT) // of these, no page is there or has to move
            sum.absent += some;
        else if (code < 0)
            return dray_fail_os(job->error, -code, "move_pages",
                                "move %" PRIu64 " bytes of %s to NUMA node %u", pages.bytes,
                                pages.name, job->call->location.index);
        done += some;
    }
    const char *note = sum.elsewhere
                           ? "some pages stay on another node: shared with others, or busy"
                       : sum.absent ? "pages that are not in memory yet were not moved"
                                    : "every page is on the node";
    answer(job, sum.elsewhere ? DRAY_HINT_DEGRADED : DRAY_HINT_VERIFIED, sum.there * page_bytes,
           note);
    return DRAY_OK;
}

// --- the call -------------------------------------------------------------------------------------------------

static dray_status call_function(host_job *job)
{
    switch (job->call->function) {
    case DRAY_HINT_MADVISE:
        return call_madvise(job);
    case DRAY_HINT_MLOCK:
        return lock(job);
    case DRAY_HINT_MUNLOCK:
        return unlock(job);
    case DRAY_HINT_MBIND:
        return bind_node(job);
    case DRAY_HINT_MOVE_PAGES:
        return move_nodes(job);
    case DRAY_HINT_FADVISE:
        return drop_cache(job);
    default:
        return dray_fail(job->error, DRAY_E_INTERNAL, "hints: the host has no call %s",
                         dray_hint_function_name(job->call->function));
    }
}

dray_status drayi_host_call(dray_hint_queue *queue, const dray_hint_call *call,
                            const dray_hint_call_range *ranges, dray_hint_answer *out_answer,
                            dray_error *error)
{
    dray_device_self *host = (dray_device_self *)(void *)queue;
    host_job job = {.host = host,
                    .env = host->env,
                    .os = host->env->os,
                    .call = call,
                    .answer = out_answer,
                    .error = error};
    void *mapping = NULL;
    uint64_t mapping_bytes = 0;
    extent_of(&job, &ranges->range);
    if (!job.extent.at)
        DRAY_TRY(map_for_now(&job, &mapping, &mapping_bytes));
    dray_status status = call_function(&job);
    if (mapping)
        job.os->unmap(mapping, (size_t)mapping_bytes);
    host->maps.count = 0; // they may be others now
    return status;
}
