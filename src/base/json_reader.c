/// A state machine over the bytes: what may come next is one of five states, and which kind of value
/// is open at each depth is one bit. Texts are scanned eight bytes at a time; only escapes and
/// non-ASCII characters are looked at one by one.
#include "base/json_reader.h"

#include "base/env.h"
#include "base/reader.h"

#include <assert.h>
#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    state_value = 0,     // a value must come; also the state of a fresh reader
    state_first_key,     // behind '{': a key or '}'
    state_key,           // behind ',' in an object: a key
    state_first_element, // behind '[': a value or ']'
    state_after          // a value is complete: ',' or the end of what it stands in
};

static dray_status fail(const drayi_json_reader *reader, const char *rule, uint64_t position,
                        const char *what, dray_error *error)
{
    uint64_t offset = reader->file_offset + position;
    if (position >= reader->length)
        return dray_fail_rule(error, DRAY_E_FORMAT, rule, offset,
                              "JSON: %s, found its end at byte %" PRIu64, what, offset);
    uint8_t byte = reader->bytes[position];
    if (byte > ' ' && byte < 0x7F)
        return dray_fail_rule(error, DRAY_E_FORMAT, rule, offset,
                              "JSON: %s, found '%c' at byte %" PRIu64, what, byte, offset);
    return dray_fail_rule(error, DRAY_E_FORMAT, rule, offset,
                          "JSON: %s, found byte 0x%02X at %" PRIu64, what, byte, offset);
}

/// The byte at the position, or -1 at the end.
static inline int peek(const drayi_json_reader *reader)
{
    return reader->position < reader->length ? reader->bytes[reader->position] : -1;
}

static inline void skip_space(drayi_json_reader *reader)
{
    for (; reader->position < reader->length; reader->position++) {
        uint8_t byte = reader->bytes[reader->position];
        if (byte > ' ' || !(byte == ' ' || byte == '\n' || byte == '\t' || byte == '\r'))
            return;
    }
}

static inline bool in_object(const drayi_json_reader *reader)
{
    uint32_t top = reader->depth - 1;
    return reader->in_object[top / 64] >> (top % 64) & 1;
}

// ---------------------------------------------------------------- texts

/// How many of eight bytes stand before the first that is '"', '\\', below 0x20 or above 0x7F.
/// (A byte's high bit is set in the mask if it is one of these; borrows only disturb bytes above a hit.)
static inline unsigned plain_bytes(uint64_t eight)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones * 0x80;
    uint64_t quote = eight ^ ones * '"', backslash = eight ^ ones * '\\';
    uint64_t hit = ((quote - ones) & ~quote) | ((backslash - ones) & ~backslash) |
                   ((eight - ones * 0x20) & ~eight) | eight;
    hit &= highs;
    return hit ? (unsigned)__builtin_ctzll(hit) / 8 : 8;
}

