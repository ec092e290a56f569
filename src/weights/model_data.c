/// What model data says of itself, and reading it without a signal.
#include "base/checked.h"
#include "memory/fault_guard.h"
#include "weights/model_data_object.h"

#include <inttypes.h>
#include <string.h>

const char *dray_backing_name(dray_backing backing)
{
    static const char *const names[] = {
        [DRAY_BACKING_AUTO] = "auto",     [DRAY_BACKING_MAPPED] = "mapped",
        [DRAY_BACKING_HEAP] = "heap",     [DRAY_BACKING_SEALED] = "sealed",
        [DRAY_BACKING_DIRECT] = "direct", [DRAY_BACKING_BORROWED] = "borrowed",
        [DRAY_BACKING_COPIED] = "copied", [DRAY_BACKING_ADOPTED] = "adopted",
    };
    size_t index = (size_t)backing;
    return index < sizeof(names) / sizeof(names[0]) ? names[index] : "unknown";
}

const uint8_t *dray_model_data_bytes(const dray_model_data *data)
{
    return data->bytes;
}

uint64_t dray_model_data_length(const dray_model_data *data)
{
    return data->length;
}

bool dray_model_data_is_empty(const dray_model_data *data)
{
    return data->length == 0;
}

bool dray_model_data_is_mapped(const dray_model_data *data)
{
    return data->backing == DRAY_BACKING_MAPPED;
}

dray_backing dray_model_data_backing(const dray_model_data *data)
{
    return data->backing;
}

const char *dray_model_data_path(const dray_model_data *data)
{
    return data->path;
}

const char *dray_model_data_note(const dray_model_data *data)
{
    return data->note[0] ? data->note : NULL;
}

dray_region *dray_model_data_region(dray_model_data *data)
{
    return data->region;
}

drayi_extent drayi_data_extent(const dray_model_data *data)
{
    bool mapped = data->backing == DRAY_BACKING_MAPPED && data->mapping != NULL;
    return (drayi_extent){
        .name = data->name,
        .at = (uint8_t *)(uintptr_t)data->bytes,
        .bytes = data->length,
        .fd = mapped ? data->fd : -1,
        .file_offset = data->file_offset,
        .to_file_end = mapped && data->file_offset + data->length == data->facts.bytes,
    };
}

dray_status dray_model_data_check(const dray_model_data *data, dray_error *error)
{
    if (data->fd < 0)
        return DRAY_OK;
    drayi_file_facts now;
    int code = data->env->os->facts(data->fd, &now);
    if (code < 0)
        return dray_fail_os(error, -code, "statx", "check %s", data->name);
    const drayi_file_facts *then = &data->facts;
    if (now.bytes != then->bytes)
        return dray_fail_rule(error, DRAY_E_CORRUPT, NULL, drayi_min(now.bytes, then->bytes),
                              "%s: the file has %" PRIu64 " bytes, at open it had %" PRIu64,
                              data->name, now.bytes, then->bytes);
    if (now.device != then->device || now.inode != then->inode)
        return dray_fail(error, DRAY_E_CORRUPT,
                         "%s: the file is inode %" PRIu64 ", at open it was %" PRIu64, data->name,
                         now.inode, then->inode);
    if (now.modified_ns != then->modified_ns)
        return dray_fail(
            error, DRAY_E_CORRUPT,
            "%s: the file was written to after it was opened (modified %+.6f seconds later)",
            data->name, (double)(now.modified_ns - then->modified_ns) / 1e9);
    return DRAY_OK;
}

/// DRAY_E_IO when the file has lost bytes that the mapping shows: a page of a shortened file reads as
/// zeros up to the page's end, without any signal.
static dray_status still_whole(const dray_model_data *data, uint64_t fault_offset, dray_error *error)
{
    uint64_t end = data->file_offset + data->length;
    drayi_file_facts now = {.bytes = end};
    int code = data->fd >= 0 ? data->env->os->facts(data->fd, &now) : 0;
    if (code < 0)
        return dray_fail_os(error, -code, "statx", "guarded read of %s", data->name);
    if (fault_offset == DRAY_UNKNOWN && now.bytes >= end)
        return DRAY_OK;
    uint64_t at = fault_offset == DRAY_UNKNOWN ? now.bytes : data->file_offset + fault_offset;
    if (data->backing != DRAY_BACKING_MAPPED)
        return dray_fail_rule(error, DRAY_E_IO, NULL, at,
                              "guarded read of %s: bus error at byte %" PRIu64, data->name, at);
    if (now.bytes >= end)
        return dray_fail_rule(error, DRAY_E_IO, NULL, at,
                              "guarded read of %s: bus error at byte %" PRIu64
                              ": the disk or file system failed to "
                              "give it",
                              data->name, at);
    return dray_fail_rule(error, DRAY_E_IO, NULL, at,
                          "guarded read of %s: no byte at %" PRIu64
                          ": the file now ends at %" PRIu64 ", at open it "
                          "had %" PRIu64 " bytes",
                          data->name, at, now.bytes, data->facts.bytes);
}

dray_status dray_model_data_guarded(dray_model_data *data,
                                    dray_status (*body)(void *self, dray_error *error), void *self,
                                    dray_error *error)
{
    uint64_t fault_offset;
    dray_error own = {.status = DRAY_OK};
    dray_status status = drayi_guard_run(data->bytes, data->length, body, self, &fault_offset, &own);
    bool may_lie = fault_offset != DRAY_UNKNOWN || data->backing == DRAY_BACKING_MAPPED;
    if (may_lie && drayi_guard_installed())
        DRAY_TRY(still_whole(data, fault_offset, error));
    if (status != DRAY_OK && error)
        *error = own;
    return status;
}

typedef struct copy_job {
    void *out;
    const uint8_t *from;
    size_t bytes;
} copy_job;

static dray_status copy_body(void *self, dray_error *error)
{
    (void)error;
    copy_job *job = self;
    memcpy(job->out, job->from, job->bytes);
    return DRAY_OK;
}

dray_status dray_model_data_read(dray_model_data *data, uint64_t offset, void *out, uint64_t bytes,
                                 dray_error *error)
{
    if (!drayi_inside(offset, bytes, data->length))
        return dray_fail(error, DRAY_E_INVALID,
                         "read %s: %" PRIu64 " bytes at %" PRIu64 " leave data of %" PRIu64 " bytes",
                         data->name, bytes, offset, data->length);
    if (data->backing ==
        DRAY_BACKING_MAPPED) // a short read is an error; a shortened mapping may read as zeros
        return drayi_pread_all(data->env->os, data->fd, data->name, out, bytes,
                               data->file_offset + offset, NULL, error);
    copy_job job = {.out = out, .from = data->bytes + offset, .bytes = (size_t)bytes};
    bool could_fault =
        data->backing == DRAY_BACKING_BORROWED || data->backing == DRAY_BACKING_ADOPTED;
    if (could_fault && drayi_guard_installed())
        return dray_model_data_guarded(data, copy_body, &job, error);
    return copy_body(&job, error);
}
