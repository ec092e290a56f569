/// Two agents over UCX when every allocation, and every call that makes a descriptor, fails in turn: from
/// the creation of the agents over registering, exporting and importing to a transfer with a notice.
/// Whatever fails says so, nothing leaks, and afterwards the same agents do the same work.
#include "core/context.h"
#include "fault_os.h"
#include "testing.h"
#include "ucx_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { bytes = 100000 };

typedef struct two_agents {
    counting_allocator counter;
    dray_context *context;
    dray_agent *agents[2];
    dray_region *memory[2], *remote;
    dray_peer *peer;
    dray_descriptor descriptor; // handle 0: not registered
    dray_plan *plan;
    dray_transfer *transfer;
    dray_error error;
} two_agents;

static dray_status agents_make(two_agents *scene)
{
    static const char *const names[] = {"left", "right"};
    static const char *const backends[] = {"ucx", NULL};
    dray_context_options options = {.struct_bytes = sizeof(options),
                                    .allocator = counting_allocator_interface(&scene->counter)};
    dray_status status =
        drayi_context_create_with(&options, fault_os(), &scene->context, &scene->error);
    for (int i = 0; i < 2 && status == DRAY_OK; i++) {
        dray_agent_options wanted = {
            .struct_bytes = sizeof(wanted), .name = names[i], .backends = backends};
        dray_region_options plain = {.struct_bytes = sizeof(plain), .bytes = bytes};
        status = dray_agent_create(scene->context, &wanted, &scene->agents[i], &scene->error);
        if (status == DRAY_OK)
            status = dray_region_create(scene->context, &plain, &scene->memory[i], &scene->error);
    }
    return status;
}

static dray_status metadata_pass(two_agents *scene)
{
    dray_register_options named = {.struct_bytes = sizeof(named), .name = "kv", .writable = 1};
    uint8_t blob[UCX_BLOB];
    uint64_t count;
    dray_status status = dray_agent_register(scene->agents[1], scene->memory[1], &named,
                                             &scene->descriptor, &scene->error);
    if (status == DRAY_OK)
        status = dray_agent_export(scene->agents[1], blob, sizeof(blob), &count, &scene->error);
    if (status == DRAY_OK)
        status = dray_agent_import(scene->agents[0], blob, count, &scene->peer, &scene->error);
    if (status == DRAY_OK)
        status = dray_peer_open(scene->peer, "kv", &scene->remote, &scene->error);
    return status;
}

static dray_status transfer_run(two_agents *scene)
{
    dray_copy copy = {.source = scene->memory[0], .target = scene->remote, .run_bytes = bytes};
    dray_transfer_options options = {.struct_bytes = sizeof(options),
                                     .notice_peer = scene->peer,
                                     .notice = "done",
                                     .notice_bytes = 4};
    dray_status status =
        dray_plan_create(scene->agents[0], &copy, 1, NULL, &scene->plan, &scene->error);
    if (status == DRAY_OK)
        status = dray_transfer_create(scene->agents[0], scene->plan, &options, &scene->transfer,
                                      &scene->error);
    if (status == DRAY_OK)
        status = dray_transfer_submit(scene->transfer, &scene->error);
    for (bool done = false; status == DRAY_OK && !done;) {
        dray_agent_poll(scene->agents[1]);
        status = dray_transfer_poll(scene->transfer, &done, &scene->error);
    }
    return status;
}

static void transfer_drop(two_agents *scene)
{
    dray_transfer_destroy(scene->transfer);
    dray_plan_destroy(scene->plan);
    dray_region_release(scene->remote);
    if (scene->descriptor.handle)
        assert_int_equal(
            dray_agent_deregister(scene->agents[1], scene->descriptor.handle, &scene->error),
            DRAY_OK);
    scene->descriptor.handle = 0;
    scene->transfer = NULL;
    scene->plan = NULL;
    scene->remote = NULL;
}

static void scene_close(two_agents *scene)
{
    transfer_drop(scene);
    for (int i = 0; i < 2; i++) {
        dray_agent_destroy(scene->agents[i]);
        dray_region_release(scene->memory[i]);
    }
    dray_context_destroy(scene->context);
    assert_int_equal(counting_allocator_live_bytes(&scene->counter), 0);
}

/// The whole way. Where it fails with both agents there, the same agents go it again.
static dray_status go(two_agents *scene)
{
    dray_status status = agents_make(scene);
    bool agents = status == DRAY_OK;
    if (status == DRAY_OK)
        status = metadata_pass(scene);
    if (status == DRAY_OK)
        status = transfer_run(scene);
    if (status == DRAY_OK || !agents)
        return status;
    dray_error first = scene->error;
    transfer_drop(scene);
    if (metadata_pass(scene) != DRAY_OK || transfer_run(scene) != DRAY_OK)
        fail_msg("after \"%s\": %s", first.message, scene->error.message);
    scene->error = first;
    return status;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    uint64_t n = 1;
    for (;; n++) {
        two_agents scene = {0};
        fault_os_reset();
        counting_allocator_init(&scene.counter, n);
        dray_status status = go(&scene);
        bool failed = counting_allocator_failed(&scene.counter);
        if (failed && status != DRAY_OK)
            assert_true(scene.error.message[0]);
        if (failed && status != DRAY_OK && status != DRAY_E_NOMEM)
            fail_msg("allocation %d: %s: %s", (int)n, dray_status_name(status), scene.error.message);
        if (!failed && status != DRAY_OK)
            fail_msg("%s", scene.error.message);
        scene_close(&scene);
        if (!failed)
            break;
    }
    assert_true(n > 20);
}

static void every_call_that_makes_a_descriptor_may_fail(void **state)
{
    (void)state;
    int descriptors = -1;
    for (uint64_t n = 1;; n++) {
        two_agents scene = {0};
        fault_os_reset();
        fault_os_inject(&(fault_plan){.at = n, .groups = FAULT_EVENT, .code = -24});
        counting_allocator_init(&scene.counter, 0);
        dray_status status = go(&scene);
        uint64_t hits = fault_os_hits();
        if (hits == 0)
            assert_int_equal(status, DRAY_OK);
        else
            assert_true(status == DRAY_OK || scene.error.message[0]);
        scene_close(&scene);
        if (descriptors >= 0)
            assert_int_equal(fault_os_open_fds(), descriptors);
        descriptors = fault_os_open_fds();
        if (hits == 0)
            break;
    }
    fault_os_reset();
}

int main(void)
{
    const char *why = ucx_unavailable();
    if (why) {
        printf("skipped: %s\n", why);
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(every_call_that_makes_a_descriptor_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
