/// What this machine gives: every answer is tried, and what is refused is told with its code.
#include "core/context.h"
#include "support/fault_os.h"
#include "support/testing.h"

#include <errno.h>

static void what_is_absent_is_told_with_its_code(void **state)
{
    dray_machine_info machine;
    fault_os_make_absent(FAULT_NO_URING | FAULT_NO_CACHESTAT | FAULT_NO_NOEXEC_SEAL);
    dray_context_get_machine(*state, &machine);
    assert_int_equal(machine.io_uring_code, EPERM);
    assert_int_equal(machine.cachestat_code, ENOSYS);
    assert_int_equal(machine.noexec_seal_code, EINVAL);
}

static void the_lock_limit_is_that_of_the_process(void **state)
{
    dray_machine_info machine;
    fault_os_limit_lock(65536);
    dray_context_get_machine(*state, &machine);
    assert_int_equal(machine.lockable_bytes, 65536);
}

static void facts_are_plausible(void **state)
{
    dray_machine_info machine;
    dray_context_get_machine(*state, &machine);
    assert_true(machine.cpu_count >= 1);
    assert_true(machine.page_bytes >= 4096 && machine.page_bytes % 4096 == 0);
    assert_true(machine.available_bytes <= machine.memory_bytes);
}

static void no_fault_leaks_a_descriptor(void **state)
{
    int before = fault_os_open_fds();
    for (uint64_t n = 1;; n++) {
        dray_machine_info machine;
        fault_os_inject(&(fault_plan){.at = n, .code = -EMFILE});
        dray_context_get_machine(*state, &machine);
        assert_int_equal(fault_os_open_fds(), before);
        if (fault_os_hits() == 0)
            break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_absent_is_told_with_its_code, fault_os_context,
                                        fault_os_context_end),
        cmocka_unit_test_setup_teardown(the_lock_limit_is_that_of_the_process, fault_os_context,
                                        fault_os_context_end),
        cmocka_unit_test_setup_teardown(facts_are_plausible, fault_os_context, fault_os_context_end),
        cmocka_unit_test_setup_teardown(no_fault_leaks_a_descriptor, fault_os_context,
                                        fault_os_context_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
