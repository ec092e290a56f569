/// One load on its way: what is wanted, what was found, what was chosen. Lives on the stack of
/// dray_weights_load(); what outlives it is the dray_loaded.
///
///     options -> select -> survey -> choose (pure) -> views or copies -> loaded
#ifndef DRAY_WEIGHTS_LOAD_H
#define DRAY_WEIGHTS_LOAD_H

#include "dray/spi/device.h"
#include "weights/manifest.h"
#include "weights/opened.h"
#include "weights/place.h"

/// What the choice of a method depends on.
typedef struct drayi_survey {
    dray_storage storage;       // of the destination
    uint64_t tensor_bytes;      // wanted
    uint64_t destination_bytes; // a copy would need
    uint64_t looked_bytes;      // of files, around the wanted tensors
    uint64_t cached_bytes;      // of looked_bytes; DRAY_UNKNOWN: the kernel does not tell
    uint64_t available_bytes;   // of memory; DRAY_UNKNOWN
    uint64_t memory_limit;      // the caller's; 0: none
    const char *file_system;    // of the first file: "ext4", "0x1234"
    bool in_memory;             // decoded, or opened from memory
    bool limited_by_cgroup;
    bool memory_file_system; // tmpfs and the like: its pages are the file
    bool network_file_system;
    bool direct_possible; // every file takes direct I/O
    bool release_source;
} drayi_survey;

/// How the bytes come to the caller.
typedef enum drayi_way {
    DRAYI_WAY_COPY = 1,   // through the copy engine
    DRAYI_WAY_MAPPED = 2, // views into a shared mapping
    DRAYI_WAY_VIEW = 3    // views into memory that is there already
} drayi_way;

typedef struct drayi_choice {
    drayi_way way;
    dray_direct direct; // COPY: what the planner is told
    char reason[256];
} drayi_choice;

/// Pure. `method` as asked for; DRAY_LOAD_AUTO chooses. Errors: an explicit method that cannot be.
dray_status drayi_choose(const drayi_survey *survey, dray_load_method method, drayi_choice *out,
                         dray_error *error);

/// A tensor, or with a manifest a chunk of one: what is waited for, hashed, reported.
typedef struct drayi_unit {
    uint32_t tensor; // position in load.tensors
    uint32_t chunk;  // of the tensor
    uint64_t bytes;
} drayi_unit;

typedef struct drayi_load {
    dray_weights *weights;
    drayi_env *env;
    dray_load_options options;
    const drayi_manifest *manifest; // NULL: bytes are not verified
    uint64_t *tensors;              // indices of the wanted ones, ascending
    uint64_t tensor_count;
    drayi_unit *units;
    drayi_range *ranges; // one per unit, for placing
    uint64_t unit_count;
    uint64_t tensor_bytes;
    drayi_survey survey;
    dray_device_info device; // of options.device, when there is one
    drayi_choice choice;
    uint64_t alignment; // what the destination mirrors
    drayi_placement placement;
    dray_loaded *loaded;
    int64_t usable_ns, usable_cpu_ns; // when the last byte was usable
} drayi_load;

// load_select.c
/// Fills tensors, units, ranges. DRAY_E_NOTFOUND: nothing matches.
dray_status drayi_load_select(drayi_load *load, dray_error *error);
void drayi_load_free(drayi_load *load);

// load_device.c
/// What options.device can do and has room for. Without a device: DRAY_OK.
dray_status drayi_load_device(drayi_load *load, dray_error *error);
/// Does the destination take the host's memory?
bool drayi_load_in_host_memory(const drayi_load *load);
/// Whose driver locks the ring that bytes pass through; NULL: nobody's.
struct dray_device *drayi_load_staging_device(const drayi_load *load);
/// "device memory of opencl:0", "pinned".
const char *drayi_load_place_name(const drayi_load *load, char *out, size_t room);
/// Is what the destination holds known only when it was read back?
bool drayi_load_reads_back(const drayi_load *load);

// load_survey.c
dray_status drayi_load_survey(drayi_load *load, dray_error *error);
/// Bytes of all files in the page cache, or DRAY_UNKNOWN.
uint64_t drayi_weights_cached(const dray_weights *weights);
/// DRAY_E_CORRUPT: a file of the model is not what it was when it was opened. Names a tensor that
/// the file no longer holds.
dray_status drayi_weights_check(const dray_weights *weights, dray_error *error);

// load_copy.c
dray_status drayi_load_copy(drayi_load *load, dray_error *error);
// load_view.c
dray_status drayi_load_views(drayi_load *load, dray_error *error);

/// What direct I/O wants of every file of the model; at least a page.
uint64_t drayi_load_alignment(const drayi_load *load);
/// With a manifest: the hash that this unit should have.
drayi_hash drayi_load_expected(const drayi_load *load, uint64_t unit_index);
/// The bytes of this unit are not those of the manifest.
dray_status drayi_load_mismatch(const drayi_load *load, uint64_t unit_index, dray_error *error);
void drayi_load_explain(const drayi_load *load, const char *format, ...) DRAY_PRINTF(2, 3);
/// Tells progress; false: the caller wants to stop.
bool drayi_load_progress(drayi_load *load, uint64_t done, uint64_t total);
/// Every byte of this tensor is where it should be.
void drayi_load_tensor_done(drayi_load *load, uint64_t position);

#endif
