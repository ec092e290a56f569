/// Models in several files: those that an index.json names, and GGUF's numbered splits.
#ifndef DRAY_WEIGHTS_SHARDS_H
#define DRAY_WEIGHTS_SHARDS_H

#include "weights/opened.h"

/// Is the first byte that is not white space a `{`?
bool drayi_looks_like_json(const uint8_t *bytes, uint64_t count);
/// Is this the text of an index.json, with "weight_map" in it?
bool drayi_is_index_json(const uint8_t *bytes, uint64_t count);

/// Opens every shard that the index at `path` names (its text in `bytes`), from its folder, and checks
/// that index and shards say the same.
dray_status drayi_open_index_json(dray_weights *weights, const char *path, const uint8_t *bytes,
                                  uint64_t count, dray_error *error);

/// The first file is read and says that it is a split: opens the others, from its folder.
dray_status drayi_open_splits(dray_weights *weights, const dray_format_ops *format,
                              dray_error *error);

/// A path that ends in "-00002-of-00004.gguf": numbers as written (from 1). False: it does not.
bool drayi_split_name(const char *path, uint32_t *out_number, uint32_t *out_count);

#endif
