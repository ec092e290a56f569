/// One engine of NIXL: an agent with its plug-ins, and one request at a time. A request that failed leaves
/// the plug-ins' queues in a state that fails everything after it (seen with three of them), so a failed
/// engine is taken down and made again, and no other operation notices.
#ifndef DRAY_BACKEND_NIXL_ENGINE_H
#define DRAY_BACKEND_NIXL_ENGINE_H

#include "backend/nixl_calls.h"
#include "base/env.h"

/// Plug-ins of NIXL that an engine has.
typedef enum drayi_nixl_plugin {
    DRAYI_NIXL_POSIX = 0,  // files and host memory
    DRAYI_NIXL_GDS_MT = 1, // files and device memory
    DRAYI_NIXL_PLUGINS = 2
} drayi_nixl_plugin;

/// One descriptor: for files `address` is the offset and `device` the file descriptor.
typedef struct drayi_nixl_piece {
    int type; // DRAYI_NIXL_DRAM, ...
    uint64_t address, bytes, device;
} drayi_nixl_piece;

typedef struct drayi_nixl_engine {
    const drayi_nixl_calls *calls;
    void *agent; // NULL: not there
    void *plugins[DRAYI_NIXL_PLUGINS];
    void *options[DRAYI_NIXL_PLUGINS]; // NULL: this plug-in is not there
    void *request;
    const char *queue; // the parameter that chooses POSIX's I/O queue
} drayi_nixl_engine;

/// The I/O queues of the POSIX plug-in, best first; NULL-terminated.
extern const char *const drayi_nixl_queues[];
/// "NIXL_CAPI_ERROR_BACKEND"; never NULL.
const char *drayi_nixl_name(int code);

/// `queue`: one of drayi_nixl_queues. With `device` GDS_MT too, where it opens: without is no error.
dray_status drayi_nixl_engine_open(drayi_nixl_engine *engine, const drayi_nixl_calls *calls,
                                   const char *queue, bool device, dray_error *error);
/// Accepts zeroed memory and half-opened ones; a request goes with it.
void drayi_nixl_engine_close(drayi_nixl_engine *engine);

/// Tells the plug-in, or takes it back.
dray_status drayi_nixl_engine_register(drayi_nixl_engine *engine, drayi_nixl_plugin plugin,
                                       const drayi_nixl_piece *piece, dray_error *error);
void drayi_nixl_engine_deregister(drayi_nixl_engine *engine, drayi_nixl_plugin plugin,
                                  const drayi_nixl_piece *piece);

/// Posts a request. DRAY_OK: ask drayi_nixl_engine_ask().
dray_status drayi_nixl_engine_post(drayi_nixl_engine *engine, drayi_nixl_plugin plugin, bool write,
                                   const drayi_nixl_piece *memory, const drayi_nixl_piece *file,
                                   dray_error *error);
/// Never blocks. DRAY_OK: *out_done tells. Ended well or badly, the request is gone.
dray_status drayi_nixl_engine_ask(drayi_nixl_engine *engine, bool *out_done, dray_error *error);

#endif
