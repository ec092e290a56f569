/// What the command-line tool writes: tables, JSON, and the progress line.
#include "json_out.h"
#include "progress.h"
#include "support/testing.h"
#include "table.h"
#include "text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/// A stream that ends up in a string.
typedef struct page {
    FILE *stream;
    char *text;
    size_t length;
} page;

static void page_open(page *out)
{
    *out = (page){0};
    out->stream = open_memstream(&out->text, &out->length);
    assert_non_null(out->stream);
}

static void assert_page(page *got, const char *wanted)
{
    fclose(got->stream);
    assert_string_equal(got->text, wanted);
    free(got->text);
}

// --- tables --------------------------------------------------------------------------------------

static const table_column columns[] = {{"tensor", TABLE_LEFT, TABLE_CUT_MIDDLE},
                                       {"bytes", TABLE_RIGHT, TABLE_WHOLE},
                                       {"kind", TABLE_LEFT, TABLE_WHOLE}};

static table *three_columns(void)
{
    table *rows = table_create(columns, 3);
    table_cell(rows, "%s", "blk.0.attn_output.weight");
    table_cell(rows, "%d", 4096);
    table_cell(rows, "Q4_K");
    table_cell(rows, "norm");
    table_cell(rows, "%d", 8);
    table_cell(rows, "F32");
    return rows;
}

static void numbers_stand_right_and_text_left(void **state)
{
    (void)state;
    page out;
    page_open(&out);
    table *rows = three_columns();
    table_print_within(rows, out.stream, 2, 0);
    table_destroy(rows);
    assert_page(&out, "  tensor                    bytes  kind\n"
                      "  blk.0.attn_output.weight   4096  Q4_K\n"
                      "  norm                          8  F32\n");
}

static void a_narrow_terminal_cuts_names_and_never_numbers(void **state)
{
    (void)state;
    page out;
    page_open(&out);
    table *rows = three_columns();
    table_print_within(rows, out.stream, 0, 29);
    table_destroy(rows);
    assert_page(&out, "tensor            bytes  kind\n"
                      "blk.0.....weight   4096  Q4_K\n"
                      "norm                  8  F32\n");
}

static void no_line_ends_in_blanks(void **state)
{
    (void)state;
    page out;
    page_open(&out);
    table *rows = table_create(columns, 3);
    const char *const cells[] = {"a", "1", "long", "b", "2", ""};
    for (size_t i = 0; i < 6; i++)
        table_cell(rows, "%s", cells[i]);
    table_print_within(rows, out.stream, 2, 0);
    table_destroy(rows);
    assert_page(&out, "  tensor  bytes  kind\n"
                      "  a           1  long\n"
                      "  b           2\n");
}

static void a_narrow_terminal_leaves_out_what_may_go(void **state)
{
    (void)state;
    static const table_column some[] = {{"name", TABLE_LEFT, TABLE_CUT_MIDDLE},
                                        {"offset", TABLE_RIGHT, TABLE_MAY_GO},
                                        {"file", TABLE_RIGHT, TABLE_MAY_GO}};
    static const char *const wanted[] = {
        "name                      offset  file\nblk.0.attn_output.weight      96     1\n",
        "name                      offset\nblk.0.attn_output.weight      96\n",
        "name\nblk.0.attn_output.weight\n",
        "name\nblk.0.....weight\n",
    };
    static const unsigned widths[] = {38, 37, 31, 16};
    for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++) {
        page out;
        page_open(&out);
        table *rows = table_create(some, 3);
        table_cell(rows, "blk.0.attn_output.weight");
        table_cell(rows, "96");
        table_cell(rows, "1");
        table_print_within(rows, out.stream, 0, widths[i]);
        table_destroy(rows);
        assert_page(&out, wanted[i]);
    }
}

// --- JSON ----------------------------------------------------------------------------------------

