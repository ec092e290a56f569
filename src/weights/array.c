/// Walking a metadata array as it stands in the file: the format has checked its bounds, and each step
/// checks them again, because a cursor can come from anywhere.
#include "base/reader.h"
#include "weights/opened.h"

/// GGUF's ids of value types, as they stand before a nested array; 0: none of ours.
static dray_value_type type_of_id(uint32_t id)
{
    static const dray_value_type types[] = {
        DRAY_VALUE_U8,  DRAY_VALUE_I8,  DRAY_VALUE_U16,  DRAY_VALUE_I16,  DRAY_VALUE_U32,
        DRAY_VALUE_I32, DRAY_VALUE_F32, DRAY_VALUE_BOOL, DRAY_VALUE_TEXT, DRAY_VALUE_ARRAY,
        DRAY_VALUE_U64, DRAY_VALUE_I64, DRAY_VALUE_F64,
    };
    return id < sizeof(types) / sizeof(types[0]) ? types[id] : (dray_value_type)0;
}

static uint64_t type_bytes(dray_value_type type)
{
    switch (type) {
    case DRAY_VALUE_U8:
    case DRAY_VALUE_I8:
    case DRAY_VALUE_BOOL:
        return 1;
    case DRAY_VALUE_U16:
    case DRAY_VALUE_I16:
        return 2;
    case DRAY_VALUE_U32:
    case DRAY_VALUE_I32:
    case DRAY_VALUE_F32:
        return 4;
    case DRAY_VALUE_U64:
    case DRAY_VALUE_I64:
    case DRAY_VALUE_F64:
        return 8;
    default:
        return 0;
    }
}

static double float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof(value));
    return (double)value;
}

static void number_load(dray_value *out, const uint8_t *bytes, bool swapped)
{
    uint64_t bits;
    switch (out->type) {
    case DRAY_VALUE_I8:
        out->as.i64 = bytes[0] < 0x80 ? bytes[0] : bytes[0] - 0x100;
        break;
    case DRAY_VALUE_U16:
        out->as.u64 = drayi_load_u16(bytes, swapped);
        break;
    case DRAY_VALUE_I16:
        out->as.i64 = (int16_t)drayi_load_u16(bytes, swapped);
        break;
    case DRAY_VALUE_U32:
        out->as.u64 = drayi_load_u32(bytes, swapped);
        break;
    case DRAY_VALUE_I32:
        out->as.i64 = (int32_t)drayi_load_u32(bytes, swapped);
        break;
    case DRAY_VALUE_F32:
        out->as.f64 = float_of_bits(drayi_load_u32(bytes, swapped));
        break;
    case DRAY_VALUE_U64:
        out->as.u64 = drayi_load_u64(bytes, swapped);
        break;
    case DRAY_VALUE_I64:
        out->as.i64 = (int64_t)drayi_load_u64(bytes, swapped);
        break;
    case DRAY_VALUE_F64:
        bits = drayi_load_u64(bytes, swapped);
        memcpy(&out->as.f64, &bits, sizeof(bits));
        break;
    default: // U8, BOOL
        out->as.u64 = bytes[0];
        break;
    }
}

/// A u64 length and that many bytes at `at`; moves behind them.
static bool text_skip(const uint8_t *bytes, uint64_t limit, bool swapped, uint64_t *at,
                      dray_text *out)
{
    if (!drayi_inside(*at, 8, limit))
        return false;
    uint64_t length = drayi_load_u64(bytes + *at, swapped);
    if (!drayi_inside(*at + 8, length, limit))
        return false;
    *out = (dray_text){.bytes = (const char *)bytes + *at + 8, .length = length};
    *at += 8 + length;
    return true;
}

/// The u32 type id and u64 count in front of a nested array; moves behind them.
static bool array_head(const uint8_t *bytes, uint64_t limit, bool swapped, uint64_t *at,
                       dray_value *out)
{
    if (!drayi_inside(*at, 12, limit))
        return false;
    out->type = DRAY_VALUE_ARRAY;
    out->element_type = type_of_id(drayi_load_u32(bytes + *at, swapped));
    out->as.array.count = drayi_load_u64(bytes + *at + 4, swapped);
    *at += 12;
    return out->element_type != 0;
}

/// Moves behind everything a nested array holds; depth is bounded as formats bound it.
static bool array_skip(const uint8_t *bytes, uint64_t limit, bool swapped, uint64_t *at,
                       const dray_value *array)
{
    enum { depth_most = 8 };
    uint64_t left[depth_most] = {array->as.array.count};
    dray_value_type types[depth_most] = {array->element_type};
    for (int depth = 0; depth >= 0;) {
        uint64_t each = type_bytes(types[depth]), bytes_all;
        dray_text ignored;
        dray_value inner;
        if (each) {
            if (!drayi_mul(left[depth], each, &bytes_all) || !drayi_inside(*at, bytes_all, limit))
                return false;
            *at += bytes_all;
            left[depth] = 0;
        }
        if (left[depth] == 0) {
            depth--;
            continue;
        }
        left[depth]--;
        if (types[depth] == DRAY_VALUE_TEXT) {
            if (!text_skip(bytes, limit, swapped, at, &ignored))
                return false;
        } else {
            if (depth + 1 == depth_most || !array_head(bytes, limit, swapped, at, &inner))
                return false;
            depth++;
            left[depth] = inner.as.array.count;
            types[depth] = inner.element_type;
        }
    }
    return true;
}

bool dray_weights_array_next(const dray_weights *weights, const dray_value *array, uint64_t *cursor,
                             dray_value *out_element)
{
    const uint8_t *bytes = array->as.array.bytes;
    uint64_t limit = array->as.array.byte_count, at = *cursor;
    bool swapped = weights->files[0].format.big_endian != 0;
    if (array->type != DRAY_VALUE_ARRAY || at >= limit)
        return false;
    dray_value element = {.type = array->element_type};
    uint64_t each = type_bytes(element.type);
    if (each) {
        if (!drayi_inside(at, each, limit))
            return false;
        number_load(&element, bytes + at, swapped);
        at += each;
    } else if (element.type == DRAY_VALUE_TEXT) {
        if (!text_skip(bytes, limit, swapped, &at, &element.as.text))
            return false;
    } else if (element.type == DRAY_VALUE_ARRAY) {
        if (!array_head(bytes, limit, swapped, &at, &element))
            return false;
        uint64_t begin = at;
        if (!array_skip(bytes, limit, swapped, &at, &element))
            return false;
        element.as.array.bytes = bytes + begin;
        element.as.array.byte_count = at - begin;
    } else {
        return false;
    }
    *cursor = at;
    *out_element = element;
    return true;
}
