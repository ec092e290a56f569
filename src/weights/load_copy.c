/// The pipeline: a destination that is being faulted in, a plan that fills it, hashes that follow.
///
///     region (on demand) --prefault (pool)--> pages          (of the host; a device's are there)
///     pieces -> copies -> plan -> transfer --copy_done--> track --hash (pool)--> tensor_done
///
/// All of them run at once; the loading thread only submits, takes in completions and sleeps.
#include "base/checked.h"
#include "weights/load.h"
#include "weights/load_track.h"
#include "weights/loaded.h"
#include "weights/prefault.h"
#include "weights/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const uint64_t staging_default = 32 << 20;
enum { advice_dontneed = POSIX_FADV_DONTNEED };

typedef struct copy_work {
    drayi_load *load;
    dray_region *destination;
    bool file_made;        // a DISK destination that has to go again on failure
    dray_agent *own_agent; // NULL: the caller's is used
    dray_agent *agent;
    dray_plan *plan;
    dray_transfer *transfer;
    drayi_track track;
    drayi_prefault prefault;
    uint64_t staging_bytes;
    bool wants_stop; // the caller's progress said no
} copy_work;

// --- destination ---------------------------------------------------------------------------------

/// Of the host's memory.
static uint64_t destination_least(const drayi_load *load)
{
    uint64_t phase = load->options.device ? load->placement.phase : 0;
    return drayi_load_in_host_memory(load) ? load->survey.destination_bytes + phase : 0;
}

/// What is verified by reading it back goes through two windows, each of which has to hold the largest chunk.
static uint64_t read_back_least(const drayi_load *load)
{
    uint64_t largest = 0;
    if (!load->manifest || !drayi_load_reads_back(load))
        return 0;
    for (uint64_t i = 0; i < load->unit_count; i++)
        largest = drayi_max(largest, load->units[i].bytes);
    return 2 * (largest + 2 * load->alignment);
}

/// What the limit leaves beside the destination and `more`; at least 1, as 0 means "no limit" to others.
static uint64_t limit_left(const drayi_load *load, uint64_t more)
{
    uint64_t limit = load->survey.memory_limit, taken = destination_least(load) + more;
    return limit > taken ? limit - taken : 1;
}

/// What reading back may take of the memory limit beside `staging_bytes`, per window; 0: no limit.
static uint64_t read_back_window(const drayi_load *load, uint64_t staging_bytes)
{
    if (!load->survey.memory_limit)
        return 0;
    uint64_t each = limit_left(load, staging_bytes) / 2;
    return each > load->alignment ? each - load->alignment : 1;
}

static dray_status limit_check(const drayi_load *load, uint64_t staging_bytes, dray_error *error)
{
    const drayi_survey *survey = &load->survey;
    uint64_t destination = destination_least(load), wanted;
    staging_bytes += read_back_least(load);
    if (!drayi_add(destination, staging_bytes, &wanted))
        wanted = UINT64_MAX;
    if (survey->memory_limit && wanted > survey->memory_limit)
        return dray_fail(error, DRAY_E_NOSPACE,
                         "load: %" PRIu64 " bytes of memory are needed (%" PRIu64
                         " for the tensors, %" PRIu64 " for staging), the limit is %" PRIu64
                         "; load fewer tensors or raise it",
                         wanted, destination, staging_bytes, survey->memory_limit);
    if (survey->available_bytes != DRAY_UNKNOWN && wanted > survey->available_bytes)
        return dray_fail(
            error, DRAY_E_NOMEM,
            "load: %" PRIu64 " bytes of memory are needed, %" PRIu64 " are available%s; load fewer "
            "tensors, or map the file instead (storage system, method mapped)",
            wanted, survey->available_bytes, survey->limited_by_cgroup ? " in this cgroup" : "");
    return DRAY_OK;
}

static dray_status disk_create(copy_work *work, dray_error *error)
{
    const drayi_load *load = work->load;
    dray_file_options options = {.struct_bytes = sizeof(options),
                                 .writable = 1,
                                 .create = 1,
                                 .bytes = load->placement.phase + load->placement.bytes};
    DRAY_TRY(dray_region_open(load->weights->context, load->options.disk_path, &options,
                              &work->destination, error));
    work->file_made = true;
    return DRAY_OK;
}

static dray_status device_create(copy_work *work, dray_error *error)
{
    const drayi_load *load = work->load;
    dray_region_options options = {
        .struct_bytes = sizeof(options),
        .storage = load->options.storage,
        .bytes = drayi_max(load->placement.phase + load->placement.bytes, 1),
        .device = load->options.device,
    };
    return dray_region_create(load->weights->context, &options, &work->destination, error);
}

