/// Numbers for people, and strangers' text made safe to print. See text.h.
#include "text.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

static _Noreturn void end_without_memory(size_t wanted_bytes)
{
    fprintf(stderr, "dray: out of memory (%zu bytes wanted)\n", wanted_bytes);
    exit(1);
}

void *text_memory(void *old, size_t bytes)
{
    void *memory = realloc(old, bytes ? bytes : 1);
    if (!memory)
        end_without_memory(bytes);
    return memory;
}

char *text_format(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = text_format_args(format, args);
    va_end(args);
    return text;
}

char *text_format_args(const char *format, va_list args)
{
    char *text;
    if (vasprintf(&text, format, args) < 0)
        end_without_memory(strlen(format) + 1); // at least
    return text;
}

// --- UTF-8 ---------------------------------------------------------------------------------------

unsigned text_utf8(const char *at, uint64_t length, uint32_t *out_code)
{
    const uint8_t *byte = (const uint8_t *)at;
    if (length == 0)
        return 0;
    unsigned bytes = byte[0] < 0x80   ? 1
                     : byte[0] < 0xc2 ? 0
                     : byte[0] < 0xe0 ? 2
                     : byte[0] < 0xf0 ? 3
                                      : 4;
    if (bytes == 0 || byte[0] > 0xf4 || bytes > length)
        return 0;
    uint32_t code = bytes == 1 ? byte[0] : byte[0] & (0x7fu >> bytes);
    for (unsigned i = 1; i < bytes; i++) {
        if ((byte[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (byte[i] & 0x3f);
    }
    const uint32_t first_of[] = {0, 0, 0x80, 0x800, 0x10000}; // shorter forms exist below
    if (code < first_of[bytes] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        return 0;
    if (out_code)
        *out_code = code;
    return bytes;
}

/// Characters that act on a terminal or cannot be seen: controls, directions, joiners, line ends, tags.
static bool is_hidden(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code <= 0x9f) || code == 0xad || code == 0x61c ||
           code == 0x180e || (code >= 0x200b && code <= 0x200f) ||
           (code >= 0x2028 && code <= 0x202e) || (code >= 0x2060 && code <= 0x206f) ||
           code == 0xfeff || (code >= 0xfff9 && code <= 0xfffb) ||
           (code >= 0xe0000 && code <= 0xe0fff);
}

/// Writes the safe form of the character at `at` and returns the bytes it took from there.
static unsigned safe_character(char out[16], const char *at, uint64_t length)
{
    uint32_t code = 0;
    unsigned bytes = text_utf8(at, length, &code);
    if (bytes == 0)
        snprintf(out, 16, "\\x%02x", (unsigned)(uint8_t)*at);
    else if (code == '\n')
        snprintf(out, 16, "\\n");
    else if (code == '\t')
        snprintf(out, 16, "\\t");
    else if (code == '\\')
        snprintf(out, 16, "\\\\");
    else if (is_hidden(code))
        snprintf(out, 16, code < 0x80 ? "\\x%02" PRIx32 : "\\u{%" PRIx32 "}", code);
    else
        snprintf(out, 16, "%.*s", (int)bytes, at);
    return bytes ? bytes : 1;
}

char *text_safe_start(const char *bytes, uint64_t length, uint64_t length_max)
{
    size_t used = 0, capacity = 64;
    char *safe = text_memory(NULL, capacity);
    uint64_t at = 0;
    while (at < length && at < length_max) {
        char character[16];
        at += safe_character(character, bytes + at, length - at);
        if (used + sizeof(character) + 4 > capacity)
            safe = text_memory(safe, capacity *= 2);
        memcpy(safe + used, character, strlen(character));
        used += strlen(character);
    }
    snprintf(safe + used, capacity - used, "%s", at < length ? "..." : "");
    return safe;
}

char *text_safe(const char *bytes, uint64_t length)
{
    return text_safe_start(bytes, length, UINT64_MAX);
}

/// Columns of the character at `text`; *out_bytes: its length.
static unsigned character_width(const char *text, unsigned *out_bytes)
{
    uint32_t code = 0;
    *out_bytes = text_utf8(text, strlen(text), &code);
    if (*out_bytes == 0)
        *out_bytes = 1;
    if (code < 0x80)
        return 1;
    int width = wcwidth((wchar_t)code);
    return width < 0 ? 1 : (unsigned)width;
}

unsigned text_width(const char *text)
{
    unsigned width = 0, bytes;
    for (; *text; text += bytes)
        width += character_width(text, &bytes);
    return width;
}

char *text_elide(const char *text, unsigned width, bool middle)
{
    size_t length = strlen(text);
    char *cut = text_memory(NULL, length + 4);
    unsigned whole = text_width(text), bytes;
    if (whole <= width) {
        memcpy(cut, text, length + 1);
        return cut;
    }
    const char *mark = width > 5 ? "..." : ".";
    unsigned kept = width > strlen(mark) ? width - (unsigned)strlen(mark) : 0;
    unsigned head = middle ? kept / 2 : kept, skip = whole - (kept - head), at = 0;
    size_t used = 0;
    bool marked = false;
    for (; *text; text += bytes) {
        unsigned columns = character_width(text, &bytes);
        at += columns;
        if (at <= head || at - columns >= skip) {
            memcpy(cut + used, text, bytes);
            used += bytes;
        } else if (!marked) {
            memcpy(cut + used, mark, strlen(mark));
            used += strlen(mark);
            marked = true;
        }
    }
    cut[used] = '\0';
    return cut;
}

// --- numbers -------------------------------------------------------------------------------------

const char *text_bytes(char out[TEXT_NUMBER_BYTES], uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    unsigned unit = 0;
    while (value >= 999.5 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        value /= 1024;
        unit++;
    }
    int decimals = unit == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
    snprintf(out, TEXT_NUMBER_BYTES, "%.*f %s", decimals, value, units[unit]);
    return out;
}

/// Whether " bytes" stands here, or " of 123 bytes".
static bool counts_bytes(const char *after)
{
    if (strncmp(after, " of ", 4) == 0 && isdigit((unsigned char)after[4]))
        after += 4 + strspn(after + 4, "0123456789");
    return strncmp(after, " bytes", 6) == 0 && !isalnum((unsigned char)after[6]);
}

char *text_rounded(const char *sentence)
{
    char *rounded = text_memory(NULL, 2 * strlen(sentence) + 1),
         *to = rounded; // no number gets longer than that
    for (const char *from = sentence; *from;) {
        size_t digits = strspn(from, "0123456789");
        bool apart = from == sentence || from[-1] == ' ' || from[-1] == '(';
        if (digits < 5 || digits > 19 || !apart || !counts_bytes(from + digits)) {
            size_t kept = digits ? digits : 1;
            memcpy(to, from, kept);
            to += kept;
            from += kept;
            continue;
        }
        char bytes[TEXT_NUMBER_BYTES];
        to = stpcpy(to, text_bytes(bytes, strtoull(from, NULL, 10)));
        from += digits;
        if (strncmp(from, " bytes", 6) == 0)
            from += 6;
    }
    *to = '\0';
    return rounded;
}

const char *text_count(char out[TEXT_NUMBER_BYTES], uint64_t count)
{
    char digits[24];
    int length = snprintf(digits, sizeof(digits), "%" PRIu64, count);
    char *to = out;
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            *to++ = ',';
        *to++ = digits[i];
    }
    *to = '\0';
    return out;
}

const char *text_seconds(char out[TEXT_NUMBER_BYTES], double seconds)
{
    uint64_t whole = (uint64_t)(seconds + 0.5);
    if (seconds < 0.9995)
        snprintf(out, TEXT_NUMBER_BYTES, "%.3g ms", seconds * 1e3);
    else if (seconds < 59.95)
        snprintf(out, TEXT_NUMBER_BYTES, "%.3g s", seconds);
    else
        snprintf(out, TEXT_NUMBER_BYTES, "%" PRIu64 " min %02" PRIu64 " s", whole / 60, whole % 60);
    return out;
}

// --- words ---------------------------------------------------------------------------------------

#define WORD_MAX 48

static unsigned least(unsigned a, unsigned b, unsigned c)
{
    unsigned least_two = a < b ? a : b;
    return least_two < c ? least_two : c;
}

unsigned text_distance(const char *from, const char *to)
{
    size_t from_length = strlen(from), to_length = strlen(to);
    if (from_length > WORD_MAX || to_length > WORD_MAX)
        return WORD_MAX;
    unsigned cost[WORD_MAX + 1][WORD_MAX + 1]; // [i][j]: from the first i letters to the first j
    for (unsigned i = 0; i <= from_length; i++) {
        for (unsigned j = 0; j <= to_length; j++) {
            if (i == 0 || j == 0) {
                cost[i][j] = i + j;
                continue;
            }
            unsigned changed = cost[i - 1][j - 1] + (from[i - 1] != to[j - 1]);
            cost[i][j] = least(cost[i - 1][j] + 1, cost[i][j - 1] + 1, changed);
            if (i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] &&
                cost[i - 2][j - 2] + 1 < cost[i][j])
                cost[i][j] = cost[i - 2][j - 2] + 1;
        }
    }
    return cost[from_length][to_length];
}
