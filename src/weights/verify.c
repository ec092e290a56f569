/// Manifests written and checked: both read every byte of every tensor once.
///
/// A chunk is hashed by the pool. A tensor of several chunks also has a hash of its own, which no other
/// hash can be put together from, so it is counted on in the order of the file while the next window is
/// being read.
#include "base/checked.h"
#include "weights/load.h"
#include "weights/manifest_file.h"
#include "weights/scan.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/// What writing and checking share: the whole model, cut into chunks.
typedef struct model_scan {
    drayi_load load;         // selects and surveys; units are chunks
    drayi_manifest manifest; // known, or being written
    drayi_hash *found;       // per unit
    dray_region **regions;   // per file
    drayi_hash_state whole;  // of the tensor being read, when it has several chunks
} model_scan;

static void chunk_look(void *self, uint64_t unit, const uint8_t *bytes)
{
    model_scan *work = self;
    work->found[unit] = drayi_hash_of(bytes, work->load.units[unit].bytes);
}

static const dray_tensor *tensor_of(const model_scan *work, uint64_t unit)
{
    const drayi_load *load = &work->load;
    return &load->weights->index.tensors[load->tensors[load->units[unit].tensor]];
}

/// Counts the chunk into its tensor's hash; true: the tensor is complete, and `out` its hash.
static bool whole_add(model_scan *work, uint64_t unit, const uint8_t *bytes, drayi_hash *out)
{
    const drayi_unit *chunk = &work->load.units[unit];
    uint64_t count = drayi_chunks_of(tensor_of(work, unit)->bytes, work->manifest.chunk_bytes);
    if (count <= 1) { // the chunk is the tensor; an empty one was not looked at
        *out = count ? work->found[unit] : drayi_hash_of("", 0);
        return true;
    }
    if (chunk->chunk == 0)
        drayi_hash_start(&work->whole);
    drayi_hash_add(&work->whole, bytes, chunk->bytes);
    if (chunk->chunk + 1 < count)
        return false;
    *out = drayi_hash_end(&work->whole);
    return true;
}

static bool scan_progress(void *self, uint64_t done, uint64_t total)
{
    return drayi_load_progress(&((model_scan *)self)->load, done, total);
}

static dray_status work_build(model_scan *work, dray_error *error)
{
    drayi_load *load = &work->load;
    const dray_weights *weights = load->weights;
    load->manifest = &work->manifest;
    load->options.storage = DRAY_STORAGE_PINNED; // a copy out of the files, whatever is cached
    DRAY_TRY(drayi_load_select(load, error));
    DRAY_TRY(drayi_load_survey(load, error));
    DRAY_TRY(drayi_choose(&load->survey, DRAY_LOAD_AUTO, &load->choice, error));
    drayi_load_explain(load, "method: %s", load->choice.reason);
    work->found = drayi_alloc_array(load->env, load->unit_count, sizeof(*work->found), error);
    work->regions = drayi_alloc_array(load->env, weights->file_count, sizeof(dray_region *), error);
    if (!work->found || !work->regions)
        return DRAY_E_NOMEM;
    for (uint64_t i = 0; i < weights->file_count; i++)
        work->regions[i] = weights->files[i].region;
    return DRAY_OK;
}

static void work_free(model_scan *work)
{
    drayi_env *env = work->load.env;
    drayi_free(env, work->found, (size_t)work->load.unit_count * sizeof(*work->found));
    drayi_free(env, work->regions, (size_t)work->load.weights->file_count * sizeof(dray_region *));
    drayi_load_free(&work->load);
    drayi_manifest_free(&work->manifest);
}

static dray_status work_scan(model_scan *work,
                             dray_status (*take)(void *self, uint64_t unit, const uint8_t *bytes,
                                                 dray_error *error),
                             dray_error *error)
{
    drayi_load *load = &work->load;
    drayi_scan scan = {
        .context = load->weights->context,
        .env = load->env,
        .regions = work->regions,
        .ranges = load->ranges,
        .range_count = load->unit_count,
        .alignment = drayi_load_alignment(load),
        .direct = load->choice.direct,
        .self = work,
        .look = chunk_look,
        .take = take,
        .progress = scan_progress,
    };
    dray_error own;
    dray_status status = drayi_scan_run(&scan, &own);
    if (status == DRAY_OK)
        return drayi_weights_check(load->weights, error);
    dray_error changed;
    if (status != DRAY_E_CANCELLED && !own.rule &&
        drayi_weights_check(load->weights, &changed) == DRAY_E_CORRUPT) {
        own = changed;
        status = DRAY_E_CORRUPT;
    } else if (own.index < load->unit_count && !own.rule) {
        dray_fail_within(&own, status, "tensor %s",
                         drayi_show(tensor_of(work, own.index)->name).text);
    }
    if (error)
        *error = own;
    return status;
}

