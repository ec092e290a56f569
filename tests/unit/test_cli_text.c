/// Text of the command-line tool: numbers for people, and strangers' text made safe.
#include "support/testing.h"
#include "text.h"

#include <locale.h>
#include <stdlib.h>
#include <string.h>

static void assert_safe(const char *bytes, size_t length, const char *wanted)
{
    char *safe = text_safe(bytes, length);
    assert_string_equal(safe, wanted);
    free(safe);
}

static void nothing_acts_on_a_terminal(void **state)
{
    (void)state;
    assert_safe("\033]0;owned\007", 10, "\\x1b]0;owned\\x07");
    assert_safe("a\0b", 3, "a\\x00b");
    assert_safe("a\nb\tc\\", 6, "a\\nb\\tc\\\\");
    assert_safe("\xc2\x9b"
                "31m",
                5, "\\u{9b}31m"); // CSI as one character
    const char right_to_left[] = {(char)0xe2, (char)0x80, (char)0xae, 'a', 'b', 'c'};
    assert_safe(right_to_left, sizeof(right_to_left), "\\u{202e}abc");
    assert_safe("\xe2\x80\xa8", 3, "\\u{2028}");       // line separator
    assert_safe("\xff\xc0\x80", 3, "\\xff\\xc0\\x80"); // no UTF-8, and an overlong NUL
    assert_safe("\xed\xa0\x80", 3, "\\xed\\xa0\\x80"); // half of a pair
}

static void readable_text_stays_as_it_is(void **state)
{
    (void)state;
    assert_safe("blk.0.attn_q.weight", 19, "blk.0.attn_q.weight");
    assert_safe("\xe2\x96\x81the \xe6\xa8\xa1\xe5\x9e\x8b", 13,
                "\xe2\x96\x81the \xe6\xa8\xa1\xe5\x9e\x8b");
}

static void long_text_is_cut_between_characters(void **state)
{
    (void)state;
    char *safe = text_safe_start("ab\xe6\xa8\xa1"
                                 "cd",
                                 7, 3);
    assert_string_equal(safe, "ab\xe6\xa8\xa1...");
    free(safe);
}

static void the_middle_or_the_end_gives_way(void **state)
{
    (void)state;
    char *middle = text_elide("blk.0.attn_output.weight", 15, true);
    assert_string_equal(middle, "blk.0....weight");
    char *end = text_elide("abcdefghij", 8, false);
    assert_string_equal(end, "abcde...");
    char *whole = text_elide("short", 5, true);
    assert_string_equal(whole, "short");
    free(middle);
    free(end);
    free(whole);
}

static void wide_letters_count_twice(void **state)
{
    (void)state;
    setlocale(LC_CTYPE, "C.UTF-8");
    assert_int_equal(text_width("\xe6\xa8\xa1\xe5\x9e\x8b"), 4);
    assert_int_equal(text_width("\xe2\x96\x81the"), 4);
}

static void formatted_text_is_as_long_as_it_must_be(void **state)
{
    (void)state;
    char *text = text_format("%01000d|%s", 7, "end");
    assert_int_equal(strlen(text), 1004);
    assert_string_equal(text + 998, "07|end");
    free(text);
}

static void bytes_have_three_digits(void **state)
{
    (void)state;
    char out[TEXT_NUMBER_BYTES];
    assert_string_equal(text_bytes(out, 0), "0 B");
    assert_string_equal(text_bytes(out, 999), "999 B");
    assert_string_equal(text_bytes(out, 1000), "0.98 KiB");
    assert_string_equal(text_bytes(out, 4096), "4.00 KiB");
    assert_string_equal(text_bytes(out, 10240), "10.0 KiB");
    assert_string_equal(text_bytes(out, 200u << 20), "200 MiB");
    assert_string_equal(text_bytes(out, 1u << 30), "1.00 GiB");
    assert_string_equal(text_bytes(out, UINT64_MAX), "16.0 EiB");
}

static void sentences_round_their_bytes(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"memory: 1073741824 bytes available", "memory: 1.00 GiB available"},
        {"10240 of 1073741824 bytes are cached", "10.0 KiB of 1.00 GiB are cached"},
        {"0 of 1073741824 bytes, phase 96 of 4096", "0 of 1.00 GiB, phase 96 of 4096"},
        {"4096 bytes in 123456 steps", "4096 bytes in 123456 steps"},
        {"a/b123456 bytes", "a/b123456 bytes"},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *rounded = text_rounded(cases[i][0]);
        assert_string_equal(rounded, cases[i][1]);
        free(rounded);
    }
}

static void counts_have_commas(void **state)
{
    (void)state;
    char out[TEXT_NUMBER_BYTES];
    assert_string_equal(text_count(out, 0), "0");
    assert_string_equal(text_count(out, 999), "999");
    assert_string_equal(text_count(out, 32000), "32,000");
    assert_string_equal(text_count(out, UINT64_MAX), "18,446,744,073,709,551,615");
}

static void times_have_a_fitting_unit(void **state)
{
    (void)state;
    char out[TEXT_NUMBER_BYTES];
    assert_string_equal(text_seconds(out, 0.000381), "0.381 ms");
    assert_string_equal(text_seconds(out, 0.25), "250 ms");
    assert_string_equal(text_seconds(out, 1.236), "1.24 s");
    assert_string_equal(text_seconds(out, 59.97), "1 min 00 s");
    assert_string_equal(text_seconds(out, 125), "2 min 05 s");
}

static void distance_counts_slips_of_the_finger(void **state)
{
    (void)state;
    assert_int_equal(text_distance("inspect", "inspect"), 0);
    assert_int_equal(text_distance("inpsect", "inspect"), 1); // two letters swapped
    assert_int_equal(text_distance("laod", "load"), 1);
    assert_int_equal(text_distance("loda", "info"), 4);
    assert_int_equal(text_distance("", "load"), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_acts_on_a_terminal),
        cmocka_unit_test(readable_text_stays_as_it_is),
        cmocka_unit_test(long_text_is_cut_between_characters),
        cmocka_unit_test(the_middle_or_the_end_gives_way),
        cmocka_unit_test(wide_letters_count_twice),
        cmocka_unit_test(formatted_text_is_as_long_as_it_must_be),
        cmocka_unit_test(bytes_have_three_digits),
        cmocka_unit_test(sentences_round_their_bytes),
        cmocka_unit_test(counts_have_commas),
        cmocka_unit_test(times_have_a_fitting_unit),
        cmocka_unit_test(distance_counts_slips_of_the_finger),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
