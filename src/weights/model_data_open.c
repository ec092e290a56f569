/// Opening: look at the one descriptor once, decide, fill, and look again.
///
/// The descriptor is opened by name once. Its size, inode and modification time are taken right after,
/// everything that follows believes those, and memory that was filled is only handed out when they are
/// still the same afterwards.
#include "base/checked.h"
#include "memory/region.h"
#include "weights/model_data_object.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const uint8_t no_bytes[1]; // what bytes() points to when there are none

void drayi_data_note(dray_model_data *data, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(data->note, sizeof(data->note), format, args);
    va_end(args);
}

static void sink_take(dray_model_data *data, drayi_sink *sink)
{
    data->mapping = sink->mapping;
    data->mapping_bytes = sink->mapping_bytes;
    data->bytes = sink->used > 0 ? sink->at : no_bytes;
    data->length = sink->used;
    sink->mapping = NULL;
    if (sink->memfd >= 0 && sink->without_noexec && !data->note[0])
        drayi_data_note(data, "this kernel has no MFD_NOEXEC_SEAL: sealed without it");
}

dray_status drayi_data_take(dray_model_data *data, drayi_sink *sink, dray_status status,
                            dray_error *error)
{
    if (status == DRAY_OK)
        status = drayi_sink_finish(sink, error);
    if (status == DRAY_OK)
        sink_take(data, sink);
    drayi_sink_free(sink);
    return status;
}

static dray_status data_new(drayi_env *env, const char *path, const char *name,
                            dray_model_data **out_data, dray_error *error)
{
    dray_model_data *data = drayi_new(env, dray_model_data, error);
    if (!data)
        return DRAY_E_NOMEM;
    data->env = env;
    data->fd = -1;
    data->bytes = no_bytes;
    data->name = name;
    *out_data = data;
    if (!path)
        return DRAY_OK;
    data->path_bytes = strlen(path) + 1;
    data->path = drayi_alloc(env, data->path_bytes, error);
    if (!data->path)
        return DRAY_E_NOMEM;
    memcpy(data->path, path, data->path_bytes);
    data->name = data->path;
    return DRAY_OK;
}

void dray_model_data_close(dray_model_data *data)
{
    if (!data)
        return;
    drayi_env *env = data->env;
    dray_region_release(data->region);
    if (data->mapping)
        env->os->unmap(data->mapping, (size_t)data->mapping_bytes);
    if (data->release)
        data->release(data->release_self, (void *)(uintptr_t)data->bytes, data->length);
    drayi_close_file(env->os, data->fd);
    drayi_range_set_free(env, &data->locked);
    drayi_free(env, data->path, data->path_bytes);
    drayi_free(env, data, sizeof(*data));
}

/// The bytes as a region for plans: read only, borrowed.
static dray_status region_build(dray_model_data *data, dray_error *error)
{
    DRAY_TRY(drayi_region_new(data->env, DRAY_STORAGE_SYSTEM, data->length, data->name,
                              &data->region, error));
    data->region->native.pointer =
        (void *)(uintptr_t)data->bytes; // never written: not marked writable
    drayi_extent extent = drayi_data_extent(data);
    data->region->native.fd = extent.fd; // of a mapping; stays the data's
    data->region->native.file_offset = extent.file_offset;
    return DRAY_OK;
}

/// A finished object to the caller, a half-built one to the end.
static dray_status data_deliver(dray_model_data *data, dray_status status,
                                dray_model_data **out_data)
{
    if (status != DRAY_OK)
        dray_model_data_close(data);
    else
        *out_data = data;
    return status;
}

// --- files ---------------------------------------------------------------------------------------

/// File systems whose files have made-up sizes.
static bool is_pseudo(const drayi_os *os, int fd)
{
    static const uint32_t magics[] = {
        0x9fa0,     // proc
        0x62656572, // sysfs
        0x64626720, // debugfs
        0x74726163, // tracefs
        0x27e0eb,   // cgroup
        0x63677270, // cgroup2
    };
    uint64_t magic;
    if (os->fstatfs_magic(fd, &magic) < 0)
        return false;
    for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++) {
        if (magic == magics[i])
            return true;
    }
    return false;
}

