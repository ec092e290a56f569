/// The header is two runs of JSON entries that grow, put together at the end.
#include "safetensors_writer.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *must(void *pointer)
{
    if (!pointer) {
        fprintf(stderr, "safetensors_writer: out of memory\n");
        abort();
    }
    return pointer;
}

__attribute__((format(printf, 3, 4))) static void append(char **text, uint64_t *length,
                                                         const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *addition;
    int count = vasprintf(&addition, format, args);
    va_end(args);
    if (count < 0)
        must(NULL);
    *text = must(realloc(*text, *length + (uint64_t)count + 1));
    memcpy(*text + *length, addition, (size_t)count + 1);
    *length += (uint64_t)count;
    free(addition);
}

uint8_t safetensors_writer_pattern(uint64_t offset)
{
    return (uint8_t)((offset * UINT64_C(0x9E3779B97F4A7C15)) >> 56);
}

void safetensors_writer_metadata(safetensors_writer *writer, const char *key, const char *value)
{
    append(&writer->metadata, &writer->metadata_bytes, ",\"%s\":\"%s\"", key, value);
}

void safetensors_writer_tensor(safetensors_writer *writer, const char *name, const char *dtype,
                               const uint64_t *shape, uint32_t rank, const void *data,
                               uint64_t bytes)
{
    uint64_t begin = writer->data_bytes, end = begin + bytes;
    append(&writer->tensors, &writer->tensors_bytes, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", name,
           dtype);
    for (uint32_t i = 0; i < rank; i++)
        append(&writer->tensors, &writer->tensors_bytes, "%s%" PRIu64, i ? "," : "", shape[i]);
    append(&writer->tensors, &writer->tensors_bytes,
           "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", begin, end);
    if (bytes == 0)
        return;
    writer->data = must(realloc(writer->data, end));
    if (data)
        memcpy(writer->data + begin, data, bytes);
    for (uint64_t i = begin; !data && i < end; i++)
        writer->data[i] = safetensors_writer_pattern(i);
    writer->data_bytes = end;
}

/// u64 length and header, with room for the data behind.
static uint8_t *begin_file(const void *header, uint64_t header_bytes, uint64_t data_bytes,
                           uint64_t *out_bytes)
{
    *out_bytes = 8 + header_bytes + data_bytes;
    uint8_t *file = must(malloc(*out_bytes));
    for (int i = 0; i < 8; i++)
        file[i] = (uint8_t)(header_bytes >> (8 * i));
    if (header_bytes)
        memcpy(file + 8, header, header_bytes);
    return file;
}

uint8_t *safetensors_writer_finish(safetensors_writer *writer, uint64_t *out_bytes)
{
    char *header = NULL;
    uint64_t length = 0;
    append(&header, &length, "{");
    if (writer->metadata)
        append(&header, &length, "\"__metadata__\":{%s}%s", writer->metadata + 1,
               writer->tensors ? "," : "");
    append(&header, &length, "%s}", writer->tensors ? writer->tensors + 1 : "");
    append(&header, &length, "%*s", (int)(-length & 7), "");
    uint8_t *file = begin_file(header, length, writer->data_bytes, out_bytes);
    if (writer->data_bytes)
        memcpy(file + 8 + length, writer->data, writer->data_bytes);
    free(header);
    free(writer->metadata);
    free(writer->tensors);
    free(writer->data);
    *writer = (safetensors_writer){0};
    return file;
}

bool safetensors_writer_save(safetensors_writer *writer, const char *path)
{
    uint64_t bytes;
    uint8_t *contents = safetensors_writer_finish(writer, &bytes);
    FILE *file = fopen(path, "wb");
    bool written = file && fwrite(contents, 1, bytes, file) == bytes;
    if (file)
        written = fclose(file) == 0 && written;
    free(contents);
    return written;
}

uint8_t *safetensors_raw_file(const void *header, uint64_t header_bytes, uint64_t data_bytes,
                              uint64_t *out_bytes)
{
    uint8_t *file = begin_file(header, header_bytes, data_bytes, out_bytes);
    for (uint64_t i = 0; i < data_bytes; i++)
        file[8 + header_bytes + i] = safetensors_writer_pattern(i);
    return file;
}
