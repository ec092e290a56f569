/// Writes APR v2 files in memory: header, JSON metadata, tensor index, data, each part padded to 64 as
/// aprender does. Faults are made by patching the result.
#ifndef DRAY_TESTS_APR_WRITER_H
#define DRAY_TESTS_APR_WRITER_H

#include "support/gguf_writer.h"

enum { APR_LZ4 = 1, APR_ZSTD = 2, APR_ENCRYPTED = 4, APR_SIGNED = 8, APR_SHARDED = 0x10 };
/// Where the header's fields stand.
enum {
    APR_AT_VERSION = 4,
    APR_AT_FLAGS = 6,
    APR_AT_TENSORS = 8,
    APR_AT_METADATA = 12,
    APR_AT_METADATA_BYTES = 20,
    APR_AT_INDEX = 24,
    APR_AT_DATA = 32,
    APR_AT_CHECKSUM = 40
};

typedef struct apr_tensor_in {
    const char *name;
    uint8_t type;
    uint8_t rank;
    uint64_t shape[4]; // slowest dimension first
    uint64_t bytes;
} apr_tensor_in;

/// The tensors' data follow each other, each at a multiple of 64; the bytes count 1, 2, 3, ... 251, 1.
void apr_write(gguf_writer *writer, uint16_t flags, const char *metadata,
               const apr_tensor_in *tensors, uint32_t tensor_count);
/// Overwrites `count` bytes at `offset` with the little-endian `value`.
void apr_patch(gguf_writer *writer, uint64_t offset, uint64_t value, unsigned count);

#endif
