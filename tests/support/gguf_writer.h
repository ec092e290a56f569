/// Writes GGUF files in memory, good ones and bad ones, front to back.
///
///     gguf_writer writer = {0};
///     gguf_header(&writer, 3, 1, 2);
///     gguf_key_text(&writer, "general.architecture", "llama");
///     gguf_key_u32(&writer, "general.alignment", 64);
///     gguf_tensor(&writer, "a", GGUF_F32, 2, (uint64_t[]){4, 3}, 0);
///     gguf_data(&writer, 48);
///     ... writer.bytes, writer.length ...
///     gguf_free(&writer);
///
/// Nothing is checked: a file that breaks a rule is written as told, piece by piece if need be. Shapes
/// are in the file's order, fastest dimension first. Set big_endian and alignment before the header.
#ifndef DRAY_TESTS_GGUF_WRITER_H
#define DRAY_TESTS_GGUF_WRITER_H

#include <stdbool.h>
#include <stdint.h>

/// Numbers of the format.
enum {
    GGUF_U8 = 0,
    GGUF_I8 = 1,
    GGUF_U16 = 2,
    GGUF_I16 = 3,
    GGUF_U32 = 4,
    GGUF_I32 = 5,
    GGUF_FLOAT32 = 6,
    GGUF_BOOL = 7,
    GGUF_TEXT = 8,
    GGUF_ARRAY = 9,
    GGUF_U64 = 10,
    GGUF_I64 = 11,
    GGUF_FLOAT64 = 12
};
enum { GGUF_F32 = 0, GGUF_F16 = 1, GGUF_Q4_0 = 2, GGUF_Q8_0 = 8, GGUF_Q4_K = 12, GGUF_BF16 = 30 };

typedef struct gguf_writer {
    bool big_endian;
    uint64_t alignment; // what gguf_pad() and gguf_data() pad to; 0: 32. Written only by gguf_key_u32()
    uint8_t *bytes;
    uint64_t length;
    uint64_t room;
} gguf_writer;

// --- pieces ---
void gguf_bytes(gguf_writer *writer, const void *bytes, uint64_t count);
void gguf_zeros(gguf_writer *writer, uint64_t count);
void gguf_u8(gguf_writer *writer, uint8_t value);
void gguf_u16(gguf_writer *writer, uint16_t value);
void gguf_u32(gguf_writer *writer, uint32_t value);
void gguf_u64(gguf_writer *writer, uint64_t value);
/// u64 length and the bytes.
void gguf_text_bytes(gguf_writer *writer, const void *bytes, uint64_t count);
void gguf_text(gguf_writer *writer, const char *text);
/// Zeros up to the alignment.
void gguf_pad(gguf_writer *writer);

// --- parts ---
void gguf_header(gguf_writer *writer, uint32_t version, uint64_t tensor_count, uint64_t key_count);
/// A key and the type of its value; the value follows as pieces.
void gguf_key(gguf_writer *writer, const char *key, uint32_t type);
void gguf_key_text(gguf_writer *writer, const char *key, const char *value);
void gguf_key_u8(gguf_writer *writer, const char *key, uint32_t type, uint8_t value);
void gguf_key_u16(gguf_writer *writer, const char *key, uint16_t value);
void gguf_key_u32(gguf_writer *writer, const char *key, uint32_t value);
void gguf_key_i32(gguf_writer *writer, const char *key, int32_t value);
void gguf_key_u64(gguf_writer *writer, const char *key, uint64_t value);
/// A key and the head of an array; the elements follow as pieces.
void gguf_key_array(gguf_writer *writer, const char *key, uint32_t element_type, uint64_t count);
void gguf_key_texts(gguf_writer *writer, const char *key, const char *const *texts, uint64_t count);
/// A tensor's description.
void gguf_tensor(gguf_writer *writer, const char *name, uint32_t type, uint32_t rank,
                 const uint64_t *shape, uint64_t offset);
/// Padding, then `count` bytes of data that differ from each other: 1, 2, 3, ... 251, 1, ...
void gguf_data(gguf_writer *writer, uint64_t count);

void gguf_free(gguf_writer *writer);

#endif
