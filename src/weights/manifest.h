/// The manifest: what a model's bytes are, as a sidecar file. Format: docs/manifest.md.
#ifndef DRAY_WEIGHTS_MANIFEST_H
#define DRAY_WEIGHTS_MANIFEST_H

#include "base/arena.h"
#include "base/hash.h"
#include "weights/names.h"

enum { drayi_chunk_least = 64 << 10, drayi_chunk_default = 4 << 20, drayi_chunk_most = 1 << 30 };

typedef struct drayi_manifest_file {
    dray_text name; // last component of the path, for people; never opened
    uint64_t bytes;
    uint64_t head_bytes; // in front of the tensors
    drayi_hash head;
} drayi_manifest_file;

typedef struct drayi_manifest_tensor {
    dray_text name; // first: drayi_names looks here
    uint32_t file;
    uint64_t offset, bytes;
    drayi_hash whole;
    uint64_t first_chunk, chunk_count; // of a tensor of one chunk, the chunk is the whole
} drayi_manifest_tensor;

/// Threads: any number of readers.
typedef struct drayi_manifest {
    drayi_arena arena;
    uint64_t chunk_bytes;
    drayi_manifest_file *files;
    uint64_t file_count;
    drayi_manifest_tensor *tensors;
    uint64_t tensor_count;
    drayi_hash *chunks;
    uint64_t chunk_count;
    drayi_names names;
    // rooms of the arrays, from the allocator
    uint64_t file_room, tensor_room, chunk_room;
} drayi_manifest;

/// Chunks of a tensor of so many bytes; an empty one has none.
static inline uint64_t drayi_chunks_of(uint64_t bytes, uint64_t chunk_bytes)
{
    return bytes / chunk_bytes + (bytes % chunk_bytes != 0);
}

void drayi_manifest_init(drayi_manifest *manifest, drayi_env *env);
/// A manifest that was initialised, also when reading it failed.
void drayi_manifest_free(drayi_manifest *manifest);

/// Pure: text to manifest. DRAY_E_FORMAT with a rule "manifest.*" and the offset; DRAY_E_CORRUPT: the text
/// is not what was written. Memory: a small multiple of `count`.
dray_status drayi_manifest_parse(drayi_manifest *manifest, const char *text, uint64_t count,
                                 dray_error *error);
/// Pure: manifest to text, handed to `write` in pieces.
typedef dray_status drayi_manifest_write_fn(void *self, const char *text, uint64_t count,
                                            dray_error *error);
dray_status drayi_manifest_print(const drayi_manifest *manifest, drayi_manifest_write_fn *write,
                                 void *self, dray_error *error);

/// Adding: files, then tensors, each in front of its chunks where it has more than one. Names are kept by
/// reference.
dray_status drayi_manifest_add_file(drayi_manifest *manifest, const drayi_manifest_file *file,
                                    dray_error *error);
dray_status drayi_manifest_add_chunk(drayi_manifest *manifest, drayi_hash hash, dray_error *error);
dray_status drayi_manifest_add_tensor(drayi_manifest *manifest, const drayi_manifest_tensor *tensor,
                                      dray_error *error);
/// NULL: none of that name.
const drayi_manifest_tensor *drayi_manifest_find(const drayi_manifest *manifest, dray_text name);
/// Of a tensor, chunk 0, 1, ...
static inline drayi_hash drayi_manifest_chunk(const drayi_manifest *manifest,
                                              const drayi_manifest_tensor *tensor, uint64_t chunk)
{
    return tensor->chunk_count <= 1 ? tensor->whole : manifest->chunks[tensor->first_chunk + chunk];
}

#endif
