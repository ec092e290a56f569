/// Registration: which backend gets to know a region, what the descriptor says, and that a handle is
/// never used again.
#include "support/testing.h"
#include "support/transfer_rig.h"
#include "transfer/agent.h"

#include <string.h>

enum { bytes = 1 << 16 };
static uint8_t memory[bytes];

/// "sim" serves system memory and files; "sim2" system memory, when it is opened.
static void sims(void)
{
    for (uint32_t i = 0; i < 2; i++) {
        backend_sim_reset(&backend_sims[i], i + 1);
        backend_sim_edge(&backend_sims[i], DRAY_STORAGE_SYSTEM, DRAY_STORAGE_SYSTEM);
    }
    backend_sim_edge(&backend_sims[0], DRAY_STORAGE_DISK, DRAY_STORAGE_SYSTEM);
}

static dray_agent *agent_open(transfer_rig *rig, const char *const *names)
{
    dray_agent_options options = {
        .struct_bytes = sizeof(options), .name = "tester", .backends = names};
    assert_int_equal(dray_agent_create(rig->context, &options, &rig->agent, &rig->error), DRAY_OK);
    return rig->agent;
}

static void an_agent_without_backends_serves_local_memory(void **state)
{
    (void)state;
    sims();
    transfer_rig rig;
    transfer_rig_open(&rig, false, false);
    dray_agent *agent = agent_open(&rig, (const char *const[]){NULL});
    dray_region *region = transfer_rig_wrap(&rig, memory, bytes);
    dray_descriptor descriptor;
    assert_int_equal(dray_agent_register(agent, region, NULL, &descriptor, &rig.error), DRAY_OK);
    assert_int_equal(descriptor.handle, 1);
    assert_int_equal(descriptor.address, (uintptr_t)memory);
    assert_int_equal(descriptor.bytes, bytes);
    assert_int_equal(descriptor.memory, DRAY_MEMORY_DRAM);
    assert_int_equal(descriptor.device_id, 0);
    assert_int_equal(descriptor.writable, 0);
    dray_region_release(region);
    transfer_rig_close(&rig);
}

static void a_kind_that_nobody_serves_is_refused_by_name(void **state)
{
    (void)state;
    sims();
    transfer_rig rig;
    transfer_rig_open(&rig, false, false);
    dray_agent *agent = agent_open(&rig, (const char *const[]){NULL});
    dray_region *file = transfer_rig_file(&rig, 0, memory, bytes, 0);
    dray_descriptor descriptor = {.handle = 77};
    assert_int_equal(dray_agent_register(agent, file, NULL, &descriptor, &rig.error),
                     DRAY_E_UNSUPPORTED);
    assert_string_equal(
        rig.error.message,
        "agent tester: register fake:0: no backend of the agent serves regions of kind "
        "disk; it has copy");
    assert_int_equal(descriptor.handle, 77);
    dray_region_release(file);
    transfer_rig_close(&rig);
}

static void a_files_address_is_its_offset_and_views_advance_it(void **state)
{
    (void)state;
    sims();
    transfer_rig rig;
    transfer_rig_open(&rig, true, false);
    dray_region *file = transfer_rig_file(&rig, 0, memory, bytes, 0), *view, *inner;
    assert_int_equal(dray_region_view(file, 4096, 8192, &view, &rig.error), DRAY_OK);
    assert_int_equal(dray_region_view(view, 100, 200, &inner, &rig.error), DRAY_OK);
    dray_descriptor whole, part, piece;
    assert_int_equal(dray_agent_register(rig.agent, file, NULL, &whole, &rig.error), DRAY_OK);
    assert_int_equal(dray_agent_register(rig.agent, view, NULL, &part, &rig.error), DRAY_OK);
    assert_int_equal(dray_agent_register(rig.agent, inner, NULL, &piece, &rig.error), DRAY_OK);
    assert_int_equal(whole.memory, DRAY_MEMORY_FILE);
    assert_int_equal(whole.address, 0);
    assert_int_equal(part.address, 4096);
    assert_int_equal(part.bytes, 8192);
    assert_int_equal(piece.address, 4196);
    assert_int_equal(piece.bytes, 200);
    assert_int_equal(piece.device_id, whole.device_id);
    dray_region_release(inner);
    dray_region_release(view);
    dray_region_release(file);
    transfer_rig_close(&rig);
}

