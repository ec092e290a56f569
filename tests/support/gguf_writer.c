#include "support/gguf_writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint8_t *extend(gguf_writer *writer, uint64_t count)
{
    if (writer->room - writer->length < count) {
        writer->room = (writer->length + count) * 2;
        writer->bytes = realloc(writer->bytes, writer->room);
        if (!writer->bytes) {
            fprintf(stderr, "gguf_writer: the test itself is out of memory\n");
            abort();
        }
    }
    uint8_t *at = writer->bytes + writer->length;
    writer->length += count;
    return at;
}

void gguf_bytes(gguf_writer *writer, const void *bytes, uint64_t count)
{
    if (count)
        memcpy(extend(writer, count), bytes, count);
}

void gguf_zeros(gguf_writer *writer, uint64_t count)
{
    if (count)
        memset(extend(writer, count), 0, count);
}

/// The low `count` bytes of `value`, in the file's order.
static void number(gguf_writer *writer, uint64_t value, unsigned count)
{
    uint8_t *at = extend(writer, count);
    for (unsigned i = 0; i < count; i++)
        at[writer->big_endian ? count - 1 - i : i] = (uint8_t)(value >> (8 * i));
}

void gguf_u8(gguf_writer *writer, uint8_t value)
{
    number(writer, value, 1);
}

void gguf_u16(gguf_writer *writer, uint16_t value)
{
    number(writer, value, 2);
}

void gguf_u32(gguf_writer *writer, uint32_t value)
{
    number(writer, value, 4);
}

void gguf_u64(gguf_writer *writer, uint64_t value)
{
    number(writer, value, 8);
}

void gguf_text_bytes(gguf_writer *writer, const void *bytes, uint64_t count)
{
    gguf_u64(writer, count);
    gguf_bytes(writer, bytes, count);
}

void gguf_text(gguf_writer *writer, const char *text)
{
    gguf_text_bytes(writer, text, strlen(text));
}

void gguf_pad(gguf_writer *writer)
{
    uint64_t alignment = writer->alignment ? writer->alignment : 32;
    gguf_zeros(writer, (alignment - writer->length % alignment) % alignment);
}

void gguf_header(gguf_writer *writer, uint32_t version, uint64_t tensor_count, uint64_t key_count)
{
    gguf_bytes(writer, "GGUF", 4);
    gguf_u32(writer, version);
    gguf_u64(writer, tensor_count);
    gguf_u64(writer, key_count);
}

void gguf_key(gguf_writer *writer, const char *key, uint32_t type)
{
    gguf_text(writer, key);
    gguf_u32(writer, type);
}

void gguf_key_text(gguf_writer *writer, const char *key, const char *value)
{
    gguf_key(writer, key, GGUF_TEXT);
    gguf_text(writer, value);
}

void gguf_key_u8(gguf_writer *writer, const char *key, uint32_t type, uint8_t value)
{
    gguf_key(writer, key, type);
    gguf_u8(writer, value);
}

void gguf_key_u16(gguf_writer *writer, const char *key, uint16_t value)
{
    gguf_key(writer, key, GGUF_U16);
    gguf_u16(writer, value);
}

void gguf_key_u32(gguf_writer *writer, const char *key, uint32_t value)
{
    gguf_key(writer, key, GGUF_U32);
    gguf_u32(writer, value);
}

void gguf_key_i32(gguf_writer *writer, const char *key, int32_t value)
{
    gguf_key(writer, key, GGUF_I32);
    gguf_u32(writer, (uint32_t)value);
}

void gguf_key_u64(gguf_writer *writer, const char *key, uint64_t value)
{
    gguf_key(writer, key, GGUF_U64);
    gguf_u64(writer, value);
}

void gguf_key_array(gguf_writer *writer, const char *key, uint32_t element_type, uint64_t count)
{
    gguf_key(writer, key, GGUF_ARRAY);
    gguf_u32(writer, element_type);
    gguf_u64(writer, count);
}

void gguf_key_texts(gguf_writer *writer, const char *key, const char *const *texts, uint64_t count)
{
    gguf_key_array(writer, key, GGUF_TEXT, count);
    for (uint64_t i = 0; i < count; i++)
        gguf_text(writer, texts[i]);
}

void gguf_tensor(gguf_writer *writer, const char *name, uint32_t type, uint32_t rank,
                 const uint64_t *shape, uint64_t offset)
{
    gguf_text(writer, name);
    gguf_u32(writer, rank);
    for (uint32_t i = 0; i < rank; i++)
        gguf_u64(writer, shape[i]);
    gguf_u32(writer, type);
    gguf_u64(writer, offset);
}

void gguf_data(gguf_writer *writer, uint64_t count)
{
    gguf_pad(writer);
    uint8_t *at = extend(writer, count);
    for (uint64_t i = 0; i < count; i++)
        at[i] = (uint8_t)(1 + i % 251);
}

void gguf_free(gguf_writer *writer)
{
    free(writer->bytes);
    memset(writer, 0, sizeof(*writer));
}
