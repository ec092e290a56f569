/// A configuration as one line, read and written: what people type, and what messages and files show.
///
/// Somebody else may have written the line, so it is read to its end, without copying, and what is wrong is quoted
/// with its place.
#include "base/checked.h"
#include "base/env.h"
#include "base/quote.h"
#include "layout/geometry.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/// A piece of the line: never terminated.
typedef struct piece {
    const char *at;
    size_t length;
} piece;

static bool piece_is(piece text, const char *word)
{
    return strlen(word) == text.length && strncasecmp(text.at, word, text.length) == 0;
}

static const char *shown(piece text, drayi_quoted *out)
{
    *out = drayi_quote((dray_text){.bytes = text.at, .length = text.length});
    return out->text;
}

/// Cuts the piece in front of the first `sign` off; all of it, and rest->at NULL, when there is none.
static piece piece_cut(piece *rest, char sign)
{
    const char *at = memchr(rest->at, sign, rest->length);
    piece front = *rest;
    *rest = (piece){.at = NULL};
    if (at) {
        rest->at = at + 1;
        rest->length = front.length - (size_t)(at + 1 - front.at);
        front.length = (size_t)(at - front.at);
    }
    return front;
}

// --- values --------------------------------------------------------------------------------------------------------

static dray_status number_read(piece key, piece value, uint64_t most, uint64_t *out,
                               dray_error *error)
{
    drayi_quoted name, text;
    uint64_t number = 0;
    bool fits = value.length > 0;
    for (size_t i = 0; i < value.length && fits; i++) {
        char digit = value.at[i];
        fits = digit >= '0' && digit <= '9' && drayi_mul(number, 10, &number) &&
               drayi_add(number, (uint64_t)(digit - '0'), &number);
    }
    if (!fits || number > most)
        return dray_fail(error, DRAY_E_INVALID,
                         "%s wants a whole number up to %" PRIu64 ", it is \"%s\"",
                         shown(key, &name), most, shown(value, &text));
    *out = number;
    return DRAY_OK;
}

static dray_status kind_read(piece word, dray_layout_kind *out, dray_error *error)
{
    for (int kind = DRAY_LAYOUT_CONTIGUOUS; kind <= DRAY_LAYOUT_LAYER_SEPARATE_SECOND; kind++) {
        if (piece_is(word, dray_layout_kind_name((dray_layout_kind)kind))) {
            *out = (dray_layout_kind)kind;
            return DRAY_OK;
        }
    }
    drayi_quoted text;
    return dray_fail(error, DRAY_E_INVALID,
                     "there is no kind \"%s\"; the line begins with contiguous, "
                     "layer-separate:block-first or layer-separate:block-second",
                     shown(word, &text));
}

/// "head/layer/outer/token"; whether each is there once is a rule of the configuration.
static dray_status order_read(piece rest, piece whole, dray_block_dim order[4], dray_error *error)
{
    for (int i = 0; i < 4 && rest.at; i++) {
        piece word = piece_cut(&rest, '/');
        for (int dim = DRAY_DIM_LAYER; dim <= DRAY_DIM_HEAD; dim++) {
            if (piece_is(word, drayi_layout_dim_name((dray_block_dim)dim)))
                order[i] = (dray_block_dim)dim;
        }
        if (!order[i])
            break;
    }
    if (order[3] && !rest.at)
        return DRAY_OK;
    drayi_quoted quoted;
    return dray_fail(error, DRAY_E_INVALID,
                     "a custom format is written like custom:head/layer/outer/token, it is "
                     "\"%s\"",
                     shown(whole, &quoted));
}

static dray_status format_read(piece value, dray_layout_config *config, dray_error *error)
{
    piece rest = value;
    piece word = piece_cut(&rest, ':');
    if (piece_is(word, "custom")) {
        config->format = DRAY_BLOCK_CUSTOM;
        return order_read(rest, value, config->order, error);
    }
    for (int format = DRAY_BLOCK_NHD; format < DRAY_BLOCK_CUSTOM; format++) {
        if (piece_is(value, dray_block_format_name((dray_block_format)format))) {
            config->format = (dray_block_format)format;
            return DRAY_OK;
        }
    }
    drayi_quoted text;
    return dray_fail(error, DRAY_E_INVALID,
                     "there is no format \"%s\"; there are NHD, HND, universal-tp, "
                     "universal-pp and custom:...",
                     shown(value, &text));
}

// --- keys ----------------------------------------------------------------------------------------------------------

enum {
    key_blocks,
    key_layers,
    key_outer,
    key_page,
    key_inner,
    key_needed
}; // those that must be there
enum { key_dtype = key_needed, key_heads, key_format, key_align, key_count };
static const char *const key_names[key_count] = {"blocks", "layers", "outer",  "page", "inner",
                                                 "dtype",  "heads",  "format", "align"};

