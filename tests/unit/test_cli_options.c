/// Command lines: any order, nothing given twice, and a sentence for every mistake.
#include "options.h"
#include "support/testing.h"

#include <string.h>

typedef struct values {
    const char *file, *glob;
    uint64_t limit;
    option_number threads;
    bool json;
} values;

static const option options[] = {
    {"tensors", "GLOB", "only some", .parse = option_text, .at = offsetof(values, glob)},
    {"limit", "SIZE", "at most", .parse = option_bytes, .at = offsetof(values, limit)},
    {"threads", "N", "how many", .parse = option_count, .at = offsetof(values, threads)},
    {"json", NULL, "as JSON", .at = offsetof(values, json)},
    {0},
};

static const option one_required[] = {
    {"tensors", "GLOB", "only some", .parse = option_text, .at = offsetof(values, glob),
     .required = true},
    {0},
};

#define LINE(...) ((const char *const[]){__VA_ARGS__, NULL})

static option_result parse(const option *table, const char *const *line, values *out,
                           option_problem *problem)
{
    int count = 0;
    while (line[count])
        count++;
    memset(out, 0, sizeof(*out));
    memset(problem, 0, sizeof(*problem));
    return options_parse(table, (option_operand){.name = "FILE", .at = offsetof(values, file)},
                         count, (char *const *)line, out, problem);
}

static void assert_wrong(const option *table, const char *const *line, const char *sentence)
{
    values got;
    option_problem problem;
    assert_int_equal(parse(table, line, &got, &problem), OPTIONS_WRONG);
    assert_string_equal(problem.sentence, sentence);
}

static void options_stand_in_any_order(void **state)
{
    (void)state;
    values got;
    option_problem problem;
    const char *const *lines[] = {
        LINE("m.gguf", "--json", "--tensors", "blk.*", "--threads=3"),
        LINE("--threads", "3", "--tensors=blk.*", "m.gguf", "--json"),
        LINE("--json", "--threads", "3", "--tensors", "blk.*", "--", "m.gguf"),
    };
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(parse(options, lines[i], &got, &problem), OPTIONS_OK);
        assert_string_equal(got.file, "m.gguf");
        assert_string_equal(got.glob, "blk.*");
        assert_true(got.json && got.threads.given);
        assert_int_equal(got.threads.value, 3);
    }
}

static void a_file_may_begin_with_a_dash(void **state)
{
    (void)state;
    values got;
    option_problem problem;
    assert_int_equal(parse(options, LINE("--", "--json"), &got, &problem), OPTIONS_OK);
    assert_string_equal(got.file, "--json");
    assert_false(got.json);
}

static void every_mistake_has_its_sentence(void **state)
{
    (void)state;
    assert_wrong(options, LINE("--json"), "FILE is missing");
    assert_wrong(options, LINE("a", "b"), "one FILE at a time: \"b\" is one too many");
    assert_wrong(options, LINE("a", "--json", "--json"), "--json is given twice");
    assert_wrong(options, LINE("a", "--tensors", "x", "--tensors=y"), "--tensors is given twice");
    assert_wrong(options, LINE("a", "--json=1"), "--json takes no value");
    assert_wrong(options, LINE("a", "--tensors"), "--tensors needs a value: --tensors GLOB");
    assert_wrong(options, LINE("a", "--tensors", "--json"),
                 "--tensors needs a value: --tensors GLOB");
    assert_wrong(options, LINE("a", "--tensors="), "--tensors : the value is empty");
    assert_wrong(options, LINE("a", "--tensor", "x"),
                 "there is no option --tensor; did you mean --tensors?");
    assert_wrong(options, LINE("a", "--jsno"), "there is no option --jsno; did you mean --json?");
    assert_wrong(options, LINE("a", "--frobnicate"), "there is no option --frobnicate");
    assert_wrong(options, LINE("a", "--threads", "-1"), "--threads -1: wanted a whole number");
    assert_wrong(options, LINE("a", "--threads", "4294967296"),
                 "--threads 4294967296: wanted a whole number");
    assert_wrong(one_required, LINE("a"), "--tensors GLOB is missing: only some");
}

static void sizes_are_powers_of_1024(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } cases[] = {{"4096", 4096},
                 {"1K", 1024},
                 {"512M", 512ull << 20},
                 {"1.5GiB", 3ull << 29},
                 {"2tb", 2ull << 40}};
    values got;
    option_problem problem;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(parse(options, LINE("a", "--limit", cases[i].text), &got, &problem),
                         OPTIONS_OK);
        assert_int_equal(got.limit, cases[i].bytes);
    }
    static const char *const wrong[] = {"0", "x", "1Q", "-5M", "1KK", "nan", "9e99", "0x10"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(parse(options, LINE("a", "--limit", wrong[i]), &got, &problem),
                         OPTIONS_WRONG);
}

typedef struct many_values {
    const char *file;
    option_words words, policies;
} many_values;

static void what_may_be_given_many_times_is_kept_in_order(void **state)
{
    (void)state;
    static const option table[] = {
        {"policy", "P", "one more", .parse = option_word, .at = offsetof(many_values, policies),
         .many = true},
        {0},
    };
    static const option_operand words = {
        .name = "WORD", .at = offsetof(many_values, words), .many = true};
    const option_operand file = {.name = "FILE", .at = offsetof(many_values, file), .next = &words};
    const char *const line[] = {"f", "a", "--policy", "p", "b", "--policy=q", "--", "-3"};
    many_values got = {0};
    option_problem problem = {{0}};
    assert_int_equal(options_parse(table, file, 8, (char *const *)line, &got, &problem), OPTIONS_OK);
    assert_string_equal(got.file, "f");
    assert_int_equal(got.words.count, 3);
    assert_string_equal(got.words.words[0], "a");
    assert_string_equal(got.words.words[1], "b");
    assert_string_equal(got.words.words[2], "-3");
    assert_int_equal(got.policies.count, 2);
    assert_string_equal(got.policies.words[0], "p");
    assert_string_equal(got.policies.words[1], "q");

    const char *full[2 + OPTION_WORDS_MAX];
    for (size_t i = 0; i < 2 + OPTION_WORDS_MAX; i++)
        full[i] = "x";
    got = (many_values){0};
    assert_int_equal(
        options_parse(table, file, 1 + OPTION_WORDS_MAX, (char *const *)full, &got, &problem),
        OPTIONS_OK);
    got = (many_values){0};
    assert_int_equal(
        options_parse(table, file, 2 + OPTION_WORDS_MAX, (char *const *)full, &got, &problem),
        OPTIONS_WRONG);
    assert_string_equal(problem.sentence, "more than 64 are given");
}

static void help_wins_over_what_is_missing(void **state)
{
    (void)state;
    values got;
    option_problem problem;
    assert_int_equal(parse(one_required, LINE("--help"), &got, &problem), OPTIONS_HELP);
    assert_int_equal(parse(one_required, LINE("a", "-h"), &got, &problem), OPTIONS_HELP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_stand_in_any_order),
        cmocka_unit_test(a_file_may_begin_with_a_dash),
        cmocka_unit_test(every_mistake_has_its_sentence),
        cmocka_unit_test(sizes_are_powers_of_1024),
        cmocka_unit_test(what_may_be_given_many_times_is_kept_in_order),
        cmocka_unit_test(help_wins_over_what_is_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
