/// The manifest as a file beside the model, and against the model.
#ifndef DRAY_WEIGHTS_MANIFEST_FILE_H
#define DRAY_WEIGHTS_MANIFEST_FILE_H

#include "weights/manifest.h"
#include "weights/opened.h"

/// Reads and parses the file at `path`. Errors name it.
dray_status drayi_manifest_load(drayi_manifest *manifest, const char *path, dray_error *error);
/// Is it the manifest of this model? Files, their heads, and every tensor: name, place, size.
/// DRAY_E_CORRUPT says what differs.
dray_status drayi_manifest_compare(const drayi_manifest *manifest, const dray_weights *weights,
                                   const char *path, dray_error *error);
/// Writes to a temporary name beside `path`, syncs, and renames: a reader sees the old or the new one.
dray_status drayi_manifest_save(const drayi_manifest *manifest, drayi_arena *arena,
                                const char *path, dray_error *error);

/// Hash of what stands in front of the tensors.
dray_status drayi_file_head_hash(const dray_weights *weights, const drayi_model_file *file,
                                 drayi_hash *out, dray_error *error);

#endif
