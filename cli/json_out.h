/// cli/json_out: one JSON document, written as it is made.
///
/// Its own writer, because a JSON library would hold a whole vocabulary in memory first, and cannot
/// write the numbers that models hold: u64 beyond 2^63. Numbers are exact: what is read back as a
/// double or an integer is what the file held. Infinities and NaN, which JSON lacks, are written as
/// text ("inf", "-inf", "nan"). Bytes that are not UTF-8 become U+FFFD, so the document is always valid.
///
///     json_out json = json_begin(stdout);
///     json_object(&json, NULL);
///     json_u64(&json, "bytes", 42);
///     json_end(&json); // the object
///     json_finish(&json);
///
/// `key` is NULL inside arrays and for the document itself.
#ifndef DRAY_CLI_JSON_OUT_H
#define DRAY_CLI_JSON_OUT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define JSON_DEPTH_MAX 16

typedef struct json_out {
    FILE *stream;
    unsigned depth;
    struct {
        bool array, flat, empty; // flat: on one line
    } level[JSON_DEPTH_MAX];
} json_out;

json_out json_begin(FILE *stream);
/// The last newline. The stream's own error flag tells whether all could be written.
void json_finish(json_out *json);

void json_object(json_out *json, const char *key);
void json_array(json_out *json, const char *key);
/// On one line, with all that is inside.
void json_object_flat(json_out *json, const char *key);
void json_array_flat(json_out *json, const char *key);
/// Ends the innermost object or array.
void json_end(json_out *json);

void json_text(json_out *json, const char *key, const char *bytes, uint64_t length);
void json_string(json_out *json, const char *key, const char *text); ///< NULL: null
void json_u64(json_out *json, const char *key, uint64_t value);
/// The same, with `unknown` written as null.
void json_u64_or_null(json_out *json, const char *key, uint64_t value, uint64_t unknown);
void json_i64(json_out *json, const char *key, int64_t value);
void json_f64(json_out *json, const char *key, double value);
/// To six decimals: for what was measured, where more digits are noise.
void json_rounded(json_out *json, const char *key, double value);
void json_bool(json_out *json, const char *key, bool value);
void json_null(json_out *json, const char *key);
/// Valid JSON that stands in the file.
void json_raw(json_out *json, const char *key, const char *bytes, uint64_t length);

/// A key that may hold anything; the next value is written with key NULL.
void json_key(json_out *json, const char *bytes, uint64_t length);

#endif
