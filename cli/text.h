/// cli/text: numbers for people, and strangers' text made safe to print.
///
/// Names, metadata and messages may hold whatever an attacker wrote into a file. On a terminal that
/// is an escape sequence, a fake line, or letters that run backwards; so every such text goes through
/// text_safe() before it is printed. (JSON output escapes in its own way: json_out.h.)
#ifndef DRAY_CLI_TEXT_H
#define DRAY_CLI_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// Memory that cannot be had ends the program with a sentence: a tool has nothing better to do.
void *text_memory(void *old, size_t bytes);

/// Text as printf() would print it. Caller frees.
__attribute__((format(printf, 1, 2))) char *text_format(const char *format, ...);
char *text_format_args(const char *format, va_list args);

/// A copy in which nothing can act on a terminal: control characters, invalid UTF-8, invisible and
/// direction-changing characters become \n, \t, \x1b, \u{202e}; a backslash becomes two. Caller frees.
char *text_safe(const char *bytes, uint64_t length);

/// The same for at most `length_max` bytes of it (cut between characters), with "..." when there was more.
char *text_safe_start(const char *bytes, uint64_t length, uint64_t length_max);

/// Columns that terminated, safe UTF-8 takes on a terminal.
unsigned text_width(const char *text);

/// Cuts the middle, or the end, off `text` so that it takes at most `width` columns. Caller frees.
char *text_elide(const char *text, unsigned width, bool middle);

#define TEXT_NUMBER_BYTES 32
/// "812 B", "1.50 KiB", "3.56 GiB": three digits. Writes and returns `out`.
const char *text_bytes(char out[TEXT_NUMBER_BYTES], uint64_t bytes);
/// A copy of a sentence in which "1071357952 bytes" reads "1.00 GiB", and "5 of 1071357952 bytes" likewise;
/// up to 9999 bytes stay as they are. Caller frees.
char *text_rounded(const char *sentence);
/// "32,000".
const char *text_count(char out[TEXT_NUMBER_BYTES], uint64_t count);
/// "0.38 ms", "1.24 s", "2 min 05 s".
const char *text_seconds(char out[TEXT_NUMBER_BYTES], double seconds);

/// Bytes of one UTF-8 character at `at` (1 to 4), or 0: not valid. *out_code (may be NULL): its number.
unsigned text_utf8(const char *at, uint64_t length, uint32_t *out_code);

/// How many letters must be put in, taken out, changed or swapped to get from one word to the other.
unsigned text_distance(const char *from, const char *to);

#endif
