/// Ranges: bytes that hints are about, checked when they are made.
#include "base/checked.h"
#include "dray/spi/region.h"
#include "hints/hint_words.h"

#include <inttypes.h>

static dray_status empty(dray_error *error)
{
    return dray_fail(error, DRAY_E_INVALID, "hint about no bytes");
}

static dray_status address_check(const void *pointer, uint64_t bytes, dray_error *error)
{
    uint64_t end;
    if (!drayi_add((uintptr_t)pointer, bytes, &end))
        return dray_fail(error, DRAY_E_INVALID,
                         "hint about %" PRIu64 " bytes at %p: they end behind the last address",
                         bytes, pointer);
    return DRAY_OK;
}

dray_status drayi_hint_range_check(const dray_hint_range *range, dray_error *error)
{
    if (range->bytes == 0)
        return empty(error);
    if (range->region &&
        !drayi_inside(range->offset, range->bytes, dray_region_bytes(range->region)))
        return dray_fail(error, DRAY_E_INVALID,
                         "hint about %" PRIu64 " bytes at %" PRIu64
                         ": they leave a region of %" PRIu64 " bytes",
                         range->bytes, range->offset, dray_region_bytes(range->region));
    if (!range->region && !range->pointer)
        return dray_fail(error, DRAY_E_INVALID, "hint about %" PRIu64 " bytes at NULL",
                         range->bytes);
    return address_check(range->pointer, range->bytes, error);
}

dray_status dray_hint_range_raw(void *pointer, uint64_t bytes, dray_hint_range *out_range,
                                dray_error *error)
{
    dray_hint_range range = {.pointer = pointer, .bytes = bytes};
    DRAY_TRY(drayi_hint_range_check(&range, error));
    *out_range = range;
    return DRAY_OK;
}

dray_status dray_hint_range_span(const dray_span *span, dray_hint_range *out_range,
                                 dray_error *error)
{
    dray_region_native native;
    dray_region_get_native(span->region, &native);
    bool has_place = native.pointer || native.storage == DRAY_STORAGE_DISK;
    if (!has_place)
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "hint about %s memory (%s): it has no address here; hints are about managed "
                         "memory, host memory and files",
                         dray_storage_name(native.storage), native.name);
    dray_hint_range range = {.bytes = span->bytes, .region = span->region, .offset = span->offset};
    DRAY_TRY(drayi_hint_range_check(&range, error));
    if (native.pointer)
        range.pointer = (char *)native.pointer + span->offset;
    *out_range = range;
    return DRAY_OK;
}

dray_status dray_hint_range_region(dray_region *region, dray_hint_range *out_range,
                                   dray_error *error)
{
    dray_span whole = {.region = region, .bytes = dray_region_bytes(region)};
    return dray_hint_range_span(&whole, out_range, error);
}

dray_status dray_hint_range_part(const dray_hint_range *range, uint64_t offset, uint64_t bytes,
                                 dray_hint_range *out_part, dray_error *error)
{
    if (bytes == 0)
        return empty(error);
    uint64_t end;
    if (!drayi_add(offset, bytes, &end))
        return dray_fail(error, DRAY_E_INVALID,
                         "hint about %" PRIu64 " bytes at %" PRIu64 ": their end overflows", bytes,
                         offset);
    if (end > range->bytes)
        return dray_fail(error, DRAY_E_INVALID,
                         "hint about %" PRIu64 " bytes at %" PRIu64
                         ": they leave a range of %" PRIu64 " bytes",
                         bytes, offset, range->bytes);
    dray_hint_range part = *range;
    part.bytes = bytes;
    part.offset += offset;
    if (part.pointer)
        part.pointer = (char *)part.pointer + offset;
    DRAY_TRY(drayi_hint_range_check(&part, error));
    *out_part = part;
    return DRAY_OK;
}
