/// dray layout plan: the numbers of a layout, and a drawing of it, without a byte of memory.
#include "command.h"
#include "json_out.h"
#include "layout_drawing.h"
#include "location.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct plan_number {
    bool given;
    uint64_t value;
} plan_number;

typedef struct plan_address {
    bool given;
    uint64_t at[3]; // block, layer, outer
} plan_address;

typedef struct plan_values {
    plan_number blocks, layers, outer, page, inner, dtype, heads, alignment;
    dray_layout_kind kind;
    dray_layout_config format; ///< only format and order are used
    dray_storage memory;
    plan_address address;
    bool json;
} plan_values;

// --- options -------------------------------------------------------------------------------------

/// Digits only; *out_end is behind them.
static bool number_read(const char *text, const char **out_end, uint64_t *out)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)*text) || errno)
        return false;
    *out_end = end;
    *out = value;
    return true;
}

static bool parse_number(const char *text, void *field, option_problem *problem)
{
    plan_number *number = field;
    const char *end;
    if (!number_read(text, &end, &number->value) || *end)
        return option_wrong(problem, "wanted a whole number");
    number->given = true;
    return true;
}

static bool parse_kind(const char *text, void *field, option_problem *problem)
{
    for (int kind = DRAY_LAYOUT_CONTIGUOUS; kind <= DRAY_LAYOUT_LAYER_SEPARATE_SECOND; kind++) {
        if (strcmp(text, dray_layout_kind_name((dray_layout_kind)kind)) == 0) {
            *(dray_layout_kind *)field = (dray_layout_kind)kind;
            return true;
        }
    }
    return option_wrong(problem, "wanted contiguous, layer-separate:block-first or "
                                 "layer-separate:block-second");
}

/// The line of dray_layout_parse() knows every way to write a format.
static bool parse_format(const char *text, void *field, option_problem *problem)
{
    char line[256];
    dray_error error;
    int length =
        snprintf(line, sizeof(line),
                 "contiguous,blocks=1,layers=1,outer=1,page=1,inner=1,heads=1,format=%s", text);
    if (length < (int)sizeof(line) && !strpbrk(text, ",@") &&
        dray_layout_parse(line, field, NULL, &error) == DRAY_OK)
        return true;
    return option_wrong(problem, "wanted NHD, HND, universal-tp, universal-pp or an order like "
                                 "custom:head/layer/outer/token");
}

static bool parse_memory(const char *text, void *field, option_problem *problem)
{
    static const dray_storage storages[] = {DRAY_STORAGE_SYSTEM, DRAY_STORAGE_PINNED,
                                            DRAY_STORAGE_DEVICE, DRAY_STORAGE_MANAGED,
                                            DRAY_STORAGE_DISK};
    dray_storage *memory = field;
    location at;
    for (size_t i = 0; i < sizeof(storages) / sizeof(storages[0]); i++) {
        if (strcmp(text, dray_storage_name(storages[i])) == 0) {
            *memory = storages[i];
            return true;
        }
    }
    if (location_parse(text, &at) && at.storage != DRAY_STORAGE_NULL) {
        *memory = at.storage;
        return true;
    }
    return option_wrong(problem, "wanted system, pinned, device, managed, disk or a device like "
                                 "opencl:0");
}

static bool parse_address(const char *text, void *field, option_problem *problem)
{
    plan_address *address = field;
    const char *at = text;
    for (int i = 0; i < 3; i++) {
        if (!number_read(at, &at, &address->at[i]) || *at != (i < 2 ? ',' : 0))
            return option_wrong(problem, "wanted a block, a layer and an outer, like 0,3,1");
        at++;
    }
    address->given = true;
    return true;
}

// --- measuring -----------------------------------------------------------------------------------

static dray_status narrow(const char *name, plan_number from, uint32_t *out, dray_error *error)
{
    *out = (uint32_t)from.value;
    if (from.value == *out)
        return DRAY_OK;
    return dray_fail(error, DRAY_E_INVALID, "%s must be at most %u, it is %" PRIu64, name,
                     UINT32_MAX, from.value);
}

/// 0 means "the default" to the library, and a mistake on a command line.
static dray_status zeros_check(const plan_values *given, dray_error *error)
{
    if (given->heads.given && given->heads.value == 0)
        return dray_fail_rule(error, DRAY_E_INVALID, "layout.num_heads", DRAY_UNKNOWN,
                              "num_heads must be positive, it is 0");
    if (given->alignment.given && given->alignment.value == 0)
        return dray_fail_rule(error, DRAY_E_INVALID, "layout.alignment", DRAY_UNKNOWN,
                              "alignment must be a power of 2, it is 0");
    if (given->dtype.value == 0)
        return dray_fail_rule(
            error, DRAY_E_INVALID, "layout.dtype_width_bytes", DRAY_UNKNOWN,
            "dtype_width_bytes must be a power of two and at most 8 bytes, it is 0");
    return DRAY_OK;
}

static dray_status measure(const plan_values *given, dray_layout_geometry *out, dray_error *error)
{
    dray_layout_config config = {
        .struct_bytes = sizeof(config),
        .kind = given->kind,
        .format = given->format.format,
        .num_blocks = given->blocks.value,
        .page_size = given->page.value,
        .inner_dim = given->inner.value,
        .alignment = given->alignment.value,
    };
    memcpy(config.order, given->format.order, sizeof(config.order));
    dray_status status = zeros_check(given, error);
    if (status == DRAY_OK)
        status = narrow("num_layers", given->layers, &config.num_layers, error);
    if (status == DRAY_OK)
        status = narrow("outer_dim", given->outer, &config.outer_dim, error);
    if (status == DRAY_OK)
        status = narrow("num_heads", given->heads, &config.num_heads, error);
    if (status == DRAY_OK)
        status = narrow("dtype_width_bytes", given->dtype, &config.dtype_width_bytes, error);
    if (status == DRAY_OK)
        status = dray_layout_measure(&config, given->memory, out, error);
    return status;
}