static dray_status destination_create(copy_work *work, uint64_t alignment, dray_error *error)
{
    const drayi_load *load = work->load;
    if (load->options.storage == DRAY_STORAGE_DISK)
        return disk_create(work, error);
    if (load->options.device)
        return device_create(work, error);
    dray_region_options options = {
        .struct_bytes = sizeof(options),
        .storage = load->options.storage,
        .bytes =
            drayi_max(load->placement.bytes, 1), // only empty tensors: they still have an address
        .alignment = alignment,
        .phase = load->placement.phase,
        .on_demand = 1,
    };
    return dray_region_create(load->weights->context, &options, &work->destination, error);
}

/// A file and a device's memory have no phase: their tensors begin that much later instead.
static uint64_t target_base(const drayi_load *load)
{
    bool no_phase = load->options.storage == DRAY_STORAGE_DISK || load->options.device;
    return no_phase ? load->placement.phase : 0;
}

// --- plan ----------------------------------------------------------------------------------------

static void copies_fill(const copy_work *work, dray_copy *copies)
{
    const drayi_load *load = work->load;
    for (uint64_t i = 0; i < load->placement.piece_count; i++) {
        const drayi_piece *piece = &load->placement.pieces[i];
        copies[i] = (dray_copy){
            .source = load->weights->files[piece->file].region,
            .target = work->destination,
            .source_offset = piece->file_offset,
            .target_offset = target_base(load) + piece->target_offset,
            .run_bytes = piece->bytes,
        };
    }
}

static dray_status plan_make(copy_work *work, dray_error *error)
{
    const drayi_load *load = work->load;
    uint64_t count = load->placement.piece_count;
    dray_copy *copies = drayi_alloc_array(load->env, count, sizeof(*copies), error);
    if (!copies)
        return DRAY_E_NOMEM;
    copies_fill(work, copies);
    dray_plan_options options = {
        .struct_bytes = sizeof(options),
        .direct = load->choice.direct,
        .targets_disjoint = 1,
        .staging_device = drayi_load_staging_device(load),
    };
    if (load->survey.memory_limit) // leave staging what the destination leaves
        options.staging_bytes = drayi_min(staging_default, limit_left(load, read_back_least(load)));
    dray_status status = dray_plan_create(work->agent, copies, count, &options, &work->plan, error);
    drayi_free(load->env, copies, (size_t)count * sizeof(*copies));
    return status;
}

static void explain_line(void *self, const char *text, size_t bytes)
{
    drayi_load_explain(self, "%.*s", (int)(bytes && text[bytes - 1] == '\n' ? bytes - 1 : bytes),
                       text);
}

static dray_status agent_make(copy_work *work, dray_error *error)
{
    work->agent = work->load->options.agent;
    if (work->agent)
        return DRAY_OK;
    // Drivers are loaded for those who name them: naming one names the rest, too.
    const char *const with_device[] = {"posix", work->load->device.backend, NULL};
    dray_agent_options options = {.struct_bytes = sizeof(options),
                                  .name = "load",
                                  .backends = work->load->options.device ? with_device : NULL};
    DRAY_TRY(dray_agent_create(work->load->weights->context, &options, &work->own_agent, error));
    work->agent = work->own_agent;
    return DRAY_OK;
}

// --- running -------------------------------------------------------------------------------------

/// The page cache behind a piece that has arrived is nobody's any more.
static void piece_release(const drayi_load *load, const drayi_piece *piece)
{
    const drayi_model_file *file = &load->weights->files[piece->file];
    if (file->keeper)
        return;
    dray_region_native native;
    dray_region_get_native(file->region, &native);
    load->env->os->advise_file(native.fd, native.file_offset + piece->file_offset, piece->bytes,
                               advice_dontneed);
}

static void on_copy_done(void *self, uint64_t copy_index)
{
    copy_work *work = self;
    drayi_track_piece_done(&work->track, copy_index);
    if (work->load->options.release_source && work->load->choice.direct == DRAY_DIRECT_NEVER)
        piece_release(work->load, &work->load->placement.pieces[copy_index]);
}

static void on_progress(void *self, const dray_transfer_progress *progress)
{
    copy_work *work = self;
    if (!drayi_load_progress(work->load, progress->bytes_done, progress->bytes_total))
        work->wants_stop = true;
}

/// Sleeps until the transfer has news.
static dray_status transfer_sleep(copy_work *work)
{
    const drayi_os *os = work->load->env->os;
    int fd;
    dray_status armed = dray_transfer_arm(work->transfer, &fd, NULL);
    if (armed == DRAY_OK)
        os->wait_fd(fd, -1);       // interrupted: poll finds nothing, and we come back
    else if (armed != DRAY_E_BUSY) // somebody has to poll: let the agent decide how
        dray_transfer_wait(work->transfer, os->now_ns() + 1000000, NULL);
    return DRAY_OK;
}

