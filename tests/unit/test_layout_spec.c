/// One line that says a layout: read, refused with its reason, written back.
#include "dray/layout.h"
#include "testing.h"

#include <string.h>

static dray_layout_config parsed(const char *text, const char **out_rest)
{
    dray_layout_config config;
    dray_error error = {0};
    if (dray_layout_parse(text, &config, out_rest, &error) != DRAY_OK)
        fail_msg("%s: %s", text, error.message);
    return config;
}

static void refused(const char *text, const char *message)
{
    dray_layout_config config = {.num_blocks = 77};
    dray_error error = {0};
    assert_int_equal(dray_layout_parse(text, &config, NULL, &error), DRAY_E_INVALID);
    assert_string_equal(error.message, message);
    assert_int_equal(config.num_blocks, 77); // untouched
}

static void every_key_is_read(void **state)
{
    (void)state;
    const char *rest;
    dray_layout_config config = parsed(
        "contiguous,blocks=256,layers=80,outer=2,page=16,inner=1024,dtype=4,heads=8,format=HND,"
        "align=4096@disk:/tmp/a,b@c",
        &rest);
    assert_int_equal(config.struct_bytes, sizeof(config));
    assert_int_equal(config.kind, DRAY_LAYOUT_CONTIGUOUS);
    assert_int_equal(config.num_blocks, 256);
    assert_int_equal(config.num_layers, 80);
    assert_int_equal(config.outer_dim, 2);
    assert_int_equal(config.page_size, 16);
    assert_int_equal(config.inner_dim, 1024);
    assert_int_equal(config.dtype_width_bytes, 4);
    assert_int_equal(config.num_heads, 8);
    assert_int_equal(config.format, DRAY_BLOCK_HND);
    assert_int_equal(config.alignment, 4096);
    assert_string_equal(rest, "disk:/tmp/a,b@c");
}

static void order_case_and_absent_keys_do_not_matter(void **state)
{
    (void)state;
    const char *rest = "";
    dray_layout_config config = parsed(
        "Layer-Separate:Block-Second,inner=8,page=4,outer=1,layers=3,blocks=2,format=nhd", &rest);
    assert_null(rest);
    assert_int_equal(config.kind, DRAY_LAYOUT_LAYER_SEPARATE_SECOND);
    assert_int_equal(config.num_heads, 0);
    assert_int_equal(config.alignment, 0);
    config = parsed("contiguous,blocks=2,layers=3,outer=1,page=4,inner=8,heads=2,"
                    "format=custom:head/outer/layer/token",
                    NULL);
    assert_int_equal(config.format, DRAY_BLOCK_CUSTOM);
    static const dray_block_dim order[] = {DRAY_DIM_HEAD, DRAY_DIM_OUTER, DRAY_DIM_LAYER,
                                           DRAY_DIM_TOKEN};
    assert_memory_equal(config.order, order, sizeof(order));
}

static void what_is_wrong_is_named(void **state)
{
    (void)state;
    refused("", "there is no kind \"\"; the line begins with contiguous, "
                "layer-separate:block-first or layer-separate:block-second");
    refused("layer-separate,blocks=1",
            "there is no kind \"layer-separate\"; the line begins with contiguous, "
            "layer-separate:block-first or layer-separate:block-second");
    refused("contiguous", "blocks is missing: blocks=... is wanted");
    refused("contiguous,blocks=1,layers=1,outer=1,page=1", "inner is missing: inner=... is wanted");
    refused("contiguous,blocks=1,blocks=1", "blocks is given twice");
    refused("contiguous,block=1", "\"block\" is not known; there are blocks, layers, outer, "
                                  "page, inner, dtype, heads, format and align");
    refused("contiguous,blocks=1,", "\"\" is not known; there are blocks, layers, outer, page, "
                                    "inner, dtype, heads, format and align");
    refused("contiguous,blocks", "blocks has no value: blocks=... is wanted");
    refused("contiguous,blocks=",
            "blocks wants a whole number up to 18446744073709551615, it is \"\"");
    refused("contiguous,blocks=-1",
            "blocks wants a whole number up to 18446744073709551615, it is \"-1\"");
    refused("contiguous,blocks=18446744073709551616", "blocks wants a whole number up to "
                                                      "18446744073709551615, it is "
                                                      "\"18446744073709551616\"");
    refused("contiguous,layers=4294967296",
            "layers wants a whole number up to 4294967295, it is \"4294967296\"");
    refused("contiguous,heads=0", "heads must be at least 1, it is 0");
    refused("contiguous,dtype=0", "dtype must be at least 1, it is 0");
    refused("contiguous,format=DHN", "there is no format \"DHN\"; there are NHD, HND, "
                                     "universal-tp, universal-pp and custom:...");
    refused("contiguous,format=custom:head/layer/outer",
            "a custom format is written like custom:head/layer/outer/token, it is "
            "\"custom:head/layer/outer\"");
    refused("contiguous,format=custom:head/layer/outer/token/head",
            "a custom format is written like custom:head/layer/outer/token, it is "
            "\"custom:head/layer/outer/token/head\"");
    refused("contiguous,format=\x1b[2J", "there is no format \"?[2J\"; there are NHD, HND, "
                                         "universal-tp, universal-pp and custom:...");
}

static void the_rules_of_the_configuration_hold(void **state)
{
    (void)state;
    refused("contiguous,blocks=1,layers=1,outer=1,page=3,inner=1",
            "page_size must be a positive power of 2, it is 3");
    refused("contiguous,blocks=1,layers=1,outer=3,page=4,inner=1",
            "outer_dim must be 1 (MLA) or 2 (K and V), it is 3");
    refused("contiguous,blocks=1,layers=1,outer=1,page=4,inner=8,heads=2,"
            "format=custom:head/head/outer/token",
            "a custom order needs layer, outer, token and head once each, it is 4, 4, 2, 3");
}

static void a_line_that_is_written_reads_the_same(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "contiguous,blocks=256,layers=80,outer=2,page=16,inner=1024,dtype=2,heads=8,format=NHD",
        "layer-separate:block-first,blocks=2,layers=3,outer=1,page=4,inner=8,dtype=8,format=NHD",
        ("contiguous,blocks=18446744073709551,layers=1,outer=1,page=1,inner=12,dtype=1,heads=3,"
         "format=custom:head/layer/outer/token,align=64"),
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        char out[DRAY_LAYOUT_TEXT_BYTES];
        dray_layout_config config = parsed(lines[i], NULL);
        dray_layout_print(&config, out);
        assert_string_equal(out, lines[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_is_read),
        cmocka_unit_test(order_case_and_absent_keys_do_not_matter),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(the_rules_of_the_configuration_hold),
        cmocka_unit_test(a_line_that_is_written_reads_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
