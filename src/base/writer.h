/// A bounded writer of little-endian fields, for the formats that dray defines itself. What does not fit is
/// counted and not written, so a first pass without room tells how much is needed.
#ifndef DRAY_BASE_WRITER_H
#define DRAY_BASE_WRITER_H

#include "dray/base.h"

#include <string.h>

typedef struct drayi_writer {
    uint8_t *out; // NULL with capacity 0: only counts
    uint64_t capacity, used;
} drayi_writer;

static inline void drayi_write_bytes(drayi_writer *writer, const void *bytes, uint64_t count)
{
    if (count && writer->used <= writer->capacity && count <= writer->capacity - writer->used)
        memcpy(writer->out + writer->used, bytes, count);
    writer->used += count;
}

/// The lowest `bytes` (at most 8) of the value.
static inline void drayi_write_number(drayi_writer *writer, uint64_t value, unsigned bytes)
{
    uint8_t little[8];
    for (unsigned i = 0; i < bytes; i++)
        little[i] = (uint8_t)(value >> 8 * i);
    drayi_write_bytes(writer, little, bytes);
}

/// Its length in two bytes, then the text.
static inline void drayi_write_text(drayi_writer *writer, dray_text text)
{
    drayi_write_number(writer, text.length, 2);
    drayi_write_bytes(writer, text.bytes, text.length);
}

#endif
