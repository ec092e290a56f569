/// make_model: writes a small language model full of noise, in both formats, for demos and tests.
///
///     make_model FOLDER MEGABYTES
///
/// makes FOLDER/demo.gguf (F32, F16, BF16, Q8_0 and Q4_K tensors) and FOLDER/demo-safetensors/ (two
/// shards and their index.json), about MEGABYTES MiB each. Names, shapes and metadata are those of a
/// real llama; the numbers are noise of a fixed state, the same on every machine: byte i of a tensor
/// depends on the tensor's name and on i, and on nothing else. Every number is finite.
///
/// Stands alone: it needs neither dray nor any other library.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ALIGNMENT 32u
#define FILL_BYTES (4u << 20) // written at once
#define RANK_MAX 2

static void die(const char *what, const char *path)
{
    fprintf(stderr, "make_model: %s %s: %s\n", what, path, strerror(errno));
    exit(1);
}

// --- the model -----------------------------------------------------------------------------------

typedef enum dtype { F32, F16, BF16, Q8_0, Q4_K } dtype;

static const struct {
    const char *name;
    uint32_t ggml_id;
    uint64_t block_elements, block_bytes;
} dtypes[] = {
    [F32] = {"F32", 0, 1, 4},     [F16] = {"F16", 1, 1, 2},        [BF16] = {"BF16", 30, 1, 2},
    [Q8_0] = {"Q8_0", 8, 32, 34}, [Q4_K] = {"Q4_K", 12, 256, 144},
};

typedef struct tensor {
    char name[96];
    dtype type;
    unsigned rank;
    uint64_t shape[RANK_MAX]; // slowest first
    uint64_t offset, bytes;   // in the data part of its file
    unsigned shard;           // safetensors
} tensor;

typedef struct model {
    uint64_t width, hidden, vocabulary, layers;
    tensor *tensors;
    size_t count, capacity;
} model;

static void add(model *all, dtype type, uint64_t rows, uint64_t columns, unsigned shard,
                const char *name)
{
    if (all->count == all->capacity) {
        all->capacity = all->capacity ? 2 * all->capacity : 64;
        all->tensors = realloc(all->tensors, all->capacity * sizeof(*all->tensors));
        if (!all->tensors)
            die("allocate", "tensors");
    }
    tensor *added = &all->tensors[all->count++];
    *added = (tensor){.type = type,
                      .rank = rows ? 2 : 1,
                      .shape = {rows ? rows : columns, columns},
                      .shard = shard};
    snprintf(added->name, sizeof(added->name), "%s", name);
    uint64_t elements = (rows ? rows : 1) * columns;
    added->bytes = elements / dtypes[type].block_elements * dtypes[type].block_bytes;
}

/// What stands in every layer, under the names of both formats.
static const struct {
    const char *gguf, *safetensors;
    dtype gguf_type, safetensors_type;
    enum { WIDTH = 0, HIDDEN, NOTHING } rows, columns;
} layer_tensors[] = {
    {"attn_norm", "input_layernorm", F32, F32, NOTHING, WIDTH},
    {"attn_q", "self_attn.q_proj", Q4_K, BF16, WIDTH, WIDTH},
    {"attn_k", "self_attn.k_proj", Q4_K, BF16, WIDTH, WIDTH},
    {"attn_v", "self_attn.v_proj", Q8_0, BF16, WIDTH, WIDTH},
    {"attn_output", "self_attn.o_proj", Q4_K, BF16, WIDTH, WIDTH},
    {"ffn_norm", "post_attention_layernorm", F32, F32, NOTHING, WIDTH},
    {"ffn_gate", "mlp.gate_proj", Q4_K, F16, HIDDEN, WIDTH},
    {"ffn_up", "mlp.up_proj", Q4_K, F16, HIDDEN, WIDTH},
    {"ffn_down", "mlp.down_proj", Q8_0, F16, WIDTH, HIDDEN},
};
#define LAYER_TENSORS (sizeof(layer_tensors) / sizeof(layer_tensors[0]))

