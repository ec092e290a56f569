/// Policies as files: what they say is what is meant, and what is not understood is refused.
#include "corpus.h"
#include "counting_allocator.h"
#include "dray/context.h"
#include "dray/trust.h"
#include "test_file.h"
#include "testing.h"

#include <stdio.h>
#include <string.h>

static dray_status parse(void **state, const char *text, dray_policy_file **out, dray_error *error)
{
    char name[64];
    snprintf(name, sizeof(name), "%.60s", text);
    if (text[0])
        corpus_write(name, text, strlen(text));
    return dray_policy_file_parse(*state, "p.json", text, strlen(text), out, error);
}

#define DIGEST "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eff"

static void every_member_is_read(void **state)
{
    dray_policy_file *file;
    assert_int_equal(
        parse(state,
              "{\"trust\": \"listed\", \"kinds\": [\"elf\", \"bundle\"], \"bytes_max\": 1048576,"
              " \"sha256\": [\"" DIGEST "\"], \"public_keys\": [\"" DIGEST "\", \"" DIGEST "\"],"
              " \"needed\": [\"libc.so.6\"], \"rules\": [\"allow-rpath\", \"trial\"]}",
              &file, NULL),
        DRAY_OK);
    const dray_policy *policy = dray_policy_file_get(file);
    assert_int_equal(policy->struct_bytes, sizeof(dray_policy));
    assert_int_equal(policy->trust, DRAY_TRUST_LISTED);
    assert_string_equal(policy->kinds[0], "elf");
    assert_string_equal(policy->kinds[1], "bundle");
    assert_null(policy->kinds[2]);
    assert_int_equal(policy->bytes_max, 1048576);
    assert_int_equal(policy->sha256_count, 1);
    assert_int_equal(policy->sha256[0][1], 1);
    assert_int_equal(policy->sha256[0][31], 0xff);
    assert_int_equal(policy->public_key_count, 2);
    assert_int_equal(policy->public_keys[1][30], 0x1e);
    assert_string_equal(policy->needed[0], "libc.so.6");
    assert_null(policy->needed[1]);
    assert_int_equal(policy->rules, DRAY_POLICY_ALLOW_RPATH | DRAY_POLICY_TRIAL);
    assert_null(policy->signature);
    dray_policy_file_destroy(file);
}

static void an_empty_policy_decides_nothing(void **state)
{
    dray_policy_file *file;
    assert_int_equal(parse(state, " {} ", &file, NULL), DRAY_OK);
    const dray_policy *policy = dray_policy_file_get(file);
    assert_int_equal(policy->trust, DRAY_TRUST_UNDECIDED);
    assert_true(!policy->kinds && !policy->sha256 && !policy->needed && policy->bytes_max == 0);
    dray_policy_file_destroy(file);
    assert_int_equal(parse(state, "{\"kinds\": [], \"rules\": []}", &file, NULL), DRAY_OK);
    policy = dray_policy_file_get(file);
    assert_non_null(policy->kinds); // an empty list allows nothing; a missing one allows all
    assert_null(policy->kinds[0]);
    dray_policy_file_destroy(file);
}

static void what_is_not_understood_is_refused(void **state)
{
    static const struct {
        const char *text, *rule;
    } cases[] = {
        {"", "json.end"},
        {"[]", "policy.object"},
        {"{\"trust\": \"yes\"}", "policy.trust"},
        {"{\"trust\": true}", "policy.trust"},
        {"{\"trsut\": \"allow\"}", "policy.key"},
        {"{\"trust\": \"allow\", \"trust\": \"listed\"}", "policy.twice"},
        {"{\"kinds\": \"elf\"}", "policy.value"},
        {"{\"kinds\": [1]}", "policy.value"},
        {"{\"kinds\": [\"\"]}", "policy.name"},
        {"{\"kinds\": [\"a\\u0000b\"]}", "policy.name"},
        {"{\"bytes_max\": -1}", "policy.value"},
        {"{\"bytes_max\": 1.5}", "policy.value"},
        {"{\"bytes_max\": 0}", "policy.value"},
        {"{\"sha256\": [\"00\"]}", "policy.digits"},
        {"{\"sha256\": [\""
         "00X102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eff"
         "\"]}",
         "policy.digits"},
        {"{\"rules\": [\"allow-everything\"]}", "policy.rule"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        dray_policy_file *file = NULL;
        dray_error error = {.rule = "none"};
        assert_int_equal(parse(state, cases[i].text, &file, &error), DRAY_E_FORMAT);
        if (strcmp(cases[i].rule, "json.end") != 0)
            assert_string_equal(error.rule, cases[i].rule);
        assert_non_null(strstr(error.message, "policy p.json: "));
        assert_null(file);
    }
    dray_policy_file *file = NULL;
    assert_int_equal(parse(state, "{} {}", &file, NULL), DRAY_E_FORMAT);
    assert_int_equal(parse(state, "{\"trust\": \"allow\",}", &file, NULL), DRAY_E_FORMAT);
}

static void a_file_is_read_whole_and_only_when_it_is_small(void **state)
{
    static const char text[] = "{\"trust\": \"allow\"}";
    dray_policy_file *file;
    dray_error error;
    const char *path = test_file_write("policy.json", text, strlen(text));
    assert_int_equal(dray_policy_file_open(*state, path, &file, &error), DRAY_OK);
    assert_int_equal(dray_policy_file_get(file)->trust, DRAY_TRUST_ALLOW);
    dray_policy_file_destroy(file);
    assert_int_equal(dray_policy_file_open(*state, "/no/such/file", &file, &error), DRAY_E_NOTFOUND);
    assert_int_equal(dray_policy_file_open(*state, "/", &file, &error), DRAY_E_FORMAT);
    path = test_file_make("large.json", (1 << 20) + 1);
    assert_int_equal(dray_policy_file_open(*state, path, &file, &error), DRAY_E_FORMAT);
    assert_string_equal(error.rule, "policy.size");
}

static void nothing_is_kept_when_memory_runs_out(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n++) {
        counting_allocator counter;
        counting_allocator_init(&counter, 0);
        dray_context_options options = {.struct_bytes = sizeof(options),
                                        .allocator = counting_allocator_interface(&counter)};
        dray_context *context;
        dray_policy_file *file = NULL;
        assert_int_equal(dray_context_create(&options, &context, NULL), DRAY_OK);
        uint64_t before = counting_allocator_live_bytes(&counter);
        counter.fail_at = counting_allocator_calls(&counter) + n;
        static const char text[] = "{\"kinds\": [\"elf\"], \"sha256\": [\"" DIGEST "\"]}";
        dray_status status = dray_policy_file_parse(context, "p", text, strlen(text), &file, NULL);
        bool failed = counting_allocator_failed(&counter);
        assert_int_equal(status, failed ? DRAY_E_NOMEM : DRAY_OK);
        dray_policy_file_destroy(file);
        assert_int_equal(counting_allocator_live_bytes(&counter), before);
        dray_context_destroy(context);
        if (!failed)
            break;
    }
}

static int begin(void **state)
{
    dray_context *context = NULL;
    dray_status status = dray_context_create(NULL, &context, NULL);
    *state = context;
    return status != DRAY_OK;
}

static int end(void **state)
{
    dray_context_destroy(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_member_is_read),
        cmocka_unit_test(an_empty_policy_decides_nothing),
        cmocka_unit_test(what_is_not_understood_is_refused),
        cmocka_unit_test(a_file_is_read_whole_and_only_when_it_is_small),
        cmocka_unit_test(nothing_is_kept_when_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
