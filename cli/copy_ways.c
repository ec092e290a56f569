/// The bytes of `dray copy` on their way: straight, or in windows through a third place. See copy_job.h.
#include "copy_job.h"
#include "text.h"
#include <dray/spi/region.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { look_every_ns = 100000000 };
static const uint64_t window_staging = 8 << 20; // of each way: small beside a window

static void way_end(copy_way *way)
{
    dray_transfer_destroy(way->transfer); // waits for what is in flight
    dray_plan_destroy(way->plan);
    *way = (copy_way){0};
}

static dray_status way_plan(copy_job *job, copy_way *way, const dray_copy *copy)
{
    way_end(way);
    dray_plan_options options = {.struct_bytes = sizeof(options),
                                 .staging_bytes = job->window_bytes ? window_staging : 0,
                                 .staging_device = job->staging_device};
    return dray_plan_create(job->agent, copy, 1, &options, &way->plan, &job->base.error);
}

static dray_status way_start(copy_job *job, copy_way *way)
{
    dray_error *error = &job->base.error;
    dray_status status = dray_transfer_create(job->agent, way->plan, NULL, &way->transfer, error);
    return status == DRAY_OK ? dray_transfer_submit(way->transfer, error) : status;
}

/// Waits for the end of one way; the others of the agent go on meanwhile. `counts`: its bytes arrive.
static dray_status way_wait(copy_job *job, copy_way *way, bool counts)
{
    struct timespec now;
    dray_transfer_progress now_done = {0};
    if (!way->transfer)
        return DRAY_OK;
    for (;;) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        int64_t deadline = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec + look_every_ns;
        dray_status status = dray_transfer_wait(way->transfer, deadline, &job->base.error);
        dray_transfer_get_progress(way->transfer, &now_done);
        uint64_t done = job->bytes_done + (counts ? now_done.bytes_done : 0);
        if (status != DRAY_OK && status != DRAY_E_TIMEOUT)
            return status;
        if (!progress_update(&job->bar, done, job->bytes))
            return dray_fail(&job->base.error, DRAY_E_CANCELLED,
                             "stopped with %" PRIu64 " of %" PRIu64 " bytes copied", done,
                             job->bytes);
        if (status == DRAY_OK)
            break;
    }
    if (counts)
        job->bytes_done += now_done.bytes_done;
    way_end(way);
    return DRAY_OK;
}

dray_status copy_run_once(copy_job *job, const dray_copy *copy)
{
    copy_way way = {0};
    dray_status status = way_plan(job, &way, copy);
    if (status == DRAY_OK)
        status = way_start(job, &way);
    if (status == DRAY_OK)
        status = dray_transfer_wait(way.transfer, -1, &job->base.error);
    way_end(&way);
    return status;
}

// --- what is told ----------------------------------------------------------------------------------

static void reason_add(copy_job *job, const char *text, size_t length)
{
    if (!job->given->explain)
        return;
    job->reasons = text_memory(job->reasons, (job->reason_count + 1) * sizeof(*job->reasons));
    job->reasons[job->reason_count++] = text_safe(text, length);
}

static void on_plan_line(void *self, const char *text, size_t bytes)
{
    reason_add(self, text, bytes && text[bytes - 1] == '\n' ? bytes - 1 : bytes);
}

/// Takes up what a plan says of itself, once per way.
static void plan_tell(copy_job *job, const dray_plan *plan)
{
    dray_plan_summary summary;
    dray_plan_summarize(plan, &summary);
    job->staging_bytes += summary.staging_bytes;
    dray_plan_print(plan, 0, on_plan_line, job);
    char backend[sizeof(job->backend)];
    dray_plan_describe(job->agent, plan, backend, sizeof(backend));
    size_t used = strlen(job->backend);
    if (!strstr(job->backend, backend))
        snprintf(job->backend + used, sizeof(job->backend) - used, "%s%s", used ? " + " : "",
                 backend);
}

// --- copying ---------------------------------------------------------------------------------------

static dray_status copy_straight(copy_job *job)
{
    const dray_copy copy = {
        .source = job->source.region, .target = job->target.region, .run_bytes = job->bytes};
    dray_status status = way_plan(job, &job->straight, &copy);
    if (status != DRAY_OK)
        return status;
    plan_tell(job, job->straight.plan);
    status = way_start(job, &job->straight);
    return status == DRAY_OK ? way_wait(job, &job->straight, true) : status;
}

static uint64_t turn_bytes(const copy_job *job, uint64_t turn)
{
    uint64_t left = job->bytes - turn * job->window_bytes;
    return left < job->window_bytes ? left : job->window_bytes;
}

static dray_status turn_in(copy_job *job, uint64_t turn)
{
    copy_window *window = &job->windows[turn % COPY_WINDOWS];
    const dray_copy copy = {.source = job->source.region,
                            .target = window->region,
                            .source_offset = turn * job->window_bytes,
                            .run_bytes = turn_bytes(job, turn)};
    dray_status status = way_plan(job, &window->in, &copy);
    if (status != DRAY_OK)
        return status;
    if (turn == 0)
        plan_tell(job, window->in.plan);
    return way_start(job, &window->in);
}

