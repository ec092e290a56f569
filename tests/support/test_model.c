#include "test_model.h"

#include "gguf_writer.h"
#include "test_file.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const uint64_t alignment = 32;

/// A shape of roughly the wanted size; the third of its kind is odd, the fourth empty.
static uint64_t elements_of(uint32_t index, uint64_t tensor_bytes, uint32_t *type)
{
    switch (index % 5) {
    case 0:
        *type = GGUF_F32;
        return tensor_bytes / 4;
    case 1:
        *type = GGUF_BF16;
        return tensor_bytes / 2;
    case 2:
        *type = GGUF_Q8_0;
        return tensor_bytes / 34 * 32;
    case 3:
        *type = GGUF_BF16;
        return 7;
    default:
        *type = GGUF_F32;
        return 0;
    }
}

static uint64_t bytes_of(uint32_t type, uint64_t elements)
{
    return type == GGUF_F32 ? 4 * elements : type == GGUF_BF16 ? 2 * elements : elements / 32 * 34;
}

const char *test_model_make(const char *name, uint32_t tensor_count, uint64_t tensor_bytes)
{
    gguf_writer writer = {0};
    uint64_t offset = 0;
    uint32_t type;
    gguf_header(&writer, 3, tensor_count, 1);
    gguf_key_text(&writer, "general.architecture", "llama");
    for (uint32_t i = 0; i < tensor_count; i++) {
        char tensor[32];
        uint64_t elements = elements_of(i, tensor_bytes, &type);
        snprintf(tensor, sizeof(tensor), "blk.%u.w", i);
        gguf_tensor(&writer, tensor, type, 1, &elements, offset);
        offset += (bytes_of(type, elements) + alignment - 1) / alignment * alignment;
    }
    gguf_pad(&writer);
    uint64_t begin = writer.length;
    gguf_zeros(&writer, offset);
    for (uint64_t i = begin; i < writer.length; i++)
        writer.bytes[i] = test_file_byte(i);
    const char *path = test_file_write(name, writer.bytes, writer.length);
    gguf_free(&writer);
    return path;
}

bool test_model_same(const dray_tensor *tensor, const uint8_t *bytes)
{
    return test_file_same(bytes, tensor->offset, tensor->bytes);
}

void test_model_flip(const char *path, uint64_t offset)
{
    int fd = open(path, O_RDWR);
    uint8_t byte = 0;
    assert(fd >= 0 && pread(fd, &byte, 1, (off_t)offset) == 1);
    byte ^= 0x10;
    assert(pwrite(fd, &byte, 1, (off_t)offset) == 1);
    fsync(fd);
    close(fd);
}