static void objects_take_lines_and_flat_ones_do_not(void **state)
{
    (void)state;
    page out;
    page_open(&out);
    json_out json = json_begin(out.stream);
    json_object(&json, NULL);
    json_string(&json, "format", "gguf");
    json_array(&json, "tensors");
    json_object_flat(&json, NULL);
    json_u64(&json, "bytes", 42);
    json_array_flat(&json, "shape");
    json_u64(&json, NULL, 2);
    json_u64(&json, NULL, 3);
    json_end(&json);
    json_end(&json);
    json_end(&json);
    json_object(&json, "metadata");
    json_end(&json);
    json_key(&json, "a\"b", 3);
    json_null(&json, NULL);
    json_end(&json);
    json_finish(&json);
    assert_page(&out, "{\n"
                      "  \"format\": \"gguf\",\n"
                      "  \"tensors\": [\n"
                      "    {\"bytes\": 42, \"shape\": [2, 3]}\n"
                      "  ],\n"
                      "  \"metadata\": {},\n"
                      "  \"a\\\"b\": null\n"
                      "}\n");
}

static void numbers_are_exact(void **state)
{
    (void)state;
    page out;
    page_open(&out);
    json_out json = json_begin(out.stream);
    json_array_flat(&json, NULL);
    json_u64(&json, NULL, UINT64_MAX);
    json_i64(&json, NULL, INT64_MIN);
    json_f64(&json, NULL, 0.1);
    json_f64(&json, NULL, (double)1e-5f);
    json_f64(&json, NULL, 10000);
    json_f64(&json, NULL, -0.0);
    json_f64(&json, NULL, 1e300);
    json_f64(&json, NULL, (double)INFINITY);
    json_f64(&json, NULL, (double)-INFINITY);
    json_f64(&json, NULL, (double)NAN);
    json_u64_or_null(&json, NULL, 7, 7);
    json_end(&json);
    json_finish(&json);
    assert_page(
        &out,
        "[18446744073709551615, -9223372036854775808, 0.1, 9.999999747378752e-06, 10000.0, -0.0, 1e+300, "
        "\"inf\", \"-inf\", \"nan\", null]\n");
}

static void text_is_always_valid(void **state)
{
    (void)state;
    page out;
    page_open(&out);
    json_out json = json_begin(out.stream);
    json_array_flat(&json, NULL);
    json_text(&json, NULL, "q\"b\\n\n\0\x1b\x7f", 9);
    json_text(&json, NULL,
              "\xff"
              "a\xe6\xa8",
              4);
    json_text(&json, NULL, "\xe6\xa8\xa1", 3);
    json_string(&json, NULL, NULL);
    json_end(&json);
    json_finish(&json);
    assert_page(&out, "[\"q\\\"b\\\\n\\n\\u0000\\u001b\\u007f\", \"\xef\xbf\xbd"
                      "a\xef\xbf\xbd\xef\xbf\xbd\", "
                      "\"\xe6\xa8\xa1\", null]\n");
}

// --- progress ------------------------------------------------------------------------------------

static void the_line_shows_part_rate_and_time_left(void **state)
{
    (void)state;
    char line[512];
    progress_line(line, sizeof(line), "loading", 1u << 30, 4ull << 30, 0.5, 100, false);
    assert_string_equal(
        line,
        "loading  ==========------------------------------   25%  1.00 GiB of 4.00 GiB  2.15 GB/s  0:02 left");
}

static void the_line_never_exceeds_the_terminal(void **state)
{
    (void)state;
    char line[512];
    for (unsigned width = 1; width < 200; width++) {
        progress_line(line, sizeof(line), "loading", 1, 3, 0.5, width, true);
        assert_true(text_width(line) <= (width < 4 ? 4 : width));
    }
}

static void nothing_known_yet_divides_by_nothing(void **state)
{
    (void)state;
    char line[512];
    progress_line(line, sizeof(line), "loading", 0, 0, 0, 60, false);
    assert_string_equal(line, "loading  -----------    0%  0 B of 0 B  0.00 GB/s  -:-- left");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_stand_right_and_text_left),
        cmocka_unit_test(a_narrow_terminal_cuts_names_and_never_numbers),
        cmocka_unit_test(a_narrow_terminal_leaves_out_what_may_go),
        cmocka_unit_test(no_line_ends_in_blanks),
        cmocka_unit_test(objects_take_lines_and_flat_ones_do_not),
        cmocka_unit_test(numbers_are_exact),
        cmocka_unit_test(text_is_always_valid),
        cmocka_unit_test(the_line_shows_part_rate_and_time_left),
        cmocka_unit_test(the_line_never_exceeds_the_terminal),
        cmocka_unit_test(nothing_known_yet_divides_by_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