static uint64_t extent(const model *all, unsigned what)
{
    return what == WIDTH ? all->width : what == HIDDEN ? all->hidden : 0;
}

static void add_layer(model *all, bool gguf, unsigned layer, unsigned shard)
{
    for (size_t i = 0; i < LAYER_TENSORS; i++) {
        char name[96];
        if (gguf)
            snprintf(name, sizeof(name), "blk.%u.%s.weight", layer, layer_tensors[i].gguf);
        else
            snprintf(name, sizeof(name), "model.layers.%u.%s.weight", layer,
                     layer_tensors[i].safetensors);
        add(all, gguf ? layer_tensors[i].gguf_type : layer_tensors[i].safetensors_type,
            extent(all, layer_tensors[i].rows), extent(all, layer_tensors[i].columns), shard, name);
    }
}

static uint64_t model_bytes(const model *all)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < all->count; i++)
        bytes += all->tensors[i].bytes;
    return bytes;
}

/// As many layers as fit the size that is wanted, at least two; widths follow the size.
static model build(bool gguf, uint64_t wanted_bytes)
{
    uint64_t width = wanted_bytes >= 512u << 20 ? 2048 : wanted_bytes >= 64u << 20 ? 1024 : 256;
    model all = {
        .width = width, .hidden = width * 11 / 4, .vocabulary = width >= 2048 ? 32000 : width * 2};
    add(&all, gguf ? F16 : BF16, all.vocabulary, width, 0,
        gguf ? "token_embd.weight" : "model.embed_tokens.weight");
    uint64_t output_bytes = model_bytes(&all), layer_bytes = 0;
    while (all.layers < 2 || model_bytes(&all) + layer_bytes / 2 + output_bytes < wanted_bytes) {
        uint64_t before = model_bytes(&all);
        add_layer(&all, gguf, (unsigned)all.layers++, 0);
        layer_bytes = model_bytes(&all) - before;
    }
    add(&all, F32, 0, width, 1, gguf ? "output_norm.weight" : "model.norm.weight");
    add(&all, BF16, all.vocabulary, width, 1, gguf ? "output.weight" : "lm_head.weight");
    uint64_t half = model_bytes(&all) / 2, sum = 0;
    for (size_t i = 0; i < all.count; i++) {
        all.tensors[i].shard = sum >= half;
        sum += all.tensors[i].bytes;
    }
    return all;
}

// --- noise ---------------------------------------------------------------------------------------

static uint64_t mix(uint64_t x) // splitmix64's finaliser
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static uint64_t seed_of(const char *name)
{
    uint64_t seed = 0x6472617921; // "dray!"
    for (; *name; name++)
        seed = mix(seed ^ (uint8_t)*name);
    return seed;
}

static void put_u16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

