/// GGUF metadata: keys and typed values.
///
///     key: u64 length, bytes · u32 type · value
///     text: u64 length, bytes    array: u32 element type, u64 count, elements
///
/// Arrays are the bulk of a header (vocabularies of 100,000 texts and more), so they are not read
/// element by element: numbers are one multiplication, texts one tight loop over what is readable,
/// which asks for more of the file only when it runs out. Nothing is copied.
#include "base/env.h"
#include "base/quote.h"
#include "format/gguf.h"

#include <inttypes.h>

enum {
    key_bytes_most = 65535,
    depth_most = 4,           // of nested arrays, --lenient only
    alignment_most = 1 << 30, // the largest page there is
};

typedef struct value_kind {
    dray_value_type type;
    uint32_t bytes; // 0: not of fixed size
} value_kind;

/// By GGUF's own number.
static const value_kind kinds[] = {
    {DRAY_VALUE_U8, 1},   {DRAY_VALUE_I8, 1},    {DRAY_VALUE_U16, 2}, {DRAY_VALUE_I16, 2},
    {DRAY_VALUE_U32, 4},  {DRAY_VALUE_I32, 4},   {DRAY_VALUE_F32, 4}, {DRAY_VALUE_BOOL, 1},
    {DRAY_VALUE_TEXT, 0}, {DRAY_VALUE_ARRAY, 0}, {DRAY_VALUE_U64, 8}, {DRAY_VALUE_I64, 8},
    {DRAY_VALUE_F64, 8},
};

enum { kind_count = sizeof(kinds) / sizeof(kinds[0]) };

static dray_status kind_read(gguf_file *file, const value_kind **out_kind, dray_error *error)
{
    uint32_t type;
    uint64_t offset = file->reader.position;
    DRAY_TRY(drayi_read_u32(&file->reader, &type, GGUF_CUT, "value type", error));
    if (type >= kind_count)
        return dray_fail_rule(error, DRAY_E_FORMAT, "gguf.value.type", offset,
                              "value type %" PRIu32 ", the types are 0 to %d", type, kind_count - 1);
    *out_kind = &kinds[type];
    return DRAY_OK;
}

// --- texts ---------------------------------------------------------------------------------------

/// Is this surely UTF-8? Tells so for ASCII and two-byte characters, most of any vocabulary, eight bytes
/// at a time; false only means that somebody has to look closer. `room`: readable bytes behind `at`,
/// the last word may reach behind the text.
static inline bool is_simple_utf8(const uint8_t *at, uint64_t count, uint64_t room)
{
    const uint64_t high_bits = UINT64_C(0x8080808080808080);
    uint64_t owed = 0; // high bit of byte 0: the word before ended in a lead byte
    if (room < count + 7)
        return false;
    for (uint64_t i = 0; i < count; i += 8) {
        uint64_t word = drayi_load_u64(at + i, false);
        if (count - i < 8)
            word &= (UINT64_C(1) << (8 * (count - i))) - 1;
        uint64_t high = word & high_bits;
        uint64_t lead = high & (word << 1), follow = high & ~(word << 1);
        uint64_t longer = lead & (word << 2); // three bytes and more
        uint64_t minimal = (word & UINT64_C(0x1E1E1E1E1E1E1E1E)) + UINT64_C(0x7E7E7E7E7E7E7E7E);
        if (longer | (lead & ~minimal) | (follow ^ (lead << 8 | owed)))
            return false;
        owed = lead >> 63 << 7;
    }
    return owed == 0;
}

static dray_status text_check(const gguf_file *file, uint64_t position, uint64_t length,
                              dray_error *error)
{
    if (drayi_is_utf8(file->reader.bytes + position, length))
        return DRAY_OK;
    return dray_fail_rule(error, DRAY_E_FORMAT, "gguf.text.utf8", position,
                          "a text of %" PRIu64 " bytes is not UTF-8", length);
}

