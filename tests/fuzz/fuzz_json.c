/// The JSON reader over any bytes: tokens lie inside the text and in order, texts unescape to UTF-8 in
/// the room promised, and skipping a value ends where reading it token by token ends.
#include "base/json_reader.h"
#include "base/reader.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool promise)
{
    if (!promise)
        abort();
}

static void check_text(const drayi_json_token *token)
{
    char *plain = malloc(token->text.length ? token->text.length : 1);
    require(plain != NULL);
    uint64_t length = drayi_json_unescape(token, plain);
    require(length <= token->text.length);
    require(drayi_is_utf8((const uint8_t *)plain, length));
    require((memchr(plain, 0, length) != NULL) == token->has_nul);
    require(token->escaped == (memchr(token->text.bytes, '\\', token->text.length) != NULL));
    if (length <= 32 && !token->has_nul) {
        char word[33] = {0};
        memcpy(word, plain, length);
        require(drayi_json_is(token, word));
    }
    free(plain);
}

static void check_token(const drayi_json_token *token, const uint8_t *data, size_t size)
{
    require(token->offset <= size);
    if (token->kind == DRAYI_JSON_KEY || token->kind == DRAYI_JSON_STRING) {
        require(token->text.bytes == (const char *)data + token->offset + 1);
        require(token->offset + token->text.length + 2 <= size);
        check_text(token);
    } else if (token->kind == DRAYI_JSON_NUMBER) {
        require(token->offset + token->text.length <= size);
        int64_t whole;
        double real;
        if (drayi_json_i64(token, &whole) && whole > 0)
            require(token->is_u64 && token->u64 == (uint64_t)whole);
        if (drayi_json_f64(token, &real) && token->is_u64)
            require(real == (double)token->u64);
    }
}

/// Where the value that begins with `first` ends, by drayi_json_skip(); 0: it is broken.
static uint64_t skipped_end(drayi_json_reader bookmark, const drayi_json_token *first)
{
    return drayi_json_skip(&bookmark, first, NULL) == DRAY_OK ? bookmark.position : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    drayi_json_reader reader = drayi_json_reader_of(data, size, 0);
    drayi_json_token token = {0};
    dray_error error = {0};
    uint64_t first_end = 0, last_offset = 0;
    uint32_t tokens = 0;
    do {
        dray_status status = drayi_json_next(&reader, &token, &error);
        if (status != DRAY_OK) {
            require(status == DRAY_E_FORMAT && error.rule && error.offset <= size);
            return 0;
        }
        check_token(&token, data, size);
        require(tokens == 0 || token.offset > last_offset || token.kind == DRAYI_JSON_END);
        last_offset = token.offset;
        if (tokens++ == 0)
            first_end = skipped_end(reader, &token);
        else if (reader.depth == 0 && token.kind != DRAYI_JSON_END)
            require(reader.position == first_end);
    } while (token.kind != DRAYI_JSON_END);
    require(reader.depth == 0 && first_end > 0);
    return 0;
}
