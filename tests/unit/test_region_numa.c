/// Memory on a NUMA node: asked for, looked at, and never said to lie where it does not. The machine of most
/// tests has two nodes that are played by a table of system calls; one asks the real kernel.
#include "core/context.h"
#include "device/device.h"
#include "dray/memory.h"
#include "support/testing.h"

#include <errno.h>
#include <string.h>

enum { page = 4096 };

static struct {
    uint64_t asked; // mask of the node that was asked for last
    int mode;
    uint64_t asked_bytes, looked; // pages
    int lies_on;                  // where every page is said to lie
    uint64_t elsewhere;           // how many of them lie on the other node
    int code;                     // of every call; 0: they work
} machine;

static unsigned two_nodes(void)
{
    return 2;
}

static int asked(void *at, size_t bytes, int mode, const uint64_t *nodes, unsigned bits,
                 unsigned flags)
{
    (void)at, (void)bits, (void)flags;
    machine.asked = nodes[0];
    machine.mode = mode;
    machine.asked_bytes = bytes;
    return machine.code;
}

static int looked(void *const *pages, uint64_t count, const int *nodes, int *out_status)
{
    assert_null(nodes); // a look moves nothing
    assert_non_null(pages[0]);
    for (uint64_t i = 0; i < count; i++) {
        out_status[i] = machine.elsewhere ? !machine.lies_on : machine.lies_on;
        machine.elsewhere -= machine.elsewhere > 0;
    }
    machine.looked += count;
    return machine.code;
}

static drayi_os table;

static int open_context(void **state)
{
    memset(&machine, 0, sizeof(machine));
    table = drayi_os_linux;
    table.node_count = two_nodes;
    table.node_bind = asked;
    table.page_nodes = looked;
    return drayi_context_create_with(NULL, &table, (dray_context **)state, NULL) != DRAY_OK;
}

static int close_context(void **state)
{
    dray_context_destroy(*state);
    return 0;
}

static dray_region_options on_node(dray_storage storage, int32_t node, uint64_t bytes)
{
    return (dray_region_options){.struct_bytes = sizeof(dray_region_options),
                                 .storage = storage,
                                 .bytes = bytes,
                                 .numa = DRAY_NUMA_NODE,
                                 .numa_node = node};
}

static void memory_lies_on_the_node_that_was_named(void **state)
{
    dray_context *context = *state;
    dray_error error;
    for (int pinned = 0; pinned < 2; pinned++) {
        dray_region *region;
        dray_region_options options =
            on_node(pinned ? DRAY_STORAGE_PINNED : DRAY_STORAGE_SYSTEM, 1, 10 * page);
        machine.lies_on = 1;
        machine.looked = 0;
        assert_int_equal(dray_region_create(context, &options, &region, &error), DRAY_OK);
        assert_int_equal(machine.asked, 1 << 1);
        assert_int_equal(machine.mode,
                         1); // MPOL_PREFERRED: a full node is an error, not the OOM killer
        assert_int_equal(machine.asked_bytes, 10 * page);
        assert_int_equal(machine.looked, 10);
        dray_region_release(region);
    }
}

static void pages_that_lie_elsewhere_are_counted_and_refused(void **state)
{
    dray_context *context = *state;
    dray_error error;
    dray_region *region = NULL;
    dray_region_options options = on_node(DRAY_STORAGE_SYSTEM, 1, 1000 * page);
    machine.lies_on = 1;
    machine.elsewhere = 3;
    assert_int_equal(dray_region_create(context, &options, &region, &error), DRAY_E_NOMEM);
    assert_string_equal(error.message,
                        "memory on NUMA node 1: 3 of 1000 pages that were looked at lie elsewhere "
                        "(node 0): it has no room for 4096000 bytes");
    assert_null(region);
}

static void large_memory_is_looked_at_all_over(void **state)
{
    dray_context *context = *state;
    dray_error error;
    dray_region *region;
    dray_region_options options = on_node(DRAY_STORAGE_SYSTEM, 0, UINT64_C(400) << 20);
    options.huge_pages = 1;
    assert_int_equal(dray_region_create(context, &options, &region, &error), DRAY_OK);
    assert_true(machine.looked >= 65536);
    dray_region_release(region);
}

static void pages_that_come_later_are_asked_for_only(void **state)
{
    dray_context *context = *state;
    dray_error error;
    dray_region *region;
    dray_region_options options = on_node(DRAY_STORAGE_SYSTEM, 1, 10 * page);
    options.on_demand = 1;
    assert_int_equal(dray_region_create(context, &options, &region, &error), DRAY_OK);
    assert_int_equal(machine.asked, 1 << 1);
    assert_int_equal(machine.looked, 0);
    dray_region_release(region);
}

static void a_kernel_that_does_not_let_us_is_quoted(void **state)
{
    dray_context *context = *state;
    dray_error error;
    dray_region *region = NULL;
    dray_region_options options = on_node(DRAY_STORAGE_PINNED, 1, page);
    machine.code = -EPERM; // containers
    assert_int_equal(dray_region_create(context, &options, &region, &error), DRAY_E_UNSUPPORTED);
    assert_string_equal(error.message,
                        "memory on NUMA node 1: the kernel does not let this process choose or see "
                        "nodes: mbind: Operation not permitted");
    assert_int_equal(error.native_code, EPERM);
    assert_null(region);
}

