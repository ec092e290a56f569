/// An agent with the fake remote backend and a region "memory", and a listener that a thread answers for.
#ifndef DRAY_TESTS_LISTENER_RIG_H
#define DRAY_TESTS_LISTENER_RIG_H

#include "counting_allocator.h"
#include "dray/listener.h"
#include "os/os.h"

#include <pthread.h>
#include <stdatomic.h>

typedef struct listener_rig {
    counting_allocator counter;
    dray_context *context;
    dray_agent *agent;
    dray_region *region;
    dray_listener *listener;
    dray_error error;
    pthread_t thread;
    atomic_bool stop, runs;
} listener_rig;

/// The agent; `os` NULL: the real one. `fail_at`: see counting_allocator.h. Failing: listener_rig_close it.
dray_status listener_rig_agent(listener_rig *rig, const char *name, const drayi_os *os,
                               uint64_t fail_at);
/// The listener, and its thread.
dray_status listener_rig_listen(listener_rig *rig, const dray_listener_options *options);
/// Ends thread and listener; what was counted until then.
dray_listener_counts listener_rig_silence(listener_rig *rig);
/// Fails the test when memory was not given back.
void listener_rig_close(listener_rig *rig);

#endif