static dray_status turn_out(copy_job *job, uint64_t turn)
{
    copy_window *window = &job->windows[turn % COPY_WINDOWS];
    const dray_copy copy = {.source = window->region,
                            .target = job->target.region,
                            .target_offset = turn * job->window_bytes,
                            .run_bytes = turn_bytes(job, turn)};
    dray_status status = way_plan(job, &window->out, &copy);
    if (status != DRAY_OK)
        return status;
    if (turn == 0)
        plan_tell(job, window->out.plan);
    return way_start(job, &window->out);
}

/// Fills the window of the next turn while that of this one is emptied.
static dray_status turn_run(copy_job *job, uint64_t turn, uint64_t turns)
{
    copy_window *own = &job->windows[turn % COPY_WINDOWS];
    copy_window *other = &job->windows[(turn + 1) % COPY_WINDOWS];
    dray_status status = way_wait(job, &own->in, false);
    if (status == DRAY_OK)
        status = turn_out(job, turn);
    if (status == DRAY_OK)
        status = way_wait(job, &other->out, true); // of the turn before
    if (status == DRAY_OK && turn + 1 < turns)
        status = turn_in(job, turn + 1);
    return status;
}

static dray_status windows_make(copy_job *job)
{
    char name[LOCATION_TEXT_BYTES], line[160];
    job->window_bytes = job->bytes < COPY_WINDOW_BYTES_MOST ? job->bytes : COPY_WINDOW_BYTES_MOST;
    uint64_t turns = (job->bytes - 1) / job->window_bytes + 1;
    uint64_t count = turns < COPY_WINDOWS ? turns : COPY_WINDOWS;
    for (uint64_t i = 0; i < count; i++) {
        dray_status status = copy_memory_make(job, &job->given->via, job->via_device,
                                              job->window_bytes, &job->windows[i].region);
        if (status != DRAY_OK)
            return status;
    }
    snprintf(line, sizeof(line),
             "via: %" PRIu64 " window%s of %" PRIu64 " bytes of %s, %" PRIu64
             " turn%s; what follows is the first",
             count, count == 1 ? "" : "s", job->window_bytes,
             location_words(&job->given->via, name), turns, turns == 1 ? "" : "s");
    reason_add(job, line, strlen(line));
    return DRAY_OK;
}

static dray_status copy_through(copy_job *job)
{
    dray_status status = windows_make(job);
    uint64_t turns = status == DRAY_OK ? (job->bytes - 1) / job->window_bytes + 1 : 0;
    if (status == DRAY_OK)
        status = turn_in(job, 0);
    for (uint64_t turn = 0; turn < turns && status == DRAY_OK; turn++)
        status = turn_run(job, turn, turns);
    for (size_t i = 0; i < COPY_WINDOWS && status == DRAY_OK; i++)
        status = way_wait(job, &job->windows[i].out, true);
    return status;
}

/// A file is done when it is on the disk. Its pages leave the page cache, so that it is read from there.
static dray_status target_finish(copy_job *job)
{
    dray_region_native native;
    if (job->target.at.storage != DRAY_STORAGE_DISK)
        return DRAY_OK;
    dray_region_get_native(job->target.region, &native);
    if (fdatasync(native.fd) != 0)
        return dray_fail_os(&job->base.error, errno, "fdatasync", "write %s", job->target.at.path);
    if (job->given->verify)
        posix_fadvise(native.fd, 0, 0, POSIX_FADV_DONTNEED);
    return DRAY_OK;
}

dray_status copy_bytes(copy_job *job)
{
    progress_begin(&job->bar, "copying");
    double began = session_seconds(&job->base), cpu = session_cpu_seconds(&job->base);
    dray_status status = job->given->via.storage ? copy_through(job) : copy_straight(job);
    if (status == DRAY_OK)
        status = target_finish(job);
    job->seconds = session_seconds(&job->base) - began;
    job->cpu_seconds = session_cpu_seconds(&job->base) - cpu;
    progress_end(&job->bar);
    return status;
}

static dray_status end_digest(copy_job *job, copy_end *end)
{
    const dray_span span = {.region = end->region, .bytes = job->bytes};
    if (end->at.storage == DRAY_STORAGE_REMOTE)
        return dray_agent_digest(job->base.context, job->agent, &span, DRAY_DIGEST_XXH3_128,
                                 end->digest, &job->base.error);
    return dray_span_digest(job->base.context, &span, DRAY_DIGEST_XXH3_128, end->digest,
                            &job->base.error);
}

dray_status copy_verify(copy_job *job)
{
    dray_status status = end_digest(job, &job->source);
    if (status == DRAY_OK)
        status = end_digest(job, &job->target);
    if (status == DRAY_OK && strcmp(job->source.digest, job->target.digest) != 0)
        status = dray_fail(&job->base.error, DRAY_E_CORRUPT,
                           "the target's bytes are not those of the source: XXH3-128 %s, wanted %s",
                           job->target.digest, job->source.digest);
    return status;
}

void copy_ways_end(copy_job *job)
{
    for (size_t i = 0; i < COPY_WINDOWS; i++) {
        way_end(&job->windows[i].in);
        way_end(&job->windows[i].out);
        dray_region_release(job->windows[i].region);
    }
    way_end(&job->straight);
}
