/// Fatbins: one header, then entries of cubin or PTX for several architectures.
#include "base/env.h"
#include "loader/gpu_image.h"

#include <inttypes.h>

enum {
    header_bytes = 16,
    entry_header_least = 64,
    kind_ptx = 1,
    kind_cubin = 2,
};
static const uint32_t magic = 0xBA55ED50;
static const uint64_t compressed_flags = 0x2000 | 0x8000; // LZ4 and Zstandard

static dray_status check_header(const uint8_t *bytes, uint64_t count, uint64_t *out_bytes,
                                dray_error *error)
{
    if (count < header_bytes)
        return dray_fail_rule(error, DRAY_E_FORMAT, "fatbin.header", 0,
                              "fatbin: %" PRIu64 " bytes, the header alone has 16", count);
    if (drayi_load_u32(bytes, false) != magic)
        return dray_fail_rule(error, DRAY_E_FORMAT, "fatbin.magic", 0,
                              "fatbin: the first word is %#" PRIx32 ", wanted 0xba55ed50",
                              drayi_load_u32(bytes, false));
    if (drayi_load_u16(bytes + 4, false) != 1 || drayi_load_u16(bytes + 6, false) != header_bytes)
        return dray_fail_rule(error, DRAY_E_UNSUPPORTED, "fatbin.version", 4,
                              "fatbin: version %u with a header of %u bytes, known is 1 with 16",
                              drayi_load_u16(bytes + 4, false), drayi_load_u16(bytes + 6, false));
    uint64_t payload = drayi_load_u64(bytes + 8, false);
    if (payload > count - header_bytes)
        return dray_fail_rule(error, DRAY_E_FORMAT, "fatbin.size", 8,
                              "fatbin: says %" PRIu64 " bytes behind its header, %" PRIu64
                              " are there",
                              payload, count - header_bytes);
    *out_bytes = header_bytes + payload;
    return DRAY_OK;
}

static dray_status check_entry(const uint8_t *bytes, uint64_t at, uint64_t end, uint64_t *out_next,
                               dray_error *error)
{
    if (end - at < entry_header_least)
        return dray_fail_rule(error, DRAY_E_FORMAT, "fatbin.entry", at,
                              "fatbin: %" PRIu64 " bytes are left for an entry, its header has 64",
                              end - at);
    uint64_t head = drayi_load_u32(bytes + at + 4, false);
    uint64_t payload = drayi_load_u64(bytes + at + 8, false);
    if (head < entry_header_least || head > end - at || payload > end - at - head)
        return dray_fail_rule(error, DRAY_E_FORMAT, "fatbin.entry", at,
                              "fatbin: an entry says %" PRIu64 " + %" PRIu64 " bytes, %" PRIu64
                              " are left",
                              head, payload, end - at);
    *out_next = at + head + payload;
    return DRAY_OK;
}

dray_status drayi_fatbin_check(const uint8_t *bytes, uint64_t count, uint64_t *out_bytes,
                               dray_error *error)
{
    uint64_t end = 0, at = header_bytes;
    DRAY_TRY(check_header(bytes, count, &end, error));
    if (at == end)
        return dray_fail_rule(error, DRAY_E_FORMAT, "fatbin.empty", 8, "fatbin: it has no entry");
    while (at < end)
        DRAY_TRY(check_entry(bytes, at, end, &at, error));
    *out_bytes = end;
    return DRAY_OK;
}

bool drayi_fatbin_next(const uint8_t *bytes, uint64_t *position, drayi_fatbin_entry *out)
{
    uint64_t end = header_bytes + drayi_load_u64(bytes + 8, false);
    if (*position == 0)
        *position = header_bytes;
    if (*position >= end)
        return false;
    const uint8_t *entry = bytes + *position;
    uint64_t head = drayi_load_u32(entry + 4, false);
    uint64_t flags = drayi_load_u64(entry + 40, false);
    *out = (drayi_fatbin_entry){
        .is_ptx = drayi_load_u16(entry, false) == kind_ptx,
        .compressed = (flags & compressed_flags) != 0 || drayi_load_u32(entry + 16, false) != 0,
        .sm = drayi_load_u32(entry + 28, false),
        .bytes = entry + head,
        .count = drayi_load_u64(entry + 8, false),
        .at = *position,
    };
    *position += head + out->count;
    return true;
}
