#include "base/quote.h"

#include "base/reader.h"

#include <string.h>

enum { kept_most = 76 };

/// How many bytes to keep so that no character is cut in two.
static uint64_t whole_characters(dray_text text)
{
    uint64_t kept = drayi_min(text.length, kept_most);
    while (kept < text.length && kept > 0 && ((uint8_t)text.bytes[kept] & 0xC0) == 0x80)
        kept--;
    return kept;
}

drayi_quoted drayi_quote(dray_text text)
{
    drayi_quoted quoted = {0};
    uint64_t kept = whole_characters(text);
    bool valid = drayi_is_utf8((const uint8_t *)text.bytes, kept);
    for (uint64_t i = 0; i < kept; i++) {
        uint8_t byte = (uint8_t)text.bytes[i];
        bool control = byte < 0x20 || byte == 0x7F;
        quoted.text[i] = (char)(control || (byte >= 0x80 && !valid) ? '?' : byte);
    }
    if (kept < text.length)
        memcpy(quoted.text + kept, "...", 4);
    return quoted;
}
