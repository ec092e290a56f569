/// What the parts of the APR reader share: the header, checked against the file, and where to put things.
///
/// Source of the format: the v2 writer of aprender, and what realizar's reader takes for granted without
/// looking (metadata errors, short indexes, unknown types, sums that wrap).
#ifndef DRAY_FORMAT_APR_H
#define DRAY_FORMAT_APR_H

#include "dray/spi/format.h"

enum {
    apr_header_bytes = 64,
    apr_alignment = 64,
    // flags
    apr_lz4 = 0x1,
    apr_zstd = 0x2,
    apr_encrypted = 0x4,
    apr_signed = 0x8,
    apr_sharded = 0x10,
    apr_column_major = 0x800,
    apr_known_flags = 0xFFF,
};

typedef struct apr_file {
    dray_format_input *input;
    dray_format_sink *sink;
    bool lenient;
    uint32_t flags;
    uint32_t tensor_count;
    uint64_t metadata_offset, metadata_bytes;
    uint64_t index_offset, data_offset;
} apr_file;

/// Gives every top-level key of the JSON metadata to the sink.
dray_status drayi_apr_metadata(apr_file *file, dray_error *error);
/// Gives every tensor of the index to the sink.
dray_status drayi_apr_tensors(apr_file *file, dray_error *error);

#endif
