/// Ranges of model data: advice, prefetch, lock, residency, release. Each resolves its range, turns it
/// into pages, and asks src/memory.
#include "base/checked.h"
#include "memory/lock.h"
#include "memory/prefetch.h"
#include "memory/release.h"
#include "memory/residency.h"
#include "weights/model_data_object.h"

#include <inttypes.h>
#include <sys/mman.h>

/// [offset, offset + bytes) as an extent; bytes 0: to the end.
static dray_status range_resolve(const dray_model_data *data, const char *what, uint64_t offset,
                                 uint64_t bytes, drayi_extent *out, dray_error *error)
{
    if (bytes == 0 && offset <= data->length)
        bytes = data->length - offset;
    if (!drayi_inside(offset, bytes, data->length))
        return dray_fail(error, DRAY_E_INVALID,
                         "%s %s: %" PRIu64 " bytes at %" PRIu64 " leave data of %" PRIu64 " bytes",
                         what, data->name, bytes, offset, data->length);
    drayi_extent whole = drayi_data_extent(data);
    *out = drayi_extent_part(&whole, offset, bytes);
    return DRAY_OK;
}

static drayi_extent pages_of(const dray_model_data *data, const drayi_extent *extent)
{
    return drayi_extent_outwards(extent, data->env->os->page_bytes());
}

dray_status dray_model_data_advise(dray_model_data *data, uint64_t offset, uint64_t bytes,
                                   dray_advice advice, dray_error *error)
{
    static const int codes[] = {
        [DRAY_ADVICE_NORMAL] = MADV_NORMAL,
        [DRAY_ADVICE_SEQUENTIAL] = MADV_SEQUENTIAL,
        [DRAY_ADVICE_RANDOM] = MADV_RANDOM,
    };
    drayi_extent extent;
    DRAY_TRY(range_resolve(data, "advise", offset, bytes, &extent, error));
    if ((size_t)advice >= sizeof(codes) / sizeof(codes[0]))
        return dray_fail(error, DRAY_E_INVALID,
                         "advise %s: advice %d is none of normal, sequential, random", data->name,
                         (int)advice);
    drayi_extent pages = pages_of(data, &extent);
    if (pages.fd < 0 || pages.bytes == 0)
        return DRAY_OK;
    int code = data->env->os->advise(pages.at, (size_t)pages.bytes, codes[advice]);
    if (code < 0)
        return dray_fail_os(error, -code, "madvise", "advise %s: %" PRIu64 " bytes at %" PRIu64,
                            data->name, extent.bytes, offset);
    return DRAY_OK;
}

/// What is in memory of an extent, at most its own bytes: the page cache's count, or else this process's.
static uint64_t loaded_bytes(const dray_model_data *data, const drayi_extent *extent)
{
    drayi_extent pages = pages_of(data, extent);
    uint64_t seen = drayi_cached_bytes(data->env, &pages);
    if (seen == DRAY_UNKNOWN)
        seen = drayi_mapped_bytes(data->env, &pages);
    return seen == DRAY_UNKNOWN ? DRAY_UNKNOWN : drayi_min(seen, extent->bytes);
}

dray_status dray_model_data_prefetch(dray_model_data *data, uint64_t offset, uint64_t bytes,
                                     bool (*progress)(void *self, uint64_t done, uint64_t total),
                                     void *self, uint64_t *out_loaded, dray_error *error)
{
    drayi_extent extent;
    DRAY_TRY(range_resolve(data, "prefetch", offset, bytes, &extent, error));
    if (extent.fd >= 0)
        DRAY_TRY(drayi_prefetch(data->env, &extent, progress, self, error));
    else if (progress && !progress(self, extent.bytes, extent.bytes))
        return dray_fail(error, DRAY_E_CANCELLED, "prefetch %s: stopped, all bytes were in memory",
                         data->name);
    if (out_loaded)
        *out_loaded = loaded_bytes(data, &extent);
    return DRAY_OK;
}

dray_status dray_model_data_lock(dray_model_data *data, uint64_t offset, uint64_t bytes,
                                 dray_error *error)
{
    drayi_extent extent;
    DRAY_TRY(range_resolve(data, "lock", offset, bytes, &extent, error));
    drayi_extent pages = pages_of(data, &extent);
    DRAY_TRY(drayi_range_set_reserve(data->env, &data->locked, error));
    DRAY_TRY(drayi_lock(data->env, pages.at, pages.bytes, false, data->name, error));
    drayi_range_set_add(&data->locked, (uintptr_t)pages.at, (uintptr_t)pages.at + pages.bytes);
    return DRAY_OK;
}

dray_status dray_model_data_unlock(dray_model_data *data, uint64_t offset, uint64_t bytes,
                                   dray_error *error)
{
    drayi_extent extent;
    DRAY_TRY(range_resolve(data, "unlock", offset, bytes, &extent, error));
    drayi_extent pages = pages_of(data, &extent);
    if (pages.bytes == 0)
        return DRAY_OK;
    DRAY_TRY(drayi_range_set_reserve(data->env, &data->locked, error));
    int code = data->env->os->unlock(pages.at, (size_t)pages.bytes);
    if (code < 0)
        return dray_fail_os(error, -code, "munlock", "unlock %s: %" PRIu64 " bytes at %" PRIu64,
                            data->name, extent.bytes, offset);
    drayi_range_set_remove(&data->locked, (uintptr_t)pages.at, (uintptr_t)pages.at + pages.bytes);
    return DRAY_OK;
}

dray_status dray_model_data_residency(const dray_model_data *data, uint64_t offset, uint64_t bytes,
                                      dray_residency *out_residency, dray_error *error)
{
    drayi_extent extent;
    DRAY_TRY(range_resolve(data, "residency of", offset, bytes, &extent, error));
    drayi_residency(data->env, &extent, out_residency);
    drayi_extent pages = pages_of(data, &extent);
    uint64_t first = (uintptr_t)pages.at;
    out_residency->locked_bytes = drayi_range_set_bytes(&data->locked, first, first + pages.bytes);
    return DRAY_OK;
}

dray_status dray_model_data_release(dray_model_data *data, uint64_t offset, uint64_t bytes,
                                    dray_release level, dray_release_report *out_report,
                                    dray_error *error)
{
    drayi_extent extent;
    dray_release_report report = {0};
    DRAY_TRY(range_resolve(data, "release", offset, bytes, &extent, error));
    if (extent.fd >= 0) {
        drayi_extent pages = drayi_extent_inwards(&extent, data->env->os->page_bytes());
        DRAY_TRY(drayi_range_set_reserve(data->env, &data->locked, error));
        DRAY_TRY(drayi_release(data->env, &extent, level, &report, error));
        drayi_range_set_remove(&data->locked, (uintptr_t)pages.at,
                               (uintptr_t)pages.at + pages.bytes);
    }
    if (out_report)
        *out_report = report;
    return DRAY_OK;
}
