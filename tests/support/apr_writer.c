#include "support/apr_writer.h"

#include <string.h>

static void pad64(gguf_writer *writer)
{
    gguf_zeros(writer, (64 - writer->length % 64) % 64);
}

void apr_patch(gguf_writer *writer, uint64_t offset, uint64_t value, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        writer->bytes[offset + i] = (uint8_t)(value >> (8 * i));
}

static void entry_write(gguf_writer *writer, const apr_tensor_in *tensor, uint64_t offset)
{
    gguf_u16(writer, (uint16_t)strlen(tensor->name));
    gguf_bytes(writer, tensor->name, strlen(tensor->name));
    gguf_u8(writer, tensor->type);
    gguf_u8(writer, tensor->rank);
    for (uint32_t i = 0; i < tensor->rank; i++)
        gguf_u64(writer, tensor->shape[i]);
    gguf_u64(writer, offset);
    gguf_u64(writer, tensor->bytes);
}

void apr_write(gguf_writer *writer, uint16_t flags, const char *metadata,
               const apr_tensor_in *tensors, uint32_t tensor_count)
{
    gguf_bytes(writer, "APR\0\2\0", 6);
    gguf_u16(writer, flags);
    gguf_u32(writer, tensor_count);
    gguf_zeros(writer, 64 - 12);
    apr_patch(writer, APR_AT_METADATA, 64, 8);
    apr_patch(writer, APR_AT_METADATA_BYTES, strlen(metadata), 4);
    gguf_bytes(writer, metadata, strlen(metadata));
    pad64(writer);
    apr_patch(writer, APR_AT_INDEX, writer->length, 8);
    uint64_t offset = 0;
    for (uint32_t i = 0; i < tensor_count; i++) {
        entry_write(writer, &tensors[i], offset);
        offset += (tensors[i].bytes + 63) / 64 * 64;
    }
    pad64(writer);
    apr_patch(writer, APR_AT_DATA, writer->length, 8);
    for (uint32_t i = 0; i < tensor_count; i++) {
        for (uint64_t j = 0; j < tensors[i].bytes; j++)
            gguf_u8(writer, (uint8_t)(1 + j % 251));
        pad64(writer);
    }
}
