/// The form for people, read. Its checksum is that of the binary form of the same values, so that white space, the
/// order of members and the way a text is escaped do not matter, and a changed number does.
#include "base/env.h"
#include "base/json_reader.h"
#include "base/quote.h"
#include "layout/geometry.h"
#include "layout/wire.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

// --- values -----------------------------------------------------------------------------------------------

typedef struct json_in {
    drayi_json_reader reader;
    drayi_arena *arena;
    dray_error *error;
} json_in;

/// Reads the value that begins with `first` into `field`.
typedef dray_status read_value(json_in *in, const drayi_json_token *first, void *field);

static dray_status wrong_value(json_in *in, const drayi_json_token *token, const char *wanted)
{
    return dray_fail_rule(in->error, DRAY_E_FORMAT, "layout.json", token->offset,
                          "wanted %s, found %s", wanted, drayi_json_kind_name(token->kind));
}

static dray_status read_u64(json_in *in, const drayi_json_token *first, void *field)
{
    if (first->kind != DRAYI_JSON_NUMBER || !first->is_u64)
        return wrong_value(in, first, "a whole number of at most 64 bits");
    *(uint64_t *)field = first->u64;
    return DRAY_OK;
}

static dray_status read_u32(json_in *in, const drayi_json_token *first, void *field)
{
    if (first->kind != DRAYI_JSON_NUMBER || !first->is_u64 || first->u64 > UINT32_MAX)
        return wrong_value(in, first, "a whole number of at most 32 bits");
    *(uint32_t *)field = (uint32_t)first->u64;
    return DRAY_OK;
}

static dray_status read_flag(json_in *in, const drayi_json_token *first, void *field)
{
    if (first->kind != DRAYI_JSON_TRUE && first->kind != DRAYI_JSON_FALSE)
        return wrong_value(in, first, "true or false");
    *(uint32_t *)field = first->kind == DRAYI_JSON_TRUE;
    return DRAY_OK;
}

static dray_status read_text(json_in *in, const drayi_json_token *first, void *field)
{
    if (first->kind != DRAYI_JSON_STRING)
        return wrong_value(in, first, "a text");
    char *copy = drayi_arena_text(in->arena, first->text.bytes, first->text.length, in->error);
    if (!copy)
        return DRAY_E_NOMEM;
    *(dray_text *)field = (dray_text){.bytes = copy, .length = drayi_json_unescape(first, copy)};
    return DRAY_OK;
}

static dray_status read_text_or_null(json_in *in, const drayi_json_token *first, void *field)
{
    *(dray_text *)field = (dray_text){.bytes = "", .length = 0};
    return first->kind == DRAYI_JSON_NULL ? DRAY_OK : read_text(in, first, field);
}

/// One of the words that `name_of` gives for first_value to last_value.
static dray_status read_word(json_in *in, const drayi_json_token *first, const char *what,
                             const char *(*name_of)(int value), int first_value, int last_value,
                             int *out)
{
    for (int value = first_value; first->kind == DRAYI_JSON_STRING && value <= last_value; value++) {
        if (drayi_json_is(first, name_of(value))) {
            *out = value;
            return DRAY_OK;
        }
    }
    if (first->kind != DRAYI_JSON_STRING)
        return wrong_value(in, first, what);
    return dray_fail_rule(in->error, DRAY_E_FORMAT, "layout.json", first->offset,
                          "\"%s\" is not known as %s", drayi_quote(first->text).text, what);
}

static const char *kind_name(int value)
{
    return dray_layout_kind_name((dray_layout_kind)value);
}

static const char *format_name(int value)
{
    return dray_block_format_name((dray_block_format)value);
}

static const char *storage_name(int value)
{
    return dray_storage_name((dray_storage)value);
}

static const char *memory_name(int value)
{
    return dray_memory_type_name((dray_memory_type)value);
}

static const char *dim_name(int value)
{
    return drayi_layout_dim_name((dray_block_dim)value);
}

static dray_status read_kind(json_in *in, const drayi_json_token *first, void *field)
{
    int value;
    DRAY_TRY(read_word(in, first, "a kind", kind_name, DRAY_LAYOUT_CONTIGUOUS,
                       DRAY_LAYOUT_LAYER_SEPARATE_SECOND, &value));
    *(dray_layout_kind *)field = (dray_layout_kind)value;
    return DRAY_OK;
}

static dray_status read_format(json_in *in, const drayi_json_token *first, void *field)
{
    int value;
    DRAY_TRY(read_word(in, first, "a block format", format_name, DRAY_BLOCK_NHD, DRAY_BLOCK_CUSTOM,
                       &value));
    *(dray_block_format *)field = (dray_block_format)value;
    return DRAY_OK;
}