static dray_status facts_take(dray_model_data *data, dray_error *error)
{
    int code = data->env->os->facts(data->fd, &data->facts);
    if (code < 0)
        return dray_fail_os(error, -code, "statx", "open %s", data->name);
    if (S_ISDIR(data->facts.mode))
        return dray_fail(error, DRAY_E_INVALID, "open %s: it is a directory, not a file",
                         data->name);
    return DRAY_OK;
}

/// Which bytes: of a regular file a range inside it, of a stream as many as asked for.
static dray_status range_plan(const dray_model_data *data, const dray_model_data_options *options,
                              drayi_data_plan *plan, dray_error *error)
{
    const drayi_file_facts *facts = &data->facts;
    bool sized = S_ISREG(facts->mode) || S_ISBLK(facts->mode);
    plan->stream = !sized || facts->bytes == 0 || is_pseudo(data->env->os, data->fd);
    plan->offset = options->offset;
    plan->bytes = options->bytes > 0 ? options->bytes : UINT64_MAX;
    if (!sized && plan->offset > 0)
        return dray_fail(error, DRAY_E_INVALID, "open %s: offset %" PRIu64 " in a pipe or device",
                         data->name, plan->offset);
    if (plan->stream)
        return DRAY_OK;
    if (options->bytes == 0 && plan->offset <= facts->bytes)
        plan->bytes = facts->bytes - plan->offset;
    if (!drayi_inside(plan->offset, plan->bytes, facts->bytes))
        return dray_fail(error, DRAY_E_INVALID,
                         "open %s: %" PRIu64 " bytes at %" PRIu64 " leave a file of %" PRIu64
                         " bytes",
                         data->name, options->bytes, plan->offset, facts->bytes);
    return DRAY_OK;
}

/// The first bytes of a regular file. On the way to direct I/O without read-ahead, which would put the
/// bytes into the page cache that are to pass it; only on a descriptor that nobody shares with us.
static dray_status head_read(dray_model_data *data, const drayi_data_plan *plan, bool past_cache,
                             uint8_t *out, uint64_t bytes, dray_error *error)
{
    const drayi_os *os = data->env->os;
    if (past_cache)
        os->advise_file(data->fd, 0, 0, POSIX_FADV_RANDOM);
    dray_status status =
        drayi_pread_all(os, data->fd, data->name, out, bytes, plan->offset, NULL, error);
    if (past_cache)
        os->advise_file(data->fd, 0, 0, POSIX_FADV_NORMAL);
    return status;
}

/// Is the file compressed? A stream's first bytes wait in the source, a regular file's are read apart.
static dray_status codec_plan(dray_model_data *data, const dray_model_data_options *options,
                              drayi_source *source, drayi_data_plan *plan, dray_error *error)
{
    uint8_t own[64];
    const uint8_t *head = own;
    uint64_t head_bytes = drayi_min(sizeof(own), plan->bytes);
    if (plan->stream) {
        DRAY_TRY(drayi_source_fill(source, sizeof(own), error));
        head = source->buffer;
        head_bytes = source->end;
    } else {
        bool past_cache = options->backing == DRAY_BACKING_DIRECT && data->owns_open_file;
        DRAY_TRY(head_read(data, plan, past_cache, own, head_bytes, error));
    }
    plan->codec = drayi_codec_of(data->env, head, head_bytes);
    return DRAY_OK;
}

/// What was asked for, or an error; AUTO takes what serves best.
static dray_status backing_plan(const dray_model_data *data, dray_backing wanted,
                                drayi_data_plan *plan, dray_error *error)
{
    plan->backing = wanted;
    if (wanted == DRAY_BACKING_AUTO)
        plan->backing = plan->stream || plan->codec ? DRAY_BACKING_HEAP : DRAY_BACKING_MAPPED;
    bool needs_file = plan->backing == DRAY_BACKING_MAPPED || plan->backing == DRAY_BACKING_DIRECT;
    if (needs_file && plan->codec)
        return dray_fail(
            error, DRAY_E_INVALID,
            "open %s: it is compressed with %s, so its bytes cannot be %s; use auto, heap or sealed, or "
            "keep_compressed",
            data->name, plan->codec->name, dray_backing_name(plan->backing));
    if (needs_file && plan->stream)
        return dray_fail(
            error, DRAY_E_INVALID,
            "open %s: a pipe, a device or a pseudo file cannot be %s; use auto, heap or sealed",
            data->name, dray_backing_name(plan->backing));
    return DRAY_OK;
}

