/// The index of a sharded model: what it says, and everything it may not say.
#include "support/counting_allocator.h"
#include "support/format_probe.h"
#include "support/testing.h"
#include "weights/index_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct index_case {
    counting_allocator counter;
    drayi_env env;
    drayi_arena arena;
    drayi_index_json index;
    dray_error error;
} index_case;

static dray_status read_bytes(index_case *it, const void *bytes, uint64_t length, uint64_t fail_at)
{
    memset(it, 0, sizeof(*it));
    counting_allocator_init(&it->counter, fail_at);
    it->env.allocator = counting_allocator_interface(&it->counter);
    it->arena.env = &it->env;
    uint8_t *copy = malloc(length ? length : 1); // ends where the text ends, and goes before the use
    assert_non_null(copy);
    if (length)
        memcpy(copy, bytes, length);
    dray_status status = drayi_index_json_read(&it->arena, copy, length, &it->index, &it->error);
    free(copy);
    // What is not in the arena was given back.
    assert_int_equal(counting_allocator_live_bytes(&it->counter), it->arena.total_bytes);
    return status;
}

static void done(index_case *it)
{
    drayi_arena_free(&it->arena);
    assert_int_equal(counting_allocator_live_bytes(&it->counter), 0);
}

static const char small[] =
    "{\"metadata\":{\"total_parameters\":3,\"total_size\":96,\"x\":[{}]},"
    "\"weight_map\":{\"b\":\"m-2.safetensors\",\"a\":\"m-1.safetensors\","
    "\"\\u0063\\n\":\"m-2.safetensors\",\"\":\"m-\\u0031.safetensors\"},\"other\":[1,2]}";

static void assert_text(dray_text text, const char *wanted)
{
    assert_int_equal(text.length, strlen(wanted));
    assert_memory_equal(text.bytes, wanted, text.length);
}

static void an_index_gives_names_and_sorted_files(void **state)
{
    (void)state;
    index_case it;
    assert_int_equal(read_bytes(&it, small, sizeof(small) - 1, 0), DRAY_OK);
    assert_int_equal(it.index.total_bytes, 96);
    assert_int_equal(it.index.file_count, 2);
    assert_string_equal(it.index.files[0], "m-1.safetensors");
    assert_string_equal(it.index.files[1], "m-2.safetensors");
    assert_int_equal(it.index.entry_count, 4);
    static const char *const names[] = {"b", "a", "c\n", ""};
    static const uint64_t files[] = {1, 0, 1, 0};
    for (int i = 0; i < 4; i++) {
        assert_text(it.index.entries[i].name, names[i]);
        assert_int_equal(it.index.entries[i].file, files[i]);
    }
    assert_int_equal(it.index.entries[0].offset, strstr(small, "\"b\"") - small);
    done(&it);
}

static void total_size_may_be_absent_or_a_whole_float(void **state)
{
    (void)state;
    static const struct {
        const char *metadata;
        uint64_t total;
    } cases[] = {
        {"", DRAY_UNKNOWN},
        {"\"metadata\":{},", DRAY_UNKNOWN},
        {"\"metadata\":{\"total_size\":0},", 0},
        {"\"metadata\":{\"total_size\":18446744073709551614},", UINT64_MAX - 1},
        {"\"metadata\":{\"total_size\":16060522496.0},", 16060522496},
        {"\"metadata\":{\"total_size\":1.5e3},", 1500},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[200];
        int length =
            snprintf(text, sizeof(text), "{%s\"weight_map\":{\"a\":\"f\"}}", cases[i].metadata);
        index_case it;
        assert_int_equal(read_bytes(&it, text, (uint64_t)length, 0), DRAY_OK);
        assert_true(it.index.total_bytes == cases[i].total);
        done(&it);
    }
}

