/// The strict JSON reader: what it accepts, token by token, and what it refuses, with rule and byte.
#include "base/json_reader.h"
#include "support/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/// Reads all of `text`; the tokens' kinds as letters: { } [ ] k s n t f 0 and a final dot.
static dray_status read_all(const void *text, uint64_t length, char *out_kinds, size_t room,
                            dray_error *error)
{
    // A copy that ends where the text ends, so that a sanitizer sees a read behind it.
    uint8_t *copy = malloc(length ? length : 1);
    assert_non_null(copy);
    if (length)
        memcpy(copy, text, length);
    drayi_json_reader reader = drayi_json_reader_of(copy, length, 0);
    drayi_json_token token;
    size_t count = 0;
    dray_status status;
    do {
        status = drayi_json_next(&reader, &token, error);
        if (status == DRAY_OK && count + 1 < room)
            out_kinds[count++] = ".{}[]ksntf0"[token.kind];
    } while (status == DRAY_OK && token.kind != DRAYI_JSON_END);
    out_kinds[count] = '\0';
    free(copy);
    return status;
}

static void valid_documents_give_their_tokens(void **state)
{
    (void)state;
    static const struct {
        const char *text, *kinds;
    } cases[] = {
        {"{}", "{}."},
        {"[]", "[]."},
        {" \t\r\n{ \n} ", "{}."},
        {"0", "n."},
        {"\"a\"", "s."},
        {"true", "t."},
        {"false", "f."},
        {"null", "0."},
        {"[1,2 , 3]", "[nnn]."},
        {"{\"a\":1,\"b\":[{},[]],\"c\":{\"d\":null}}", "{knk[{}[]]k{k0}}."},
        {"[-0,1.5,1e9,-1E-2,2.0e+3]", "[nnnnn]."},
        {"[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD83D\\uDE00\"]", "[s]."},
        {"[\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\x7F\"]", "[s]."},
        {"{\"a\":1,\"a\":1}", "{knkn}."}, // duplicate keys are the caller's business
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char kinds[64];
        dray_error error = {0};
        assert_int_equal(
            read_all(cases[i].text, strlen(cases[i].text), kinds, sizeof(kinds), &error), DRAY_OK);
        assert_string_equal(kinds, cases[i].kinds);
    }
}

