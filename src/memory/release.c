/// What each rung does, and why it takes what it takes (measured on Linux 6.18):
///
/// - MADV_DONTNEED on a shared file mapping drops page-table entries only; the page cache keeps all.
/// - posix_fadvise(DONTNEED) frees nothing that is still mapped, and nothing that is dirty. After the
///   mappings went and dirty pages were written back, it frees whole folios inside the range.
/// - A range that begins or ends inside a large folio keeps up to 2 MiB on either side that way;
///   MADV_PAGEOUT splits those folios (773 of 773 pages freed, instead of 512). It is asked for the two
///   edges only, because it takes three times as long as the rest together.
/// - All of these fail with EINVAL on locked memory, save MADV_DONTNEED_LOCKED (Linux 5.18).
///
/// None of it is believed: the report is the difference of two measurements.
#include "memory/release.h"

#include "memory/residency.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

static dray_status advise_failed(const drayi_extent *pages, int code, const char *what,
                                 dray_error *error)
{
    return dray_fail_os(error, -code, "madvise", "release %s: %s %" PRIu64 " bytes at %" PRIu64,
                        pages->name, what, pages->bytes, pages->file_offset);
}

/// Page-table entries go. Locked memory refuses the plain advice, and before Linux 5.18 any; then the
/// lock has to go first.
static dray_status mappings_drop(const drayi_os *os, const drayi_extent *pages, dray_error *error)
{
    int code = os->advise(pages->at, (size_t)pages->bytes, MADV_DONTNEED);
    if (code == -EINVAL)
        code = os->advise(pages->at, (size_t)pages->bytes, MADV_DONTNEED_LOCKED);
    if (code == -EINVAL && os->unlock(pages->at, (size_t)pages->bytes) == 0)
        code = os->advise(pages->at, (size_t)pages->bytes, MADV_DONTNEED);
    return code == 0 ? DRAY_OK : advise_failed(pages, code, "drop the mappings of", error);
}

static dray_status mark_cold(const drayi_os *os, const drayi_extent *pages, dray_error *error)
{
    int code = os->advise(pages->at, (size_t)pages->bytes, MADV_COLD);
    return code == 0 ? DRAY_OK : advise_failed(pages, code, "mark cold", error);
}

/// Frees the part of a large folio that lies inside, at either end. A refusal shows in the measurement.
static void edges_page_out(const drayi_os *os, const drayi_extent *pages)
{
    const uint64_t folio_bytes = 2 << 20;
    uint64_t head = drayi_min(folio_bytes, pages->bytes),
             tail = drayi_min(folio_bytes, pages->bytes - head);
    os->advise(pages->at, (size_t)head, MADV_PAGEOUT);
    if (tail > 0)
        os->advise(pages->at + pages->bytes - tail, (size_t)tail, MADV_PAGEOUT);
}

static dray_status cache_free(const drayi_os *os, const drayi_extent *pages, dray_error *error)
{
    int code =
        os->sync_range(pages->fd, pages->file_offset, pages->bytes); // nothing to do unless dirty
    if (code < 0 && code != -EINVAL && code != -ENOSYS)
        return dray_fail_os(error, -code, "sync_file_range",
                            "release %s: write back %" PRIu64 " bytes at %" PRIu64, pages->name,
                            pages->bytes, pages->file_offset);
    edges_page_out(os, pages);
    DRAY_TRY(mappings_drop(os, pages, error));
    code = os->advise_file(pages->fd, pages->file_offset, pages->bytes, POSIX_FADV_DONTNEED);
    if (code < 0)
        return dray_fail_os(error, -code, "posix_fadvise",
                            "release %s: free %" PRIu64 " cached bytes at %" PRIu64, pages->name,
                            pages->bytes, pages->file_offset);
    return DRAY_OK;
}

/// How much less it is now; growth by somebody else's reading is no negative release.
static uint64_t decrease(uint64_t before, uint64_t after)
{
    if (before == DRAY_UNKNOWN || after == DRAY_UNKNOWN)
        return DRAY_UNKNOWN;
    return before > after ? before - after : 0;
}

dray_status drayi_release(drayi_env *env, const drayi_extent *extent, dray_release level,
                          dray_release_report *out_report, dray_error *error)
{
    const drayi_os *os = env->os;
    drayi_extent pages = drayi_extent_inwards(extent, os->page_bytes());
    if (level != DRAY_RELEASE_MAPPINGS && level != DRAY_RELEASE_COLD && level != DRAY_RELEASE_CACHE)
        return dray_fail(error, DRAY_E_INVALID,
                         "release %s: level %d is none of mappings (1), cold (2), cache (3)",
                         extent->name, (int)level);
    *out_report = (dray_release_report){.range_bytes = pages.bytes};
    if (pages.bytes == 0)
        return DRAY_OK;
    uint64_t mapped = drayi_mapped_bytes(env, &pages), cached = drayi_cached_bytes(env, &pages);
    os->unlock(pages.at, (size_t)pages.bytes); // not locked: nothing happens
    switch (level) {
    case DRAY_RELEASE_MAPPINGS:
        DRAY_TRY(mappings_drop(os, &pages, error));
        break;
    case DRAY_RELEASE_COLD:
        DRAY_TRY(mark_cold(os, &pages, error));
        break;
    case DRAY_RELEASE_CACHE:
        DRAY_TRY(cache_free(os, &pages, error));
        break;
    }
    out_report->still_cached_bytes = drayi_cached_bytes(env, &pages);
    out_report->unmapped_bytes = decrease(mapped, drayi_mapped_bytes(env, &pages));
    out_report->freed_bytes = decrease(cached, out_report->still_cached_bytes);
    return DRAY_OK;
}
