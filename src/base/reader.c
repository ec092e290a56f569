/// The slow half of the bounded reader: refilling, failing, and UTF-8.
#include "base/reader.h"

#include <inttypes.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "loads assume a little-endian host");

dray_status drayi_reader_need(drayi_reader *reader, uint64_t count, const char *rule,
                              const char *what, dray_error *error)
{
    if (count > reader->limit - reader->position)
        return dray_fail_rule(error, DRAY_E_FORMAT, rule, reader->position,
                              "%s: wanted %" PRIu64 " bytes at %" PRIu64 ", file ends at %" PRIu64,
                              what, count, reader->position, reader->limit);
    if (count <= reader->available - reader->position)
        return DRAY_OK;
    if (!reader->need)
        return dray_fail_rule(error, DRAY_E_INTERNAL, rule, reader->position,
                              "%s: nothing refills this reader", what);
    return reader->need(reader->self, reader->position + count, &reader->available, error);
}

dray_status drayi_read_u16(drayi_reader *reader, uint16_t *out, const char *rule, const char *what,
                           dray_error *error)
{
    const uint8_t *bytes;
    dray_status status = drayi_read_bytes(reader, 2, &bytes, rule, what, error);
    if (status == DRAY_OK)
        *out = drayi_load_u16(bytes, reader->big_endian);
    return status;
}

dray_status drayi_read_u32(drayi_reader *reader, uint32_t *out, const char *rule, const char *what,
                           dray_error *error)
{
    const uint8_t *bytes;
    dray_status status = drayi_read_bytes(reader, 4, &bytes, rule, what, error);
    if (status == DRAY_OK)
        *out = drayi_load_u32(bytes, reader->big_endian);
    return status;
}

dray_status drayi_read_u64(drayi_reader *reader, uint64_t *out, const char *rule, const char *what,
                           dray_error *error)
{
    const uint8_t *bytes;
    dray_status status = drayi_read_bytes(reader, 8, &bytes, rule, what, error);
    if (status == DRAY_OK)
        *out = drayi_load_u64(bytes, reader->big_endian);
    return status;
}

/// After Unicode 15, table 3-7.
unsigned drayi_utf8_sequence(const uint8_t *at, uint64_t left)
{
    uint8_t lead = at[0];
    if (lead < 0x80)
        return 1;
    unsigned length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4 || left < length)
        return 0;
    uint8_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    uint8_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (at[1] < low || at[1] > high)
        return 0;
    for (unsigned i = 2; i < length; i++) {
        if ((at[i] & 0xC0) != 0x80)
            return 0;
    }
    return length;
}

bool drayi_is_utf8(const uint8_t *bytes, uint64_t count)
{
    uint64_t at = 0;
    while (at < count) {
        if (count - at >= 8 && !(drayi_load_u64(bytes + at, false) & UINT64_C(0x8080808080808080))) {
            at += 8; // eight ASCII bytes at once
            continue;
        }
        unsigned length = drayi_utf8_sequence(bytes + at, count - at);
        if (length == 0)
            return false;
        at += length;
    }
    return true;
}