/// "<first file>.dray", when no path is given.
static dray_status manifest_path(model_scan *work, const char *given, const char **out,
                                 dray_error *error)
{
    const char *first = work->load.weights->files[0].info.path;
    *out = given;
    if (given)
        return DRAY_OK;
    size_t room = strlen(first) + sizeof(".dray");
    char *path = drayi_arena_alloc(&work->manifest.arena, room, error);
    if (!path)
        return DRAY_E_NOMEM;
    snprintf(path, room, "%s.dray", first);
    *out = path;
    return DRAY_OK;
}

// --- writing -------------------------------------------------------------------------------------

static dray_status take_for_writing(void *self, uint64_t unit, const uint8_t *bytes,
                                    dray_error *error)
{
    model_scan *work = self;
    drayi_manifest *manifest = &work->manifest;
    const dray_tensor *tensor = tensor_of(work, unit);
    uint64_t count = drayi_chunks_of(tensor->bytes, manifest->chunk_bytes);
    if (count > 1)
        DRAY_TRY(drayi_manifest_add_chunk(manifest, work->found[unit], error));
    drayi_manifest_tensor entry = {
        .name = tensor->name,
        .file = tensor->file,
        .offset = tensor->offset,
        .bytes = tensor->bytes,
        .chunk_count = count,
        .first_chunk = count > 1 ? manifest->chunk_count - 1 - work->load.units[unit].chunk : 0,
    };
    return whole_add(work, unit, bytes, &entry.whole)
               ? drayi_manifest_add_tensor(manifest, &entry, error)
               : DRAY_OK;
}

static dray_status files_note(model_scan *work, dray_error *error)
{
    const dray_weights *weights = work->load.weights;
    for (uint64_t i = 0; i < weights->file_count; i++) {
        const drayi_model_file *file = &weights->files[i];
        const char *name = drayi_last_component(file->info.path);
        drayi_manifest_file entry = {.name = {.bytes = name, .length = strlen(name)},
                                     .bytes = file->info.bytes,
                                     .head_bytes = file->info.data_offset};
        DRAY_TRY(drayi_file_head_hash(weights, file, &entry.head, error));
        DRAY_TRY(drayi_manifest_add_file(&work->manifest, &entry, error));
    }
    return DRAY_OK;
}

static dray_status write_run(model_scan *work, const dray_manifest_options *options,
                             dray_error *error)
{
    const char *path;
    DRAY_TRY(manifest_path(work, options->path, &path, error));
    DRAY_TRY(work_build(work, error));
    DRAY_TRY(files_note(work, error));
    DRAY_TRY(work_scan(work, take_for_writing, error));
    return drayi_manifest_save(&work->manifest, &work->manifest.arena, path, error);
}

dray_status dray_manifest_write(dray_weights *weights, const dray_manifest_options *given,
                                dray_error *error)
{
    dray_manifest_options options;
    DRAY_TRY(drayi_options(&options, sizeof(options), given, "dray_manifest_options", error));
    uint64_t chunk_bytes = options.chunk_bytes ? options.chunk_bytes : drayi_chunk_default;
    if (chunk_bytes < drayi_chunk_least || chunk_bytes > drayi_chunk_most)
        return dray_fail(error, DRAY_E_INVALID,
                         "manifest: chunks of %" PRIu64 " bytes, %d to %d are possible",
                         chunk_bytes, drayi_chunk_least, drayi_chunk_most);
    model_scan work = {
        .load = {.weights = weights, .env = weights->env, .options = {.events = options.events}}};
    drayi_manifest_init(&work.manifest, weights->env);
    work.manifest.chunk_bytes = chunk_bytes;
    dray_status status = write_run(&work, &options, error);
    work_free(&work);
    return status == DRAY_OK ? DRAY_OK : dray_fail_within(error, status, "manifest");
}

// --- checking ------------------------------------------------------------------------------------

typedef struct verify_work {
    model_scan scan; // first: callbacks get a pointer to it
    const dray_verify_options *options;
    dray_verify_report report;
    bool tensor_bad;  // the tensor being read has a bad chunk already
    dray_error first; // of the bad ones
} verify_work;

