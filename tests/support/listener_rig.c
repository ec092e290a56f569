/// See listener_rig.h.
#include "listener_rig.h"

#include "core/context.h"
#include "fake_remote.h"
#include "testing.h"

#include <poll.h>
#include <string.h>

static dray_status agent_make(listener_rig *rig, const char *name)
{
    static const char *const backends[] = {"fake_remote", NULL};
    dray_agent_options agent = {.struct_bytes = sizeof(agent), .name = name, .backends = backends};
    dray_region_options plain = {.struct_bytes = sizeof(plain), .bytes = 4096};
    dray_register_options named = {.struct_bytes = sizeof(named), .name = "memory"};
    dray_descriptor descriptor;
    dray_status status = dray_agent_create(rig->context, &agent, &rig->agent, &rig->error);
    if (status == DRAY_OK)
        status = dray_region_create(rig->context, &plain, &rig->region, &rig->error);
    if (status == DRAY_OK)
        status = dray_agent_register(rig->agent, rig->region, &named, &descriptor, &rig->error);
    return status;
}

dray_status listener_rig_agent(listener_rig *rig, const char *name, const drayi_os *os,
                               uint64_t fail_at)
{
    static const dray_backend_ops *const backends[] = {&fake_remote_ops, NULL};
    memset(rig, 0, sizeof(*rig));
    counting_allocator_init(&rig->counter, fail_at);
    dray_context_options options = {.struct_bytes = sizeof(options),
                                    .allocator = counting_allocator_interface(&rig->counter),
                                    .backends = backends};
    dray_status status =
        drayi_context_create_with(&options, os ? os : &drayi_os_linux, &rig->context, &rig->error);
    return status == DRAY_OK ? agent_make(rig, name) : status;
}

static void *answer(void *argument)
{
    listener_rig *rig = argument;
    while (!atomic_load(&rig->stop)) {
        struct pollfd fd = {.fd = dray_listener_fd(rig->listener), .events = POLLIN};
        (void)poll(&fd, 1, 20);
        dray_listener_poll(rig->listener);
    }
    return NULL;
}

dray_status listener_rig_listen(listener_rig *rig, const dray_listener_options *options)
{
    dray_status status = dray_listener_create(rig->agent, options, &rig->listener, &rig->error);
    if (status != DRAY_OK)
        return status;
    atomic_store(&rig->stop, false);
    assert_int_equal(pthread_create(&rig->thread, NULL, answer, rig), 0);
    atomic_store(&rig->runs, true);
    return DRAY_OK;
}

dray_listener_counts listener_rig_silence(listener_rig *rig)
{
    dray_listener_counts counts = {0};
    if (atomic_load(&rig->runs)) {
        atomic_store(&rig->stop, true);
        pthread_join(rig->thread, NULL);
        atomic_store(&rig->runs, false);
    }
    if (rig->listener)
        dray_listener_count(rig->listener, &counts);
    dray_listener_destroy(rig->listener);
    rig->listener = NULL;
    return counts;
}

void listener_rig_close(listener_rig *rig)
{
    listener_rig_silence(rig);
    dray_agent_destroy(rig->agent);
    dray_region_release(rig->region);
    dray_context_destroy(rig->context);
    assert_int_equal(counting_allocator_live_bytes(&rig->counter), 0);
}
