/// What a dray_model_data is made of. Only src/weights/model_data*.c look inside.
#ifndef DRAY_WEIGHTS_MODEL_DATA_OBJECT_H
#define DRAY_WEIGHTS_MODEL_DATA_OBJECT_H

#include "base/env.h"
#include "dray/model_data.h"
#include "dray/spi/codec.h"
#include "memory/extent.h"
#include "memory/range_set.h"
#include "os/os.h"
#include "weights/byte_sink.h"
#include "weights/byte_source.h"

struct dray_model_data {
    drayi_env *env;
    dray_backing backing;
    const uint8_t *bytes; // never NULL
    uint64_t length;
    char *path; // owned copy of path or name; NULL: there is none
    size_t path_bytes;
    const char *name; // for messages: path, or a static string
    char note[192];   // "": no fall-back was taken

    int fd;                 // -1: memory
    bool owns_open_file;    // opened here by name; a duplicate shares its state with the caller's
    drayi_file_facts facts; // of fd, taken once, at open
    uint64_t file_offset;   // of bytes[0]

    void *mapping; // what close unmaps; NULL: nothing
    uint64_t mapping_bytes;
    dray_release_fn release; // ADOPTED
    void *release_self;
    drayi_range_set locked; // addresses of locked pages
    dray_region *region;    // borrows the bytes
};

/// What open worked out before any byte was placed.
typedef struct drayi_data_plan {
    dray_backing backing;        // never AUTO
    bool stream;                 // size unknown: read to the end
    const dray_codec_ops *codec; // NULL: the bytes as they are
    uint64_t offset, bytes;      // of the file; bytes UINT64_MAX: to the end
    uint64_t decoded_bytes_max;  // as given
} drayi_data_plan;

/// A fall-back that the user should know of.
void drayi_data_note(dray_model_data *data, const char *format, ...) DRAY_PRINTF(2, 3);
/// The end of a sink: after a `status` of DRAY_OK it is finished and its bytes become the data's. Returns
/// how that went, or `status`; the sink is gone.
dray_status drayi_data_take(dray_model_data *data, drayi_sink *sink, dray_status status,
                            dray_error *error);
/// The bytes as an extent for the services of src/memory.
drayi_extent drayi_data_extent(const dray_model_data *data);

/// A whole regular file (range) into private, sealed or direct memory.
dray_status drayi_data_fill(dray_model_data *data, const drayi_data_plan *plan, dray_error *error);
/// A shared read-only mapping.
dray_status drayi_data_map(dray_model_data *data, const drayi_data_plan *plan, dray_error *error);
/// Everything a stream gives, as it is or decoded.
dray_status drayi_data_drain(dray_model_data *data, const drayi_data_plan *plan,
                             drayi_source *source, dray_error *error);
/// Is that what an input of so many bytes justifies? Weights shrink to a half at best; 1 GiB and 256 times
/// the input is a bomb.
bool drayi_decoded_in_proportion(uint64_t decoded_bytes, uint64_t input_bytes);
/// The codec whose magic the bytes begin with, or NULL.
const dray_codec_ops *drayi_codec_of(const drayi_env *env, const uint8_t *head, uint64_t head_bytes);

#endif
