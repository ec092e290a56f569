/// Patterns over tensor names, and the layer numbers in them.
#include "support/testing.h"
#include "weights/glob.h"
#include "weights/layers.h"

#include <stdlib.h>
#include <string.h>

static bool matches(const char *pattern, const char *name)
{
    dray_error error = {0};
    assert_int_equal(drayi_glob_check(pattern, &error), DRAY_OK);
    return drayi_glob_match(pattern, (dray_text){.bytes = name, .length = strlen(name)});
}

static void letters_match_themselves(void **state)
{
    (void)state;
    assert_true(matches("", ""));
    assert_false(matches("", "a"));
    assert_true(matches("blk.0", "blk.0"));
    assert_false(matches("blk.0", "blk.01"));
    assert_false(matches("blk.01", "blk.0"));
    assert_false(matches("blk.0", "blkx0"));
}

static void a_star_takes_any_run_dots_too(void **state)
{
    (void)state;
    assert_true(matches("*", ""));
    assert_true(matches("*", "model.layers.0"));
    assert_true(matches("blk.*.weight", "blk.0.attn_q.weight"));
    assert_true(matches("*weight", "weight"));
    assert_true(matches("**a**", "a"));
    assert_false(matches("blk.*.weight", "blk.0.attn_q.bias"));
    assert_true(matches("*aab", "aaaab")); // needs to come back
    assert_true(matches("a*b*c", "axxbyybzzc"));
    assert_false(matches("a*b*c", "axxbyybzz"));
}

static void a_question_mark_takes_one_byte(void **state)
{
    (void)state;
    assert_true(matches("blk.?.x", "blk.7.x"));
    assert_false(matches("blk.?.x", "blk.17.x"));
    assert_false(matches("?", ""));
}

static void a_set_takes_one_of_its_members(void **state)
{
    (void)state;
    assert_true(matches("blk.[0-3].*", "blk.2.w"));
    assert_false(matches("blk.[0-3].*", "blk.4.w"));
    assert_true(matches("[!a-c]", "d"));
    assert_false(matches("[!a-c]", "b"));
    assert_true(matches("[^a]", "b"));
    assert_true(matches("[]a]", "]")); // first: a member
    assert_true(matches("[a-]", "-")); // last: a member
    assert_true(matches("[\\]-_]", "^"));
    assert_false(matches("[z-a]", "m")); // an empty range
    assert_false(matches("[a]", ""));
}

static void a_backslash_takes_the_next_byte_as_it_is(void **state)
{
    (void)state;
    assert_true(matches("a\\*b", "a*b"));
    assert_false(matches("a\\*b", "axb"));
    assert_true(matches("\\[0]", "[0]"));
    assert_true(matches("\\?", "?"));
    assert_false(matches("\\?", "x"));
}

static void a_pattern_that_is_not_closed_is_refused(void **state)
{
    (void)state;
    dray_error error;
    assert_int_equal(drayi_glob_check("blk.[0-3", &error), DRAY_E_INVALID);
    assert_string_equal(error.message, "pattern \"blk.[0-3\": the set at 4 has no ]");
    assert_int_equal(drayi_glob_check("[", &error), DRAY_E_INVALID);
    assert_int_equal(drayi_glob_check("[]", &error), DRAY_E_INVALID);
    assert_int_equal(drayi_glob_check("[a\\]", &error), DRAY_E_INVALID);
    assert_int_equal(drayi_glob_check("a\\", &error), DRAY_E_INVALID);
    assert_string_equal(error.message, "pattern \"a\\\": the backslash at 1 has nothing behind it");
}

static void names_are_counted_and_may_hold_any_byte(void **state)
{
    (void)state;
    assert_true(drayi_glob_match("a?b", (dray_text){.bytes = "a\0b", .length = 3}));
    assert_false(drayi_glob_match("a", (dray_text){.bytes = "a\0b", .length = 3}));
    assert_true(drayi_glob_match("[\x80-\xff]", (dray_text){.bytes = "\xc3", .length = 1}));
    assert_false(drayi_glob_match("?", (dray_text){.bytes = NULL, .length = 0}));
}

/// The classic blow-up: exponential where an earlier star may give way.
static void many_stars_end_in_time(void **state)
{
    (void)state;
    enum { length = 20000 };
    char *name = malloc(length);
    memset(name, 'a', length);
    assert_false(drayi_glob_match("a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b",
                                  (dray_text){.bytes = name, .length = length}));
    free(name);
}

static int64_t layer(const char *name)
{
    return drayi_layer_of((dray_text){.bytes = name, .length = strlen(name)});
}

static void layer_numbers_stand_behind_the_words_for_layer(void **state)
{
    (void)state;
    assert_int_equal(layer("blk.0.attn_q.weight"), 0);
    assert_int_equal(layer("model.layers.31.mlp.experts.7.w"), 31);
    assert_int_equal(layer("transformer.h.12.ln_1.bias"), 12);
    assert_int_equal(layer("encoder.layer.3.output"), 3);
    assert_int_equal(layer("decoder.block.5"), 5);
    assert_int_equal(layer("blk.blk.4"), 4);
    assert_int_equal(layer("token_embd.weight"), -1);
    assert_int_equal(layer("blk.x.weight"), -1);
    assert_int_equal(layer("xblk.1.weight"), -1);
    assert_int_equal(layer("blk.-1.weight"), -1);
    assert_int_equal(layer("blk..1"), -1);
    assert_int_equal(layer("blk."), -1);
    assert_int_equal(layer(""), -1);
    assert_int_equal(layer("blk.9999999999999999999.w"), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(letters_match_themselves),
        cmocka_unit_test(a_star_takes_any_run_dots_too),
        cmocka_unit_test(a_question_mark_takes_one_byte),
        cmocka_unit_test(a_set_takes_one_of_its_members),
        cmocka_unit_test(a_backslash_takes_the_next_byte_as_it_is),
        cmocka_unit_test(a_pattern_that_is_not_closed_is_refused),
        cmocka_unit_test(names_are_counted_and_may_hold_any_byte),
        cmocka_unit_test(many_stars_end_in_time),
        cmocka_unit_test(layer_numbers_stand_behind_the_words_for_layer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
