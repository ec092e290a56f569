/// dray_weights_load(): the order of things, and what options may stand together.
#include "weights/load.h"

#include "base/checked.h"
#include "weights/loaded.h"
#include "weights/manifest_file.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const uint64_t piece_bytes =
    4 << 20; // large enough for any disk, small enough to follow tensors

// --- telling the caller --------------------------------------------------------------------------

void drayi_load_explain(const drayi_load *load, const char *format, ...)
{
    const dray_load_events *events = &load->options.events;
    if (!events->explain)
        return;
    char line[512];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    events->explain(events->self, line);
}

bool drayi_load_progress(drayi_load *load, uint64_t done, uint64_t total)
{
    const dray_load_events *events = &load->options.events;
    return !events->progress || events->progress(events->self, done, total);
}

void drayi_load_tensor_done(drayi_load *load, uint64_t position)
{
    const dray_load_events *events = &load->options.events;
    if (events->tensor_done)
        events->tensor_done(events->self, load->tensors[position]);
}

drayi_hash drayi_load_expected(const drayi_load *load, uint64_t unit_index)
{
    const drayi_unit *unit = &load->units[unit_index];
    const dray_tensor *tensor = &load->weights->index.tensors[load->tensors[unit->tensor]];
    const drayi_manifest_tensor *known = drayi_manifest_find(load->manifest, tensor->name);
    return drayi_manifest_chunk(load->manifest, known,
                                unit->chunk); // all tensors were compared before
}

dray_status drayi_load_mismatch(const drayi_load *load, uint64_t unit_index, dray_error *error)
{
    const drayi_unit *unit = &load->units[unit_index];
    const drayi_range *range = &load->ranges[unit_index];
    const dray_tensor *tensor = &load->weights->index.tensors[load->tensors[unit->tensor]];
    return dray_fail_rule(error, DRAY_E_CORRUPT, "manifest.chunk", range->offset,
                          "tensor %s: chunk %" PRIu32 " (%" PRIu64 " bytes at %" PRIu64
                          " of %s) does not match the manifest",
                          drayi_show(tensor->name).text, unit->chunk, unit->bytes, range->offset,
                          load->weights->files[range->file].info.path);
}

// --- options -------------------------------------------------------------------------------------

static dray_status conflict(dray_error *error, const char *one, const char *other, const char *why)
{
    return dray_fail(error, DRAY_E_INVALID, "load: %s and %s contradict each other: %s", one, other,
                     why);
}

static dray_status mapped_check(const dray_load_options *options, dray_error *error)
{
    char storage[32];
    snprintf(storage, sizeof(storage), "storage %s", dray_storage_name(options->storage));
    if (options->storage != DRAY_STORAGE_SYSTEM)
        return conflict(error, "method mapped", storage, "a mapping is the file's own pages");
    if (options->release_source)
        return conflict(error, "method mapped", "release_source",
                        "the views stand on the page cache");
    return DRAY_OK;
}

static dray_status storage_check(const dray_load_options *options, dray_error *error)
{
    char storage[32];
    snprintf(storage, sizeof(storage), "storage %s", dray_storage_name(options->storage));
    switch (options->storage) {
    case DRAY_STORAGE_DEVICE:
    case DRAY_STORAGE_MANAGED:
        return options->device
                   ? DRAY_OK
                   : dray_fail(error, DRAY_E_INVALID, "load: %s needs a device", storage);
    case DRAY_STORAGE_PINNED:
        return DRAY_OK;
    case DRAY_STORAGE_SYSTEM:
    case DRAY_STORAGE_DISK:
    case DRAY_STORAGE_NULL:
        return options->device ? conflict(error, "device", storage, "nothing would be there")
                               : DRAY_OK;
    default:
        return dray_fail(
            error, DRAY_E_INVALID,
            "load: to %s is not possible (system, pinned, disk, null, device, managed are)",
            dray_storage_name(options->storage));
    }
}