static void put_u64(uint8_t *at, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

/// Words [first, first + count) of the stream of `seed`, little endian. `keep` and `set` shape each word.
static void fill_words(uint8_t *out, size_t count, uint64_t seed, uint64_t first, uint64_t keep,
                       uint64_t set)
{
    for (size_t i = 0; i < count; i++)
        put_u64(out + 8 * i, (mix(seed + (first + i) * 0x9e3779b97f4a7c15u) & keep) | set);
}

/// Scales of quantised blocks are half floats between 2^-10 and 2^-9: never infinite, never NaN.
static uint16_t scale_of(uint64_t seed, uint64_t block)
{
    return (uint16_t)(0x1400 | (mix(seed ^ (block + 1)) & 0x3ff));
}

/// Bytes of the tensor from `first_block` on. FILL_BYTES is no multiple of every block, so the caller
/// asks for whole blocks, and for a multiple of eight of them.
static void fill_blocks(uint8_t *out, const tensor *each, uint64_t seed, uint64_t first_block,
                        uint64_t blocks)
{
    uint64_t bytes = blocks * dtypes[each->type].block_bytes,
             first = first_block * dtypes[each->type].block_bytes / 8;
    uint64_t words = (bytes + 7) / 8;
    switch (each->type) {
    case F32: // 2^-7 to 2^-6 and its negative
        fill_words(out, words, seed, first, 0x807fffff807fffffu, 0x3c0000003c000000u);
        break;
    case F16:
        fill_words(out, words, seed, first, 0x83ff83ff83ff83ffu, 0x2000200020002000u);
        break;
    case BF16:
        fill_words(out, words, seed, first, 0x807f807f807f807fu, 0x3c003c003c003c00u);
        break;
    case Q8_0: // one scale, 32 bytes
    case Q4_K: // scale, minimum, 12 bytes of small scales, 128 bytes of nibbles
        fill_words(out, words, seed, first, UINT64_MAX, 0);
        for (uint64_t i = 0; i < blocks; i++) {
            uint8_t *block = out + i * dtypes[each->type].block_bytes;
            put_u16(block, scale_of(seed, first_block + i));
            if (each->type == Q4_K)
                put_u16(block + 2, scale_of(~seed, first_block + i));
        }
    }
}

static void write_tensor(FILE *file, const char *path, const tensor *each)
{
    static uint8_t buffer[FILL_BYTES + 8];
    uint64_t seed = seed_of(each->name), block_bytes = dtypes[each->type].block_bytes;
    uint64_t blocks = each->bytes / block_bytes, at_once = FILL_BYTES / block_bytes / 8 * 8;
    for (uint64_t done = 0; done < blocks;) {
        uint64_t now = blocks - done < at_once ? blocks - done : at_once;
        fill_blocks(buffer, each, seed, done, now);
        if (fwrite(buffer, block_bytes, now, file) != now)
            die("write", path);
        done += now;
    }
}

// --- GGUF ----------------------------------------------------------------------------------------

static void out_bytes(FILE *file, const void *bytes, size_t count)
{
    fwrite(bytes, 1, count, file); // the stream remembers errors; close_file() asks it
}

static void out_u32(FILE *file, uint32_t value)
{
    uint8_t bytes[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16),
                        (uint8_t)(value >> 24)};
    out_bytes(file, bytes, 4);
}

static void out_u64(FILE *file, uint64_t value)
{
    uint8_t bytes[8];
    put_u64(bytes, value);
    out_bytes(file, bytes, 8);
}

static void out_text(FILE *file, const char *text)
{
    out_u64(file, strlen(text));
    out_bytes(file, text, strlen(text));
}

enum { KV_U32 = 4, KV_I32 = 5, KV_F32 = 6, KV_BOOL = 7, KV_TEXT = 8, KV_ARRAY = 9 };

static void out_key(FILE *file, const char *key, uint32_t type)
{
    out_text(file, key);
    out_u32(file, type);
}

static void out_kv_u32(FILE *file, const char *key, uint64_t value)
{
    out_key(file, key, KV_U32);
    out_u32(file, (uint32_t)value);
}

static void out_kv_text(FILE *file, const char *key, const char *value)
{
    out_key(file, key, KV_TEXT);
    out_text(file, value);
}

static void out_f32(FILE *file, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, 4);
    out_u32(file, bits);
}

static void out_array(FILE *file, const char *key, uint32_t type, uint64_t count)
{
    out_key(file, key, KV_ARRAY);
    out_u32(file, type);
    out_u64(file, count);
}

enum { word_bytes = 48 }; // the highest index takes 18 syllables

