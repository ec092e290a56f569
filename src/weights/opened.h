/// What an opened model is made of; for the files of this folder.
#ifndef DRAY_WEIGHTS_OPENED_H
#define DRAY_WEIGHTS_OPENED_H

#include "base/env.h"
#include "dray/spi/codec.h"
#include "dray/spi/region.h"
#include "dray/weights.h"
#include "os/os.h"
#include "weights/head.h"
#include "weights/index.h"
#include "weights/keeper.h"

/// One file of the model. Its bytes are on disk (`keeper` NULL) or in memory.
typedef struct drayi_model_file {
    dray_weights_file info;
    dray_format_facts format;
    drayi_file_facts facts; // on disk: what the file was when it was opened
    dray_region *region;    // on disk: our reference; in memory: the keeper's
    drayi_keeper *keeper;
    drayi_head head;
} drayi_model_file;

struct dray_weights {
    dray_context *context;
    drayi_env *env;
    dray_weights_options options;
    const char *format; // name in the format's table
    const char *codec;  // name in the codec's table, or NULL
    drayi_model_file *files;
    uint64_t file_count, file_room;
    drayi_index index;
};

/// Takes a regular file into the model: `path` is copied, the size is taken once, here.
/// DRAY_E_INVALID: something else than a regular file.
dray_status drayi_weights_add_file(dray_weights *weights, const char *path, dray_error *error);
/// The best format for the file's first bytes; NULL: none takes it.
dray_status drayi_weights_probe(dray_weights *weights, drayi_model_file *file,
                                const dray_format_ops **out, dray_error *error);
/// Reads the last file added into the index with this format.
dray_status drayi_weights_read_file(dray_weights *weights, const dray_format_ops *format,
                                    dray_error *error);

/// Bytes of the file as they are now, wherever they are. Never through a mapping.
dray_status drayi_model_file_read(const dray_weights *weights, const drayi_model_file *file,
                                  uint64_t offset, void *out, uint64_t bytes, dray_error *error);

/// "folder/name", from the arena.
dray_status drayi_path_join(drayi_arena *arena, const char *folder, const char *name, char **out,
                            dray_error *error);
/// `name` beside `path`: "folder/model.gguf", "b.gguf" -> "folder/b.gguf", from the arena.
dray_status drayi_path_beside(drayi_arena *arena, const char *path, const char *name, char **out,
                              dray_error *error);
/// Behind the last '/'.
const char *drayi_last_component(const char *path);

#endif