static dray_status options_check(dray_load_options *options, dray_error *error)
{
    if (options->storage == 0)
        options->storage = DRAY_STORAGE_SYSTEM;
    bool disk = options->storage == DRAY_STORAGE_DISK, null = options->storage == DRAY_STORAGE_NULL;
    DRAY_TRY(storage_check(options, error));
    if (disk && !options->disk_path)
        return dray_fail(error, DRAY_E_INVALID, "load: storage disk needs disk_path");
    if (!disk && options->disk_path)
        return conflict(error, "disk_path", "a storage other than disk",
                        "nothing would be written there");
    if (null && options->manifest)
        return conflict(error, "manifest", "storage null",
                        "it keeps no bytes that could be checked");
    if (options->use_layers && options->layer_first > options->layer_last)
        return conflict(error, "layer_first", "layer_last", "the first lies behind the last");
    if (!options->use_layers && (options->layer_first || options->layer_last))
        return conflict(error, "layer_first or layer_last", "use_layers 0", "they would be ignored");
    return options->method == DRAY_LOAD_MAPPED ? mapped_check(options, error) : DRAY_OK;
}

// --- the order of things -------------------------------------------------------------------------

uint64_t drayi_load_alignment(const drayi_load *load)
{
    uint64_t alignment = load->env->os->page_bytes();
    for (uint64_t i = 0; i < load->weights->file_count; i++) {
        dray_region_native native;
        dray_region_get_native(load->weights->files[i].region, &native);
        if (native.direct_fd >= 0)
            alignment = drayi_max(
                alignment, drayi_max(native.direct_offset_align, native.direct_memory_align));
    }
    return alignment;
}

static void explain_survey(const drayi_load *load)
{
    const drayi_survey *survey = &load->survey;
    const dray_weights *weights = load->weights;
    drayi_load_explain(load,
                       "source: %s, %s%s, %" PRIu64 " file%s, %" PRIu64 " of %" PRIu64
                       " tensors, %" PRIu64 " bytes",
                       weights->files[0].info.path, weights->format,
                       weights->codec ? " (decoded)" : "", weights->file_count,
                       weights->file_count == 1 ? "" : "s", load->tensor_count,
                       weights->index.tensor_count, load->tensor_bytes);
    if (survey->in_memory)
        drayi_load_explain(load, "source: in memory");
    else if (survey->cached_bytes == DRAY_UNKNOWN)
        drayi_load_explain(
            load, "source: on %s, direct I/O %s, page cache unknown (the kernel does not tell)",
            survey->file_system, survey->direct_possible ? "possible" : "refused");
    else
        drayi_load_explain(load,
                           "source: on %s, direct I/O %s, %" PRIu64 " of %" PRIu64
                           " bytes in the page cache",
                           survey->file_system, survey->direct_possible ? "possible" : "refused",
                           survey->cached_bytes, survey->looked_bytes);
    if (survey->available_bytes != DRAY_UNKNOWN)
        drayi_load_explain(load, "memory: %" PRIu64 " bytes available%s", survey->available_bytes,
                           survey->limited_by_cgroup ? " in this cgroup" : "");
    char place[64];
    const char *where = drayi_load_place_name(load, place, sizeof(place));
    drayi_load_explain(load, "destination: %s, %" PRIu64 " bytes at phase %" PRIu64 " of %" PRIu64,
                       where, load->placement.bytes, load->placement.phase, load->alignment);
    if (load->options.device)
        drayi_load_explain(load, "device: %s, %s%s%s", load->device.model, load->device.driver,
                           load->device.unproven ? "; unproven: " : "",
                           load->device.unproven ? load->device.unproven : "");
    drayi_load_explain(load, "method: %s", load->choice.reason);
    if (load->manifest)
        drayi_load_explain(load,
                           "verify: %" PRIu64 " chunks of at most %" PRIu64 " bytes against %s%s%s",
                           load->unit_count, load->manifest->chunk_bytes, load->options.manifest,
                           drayi_load_reads_back(load) ? ", as read back afterwards from " : "",
                           drayi_load_reads_back(load) ? where : "");
}

static dray_status load_place(drayi_load *load, dray_error *error)
{
    load->alignment = drayi_load_alignment(load);
    drayi_place_options options = {.alignment = load->alignment,
                                   .gap_most = load->alignment,
                                   .piece_bytes = drayi_max(piece_bytes, load->alignment)};
    return drayi_place(load->env, load->ranges, load->unit_count, &options, &load->placement, error);
}

