/// APR metadata: one JSON object. Texts, numbers and booleans become values of their own, everything
/// that has parts stays JSON.
#include "base/checked.h"
#include "base/env.h"
#include "base/json_reader.h"
#include "base/quote.h"
#include "format/apr.h"

static dray_status text_keep(apr_file *file, const drayi_json_token *token, dray_text *out,
                             dray_error *error)
{
    *out = token->text;
    if (!token->escaped)
        return DRAY_OK;
    char *plain = file->sink->keep(file->sink, token->text.length, error);
    if (!plain)
        return DRAY_E_NOMEM;
    *out = (dray_text){.bytes = plain, .length = drayi_json_unescape(token, plain)};
    return DRAY_OK;
}

/// false: a number that fits no number type of ours, and so stays JSON.
static bool number_value(const drayi_json_token *token, dray_value *out)
{
    if (token->is_u64) {
        out->type = DRAY_VALUE_U64;
        out->as.u64 = token->u64;
        return true;
    }
    out->type = DRAY_VALUE_I64;
    if (drayi_json_i64(token, &out->as.i64))
        return true;
    out->type = DRAY_VALUE_F64;
    return drayi_json_f64(token, &out->as.f64);
}

static dray_status value_read(apr_file *file, drayi_json_reader *reader, dray_value *out,
                              dray_error *error)
{
    drayi_json_token token;
    DRAY_TRY(drayi_json_next(reader, &token, error));
    switch (token.kind) {
    case DRAYI_JSON_STRING:
        out->type = DRAY_VALUE_TEXT;
        return text_keep(file, &token, &out->as.text, error);
    case DRAYI_JSON_TRUE:
    case DRAYI_JSON_FALSE:
        out->type = DRAY_VALUE_BOOL;
        out->as.u64 = token.kind == DRAYI_JSON_TRUE;
        return DRAY_OK;
    case DRAYI_JSON_NUMBER:
        if (number_value(&token, out))
            return DRAY_OK;
        break;
    default:
        break;
    }
    DRAY_TRY(drayi_json_skip(reader, &token, error));
    out->type = DRAY_VALUE_JSON;
    out->as.text.bytes = (const char *)reader->bytes + (token.offset - reader->file_offset);
    out->as.text.length = reader->file_offset + reader->position - token.offset;
    return DRAY_OK;
}

static dray_status entry_read(apr_file *file, drayi_json_reader *reader,
                              const drayi_json_token *key, dray_error *error)
{
    dray_text name;
    dray_value value = {0};
    bool duplicate = false;
    if (key->has_nul)
        return dray_fail_rule(error, DRAY_E_FORMAT, "apr.metadata.key", key->offset,
                              "a key with NUL");
    DRAY_TRY(text_keep(file, key, &name, error));
    DRAY_TRY(value_read(file, reader, &value, error));
    dray_status status = file->sink->metadata(file->sink, name, &value, &duplicate, error);
    if (!duplicate)
        return status;
    return dray_fail_rule(error, DRAY_E_FORMAT, "apr.metadata.duplicate", key->offset,
                          "key %s is there twice", drayi_quote(name).text);
}

dray_status drayi_apr_metadata(apr_file *file, dray_error *error)
{
    dray_format_input *input = file->input;
    uint64_t end = file->metadata_offset + file->metadata_bytes; // checked against the file
    if (file->metadata_bytes == 0)
        return DRAY_OK;
    if (input->head_bytes < end)
        DRAY_TRY(input->need(input, end, error));
    drayi_json_reader reader = drayi_json_reader_of(input->head + file->metadata_offset,
                                                    file->metadata_bytes, file->metadata_offset);
    drayi_json_token token;
    DRAY_TRY(drayi_json_next(&reader, &token, error));
    if (token.kind != DRAYI_JSON_OBJECT)
        return dray_fail_rule(error, DRAY_E_FORMAT, "apr.metadata", token.offset,
                              "the metadata is no JSON object but %s",
                              drayi_json_kind_name(token.kind));
    for (;;) {
        DRAY_TRY(drayi_json_next(&reader, &token, error));
        if (token.kind == DRAYI_JSON_OBJECT_END)
            return drayi_json_next(&reader, &token, error); // nothing may follow
        DRAY_TRY(entry_read(file, &reader, &token, error));
    }
}