static void a_handle_is_never_given_twice(void **state)
{
    (void)state;
    sims();
    transfer_rig rig;
    transfer_rig_open(&rig, true, false);
    dray_region *region = transfer_rig_wrap(&rig, memory, bytes);
    dray_descriptor descriptor;
    for (uint64_t i = 1; i <= 70000; i++) { // past 16 bits
        assert_int_equal(dray_agent_register(rig.agent, region, NULL, &descriptor, &rig.error),
                         DRAY_OK);
        assert_int_equal(descriptor.handle, i);
        assert_int_equal(dray_agent_deregister(rig.agent, i, &rig.error), DRAY_OK);
    }
    assert_int_equal(dray_agent_deregister(rig.agent, 1, &rig.error), DRAY_E_NOTFOUND);
    assert_string_equal(rig.error.message,
                        "agent dray: deregister: handle 1 is not registered; 0 regions are, handles "
                        "up to 70000 were given");
    dray_region_release(region);
    transfer_rig_close(&rig);
}

static void registering_attaches_and_deregistering_detaches(void **state)
{
    (void)state;
    sims();
    transfer_rig rig;
    transfer_rig_open(&rig, true, true);
    dray_region *region = transfer_rig_wrap(&rig, memory, bytes);
    dray_descriptor first, second;
    assert_int_equal(dray_agent_register(rig.agent, region, NULL, &first, &rig.error), DRAY_OK);
    assert_int_equal(dray_agent_register(rig.agent, region, NULL, &second, &rig.error), DRAY_OK);
    assert_int_equal(backend_sims[0].attached, 1); // the same region: once
    assert_int_equal(backend_sims[1].attached, 1);
    assert_int_equal(dray_agent_deregister(rig.agent, first.handle, &rig.error), DRAY_OK);
    assert_int_equal(backend_sims[0].detached, 0);
    assert_int_equal(dray_agent_deregister(rig.agent, second.handle, &rig.error), DRAY_OK);
    assert_int_equal(backend_sims[0].detached, 1);
    assert_int_equal(backend_sims[1].detached, 1);
    dray_region_release(region);
    transfer_rig_close(&rig);
}

static void a_failed_registration_says_why_and_leaves_nothing(void **state)
{
    (void)state;
    sims();
    transfer_rig rig;
    transfer_rig_open(&rig, true, true);
    backend_sims[1].attach_fail_at = 1;
    dray_region *region = transfer_rig_wrap(&rig, memory, bytes);
    dray_descriptor descriptor;
    assert_int_not_equal(dray_agent_register(rig.agent, region, NULL, &descriptor, &rig.error),
                         DRAY_OK);
    const char *wanted = "agent dray: register system: backend sim2: ";
    assert_memory_equal(rig.error.message, wanted, strlen(wanted));
    assert_true(strlen(rig.error.message) > strlen(wanted)); // the cause
    assert_int_equal(backend_sims[0].attached, 1);
    assert_int_equal(backend_sims[0].detached, 1);
    assert_int_equal(dray_agent_register(rig.agent, region, NULL, &descriptor, &rig.error), DRAY_OK);
    dray_region_release(region);
    transfer_rig_close(&rig);
}

static void names_are_unique_and_fit_to_be_seen(void **state)
{
    (void)state;
    sims();
    transfer_rig rig;
    transfer_rig_open(&rig, true, false);
    dray_region *region = transfer_rig_wrap(&rig, memory, bytes);
    dray_descriptor descriptor;
    dray_register_options options = {.struct_bytes = sizeof(options), .name = "kv"};
    assert_int_equal(dray_agent_register(rig.agent, region, &options, &descriptor, &rig.error),
                     DRAY_OK);
    assert_int_equal(dray_agent_register(rig.agent, region, &options, &descriptor, &rig.error),
                     DRAY_E_INVALID);
    assert_string_equal(rig.error.message,
                        "agent dray: register system: the name kv is taken by handle 1");
    options.name = "";
    assert_int_equal(dray_agent_register(rig.agent, region, &options, &descriptor, &rig.error),
                     DRAY_E_INVALID);
    options.name = "a\nb";
    assert_int_equal(dray_agent_register(rig.agent, region, &options, &descriptor, &rig.error),
                     DRAY_E_INVALID);
    dray_region_release(region);
    transfer_rig_close(&rig);
}