static void broken_documents_name_rule_and_byte(void **state)
{
    (void)state;
    static const struct {
        const char *text, *rule;
        uint64_t offset;
    } cases[] = {
        {"", "json.syntax", 0},
        {"  ", "json.syntax", 2},
        {"\xEF\xBB\xBF{}", "json.syntax", 0},
        {"{", "json.syntax", 1},
        {"{\"a\"", "json.syntax", 4},
        {"{\"a\":", "json.syntax", 5},
        {"{\"a\":1", "json.syntax", 6},
        {"{\"a\":1,", "json.syntax", 7},
        {"{\"a\":1,}", "json.syntax", 7},
        {"{,\"a\":1}", "json.syntax", 1},
        {"{\"a\" 1}", "json.syntax", 5},
        {"{a:1}", "json.syntax", 1},
        {"{'a':1}", "json.syntax", 1},
        {"{\"a\":1 \"b\":2}", "json.syntax", 7},
        {"{\"a\":1]", "json.syntax", 6},
        {"{1:2}", "json.syntax", 1},
        {"[1,]", "json.syntax", 3},
        {"[,1]", "json.syntax", 1},
        {"[1 2]", "json.syntax", 3},
        {"[1}", "json.syntax", 2},
        {"]", "json.syntax", 0},
        {"[1] // why", "json.trailing", 4},
        {"/* no */ {}", "json.syntax", 0},
        {"{}{}", "json.trailing", 2},
        {"{}\v", "json.trailing", 2},
        {"tru", "json.syntax", 0},
        {"True", "json.syntax", 0},
        {"nulls", "json.trailing", 4},
        {"NaN", "json.syntax", 0},
        {"Infinity", "json.syntax", 0},
        {"-", "json.number", 1},
        {"+1", "json.syntax", 0},
        {".5", "json.syntax", 0},
        {"01", "json.number", 0},
        {"-01", "json.number", 1},
        {"1.", "json.number", 2},
        {"1.e3", "json.number", 2},
        {"1e", "json.number", 2},
        {"1e+", "json.number", 3},
        {"0x10", "json.trailing", 1},
        {"\"", "json.text.end", 1},
        {"\"abc", "json.text.end", 4},
        {"\"abcdefgh", "json.text.end", 9},
        {"\"a\nb\"", "json.text.control", 2},
        {"\"abcdefg\x1F\"", "json.text.control", 8},
        {"\"\\", "json.escape", 2},
        {"\"\\x41\"", "json.escape", 2},
        {"\"\\u12\"", "json.escape", 3},
        {"\"\\u12g4\"", "json.escape", 3},
        {"\"\\uD800\"", "json.surrogate", 1},
        {"\"\\uDC00\"", "json.surrogate", 1},
        {"\"\\uD800\\uD800\"", "json.surrogate", 1},
        {"\"\\uD83Dabcdefgh\"", "json.surrogate", 1},
        {"\"\\uD83D\\u\"", "json.surrogate", 1},
        {"\"\x80\"", "json.utf8", 1},
        {"\"\xC3\"", "json.utf8", 1},
        {"\"\xC0\xAF\"", "json.utf8", 1},
        {"\"\xED\xA0\x80\"", "json.utf8", 1},
        {"\"\xF4\x90\x80\x80\"", "json.utf8", 1},
        {"\"\xE2\x82", "json.utf8", 1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char kinds[64];
        dray_error error = {0};
        dray_status status =
            read_all(cases[i].text, strlen(cases[i].text), kinds, sizeof(kinds), &error);
        if (status != DRAY_E_FORMAT || strcmp(error.rule, cases[i].rule) != 0 ||
            error.offset != cases[i].offset)
            fail_msg("%s: %s %s at %d", cases[i].text, dray_status_name(status),
                     status ? error.rule : "", (int)error.offset);
        assert_true(strlen(error.message) > 0);
    }
}

static void a_raw_nul_is_refused_everywhere(void **state)
{
    (void)state;
    char kinds[16];
    dray_error error;
    assert_int_equal(read_all("{}\0", 3, kinds, sizeof(kinds), &error), DRAY_E_FORMAT);
    assert_string_equal(error.rule, "json.trailing");
    assert_int_equal(read_all("\"a\0b\"", 5, kinds, sizeof(kinds), &error), DRAY_E_FORMAT);
    assert_string_equal(error.rule, "json.text.control");
    assert_int_equal(read_all("\"\\\0\"", 4, kinds, sizeof(kinds), &error), DRAY_E_FORMAT);
    assert_string_equal(error.rule, "json.escape");
}

static void every_byte_value_is_judged_alike_at_every_place_in_a_text(void **state)
{
    (void)state;
    for (unsigned byte = 0; byte < 256; byte++) {
        for (size_t place = 1; place < 18; place++) {
            char text[20], kinds[8];
            memset(text, 'x', sizeof(text));
            text[0] = text[19] = '"';
            text[place] = (char)byte;
            dray_error error;
            dray_status status = read_all(text, sizeof(text), kinds, sizeof(kinds), &error);
            bool plain = byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
            assert_int_equal(status, plain ? DRAY_OK : DRAY_E_FORMAT);
            if (byte < 0x20 || byte >= 0x80)
                assert_int_equal(error.offset, place);
        }
    }
}

static void a_message_says_what_was_wanted_found_and_where(void **state)
{
    (void)state;
    char kinds[16];
    dray_error error;
    assert_int_equal(read_all("[1 2]", 5, kinds, sizeof(kinds), &error), DRAY_E_FORMAT);
    assert_string_equal(error.message, "JSON: wanted ',' or ']', found '2' at byte 3");
    assert_int_equal(read_all("[1", 2, kinds, sizeof(kinds), &error), DRAY_E_FORMAT);
    assert_string_equal(error.message, "JSON: wanted ',' or ']', found its end at byte 2");
    assert_int_equal(read_all("\"a\n\"", 4, kinds, sizeof(kinds), &error), DRAY_E_FORMAT);
    assert_string_equal(error.message,
                        "JSON: control characters in a text must be escaped, found byte 0x0A at 2");
}

static void numbers_know_whether_they_are_canonical(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_u64;
        uint64_t u64;
    } cases[] = {
        {"0", true, 0},
        {"42", true, 42},
        {"18446744073709551615", true, UINT64_MAX},
        {"18446744073709551616", false, 0},
        {"99999999999999999999", false, 0},
        {"-0", false, 0},
        {"-1", false, 0},
        {"1.0", false, 0},
        {"1e0", false, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        drayi_json_reader reader =
            drayi_json_reader_of((const uint8_t *)cases[i].text, strlen(cases[i].text), 0);
        drayi_json_token token;
        assert_int_equal(drayi_json_next(&reader, &token, NULL), DRAY_OK);
        assert_int_equal(token.is_u64, cases[i].is_u64);
        if (token.is_u64)
            assert_true(token.u64 == cases[i].u64);
        assert_int_equal(token.text.length, strlen(cases[i].text));
    }
}

static drayi_json_token first_token(const char *text)
{
    drayi_json_reader reader = drayi_json_reader_of((const uint8_t *)text, strlen(text), 0);
    drayi_json_token token;
    assert_int_equal(drayi_json_next(&reader, &token, NULL), DRAY_OK);
    return token;
}

static void numbers_convert_or_say_that_they_cannot(void **state)
{
    (void)state;
    int64_t whole = 7;
    double real = 7;
    drayi_json_token token = first_token("-9223372036854775808");
    assert_true(drayi_json_i64(&token, &whole));
    assert_true(whole == INT64_MIN);
    token = first_token("9223372036854775808");
    assert_false(drayi_json_i64(&token, &whole));
    token = first_token("9223372036854775807");
    assert_true(drayi_json_i64(&token, &whole));
    assert_true(whole == INT64_MAX);
    token = first_token("-0");
    assert_true(drayi_json_i64(&token, &whole));
    assert_true(whole == 0);
    token = first_token("1.5");
    assert_false(drayi_json_i64(&token, &whole));
    assert_true(drayi_json_f64(&token, &real));
    assert_true(real == 1.5);
    token = first_token("1e-5");
    assert_true(drayi_json_f64(&token, &real));
    assert_true(real == 1e-5);
    token = first_token("1e400");
    assert_false(drayi_json_f64(&token, &real));
    char many[200];
    memset(many, '1', sizeof(many));
    many[199] = '\0';
    token = first_token(many);
    assert_false(drayi_json_f64(&token, &real));
}

static void escapes_resolve_to_utf8(void **state)
{
    (void)state;
    static const struct {
        const char *text, *plain;
        size_t length;
        bool escaped, has_nul;
    } cases[] = {
        {"\"plain\"", "plain", 5, false, false},
        {"\"\"", "", 0, false, false},
        {"\"a\\n\\t\\\"\\\\\\/\\b\\f\\rz\"", "a\n\t\"\\/\b\f\rz", 10, true, false},
        {"\"\\u0041\\u00e9\\u20AC\\ud83d\\ude00\"", "A\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", 10,
         true, false},
        {"\"a\\u0000b\"", "a\0b", 3, true, true},
        {"\"\\uFFFF\\u07FF\\u0800\"", "\xEF\xBF\xBF\xDF\xBF\xE0\xA0\x80", 8, true, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        drayi_json_token token = first_token(cases[i].text);
        char out[64];
        assert_int_equal(token.escaped, cases[i].escaped);
        assert_int_equal(token.has_nul, cases[i].has_nul);
        assert_int_equal(drayi_json_unescape(&token, out), cases[i].length);
        assert_memory_equal(out, cases[i].plain, cases[i].length);
    }
}

static void words_are_compared_after_unescaping(void **state)
{
    (void)state;
    drayi_json_token token = first_token("\"dtype\"");
    assert_true(drayi_json_is(&token, "dtype"));
    assert_false(drayi_json_is(&token, "dtyp"));
    assert_false(drayi_json_is(&token, "dtypes"));
    token = first_token("\"\\u0064type\"");
    assert_true(drayi_json_is(&token, "dtype"));
    assert_false(drayi_json_is(&token, "\\u0064type"));
    token = first_token("\"dtype\\u0000\"");
    assert_false(drayi_json_is(&token, "dtype"));
}

static void depth_ends_at_128_without_recursion(void **state)
{
    (void)state;
    char text[400], kinds[400];
    for (int deep = 127; deep <= 129; deep++) {
        memset(text, '[', (size_t)deep);
        memset(text + deep, ']', (size_t)deep);
        dray_error error;
        dray_status status = read_all(text, (uint64_t)deep * 2, kinds, sizeof(kinds), &error);
        assert_int_equal(status, deep <= 128 ? DRAY_OK : DRAY_E_FORMAT);
        if (status != DRAY_OK) {
            assert_string_equal(error.rule, "json.depth");
            assert_int_equal(error.offset, 128);
        }
    }
}

static void skip_ends_behind_the_value(void **state)
{
    (void)state;
    const char *text = "{\"a\":{\"x\":[1,{\"y\":[]}]},\"b\":[[]],\"c\":3,\"d\":4}";
    drayi_json_reader reader = drayi_json_reader_of((const uint8_t *)text, strlen(text), 100);
    drayi_json_token token;
    assert_int_equal(drayi_json_next(&reader, &token, NULL), DRAY_OK);
    for (const char *key = "abc"; *key; key++) {
        assert_int_equal(drayi_json_next(&reader, &token, NULL), DRAY_OK);
        assert_int_equal(token.kind, DRAYI_JSON_KEY);
        assert_int_equal(token.text.bytes[0], *key);
        assert_int_equal(drayi_json_next(&reader, &token, NULL), DRAY_OK);
        assert_int_equal(drayi_json_skip(&reader, &token, NULL), DRAY_OK);
        if (*key == 'a') { // the value's text
            assert_int_equal(token.offset, 105);
            assert_int_equal(reader.position, strlen("{\"a\":{\"x\":[1,{\"y\":[]}]}"));
        }
    }
    assert_int_equal(drayi_json_next(&reader, &token, NULL), DRAY_OK);
    assert_string_equal(drayi_json_kind_name(token.kind), "a key");
    assert_int_equal(token.offset, 100 + strlen(text) - 6);
}

static void elements_are_counted_without_moving(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t count;
    } cases[] = {{"[]", 0}, {"[1]", 1}, {"[[1,2],{\"a\":[3]},\"]\"]", 3}};
    drayi_json_token token;
    uint64_t count;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        drayi_json_reader reader =
            drayi_json_reader_of((const uint8_t *)cases[i].text, strlen(cases[i].text), 0);
        assert_int_equal(drayi_json_next(&reader, &token, NULL), DRAY_OK);
        assert_int_equal(drayi_json_count(&reader, &count, NULL), DRAY_OK);
        assert_int_equal(count, cases[i].count);
        assert_int_equal(reader.position, 1);
    }
    drayi_json_reader cut = drayi_json_reader_of((const uint8_t *)"[1,2", 4, 0);
    assert_int_equal(drayi_json_next(&cut, &token, NULL), DRAY_OK);
    assert_int_equal(drayi_json_count(&cut, &count, NULL), DRAY_E_FORMAT);
}

