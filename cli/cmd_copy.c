/// dray copy: bytes from one location to another, straight or through a third, and a report of how.
///
/// Through a third place two windows take turns: while one is being filled from the source, the other is
/// emptied into the target.
#include "command.h"
#include "json_out.h"
#include "location.h"
#include "progress.h"
#include "secret.h"
#include "table.h"
#include "terminal.h"
#include "text.h"
#include <dray/spi/region.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { window_count = 2, look_every_ns = 100000000 };
static const uint64_t window_bytes_most = 64 << 20;
static const uint64_t window_staging = 8 << 20; // of each way: small beside a window

typedef struct copy_values {
    const char *source, *target;
    uint64_t bytes;
    location via;
    option_number threads;
    const char *secret_file;
    bool replace, verify, explain, json;
} copy_values;

/// One side of the copy.
typedef struct copy_end {
    location at;
    dray_device *device; // or NULL
    dray_region *region;
    bool made; // a file that has to go again when the copy fails
    char digest[65];
} copy_end;

/// A way that was planned, and the transfer that runs it.
typedef struct copy_way {
    dray_plan *plan;
    dray_transfer *transfer;
} copy_way;

typedef struct copy_window {
    dray_region *region;
    copy_way in, out;
} copy_window;

typedef struct copy_job {
    session base;
    const copy_values *given;
    progress bar;
    copy_end source, target;
    dray_device *via_device;
    secret secret;
    dray_device *staging_device; // whose driver locks the staging; NULL: nobody's
    dray_agent *agent;
    copy_way straight;
    copy_window windows[window_count];
    uint64_t window_bytes; // 0: no windows
    uint64_t bytes, bytes_done;
    uint64_t staging_bytes;
    double seconds, cpu_seconds;
    char backend[160];
    char **reasons; // of --explain
    size_t reason_count;
} copy_job;

// --- places ----------------------------------------------------------------------------------------

static bool parse_via(const char *text, void *field, option_problem *problem)
{
    location *via = field;
    bool memory = location_parse(text, via) && via->storage != DRAY_STORAGE_DISK &&
                  via->storage != DRAY_STORAGE_NULL && via->storage != DRAY_STORAGE_REMOTE;
    return memory || option_wrong(problem, "wanted system, pinned, or a device like opencl:0");
}

static bool end_parse(const char *name, const char *text, location *out, option_problem *problem)
{
    if (location_parse(text, out) && out->storage != DRAY_STORAGE_NULL)
        return true;
    char *safe = text_safe_start(text, strlen(text), 64);
    option_wrong(problem,
                 "%s is \"%s\"; wanted system, pinned, disk:PATH, agent://HOST:PORT/REGION, or a "
                 "device like opencl:0 or cuda:0 (dray devices lists them)",
                 name, safe);
    free(safe);
    return false;
}

/// Fresh memory is as large as it is made; files and peers' regions are there already.
static bool has_size(const location *at)
{
    return at->storage == DRAY_STORAGE_DISK || at->storage == DRAY_STORAGE_REMOTE;
}

static bool copy_check(const void *values, option_problem *problem)
{
    const copy_values *given = values;
    location source, target;
    if (!end_parse("SRC", given->source, &source, problem) ||
        !end_parse("DST", given->target, &target, problem))
        return false;
    if (!has_size(&source) && given->bytes == 0)
        return option_wrong(problem, "SRC is memory, which has no size of its own: --bytes SIZE");
    if (given->replace && target.storage != DRAY_STORAGE_DISK)
        return option_wrong(problem, "--replace is about files, and DST is none");
    if (given->secret_file && source.storage != DRAY_STORAGE_REMOTE &&
        target.storage != DRAY_STORAGE_REMOTE)
        return option_wrong(problem,
                            "--secret-file is about agents, and neither SRC nor DST is one");
    return true;
}