static dray_status transfer_run(copy_work *work, dray_error *error)
{
    DRAY_TRY(dray_transfer_submit(work->transfer, error));
    for (bool done = false;;) {
        DRAY_TRY(dray_transfer_poll(work->transfer, &done, error));
        DRAY_TRY(drayi_track_drain(&work->track, error));
        if (work->wants_stop)
            return dray_fail(error, DRAY_E_CANCELLED, "load: stopped by the caller");
        if (done)
            return drayi_track_finish(&work->track, error);
        transfer_sleep(work);
    }
}

/// A failed read is told as what it means: the tensor that it hit, or the file that was cut short.
static dray_status run_failed(const copy_work *work, dray_status status, dray_error *error)
{
    const drayi_load *load = work->load;
    if (status == DRAY_E_CANCELLED || (error && error->rule))
        return status;
    dray_error changed;
    if (drayi_weights_check(load->weights, &changed) == DRAY_E_CORRUPT) {
        if (error)
            *error = changed;
        return DRAY_E_CORRUPT;
    }
    if (!error || error->index >= load->placement.piece_count)
        return status;
    const drayi_piece *piece = &load->placement.pieces[error->index];
    if (piece->range_count == 0)
        return status;
    uint64_t position = load->units[piece->first_range].tensor;
    const dray_tensor *tensor = &load->weights->index.tensors[load->tensors[position]];
    return dray_fail_within(error, status, "tensor %s", drayi_show(tensor->name).text);
}

static dray_status transfer_make(copy_work *work, dray_error *error)
{
    drayi_load *load = work->load;
    dray_transfer_options options = {.struct_bytes = sizeof(options),
                                     .self = work,
                                     .copy_done = on_copy_done,
                                     .progress = on_progress};
    DRAY_TRY(dray_transfer_create(work->agent, work->plan, &options, &work->transfer, error));
    const uint8_t *pointer = dray_region_pointer(work->destination);
    bool here = pointer && !drayi_load_reads_back(load);
    return drayi_track_init(&work->track, load, here ? pointer + target_base(load) : NULL, error);
}

// --- a destination that is read back ----------------------------------------------------------------

typedef struct read_back {
    copy_work *work;
    drayi_hash *found;   // per unit
    drayi_range *ranges; // per unit, in the destination
} read_back;

static void read_back_look(void *self, uint64_t unit, const uint8_t *bytes)
{
    read_back *back = self;
    back->found[unit] = drayi_hash_of(bytes, back->ranges[unit].bytes);
}

static dray_status read_back_take(void *self, uint64_t unit, const uint8_t *bytes, dray_error *error)
{
    (void)bytes;
    read_back *back = self;
    const drayi_load *load = back->work->load;
    if (back->ranges[unit].bytes == 0)
        return DRAY_OK;
    if (!drayi_hash_equal(back->found[unit], drayi_load_expected(load, unit)))
        return drayi_load_mismatch(load, unit, error);
    drayi_track_unit_checked(&back->work->track, (uint32_t)unit);
    return DRAY_OK;
}

static dray_status read_back_run(read_back *back, dray_error *error)
{
    const copy_work *work = back->work;
    const drayi_load *load = work->load;
    for (uint64_t i = 0; i < load->unit_count; i++)
        back->ranges[i] =
            (drayi_range){.offset = target_base(load) + load->placement.placed[i].target_offset,
                          .bytes = load->units[i].bytes};
    drayi_scan scan = {
        .context = load->weights->context,
        .env = load->env,
        .agent = work->agent,
        .regions = &work->destination,
        .ranges = back->ranges,
        .range_count = load->unit_count,
        .alignment = load->alignment,
        .window_bytes_most = read_back_window(load, work->staging_bytes),
        .direct = load->choice.direct == DRAY_DIRECT_NEVER ? DRAY_DIRECT_NEVER : DRAY_DIRECT_AUTO,
        .self = back,
        .look = read_back_look,
        .take = read_back_take,
    };
    return drayi_scan_run(&scan, error);
}

/// What a file or a device holds is known only when it was read back.
static dray_status read_back_verify(copy_work *work, dray_error *error)
{
    drayi_load *load = work->load;
    read_back back = {.work = work};
    back.found = drayi_alloc_array(load->env, load->unit_count, sizeof(*back.found), error);
    back.ranges = drayi_alloc_array(load->env, load->unit_count, sizeof(*back.ranges), error);
    dray_status status = back.found && back.ranges ? read_back_run(&back, error) : DRAY_E_NOMEM;
    drayi_free(load->env, back.found, (size_t)load->unit_count * sizeof(*back.found));
    drayi_free(load->env, back.ranges, (size_t)load->unit_count * sizeof(*back.ranges));
    return status == DRAY_OK ? DRAY_OK
                             : dray_fail_within(error, status, "read back %s",
                                                dray_region_name(work->destination));
}