/// The word of a made-up vocabulary: syllables, so that a listing looks like one.
static void word_of(char out[word_bytes], uint64_t index)
{
    static const char *const special[] = {"<unk>", "<s>", "</s>"};
    static const char syllables[][3] = {"ka", "ri", "to", "me", "su", "no",
                                        "la", "vi", "de", "po", "an", "er"};
    if (index < 3) {
        snprintf(out, word_bytes, "%s", special[index]);
        return;
    }
    // the blank before a word, as vocabularies write it
    size_t length = (size_t)snprintf(out, word_bytes, "\xe2\x96\x81");
    for (uint64_t rest = index - 3;; rest = rest / 12 - 1) {
        length += (size_t)snprintf(out + length, word_bytes - length, "%s", syllables[rest % 12]);
        if (rest < 12)
            break;
    }
}

static void out_vocabulary(FILE *file, uint64_t count)
{
    char word[word_bytes];
    out_array(file, "tokenizer.ggml.tokens", KV_TEXT, count);
    for (uint64_t i = 0; i < count; i++) {
        word_of(word, i);
        out_text(file, word);
    }
    out_array(file, "tokenizer.ggml.scores", KV_F32, count);
    for (uint64_t i = 0; i < count; i++)
        out_f32(file, (float)-(int64_t)i);
    out_array(file, "tokenizer.ggml.token_type", KV_I32, count);
    for (uint64_t i = 0; i < count; i++)
        out_u32(file, i == 0 ? 2 : i < 3 ? 3 : 1);
}

static void out_metadata(FILE *file, const model *all)
{
    out_kv_text(file, "general.architecture", "llama");
    out_kv_text(file, "general.name", "A llama of noise");
    out_kv_text(file, "general.description",
                "Made by dray's make_model from a fixed random state; it knows nothing");
    out_kv_u32(file, "general.file_type", 15);
    out_kv_u32(file, "general.alignment", ALIGNMENT);
    out_kv_u32(file, "llama.block_count", all->layers);
    out_kv_u32(file, "llama.context_length", 2048);
    out_kv_u32(file, "llama.embedding_length", all->width);
    out_kv_u32(file, "llama.feed_forward_length", all->hidden);
    out_kv_u32(file, "llama.attention.head_count", all->width / 64);
    out_key(file, "llama.attention.layer_norm_rms_epsilon", KV_F32);
    out_f32(file, 1e-5f);
    out_key(file, "llama.rope.freq_base", KV_F32);
    out_f32(file, 10000.0f);
    out_kv_text(file, "tokenizer.ggml.model", "llama");
    out_vocabulary(file, all->vocabulary);
    out_kv_u32(file, "tokenizer.ggml.bos_token_id", 1);
    out_kv_u32(file, "tokenizer.ggml.eos_token_id", 2);
    out_key(file, "tokenizer.ggml.add_bos_token", KV_BOOL);
    out_bytes(file, "\1", 1);
}
#define METADATA_COUNT 19u

static void pad_to(FILE *file, uint64_t at)
{
    static const uint8_t zeros[ALIGNMENT];
    out_bytes(file, zeros, (ALIGNMENT - at % ALIGNMENT) % ALIGNMENT);
}

static FILE *open_file(const char *path)
{
    FILE *file = fopen(path, "wb");
    if (!file)
        die("open", path);
    setvbuf(file, NULL, _IOFBF, 1u << 20);
    return file;
}

static void close_file(FILE *file, const char *path)
{
    if (ferror(file) || fclose(file) != 0)
        die("write", path);
}

#define PATH_BYTES 4096

static void join(char out[PATH_BYTES], const char *folder, const char *name)
{
    if (snprintf(out, PATH_BYTES, "%s/%s", folder, name) >= PATH_BYTES) {
        errno = ENAMETOOLONG;
        die("open", folder);
    }
}

