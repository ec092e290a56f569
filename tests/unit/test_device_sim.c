/// The simulated device, where it differs from the process that it runs in.
#include "dray/device.h"
#include "fault_os.h"
#include "testing.h"

#include <string.h>

static void pinned_memory_does_not_end_at_the_limit_of_the_process(void **state)
{
    dray_context *context = *state;
    fault_os_limit_lock(64 << 10);
    dray_device *device;
    assert_int_equal(dray_device_open(context, "sim:0", &device, NULL), DRAY_OK);
    dray_region_options options = {.struct_bytes = sizeof(options),
                                   .storage = DRAY_STORAGE_PINNED,
                                   .bytes = 1 << 20,
                                   .device = device};
    dray_region *region;
    dray_error error;
    assert_int_equal(dray_region_create(context, &options, &region, &error), DRAY_OK);
    assert_int_equal(dray_region_storage(region), DRAY_STORAGE_PINNED);
    memset(dray_region_pointer(region), 7, 1 << 20);
    dray_region_release(region);

    options.device = NULL; // without a driver the limit holds
    assert_int_equal(dray_region_create(context, &options, &region, &error), DRAY_E_NOMEM);
    dray_device_release(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pinned_memory_does_not_end_at_the_limit_of_the_process,
                                        fault_os_context, fault_os_context_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