static void the_end_stays_the_end(void **state)
{
    (void)state;
    drayi_json_reader reader = drayi_json_reader_of((const uint8_t *)"1 ", 2, 0);
    drayi_json_token token;
    assert_int_equal(drayi_json_next(&reader, &token, NULL), DRAY_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(drayi_json_next(&reader, &token, NULL), DRAY_OK);
        assert_int_equal(token.kind, DRAYI_JSON_END);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_documents_give_their_tokens),
        cmocka_unit_test(broken_documents_name_rule_and_byte),
        cmocka_unit_test(a_raw_nul_is_refused_everywhere),
        cmocka_unit_test(every_byte_value_is_judged_alike_at_every_place_in_a_text),
        cmocka_unit_test(a_message_says_what_was_wanted_found_and_where),
        cmocka_unit_test(numbers_know_whether_they_are_canonical),
        cmocka_unit_test(numbers_convert_or_say_that_they_cannot),
        cmocka_unit_test(escapes_resolve_to_utf8),
        cmocka_unit_test(words_are_compared_after_unescaping),
        cmocka_unit_test(depth_ends_at_128_without_recursion),
        cmocka_unit_test(skip_ends_behind_the_value),
        cmocka_unit_test(elements_are_counted_without_moving),
        cmocka_unit_test(the_end_stays_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