/// A regular file of size 0 that gives no bytes either has whatever backing was asked for.
static bool is_truly_empty(const dray_model_data *data, const drayi_data_plan *plan,
                           const drayi_source *source)
{
    return plan->stream && S_ISREG(data->facts.mode) && source->ended &&
           source->end == source->first;
}

/// AUTO on a file system that cannot map reads instead, and says so.
static dray_status place_regular(dray_model_data *data, drayi_data_plan *plan, bool automatic,
                                 dray_error *error)
{
    if (plan->backing != DRAY_BACKING_MAPPED)
        return drayi_data_fill(data, plan, error);
    dray_error refused;
    dray_status status = drayi_data_map(data, plan, &refused);
    if (status != DRAY_OK && automatic &&
        (refused.native_code == ENODEV || refused.native_code == EOPNOTSUPP)) {
        drayi_data_note(data, "this file system cannot map files: read into memory");
        plan->backing = DRAY_BACKING_HEAP;
        return drayi_data_fill(data, plan, error);
    }
    if (status != DRAY_OK && error)
        *error = refused;
    return status;
}

static dray_status data_place(dray_model_data *data, const dray_model_data_options *options,
                              drayi_data_plan *plan, drayi_source *source, dray_error *error)
{
    bool seekable = S_ISREG(data->facts.mode) || S_ISBLK(data->facts.mode);
    if (plan->stream) {
        DRAY_TRY(drayi_source_open(source, data->env, data->fd, data->name, seekable, plan->offset,
                                   plan->bytes, error));
        DRAY_TRY(drayi_source_fill(source, 1, error));
    }
    if (is_truly_empty(data, plan, source)) {
        plan->backing =
            options->backing == DRAY_BACKING_AUTO ? DRAY_BACKING_MAPPED : options->backing;
        return DRAY_OK;
    }
    if (!options->keep_compressed)
        DRAY_TRY(codec_plan(data, options, source, plan, error));
    DRAY_TRY(backing_plan(data, options->backing, plan, error));
    if (!plan->codec && !plan->stream)
        return place_regular(data, plan, options->backing == DRAY_BACKING_AUTO, error);
    if (!plan->stream)
        DRAY_TRY(drayi_source_open(source, data->env, data->fd, data->name, seekable, plan->offset,
                                   plan->bytes, error));
    return drayi_data_drain(data, plan, source, error);
}

static dray_status data_build(dray_model_data *data, const dray_model_data_options *options,
                              dray_error *error)
{
    drayi_data_plan plan = {.decoded_bytes_max = options->decoded_bytes_max};
    drayi_source source = {0};
    DRAY_TRY(facts_take(data, error));
    DRAY_TRY(range_plan(data, options, &plan, error));
    dray_status status = data_place(data, options, &plan, &source, error);
    drayi_source_close(&source);
    DRAY_TRY(status);
    data->backing = plan.backing;
    data->file_offset = plan.offset;
    if (plan.stream) { // nothing to look at again: a pipe is drained, a pseudo file changes by the moment
        drayi_close_file(data->env->os, data->fd);
        data->fd = -1;
    } else if (plan.backing != DRAY_BACKING_MAPPED) {
        status = dray_model_data_check(data, error);
        if (status != DRAY_OK)
            return dray_fail_within(error, status, "changed while it was read");
    }
    return region_build(data, error);
}

static dray_status options_check(dray_model_data_options *options,
                                 const dray_model_data_options *given, const char *name,
                                 dray_error *error)
{
    DRAY_TRY(drayi_options(options, sizeof(*options), given, "dray_model_data_options", error));
    if (options->backing > DRAY_BACKING_DIRECT)
        return dray_fail(error, DRAY_E_INVALID,
                         "open %s: backing %d (%s) is not one of auto, mapped, heap, sealed, direct",
                         name, (int)options->backing, dray_backing_name(options->backing));
    return DRAY_OK;
}