static dray_status read_storage(json_in *in, const drayi_json_token *first, void *field)
{
    int value;
    DRAY_TRY(read_word(in, first, "a storage kind", storage_name, DRAY_STORAGE_SYSTEM,
                       DRAY_STORAGE_NULL, &value));
    *(dray_storage *)field = (dray_storage)value;
    return DRAY_OK;
}

static dray_status read_memory(json_in *in, const drayi_json_token *first, void *field)
{
    int value;
    DRAY_TRY(read_word(in, first, "a memory type", memory_name, DRAY_MEMORY_DRAM, DRAY_MEMORY_FILE,
                       &value));
    *(dray_memory_type *)field = (dray_memory_type)value;
    return DRAY_OK;
}

static dray_status read_order(json_in *in, const drayi_json_token *first, void *field)
{
    dray_block_dim *order = field;
    drayi_json_token token;
    int value;
    if (first->kind != DRAYI_JSON_ARRAY)
        return wrong_value(in, first, "an array of four dimensions");
    for (int i = 0; i < 4; i++) {
        DRAY_TRY(drayi_json_next(&in->reader, &token, in->error));
        DRAY_TRY(
            read_word(in, &token, "a dimension", dim_name, DRAY_DIM_LAYER, DRAY_DIM_HEAD, &value));
        order[i] = (dray_block_dim)value;
    }
    DRAY_TRY(drayi_json_next(&in->reader, &token, in->error));
    return token.kind == DRAYI_JSON_ARRAY_END
               ? DRAY_OK
               : wrong_value(in, &token, "the end of an array of four dimensions");
}

// --- objects ----------------------------------------------------------------------------------------------

typedef struct member {
    const char *name;
    read_value *read;
    void *field;
    bool optional;
} member;

static dray_status member_read(json_in *in, const drayi_json_token *key, const member *members,
                               uint32_t count, uint32_t *seen)
{
    drayi_json_token first;
    for (uint32_t i = 0; i < count; i++) {
        if (!drayi_json_is(key, members[i].name))
            continue;
        if (*seen & 1u << i)
            return dray_fail_rule(in->error, DRAY_E_FORMAT, "layout.json", key->offset,
                                  "the member %s stands twice", members[i].name);
        *seen |= 1u << i;
        DRAY_TRY(drayi_json_next(&in->reader, &first, in->error));
        dray_status status = members[i].read(in, &first, members[i].field);
        return status == DRAY_OK ? DRAY_OK
                                 : dray_fail_within(in->error, status, "%s", members[i].name);
    }
    return dray_fail_rule(in->error, DRAY_E_FORMAT, "layout.json", key->offset,
                          "the member %s is not known in version %u", drayi_quote(key->text).text,
                          DRAYI_LAYOUT_WIRE_VERSION);
}

/// An object with these members, each once, in any order, and no others.
static dray_status object_read(json_in *in, const drayi_json_token *first, const member *members,
                               uint32_t count)
{
    drayi_json_token token;
    uint32_t seen = 0;
    if (first->kind != DRAYI_JSON_OBJECT)
        return wrong_value(in, first, "an object");
    for (;;) {
        DRAY_TRY(drayi_json_next(&in->reader, &token, in->error));
        if (token.kind == DRAYI_JSON_OBJECT_END)
            break;
        DRAY_TRY(member_read(in, &token, members, count, &seen));
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!(seen & 1u << i) && !members[i].optional)
            return dray_fail_rule(in->error, DRAY_E_FORMAT, "layout.json", token.offset,
                                  "the member %s is missing", members[i].name);
    }
    return DRAY_OK;
}

static dray_status read_config(json_in *in, const drayi_json_token *first, void *field)
{
    dray_layout_config *config = field;
    const member members[] = {
        {"kind", read_kind, &config->kind, false},
        {"format", read_format, &config->format, false},
        {"order", read_order, config->order, true},
        {"num_blocks", read_u64, &config->num_blocks, false},
        {"num_layers", read_u32, &config->num_layers, false},
        {"outer_dim", read_u32, &config->outer_dim, false},
        {"page_size", read_u64, &config->page_size, false},
        {"inner_dim", read_u64, &config->inner_dim, false},
        {"num_heads", read_u32, &config->num_heads, false},
        {"dtype_width_bytes", read_u32, &config->dtype_width_bytes, false},
        {"alignment", read_u64, &config->alignment, false},
    };
    config->struct_bytes = sizeof(*config);
    return object_read(in, first, members, sizeof(members) / sizeof(members[0]));
}

static dray_status read_location(json_in *in, const drayi_json_token *first, void *field)
{
    drayi_layout_wire *wire = field;
    const member members[] = {
        {"storage", read_storage, &wire->storage, false},
        {"device", read_text_or_null, &wire->device, false},
    };
    return object_read(in, first, members, sizeof(members) / sizeof(members[0]));
}