static int hex_digit(uint8_t byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/// The four digits of a \uXXXX, or -1.
static int32_t hex_four(const uint8_t *at)
{
    int32_t value = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(at[i]);
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

/// Checks the escape at `at` and returns its length; a surrogate pair counts as one escape.
static dray_status escape_check(const drayi_json_reader *reader, uint64_t at,
                                drayi_json_token *token, uint64_t *out_length, dray_error *error)
{
    uint64_t left = reader->length - at;
    const uint8_t *bytes = reader->bytes + at;
    if (left >= 2 && bytes[1] != 0 && strchr("\"\\/bfnrt", bytes[1])) {
        *out_length = 2;
        return DRAY_OK;
    }
    if (left < 2 || bytes[1] != 'u')
        return fail(reader, "json.escape", at + 1, "wanted an escape like \\n or \\u0020", error);
    int32_t unit = left >= 6 ? hex_four(bytes + 2) : -1;
    if (unit < 0)
        return fail(reader, "json.escape", at + 2, "wanted four hexadecimal digits behind \\u",
                    error);
    token->has_nul |= unit == 0;
    *out_length = 6;
    if (unit < 0xD800 || unit > 0xDFFF)
        return DRAY_OK;
    int32_t low = unit < 0xDC00 && left >= 12 && bytes[6] == '\\' && bytes[7] == 'u'
                      ? hex_four(bytes + 8)
                      : -1;
    if (low < 0xDC00 || low > 0xDFFF)
        return fail(reader, "json.surrogate", at,
                    "surrogates come in pairs (\\uD800-\\uDBFF, then \\uDC00-\\uDFFF)", error);
    *out_length = 12;
    return DRAY_OK;
}

/// Reads the text whose opening quote is at the position.
static dray_status read_text(drayi_json_reader *reader, drayi_json_token *token, dray_error *error)
{
    uint64_t at = reader->position + 1;
    for (;;) {
        if (reader->length - at >= 8) {
            unsigned plain = plain_bytes(drayi_load_u64(reader->bytes + at, false));
            at += plain;
            if (plain == 8)
                continue;
        }
        if (at >= reader->length)
            return fail(reader, "json.text.end", at, "wanted the closing quote of a text", error);
        uint8_t byte = reader->bytes[at];
        uint64_t length = 1;
        if (byte == '"')
            break;
        if (byte < 0x20)
            return fail(reader, "json.text.control", at,
                        "control characters in a text must be escaped", error);
        if (byte == '\\') {
            token->escaped = true;
            DRAY_TRY(escape_check(reader, at, token, &length, error));
        } else if (byte >= 0x80) {
            length = drayi_utf8_sequence(reader->bytes + at, reader->length - at);
            if (length == 0)
                return fail(reader, "json.utf8", at, "wanted UTF-8", error);
        }
        at += length;
    }
    const char *begin = (const char *)reader->bytes + reader->position + 1;
    token->text = (dray_text){begin, at - reader->position - 1};
    reader->position = at + 1;
    return DRAY_OK;
}

// ---------------------------------------------------------------- numbers and words

static uint64_t digits(const drayi_json_reader *reader, uint64_t at)
{
    while (at < reader->length && reader->bytes[at] >= '0' && reader->bytes[at] <= '9')
        at++;
    return at;
}

/// Is it digits only, and what do they amount to?
static bool canonical_u64(const uint8_t *bytes, uint64_t count, uint64_t *out)
{
    uint64_t value = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (bytes[i] < '0' || bytes[i] > '9')
            return false;
        if (!drayi_mul(value, 10, &value) || !drayi_add(value, (uint64_t)(bytes[i] - '0'), &value))
            return false;
    }
    *out = value;
    return true;
}

/// Most numbers in a header: plain digits, few enough to fit whatever they are. False: look closer.
static inline bool read_plain_number(drayi_json_reader *reader, drayi_json_token *token)
{
    const uint8_t *begin = reader->bytes + reader->position;
    uint64_t left = reader->length - reader->position, limit = drayi_min(left, 20), count = 0;
    uint64_t value = 0;
    for (uint8_t digit; count < limit && (digit = (uint8_t)(begin[count] - '0')) <= 9; count++)
        value = value * 10 + digit;
    if (count == 0 || count == limit || (begin[0] == '0' && count > 1))
        return false;
    if (begin[count] == '.' || (begin[count] | 0x20) == 'e')
        return false;
    token->kind = DRAYI_JSON_NUMBER;
    token->text = (dray_text){(const char *)begin, count};
    token->is_u64 = true;
    token->u64 = value;
    reader->position += count;
    reader->state = state_after;
    return true;
}

static dray_status read_number(drayi_json_reader *reader, drayi_json_token *token, dray_error *error)
{
    uint64_t begin = reader->position, at = begin;
    if (reader->bytes[at] == '-')
        at++;
    uint64_t whole = at;
    at = digits(reader, at);
    if (at == whole)
        return fail(reader, "json.number", at, "wanted a digit", error);
    if (reader->bytes[whole] == '0' && at - whole > 1)
        return fail(reader, "json.number", whole, "numbers have no leading zeros", error);
    if (at < reader->length && reader->bytes[at] == '.') {
        uint64_t fraction = at + 1;
        at = digits(reader, fraction);
        if (at == fraction)
            return fail(reader, "json.number", at, "wanted a digit behind the point", error);
    }
    if (at < reader->length && (reader->bytes[at] | 0x20) == 'e') {
        at++;
        if (at < reader->length && (reader->bytes[at] == '+' || reader->bytes[at] == '-'))
            at++;
        uint64_t exponent = at;
        at = digits(reader, at);
        if (at == exponent)
            return fail(reader, "json.number", at, "wanted a digit of the exponent", error);
    }
    token->kind = DRAYI_JSON_NUMBER;
    token->text = (dray_text){(const char *)reader->bytes + begin, at - begin};
    token->is_u64 = canonical_u64(reader->bytes + begin, at - begin, &token->u64);
    reader->position = at;
    reader->state = state_after;
    return DRAY_OK;
}

static dray_status read_word(drayi_json_reader *reader, const char *word, drayi_json_kind kind,
                             drayi_json_token *token, dray_error *error)
{
    uint64_t length = strlen(word);
    if (reader->length - reader->position < length ||
        memcmp(reader->bytes + reader->position, word, length) != 0)
        return fail(reader, "json.syntax", reader->position, "wanted a value", error);
    token->kind = kind;
    reader->position += length;
    reader->state = state_after;
    return DRAY_OK;
}

// ---------------------------------------------------------------- structure

static dray_status open_value(drayi_json_reader *reader, bool object, drayi_json_token *token,
                              dray_error *error)
{
    if (reader->depth == DRAYI_JSON_DEPTH_MAX)
        return fail(reader, "json.depth", reader->position,
                    "at most 128 values may stand in each other", error);
    uint64_t bit = UINT64_C(1) << (reader->depth % 64),
             *word = &reader->in_object[reader->depth / 64];
    *word = object ? *word | bit : *word & ~bit;
    reader->depth++;
    reader->position++;
    reader->state = object ? state_first_key : state_first_element;
    token->kind = object ? DRAYI_JSON_OBJECT : DRAYI_JSON_ARRAY;
    return DRAY_OK;
}

static dray_status close_value(drayi_json_reader *reader, drayi_json_token *token)
{
    token->kind = in_object(reader) ? DRAYI_JSON_OBJECT_END : DRAYI_JSON_ARRAY_END;
    reader->depth--;
    reader->position++;
    reader->state = state_after;
    return DRAY_OK;
}

static dray_status read_value(drayi_json_reader *reader, drayi_json_token *token, dray_error *error)
{
    int byte = peek(reader);
    switch (byte) {
    case '{':
        return open_value(reader, true, token, error);
    case '[':
        return open_value(reader, false, token, error);
    case '"':
        token->kind = DRAYI_JSON_STRING;
        reader->state = state_after;
        return read_text(reader, token, error);
    case 't':
        return read_word(reader, "true", DRAYI_JSON_TRUE, token, error);
    case 'f':
        return read_word(reader, "false", DRAYI_JSON_FALSE, token, error);
    case 'n':
        return read_word(reader, "null", DRAYI_JSON_NULL, token, error);
    default:
        if (read_plain_number(reader, token))
            return DRAY_OK;
        if (byte == '-' || (byte >= '0' && byte <= '9'))
            return read_number(reader, token, error);
        return fail(reader, "json.syntax", reader->position, "wanted a value", error);
    }
}

/// A key and its colon.
static dray_status read_key(drayi_json_reader *reader, drayi_json_token *token, dray_error *error)
{
    if (peek(reader) != '"')
        return fail(reader, "json.syntax", reader->position, "wanted a key in quotes", error);
    token->kind = DRAYI_JSON_KEY;
    DRAY_TRY(read_text(reader, token, error));
    skip_space(reader);
    if (peek(reader) != ':')
        return fail(reader, "json.syntax", reader->position, "wanted ':' behind a key", error);
    reader->position++;
    reader->state = state_value;
    return DRAY_OK;
}

/// Behind a complete value: its parent ends, or a comma leads to the next one. Returns with state
/// state_after only when `token` is finished.
static dray_status read_after(drayi_json_reader *reader, drayi_json_token *token, dray_error *error)
{
    int byte = peek(reader);
    if (reader->depth == 0) {
        if (byte >= 0)
            return fail(reader, "json.trailing", reader->position, "nothing may follow the value",
                        error);
        token->kind = DRAYI_JSON_END;
        return DRAY_OK;
    }
    bool object = in_object(reader);
    if (byte == (object ? '}' : ']'))
        return close_value(reader, token);
    if (byte != ',')
        return fail(reader, "json.syntax", reader->position,
                    object ? "wanted ',' or '}'" : "wanted ',' or ']'", error);
    reader->position++;
    reader->state = object ? state_key : state_value;
    skip_space(reader);
    token->offset = reader->file_offset + reader->position;
    return DRAY_OK;
}

dray_status drayi_json_next(drayi_json_reader *reader, drayi_json_token *out, dray_error *error)
{
    skip_space(reader);
    *out = (drayi_json_token){.offset = reader->file_offset + reader->position};
    if (reader->state == state_after) {
        DRAY_TRY(read_after(reader, out, error));
        if (reader->state == state_after)
            return DRAY_OK;
    }
    if (reader->state == state_first_key && peek(reader) == '}')
        return close_value(reader, out);
    if (reader->state == state_first_element && peek(reader) == ']')
        return close_value(reader, out);
    if (reader->state == state_first_key || reader->state == state_key)
        return read_key(reader, out, error);
    return read_value(reader, out, error);
}

dray_status drayi_json_skip(drayi_json_reader *reader, const drayi_json_token *first,
                            dray_error *error)
{
    if (first->kind != DRAYI_JSON_OBJECT && first->kind != DRAYI_JSON_ARRAY)
        return DRAY_OK;
    uint32_t outside = reader->depth - 1;
    drayi_json_token token;
    while (reader->depth > outside)
        DRAY_TRY(drayi_json_next(reader, &token, error));
    return DRAY_OK;
}

// ---------------------------------------------------------------- what tokens mean

static uint64_t utf8_write(uint32_t code, char *out)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xC0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xE0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3F));
        out[2] = (char)(0x80 | (code & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3F));
    out[2] = (char)(0x80 | (code >> 6 & 0x3F));
    out[3] = (char)(0x80 | (code & 0x3F));
    return 4;
}

