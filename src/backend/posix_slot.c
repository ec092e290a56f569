/// From operation to iovecs, and what a transfer's result means.
///
/// A short transfer is continued with the rest. A direct transfer counts only up to the last aligned
/// byte: what lies behind it is moved again, because direct I/O cannot start in the middle of a block.
/// When direct I/O is refused or gets nowhere, the rest of this operation, and of this one only, goes
/// through the page cache. The planner keeps the pages of operations apart, so this changes the way
/// of whole blocks and never mixes two ways in one.
#include "backend/posix_engine.h"
#include "base/checked.h"
#include "memory/region.h"

#include <errno.h>
#include <inttypes.h>

#define FRUITLESS_MAX 1000 // interrupted or empty transfers in a row until we give up

static const char *call_name(const drayi_posix_slot *slot)
{
    return slot->write ? "pwrite" : "pread";
}

// --- building ------------------------------------------------------------------------------------

static dray_status part_add(drayi_posix_slot *slot, uint8_t *memory, uint64_t bytes)
{
    if (bytes == 0)
        return DRAY_OK;
    if (slot->part_count > 0) { // neighbours in memory are one part
        struct iovec *last = &slot->parts[slot->part_count - 1];
        if ((uint8_t *)last->iov_base + last->iov_len == memory) {
            last->iov_len += bytes;
            return DRAY_OK;
        }
    }
    if (slot->part_count == DRAYI_POSIX_PARTS)
        return dray_fail(&slot->op->error, DRAY_E_INVALID, "%s %s: more than %d pieces of memory",
                         call_name(slot), slot->name, DRAYI_POSIX_PARTS);
    slot->parts[slot->part_count++] = (struct iovec){.iov_base = memory, .iov_len = bytes};
    return DRAY_OK;
}

/// The first segment says which file and where; the others must follow it there.
static dray_status place_in_file(drayi_posix_slot *slot, const dray_region_native *file,
                                 uint64_t at, bool first)
{
    uint64_t offset = file->file_offset + at;
    if (first) {
        slot->name = file->name;
        slot->fd = file->fd;
        slot->direct_fd = file->direct_fd;
        slot->offset_align = file->direct_offset_align;
        slot->in_memory = file->in_memory;
        slot->offset = offset;
        return DRAY_OK;
    }
    if (file->fd == slot->fd && offset == slot->offset + slot->bytes)
        return DRAY_OK;
    return dray_fail(&slot->op->error, DRAY_E_INVALID,
                     "%s %s: a segment at %" PRIu64 " does not follow the one that ends at %" PRIu64,
                     call_name(slot), file->name, offset, slot->offset + slot->bytes);
}

static bool may_go_direct(const dray_region_native *file, const uint8_t *memory, uint64_t offset,
                          uint64_t bytes)
{
    return file->direct_fd >= 0 && file->direct_memory_align > 0 && file->direct_offset_align > 0 &&
           (uintptr_t)memory % file->direct_memory_align == 0 &&
           (file->file_offset + offset) % file->direct_offset_align == 0 &&
           bytes % file->direct_offset_align == 0;
}

static dray_status segment_add(drayi_posix_slot *slot, const dray_segment *segment)
{
    const dray_region_native *file =
        slot->write ? &segment->target->native : &segment->source->native;
    const dray_region_native *memory =
        slot->write ? &segment->source->native : &segment->target->native;
    uint64_t file_at = slot->write ? segment->target_offset : segment->source_offset;
    uint64_t memory_at = slot->write ? segment->source_offset : segment->target_offset;
    if (file->fd < 0 || !memory->pointer)
        return dray_fail(&slot->op->error, DRAY_E_INVALID,
                         "%s %s: one side is %s, the other %s; a file and memory are wanted",
                         call_name(slot), file->name, dray_storage_name(file->storage),
                         dray_storage_name(memory->storage));
    if (segment->loop_count > 0)
        return dray_fail(&slot->op->error, DRAY_E_INVALID, "%s %s: %u loops given, none is possible",
                         call_name(slot), file->name, segment->loop_count);
    DRAY_TRY(place_in_file(slot, file, file_at, segment == slot->op->segments));
    uint8_t *pointer = (uint8_t *)memory->pointer + memory_at;
    if (!may_go_direct(file, pointer, file_at, segment->run_bytes))
        slot->direct = false;
    slot->bytes += segment->run_bytes;
    return part_add(slot, pointer, segment->run_bytes);
}

dray_status drayi_posix_slot_begin(drayi_posix_slot *slot)
{
    dray_op *op = slot->op;
    slot->write = op->edge & DRAYI_POSIX_EDGE_WRITE;
    slot->direct = op->edge & DRAYI_POSIX_EDGE_DIRECT;
    slot->fruitless = 0;
    slot->bytes = slot->done = 0;
    slot->part_first = slot->part_count = 0;
    atomic_store(&slot->cancelled, false);
    op->bytes_done = 0;
    for (uint32_t i = 0; i < op->segment_count; i++) {
        op->status = segment_add(slot, &op->segments[i]);
        if (op->status != DRAY_OK)
            return op->status;
    }
    if (op->edge & DRAYI_POSIX_EDGE_DIRECT && !slot->direct)
        atomic_fetch_add(&slot->backend->buffered_instead, 1);
    return DRAY_OK;
}

int drayi_posix_slot_fd(const drayi_posix_slot *slot)
{
    return slot->direct ? slot->direct_fd : slot->fd;
}

// --- results -------------------------------------------------------------------------------------

static bool end(drayi_posix_slot *slot, dray_status status)
{
    slot->op->status = status;
    slot->op->bytes_done = slot->done;
    return true;
}

