/// See fake_remote.h.
#include "fake_remote.h"

#include "base/env.h"

#include <unistd.h>

struct dray_backend {
    drayi_env *env;
};

struct dray_remote {
    int guard;
};

struct dray_remote_region {
    int unused;
};

static int last_guard = -1;

int fake_remote_guard(void)
{
    return last_guard;
}

static dray_status fake_open(drayi_env *env, dray_backend **out_backend, dray_error *error)
{
    dray_backend *backend = drayi_new(env, dray_backend, error);
    if (!backend)
        return DRAY_E_NOMEM;
    backend->env = env;
    *out_backend = backend;
    return DRAY_OK;
}

static void fake_close(dray_backend *backend)
{
    drayi_free(backend->env, backend, sizeof(*backend));
}

static uint32_t fake_edges(dray_backend *backend, dray_edge *out_edges, uint32_t capacity)
{
    (void)backend;
    if (capacity >= 2) {
        out_edges[0] = (dray_edge){
            .from = DRAY_STORAGE_SYSTEM, .to = DRAY_STORAGE_REMOTE, .max_segments = 1, .cost = 1};
        out_edges[1] = (dray_edge){
            .from = DRAY_STORAGE_REMOTE, .to = DRAY_STORAGE_SYSTEM, .max_segments = 1, .cost = 1};
    }
    return 2;
}

static uint32_t fake_submit(dray_backend *backend, dray_op **ops, uint32_t count)
{
    (void)backend, (void)ops, (void)count;
    return 0;
}

static uint32_t fake_poll(dray_backend *backend, dray_op **out_ops, uint32_t capacity)
{
    (void)backend, (void)out_ops, (void)capacity;
    return 0;
}

static dray_status fake_start(dray_backend *backend, const dray_remote_setup *setup,
                              dray_error *error)
{
    (void)backend, (void)setup, (void)error;
    return DRAY_OK;
}

static dray_status fake_address(dray_backend *backend, const void **out_bytes, uint32_t *out_count,
                                dray_error *error)
{
    (void)backend, (void)error;
    *out_bytes = "somewhere";
    *out_count = 9;
    return DRAY_OK;
}

static dray_status fake_key(dray_backend *backend, const dray_region *region,
                            const void **out_bytes, uint32_t *out_count, dray_error *error)
{
    (void)region;
    return fake_address(backend, out_bytes, out_count, error);
}

static dray_status fake_connect(dray_backend *backend, const char *agent, const void *address,
                                uint32_t bytes, dray_remote **out_remote, dray_error *error)
{
    (void)agent, (void)address, (void)bytes;
    *out_remote = drayi_new(backend->env, dray_remote, error);
    if (!*out_remote)
        return DRAY_E_NOMEM;
    (*out_remote)->guard = -1;
    return DRAY_OK;
}

static void fake_disconnect(dray_backend *backend, dray_remote *remote)
{
    if (remote->guard >= 0)
        close(remote->guard);
    last_guard = -1;
    drayi_free(backend->env, remote, sizeof(*remote));
}

static dray_status fake_region_open(dray_backend *backend, dray_remote *remote,
                                    const dray_remote_key *key, dray_remote_region **out_region,
                                    dray_error *error)
{
    (void)remote, (void)key;
    *out_region = drayi_new(backend->env, dray_remote_region, error);
    return *out_region ? DRAY_OK : DRAY_E_NOMEM;
}

static void fake_region_close(dray_backend *backend, dray_remote_region *region)
{
    drayi_free(backend->env, region, sizeof(*region));
}

static const char *fake_broken(dray_backend *backend, const dray_remote *remote)
{
    (void)backend, (void)remote;
    return NULL;
}

static bool fake_receive(dray_backend *backend, dray_received *out_received)
{
    (void)backend, (void)out_received;
    return false;
}

static dray_status fake_serve(dray_backend *backend, dray_error *error)
{
    (void)backend, (void)error;
    return DRAY_OK;
}

static void fake_guard(dray_backend *backend, dray_remote *remote, int fd)
{
    (void)backend;
    if (remote->guard >= 0)
        close(remote->guard);
    last_guard = remote->guard = fd;
}

static const dray_remote_ops fake_remote = {
    .start = fake_start,
    .address = fake_address,
    .key = fake_key,
    .connect = fake_connect,
    .disconnect = fake_disconnect,
    .region_open = fake_region_open,
    .region_close = fake_region_close,
    .broken = fake_broken,
    .receive = fake_receive,
    .serve = fake_serve,
    .guard = fake_guard,
};

const dray_backend_ops fake_remote_ops = {
    .abi = DRAY_BACKEND_ABI,
    .flags = DRAY_BACKEND_ON_DEMAND | DRAY_BACKEND_MUST_POLL,
    .name = "fake_remote",
    .open = fake_open,
    .close = fake_close,
    .edges = fake_edges,
    .submit = fake_submit,
    .poll = fake_poll,
    .remote = &fake_remote,
};
