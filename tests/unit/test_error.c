/// Errors: one struct, whole at every write, and the cause survives however long the where grows.
#include "dray/base.h"
#include "support/testing.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void a_failure_fills_every_field(void **state)
{
    (void)state;
    dray_error error;
    memset(&error, 0xAA, sizeof(error));
    assert_int_equal(dray_fail(&error, DRAY_E_BUSY, "%d of %d in use", 3, 4), DRAY_E_BUSY);
    assert_int_equal(error.status, DRAY_E_BUSY);
    assert_string_equal(error.message, "3 of 4 in use");
    assert_int_equal(error.native_code, 0);
    assert_null(error.origin);
    assert_null(error.rule);
    assert_true(error.offset == DRAY_UNKNOWN && error.index == DRAY_UNKNOWN);
}

static void no_error_struct_is_fine(void **state)
{
    (void)state;
    assert_int_equal(dray_fail(NULL, DRAY_E_IO, "x"), DRAY_E_IO);
    assert_int_equal(dray_fail_rule(NULL, DRAY_E_FORMAT, "r", 1, "x"), DRAY_E_FORMAT);
    assert_int_equal(dray_fail_os(NULL, ENOENT, "open", "x"), DRAY_E_NOTFOUND);
    assert_int_equal(dray_fail_within(NULL, DRAY_E_IO, "x"), DRAY_E_IO);
}

static void a_broken_rule_names_rule_and_offset(void **state)
{
    (void)state;
    dray_error error;
    dray_fail_rule(&error, DRAY_E_FORMAT, "gguf.kv.type", 812, "type %d", 13);
    assert_string_equal(error.rule, "gguf.kv.type");
    assert_int_equal(error.offset, 812);
}

static void a_system_failure_carries_errno_and_its_text(void **state)
{
    (void)state;
    dray_error error;
    assert_int_equal(dray_fail_os(&error, ENOSPC, "pwrite", "pwrite %s", "m.gguf"), DRAY_E_NOSPACE);
    assert_string_equal(error.message, "pwrite m.gguf: No space left on device");
    assert_int_equal(error.native_code, ENOSPC);
    assert_string_equal(error.origin, "pwrite");
    static const struct {
        int code;
        dray_status status;
    } wanted[] = {
        {ENOMEM, DRAY_E_NOMEM},        {EDQUOT, DRAY_E_NOSPACE}, {ENOENT, DRAY_E_NOTFOUND},
        {ENOSYS, DRAY_E_UNSUPPORTED},  {EBUSY, DRAY_E_BUSY},     {ETIMEDOUT, DRAY_E_TIMEOUT},
        {ECANCELED, DRAY_E_CANCELLED}, {EIO, DRAY_E_IO},         {EACCES, DRAY_E_IO}};
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
        assert_int_equal(dray_fail_os(NULL, wanted[i].code, "x", "y"), wanted[i].status);
}

static void callers_prepend_where_and_keep_the_rest(void **state)
{
    (void)state;
    dray_error error;
    dray_fail_rule(&error, DRAY_E_FORMAT, "rule", 9, "file ends at 900");
    assert_int_equal(dray_fail_within(&error, DRAY_E_FORMAT, "open shard %d of %d", 2, 4),
                     DRAY_E_FORMAT);
    assert_string_equal(error.message, "open shard 2 of 4: file ends at 900");
    assert_string_equal(error.rule, "rule");
    assert_int_equal(error.offset, 9);
}

static void a_long_where_loses_its_middle_never_the_cause(void **state)
{
    (void)state;
    dray_error error;
    char where[600];
    memset(where, 'p', sizeof(where));
    memcpy(where, "open /", 6);
    memcpy(where + 350, "/model.gguf", 12);
    dray_fail(&error, DRAY_E_CORRUPT, "wanted 4096 at 812, file ends at 900");
    dray_fail_within(&error, DRAY_E_CORRUPT, "%s", where);
    assert_int_equal(strlen(error.message), sizeof(error.message) - 1);
    assert_memory_equal(error.message, "open /", 6);
    assert_non_null(strstr(error.message, "..."));
    const char *tail = "/model.gguf: wanted 4096 at 812, file ends at 900";
    assert_string_equal(error.message + strlen(error.message) - strlen(tail), tail);
}

static void a_cause_that_fills_the_message_keeps_its_end(void **state)
{
    (void)state;
    dray_error error;
    char cause[380];
    memset(cause, 'c', sizeof(cause));
    memcpy(cause + sizeof(cause) - 5, "END!", 5);
    dray_fail(&error, DRAY_E_IO, "%s", cause);
    dray_fail_within(&error, DRAY_E_IO, "somewhere deep");
    size_t length = strlen(error.message);
    assert_true(length < sizeof(error.message));
    assert_string_equal(error.message + length - 4, "END!");
}

static void statuses_have_stable_words(void **state)
{
    (void)state;
    assert_string_equal(dray_status_name(DRAY_OK), "ok");
    assert_string_equal(dray_status_name(DRAY_E_CORRUPT), "corrupt");
    assert_string_equal(dray_status_name(DRAY_E_INTERNAL), "internal");
    assert_string_equal(dray_status_name((dray_status)99), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure_fills_every_field),
        cmocka_unit_test(no_error_struct_is_fine),
        cmocka_unit_test(a_broken_rule_names_rule_and_offset),
        cmocka_unit_test(a_system_failure_carries_errno_and_its_text),
        cmocka_unit_test(callers_prepend_where_and_keep_the_rest),
        cmocka_unit_test(a_long_where_loses_its_middle_never_the_cause),
        cmocka_unit_test(a_cause_that_fills_the_message_keeps_its_end),
        cmocka_unit_test(statuses_have_stable_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
