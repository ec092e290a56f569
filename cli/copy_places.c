/// Both sides of `dray copy`, opened: files, memory, devices, regions of agents. See copy_job.h.
#include "copy_job.h"
#include <dray/spi/region.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

bool copy_has_size(const location *at)
{
    return at->storage == DRAY_STORAGE_DISK || at->storage == DRAY_STORAGE_REMOTE;
}

dray_status copy_memory_make(copy_job *job, const location *at, dray_device *device, uint64_t bytes,
                             dray_region **out)
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
    uint64_t most = job->bytes < COPY_WINDOW_BYTES_MOST ? job->bytes : COPY_WINDOW_BYTES_MOST, count;
    status = copy_memory_make(job, &host, NULL, most, &piece);
    if (status != DRAY_OK)
        return status;
    for (uint64_t at = 0; at < job->bytes && status == DRAY_OK; at += count) {
        count = job->bytes - at < most ? job->bytes - at : most;
        pattern_fill(dray_region_pointer(piece), count, at);
        status = copy_run_once(job, &(dray_copy){.source = piece,
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

dray_status copy_places_open(copy_job *job)
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
    bool there = copy_has_size(&job->source.at);
    status = there ? source_open(job)
                   : copy_memory_make(job, &job->source.at, job->source.device, job->bytes,
                                      &job->source.region);
    if (status == DRAY_OK && !there)
        status = source_fill(job);
    if (status != DRAY_OK)
        return status;
    if (job->target.at.storage == DRAY_STORAGE_REMOTE)
        return target_remote_open(job);
    return job->target.at.storage == DRAY_STORAGE_DISK
               ? target_file_open(job)
               : copy_memory_make(job, &job->target.at, job->target.device, job->bytes,
                                  &job->target.region);
}
