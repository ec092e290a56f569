/// Copies to, from and on OpenCL devices.
#include "backend/stream_engine.h"

static dray_status opencl_open(drayi_env *env, dray_backend **out_backend, dray_error *error)
{
    return drayi_stream_engine_open(env, "opencl", out_backend, error);
}

const dray_backend_ops drayi_backend_opencl = {
    .abi = DRAY_BACKEND_ABI,
    .flags = DRAY_BACKEND_ON_DEMAND,
    .name = "opencl",
    .open = opencl_open,
    .close = drayi_stream_engine_close,
    .edges = drayi_stream_engine_edges,
    .submit = drayi_stream_engine_submit,
    .poll = drayi_stream_engine_poll,
    .attach = drayi_stream_engine_attach,
    .detach = drayi_stream_engine_detach,
    .arm = drayi_stream_engine_arm,
    .describe = drayi_stream_engine_describe,
    .await = drayi_stream_engine_await,
};