static void write_gguf(const char *path, model *all)
{
    FILE *file = open_file(path);
    out_bytes(file, "GGUF", 4);
    out_u32(file, 3);
    out_u64(file, all->count);
    out_u64(file, METADATA_COUNT);
    out_metadata(file, all);
    uint64_t offset = 0;
    for (size_t i = 0; i < all->count; i++) {
        tensor *each = &all->tensors[i];
        each->offset = offset;
        offset += (each->bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        out_text(file, each->name);
        out_u32(file, each->rank);
        for (unsigned axis = each->rank; axis-- > 0;) // fastest first
            out_u64(file, each->shape[axis]);
        out_u32(file, dtypes[each->type].ggml_id);
        out_u64(file, each->offset);
    }
    pad_to(file, (uint64_t)ftello(file));
    for (size_t i = 0; i < all->count; i++) {
        write_tensor(file, path, &all->tensors[i]);
        pad_to(file, all->tensors[i].bytes);
    }
    close_file(file, path);
}

// --- safetensors ---------------------------------------------------------------------------------

/// The header of one shard: a number, then JSON padded with blanks to a multiple of eight.
static void write_header(FILE *file, model *all, unsigned shard)
{
    char *json = NULL;
    size_t length = 0;
    FILE *text = open_memstream(&json, &length);
    if (!text)
        die("allocate", "header");
    fputs("{\"__metadata__\":{\"format\":\"pt\"}", text);
    uint64_t offset = 0;
    for (size_t i = 0; i < all->count; i++) {
        tensor *each = &all->tensors[i];
        if (each->shard != shard)
            continue;
        each->offset = offset;
        offset += each->bytes;
        fprintf(text, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[%" PRIu64, each->name,
                dtypes[each->type].name, each->shape[0]);
        if (each->rank == 2)
            fprintf(text, ",%" PRIu64, each->shape[1]);
        fprintf(text, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", each->offset, offset);
    }
    fputc('}', text);
    while (ftello(text) % 8)
        fputc(' ', text);
    fclose(text);
    out_u64(file, length);
    out_bytes(file, json, length);
    free(json);
}

static void shard_name(char out[64], unsigned shard)
{
    snprintf(out, 64, "model-%05u-of-00002.safetensors", shard + 1);
}

static void write_index(const char *folder, const model *all)
{
    char path[PATH_BYTES], name[64];
    join(path, folder, "model.safetensors.index.json");
    FILE *file = open_file(path);
    fprintf(file, "{\n  \"metadata\": {\"total_size\": %" PRIu64 "},\n  \"weight_map\": {",
            model_bytes(all));
    for (size_t i = 0; i < all->count; i++) {
        shard_name(name, all->tensors[i].shard);
        fprintf(file, "%s\n    \"%s\": \"%s\"", i ? "," : "", all->tensors[i].name, name);
    }
    fputs("\n  }\n}\n", file);
    close_file(file, path);
}

static void write_safetensors(const char *folder, model *all)
{
    if (mkdir(folder, 0755) != 0 && errno != EEXIST)
        die("make", folder);
    for (unsigned shard = 0; shard < 2; shard++) {
        char path[PATH_BYTES], name[64];
        shard_name(name, shard);
        join(path, folder, name);
        FILE *file = open_file(path);
        write_header(file, all, shard);
        for (size_t i = 0; i < all->count; i++) {
            if (all->tensors[i].shard == shard)
                write_tensor(file, path, &all->tensors[i]);
        }
        close_file(file, path);
    }
    write_index(folder, all);
}

int main(int count, char **arguments)
{
    char *end = NULL, path[PATH_BYTES];
    unsigned long megabytes = count == 3 ? strtoul(arguments[2], &end, 10) : 0;
    if (count != 3 || !end || *end || megabytes == 0 || megabytes > 1u << 20) {
        fputs("usage: make_model FOLDER MEGABYTES\n", stderr);
        return 2;
    }
    model gguf = build(true, (uint64_t)megabytes << 20),
          safetensors = build(false, (uint64_t)megabytes << 20);
    join(path, arguments[1], "demo.gguf");
    write_gguf(path, &gguf);
    join(path, arguments[1], "demo-safetensors");
    write_safetensors(path, &safetensors);
    free(gguf.tensors);
    free(safetensors.tensors);
    return 0;
}
