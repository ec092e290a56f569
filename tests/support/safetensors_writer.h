/// Builds safetensors files for tests: tensors one after the other, the header padded to 8 bytes.
///
///     safetensors_writer writer = {0};
///     safetensors_writer_metadata(&writer, "format", "pt");
///     safetensors_writer_tensor(&writer, "a", "F32", (uint64_t[]){2, 3}, 2, NULL, 24);
///     uint8_t *file = safetensors_writer_finish(&writer, &file_bytes); // or _save(&writer, path)
///     ...
///     free(file);
///
/// Nothing is checked, so that wrong files can be built too. A test that runs out of memory aborts.
#ifndef DRAY_TESTS_SAFETENSORS_WRITER_H
#define DRAY_TESTS_SAFETENSORS_WRITER_H

#include <stdbool.h>
#include <stdint.h>

/// Zero-initialised by the caller; finish and save leave it so.
typedef struct safetensors_writer {
    char *metadata, *tensors; // JSON, each entry behind a comma
    uint64_t metadata_bytes, tensors_bytes;
    uint8_t *data;
    uint64_t data_bytes;
} safetensors_writer;

/// Texts are written between quotes as they are.
void safetensors_writer_metadata(safetensors_writer *writer, const char *key, const char *value);
/// `data` NULL: `bytes` bytes of safetensors_writer_pattern(). Tensors lie in the order of the calls.
void safetensors_writer_tensor(safetensors_writer *writer, const char *name, const char *dtype,
                               const uint64_t *shape, uint32_t rank, const void *data,
                               uint64_t bytes);
/// The file in malloc'ed memory.
uint8_t *safetensors_writer_finish(safetensors_writer *writer, uint64_t *out_bytes);
/// The file on disk; false: it could not be written (errno says why).
bool safetensors_writer_save(safetensors_writer *writer, const char *path);

/// The byte that stands at `offset` of the data behind the header when no other was given.
uint8_t safetensors_writer_pattern(uint64_t offset);

/// A file with exactly this header and `data_bytes` of pattern behind it, in malloc'ed memory.
uint8_t *safetensors_raw_file(const void *header, uint64_t header_bytes, uint64_t data_bytes,
                              uint64_t *out_bytes);

#endif
