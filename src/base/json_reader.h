/// A strict pull reader for JSON that somebody else wrote: RFC 8259 and nothing more.
///
/// It never recurses, never copies and never allocates: drayi_json_next() gives one token after the
/// other as a view into the caller's bytes, with its place in the file. What is refused: a byte order
/// mark, leading zeros, raw control characters, lone surrogates, ill-formed UTF-8, commas too many,
/// comments, more than DRAYI_JSON_DEPTH_MAX nested values, anything but white space behind the value.
/// What is left to the caller: duplicate keys, and NUL (written \u0000) in a text, see `has_nul`.
///
///     drayi_json_reader reader = drayi_json_reader_of(bytes, length, 0);
///     drayi_json_token token;
///     do
///         DRAY_TRY(drayi_json_next(&reader, &token, error));
///     while (token.kind != DRAYI_JSON_END);
///
/// Errors: DRAY_E_FORMAT with a rule "json.*" and the byte offset.
#ifndef DRAY_BASE_JSON_READER_H
#define DRAY_BASE_JSON_READER_H

#include "dray/base.h"

#include <stdbool.h>
#include <string.h>

enum { DRAYI_JSON_DEPTH_MAX = 128 };

typedef enum drayi_json_kind {
    DRAYI_JSON_END = 0, // the document is complete and nothing follows
    DRAYI_JSON_OBJECT = 1,
    DRAYI_JSON_OBJECT_END = 2,
    DRAYI_JSON_ARRAY = 3,
    DRAYI_JSON_ARRAY_END = 4,
    DRAYI_JSON_KEY = 5, // its value is the next token
    DRAYI_JSON_STRING = 6,
    DRAYI_JSON_NUMBER = 7,
    DRAYI_JSON_TRUE = 8,
    DRAYI_JSON_FALSE = 9,
    DRAYI_JSON_NULL = 10
} drayi_json_kind;

typedef struct drayi_json_token {
    drayi_json_kind kind;
    bool escaped;    // KEY, STRING: `text` holds escapes, drayi_json_unescape() is needed to use it
    bool has_nul;    // KEY, STRING: one of the escapes is \u0000
    bool is_u64;     // NUMBER: digits only and at most 2^64-1 (so neither 1.0, nor 1e0, nor -0)
    uint64_t u64;    // NUMBER with is_u64
    uint64_t offset; // of the token's first byte, in the file
    dray_text text;  // KEY, STRING: between the quotes, as written. NUMBER: as written
} drayi_json_token;

/// Copyable: a copy is a bookmark.
typedef struct drayi_json_reader {
    const uint8_t *bytes;
    uint64_t length, position;
    uint64_t file_offset; // of bytes[0]; added to every offset
    uint32_t depth;
    uint32_t state;
    uint64_t in_object[DRAYI_JSON_DEPTH_MAX / 64]; // one bit per open value
} drayi_json_reader;

/// Reads `bytes`, which stand at `file_offset` in their file.
static inline drayi_json_reader drayi_json_reader_of(const uint8_t *bytes, uint64_t length,
                                                     uint64_t file_offset)
{
    return (drayi_json_reader){.bytes = bytes, .length = length, .file_offset = file_offset};
}

/// The next token; after DRAYI_JSON_END again DRAYI_JSON_END. After an error the reader is used up.
dray_status drayi_json_next(drayi_json_reader *reader, drayi_json_token *out, dray_error *error);

/// Reads to the end of the value that begins with `first` (the token read last): for fields that do
/// not matter. The value's text is then [first->offset, file_offset + position).
dray_status drayi_json_skip(drayi_json_reader *reader, const drayi_json_token *first,
                            dray_error *error);

/// How many elements the array has that was just entered; the reader itself stays. For one allocation.
dray_status drayi_json_count(const drayi_json_reader *reader, uint64_t *out, dray_error *error);

/// Writes the text of a KEY or STRING with its escapes resolved and returns its length, which is at
/// most text.length. Cannot fail: the reader has checked every escape.
uint64_t drayi_json_unescape(const drayi_json_token *token, char *out);

/// The rare half of drayi_json_is().
bool drayi_json_is_escaped(const drayi_json_token *token, const char *word);

/// Is this KEY or STRING, after unescaping, the given word (at most 32 bytes)?
static inline bool drayi_json_is(const drayi_json_token *token, const char *word)
{
    if (token->escaped)
        return drayi_json_is_escaped(token, word);
    size_t length = strlen(word);
    return token->text.length == length && memcmp(token->text.bytes, word, length) == 0;
}

/// The NUMBER as an integer from -2^63 on; false: it has a fraction or an exponent, or does not fit.
bool drayi_json_i64(const drayi_json_token *token, int64_t *out);
/// The NUMBER as a double, whatever the locale; false: over 127 characters, or too large for a double.
bool drayi_json_f64(const drayi_json_token *token, double *out);

/// "object", "string", ...: what a token is, for messages.
const char *drayi_json_kind_name(drayi_json_kind kind);

#endif
