/// A thread of the pool that answers peers: sleeps on UCX's fd, works, and tells the caller what ended.
#include "backend/ucx_backend.h"

#ifdef DRAY_HAVE_UCX

/// Works until UCX has nothing left and is armed. False: it is time to stop.
static bool work_and_arm(dray_backend *backend)
{
    for (;;) {
        drayi_ucx_enter(backend);
        bool stop = backend->stopping;
        bool any = !stop && (drayi_ucx_work(backend) || drayi_ucx_linger(backend));
        ucs_status_t code =
            stop || any ? UCS_ERR_BUSY : backend->ucx.ucp_worker_arm(backend->worker);
        drayi_ucx_leave(backend);
        if (stop)
            return false;
        if (code != UCS_ERR_BUSY)
            return true; // armed; a worker that cannot be armed is looked at again at the next event
    }
}

static void serve(drayi_job *job)
{
    dray_backend *backend = (dray_backend *)((char *)job - offsetof(dray_backend, serve_job));
    const int fds[] = {backend->worker_fd, backend->stop_fd};
    while (work_and_arm(backend))
        backend->os->wait_fds(fds, 2, -1);
    drayi_latch_done(&backend->serve_latch);
}

dray_status drayi_ucx_serve(dray_backend *backend, dray_error *error)
{
    if (backend->stop_fd >= 0)
        return DRAY_OK;
    if (drayi_pool_threads(backend->env->pool) == 0)
        return dray_fail(error, DRAY_E_INVALID,
                         "ucx: a thread that serves was asked for, and the context has none: set "
                         "dray_context_options.thread_count");
    int fd = backend->os->event_fd();
    if (fd < 0)
        return dray_fail_os(error, -fd, "eventfd", "ucx: open an eventfd");
    backend->stop_fd = fd;
    drayi_latch_init(&backend->serve_latch);
    drayi_latch_add(&backend->serve_latch, 1);
    backend->serve_job.run = serve;
    drayi_pool_run(backend->env->pool, &backend->serve_job);
    return DRAY_OK;
}

void drayi_ucx_serve_stop(dray_backend *backend)
{
    if (backend->stop_fd < 0)
        return;
    const uint64_t one = 1;
    drayi_ucx_enter(backend);
    backend->stopping = true;
    drayi_ucx_leave(backend);
    (void)backend->os->write(backend->stop_fd, &one, sizeof(one));
    drayi_latch_wait(&backend->serve_latch);
    drayi_latch_free(&backend->serve_latch);
    drayi_close_file(backend->os, backend->stop_fd);
    backend->stop_fd = -1;
}

#endif