// --- as JSON -------------------------------------------------------------------------------------

static void document_out(const dray_layout_geometry *geometry, const dray_layout_place *place)
{
    json_out json = json_begin(stdout);
    json_object(&json, NULL);
    json_array_flat(&json, "required_allocations");
    for (uint64_t i = 0; i < geometry->region_count; i++)
        json_u64(&json, NULL, geometry->region_bytes);
    json_end(&json);
    json_array_flat(&json, "region_offsets");
    for (uint64_t i = 0; i < geometry->region_count; i++)
        json_u64(&json, NULL, dray_layout_region_offset(geometry, i));
    json_end(&json);
    json_object_flat(&json, "strides");
    json_u64(&json, "block", geometry->block_stride);
    json_u64(&json, "layer", geometry->layer_stride);
    json_u64(&json, "outer", geometry->outer_stride);
    json_end(&json);
    json_u64(&json, "bytes_per_block", geometry->bytes_per_block);
    json_u64(&json, "padding_bytes", geometry->padding_bytes);
    if (place) {
        json_object_flat(&json, "address");
        json_u64(&json, "region", place->region);
        json_u64(&json, "offset", place->offset);
        json_u64(&json, "bytes", place->bytes);
        json_end(&json);
    }
    json_end(&json);
    json_finish(&json);
}

// --- the verb ------------------------------------------------------------------------------------

static void text_out(const plan_values *given, const dray_layout_geometry *geometry,
                     const dray_layout_place *place)
{
    layout_draw(geometry, stdout);
    if (place)
        printf("\nblock %" PRIu64 ", layer %" PRIu64 ", outer %" PRIu64 ": region %" PRIu64
               ", offset %" PRIu64 ", %" PRIu64 " bytes\n",
               given->address.at[0], given->address.at[1], given->address.at[2], place->region,
               place->offset, place->bytes);
}

static int layout_plan_run(const void *values)
{
    const plan_values *given = values;
    session job = session_begin("layout plan", given->json);
    dray_layout_geometry geometry;
    dray_layout_place place = {0}, *addressed = given->address.given ? &place : NULL;
    dray_status status = measure(given, &geometry, &job.error);
    if (status == DRAY_OK && addressed)
        status = dray_layout_locate(&geometry, given->address.at[0], given->address.at[1],
                                    given->address.at[2], addressed, &job.error);
    if (status == DRAY_OK && given->json)
        document_out(&geometry, addressed);
    else if (status == DRAY_OK)
        text_out(given, &geometry, addressed);
    return session_end(&job, status, false);
}

static const option layout_plan_options[] = {
    {"blocks", "N", "blocks in the layout", .parse = parse_number, .required = true,
     .at = offsetof(plan_values, blocks)},
    {"layers", "L", "layers of the model", .parse = parse_number, .required = true,
     .at = offsetof(plan_values, layers)},
    {"outer", "O", "2: K and V; 1: one of both (MLA)", .parse = parse_number, .required = true,
     .at = offsetof(plan_values, outer)},
    {"page", "P", "tokens in a block, a power of two", .parse = parse_number, .required = true,
     .at = offsetof(plan_values, page)},
    {"inner", "I", "elements of a token in a layer: heads x head size", .parse = parse_number,
     .required = true, .at = offsetof(plan_values, inner)},
    {"dtype-bytes", "W", "bytes of an element: 1, 2, 4 or 8", .parse = parse_number,
     .required = true, .at = offsetof(plan_values, dtype)},
    {"kind", "KIND", "contiguous, layer-separate:block-first or\nlayer-separate:block-second",
     .parse = parse_kind, .required = true, .at = offsetof(plan_values, kind)},
    {"heads", "H", "KV heads; divides I", .parse = parse_number, .at = offsetof(plan_values, heads)},
    {"format", "FORMAT",
     "order inside a block: NHD (default), HND, universal-tp,\n"
     "universal-pp, or custom:head/layer/outer/token",
     .parse = parse_format, .at = offsetof(plan_values, format)},
    {"align", "A", "alignment of every region and block, a power of two (default: 1)",
     .parse = parse_number, .at = offsetof(plan_values, alignment)},
    {"memory", "KIND", "system (default), pinned, device, managed, disk, or a device like opencl:0",
     .parse = parse_memory, .at = offsetof(plan_values, memory)},
    {"address", "b,l,o", "also says where this block, layer and outer stands",
     .parse = parse_address, .at = offsetof(plan_values, address)},
    {"json", NULL, "one JSON document on standard output", .at = offsetof(plan_values, json)},
    {0},
};

const command command_layout_plan = {
    .name = "layout plan",
    .summary = "sizes, strides and addresses of a layout, without any memory",
    .description =
        "Says how many bytes the regions of a layout take, where they start in one allocation or file of\n"
        "the given kind, and how far blocks, layers and outers are apart. Nothing is allocated or opened.\n"
        "The offset of a block, layer and outer inside its region is\n"
        "  block x strides.block + layer x strides.layer + outer x strides.outer\n"
        "where strides.layer is 0 for layer-separate layouts: there the layer is the region. padding_bytes\n"
        "is everything in the allocation that is no contents; on disk regions start at multiples of 4096.\n",
    .options = layout_plan_options,
    .values_bytes = sizeof(plan_values),
    .run = layout_plan_run,
};