/// A file is done when it is on the disk, not when the kernel means to bring it there.
static dray_status disk_sync(const copy_work *work, dray_error *error)
{
    const drayi_load *load = work->load;
    dray_region_native native;
    dray_region_get_native(work->destination, &native);
    int code;
    do
        code = load->env->os->sync(native.fd);
    while (code == -EINTR);
    if (code < 0)
        return dray_fail_os(error, -code, "fdatasync", "write %s", load->options.disk_path);
    return DRAY_OK;
}

static void report_fill(copy_work *work)
{
    const drayi_load *load = work->load;
    dray_loaded *loaded = load->loaded;
    dray_plan_summary summary;
    dray_plan_summarize(work->plan, &summary);
    loaded->report.read_bytes = load->survey.in_memory ? 0 : load->placement.read_bytes;
    loaded->report.destination_bytes = dray_region_bytes(work->destination);
    loaded->report.staging_bytes = summary.staging_bytes;
    loaded->report.chunks_verified = work->track.verified;
    const char *method = load->survey.in_memory                  ? "memory"
                         : summary.direct_bytes == 0             ? "buffered"
                         : summary.direct_bytes == summary.bytes ? "direct"
                                                                 : "direct+buffered";
    dray_plan_describe(work->agent, work->plan, loaded->backend, sizeof(loaded->backend));
    snprintf(loaded->method, sizeof(loaded->method), "%s", method);
}

static dray_status loaded_fill(copy_work *work, dray_error *error)
{
    drayi_load *load = work->load;
    DRAY_TRY(drayi_loaded_create(load->weights, load->tensor_count, 1, &load->loaded, error));
    report_fill(work);
    // A reference of its own: the transfer, which ends later, still needs ours.
    DRAY_TRY(drayi_keeper_of_region(load->env, dray_region_retain(work->destination),
                                    &load->loaded->keepers[0], error));
    for (uint64_t i = 0; i < load->unit_count; i++) {
        const drayi_unit *unit = &load->units[i];
        if (unit->chunk == 0)
            load->loaded->tensors[unit->tensor] = (drayi_loaded_tensor){
                .index = load->tensors[unit->tensor],
                .keeper = load->loaded->keepers[0],
                .offset = target_base(load) + load->placement.placed[i].target_offset,
            };
    }
    work->file_made = false; // it stays
    return DRAY_OK;
}

static dray_status work_prepare(copy_work *work, uint64_t alignment, dray_error *error)
{
    drayi_load *load = work->load;
    DRAY_TRY(limit_check(load, 0, error));
    if (load->options.explain_only && load->options.storage == DRAY_STORAGE_DISK) {
        drayi_load_explain(load, "plan: made when %s is", load->options.disk_path);
        return DRAY_OK;
    }
    DRAY_TRY(agent_make(work, error));
    DRAY_TRY(destination_create(work, alignment, error));
    if (!load->options.explain_only && !load->options.device)
        drayi_prefault_start(&work->prefault, load->env, work->destination);
    DRAY_TRY(plan_make(work, error));
    dray_plan_summary summary;
    dray_plan_summarize(work->plan, &summary);
    work->staging_bytes = summary.staging_bytes;
    DRAY_TRY(limit_check(load, work->staging_bytes, error));
    if (load->options.events.explain)
        dray_plan_print(work->plan, 0, explain_line, load);
    return DRAY_OK;
}

static dray_status work_run(copy_work *work, dray_error *error)
{
    DRAY_TRY(transfer_make(work, error));
    dray_status status = transfer_run(work, error);
    if (status != DRAY_OK)
        return run_failed(work, status, error);
    drayi_prefault_stop(&work->prefault);
    DRAY_TRY(drayi_weights_check(work->load->weights, error));
    if (work->load->options.storage == DRAY_STORAGE_DISK)
        DRAY_TRY(disk_sync(work, error));
    if (work->load->manifest && drayi_load_reads_back(work->load))
        DRAY_TRY(read_back_verify(work, error));
    return loaded_fill(work, error);
}

static void work_free(copy_work *work)
{
    dray_transfer_destroy(work->transfer); // waits for what is in flight
    drayi_prefault_stop(&work->prefault);
    drayi_track_free(&work->track);
    dray_plan_destroy(work->plan);
    dray_agent_destroy(work->own_agent);
    dray_region_release(work->destination);
    if (work->file_made)
        work->load->env->os->unlink(work->load->options.disk_path);
}

dray_status drayi_load_copy(drayi_load *load, dray_error *error)
{
    copy_work work = {.load = load};
    dray_status status = work_prepare(&work, load->alignment, error);
    if (status == DRAY_OK && !load->options.explain_only)
        status = work_run(&work, error);
    work_free(&work);
    return status;
}
