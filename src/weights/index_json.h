/// model.safetensors.index.json: which tensor lies in which file of a sharded model.
///
/// Pure: bytes in, tables out. What it cannot know is the caller's to check: that each file exists and
/// holds the tensor named, that total_bytes is the sum.
#ifndef DRAY_WEIGHTS_INDEX_JSON_H
#define DRAY_WEIGHTS_INDEX_JSON_H

#include "base/arena.h"

typedef struct drayi_index_entry {
    dray_text name;  // unescaped; no NUL inside
    uint64_t file;   // index into files
    uint64_t offset; // of the name in the JSON text, for messages
} drayi_index_entry;

/// Everything lives in the arena; the bytes read may go.
typedef struct drayi_index_json {
    const drayi_index_entry *entries; // in the order of the file, each name once
    uint64_t entry_count;             // at least 1
    const char *const *files;         // names without a folder, terminated, sorted, each once
    uint64_t file_count;              // at least 1
    uint64_t total_bytes;             // metadata.total_size, or DRAY_UNKNOWN when it is not there
} drayi_index_json;

/// Reads the whole text. Memory in proportion to it, whatever it says.
/// DRAY_E_FORMAT with a rule "index.*" or "json.*" and a byte offset: not JSON, no weight_map, a name
/// twice, a file name that is empty, longer than 255 bytes, or holds '/', "..", or NUL.
/// DRAY_E_NOMEM: nothing is left behind but what the arena holds.
dray_status drayi_index_json_read(drayi_arena *arena, const uint8_t *bytes, uint64_t length,
                                  drayi_index_json *out, dray_error *error);

#endif