static void a_broken_index_is_refused_by_rule(void **state)
{
    (void)state;
    char long_name[400];
    snprintf(long_name, sizeof(long_name), "{\"weight_map\":{\"a\":\"%0256d\"}}", 0);
    const struct {
        const char *text, *rule;
    } cases[] = {
        {"", "json.syntax"},
        {"{", "json.syntax"},
        {"[]", "index.object"},
        {"\"weight_map\"", "index.object"},
        {"{}", "index.weight_map"},
        {"{\"metadata\":{\"total_size\":1}}", "index.weight_map"},
        {"{\"weight_map\":{}}", "index.weight_map"},
        {"{\"weight_map\":null}", "index.weight_map"},
        {"{\"weight_map\":[\"a\"]}", "index.weight_map"},
        {"{\"weight_map\":{\"a\":1}}", "index.weight_map"},
        {"{\"weight_map\":{\"a\":{}}}", "index.weight_map"},
        {"{\"weight_map\":{\"a\":\"f\"}}x", "json.trailing"},
        {"{\"weight_map\":{\"a\":\"f\"},\"weight_map\":{\"b\":\"f\"}}", "index.duplicate"},
        {"{\"weight_map\":{\"a\":\"f\",\"b\":\"f\",\"a\":\"g\"}}", "index.duplicate"},
        {"{\"weight_map\":{\"a\":\"f\",\"\\u0061\":\"f\"}}", "index.duplicate"},
        {"{\"metadata\":{},\"metadata\":{},\"weight_map\":{\"a\":\"f\"}}", "index.duplicate"},
        {"{\"metadata\":{\"total_size\":1,\"total_size\":1},\"weight_map\":{\"a\":\"f\"}}",
         "index.duplicate"},
        {"{\"metadata\":null,\"weight_map\":{\"a\":\"f\"}}", "index.metadata"},
        {"{\"metadata\":[1],\"weight_map\":{\"a\":\"f\"}}", "index.metadata"},
        {"{\"metadata\":{\"total_size\":\"1\"},\"weight_map\":{\"a\":\"f\"}}", "index.total_size"},
        {"{\"metadata\":{\"total_size\":-1},\"weight_map\":{\"a\":\"f\"}}", "index.total_size"},
        {"{\"metadata\":{\"total_size\":1.5},\"weight_map\":{\"a\":\"f\"}}", "index.total_size"},
        {"{\"metadata\":{\"total_size\":18446744073709551616},\"weight_map\":{\"a\":\"f\"}}",
         "index.total_size"},
        {"{\"weight_map\":{\"a\\u0000\":\"f\"}}", "index.name"},
        {"{\"weight_map\":{\"a\":\"\"}}", "index.file"},
        {"{\"weight_map\":{\"a\":\".\"}}", "index.file"},
        {"{\"weight_map\":{\"a\":\"..\"}}", "index.file"},
        {"{\"weight_map\":{\"a\":\"/etc/passwd\"}}", "index.file"},
        {"{\"weight_map\":{\"a\":\"sub/f\"}}", "index.file"},
        {"{\"weight_map\":{\"a\":\"sub\\/f\"}}", "index.file"},
        {"{\"weight_map\":{\"a\":\"sub\\u002ff\"}}", "index.file"},
        {"{\"weight_map\":{\"a\":\"../f\"}}", "index.file"},
        {"{\"weight_map\":{\"a\":\"f\\u0000.safetensors\"}}", "index.file"},
        {long_name, "index.file"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        index_case it;
        dray_status status = read_bytes(&it, cases[i].text, strlen(cases[i].text), 0);
        if (status != DRAY_E_FORMAT || strcmp(it.error.rule, cases[i].rule) != 0)
            fail_msg("%s: %s %s", cases[i].text, dray_status_name(status), it.error.message);
        assert_true(it.error.offset <= strlen(cases[i].text));
        assert_true(it.error.message[0] != '\0');
        done(&it);
    }
}

static void a_name_that_comes_twice_is_named_with_both_places(void **state)
{
    (void)state;
    index_case it;
    const char *text = "{\"weight_map\":{\"a\":\"f\",\"b\":\"f\",\"a\":\"g\"}}";
    assert_int_equal(read_bytes(&it, text, strlen(text), 0), DRAY_E_FORMAT);
    assert_string_equal(it.error.message,
                        "weight_map: tensor \"a\" is there twice, at bytes 15 and 31");
    assert_int_equal(it.error.offset, 31);
    done(&it);
}

static void memory_may_run_out_at_every_place(void **state)
{
    (void)state;
    uint64_t n = 1;
    for (bool failed = true; failed; n++) {
        index_case it;
        dray_status status = read_bytes(&it, small, sizeof(small) - 1, n);
        failed = counting_allocator_failed(&it.counter);
        assert_int_equal(status, failed ? DRAY_E_NOMEM : DRAY_OK);
        if (failed)
            assert_true(it.error.message[0] != '\0');
        done(&it);
    }
    assert_true(n > 4);
}

static void many_entries_cost_memory_in_proportion(void **state)
{
    (void)state;
    enum { count = 50000 };
    char *text = malloc(count * 24 + 64);
    assert_non_null(text);
    size_t length = (size_t)sprintf(text, "{\"weight_map\":{");
    for (int i = 0; i < count; i++) // descending, so that sorting has work to do
        length += (size_t)sprintf(text + length, "%s\"%d\":\"f%d\"", i ? "," : "", count - i, i % 7);
    length += (size_t)sprintf(text + length, "}}");
    index_case it;
    assert_int_equal(read_bytes(&it, text, length, 0), DRAY_OK);
    assert_int_equal(it.index.entry_count, count);
    assert_int_equal(it.index.file_count, 7);
    assert_text(it.index.entries[0].name, "50000");
    assert_int_equal(it.index.entries[8].file, 1);
    assert_true(counting_allocator_peak_bytes(&it.counter) < length * 24);
    free(text);
    done(&it);
}

static void falcon_180b_has_81_files(void **state)
{
    (void)state;
    const char *folder = getenv("DRAY_TEST_DATA");
    uint64_t length = 0;
    uint8_t *text = folder && *folder
                        ? format_probe_load(folder, "index-falcon-180b-chat.json", &length)
                        : NULL;
    if (!text) {
        print_message("skipped: DRAY_TEST_DATA names no folder with index-falcon-180b-chat.json\n");
        skip();
        return;
    }
    index_case it;
    assert_int_equal(read_bytes(&it, text, length, 0), DRAY_OK);
    assert_int_equal(it.index.file_count, 81);
    assert_int_equal(it.index.entry_count, 644);
    assert_true(it.index.total_bytes == 359045130240);
    assert_string_equal(it.index.files[80], "model-00081-of-00081.safetensors");
    assert_text(it.index.entries[0].name, "lm_head.weight");
    assert_int_equal(it.index.entries[0].file, 80);
    free(text);
    done(&it);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_index_gives_names_and_sorted_files),
        cmocka_unit_test(total_size_may_be_absent_or_a_whole_float),
        cmocka_unit_test(a_broken_index_is_refused_by_rule),
        cmocka_unit_test(a_name_that_comes_twice_is_named_with_both_places),
        cmocka_unit_test(memory_may_run_out_at_every_place),
        cmocka_unit_test(many_entries_cost_memory_in_proportion),
        cmocka_unit_test(falcon_180b_has_81_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
