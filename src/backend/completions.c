/// A list, a lock and an eventfd. The event is written under the lock: once poll has handed out the
/// last operation, no thread touches this object any more and it may be closed.
#include "backend/completions.h"

dray_status drayi_completions_open(drayi_completions *completions, const drayi_os *os,
                                   dray_error *error)
{
    int fd = os->event_fd();
    if (fd < 0)
        return dray_fail_os(error, -fd, "eventfd", "open an eventfd for completions");
    completions->event_fd = fd;
    completions->os = os;
    pthread_mutex_init(&completions->lock, NULL);
    return DRAY_OK;
}

void drayi_completions_close(drayi_completions *completions)
{
    if (!completions->os)
        return;
    pthread_mutex_destroy(&completions->lock);
    drayi_close_file(completions->os, completions->event_fd);
    completions->os = NULL;
}

/// A lost wake-up is a hang, so a failing write is tried again. It cannot block: the counter would
/// have to be near 2^64.
static void wake(const drayi_completions *completions)
{
    const uint64_t one = 1;
    for (int tries = 0; tries < 100; tries++) {
        if (completions->os->write(completions->event_fd, &one, sizeof(one)) == sizeof(one))
            return;
    }
}

void drayi_completions_push(drayi_completions *completions, dray_op *op)
{
    pthread_mutex_lock(&completions->lock);
    drayi_op_list_push(&completions->ended, op);
    if (completions->armed) {
        completions->armed = false;
        wake(completions);
    }
    pthread_mutex_unlock(&completions->lock);
}

uint32_t drayi_completions_take(drayi_completions *completions, dray_op **out_ops, uint32_t capacity)
{
    pthread_mutex_lock(&completions->lock);
    uint32_t count = drayi_op_list_take(&completions->ended, out_ops, capacity);
    pthread_mutex_unlock(&completions->lock);
    return count;
}

dray_status drayi_completions_arm(drayi_completions *completions, int *out_fd, dray_error *error)
{
    pthread_mutex_lock(&completions->lock);
    uint64_t stale; // wake-ups for what poll has long handed out; none: -EAGAIN
    (void)completions->os->read(completions->event_fd, &stale, sizeof(stale));
    bool busy = completions->ended.first != NULL;
    completions->armed = !busy;
    pthread_mutex_unlock(&completions->lock);
    if (busy)
        return dray_fail(error, DRAY_E_BUSY, "operations have ended already: poll first");
    *out_fd = completions->event_fd;
    return DRAY_OK;
}
