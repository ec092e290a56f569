/// What the parts of the GGUF reader share: one file that is being read, front to back.
///
/// Source of the format: docs/gguf.md of ggml, and what ggml's own reader of 2026-08 refuses; where
/// that reader is careless (products that wrap, bools of 2, names with NUL) we are strict.
#ifndef DRAY_FORMAT_GGUF_H
#define DRAY_FORMAT_GGUF_H

#include "format/head_reader.h"

typedef struct gguf_file {
    dray_format_input *input;
    dray_format_sink *sink;
    drayi_reader reader; // over the head
    bool lenient, bounds_only;
    uint64_t tensor_count, metadata_count;
    uint32_t warning_count;
    // from the metadata
    uint64_t alignment;
    uint64_t split_no, split_count, split_tensors;
} gguf_file;

/// Rule of every cut: whatever was being read, the file ends before.
#define GGUF_CUT "gguf.truncated"

/// Warns through the sink; a file that is odd a thousand times is not told so a thousand times.
dray_status drayi_gguf_warn(gguf_file *file, const char *rule, uint64_t offset, dray_error *error,
                            const char *format, ...) DRAY_PRINTF(5, 6);
/// Reads metadata_count keys with their values, gives them to the sink, and keeps what the reader itself
/// needs (alignment, split.*).
dray_status drayi_gguf_metadata(gguf_file *file, dray_error *error);
/// Reads tensor_count descriptions, checks them against each other and the file, and gives them to the sink.
dray_status drayi_gguf_tensors(gguf_file *file, dray_error *error);

#endif