static void nodes_that_are_not_there_are_refused(void **state)
{
    dray_context *context = *state;
    dray_error error;
    dray_region *region = NULL;
    static const int32_t none[] = {2, -1, INT32_MAX};
    for (int i = 0; i < 3; i++) {
        dray_region_options options = on_node(DRAY_STORAGE_SYSTEM, none[i], page);
        assert_int_equal(dray_region_create(context, &options, &region, &error), DRAY_E_INVALID);
        assert_non_null(strstr(error.message, "this machine has nodes 0 to 1"));
    }
    dray_region_options options = on_node(DRAY_STORAGE_SYSTEM, 0, page);
    options.numa = DRAY_NUMA_NEAR; // to what?
    assert_int_equal(dray_region_create(context, &options, &region, &error), DRAY_E_INVALID);
    options.numa = (dray_numa)7;
    assert_int_equal(dray_region_create(context, &options, &region, &error), DRAY_E_INVALID);
    options = on_node(DRAY_STORAGE_NULL, 0, page);
    assert_int_equal(dray_region_create(context, &options, &region, &error), DRAY_E_INVALID);
    assert_null(region);
}

// --- near a device -------------------------------------------------------------------------------------

static void a_device_that_tells_no_node_is_named(void **state)
{
    dray_context *context = *state;
    dray_error error;
    dray_device *device;
    dray_region *region = NULL;
    assert_int_equal(dray_device_open(context, "sim:0", &device, &error), DRAY_OK);
    dray_region_options options = on_node(DRAY_STORAGE_PINNED, 0, page);
    options.numa = DRAY_NUMA_NEAR;
    options.numa_device = device;
    assert_int_equal(dray_region_create(context, &options, &region, &error), DRAY_E_UNSUPPORTED);
    assert_string_equal(error.message,
                        "create region near sim:0: its driver does not tell which NUMA node is its "
                        "own; name one (DRAY_NUMA_NODE)");
    assert_null(region);
    dray_device_release(device);
}

static void memory_lies_near_its_device(void **state)
{
    dray_context *context = *state;
    dray_error error;
    dray_device *device;
    dray_region *region = NULL;
    assert_int_equal(dray_device_open(context, "sim:0", &device, &error), DRAY_OK);
    device->info.numa_node = 1;
    machine.lies_on = 1;
    dray_region_options options = on_node(DRAY_STORAGE_PINNED, 0, 3 * page);
    options.numa = DRAY_NUMA_NEAR;
    options.numa_device = device;
    assert_int_equal(dray_region_create(context, &options, &region, &error), DRAY_OK);
    assert_int_equal(machine.asked, 1 << 1);
    assert_int_equal(machine.looked, 3);
    assert_int_equal(dray_region_storage(region), DRAY_STORAGE_PINNED);
    memset(dray_region_pointer(region), 1, 3 * page);
    dray_region_release(region);
    dray_device_release(device);
}

static void a_driver_that_locks_nothing_of_ours_says_so(void **state)
{
    dray_context *context = *state;
    dray_error error;
    dray_device *device;
    dray_region *region = NULL;
    assert_int_equal(dray_device_open(context, "sim:0", &device, &error), DRAY_OK);
    dray_region_options options = on_node(DRAY_STORAGE_PINNED, 0, 3 * page);
    options.device = device;
    assert_int_equal(dray_region_create(context, &options, &region, &error), DRAY_E_UNSUPPORTED);
    assert_string_equal(error.message,
                        "pin on sim:0: its driver cannot register memory of the host");
    options.storage = DRAY_STORAGE_DEVICE;
    assert_int_equal(dray_region_create(context, &options, &region, &error), DRAY_E_INVALID);
    assert_string_equal(error.message,
                        "create region on sim:0: device memory has no NUMA node of the host");
    assert_null(region);
    dray_device_release(device);
}

// --- the real kernel -----------------------------------------------------------------------------------

static void this_machines_first_node_holds_what_it_should(void **state)
{
    (void)state;
    dray_context *context;
    dray_region *region = NULL;
    dray_error error;
    assert_int_equal(dray_context_create(NULL, &context, &error), DRAY_OK);
    dray_region_options options = on_node(DRAY_STORAGE_SYSTEM, 0, 100 * page);
    dray_status status = dray_region_create(context, &options, &region, &error);
    if (status == DRAY_OK) {
        void *first = dray_region_pointer(region);
        int node = -1;
        if (drayi_os_linux.page_nodes(&first, 1, NULL, &node) >= 0)
            assert_int_equal(node, 0);
    } else { // a container that forbids it, or a first node without memory
        assert_true(status == DRAY_E_UNSUPPORTED || status == DRAY_E_NOMEM);
    }
    dray_region_release(region);
    dray_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(memory_lies_on_the_node_that_was_named, open_context,
                                        close_context),
        cmocka_unit_test_setup_teardown(pages_that_lie_elsewhere_are_counted_and_refused,
                                        open_context, close_context),
        cmocka_unit_test_setup_teardown(large_memory_is_looked_at_all_over, open_context,
                                        close_context),
        cmocka_unit_test_setup_teardown(pages_that_come_later_are_asked_for_only, open_context,
                                        close_context),
        cmocka_unit_test_setup_teardown(a_kernel_that_does_not_let_us_is_quoted, open_context,
                                        close_context),
        cmocka_unit_test_setup_teardown(nodes_that_are_not_there_are_refused, open_context,
                                        close_context),
        cmocka_unit_test_setup_teardown(a_device_that_tells_no_node_is_named, open_context,
                                        close_context),
        cmocka_unit_test_setup_teardown(memory_lies_near_its_device, open_context, close_context),
        cmocka_unit_test_setup_teardown(a_driver_that_locks_nothing_of_ours_says_so, open_context,
                                        close_context),
        cmocka_unit_test_setup_teardown(this_machines_first_node_holds_what_it_should, open_context,
                                        close_context),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