static void a_region_stays_alive_while_it_is_registered(void **state)
{
    (void)state;
    sims();
    transfer_rig rig;
    transfer_rig_open(&rig, true, false);
    dray_region *file = transfer_rig_file(&rig, 0, memory, bytes, 0);
    dray_descriptor descriptor;
    assert_int_equal(dray_agent_register(rig.agent, file, NULL, &descriptor, &rig.error), DRAY_OK);
    dray_region_release(file);
    assert_int_not_equal(fake_files_open, 0);
    assert_int_equal(dray_agent_deregister(rig.agent, descriptor.handle, &rig.error), DRAY_OK);
    assert_int_equal(fake_files_open, 0);
    transfer_rig_close(&rig);
}

static void without_a_way_out_there_is_no_export(void **state)
{
    (void)state;
    sims();
    transfer_rig rig;
    transfer_rig_open(&rig, true, false);
    uint64_t count = 7;
    assert_int_equal(dray_agent_export(rig.agent, NULL, 0, &count, &rig.error), DRAY_E_UNSUPPORTED);
    assert_string_equal(rig.error.message, "agent dray: export: none of its backends reaches other "
                                           "agents; create it with \"ucx\"");
    assert_int_equal(count, 0);
    transfer_rig_close(&rig);
}

/// Registers under a name, twice, with the Nth allocation failing.
static dray_status register_two(counting_allocator *counter, dray_error *error)
{
    dray_context_options options = {.struct_bytes = sizeof(options),
                                    .allocator = counting_allocator_interface(counter)};
    dray_register_options named = {.struct_bytes = sizeof(named), .name = "kv", .writable = 1};
    dray_agent_options wanted = {.struct_bytes = sizeof(wanted),
                                 .backends = (const char *const[]){"posix", NULL}};
    dray_context *context = NULL;
    dray_agent *agent = NULL;
    dray_region *region = NULL;
    dray_descriptor first, second;
    dray_status status = dray_context_create(&options, &context, error);
    if (status == DRAY_OK)
        status = dray_agent_create(context, &wanted, &agent, error);
    if (status == DRAY_OK)
        status = dray_region_wrap(context, DRAY_STORAGE_SYSTEM, memory, bytes, NULL, NULL, &region,
                                  error);
    if (status == DRAY_OK)
        status = dray_agent_register(agent, region, &named, &first, error);
    if (status == DRAY_OK)
        status = dray_agent_register(agent, region, NULL, &second, error);
    if (status == DRAY_OK)
        status = dray_agent_deregister(agent, first.handle, error);
    dray_agent_destroy(agent);
    dray_region_release(region);
    dray_context_destroy(context);
    return status;
}

static void every_allocation_of_registering_may_fail(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n++) {
        counting_allocator counter;
        counting_allocator_init(&counter, n);
        dray_error error = {0};
        dray_status status = register_two(&counter, &error);
        assert_int_equal(counting_allocator_live_bytes(&counter), 0);
        if (!counting_allocator_failed(&counter)) {
            assert_int_equal(status, DRAY_OK);
            assert_true(n > 5);
            break;
        }
        assert_int_equal(status, DRAY_E_NOMEM);
        assert_true(error.message[0]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_agent_without_backends_serves_local_memory),
        cmocka_unit_test(a_kind_that_nobody_serves_is_refused_by_name),
        cmocka_unit_test(a_files_address_is_its_offset_and_views_advance_it),
        cmocka_unit_test(a_handle_is_never_given_twice),
        cmocka_unit_test(registering_attaches_and_deregistering_detaches),
        cmocka_unit_test(a_failed_registration_says_why_and_leaves_nothing),
        cmocka_unit_test(names_are_unique_and_fit_to_be_seen),
        cmocka_unit_test(a_region_stays_alive_while_it_is_registered),
        cmocka_unit_test(without_a_way_out_there_is_no_export),
        cmocka_unit_test(every_allocation_of_registering_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
