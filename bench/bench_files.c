/// Headers like those of real models, from a fixed state: a vocabulary inside GGUF, many tensors in
/// safetensors. The files hold no tensor data to speak of; opening them is what is measured.
#include "bench.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void put_u32(FILE *file, uint32_t value)
{
    fwrite(&value, sizeof(value), 1, file);
}

static void put_u64(FILE *file, uint64_t value)
{
    fwrite(&value, sizeof(value), 1, file);
}

static void put_text(FILE *file, const char *text, uint64_t bytes)
{
    put_u64(file, bytes);
    fwrite(text, 1, bytes, file);
}

static void put_key(FILE *file, const char *key, uint32_t type)
{
    put_text(file, key, strlen(key));
    put_u32(file, type);
}

static void put_array(FILE *file, const char *key, uint32_t type, uint32_t count)
{
    put_key(file, key, 9);
    put_u32(file, type);
    put_u64(file, count);
}

static void put_vocabulary(FILE *file, uint32_t tokens, uint32_t token_bytes)
{
    uint32_t state = 12345;
    put_array(file, "tokenizer.ggml.tokens", 8, tokens);
    for (uint32_t i = 0; i < tokens; i++) {
        char text[64];
        state = state * 1664525u + 1013904223u;
        uint32_t length = 1 + (state >> 16) % (2 * token_bytes - 1);
        for (uint32_t at = 0; at < length; at++)
            text[at] = (char)('a' + (state >> (at % 24)) % 26);
        put_text(file, text, length);
    }
    put_array(file, "tokenizer.ggml.scores", 6, tokens);
    for (uint32_t i = 0; i < tokens; i++)
        put_u32(file, 0);
    put_array(file, "tokenizer.ggml.token_type", 5, tokens);
    for (uint32_t i = 0; i < tokens; i++)
        put_u32(file, 1);
}

bool bench_write_gguf(const char *path, uint32_t tensors, uint32_t tokens, uint32_t token_bytes)
{
    FILE *file = fopen(path, "we");
    if (!file || token_bytes == 0 || token_bytes > 32)
        return false;
    fwrite("GGUF", 1, 4, file);
    put_u32(file, 3);
    put_u64(file, tensors);
    put_u64(file, 4);
    put_key(file, "general.architecture", 8);
    put_text(file, "llama", 5);
    put_vocabulary(file, tokens, token_bytes);
    for (uint32_t i = 0; i < tensors; i++) {
        char name[48];
        int length = snprintf(name, sizeof(name), "blk.%u.ffn_%u.weight", i / 8, i % 8);
        put_text(file, name, (uint64_t)length);
        put_u32(file, 1); // one dimension
        put_u64(file, 8);
        put_u32(file, 0); // F32
        put_u64(file, (uint64_t)i * 32);
    }
    while (ftell(file) % 32)
        fputc(0, file);
    for (uint64_t i = 0; i < (uint64_t)tensors * 8; i++)
        put_u32(file, 0);
    bool good = !ferror(file);
    return fclose(file) == 0 && good;
}

bool bench_write_safetensors(const char *path, uint32_t tensors)
{
    size_t room = (size_t)tensors * 160 + 16, used = 0;
    char *header = malloc(room);
    FILE *file = fopen(path, "we");
    if (!file || !header) {
        free(header);
        return false;
    }
    for (uint32_t i = 0; i < tensors; i++)
        used += (size_t)snprintf(
            header + used, room - used,
            "%s\"model.layers.%u.mlp.experts.%u.down_proj.weight\":{\"dtype\":\"BF16\",\"shape\":[4,2],"
            "\"data_offsets\":[%u,%u]}",
            i ? "," : "{", i / 16, i % 16, i * 16, (i + 1) * 16);
    header[used++] = '}';
    while (used % 8)
        header[used++] = ' ';
    put_u64(file, used);
    fwrite(header, 1, used, file);
    for (uint32_t i = 0; i < tensors * 2; i++)
        put_u64(file, i);
    free(header);
    bool good = !ferror(file);
    return fclose(file) == 0 && good;
}