static dray_status text_read(gguf_file *file, dray_text *out, const char *what, dray_error *error)
{
    const uint8_t *bytes;
    DRAY_TRY(drayi_read_u64(&file->reader, &out->length, GGUF_CUT, what, error));
    DRAY_TRY(drayi_read_bytes(&file->reader, out->length, &bytes, GGUF_CUT, what, error));
    out->bytes = (const char *)bytes;
    return DRAY_OK;
}

/// Steps over as many of `count` texts as lie whole in what is readable, and returns how many. A text
/// that is not UTF-8 (when `checked`) ends it too, *out_bad tells.
static uint64_t texts_step(drayi_reader *reader, uint64_t count, bool checked, bool *out_bad)
{
    const uint8_t *at = reader->bytes + reader->position;
    const uint8_t *end = reader->bytes + reader->available;
    uint64_t done = 0;
    *out_bad = false;
    while (done < count && end - at >= 8) {
        uint64_t length = drayi_load_u64(at, reader->big_endian);
        uint64_t room = (uint64_t)(end - at) - 8;
        if (length > room)
            break;
        if (checked && !is_simple_utf8(at + 8, length, room) && !drayi_is_utf8(at + 8, length)) {
            *out_bad = true;
            break;
        }
        at += 8 + length;
        done++;
    }
    reader->position = (uint64_t)(at - reader->bytes);
    return done;
}

static dray_status texts_skip(gguf_file *file, uint64_t count, dray_error *error)
{
    drayi_reader *reader = &file->reader;
    while (count > 0) {
        bool bad;
        count -= texts_step(reader, count, !file->bounds_only, &bad);
        if (bad)
            return text_check(file, reader->position + 8,
                              drayi_load_u64(reader->bytes + reader->position, reader->big_endian),
                              error);
        if (count == 0)
            break;
        // The next one is not whole yet: read it the slow way, which fetches more or fails.
        dray_text text;
        DRAY_TRY(text_read(file, &text, "text in array", error));
        if (!file->bounds_only)
            DRAY_TRY(text_check(file, reader->position - text.length, text.length, error));
        count--;
    }
    return DRAY_OK;
}

// --- arrays --------------------------------------------------------------------------------------

static dray_status bools_check(const gguf_file *file, uint64_t position, uint64_t count,
                               dray_error *error)
{
    for (uint64_t i = 0; i < count; i++) {
        uint8_t byte = file->reader.bytes[position + i];
        if (byte > 1)
            return dray_fail_rule(error, DRAY_E_FORMAT, "gguf.value.bool", position + i,
                                  "a bool is %u, neither 0 nor 1", byte);
    }
    return DRAY_OK;
}

typedef struct array_head {
    const value_kind *element;
    uint64_t count;
} array_head;

/// Reads an array's element type and count, and checks that the file could hold that many.
static dray_status array_head_read(gguf_file *file, array_head *out, dray_error *error)
{
    uint64_t offset = file->reader.position;
    DRAY_TRY(kind_read(file, &out->element, error));
    DRAY_TRY(drayi_read_u64(&file->reader, &out->count, GGUF_CUT, "array length", error));
    if (out->element->type == DRAY_VALUE_ARRAY && !file->lenient)
        return dray_fail_rule(error, DRAY_E_FORMAT, "gguf.array.nested", offset,
                              "an array of arrays, which ggml does not read; --lenient allows it");
    uint64_t least = out->element->bytes;
    if (least == 0)
        least = out->element->type == DRAY_VALUE_TEXT ? 8 : 12;
    uint64_t left = file->reader.limit - file->reader.position;
    if (out->count > left / least)
        return dray_fail_rule(error, DRAY_E_FORMAT, "gguf.array.length", offset,
                              "an array of %" PRIu64 " elements of at least %" PRIu64
                              " bytes, %" PRIu64 " bytes are left in the file",
                              out->count, least, left);
    return DRAY_OK;
}