static dray_status region_read(json_in *in, const drayi_json_token *first, dray_descriptor *region)
{
    const member members[] = {
        {"handle", read_u64, &region->handle, false},
        {"address", read_u64, &region->address, false},
        {"bytes", read_u64, &region->bytes, false},
        {"memory", read_memory, &region->memory, false},
        {"device_id", read_u64, &region->device_id, false},
        {"writable", read_flag, &region->writable, false},
    };
    return object_read(in, first, members, sizeof(members) / sizeof(members[0]));
}

static dray_status read_regions(json_in *in, const drayi_json_token *first, void *field)
{
    drayi_layout_wire *wire = field;
    drayi_json_token token;
    if (first->kind != DRAYI_JSON_ARRAY)
        return wrong_value(in, first, "an array of regions");
    uint64_t count;
    DRAY_TRY(drayi_json_count(&in->reader, &count, in->error));
    if (count > UINT32_MAX)
        return wrong_value(in, first, "fewer regions");
    wire->region_count = (uint32_t)count;
    wire->regions = drayi_arena_alloc(in->arena, count * sizeof(*wire->regions), in->error);
    if (!wire->regions)
        return DRAY_E_NOMEM;
    for (uint32_t i = 0; i < wire->region_count; i++) {
        DRAY_TRY(drayi_json_next(&in->reader, &token, in->error));
        dray_status status = region_read(in, &token, &wire->regions[i]);
        if (status != DRAY_OK)
            return dray_fail_within(in->error, status, "region %u", i);
    }
    return drayi_json_next(&in->reader, &token, in->error); // the array's end
}

// --- the document -----------------------------------------------------------------------------------------

/// A later version may look different in all but this: it is refused by name before anything else is.
static dray_status version_find(json_in *in)
{
    drayi_json_reader ahead = in->reader;
    drayi_json_token token;
    DRAY_TRY(drayi_json_next(&ahead, &token, in->error));
    if (token.kind != DRAYI_JSON_OBJECT)
        return wrong_value(in, &token, "an object");
    for (;;) {
        DRAY_TRY(drayi_json_next(&ahead, &token, in->error));
        if (token.kind != DRAYI_JSON_KEY)
            return dray_fail_rule(in->error, DRAY_E_FORMAT, "layout.magic", 0,
                                  "this JSON is no exported layout: it has no member dray_layout");
        bool here = drayi_json_is(&token, "dray_layout");
        DRAY_TRY(drayi_json_next(&ahead, &token, in->error));
        if (here && (token.kind != DRAYI_JSON_NUMBER || !token.is_u64))
            return wrong_value(in, &token, "a version");
        if (here)
            return drayi_layout_wire_version_check(token.u64, token.offset, in->error);
        DRAY_TRY(drayi_json_skip(&ahead, &token, in->error));
    }
}

static dray_status sum_check(json_in *in, const drayi_layout_wire *wire, dray_text given)
{
    uint64_t sum;
    char wanted[17];
    if (!drayi_layout_wire_sum(wire, in->arena, &sum, in->error))
        return DRAY_E_NOMEM;
    snprintf(wanted, sizeof(wanted), "%016" PRIx64, sum);
    if (given.length == 16 && memcmp(given.bytes, wanted, 16) == 0)
        return DRAY_OK;
    return dray_fail_rule(in->error, DRAY_E_CORRUPT, "layout.checksum", DRAY_UNKNOWN,
                          "the values have the checksum %s, wanted %s", wanted,
                          drayi_quote(given).text);
}

dray_status drayi_layout_wire_read_json(const uint8_t *bytes, uint64_t count, drayi_arena *arena,
                                        drayi_layout_wire *out, dray_error *error)
{
    json_in in = {.reader = drayi_json_reader_of(bytes, count, 0), .arena = arena, .error = error};
    dray_text sum = {0};
    uint64_t version;
    drayi_json_token token;
    const member members[] = {
        {"dray_layout", read_u64, &version, false},   {"agent", read_text, &out->agent, false},
        {"epoch", read_u64, &out->epoch, false},      {"location", read_location, out, false},
        {"config", read_config, &out->config, false}, {"regions", read_regions, out, false},
        {"checksum", read_text, &sum, false},
    };
    DRAY_TRY(version_find(&in));
    DRAY_TRY(drayi_json_next(&in.reader, &token, error));
    DRAY_TRY(object_read(&in, &token, members, sizeof(members) / sizeof(members[0])));
    DRAY_TRY(drayi_json_next(&in.reader, &token, error)); // nothing may follow
    return sum_check(&in, out, sum);
}