static dray_status value_read(unsigned key, piece name, piece value, dray_layout_config *config,
                              dray_error *error)
{
    if (key == key_format)
        return format_read(value, config, error);
    bool wide = key == key_blocks || key == key_page || key == key_inner || key == key_align;
    uint64_t number = 0;
    DRAY_TRY(number_read(name, value, wide ? UINT64_MAX : UINT32_MAX, &number, error));
    uint64_t *const wides[key_count] = {[key_blocks] = &config->num_blocks,
                                        [key_page] = &config->page_size,
                                        [key_inner] = &config->inner_dim,
                                        [key_align] = &config->alignment};
    uint32_t *const narrows[key_count] = {[key_layers] = &config->num_layers,
                                          [key_outer] = &config->outer_dim,
                                          [key_dtype] = &config->dtype_width_bytes,
                                          [key_heads] = &config->num_heads};
    if (wide)
        *wides[key] = number;
    else
        *narrows[key] = (uint32_t)number;
    if (number == 0 && key >= key_needed) // 0 would silently mean the default
        // cppcheck-suppress arrayIndexOutOfBoundsCond ; a key is below key_count
        return dray_fail(error, DRAY_E_INVALID, "%s must be at least 1, it is 0", key_names[key]);
    return DRAY_OK;
}

static dray_status pair_read(piece pair, uint32_t *seen, dray_layout_config *config,
                             dray_error *error)
{
    drayi_quoted text;
    piece value = pair;
    piece name = piece_cut(&value, '=');
    for (unsigned key = 0; key < key_count; key++) {
        if (!piece_is(name, key_names[key]))
            continue;
        if (!value.at)
            return dray_fail(error, DRAY_E_INVALID, "%s has no value: %s=... is wanted",
                             key_names[key], key_names[key]);
        if (*seen & 1u << key)
            return dray_fail(error, DRAY_E_INVALID, "%s is given twice", key_names[key]);
        *seen |= 1u << key;
        return value_read(key, name, value, config, error);
    }
    return dray_fail(error, DRAY_E_INVALID,
                     "\"%s\" is not known; there are blocks, layers, outer, page, inner, "
                     "dtype, heads, format and align",
                     shown(name, &text));
}

static dray_status line_read(piece line, dray_layout_config *config, dray_error *error)
{
    uint32_t seen = 0;
    DRAY_TRY(kind_read(piece_cut(&line, ','), &config->kind, error));
    while (line.at)
        DRAY_TRY(pair_read(piece_cut(&line, ','), &seen, config, error));
    for (unsigned key = 0; key < key_needed; key++) {
        if (!(seen & 1u << key))
            return dray_fail(error, DRAY_E_INVALID, "%s is missing: %s=... is wanted",
                             key_names[key], key_names[key]);
    }
    return DRAY_OK;
}

dray_status dray_layout_parse(const char *text, dray_layout_config *out_config,
                              const char **out_rest, dray_error *error)
{
    dray_layout_config config = {.struct_bytes = sizeof(config)};
    dray_layout_geometry geometry;
    const char *at = strchr(text, '@');
    piece line = {.at = text, .length = at ? (size_t)(at - text) : strlen(text)};
    DRAY_TRY(line_read(line, &config, error));
    DRAY_TRY(dray_layout_measure(&config, DRAY_STORAGE_SYSTEM, &geometry, error));
    *out_config = config;
    if (out_rest)
        *out_rest = at ? at + 1 : NULL;
    return DRAY_OK;
}

// --- writing -------------------------------------------------------------------------------------------------------

void dray_layout_print(const dray_layout_config *config, char out[DRAY_LAYOUT_TEXT_BYTES])
{
    char heads[32] = "", align[40] = "", order[64] = "";
    if (config->num_heads)
        snprintf(heads, sizeof(heads), ",heads=%u", config->num_heads);
    if (config->alignment > 1)
        snprintf(align, sizeof(align), ",align=%" PRIu64, config->alignment);
    if (config->format == DRAY_BLOCK_CUSTOM)
        snprintf(order, sizeof(order), ":%s/%s/%s/%s", drayi_layout_dim_name(config->order[0]),
                 drayi_layout_dim_name(config->order[1]), drayi_layout_dim_name(config->order[2]),
                 drayi_layout_dim_name(config->order[3]));
    snprintf(out, DRAY_LAYOUT_TEXT_BYTES,
             "%s,blocks=%" PRIu64 ",layers=%u,outer=%u,page=%" PRIu64 ",inner=%" PRIu64
             ",dtype=%u%s,format=%s%s%s",
             dray_layout_kind_name(config->kind), config->num_blocks, config->num_layers,
             config->outer_dim, config->page_size, config->inner_dim,
             config->dtype_width_bytes ? config->dtype_width_bytes : 2, heads,
             dray_block_format_name(config->format), order, align);
}
