/// One JSON document, written as it is made. See json_out.h.
#include "json_out.h"

#include "text.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

json_out json_begin(FILE *stream)
{
    return (json_out){.stream = stream};
}

void json_finish(json_out *json)
{
    assert(json->depth == 0);
    fputc('\n', json->stream);
}

static void line_break(json_out *json)
{
    fprintf(json->stream, "\n%*s", (int)(2 * json->depth), "");
}

static void text_out(FILE *stream, const char *bytes, uint64_t length)
{
    fputc('"', stream);
    for (uint64_t at = 0; at < length;) {
        unsigned taken = text_utf8(bytes + at, length - at, NULL);
        unsigned char first = (unsigned char)bytes[at];
        if (taken == 0)
            fputs("\xef\xbf\xbd", stream);
        else if (first == '"' || first == '\\')
            fprintf(stream, "\\%c", first);
        else if (first == '\n')
            fputs("\\n", stream);
        else if (first < 0x20 || first == 0x7f)
            fprintf(stream, "\\u%04x", first);
        else
            fwrite(bytes + at, 1, taken, stream);
        at += taken ? taken : 1;
    }
    fputc('"', stream);
}

/// Comma and line break before a member or element.
static void separate(json_out *json)
{
    bool flat = json->level[json->depth - 1].flat;
    if (!json->level[json->depth - 1].empty)
        fputs(flat ? ", " : ",", json->stream);
    json->level[json->depth - 1].empty = false;
    if (!flat)
        line_break(json);
}

void json_key(json_out *json, const char *bytes, uint64_t length)
{
    separate(json);
    text_out(json->stream, bytes, length);
    fputs(": ", json->stream);
}

/// Everything that stands before a value.
static void before(json_out *json, const char *key)
{
    if (key)
        json_key(json, key, strlen(key));
    else if (json->depth > 0 && json->level[json->depth - 1].array)
        separate(json);
}

static void open_level(json_out *json, const char *key, bool array, bool flat)
{
    before(json, key);
    assert(json->depth < JSON_DEPTH_MAX);
    bool inside_flat = json->depth > 0 && json->level[json->depth - 1].flat;
    json->level[json->depth].array = array;
    json->level[json->depth].flat = flat || inside_flat;
    json->level[json->depth].empty = true;
    json->depth++;
    fputc(array ? '[' : '{', json->stream);
}

void json_object(json_out *json, const char *key)
{
    open_level(json, key, false, false);
}

void json_object_flat(json_out *json, const char *key)
{
    open_level(json, key, false, true);
}

void json_array(json_out *json, const char *key)
{
    open_level(json, key, true, false);
}

void json_array_flat(json_out *json, const char *key)
{
    open_level(json, key, true, true);
}

void json_end(json_out *json)
{
    assert(json->depth > 0);
    json->depth--;
    if (!json->level[json->depth].flat && !json->level[json->depth].empty)
        line_break(json);
    fputc(json->level[json->depth].array ? ']' : '}', json->stream);
}

void json_text(json_out *json, const char *key, const char *bytes, uint64_t length)
{
    before(json, key);
    text_out(json->stream, bytes, length);
}

void json_string(json_out *json, const char *key, const char *text)
{
    if (text)
        json_text(json, key, text, strlen(text));
    else
        json_null(json, key);
}

void json_u64(json_out *json, const char *key, uint64_t value)
{
    before(json, key);
    fprintf(json->stream, "%" PRIu64, value);
}

void json_u64_or_null(json_out *json, const char *key, uint64_t value, uint64_t unknown)
{
    if (value == unknown)
        json_null(json, key);
    else
        json_u64(json, key, value);
}

void json_i64(json_out *json, const char *key, int64_t value)
{
    before(json, key);
    fprintf(json->stream, "%" PRId64, value);
}

/// The shortest decimal that is read back as the same double, and looks like no integer.
void json_f64(json_out *json, const char *key, double value)
{
    before(json, key);
    if (!isfinite(value)) {
        fputs(isnan(value) ? "\"nan\"" : value > 0 ? "\"inf\"" : "\"-inf\"", json->stream);
        return;
    }
    char digits[40];
    for (int precision = 6; precision <= 17; precision++) {
        snprintf(digits, sizeof(digits), "%.*g", precision, value);
        if (strtod(digits, NULL) == value)
            break;
    }
    fprintf(json->stream, "%s%s", digits, strpbrk(digits, ".e") ? "" : ".0");
}

void json_rounded(json_out *json, const char *key, double value)
{
    json_f64(json, key, round(value * 1e6) / 1e6);
}

void json_bool(json_out *json, const char *key, bool value)
{
    before(json, key);
    fputs(value ? "true" : "false", json->stream);
}

void json_null(json_out *json, const char *key)
{
    before(json, key);
    fputs("null", json->stream);
}

void json_raw(json_out *json, const char *key, const char *bytes, uint64_t length)
{
    before(json, key);
    fwrite(bytes, 1, length, json->stream);
}
