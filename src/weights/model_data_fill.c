/// The backings of a plain regular file: a shared mapping, or memory that is filled once.
///
/// Direct reads fill whole blocks past the page cache; the head before the first block boundary and the
/// tail behind the last come through the buffered descriptor. A block here is never smaller than a page,
/// so no page sees both kinds. The memory has the file offset's phase, so nothing is staged.
#include "base/checked.h"
#include "weights/model_data_object.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

enum { direct_chunk_bytes = 8 << 20, direct_align_max = 1 << 20 };
static const uint64_t tmpfs_magic = 0x01021994;

dray_status drayi_data_map(dray_model_data *data, const drayi_data_plan *plan, dray_error *error)
{
    const drayi_os *os = data->env->os;
    uint64_t page = os->page_bytes(), head = plan->offset & (page - 1), whole;
    if (!drayi_add(plan->bytes, head, &whole) || !drayi_round_up(whole, page, &whole) ||
        whole > SIZE_MAX / 2)
        return dray_fail(error, DRAY_E_NOMEM,
                         "map %s: %" PRIu64 " bytes are more than can be addressed", data->name,
                         plan->bytes);
    int code;
    uint8_t *at =
        os->map(NULL, (size_t)whole, PROT_READ, MAP_SHARED, data->fd, plan->offset - head, &code);
    if (!at)
        return dray_fail_os(error, -code, "mmap", "map %s: %" PRIu64 " bytes at %" PRIu64,
                            data->name, plan->bytes, plan->offset);
    data->mapping = at;
    data->mapping_bytes = whole;
    data->bytes = at + head;
    data->length = plan->bytes;
    return DRAY_OK;
}

/// `bytes` at the sink's end through the page cache.
static dray_status fill_buffered(dray_model_data *data, drayi_sink *sink, uint64_t offset,
                                 uint64_t bytes, dray_error *error)
{
    for (uint64_t done = 0; done < bytes;) {
        uint64_t room;
        DRAY_TRY(drayi_sink_room(sink, &room, error));
        room = drayi_min(room, bytes - done);
        uint8_t *out = sink->at + sink->used;
        DRAY_TRY(drayi_pread_all(data->env->os, data->fd, data->name, out, room, offset + done,
                                 NULL, error));
        sink->used += room;
        done += room;
    }
    return DRAY_OK;
}

/// Whole blocks past the page cache, as far as the kernel goes along; *out_done tells how far.
static dray_status fill_direct(dray_model_data *data, drayi_sink *sink, int fd, uint64_t offset,
                               uint64_t bytes, uint64_t align, uint64_t *out_done, dray_error *error)
{
    *out_done = 0;
    while (*out_done < bytes) {
        uint64_t room;
        DRAY_TRY(drayi_sink_room(sink, &room, error));
        room = drayi_round_down(drayi_min(drayi_min(room, direct_chunk_bytes), bytes - *out_done),
                                align);
        if (room == 0)
            return DRAY_OK; // the sink's step ends inside a block
        ssize_t got =
            data->env->os->pread(fd, sink->at + sink->used, (size_t)room, offset + *out_done);
        if (got == -EINTR)
            continue;
        if (got == -EINVAL || got == -EOPNOTSUPP) {
            drayi_data_note(data,
                            "direct I/O refused at byte %" PRIu64
                            ": read through the page cache from there",
                            offset + *out_done);
            return DRAY_OK;
        }
        if (got < 0)
            return dray_fail_os(error, (int)-got, "pread",
                                "direct pread %s: %" PRIu64 " bytes at %" PRIu64, data->name, room,
                                offset + *out_done);
        uint64_t blocks = drayi_round_down((uint64_t)got, align);
        sink->used += blocks;
        *out_done += blocks;
        if (blocks < room)
            return DRAY_OK; // the file ended early; the buffered read says so exactly
    }
    return DRAY_OK;
}

/// A second open file of the same inode for O_DIRECT; -1 with a note: not to be had.
static int direct_open(dray_model_data *data, uint64_t *out_align)
{
    const drayi_os *os = data->env->os;
    const drayi_file_facts *facts = &data->facts;
    uint64_t magic = 0;
    *out_align = drayi_max(os->page_bytes(),
                           facts->direct_known ? facts->direct_offset_align : facts->block_bytes);
    bool refused = facts->direct_known && facts->direct_offset_align == 0;
    if (refused || (os->fstatfs_magic(data->fd, &magic) == 0 && magic == tmpfs_magic)) {
        drayi_data_note(data, "this file system has no direct I/O: read through the page cache");
        return -1;
    }
    if (!drayi_is_power_of_two(*out_align) || *out_align > direct_align_max) {
        drayi_data_note(data,
                        "direct I/O wants blocks of %" PRIu64 " bytes: read through the page cache",
                        *out_align);
        return -1;
    }
    int fd = os->reopen(data->fd, O_RDONLY | O_DIRECT);
    if (fd < 0)
        drayi_data_note(data, "direct I/O refused (%s): read through the page cache",
                        strerrordesc_np(-fd));
    return fd;
}

static dray_status fill_past_cache(dray_model_data *data, const drayi_data_plan *plan,
                                   drayi_sink *sink, dray_error *error)
{
    uint64_t align, end = plan->offset + plan->bytes, done = 0;
    int fd = direct_open(data, &align);
    dray_status status = DRAY_OK;
    if (fd >= 0) {
        uint64_t body = (plan->offset + align - 1) & ~(align - 1),
                 body_end = drayi_round_down(end, align);
        uint64_t head = drayi_min(body, end) - plan->offset;
        status = fill_buffered(data, sink, plan->offset, head, error);
        if (status == DRAY_OK && body < body_end)
            status = fill_direct(data, sink, fd, body, body_end - body, align, &done, error);
        done += head;
        drayi_close_file(data->env->os, fd);
    }
    if (status == DRAY_OK)
        status = fill_buffered(data, sink, plan->offset + done, plan->bytes - done, error);
    return status;
}

dray_status drayi_data_fill(dray_model_data *data, const drayi_data_plan *plan, dray_error *error)
{
    bool direct = plan->backing == DRAY_BACKING_DIRECT;
    drayi_sink_options options = {
        .limit = plan->bytes,
        .limit_is_size = true,
        .sealed = plan->backing == DRAY_BACKING_SEALED,
        .phase = direct ? plan->offset & (direct_align_max - 1) : 0,
    };
    drayi_sink sink = {.memfd = -1};
    dray_status status = drayi_sink_open(&sink, data->env, data->name, &options, error);
    if (status == DRAY_OK)
        status = direct ? fill_past_cache(data, plan, &sink, error)
                        : fill_buffered(data, &sink, plan->offset, plan->bytes, error);
    return drayi_data_take(data, &sink, status, error);
}