void drayi_posix_slot_fail(drayi_posix_slot *slot, int code, const char *origin)
{
    dray_error *error = &slot->op->error;
    dray_status status = dray_fail_os(
        error, code, origin, "%s %s: wanted %" PRIu64 " at %" PRIu64 ", %" PRIu64 " done",
        call_name(slot), slot->name, slot->bytes, slot->offset, slot->done);
    error->offset = slot->offset + slot->done;
    end(slot, status);
}

static bool fail(drayi_posix_slot *slot, int code)
{
    drayi_posix_slot_fail(slot, code, call_name(slot));
    return true;
}

static bool end_cancelled(drayi_posix_slot *slot)
{
    return end(slot, dray_fail(&slot->op->error, DRAY_E_CANCELLED,
                               "%s %s: cancelled with %" PRIu64 " of %" PRIu64 " bytes done",
                               call_name(slot), slot->name, slot->done, slot->bytes));
}

/// A read found nothing where bytes were promised.
static bool end_of_file(drayi_posix_slot *slot)
{
    uint64_t file_end = slot->offset + slot->done;
    drayi_file_facts facts;
    if (slot->done == 0 && slot->backend->os->facts(slot->fd, &facts) >= 0)
        file_end = drayi_min(file_end, facts.bytes); // it may end far in front of where we read
    dray_error *error = &slot->op->error;
    dray_status status = dray_fail(
        error, DRAY_E_CORRUPT, "pread %s: wanted %" PRIu64 " at %" PRIu64 ", file ends at %" PRIu64,
        slot->name, slot->bytes, slot->offset, file_end);
    error->origin = "pread";
    error->offset = slot->offset + slot->done;
    return end(slot, status);
}

static bool go_buffered(drayi_posix_slot *slot)
{
    slot->direct = false;
    atomic_fetch_add(&slot->backend->buffered_instead, 1);
    return false;
}

static bool try_again(drayi_posix_slot *slot, int code)
{
    return ++slot->fruitless > FRUITLESS_MAX ? fail(slot, code) : false;
}

/// Steps over `bytes` of the parts.
static void advance(drayi_posix_slot *slot, uint64_t bytes)
{
    slot->done += bytes;
    while (bytes > 0) {
        struct iovec *part = &slot->parts[slot->part_first];
        if (bytes < part->iov_len) {
            part->iov_base = (uint8_t *)part->iov_base + bytes;
            part->iov_len -= bytes;
            return;
        }
        bytes -= part->iov_len;
        slot->part_first++;
    }
}

static bool moved(drayi_posix_slot *slot, uint64_t bytes)
{
    uint64_t reached = slot->done + drayi_min(bytes, slot->bytes - slot->done);
    if (slot->direct && reached < slot->bytes)
        reached -= reached % slot->offset_align; // the operation's first byte is aligned
    if (reached == slot->done)
        return go_buffered(slot);
    slot->fruitless = 0;
    advance(slot, reached - slot->done);
    if (slot->done == slot->bytes)
        return end(slot, DRAY_OK);
    return atomic_load(&slot->cancelled) ? end_cancelled(slot) : false;
}

bool drayi_posix_slot_result(drayi_posix_slot *slot, int64_t result)
{
    if (result > 0)
        return moved(slot, (uint64_t)result);
    if (atomic_load(&slot->cancelled))
        return end_cancelled(slot);
    if (slot->direct && (result == 0 || result == -EINVAL || result == -EOPNOTSUPP))
        return go_buffered(slot);
    switch (-result) {
    case 0:
        return slot->write ? try_again(slot, EIO) : end_of_file(slot);
    case EINTR:
    case EAGAIN:
    case ECANCELED: // not by us: the thread that submitted it is gone
        return try_again(slot, (int)-result);
    default:
        return fail(slot, (int)-result);
    }
}

static ssize_t transfer_once(const drayi_posix_slot *slot)
{
    const drayi_os *os = slot->backend->os;
    const struct iovec *parts = &slot->parts[slot->part_first];
    int fd = drayi_posix_slot_fd(slot), count = (int)(slot->part_count - slot->part_first);
    uint64_t offset = slot->offset + slot->done;
    if (count == 1) // cheaper: the kernel has no list to fetch
        return slot->write ? os->pwrite(fd, parts->iov_base, parts->iov_len, offset)
                           : os->pread(fd, parts->iov_base, parts->iov_len, offset);
    return (slot->write ? os->pwritev : os->preadv)(fd, parts, count, offset);
}

void drayi_posix_slot_transfer(drayi_posix_slot *slot)
{
    bool ended = slot->bytes == 0 && end(slot, DRAY_OK);
    while (!ended)
        ended = atomic_load(&slot->cancelled) ? end_cancelled(slot)
                                              : drayi_posix_slot_result(slot, transfer_once(slot));
}

/// Of other files the page cache is asked, where the file system takes the question. What it does not
/// have, the end of the file and every error are the engine's to find out.
bool drayi_posix_slot_try(drayi_posix_slot *slot)
{
    dray_backend *backend = slot->backend;
    if (slot->bytes >= DRAYI_POSIX_BACKGROUND)
        return false;
    if (slot->in_memory) {
        drayi_posix_slot_transfer(slot);
        return true;
    }
    if (slot->write || slot->direct || slot->fd == backend->uncached_fd)
        return false;
    ssize_t got =
        backend->os->preadv_cached(slot->fd, slot->parts, (int)slot->part_count, slot->offset);
    if (got == -EOPNOTSUPP)
        backend->uncached_fd = slot->fd;
    return got > 0 && drayi_posix_slot_result(slot, got);
}
