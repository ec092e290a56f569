/// Copies on devices, for every family alike: what backend_cuda.c, backend_opencl.c and
/// backend_sim_device.c share. Each of them is a name, a family, and this engine.
#ifndef DRAY_BACKEND_STREAM_ENGINE_H
#define DRAY_BACKEND_STREAM_ENGINE_H

#include "base/env.h"
#include "dray/spi/backend.h"
#include "dray/spi/device.h"

/// Opens for the devices of `family`. DRAY_E_UNSUPPORTED: with the driver's reason.
dray_status drayi_stream_engine_open(drayi_env *env, const char *family, dray_backend **out_backend,
                                     dray_error *error);
void drayi_stream_engine_close(dray_backend *backend);
uint32_t drayi_stream_engine_edges(dray_backend *backend, dray_edge *out_edges, uint32_t capacity);
uint32_t drayi_stream_engine_submit(dray_backend *backend, dray_op **ops, uint32_t count);
uint32_t drayi_stream_engine_poll(dray_backend *backend, dray_op **out_ops, uint32_t capacity);
dray_status drayi_stream_engine_attach(dray_backend *backend, dray_region *region,
                                       dray_error *error);
void drayi_stream_engine_detach(dray_backend *backend, dray_region *region);
dray_status drayi_stream_engine_arm(dray_backend *backend, int *out_fd, dray_error *error);
bool drayi_stream_engine_await(dray_backend *backend, int64_t timeout_ns);
void drayi_stream_engine_describe(dray_backend *backend, char *out, size_t capacity);

#endif
