/// The index of an opened model: tensors, metadata and warnings of all its files, found by name.
///
/// A format only reports; the index is what decides whether a report can be true. Every tensor is
/// checked again here, so that a bug in a format (ours or a plug-in's) is an error and not a wild read.
#ifndef DRAY_WEIGHTS_INDEX_H
#define DRAY_WEIGHTS_INDEX_H

#include "base/arena.h"
#include "dray/weights.h"
#include "weights/names.h"

/// Zeroed except for env: empty. Threads: one at a time until drayi_index_finish, then any readers.
typedef struct drayi_index {
    drayi_env *env;
    drayi_arena arena; // shapes, messages, what formats keep
    dray_tensor *tensors;
    uint64_t tensor_count, tensor_room;
    dray_metadata *metadata;
    uint64_t metadata_count, metadata_room;
    dray_warning *warnings;
    uint64_t warning_count, warning_room, warnings_dropped;
    drayi_names tensor_names, metadata_names;
} drayi_index;

/// What one file reports, on its way into the index. `sink` is what the format sees.
typedef struct drayi_index_sink {
    dray_format_sink sink; // first: the format hands back a pointer to it
    drayi_index *index;
    const char *path;
    uint32_t file;
    uint64_t file_bytes;
    uint64_t tensor_first, metadata_first; // of this file
    drayi_names own_keys;                  // keys of this file, when it is not the first
} drayi_index_sink;

void drayi_index_init(drayi_index *index, drayi_env *env);
/// Readies `sink` for one file. `path` and `facts` are borrowed until drayi_index_file_end.
void drayi_index_file_begin(drayi_index_sink *sink, drayi_index *index, uint32_t file,
                            const char *path, uint64_t file_bytes, dray_format_facts *facts);
/// The file is read: checks it as a whole. Of metadata that an earlier file has too, the earlier counts.
dray_status drayi_index_file_end(drayi_index_sink *sink, dray_error *error);
/// Gives up on the file; what it reported stays until the index is freed.
void drayi_index_file_abandon(drayi_index_sink *sink);
/// All files are read: sorts tensors by file and offset, checks that none overlap, numbers layers.
dray_status drayi_index_finish(drayi_index *index, dray_error *error);
void drayi_index_free(drayi_index *index);

/// A warning of the core itself. More than a thousand are counted, not kept.
dray_status drayi_index_warn(drayi_index *index, const char *rule, uint64_t offset,
                             dray_error *error, const char *format, ...) DRAY_PRINTF(5, 6);

/// Position or UINT64_MAX.
uint64_t drayi_index_find(const drayi_index *index, dray_text name);

/// A name as it may stand in a message: cut where it is long, control bytes replaced.
typedef struct drayi_shown {
    char text[124];
} drayi_shown;
drayi_shown drayi_show(dray_text name);

#endif
