/// PTX: text of NVIDIA's virtual machine. Only as much of its grammar as says what it is and what it holds.
#include "base/env.h"
#include "loader/gpu_image.h"

static bool is_space(char letter)
{
    return letter == ' ' || (letter >= '\t' && letter <= '\r');
}

static bool is_word(char letter)
{
    return (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
           (letter >= '0' && letter <= '9') || letter == '_' || letter == '$' || letter == '.' ||
           letter == '%';
}

static uint64_t past_comment(const drayi_ptx *ptx, uint64_t at)
{
    bool line = ptx->bytes[at + 1] == '/';
    for (at += 2; at < ptx->count; at++) {
        if (line && ptx->bytes[at] == '\n')
            return at + 1;
        if (!line && at + 1 < ptx->count && ptx->bytes[at] == '*' && ptx->bytes[at + 1] == '/')
            return at + 2;
    }
    return at;
}

static uint64_t past_quotes(const drayi_ptx *ptx, uint64_t at)
{
    for (at++; at < ptx->count; at++) {
        if (ptx->bytes[at] == '"' || ptx->bytes[at] == '\n')
            return at + 1;
    }
    return at;
}

/// The next word (".version", "9.0", "add_one") or single mark; comments, blanks and quoted names are passed.
static bool next_word(const drayi_ptx *ptx, uint64_t *position, dray_text *out)
{
    uint64_t at = *position;
    while (at < ptx->count) {
        char letter = ptx->bytes[at];
        if (is_space(letter)) {
            at++;
        } else if (letter == '/' && at + 1 < ptx->count &&
                   (ptx->bytes[at + 1] == '/' || ptx->bytes[at + 1] == '*')) {
            at = past_comment(ptx, at);
        } else if (letter == '"') {
            at = past_quotes(ptx, at);
        } else {
            uint64_t end = at + 1;
            while (is_word(letter) && end < ptx->count && is_word(ptx->bytes[end]))
                end++;
            *out = (dray_text){ptx->bytes + at, end - at};
            *position = end;
            return true;
        }
    }
    *position = at;
    return false;
}

static bool same(dray_text text, const char *word)
{
    return text.length == strlen(word) && memcmp(text.bytes, word, text.length) == 0;
}

dray_status drayi_ptx_read(const uint8_t *bytes, uint64_t count, drayi_ptx *out, dray_error *error)
{
    drayi_ptx ptx = {.bytes = (const char *)bytes, .count = count};
    dray_text word;
    uint64_t position = 0;
    while (ptx.count > 0 && bytes[ptx.count - 1] == 0) // terminated already
        ptx.count--;
    const void *nul = ptx.count ? memchr(bytes, 0, ptx.count) : NULL;
    if (nul)
        return dray_fail_rule(error, DRAY_E_FORMAT, "ptx.text",
                              (uint64_t)((const uint8_t *)nul - bytes),
                              "ptx: a NUL inside the text; the driver would stop reading there");
    if (!next_word(&ptx, &position, &word) || !same(word, ".version") ||
        !next_word(&ptx, &position, &ptx.version))
        return dray_fail_rule(error, DRAY_E_FORMAT, "ptx.version", position,
                              "ptx: the text does not begin with .version and a number");
    if (!next_word(&ptx, &position, &word) || !same(word, ".target") ||
        !next_word(&ptx, &position, &ptx.target))
        return dray_fail_rule(error, DRAY_E_FORMAT, "ptx.target", position,
                              "ptx: .version is not followed by .target and an architecture");
    *out = ptx;
    return DRAY_OK;
}

bool drayi_ptx_next_kernel(const drayi_ptx *ptx, uint64_t *position, dray_text *out)
{
    dray_text word;
    while (next_word(ptx, position, &word)) {
        if (same(word, ".entry"))
            return next_word(ptx, position, out) && is_word(out->bytes[0]);
    }
    return false;
}