/// Fresh memory of that kind.
static dray_status memory_make(copy_job *job, const location *at, dray_device *device,
                               uint64_t bytes, dray_region **out)
{
    dray_region_options options = {
        .struct_bytes = sizeof(options), .storage = at->storage, .bytes = bytes, .device = device};
    return dray_region_create(job->base.context, &options, out, &job->base.error);
}

/// Asks the agent there for its regions, and opens the one that is meant.
static dray_status remote_open(copy_job *job, copy_end *end)
{
    dray_error *error = &job->base.error;
    dray_connect_options options = {.struct_bytes = sizeof(options),
                                    .secret = secret_bytes(&job->secret),
                                    .secret_bytes = job->secret.count};
    dray_peer *peer;
    dray_status status = dray_agent_connect(job->agent, end->at.address, &options, &peer, error);
    return status == DRAY_OK ? dray_peer_open(peer, end->at.region, &end->region, error) : status;
}

/// Opens what is there already, and tells how much of it is wanted.
static dray_status source_open(copy_job *job)
{
    dray_error *error = &job->base.error;
    bool disk = job->source.at.storage == DRAY_STORAGE_DISK;
    const char *name = disk ? job->source.at.path : job->source.at.region;
    dray_status status = disk ? dray_region_open(job->base.context, job->source.at.path, NULL,
                                                 &job->source.region, error)
                              : remote_open(job, &job->source);
    if (status != DRAY_OK)
        return status;
    uint64_t there = dray_region_bytes(job->source.region);
    job->bytes = job->given->bytes ? job->given->bytes : there;
    if (job->bytes > there)
        return dray_fail(error, DRAY_E_INVALID, "%s has %" PRIu64 " bytes, --bytes wants %" PRIu64,
                         name, there, job->bytes);
    if (job->bytes == 0)
        return dray_fail(error, DRAY_E_INVALID, "%s is empty: there is nothing to copy", name);
    return DRAY_OK;
}

static dray_status target_remote_open(copy_job *job)
{
    dray_status status = remote_open(job, &job->target);
    if (status != DRAY_OK)
        return status;
    uint64_t room = dray_region_bytes(job->target.region);
    if (room < job->bytes)
        return dray_fail(&job->base.error, DRAY_E_NOSPACE,
                         "%s has %" PRIu64 " bytes, %" PRIu64 " are to be copied",
                         job->target.at.region, room, job->bytes);
    return DRAY_OK;
}

/// Opening the target truncates it: it must not be the source under another name.
static dray_status not_the_source(copy_job *job)
{
    struct stat source, target;
    dray_region_native native;
    if (job->source.at.storage != DRAY_STORAGE_DISK || stat(job->target.at.path, &target) != 0)
        return DRAY_OK;
    dray_region_get_native(job->source.region, &native);
    if (fstat(native.fd, &source) != 0)
        return dray_fail_os(&job->base.error, errno, "fstat", "look at %s", job->source.at.path);
    if (source.st_dev == target.st_dev && source.st_ino == target.st_ino)
        return dray_fail(&job->base.error, DRAY_E_INVALID, "%s and %s are one and the same file",
                         job->source.at.path, job->target.at.path);
    return DRAY_OK;
}

static dray_status target_file_open(copy_job *job)
{
    dray_status status = not_the_source(job);
    if (status != DRAY_OK)
        return status;
    bool was_there = access(job->target.at.path, F_OK) == 0;
    dray_file_options options = {.struct_bytes = sizeof(options),
                                 .writable = 1,
                                 .create = 1,
                                 .replace = job->given->replace,
                                 .bytes = job->bytes};
    status = dray_region_open(job->base.context, job->target.at.path, &options, &job->target.region,
                              &job->base.error);
    job->target.made = status == DRAY_OK && !was_there;
    return status;
}

/// A pattern in which every eight bytes tell their place: bytes that went astray are found out.
static void pattern_fill(uint8_t *bytes, uint64_t count, uint64_t from)
{
    for (uint64_t i = 0; i < count; i++) {
        uint64_t at = (from + i) / 8, mixed = (at + 1) * UINT64_C(0x9e3779b97f4a7c15);
        mixed ^= mixed >> 29;
        bytes[i] = (uint8_t)(mixed >> (from + i) % 8 * 8);
    }
}