/// A bad chunk or tensor: the first one is the error; whether it ends the check is the caller's choice.
static dray_status note_bad(verify_work *work, uint64_t unit, bool whole, dray_error *error)
{
    const drayi_load *load = &work->scan.load;
    const dray_tensor *tensor = tensor_of(&work->scan, unit);
    const drayi_unit *chunk = &load->units[unit];
    const drayi_range *range = &load->ranges[unit];
    dray_error bad;
    if (whole)
        dray_fail_rule(&bad, DRAY_E_CORRUPT, "manifest.tensor", tensor->offset,
                       "tensor %s: its chunks match the manifest, but as a whole it does not",
                       drayi_show(tensor->name).text);
    else
        drayi_load_mismatch(load, unit, &bad);
    if (work->first.status == DRAY_OK)
        work->first = bad;
    if (!work->tensor_bad)
        work->report.tensors_bad++;
    work->tensor_bad = true;
    if (!work->options->bad) {
        if (error)
            *error = bad;
        return DRAY_E_CORRUPT;
    }
    if (!whole)
        work->options->bad(work->options->bad_self, tensor, chunk->chunk, range->offset,
                           range->bytes);
    return DRAY_OK;
}

static dray_status take_for_checking(void *self, uint64_t unit, const uint8_t *bytes,
                                     dray_error *error)
{
    verify_work *work = self;
    model_scan *scan = &work->scan;
    const drayi_unit *chunk = &scan->load.units[unit];
    const drayi_manifest_tensor *known =
        drayi_manifest_find(&scan->manifest, tensor_of(scan, unit)->name);
    drayi_hash whole;
    if (chunk->chunk == 0)
        work->tensor_bad = false;
    bool complete = whole_add(scan, unit, bytes, &whole);
    if (known->chunk_count > 0) {
        work->report.chunks_checked++;
        work->report.bytes += chunk->bytes;
    }
    if (known->chunk_count > 0 &&
        !drayi_hash_equal(scan->found[unit],
                          drayi_manifest_chunk(&scan->manifest, known, chunk->chunk))) {
        work->report.chunks_bad++;
        DRAY_TRY(note_bad(work, unit, false, error));
    }
    if (!complete)
        return DRAY_OK;
    work->report.tensors_checked++;
    if (!work->tensor_bad && !drayi_hash_equal(whole, known->whole))
        DRAY_TRY(note_bad(work, unit, true, error));
    if (!work->tensor_bad)
        drayi_load_tensor_done(&scan->load, chunk->tensor);
    return DRAY_OK;
}

static dray_status verify_run(verify_work *work, dray_error *error)
{
    model_scan *scan = &work->scan;
    const dray_weights *weights = scan->load.weights;
    const char *path;
    work->report.tensors_total = weights->index.tensor_count;
    DRAY_TRY(manifest_path(scan, work->options->manifest, &path, error));
    DRAY_TRY(drayi_manifest_load(&scan->manifest, path, error));
    DRAY_TRY(drayi_manifest_compare(&scan->manifest, weights, path, error));
    if (weights->index.tensor_count == 0)
        return dray_fail(error, DRAY_E_CORRUPT,
                         "0 of 0 tensors checked: there is nothing that could be right");
    DRAY_TRY(work_build(scan, error));
    DRAY_TRY(work_scan(scan, take_for_checking, error));
    if (work->first.status == DRAY_OK)
        return DRAY_OK;
    if (error)
        *error = work->first;
    return DRAY_E_CORRUPT;
}

dray_status dray_weights_verify(dray_weights *weights, const dray_verify_options *given,
                                dray_verify_report *out_report, dray_error *error)
{
    dray_verify_options options;
    int64_t began_ns = weights->env->os->now_ns();
    DRAY_TRY(drayi_options(&options, sizeof(options), given, "dray_verify_options", error));
    verify_work work = {
        .scan = {.load = {.weights = weights,
                          .env = weights->env,
                          .options = {.events = options.events}}},
        .options = &options,
    };
    drayi_manifest_init(&work.scan.manifest, weights->env);
    dray_status status = verify_run(&work, error);
    work.report.seconds = (double)(weights->env->os->now_ns() - began_ns) * 1e-9;
    if (out_report)
        *out_report = work.report;
    work_free(&work.scan);
    return status == DRAY_OK ? DRAY_OK : dray_fail_within(error, status, "verify");
}
