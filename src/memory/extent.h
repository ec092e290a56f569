/// A run of bytes that residency, prefetch, lock and release work on: a piece of a mapped file, or
/// plain memory. Page arithmetic lives here, and nowhere else.
#ifndef DRAY_MEMORY_EXTENT_H
#define DRAY_MEMORY_EXTENT_H

#include "base/checked.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct drayi_extent {
    const char *name; // for messages
    uint8_t *at;
    uint64_t bytes;
    int fd;               // of the file that is mapped at `at`; -1: anonymous memory
    uint64_t file_offset; // of `at`; congruent to it modulo the page size
    bool to_file_end;     // the last byte is the file's last: nobody else has bytes in its page
} drayi_extent;

/// [offset, offset + bytes) of an extent; the range must lie inside.
static inline drayi_extent drayi_extent_part(const drayi_extent *whole, uint64_t offset,
                                             uint64_t bytes)
{
    drayi_extent part = *whole;
    part.at = whole->at + offset;
    part.bytes = bytes;
    part.file_offset = whole->file_offset + offset;
    part.to_file_end = whole->to_file_end && offset + bytes == whole->bytes;
    return part;
}

/// Every page that holds a byte of the extent.
static inline drayi_extent drayi_extent_outwards(const drayi_extent *extent, uint64_t page_bytes)
{
    drayi_extent pages = *extent;
    uint64_t head = (uintptr_t)extent->at & (page_bytes - 1);
    pages.at = extent->at - head;
    pages.file_offset = extent->file_offset - (extent->fd >= 0 ? head : 0);
    pages.bytes =
        extent->bytes == 0 ? 0 : (extent->bytes + head + page_bytes - 1) & ~(page_bytes - 1);
    return pages;
}

/// Only the pages that hold nothing but bytes of the extent; may be none.
static inline drayi_extent drayi_extent_inwards(const drayi_extent *extent, uint64_t page_bytes)
{
    drayi_extent pages = *extent;
    uint64_t skip = (uint64_t)(-(uintptr_t)extent->at) & (page_bytes - 1);
    if (skip >= extent->bytes) {
        pages.bytes = 0;
        return pages;
    }
    pages.at = extent->at + skip;
    pages.file_offset = extent->file_offset + (extent->fd >= 0 ? skip : 0);
    uint64_t rest = extent->bytes - skip;
    if (extent->to_file_end)
        rest += page_bytes - 1;
    pages.bytes = rest & ~(page_bytes - 1);
    return pages;
}

#endif