/// Steps over the elements of an array that holds no arrays.
static dray_status flat_array_skip(gguf_file *file, const array_head *array, dray_error *error)
{
    if (array->element->type == DRAY_VALUE_TEXT)
        return texts_skip(file, array->count, error);
    const uint8_t *bytes;
    uint64_t position =
        file->reader.position; // count x bytes was checked against the file: no overflow
    DRAY_TRY(drayi_read_bytes(&file->reader, array->count * array->element->bytes, &bytes, GGUF_CUT,
                              "array", error));
    return array->element->type == DRAY_VALUE_BOOL
               ? bools_check(file, position, array->count, error)
               : DRAY_OK;
}

/// Steps over arrays in arrays with a list of what is left on each level, so that a file cannot make
/// us recurse. `count`: arrays in the outermost one.
static dray_status nested_array_skip(gguf_file *file, uint64_t count, dray_error *error)
{
    uint64_t left[depth_most - 1] = {count};
    uint32_t depth = 1;
    while (depth > 0) {
        if (left[depth - 1] == 0) {
            depth--;
            continue;
        }
        left[depth - 1]--;
        uint64_t offset = file->reader.position;
        array_head array;
        DRAY_TRY(array_head_read(file, &array, error));
        if (array.element->type != DRAY_VALUE_ARRAY) {
            DRAY_TRY(flat_array_skip(file, &array, error));
            continue;
        }
        if (depth == depth_most - 1)
            return dray_fail_rule(error, DRAY_E_FORMAT, "gguf.array.depth", offset,
                                  "arrays are nested deeper than %d", depth_most);
        left[depth++] = array.count;
    }
    return DRAY_OK;
}

static dray_status array_read(gguf_file *file, dray_value *out, dray_error *error)
{
    array_head array;
    DRAY_TRY(array_head_read(file, &array, error));
    uint64_t start = file->reader.position;
    if (array.element->type == DRAY_VALUE_ARRAY) {
        DRAY_TRY(drayi_gguf_warn(file, "gguf.array.nested", start, error,
                                 "an array of %" PRIu64 " arrays", array.count));
        DRAY_TRY(nested_array_skip(file, array.count, error));
    } else {
        DRAY_TRY(flat_array_skip(file, &array, error));
    }
    out->element_type = array.element->type;
    out->as.array.count = array.count;
    out->as.array.bytes = file->reader.bytes + start;
    out->as.array.byte_count = file->reader.position - start;
    return DRAY_OK;
}

// --- single values -------------------------------------------------------------------------------

static void number_load(dray_value *out, const uint8_t *at, bool big_endian)
{
    uint32_t bits32;
    uint64_t bits64;
    float single;
    switch (out->type) {
    case DRAY_VALUE_U8:
    case DRAY_VALUE_BOOL:
        out->as.u64 = *at;
        break;
    case DRAY_VALUE_I8:
        out->as.i64 = (int64_t)(*at ^ 0x80) - 0x80; // two's complement, without a char in it
        break;
    case DRAY_VALUE_U16:
        out->as.u64 = drayi_load_u16(at, big_endian);
        break;
    case DRAY_VALUE_I16:
        out->as.i64 = (int16_t)drayi_load_u16(at, big_endian);
        break;
    case DRAY_VALUE_U32:
        out->as.u64 = drayi_load_u32(at, big_endian);
        break;
    case DRAY_VALUE_I32:
        out->as.i64 = (int32_t)drayi_load_u32(at, big_endian);
        break;
    case DRAY_VALUE_F32:
        bits32 = drayi_load_u32(at, big_endian);
        memcpy(&single, &bits32, sizeof(single));
        out->as.f64 = (double)single;
        break;
    case DRAY_VALUE_F64:
        bits64 = drayi_load_u64(at, big_endian);
        memcpy(&out->as.f64, &bits64, sizeof(bits64));
        break;
    case DRAY_VALUE_I64:
        out->as.i64 = (int64_t)drayi_load_u64(at, big_endian);
        break;
    default:
        out->as.u64 = drayi_load_u64(at, big_endian);
        break;
    }
}

