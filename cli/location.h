/// cli/location: how places for bytes are written: system, pinned, null, disk:PATH, a device like opencl:0,
/// managed:DEVICE, agent://HOST:PORT/REGION.
#ifndef DRAY_CLI_LOCATION_H
#define DRAY_CLI_LOCATION_H

#include <dray/dray.h>

#include <stdbool.h>

typedef struct location {
    dray_storage storage;
    const char *path;   ///< DISK
    char address[264];  ///< REMOTE: "HOST:PORT"
    const char *region; ///< REMOTE: its name there
    char device[32];    ///< DEVICE and MANAGED; "" otherwise
} location;

/// False: none of them. *out is written in both cases; its path points into `text`.
bool location_parse(const char *text, location *out);

#define LOCATION_TEXT_BYTES 64
/// "pinned", "disk", "opencl:0", "managed:cuda:0". Writes and returns `out`.
const char *location_text(const location *at, char out[LOCATION_TEXT_BYTES]);
/// For people: "locked memory", "memory of opencl:0".
const char *location_words(const location *at, char out[LOCATION_TEXT_BYTES]);

/// Does "HOST:PORT" lead to this machine alone, as far as its text tells? The library looks closer.
bool location_is_here(const char *address);

/// *out_device stays NULL for places without one.
dray_status location_open_device(const location *at, dray_context *context,
                                 dray_device **out_device, dray_error *error);

#endif
