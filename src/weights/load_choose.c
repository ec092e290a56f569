/// Which way the bytes take, from facts alone; every choice says why.
///
/// The numbers behind it (2 GB file, virtio disk, one machine): cold, direct I/O reads 3.5 GB/s for a
/// tenth of the CPU that read() takes for 2; from the page cache, copying runs at 12 GB/s and a mapping
/// costs nothing at all. So: what is cached is not read from the disk again, what is not does not pass
/// through the cache, and half cached is where copying out and reading past are equally fast.
#include "weights/load.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

static const uint64_t small_bytes = 1 << 20; // nothing to gain by any cleverness

static void because(drayi_choice *choice, const char *format, ...) DRAY_PRINTF(2, 3);
static void because(drayi_choice *choice, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(choice->reason, sizeof(choice->reason), format, args);
    va_end(args);
}

/// In percent; the caller has checked that it is known.
static unsigned cached_share(const drayi_survey *survey)
{
    if (survey->looked_bytes == 0)
        return 100;
    return (unsigned)((double)survey->cached_bytes * 100.0 / (double)survey->looked_bytes);
}

static bool is_cached(const drayi_survey *survey, unsigned percent)
{
    return survey->cached_bytes != DRAY_UNKNOWN && cached_share(survey) >= percent;
}

static dray_status choose_in_memory(const drayi_survey *survey, dray_load_method method,
                                    drayi_choice *out, dray_error *error)
{
    if (method != DRAY_LOAD_AUTO)
        return dray_fail(
            error, DRAY_E_INVALID,
            "method %s reads files, but the model's bytes are in memory already: leave the method to auto",
            method == DRAY_LOAD_DIRECT   ? "direct"
            : method == DRAY_LOAD_MAPPED ? "mapped"
                                         : "buffered");
    out->direct = DRAY_DIRECT_NEVER;
    out->way = survey->storage == DRAY_STORAGE_SYSTEM ? DRAYI_WAY_VIEW : DRAYI_WAY_COPY;
    because(out, out->way == DRAYI_WAY_VIEW ? "the bytes are in memory already: no copy"
                                            : "the bytes are in memory already: one copy");
    return DRAY_OK;
}

static dray_status choose_mapped(drayi_choice *out)
{
    out->way = DRAYI_WAY_MAPPED;
    out->direct = DRAY_DIRECT_NEVER;
    return DRAY_OK;
}

/// Is a copy out of the question, or a mapping clearly better? Says why.
static bool prefers_mapping(const drayi_survey *survey, drayi_choice *out)
{
    if (survey->storage != DRAY_STORAGE_SYSTEM || survey->release_source)
        return false;
    if (survey->memory_limit && survey->destination_bytes > survey->memory_limit) {
        because(out,
                "a copy needs %" PRIu64 " bytes, the limit is %" PRIu64 "; a mapping needs none",
                survey->destination_bytes, survey->memory_limit);
        return true;
    }
    if (survey->available_bytes != DRAY_UNKNOWN &&
        survey->destination_bytes > survey->available_bytes) {
        because(out,
                "a copy needs %" PRIu64 " bytes, %" PRIu64
                " are available%s; a mapping can be paged out",
                survey->destination_bytes, survey->available_bytes,
                survey->limited_by_cgroup ? " in this cgroup" : "");
        return true;
    }
    if (survey->network_file_system)
        return false; // faults over a network: 30 to 50 times slower than reading
    if (survey->memory_file_system) {
        because(out, "%s keeps its files in memory: a mapping is them", survey->file_system);
        return true;
    }
    if (!is_cached(survey, 90) || survey->looked_bytes < small_bytes)
        return false;
    because(out, "%u%% are in the page cache: a mapping shows them without a copy",
            cached_share(survey));
    return true;
}

/// Written pages wait in memory for the disk, and cannot be dropped before: a cgroup that they fill is killed.
static bool writes_crowd(const drayi_survey *survey)
{
    return survey->storage == DRAY_STORAGE_DISK && survey->available_bytes != DRAY_UNKNOWN &&
           survey->destination_bytes > survey->available_bytes / 2;
}

static void choose_copy(const drayi_survey *survey, drayi_choice *out)
{
    out->way = DRAYI_WAY_COPY;
    out->direct = DRAY_DIRECT_NEVER;
    if (survey->looked_bytes < small_bytes)
        because(out, "buffered: only %" PRIu64 " bytes", survey->looked_bytes);
    else if (survey->memory_file_system)
        because(out, "buffered: %s keeps its files in memory", survey->file_system);
    else if (!survey->direct_possible)
        because(out, "buffered: %s takes no direct I/O on this file", survey->file_system);
    else if (survey->network_file_system)
        because(out, "buffered: large reads suit %s best", survey->file_system);
    else if (writes_crowd(survey)) {
        out->direct = DRAY_DIRECT_AUTO;
        because(out,
                "direct: %" PRIu64 " bytes that wait to be written would crowd the %" PRIu64
                " available%s",
                survey->destination_bytes, survey->available_bytes,
                survey->limited_by_cgroup ? " in this cgroup" : "");
    } else if (is_cached(survey, 50))
        because(out, "buffered: %u%% are in the page cache", cached_share(survey));
    else {
        out->direct = DRAY_DIRECT_AUTO;
        if (survey->cached_bytes == DRAY_UNKNOWN)
            because(
                out,
                "direct: the kernel does not tell what is cached, and past the cache it does not matter");
        else
            because(out, "direct: only %u%% are in the page cache", cached_share(survey));
    }
}

dray_status drayi_choose(const drayi_survey *survey, dray_load_method method, drayi_choice *out,
                         dray_error *error)
{
    *out = (drayi_choice){0};
    if (survey->in_memory)
        return choose_in_memory(survey, method, out, error);
    out->way = DRAYI_WAY_COPY;
    switch (method) {
    case DRAY_LOAD_DIRECT:
        out->direct = DRAY_DIRECT_ONLY;
        because(out, "direct: asked for");
        return DRAY_OK;
    case DRAY_LOAD_BUFFERED:
        out->direct = DRAY_DIRECT_NEVER;
        because(out, "buffered: asked for");
        return DRAY_OK;
    case DRAY_LOAD_MAPPED:
        because(out, "mapped: asked for");
        return choose_mapped(out);
    case DRAY_LOAD_AUTO:
        if (prefers_mapping(survey, out))
            return choose_mapped(out);
        choose_copy(survey, out);
        return DRAY_OK;
    }
    return dray_fail(error, DRAY_E_INVALID, "load: method %d is not known", (int)method);
}
