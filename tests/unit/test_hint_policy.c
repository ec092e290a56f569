/// Policies: axes, advice, words and back.
#include "core/context.h"
#include "dray/hints.h"
#include "support/testing.h"

#include <string.h>

static dray_hint_policy parsed(const char *text)
{
    dray_hint_policy policy;
    dray_error error;
    if (dray_hint_policy_parse(text, &policy, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    return policy;
}

static void the_classic_four_are_constructors(void **state)
{
    (void)state;
    char text[DRAY_HINT_TEXT_BYTES];
    dray_hint_policy policies[] = {dray_hint_default(), dray_hint_read_mostly(),
                                   dray_hint_prefer_device(2), dray_hint_prefer_host(),
                                   dray_hint_reset()};
    const char *const words[] = {"default", "read-mostly", "prefer-device:2", "prefer-host",
                                 "reset"};
    const uint32_t advice[] = {0, 1, 1, 1, 0};
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(dray_hint_policy_print(&policies[i], text), words[i]);
        assert_int_equal(dray_hint_policy_advice(&policies[i], NULL), advice[i]);
        assert_int_equal(dray_hint_policy_is_default(&policies[i]), i == 0);
    }
}

static void advice_carries_its_location(void **state)
{
    (void)state;
    dray_hint_policy policy = parsed("accessed-by:host,63,0+prefer-numa:3+read-mostly");
    dray_hint_advice advice[DRAY_HINT_ADVICE_MAX];
    assert_int_equal(dray_hint_policy_advice(&policy, advice), 5);
    assert_int_equal(advice[0].kind, DRAY_HINT_SET_READ_MOSTLY);
    assert_int_equal(advice[1].kind, DRAY_HINT_SET_PREFERRED);
    assert_int_equal(advice[1].location.place, DRAY_HINT_HOST_NUMA);
    assert_int_equal(advice[1].location.index, 3);
    assert_int_equal(advice[2].kind, DRAY_HINT_SET_ACCESSED_BY);
    assert_int_equal(advice[2].location.index, 0);
    assert_int_equal(advice[3].location.index, 63);
    assert_int_equal(advice[4].location.place, DRAY_HINT_HOST);
}

static void words_come_back_as_they_went(void **state)
{
    (void)state;
    static const char *const texts[] = {"default",
                                        "reset",
                                        "read-mostly",
                                        "prefer-device:0",
                                        "prefer-device:63",
                                        "prefer-host",
                                        "prefer-numa:1023",
                                        "prefer-numa:current",
                                        "accessed-by:host",
                                        "accessed-by:0,1",
                                        "read-mostly+accessed-by:0,1",
                                        "reset+read-mostly+prefer-host+accessed-by:5,host"};
    char text[DRAY_HINT_TEXT_BYTES];
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        dray_hint_policy policy = parsed(texts[i]);
        assert_string_equal(dray_hint_policy_print(&policy, text), texts[i]);
    }
    dray_hint_policy all = {.reset = 1,
                            .read_mostly = 1,
                            .preferred = {DRAY_HINT_CURRENT_NUMA, 0},
                            .accessed_by = {.devices = UINT64_MAX, .host = 1}};
    dray_hint_policy_print(&all, text);
    dray_hint_policy back = parsed(text);
    assert_true(dray_hint_policy_equal(&all, &back));
}

static void wrong_words_say_where_and_what_instead(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t offset;
        const char *says;
    } wrong[] = {
        {"", 0, "read-mostly"},
        {"read-mostl", 0, "read-mostly"},
        {"read-mostly+", 12, "reset"},
        {"read-mostlyx", 0, "read-mostly"},
        {"read-mostly+read-mostly", 23, "twice"},
        {"prefer-device:64", 14, "0 to 63"},
        {"prefer-device:-1", 14, "0 to 63"},
        {"prefer-device:01", 14, "0 to 63"},
        {"prefer-device:", 14, "0 to 63"},
        {"prefer-device:99999999999999", 14, "0 to 63"},
        {"prefer-device:1 ", 15, "the end"},
        {"prefer-host+prefer-host", 19, "twice"},
        {"prefer-numa:1024", 12, "0 to 1023"},
        {"accessed-by:0,0", 15, "twice"},
        {"accessed-by:0,", 14, "\"host\" or a device"},
        {"default+reset", 0, "reset"},
        {"prefer-gpu", 7, "device:N"},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        dray_hint_policy policy = {.reset = 7};
        dray_error error = {.message = ""};
        assert_int_equal(dray_hint_policy_parse(wrong[i].text, &policy, &error), DRAY_E_FORMAT);
        assert_int_equal(policy.reset, 7); // untouched
        if (!strstr(error.message, wrong[i].says))
            fail_msg("\"%s\": \"%s\" does not say \"%s\"", wrong[i].text, error.message,
                     wrong[i].says);
        assert_int_equal(error.offset, wrong[i].offset);
    }
}

static void locations_come_back_as_they_went(void **state)
{
    (void)state;
    static const char *const texts[] = {"none", "device:3", "host", "numa:0", "numa:current"};
    char text[DRAY_HINT_TEXT_BYTES];
    for (size_t i = 0; i < 5; i++) {
        dray_hint_location location;
        assert_int_equal(dray_hint_location_parse(texts[i], &location, NULL), DRAY_OK);
        assert_string_equal(dray_hint_location_print(location, text), texts[i]);
    }
    dray_hint_location location;
    assert_int_equal(dray_hint_location_parse("host:1", &location, NULL), DRAY_E_FORMAT);
    assert_int_equal(dray_hint_location_parse("device", &location, NULL), DRAY_E_FORMAT);
}

static void a_policy_that_no_words_make_is_refused(void **state)
{
    (void)state;
    static const dray_hint_location wrong[] = {{DRAY_HINT_DEVICE, 64},
                                               {DRAY_HINT_HOST_NUMA, 1024},
                                               {DRAY_HINT_HOST, 1},
                                               {DRAY_HINT_NOWHERE, 1},
                                               {(dray_hint_place)9, 0}};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        dray_hint_policy policy = {.preferred = wrong[i]};
        dray_error error = {.message = ""};
        assert_int_equal(dray_hint_policy_check(&policy, &error), DRAY_E_INVALID);
        assert_true(error.message[0] != 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_classic_four_are_constructors),
        cmocka_unit_test(advice_carries_its_location),
        cmocka_unit_test(words_come_back_as_they_went),
        cmocka_unit_test(wrong_words_say_where_and_what_instead),
        cmocka_unit_test(locations_come_back_as_they_went),
        cmocka_unit_test(a_policy_that_no_words_make_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