dray_status dray_model_data_open(dray_context *context, const char *path,
                                 const dray_model_data_options *given, dray_model_data **out_data,
                                 dray_error *error)
{
    drayi_env *env = drayi_env_of(context);
    dray_model_data_options options;
    DRAY_TRY(options_check(&options, given, path, error));
    dray_model_data *data = NULL;
    dray_status status = data_new(env, path, path, &data, error);
    if (status == DRAY_OK)
        status = drayi_open_file(env->os, path, O_RDONLY, 0, &data->fd, error);
    if (status == DRAY_OK)
        data->owns_open_file = true;
    if (status == DRAY_OK)
        status = data_build(data, &options, error);
    return data_deliver(data, status, out_data);
}

dray_status dray_model_data_open_fd(dray_context *context, int fd, const char *name,
                                    const dray_model_data_options *given,
                                    dray_model_data **out_data, dray_error *error)
{
    drayi_env *env = drayi_env_of(context);
    dray_model_data_options options;
    char own_name[32];
    snprintf(own_name, sizeof(own_name), "fd %d", fd);
    name = name ? name : own_name;
    DRAY_TRY(options_check(&options, given, name, error));
    dray_model_data *data = NULL;
    dray_status status = data_new(env, name, name, &data, error);
    if (status == DRAY_OK) {
        int copy = env->os->dup(fd);
        if (copy < 0)
            status = dray_fail_os(error, -copy, "dup", "open %s", name);
        else
            data->fd = copy;
    }
    if (status == DRAY_OK)
        status = data_build(data, &options, error);
    return data_deliver(data, status, out_data);
}

// --- memory --------------------------------------------------------------------------------------

static dray_status copy_in(dray_model_data *data, const void *bytes, uint64_t length,
                           dray_error *error)
{
    drayi_sink_options options = {.limit = length, .limit_is_size = true};
    drayi_sink sink = {.memfd = -1};
    dray_status status = drayi_sink_open(&sink, data->env, data->name, &options, error);
    while (status == DRAY_OK && sink.used < length) {
        uint64_t room;
        status = drayi_sink_room(&sink, &room, error);
        if (status == DRAY_OK) {
            memcpy(sink.at + sink.used, (const uint8_t *)bytes + sink.used, (size_t)room);
            sink.used += room;
        }
    }
    return drayi_data_take(data, &sink, status, error);
}

static dray_status memory_check(const void *bytes, uint64_t length, dray_backing backing,
                                dray_release_fn release, dray_error *error)
{
    bool adopted = backing == DRAY_BACKING_ADOPTED;
    if (!adopted && backing != DRAY_BACKING_BORROWED && backing != DRAY_BACKING_COPIED)
        return dray_fail(
            error, DRAY_E_INVALID,
            "model data from memory: backing %s is not one of borrowed, copied, adopted",
            dray_backing_name(backing));
    if (adopted != (release != NULL))
        return dray_fail(error, DRAY_E_INVALID, "model data from memory: %s",
                         adopted ? "adopted bytes need a release function"
                                 : "only adopted bytes take a release function");
    if (!bytes && length > 0)
        return dray_fail(error, DRAY_E_INVALID,
                         "model data from memory: %" PRIu64 " bytes at a NULL pointer", length);
    return DRAY_OK;
}

dray_status dray_model_data_from_memory(dray_context *context, const void *bytes, uint64_t length,
                                        dray_backing backing, dray_release_fn release, void *self,
                                        dray_model_data **out_data, dray_error *error)
{
    dray_model_data *data = NULL;
    dray_status status = memory_check(bytes, length, backing, release, error);
    if (status == DRAY_OK)
        status = data_new(drayi_env_of(context), NULL, "memory", &data, error);
    if (status == DRAY_OK) {
        data->backing = backing;
        if (backing == DRAY_BACKING_COPIED) {
            status = copy_in(data, bytes, length, error);
        } else {
            data->bytes = bytes ? bytes : no_bytes;
            data->length = length;
        }
    }
    if (status == DRAY_OK)
        status = region_build(data, error);
    if (status == DRAY_OK && backing == DRAY_BACKING_ADOPTED) {
        data->release = release;
        data->release_self = self;
    }
    status = data_deliver(data, status, out_data);
    if (status != DRAY_OK && backing == DRAY_BACKING_ADOPTED && release)
        release(self, (void *)(uintptr_t)bytes, length); // ours from the call on, whatever happened
    return status;
}