/// The page cache of the whole files goes when all of it was wanted, else that of the pieces: pages of
/// other tensors stay.
static void source_release(const drayi_load *load)
{
    const dray_weights *weights = load->weights;
    for (uint64_t i = 0; i < load->placement.piece_count; i++) {
        const drayi_piece *first = &load->placement.pieces[i];
        uint64_t end = first->file_offset + first->bytes;
        bool whole = load->tensor_count == weights->index.tensor_count;
        for (; i + 1 < load->placement.piece_count &&
               load->placement.pieces[i + 1].file == first->file &&
               (whole || load->placement.pieces[i + 1].file_offset == end);
             i++)
            end = load->placement.pieces[i + 1].file_offset + load->placement.pieces[i + 1].bytes;
        const drayi_model_file *file = &weights->files[first->file];
        if (file->keeper)
            continue;
        dray_region_native native;
        dray_region_get_native(file->region, &native);
        uint64_t begin = whole ? 0 : first->file_offset;
        uint64_t bytes = (whole ? file->info.bytes : end) - begin;
        load->env->os->advise_file(native.fd, native.file_offset + begin, bytes,
                                   POSIX_FADV_DONTNEED);
    }
}

static dray_status load_run(drayi_load *load, dray_error *error)
{
    DRAY_TRY(drayi_load_select(load, error));
    DRAY_TRY(load_place(load, error));
    DRAY_TRY(drayi_load_survey(load, error));
    DRAY_TRY(drayi_load_device(load, error));
    DRAY_TRY(drayi_choose(&load->survey, load->options.method, &load->choice, error));
    explain_survey(load);
    if (load->choice.way == DRAYI_WAY_COPY)
        DRAY_TRY(drayi_load_copy(load, error));
    else
        DRAY_TRY(drayi_load_views(load, error));
    load->usable_ns = load->env->os->now_ns(); // giving pages back comes after the clock has stopped
    load->usable_cpu_ns = load->env->os->cpu_ns();
    if (load->options.release_source && !load->options.explain_only)
        source_release(load);
    return DRAY_OK;
}

static dray_status load_verified(drayi_load *load, dray_error *error)
{
    if (!load->options.manifest)
        return load_run(load, error);
    drayi_manifest manifest;
    drayi_manifest_init(&manifest, load->env);
    dray_status status = drayi_manifest_load(&manifest, load->options.manifest, error);
    if (status == DRAY_OK)
        status = drayi_manifest_compare(&manifest, load->weights, load->options.manifest, error);
    load->manifest = &manifest;
    if (status == DRAY_OK)
        status = load_run(load, error);
    load->manifest = NULL;
    drayi_manifest_free(&manifest);
    return status;
}

dray_status dray_weights_load(dray_weights *weights, const dray_load_options *given,
                              dray_loaded **out_loaded, dray_error *error)
{
    drayi_env *env = weights->env;
    drayi_load load = {.weights = weights, .env = env};
    int64_t began_ns = env->os->now_ns(), began_cpu_ns = env->os->cpu_ns();
    DRAY_TRY(drayi_options(&load.options, sizeof(load.options), given, "dray_load_options", error));
    DRAY_TRY(options_check(&load.options, error));
    *out_loaded = NULL;
    uint64_t cached_before = drayi_weights_cached(weights);
    dray_status status = load_verified(&load, error);
    if (status == DRAY_OK && load.loaded) {
        dray_load_report *report = &load.loaded->report;
        report->bytes = load.tensor_bytes;
        report->seconds = (double)(load.usable_ns - began_ns) * 1e-9;
        report->cpu_seconds = (double)(load.usable_cpu_ns - began_cpu_ns) * 1e-9;
        report->cache_bytes_before = cached_before;
        report->cache_bytes_after = drayi_weights_cached(weights);
        *out_loaded = load.loaded;
    } else {
        dray_loaded_free(load.loaded);
    }
    drayi_load_free(&load);
    return status;
}