/// Resolves the checked escape at `at`; returns its length and writes its character.
static uint64_t escape_resolve(const uint8_t *at, char *out, uint64_t *out_length)
{
    *out_length = 1;
    switch (at[1]) {
    case 'b':
        *out = '\b';
        return 2;
    case 'f':
        *out = '\f';
        return 2;
    case 'n':
        *out = '\n';
        return 2;
    case 'r':
        *out = '\r';
        return 2;
    case 't':
        *out = '\t';
        return 2;
    case 'u':
        break;
    default: // the character stands for itself
        *out = (char)at[1];
        return 2;
    }
    uint32_t code = (uint32_t)hex_four(at + 2);
    if (code < 0xD800 || code > 0xDFFF) {
        *out_length = utf8_write(code, out);
        return 6;
    }
    code = 0x10000 + ((code - 0xD800) << 10) + ((uint32_t)hex_four(at + 8) - 0xDC00);
    *out_length = utf8_write(code, out);
    return 12;
}

uint64_t drayi_json_unescape(const drayi_json_token *token, char *out)
{
    const uint8_t *at = (const uint8_t *)token->text.bytes, *end = at + token->text.length;
    char *to = out;
    while (at < end) {
        const uint8_t *escape = memchr(at, '\\', (size_t)(end - at));
        size_t plain = (size_t)((escape ? escape : end) - at);
        memcpy(to, at, plain);
        to += plain;
        at += plain;
        if (escape) {
            uint64_t length;
            at += escape_resolve(at, to, &length);
            to += length;
        }
    }
    return (uint64_t)(to - out);
}