static dray_status run_once(copy_job *job, const dray_copy *copy);

/// Memory as a source holds nothing yet: it is given something, through ordinary memory on a device.
static dray_status source_fill(copy_job *job)
{
    dray_status status = DRAY_OK;
    if (!job->source.device) {
        pattern_fill(dray_region_pointer(job->source.region), job->bytes, 0);
        return DRAY_OK;
    }
    location host = {.storage = DRAY_STORAGE_SYSTEM};
    dray_region *piece;
    uint64_t most = job->bytes < window_bytes_most ? job->bytes : window_bytes_most, count;
    status = memory_make(job, &host, NULL, most, &piece);
    if (status != DRAY_OK)
        return status;
    for (uint64_t at = 0; at < job->bytes && status == DRAY_OK; at += count) {
        count = job->bytes - at < most ? job->bytes - at : most;
        pattern_fill(dray_region_pointer(piece), count, at);
        status = run_once(job, &(dray_copy){.source = piece,
                                            .target = job->source.region,
                                            .target_offset = at,
                                            .run_bytes = count});
    }
    dray_region_release(piece);
    return status;
}

// --- agent -----------------------------------------------------------------------------------------

/// Does an agent take part? *out_far: one that is perhaps on another machine.
static bool has_remote(const copy_job *job, bool *out_far)
{
    const location *const ends[] = {&job->source.at, &job->target.at};
    bool any = false;
    *out_far = false;
    for (size_t i = 0; i < 2; i++) {
        if (ends[i]->storage != DRAY_STORAGE_REMOTE)
            continue;
        any = true;
        *out_far = *out_far || !location_is_here(ends[i]->address);
    }
    return any;
}

/// The backends of all devices and agents that take part.
static dray_status agent_make(copy_job *job)
{
    dray_device *const devices[] = {job->target.device, job->source.device, job->via_device};
    const char *names[8] = {"posix"};
    size_t count = 1;
    for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
        dray_device_info info;
        if (!devices[i])
            continue;
        dray_status status = dray_device_get_info(devices[i], &info, &job->base.error);
        if (status != DRAY_OK)
            return status;
        if (info.backend)
            names[count++] = info.backend;
        if (!job->staging_device && info.capabilities & (DRAY_DEVICE_PINNED | DRAY_DEVICE_REGISTER))
            job->staging_device = devices[i];
    }
    bool far;
    if (has_remote(job, &far)) {
        dray_status status = secret_read(job->given->secret_file, &job->secret, &job->base.error);
        if (status != DRAY_OK)
            return status;
        names[count++] = "ucx";
    }
    dray_agent_options options = {.struct_bytes = sizeof(options),
                                  .name = "copy",
                                  .backends = count > 1 ? names : NULL,
                                  .reach = far ? DRAY_REACH_NETWORK : DRAY_REACH_HOST};
    return dray_agent_create(job->base.context, &options, &job->agent, &job->base.error);
}

static dray_status places_open(copy_job *job)
{
    dray_error *error = &job->base.error;
    dray_context *context = job->base.context;
    location_parse(job->given->source, &job->source.at); // checked before
    location_parse(job->given->target, &job->target.at);
    dray_status status = location_open_device(&job->source.at, context, &job->source.device, error);
    if (status == DRAY_OK)
        status = location_open_device(&job->target.at, context, &job->target.device, error);
    if (status == DRAY_OK)
        status = location_open_device(&job->given->via, context, &job->via_device, error);
    if (status == DRAY_OK)
        status = agent_make(job);
    if (status != DRAY_OK)
        return status;
    job->bytes = job->given->bytes;
    bool there = has_size(&job->source.at);
    status = there ? source_open(job)
                   : memory_make(job, &job->source.at, job->source.device, job->bytes,
                                 &job->source.region);
    if (status == DRAY_OK && !there)
        status = source_fill(job);
    if (status != DRAY_OK)
        return status;
    if (job->target.at.storage == DRAY_STORAGE_REMOTE)
        return target_remote_open(job);
    return job->target.at.storage == DRAY_STORAGE_DISK
               ? target_file_open(job)
               : memory_make(job, &job->target.at, job->target.device, job->bytes,
                             &job->target.region);
}

