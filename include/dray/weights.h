/// dray/weights.h: tensors of real model files: open, look, load, verify.
///
///     dray_weights_open(context, "model.gguf", NULL, &weights, &error);
///     dray_load_options options = {.struct_bytes = sizeof options, .storage = DRAY_STORAGE_PINNED};
///     dray_weights_load(weights, &options, &loaded, &error);
///     dray_loaded_tensor_at(loaded, 0, &view);
///
/// Formats are chosen by content: GGUF (v2, v3, split), safetensors (also sharded through index.json),
/// APR v2, raw. A directory that holds one index.json or one model opens it.
#ifndef DRAY_WEIGHTS_H
#define DRAY_WEIGHTS_H

#include "dray/dtype.h"
#include "dray/memory.h"
#include "dray/model_data.h"
#include "dray/spi/format.h" // dray_value
#include "dray/transfer.h"

#ifdef __cplusplus
extern "C" {
#endif

/// An opened model: index and metadata in memory, files open, no tensor byte read.
/// Owns: descriptors and index. Threads: read-only calls from any thread after open.
typedef struct dray_weights dray_weights;

typedef struct dray_weights_options {
    size_t struct_bytes;
    uint32_t lenient;     ///< 1: relax the rules that the format names; each is a warning
    uint32_t bounds_only; ///< 1: metadata array elements are checked for bounds only, not as UTF-8
    const char *format; ///< NULL: by content. Otherwise this format or an error ("raw" takes any file)
    uint64_t decoded_bytes_max; ///< output cap of compressed files; 0: 64 GiB and what memory allows
} dray_weights_options;

/// DRAY_E_FORMAT with error.rule and error.offset when the file breaks a rule; what people pass by
/// mistake (LFS pointer, HTML page, pickle, ONNX, old ggml files) is named.
DRAY_API dray_status dray_weights_open(dray_context *context, const char *path,
                                       const dray_weights_options *options,
                                       dray_weights **out_weights, dray_error *error);
/// A model whose bytes are in memory already; borrows `data`, which must outlive the weights. Of data that is
/// a mapping the file behind it is read, so that a file cut short is an error here, too, and no signal.
DRAY_API dray_status dray_weights_open_data(dray_context *context, dray_model_data *data,
                                            const dray_weights_options *options,
                                            dray_weights **out_weights, dray_error *error);
/// NULL is accepted. Loaded results must be gone.
DRAY_API void dray_weights_close(dray_weights *weights);

typedef struct dray_weights_info {
    const char *format; ///< "gguf", "safetensors", "apr", "raw"
    const char *codec;  ///< NULL, or "zstd", "lz4", "gzip": the file was decoded into memory
    uint32_t version;
    uint32_t big_endian;
    uint64_t alignment;
    uint32_t file_count;
    uint32_t warning_count;
    uint64_t tensor_count;
    uint64_t tensor_bytes; ///< sum over tensors whose size is known
    uint64_t metadata_count;
} dray_weights_info;
DRAY_API void dray_weights_get_info(const dray_weights *weights, dray_weights_info *out_info);

typedef struct dray_weights_file {
    const char *path;
    uint64_t bytes;       ///< size of the file (decoded size for compressed files)
    uint64_t data_offset; ///< where tensor data begins
} dray_weights_file;
DRAY_API const dray_weights_file *dray_weights_file_at(const dray_weights *weights, uint32_t index);

typedef struct dray_warning {
    const char *rule;
    uint64_t offset; ///< or DRAY_UNKNOWN
    const char *message;
} dray_warning;
DRAY_API const dray_warning *dray_weights_warning_at(const dray_weights *weights, uint32_t index);

/// A named, typed, shaped span of a file. Valid until close.
typedef struct dray_tensor {
    dray_text name;
    dray_dtype dtype;
    uint32_t native_type; ///< the format's own type id
    uint32_t rank;
    uint32_t file;         ///< index of the file
    const uint64_t *shape; ///< slowest dimension first; rank entries
    uint64_t offset;       ///< absolute in that file
    uint64_t bytes;        ///< DRAY_UNKNOWN: unknown dtype (lenient)
    int64_t layer; ///< number in "blk.N." or "layers.N." and the like; -1: belongs to no layer
} dray_tensor;
/// In file order (files in order, offsets ascending). Index >= count: NULL.
DRAY_API const dray_tensor *dray_weights_tensor_at(const dray_weights *weights, uint64_t index);
/// Through a hash index. NULL: no such tensor. *out_index may be NULL.
DRAY_API const dray_tensor *dray_weights_tensor_find(const dray_weights *weights, const char *name,
                                                     uint64_t name_bytes, uint64_t *out_index);

/// Is it one of those that dray_load_options.tensors means? NULL means all. DRAY_E_INVALID: no pattern.
DRAY_API dray_status dray_tensor_pattern_check(const char *pattern, dray_error *error);
DRAY_API bool dray_tensor_matches(const dray_tensor *tensor, const char *checked_pattern);

typedef struct dray_metadata {
    dray_text key;
    dray_value value;
    uint32_t file;
} dray_metadata;
DRAY_API const dray_metadata *dray_weights_metadata_at(const dray_weights *weights, uint64_t index);
DRAY_API const dray_metadata *dray_weights_metadata_find(const dray_weights *weights,
                                                         const char *key);

/// Walks an ARRAY value. Start with *cursor = 0; false at the end. Numbers come in host order.
DRAY_API bool dray_weights_array_next(const dray_weights *weights, const dray_value *array,
                                      uint64_t *cursor, dray_value *out_element);

/// The tensor's bytes in its file as a span (region of kind DISK, or SYSTEM for decoded and in-memory models).
DRAY_API dray_status dray_weights_tensor_span(const dray_weights *weights, uint64_t index,
                                              dray_span *out_span, dray_error *error);

// --- load ----------------------------------------------------------------------------------------

typedef enum dray_load_method {
    DRAY_LOAD_AUTO = 0,     ///< chosen from residency, free memory, file system and destination
    DRAY_LOAD_DIRECT = 1,   ///< past the page cache
    DRAY_LOAD_BUFFERED = 2, ///< through the page cache
    DRAY_LOAD_MAPPED = 3    ///< SYSTEM only: no copy at all, views into a populated shared mapping
} dray_load_method;

/// Events of a load; callbacks run in the thread that called dray_weights_load.
typedef struct dray_load_events {
    void *self;
    /// Every byte of this tensor is at its destination (and verified, with a manifest).
    void (*tensor_done)(void *self, uint64_t tensor_index);
    /// Returning false cancels: DRAY_E_CANCELLED.
    bool (*progress)(void *self, uint64_t bytes_done, uint64_t bytes_total);
    /// The choices and their reasons, a line each without newline, before any byte moves.
    void (*explain)(void *self, const char *line);
} dray_load_events;

typedef struct dray_load_options {
    size_t struct_bytes;
    dray_storage storage; ///< SYSTEM (default), PINNED, DISK, NULL; DEVICE and MANAGED with a device
    dray_load_method method;
    const char *disk_path; ///< DISK: the new file (0600; an existing one is an error)
    const char *tensors;   ///< glob over names ("blk.[0-3].*"); NULL: all. No match is an error
    int64_t layer_first, layer_last; ///< with use_layers: only tensors of these layers
    uint32_t use_layers;
    uint32_t explain_only; ///< 1: explain, move nothing; *out_loaded stays NULL
    const char *manifest;  ///< path of a manifest to verify against inside the pipeline; NULL: none
    /// Most bytes of the host's memory that this load may allocate, destination included; 0: none.
    /// Managed memory counts; a device's own memory does not, unless it is the host's.
    uint64_t memory_limit;
    uint32_t release_source; ///< 1: give the file's page cache back as ranges are done, measured
    uint32_t reserved;
    dray_agent *agent; ///< NULL: one is made for this load; with a device it needs that device's backend
    dray_load_events events;
    /// Where DEVICE and MANAGED memory is; PINNED: whose driver locks it. The result keeps it. Bytes pass
    /// through a ring that the driver has locked, where it locks memory. Of DEVICE and MANAGED, as of DISK, a
    /// manifest is checked after the copies, on bytes read back and not on those that were sent.
    struct dray_device *device;
} dray_load_options;

/// Tensors at their destination. Owns: the destination. Threads: reading from any thread.
typedef struct dray_loaded dray_loaded;

/// Blocks until everything is at its destination. Nothing is left behind on failure (a DISK file of
/// ours is removed). Contradicting options are DRAY_E_INVALID with both named.
/// DRAY_E_CORRUPT names tensor and chunk when a manifest does not match, or when a file shrank.
DRAY_API dray_status dray_weights_load(dray_weights *weights, const dray_load_options *options,
                                       dray_loaded **out_loaded, dray_error *error);
/// Frees the destination. NULL is accepted.
DRAY_API void dray_loaded_free(dray_loaded *loaded);

typedef struct dray_load_report {
    uint64_t bytes;      ///< of the tensors that were loaded
    uint64_t read_bytes; ///< from files
    double seconds; ///< until the last byte was usable: allocation, faulting, locking, I/O, verification
    double cpu_seconds;         ///< of the process meanwhile
    const char *method;         ///< "direct", "buffered", "mapped", "direct+buffered", "memory"
    const char *backend;        ///< "posix (io_uring, depth 16)": what did the work
    uint64_t destination_bytes; ///< allocated
    uint64_t staging_bytes;
    uint64_t chunks_verified; ///< 0 without a manifest
    uint64_t cache_bytes_before,
        cache_bytes_after; ///< of the source files; DRAY_UNKNOWN: cannot be told
} dray_load_report;
DRAY_API void dray_loaded_get_report(const dray_loaded *loaded, dray_load_report *out_report);

/// A tensor at its destination.
typedef struct dray_tensor_view {
    const dray_tensor *tensor;
    uint64_t index; ///< of the tensor in the weights
    dray_span span; ///< where it is now (NULL storage: the region is the null region)
    /// Host address, or NULL for DISK, NULL and DEVICE. MANAGED: touching it may move its pages. What a
    /// driver calls these bytes: dray_region_get_native(span.region): device_memory, and device_address +
    /// span.offset. On a device, tensors keep the alignment of their file offsets, up to the device's own.
    void *pointer;
} dray_tensor_view;
DRAY_API uint64_t dray_loaded_count(const dray_loaded *loaded);
DRAY_API dray_status dray_loaded_tensor_at(const dray_loaded *loaded, uint64_t index,
                                           dray_tensor_view *out_view, dray_error *error);
DRAY_API dray_status dray_loaded_tensor_find(const dray_loaded *loaded, const char *name,
                                             dray_tensor_view *out_view, dray_error *error);

/// A digest over the bytes at the destination: DISK is read back, DEVICE and MANAGED are copied back by
/// the device's driver.
typedef enum dray_digest { DRAY_DIGEST_SHA256 = 1, DRAY_DIGEST_XXH3_128 = 2 } dray_digest;
/// Lower-case hex, terminated: 64 or 32 characters. DRAY_E_UNSUPPORTED: a build without libcrypto, or a
/// NULL destination, which holds no bytes.
DRAY_API dray_status dray_loaded_digest(const dray_loaded *loaded, uint64_t index, dray_digest kind,
                                        char out_hex[65], dray_error *error);
/// The same over any bytes of a region. Nothing else may be writing them.
DRAY_API dray_status dray_span_digest(dray_context *context, const dray_span *span,
                                      dray_digest kind, char out_hex[65], dray_error *error);
/// The same for bytes that an agent has to fetch: those of a peer's region. They are read in pieces.
DRAY_API dray_status dray_agent_digest(dray_context *context, dray_agent *agent,
                                       const dray_span *span, dray_digest kind, char out_hex[65],
                                       dray_error *error);

/// DLPack export for host memory (dlpack.h 1.0 `DLManagedTensorVersioned *`, read-only flag set). Keeps
/// the destination alive until its deleter runs. DRAY_E_UNSUPPORTED: dtype without DLPack code, DISK, NULL,
/// memory of a device, or a pointer that is not aligned to the element.
DRAY_API dray_status dray_loaded_dlpack(dray_loaded *loaded, uint64_t index, void **out_managed,
                                        dray_error *error);

// --- manifest ------------------------------------------------------------------------------------

/// Writes a sidecar with XXH3-128 per chunk and per tensor (atomic: temp file and rename).
/// `path` NULL: "<first file>.dray". Documented in docs/manifest.md.
typedef struct dray_manifest_options {
    size_t struct_bytes;
    const char *path;
    uint64_t chunk_bytes;    ///< 0: 4 MiB
    dray_load_events events; ///< progress and explain
} dray_manifest_options;
DRAY_API dray_status dray_manifest_write(dray_weights *weights,
                                         const dray_manifest_options *options, dray_error *error);

typedef struct dray_verify_report {
    uint64_t tensors_checked, tensors_total, tensors_bad;
    uint64_t chunks_checked, chunks_bad;
    uint64_t bytes;
    double seconds;
} dray_verify_report;

typedef struct dray_verify_options {
    size_t struct_bytes;
    const char *manifest; ///< NULL: "<first file>.dray"
    dray_load_events events;
    /// Called for every bad chunk; NULL: the first one ends the check.
    void (*bad)(void *self, const dray_tensor *tensor, uint64_t chunk, uint64_t file_offset,
                uint64_t bytes);
    void *bad_self;
} dray_verify_options;
/// Reads every byte of every tensor. DRAY_E_CORRUPT: a chunk, tensor or the set of tensors does not match.
/// Checking nothing at all is an error too.
DRAY_API dray_status dray_weights_verify(dray_weights *weights, const dray_verify_options *options,
                                         dray_verify_report *out_report, dray_error *error);

#ifdef __cplusplus
}
#endif
#endif