bool drayi_json_is_escaped(const drayi_json_token *token, const char *word)
{
    uint64_t length = strlen(word);
    assert(length <= 32);
    char text[32 * 6]; // an escape of six bytes gives one byte at least
    if (token->text.length > sizeof(text))
        return false;
    return drayi_json_unescape(token, text) == length && memcmp(text, word, length) == 0;
}

bool drayi_json_i64(const drayi_json_token *token, int64_t *out)
{
    bool negative = token->text.length > 0 && token->text.bytes[0] == '-';
    uint64_t magnitude;
    if (!canonical_u64((const uint8_t *)token->text.bytes + negative, token->text.length - negative,
                       &magnitude))
        return false;
    if (magnitude > (uint64_t)INT64_MAX + negative)
        return false;
    *out = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return true;
}

bool drayi_json_f64(const drayi_json_token *token, double *out)
{
    char text[128]; // strtod wants a terminator
    if (token->text.length >= sizeof(text))
        return false;
    memcpy(text, token->text.bytes, (size_t)token->text.length);
    text[token->text.length] = '\0';
    locale_t plain =
        newlocale(LC_ALL_MASK, "C", (locale_t)0); // in glibc a constant, nothing is allocated
    if (plain == (locale_t)0)
        return false;
    double value = strtod_l(text, NULL, plain);
    freelocale(plain);
    if (!isfinite(value))
        return false;
    *out = value;
    return true;
}

const char *drayi_json_kind_name(drayi_json_kind kind)
{
    static const char *const names[] = {"the end",
                                        "an object",
                                        "the end of an object",
                                        "an array",
                                        "the end of an array",
                                        "a key",
                                        "a string",
                                        "a number",
                                        "true",
                                        "false",
                                        "null"};
    return (size_t)kind < sizeof(names) / sizeof(names[0]) ? names[kind] : "unknown";
}

dray_status drayi_json_count(const drayi_json_reader *reader, uint64_t *out, dray_error *error)
{
    drayi_json_reader ahead = *reader;
    drayi_json_token token;
    for (*out = 0;; ++*out) {
        DRAY_TRY(drayi_json_next(&ahead, &token, error));
        if (token.kind == DRAYI_JSON_ARRAY_END)
            return DRAY_OK;
        DRAY_TRY(drayi_json_skip(&ahead, &token, error));
    }
}