static dray_status value_read(gguf_file *file, dray_value *out, dray_error *error)
{
    const value_kind *kind = kinds;
    const uint8_t *at;
    DRAY_TRY(kind_read(file, &kind, error));
    out->type = kind->type;
    if (kind->type == DRAY_VALUE_ARRAY)
        return array_read(file, out, error);
    if (kind->type == DRAY_VALUE_TEXT) {
        DRAY_TRY(text_read(file, &out->as.text, "text", error));
        return text_check(file, file->reader.position - out->as.text.length, out->as.text.length,
                          error);
    }
    uint64_t position = file->reader.position;
    DRAY_TRY(drayi_read_bytes(&file->reader, kind->bytes, &at, GGUF_CUT, "value", error));
    if (kind->type == DRAY_VALUE_BOOL)
        DRAY_TRY(bools_check(file, position, 1, error));
    number_load(out, at, file->reader.big_endian);
    return DRAY_OK;
}

// --- keys ----------------------------------------------------------------------------------------

/// ggml's own names are [a-z0-9_.-]; other writers are freer. Control bytes and spaces are never meant.
static dray_status key_characters(gguf_file *file, dray_text key, uint64_t offset, dray_error *error)
{
    bool unusual = false;
    for (uint64_t i = 0; i < key.length; i++) {
        uint8_t byte = (uint8_t)key.bytes[i];
        if (byte <= 0x20 || byte == 0x7F)
            return dray_fail_rule(error, DRAY_E_FORMAT,
                                  byte == 0 ? "gguf.key.nul" : "gguf.key.characters", offset + i,
                                  "byte %02x in key %s", byte, drayi_quote(key).text);
        bool usual = (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') || byte == '_' ||
                     byte == '.' || byte == '-';
        unusual |= !usual;
    }
    if (!unusual)
        return DRAY_OK;
    return drayi_gguf_warn(file, "gguf.key.characters", offset, error,
                           "key %s: other characters than a-z 0-9 _ . -", drayi_quote(key).text);
}

static dray_status key_read(gguf_file *file, dray_text *out, dray_error *error)
{
    uint64_t offset = file->reader.position;
    DRAY_TRY(drayi_read_u64(&file->reader, &out->length, GGUF_CUT, "key length", error));
    if (out->length == 0)
        return dray_fail_rule(error, DRAY_E_FORMAT, "gguf.key.empty", offset,
                              "a key without a name");
    if (out->length > key_bytes_most)
        return dray_fail_rule(error, DRAY_E_FORMAT, "gguf.key.length", offset,
                              "a key of %" PRIu64 " bytes, the most are %d", out->length,
                              key_bytes_most);
    const uint8_t *bytes;
    DRAY_TRY(drayi_read_bytes(&file->reader, out->length, &bytes, GGUF_CUT, "key", error));
    out->bytes = (const char *)bytes;
    if (!drayi_is_utf8(bytes, out->length))
        return dray_fail_rule(error, DRAY_E_FORMAT, "gguf.key.utf8", offset + 8,
                              "key %s is not UTF-8", drayi_quote(*out).text);
    return key_characters(file, *out, offset + 8, error);
}

static bool key_is(dray_text key, const char *name)
{
    return key.length == strlen(name) && memcmp(key.bytes, name, key.length) == 0;
}

static dray_status alignment_take(gguf_file *file, const dray_value *value, uint64_t offset,
                                  dray_error *error)
{
    if (value->type != DRAY_VALUE_U32)
        return dray_fail_rule(error, DRAY_E_FORMAT, "gguf.alignment", offset,
                              "general.alignment is not a u32");
    uint64_t alignment = value->as.u64;
    if (!drayi_is_power_of_two(alignment) || alignment < 8 || alignment > alignment_most)
        return dray_fail_rule(error, DRAY_E_FORMAT, "gguf.alignment", offset,
                              "general.alignment is %" PRIu64
                              ", it must be a power of two from 8 to %d",
                              alignment, alignment_most);
    file->alignment = alignment;
    return DRAY_OK;
}

/// An integer of whatever type, not negative; `exact` is the type that llama.cpp writes and expects.
static dray_status split_take(gguf_file *file, dray_text key, const dray_value *value,
                              dray_value_type exact, uint64_t offset, uint64_t *out,
                              dray_error *error)
{
    bool is_signed = value->type == DRAY_VALUE_I8 || value->type == DRAY_VALUE_I16 ||
                     value->type == DRAY_VALUE_I32 || value->type == DRAY_VALUE_I64;
    bool is_unsigned = value->type == DRAY_VALUE_U8 || value->type == DRAY_VALUE_U16 ||
                       value->type == DRAY_VALUE_U32 || value->type == DRAY_VALUE_U64;
    uint64_t most = exact == DRAY_VALUE_U16 ? UINT16_MAX : INT32_MAX;
    if ((!is_signed && !is_unsigned) || (is_signed && value->as.i64 < 0) || value->as.u64 > most)
        return dray_fail_rule(error, DRAY_E_FORMAT, "gguf.split", offset,
                              "%s is not a number from 0 to %" PRIu64, drayi_quote(key).text, most);
    *out = value->as.u64;
    if (value->type == exact)
        return DRAY_OK;
    return drayi_gguf_warn(file, "gguf.split.type", offset, error,
                           "%s is not a %s as llama.cpp writes it", drayi_quote(key).text,
                           exact == DRAY_VALUE_U16 ? "u16" : "i32");
}

/// What the reader itself wants to know.
static dray_status value_take(gguf_file *file, dray_text key, const dray_value *value,
                              uint64_t offset, dray_error *error)
{
    if (key_is(key, "general.alignment"))
        return alignment_take(file, value, offset, error);
    if (key_is(key, "split.no"))
        return split_take(file, key, value, DRAY_VALUE_U16, offset, &file->split_no, error);
    if (key_is(key, "split.count"))
        return split_take(file, key, value, DRAY_VALUE_U16, offset, &file->split_count, error);
    if (key_is(key, "split.tensors.count"))
        return split_take(file, key, value, DRAY_VALUE_I32, offset, &file->split_tensors, error);
    return DRAY_OK;
}

/// Gives it to the sink, which knows whether the key was there before.
static dray_status value_give(gguf_file *file, dray_text key, const dray_value *value,
                              uint64_t offset, dray_error *error)
{
    bool duplicate = false;
    dray_status status = file->sink->metadata(file->sink, key, value, &duplicate, error);
    if (!duplicate)
        return status == DRAY_OK ? value_take(file, key, value, offset, error) : status;
    if (!file->lenient)
        return dray_fail_rule(error, DRAY_E_FORMAT, "gguf.key.duplicate", offset,
                              "key %s is there twice; --lenient takes the first",
                              drayi_quote(key).text);
    return drayi_gguf_warn(file, "gguf.key.duplicate", offset, error,
                           "key %s is there again, the first counts", drayi_quote(key).text);
}

static dray_status split_check(gguf_file *file, dray_error *error)
{
    if (file->split_count == 0)
        return DRAY_OK;
    if (file->split_no >= file->split_count)
        return dray_fail_rule(error, DRAY_E_FORMAT, "gguf.split", DRAY_UNKNOWN,
                              "split.no is %" PRIu64 " of split.count %" PRIu64 ", the first is 0",
                              file->split_no, file->split_count);
    dray_format_facts *facts = file->sink->facts;
    facts->split_no = (uint32_t)file->split_no;
    facts->split_count = (uint32_t)file->split_count;
    facts->split_tensors = file->split_tensors;
    return DRAY_OK;
}

dray_status drayi_gguf_metadata(gguf_file *file, dray_error *error)
{
    for (uint64_t i = 0; i < file->metadata_count; i++) {
        dray_text key;
        dray_value value = {0};
        uint64_t offset = file->reader.position;
        dray_status status = key_read(file, &key, error);
        if (status != DRAY_OK)
            return dray_fail_within(error, status, "key %" PRIu64 " of %" PRIu64, i,
                                    file->metadata_count);
        status = value_read(file, &value, error);
        if (status != DRAY_OK)
            return dray_fail_within(error, status, "key %s", drayi_quote(key).text);
        DRAY_TRY(value_give(file, key, &value, offset, error));
    }
    file->sink->facts->alignment = file->alignment;
    return split_check(file, error);
}