// --- ways ------------------------------------------------------------------------------------------

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

/// Outside the clock and the report.
static dray_status run_once(copy_job *job, const dray_copy *copy)
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
    copy_window *window = &job->windows[turn % window_count];
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
    copy_window *window = &job->windows[turn % window_count];
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
    copy_window *own = &job->windows[turn % window_count];
    copy_window *other = &job->windows[(turn + 1) % window_count];
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
    job->window_bytes = job->bytes < window_bytes_most ? job->bytes : window_bytes_most;
    uint64_t turns = (job->bytes - 1) / job->window_bytes + 1;
    uint64_t count = turns < window_count ? turns : window_count;
    for (uint64_t i = 0; i < count; i++) {
        dray_status status = memory_make(job, &job->given->via, job->via_device, job->window_bytes,
                                         &job->windows[i].region);
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
    for (size_t i = 0; i < window_count && status == DRAY_OK; i++)
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

static dray_status copy_bytes(copy_job *job)
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

static dray_status verify(copy_job *job)
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

// --- output ----------------------------------------------------------------------------------------

static double gigabytes_per_second(const copy_job *job)
{
    return job->seconds > 0 ? (double)job->bytes / 1e9 / job->seconds : 0;
}

static void place_out(json_out *json, const char *key, const location *at)
{
    char text[LOCATION_TEXT_BYTES];
    json_string(json, key, at->storage ? location_text(at, text) : NULL);
}

static void document_out(const copy_job *job)
{
    json_out json = json_begin(stdout);
    json_object(&json, NULL);
    json_u64(&json, "bytes", job->bytes);
    json_rounded(&json, "seconds", job->seconds);
    json_rounded(&json, "gigabytes_per_second", gigabytes_per_second(job));
    json_rounded(&json, "cpu_seconds", job->cpu_seconds);
    place_out(&json, "from", &job->source.at);
    place_out(&json, "to", &job->target.at);
    place_out(&json, "via", &job->given->via);
    json_string(&json, "backend", job->backend);
    json_u64(&json, "staging_bytes", job->staging_bytes);
    json_bool(&json, "verified", job->given->verify);
    json_string(&json, "source_xxh3", job->given->verify ? job->source.digest : NULL);
    json_string(&json, "target_xxh3", job->given->verify ? job->target.digest : NULL);
    if (job->given->explain) {
        json_array(&json, "explain");
        for (size_t i = 0; i < job->reason_count; i++)
            json_string(&json, NULL, job->reasons[i]);
        json_end(&json);
    }
    json_end(&json);
    json_finish(&json);
}

static void print_copy(const copy_job *job)
{
    static const table_column columns[] = {{NULL, TABLE_LEFT, 0}, {NULL, TABLE_LEFT, TABLE_CUT_END}};
    char bytes[TEXT_NUMBER_BYTES], seconds[TEXT_NUMBER_BYTES], from[LOCATION_TEXT_BYTES],
        to[LOCATION_TEXT_BYTES];
    for (size_t i = 0; i < job->reason_count; i++) {
        char *reason = text_rounded(job->reasons[i]);
        printf("  %s\n", reason);
        free(reason);
    }
    printf("%s%s from %s to %s in %s%s\n", terminal_bold(stdout), text_bytes(bytes, job->bytes),
           location_text(&job->source.at, from), location_text(&job->target.at, to),
           text_seconds(seconds, job->seconds), terminal_plain(stdout));
    table *rows = table_create(columns, 2);
    table_cell(rows, "rate");
    table_cell(rows, "%.2f GB/s, %s of CPU time", gigabytes_per_second(job),
               text_seconds(seconds, job->cpu_seconds));
    table_cell(rows, "method");
    table_cell(rows, "%s", job->backend);
    table_cell(rows, "staging");
    table_cell(rows, "%s", text_bytes(bytes, job->staging_bytes));
    table_cell(rows, "verified");
    if (job->given->verify)
        table_cell(rows, "XXH3-128 of source and target, both read back: %s", job->target.digest);
    else
        table_cell(rows, "no (--verify reads both sides back)");
    table_print(rows, stdout, 2);
    table_destroy(rows);
}

// --- the verb --------------------------------------------------------------------------------------

static void job_end(copy_job *job, dray_status status)
{
    for (size_t i = 0; i < window_count; i++) {
        way_end(&job->windows[i].in);
        way_end(&job->windows[i].out);
        dray_region_release(job->windows[i].region);
    }
    way_end(&job->straight);
    dray_agent_destroy(job->agent);
    dray_region_release(job->source.region);
    dray_region_release(job->target.region);
    dray_device_release(job->source.device);
    dray_device_release(job->target.device);
    dray_device_release(job->via_device);
    if (status != DRAY_OK && job->target.made)
        unlink(job->target.at.path);
    for (size_t i = 0; i < job->reason_count; i++)
        free(job->reasons[i]);
    free(job->reasons);
    secret_wipe(&job->secret);
}

static int copy_run(const void *values)
{
    const copy_values *given = values;
    copy_job job = {.base = session_begin("copy", given->json), .given = given};
    dray_status status = session_context(&job.base, given->threads);
    if (status == DRAY_OK)
        status = places_open(&job);
    if (status == DRAY_OK)
        status = copy_bytes(&job);
    if (status == DRAY_OK && given->verify)
        status = verify(&job);
    if (status == DRAY_OK && given->json)
        document_out(&job);
    else if (status == DRAY_OK)
        print_copy(&job);
    job_end(&job, status);
    return session_end(&job.base, status, false);
}

static const option copy_options[] = {
    {"bytes", "SIZE", "how much; needed when SRC is memory, at most the size of a file",
     .parse = option_bytes, .at = offsetof(copy_values, bytes)},
    {"via", "PLACE", "through memory of this kind: system, pinned, or a device like opencl:0",
     .parse = parse_via, .at = offsetof(copy_values, via)},
    {"verify", NULL, "read both sides back afterwards and compare their XXH3-128",
     .at = offsetof(copy_values, verify)},
    {"secret-file", "FILE",
     "the secret shared with an agent (default: the value of " SECRET_VARIABLE ", if any)",
     .parse = option_text, .at = offsetof(copy_values, secret_file)},
    {"replace", NULL, "write over a file that exists", .at = offsetof(copy_values, replace)},
    {"threads", "N", "threads of the pool; 0: none (default: one per processor, 16 at most)",
     .parse = option_count, .at = offsetof(copy_values, threads)},
    {"explain", NULL, "say what ran: the routes, and what was staged where",
     .at = offsetof(copy_values, explain)},
    {"json", NULL, "one JSON document on standard output", .at = offsetof(copy_values, json)},
    {0},
};

static const option_operand target_operand = {.name = "DST", .at = offsetof(copy_values, target)};

const command command_copy = {
    .name = "copy",
    .summary = "bytes between files, memory, devices and agents, straight or through a device",
    .description =
        "SRC and DST are system, pinned, disk:PATH, a device like opencl:0 or cuda:0, managed:DEVICE, or\n"
        "agent://HOST:PORT/REGION, a region that `dray agent serve` shares.\n"
        "Memory as a source is filled with a pattern; memory as a target is given back at the end. A file\n"
        "as a target must not exist, unless --replace is given, and is removed when the copy fails;\n"
        "`seconds` ends when it is on the disk.\n",
    .operand = {.name = "SRC", .at = offsetof(copy_values, source), .next = &target_operand},
    .options = copy_options,
    .values_bytes = sizeof(copy_values),
    .check = copy_check,
    .run = copy_run,
};
