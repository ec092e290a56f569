/// A bounded reader over untrusted bytes: every read checks first, and says where it failed.
///
/// The bytes may still be on their way: `need` (optional) is asked to make [0, upto) readable and may
/// read more of the file. The base address never moves, so views into it stay valid.
#ifndef DRAY_BASE_READER_H
#define DRAY_BASE_READER_H

#include "base/checked.h"
#include "dray/base.h"

#include <stdbool.h>
#include <string.h>

typedef struct drayi_reader {
    const uint8_t *bytes;
    uint64_t available; // readable now
    uint64_t limit;     // end of the file or buffer
    uint64_t position;
    bool big_endian;
    dray_status (*need)(void *self, uint64_t upto, uint64_t *out_available, dray_error *error);
    void *self;
} drayi_reader;

/// Makes `count` bytes at the position readable. DRAY_E_FORMAT with `rule`: the file ends before.
dray_status drayi_reader_need(drayi_reader *reader, uint64_t count, const char *rule,
                              const char *what, dray_error *error);

/// Borrowed view of `count` bytes; advances.
static inline dray_status drayi_read_bytes(drayi_reader *reader, uint64_t count, const uint8_t **out,
                                           const char *rule, const char *what, dray_error *error)
{
    if (count > reader->available - reader->position) {
        dray_status status = drayi_reader_need(reader, count, rule, what, error);
        if (status != DRAY_OK)
            return status;
    }
    *out = reader->bytes + reader->position;
    reader->position += count;
    return DRAY_OK;
}

static inline uint16_t drayi_load_u16(const uint8_t *bytes, bool big_endian)
{
    uint16_t value;
    memcpy(&value, bytes, sizeof(value));
    return big_endian ? __builtin_bswap16(value) : value;
}

static inline uint32_t drayi_load_u32(const uint8_t *bytes, bool big_endian)
{
    uint32_t value;
    memcpy(&value, bytes, sizeof(value));
    return big_endian ? __builtin_bswap32(value) : value;
}

static inline uint64_t drayi_load_u64(const uint8_t *bytes, bool big_endian)
{
    uint64_t value;
    memcpy(&value, bytes, sizeof(value));
    return big_endian ? __builtin_bswap64(value) : value;
}

dray_status drayi_read_u16(drayi_reader *reader, uint16_t *out, const char *rule, const char *what,
                           dray_error *error);
dray_status drayi_read_u32(drayi_reader *reader, uint32_t *out, const char *rule, const char *what,
                           dray_error *error);
dray_status drayi_read_u64(drayi_reader *reader, uint64_t *out, const char *rule, const char *what,
                           dray_error *error);

/// Length (1 to 4) of the well-formed UTF-8 sequence at `at`, of which `left` (> 0) bytes are there; 0: it is none.
unsigned drayi_utf8_sequence(const uint8_t *at, uint64_t left);
/// Is it well-formed UTF-8 (no overlong forms, no surrogates, at most U+10FFFF)?
bool drayi_is_utf8(const uint8_t *bytes, uint64_t count);

#endif
