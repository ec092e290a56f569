/// Most mistakes carry a magic number and stand in one table. The few that do not (pages, pointers,
/// texts, protobuf) have a function each; the first that answers ends the search. Nothing here trusts
/// a byte: whatever is quoted from the file is cut short and made printable.
#include "format/recognise.h"

#include "base/checked.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { looked_at_most = 4096 };

typedef struct file_head {
    const uint8_t *bytes;
    uint64_t count;      // readable
    uint64_t file_bytes; // whole file
} file_head;

typedef struct magic_rule {
    uint32_t offset, length;
    const char *bytes;
    const char *rule;
    const char *sentence;
} magic_rule;

#define OLD_GGML                                                                                   \
    ", an old ggml format from before GGUF (2023): get the GGUF version of the model, or convert " \
    "the original weights with llama.cpp's convert_hf_to_gguf.py"
#define UNPACK ": unpack it and pass the file inside"

static const magic_rule magics[] = {
    {0, 8, "\x89HDF\r\n\x1a\n", "recognise.hdf5",
     "this is an HDF5 file (Keras or TensorFlow weights): convert it to safetensors"},
    {0, 4, "lmgg", "recognise.ggml", "this is a 'ggml' file" OLD_GGML},
    {0, 4, "ggml", "recognise.ggml", "this is a 'ggml' file" OLD_GGML},
    {0, 4, "fmgg", "recognise.ggml", "this is a 'ggmf' file" OLD_GGML},
    {0, 4, "ggmf", "recognise.ggml", "this is a 'ggmf' file" OLD_GGML},
    {0, 4, "tjgg", "recognise.ggml", "this is a 'ggjt' file" OLD_GGML},
    {0, 4, "ggjt", "recognise.ggml", "this is a 'ggjt' file" OLD_GGML},
    {0, 4, "algg", "recognise.ggml",
     "this is a 'ggla' file, an old LoRA adapter from before GGUF: convert the original adapter "
     "with llama.cpp's convert_lora_to_gguf.py"},
    {0, 4, "ggla", "recognise.ggml",
     "this is a 'ggla' file, an old LoRA adapter from before GGUF: convert the original adapter "
     "with llama.cpp's convert_lora_to_gguf.py"},
    {0, 4, "nsgg", "recognise.session",
     "this is a saved llama.cpp session (prompt state), not a model: pass the GGUF file it was "
     "made with"},
    {4, 4, "ORTM", "recognise.ort",
     "this is an ONNX Runtime model (.ort): dray reads tensors from GGUF, safetensors and APR; "
     "export the original model to safetensors"},
    {4, 4, "TFL3", "recognise.tflite",
     "this is a TensorFlow Lite model: export the original model to safetensors"},
    {0, 4, "IRPA", "recognise.irpa",
     "this is an IREE parameter archive: convert it with iree-convert-parameters, or pass the "
     "GGUF or safetensors file it was made from"},
    {0, 6, "\x93NUMPY", "recognise.npy",
     "this is a single NumPy array (.npy): save it with safetensors.numpy.save_file"},
    {0, 2, "\x1f\x8b", "recognise.gzip", "this is a gzip file that was not decoded" UNPACK},
    {0, 4, "\x28\xb5\x2f\xfd", "recognise.zstd", "this is a zstd file that was not decoded" UNPACK},
    {0, 4, "\x04\x22\x4d\x18", "recognise.lz4", "this is an lz4 file that was not decoded" UNPACK},
    {0, 6,
     "\xfd"
     "7zXZ\0",
     "recognise.xz", "this is an xz file" UNPACK},
    {0, 3, "BZh", "recognise.bzip2", "this is a bzip2 file" UNPACK},
    {0, 6, "7z\xbc\xaf\x27\x1c", "recognise.7z", "this is a 7-Zip archive" UNPACK},
    {257, 5, "ustar", "recognise.tar", "this is a tar archive" UNPACK},
    {0, 4,
     "\x7f"
     "ELF",
     "recognise.elf", "this is an ELF file (a program or a library), not a model"},
};

static dray_status refuse(dray_error *error, const char *rule, const char *sentence)
{
    return dray_fail_rule(error, DRAY_E_FORMAT, rule, 0, "%s", sentence);
}

static bool has_at(const file_head *head, uint64_t offset, const char *bytes, uint64_t length)
{
    return drayi_inside(offset, length, head->count) &&
           memcmp(head->bytes + offset, bytes, length) == 0;
}

static bool contains(const file_head *head, const char *word)
{
    return head->count && memmem(head->bytes, head->count, word, strlen(word)) != NULL;
}

/// Where the first byte stands that is no white space (behind a UTF-8 byte order mark); count: nowhere.
static uint64_t text_start(const file_head *head)
{
    uint64_t at = has_at(head, 0, "\xef\xbb\xbf", 3) ? 3 : 0;
    while (at < head->count && memchr(" \t\r\n", head->bytes[at], 4))
        at++;
    return at;
}

static bool starts_with_tag(const file_head *head, uint64_t at, const char *tag)
{
    for (; *tag; tag++, at++) {
        uint8_t byte = at < head->count ? head->bytes[at] : 0;
        if (byte >= 'A' && byte <= 'Z')
            byte = (uint8_t)(byte - 'A' + 'a');
        if (byte != (uint8_t)*tag)
            return false;
    }
    return true;
}

/// Copies text from the file until `end` or a line's end, cut to the room, unprintable bytes as '?'.
static void quote(const file_head *head, uint64_t at, char end, char *out, size_t room)
{
    size_t length = 0;
    while (at < head->count && length + 1 < room && head->bytes[at] != (uint8_t)end &&
           head->bytes[at] != '\n' && head->bytes[at] != '\r') {
        uint8_t byte = head->bytes[at++];
        out[length++] = (char)(byte >= 0x20 && byte < 0x7F ? byte : '?');
    }
    out[length] = '\0';
}

/// Where the text behind `word` begins; 0: the word is not there.
static uint64_t behind(const file_head *head, const char *word)
{
    const uint8_t *found = head->count ? memmem(head->bytes, head->count, word, strlen(word)) : NULL;
    return found ? (uint64_t)(found - head->bytes) + strlen(word) : 0;
}

// --- one function for each mistake without a plain magic; DRAY_OK: it is not this -----------------

static dray_status is_empty(const file_head *head, dray_error *error)
{
    if (head->file_bytes != 0)
        return DRAY_OK;
    return refuse(
        error, "recognise.empty",
        "the file is empty (0 bytes): the download or copy never happened; fetch it again");
}

static dray_status is_lfs_pointer(const file_head *head, dray_error *error)
{
    static const char start[] = "version https://git-lfs.github.com/spec/";
    if (!has_at(head, 0, start, sizeof(start) - 1))
        return DRAY_OK;
    char size[24] = "an unknown number of";
    uint64_t at = behind(head, "\nsize ");
    if (at)
        quote(head, at, ' ', size, sizeof(size));
    return dray_fail_rule(
        error, DRAY_E_FORMAT, "recognise.lfs", 0,
        "this is a Git LFS pointer of %" PRIu64 " bytes, not the model itself (%s bytes): "
        "run `git lfs install && git lfs pull` in its repository, or download the file",
        head->file_bytes, size);
}

static dray_status is_html(const file_head *head, dray_error *error)
{
    static const char *const tags[] = {"<!doctype html", "<html",   "<head",
                                       "<body",          "<script", "<!--"};
    uint64_t at = text_start(head);
    for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++) {
        if (starts_with_tag(head, at, tags[i]))
            return refuse(
                error, "recognise.html",
                "this is an HTML page, not a model: a login, error or preview page was saved; "
                "use the direct download link (on Hugging Face /resolve/, not /blob/)");
    }
    return DRAY_OK;
}

static dray_status is_xml(const file_head *head, dray_error *error)
{
    uint64_t at = text_start(head);
    if (!starts_with_tag(head, at, "<?xml") && !starts_with_tag(head, at, "<error>"))
        return DRAY_OK;
    uint64_t message_at = behind(head, "<Message>");
    if (!message_at)
        return refuse(error, "recognise.xml", "this is an XML document, not a model");
    char message[120];
    quote(head, message_at, '<', message, sizeof(message));
    return dray_fail_rule(error, DRAY_E_FORMAT, "recognise.xml", 0,
                          "this is an XML error message of a storage server, not a model: \"%s\"",
                          message);
}

static dray_status is_json(const file_head *head, dray_error *error)
{
    uint64_t at = text_start(head);
    if (at >= head->count || (head->bytes[at] != '{' && head->bytes[at] != '['))
        return DRAY_OK;
    if (contains(head, "\"weight_map\""))
        return refuse(
            error, "recognise.json",
            "this is the index of a sharded safetensors model, but it is not readable as one: "
            "keep its name (model.safetensors.index.json) and its shards in the same folder");
    if (contains(head, "\"error\""))
        return refuse(
            error, "recognise.json",
            "this is a JSON error message of a server, not a model: look into it with a text viewer");
    return refuse(error, "recognise.json",
                  "this is a JSON text (a configuration or a tokenizer?), not a model: "
                  "pass the weights file beside it, or the folder");
}

static dray_status is_zip(const file_head *head, dray_error *error)
{
    if (!has_at(head, 0, "PK\x03\x04", 4) && !has_at(head, 0, "PK\x05\x06", 4))
        return DRAY_OK;
    if (contains(head, "data.pkl") || contains(head, "constants.pkl"))
        return refuse(
            error, "recognise.pytorch",
            "this is a PyTorch checkpoint (zip with a pickle, which can run code when it is read): "
            "convert it with safetensors.torch.save_file, or get the safetensors version");
    if (contains(head, ".npy"))
        return refuse(
            error, "recognise.npz",
            "this is a NumPy archive (.npz): save its arrays with safetensors.numpy.save_file");
    if (contains(head, "model.weights.h5"))
        return refuse(error, "recognise.keras",
                      "this is a Keras model (.keras): convert it to safetensors");
    return refuse(error, "recognise.zip", "this is a zip archive" UNPACK);
}

static dray_status is_pickle(const file_head *head, dray_error *error)
{
    if (head->count < 3 || head->bytes[0] != 0x80 || head->bytes[1] < 2 || head->bytes[1] > 5)
        return DRAY_OK;
    return refuse(
        error, "recognise.pickle",
        "this is a Python pickle (an old torch.save file?), which can run code when it is read: "
        "convert it with safetensors.torch.save_file, or get the safetensors version");
}

/// whisper.cpp still writes 'ggml' files: magic, vocabulary of 51,864 to 51,866 words, 1,500 positions.
static dray_status is_whisper(const file_head *head, dray_error *error)
{
    uint32_t words, positions;
    if (!has_at(head, 0, "lmgg", 4) || head->count < 12)
        return DRAY_OK;
    memcpy(&words, head->bytes + 4, sizeof(words));
    memcpy(&positions, head->bytes + 8, sizeof(positions));
    if (words < 51864 || words > 51866 || positions != 1500)
        return DRAY_OK;
    return refuse(
        error, "recognise.whisper",
        "this is a whisper.cpp model in the old 'ggml' format, which describes no tensors by itself: "
        "get the safetensors version of the model (openai/whisper-*)");
}

/// An ONNX ModelProto starts with ir_version (field 1, a small number) and goes on with one of its
/// other top-level fields.
static dray_status is_onnx(const file_head *head, dray_error *error)
{
    static const char next_tags[] = "\x12\x1a\x22\x28\x32\x3a\x42";
    if (head->count < 8 || head->bytes[0] != 0x08 || head->bytes[1] < 1 || head->bytes[1] > 32 ||
        head->bytes[2] == 0 || !strchr(next_tags, head->bytes[2]))
        return DRAY_OK;
    return refuse(error, "recognise.onnx",
                  "this looks like an ONNX model: dray reads tensors from GGUF, safetensors and APR; "
                  "export the original model to safetensors");
}

static dray_status is_cut_magic(const file_head *head, dray_error *error)
{
    static const char *const starts[] = {"GGUF", "APR"};
    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
        if (head->file_bytes < strlen(starts[i]) && head->count == head->file_bytes &&
            memcmp(head->bytes, starts[i], head->count) == 0)
            return dray_fail_rule(error, DRAY_E_FORMAT, "recognise.truncated", 0,
                                  "the file ends inside the first word of a %s file (%" PRIu64
                                  " bytes): "
                                  "the download was cut; fetch it again",
                                  starts[i], head->file_bytes);
    }
    if (head->file_bytes < 8)
        return dray_fail_rule(
            error, DRAY_E_FORMAT, "recognise.truncated", 0,
            "%" PRIu64 " bytes are too few for any model: the download was cut; fetch it again",
            head->file_bytes);
    return DRAY_OK;
}

static dray_status is_all_zero(const file_head *head, dray_error *error)
{
    uint64_t zeros = 0;
    while (zeros < head->count && head->bytes[zeros] == 0)
        zeros++;
    if (zeros == 0 || zeros < head->count)
        return DRAY_OK;
    return dray_fail_rule(error, DRAY_E_FORMAT, "recognise.zeros", 0,
                          "the first %" PRIu64
                          " bytes are zero: the space was reserved but the download "
                          "never filled it; fetch it again",
                          zeros);
}

static dray_status is_text(const file_head *head, dray_error *error)
{
    uint64_t looked_at = drayi_min(head->count, 512);
    if (looked_at == 0)
        return DRAY_OK;
    for (uint64_t i = 0; i < looked_at; i++) {
        uint8_t byte = head->bytes[i];
        if (byte >= 0x7F || (byte < 0x20 && !memchr("\t\r\n", byte, 3)))
            return DRAY_OK;
    }
    char line[80];
    quote(head, text_start(head), '\n', line, sizeof(line));
    return dray_fail_rule(error, DRAY_E_FORMAT, "recognise.text", 0,
                          "this is a text, not a model; it begins \"%s\"", line);
}

static dray_status has_magic(const file_head *head, dray_error *error)
{
    for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++) {
        const magic_rule *magic = &magics[i];
        if (has_at(head, magic->offset, magic->bytes, magic->length))
            return refuse(error, magic->rule, magic->sentence);
    }
    return DRAY_OK;
}

static dray_status is_unknown(const file_head *head, dray_error *error)
{
    char hex[3 * 8 + 1] = "";
    for (uint64_t i = 0; i < drayi_min(head->count, 8); i++)
        snprintf(hex + 3 * i, 4, " %02x", head->bytes[i]);
    return dray_fail_rule(
        error, DRAY_E_FORMAT, "recognise.unknown", 0,
        "neither GGUF nor safetensors nor APR; the first bytes are%s: is it a model file, "
        "and is it complete?",
        hex);
}

dray_status drayi_recognise(const uint8_t *head, uint64_t head_bytes, uint64_t file_bytes,
                            const char *path, dray_error *error)
{
    static dray_status (*const checks[])(const file_head *, dray_error *) = {
        is_empty,   is_lfs_pointer, is_html, is_xml,       is_json,     is_zip,  is_pickle,
        is_whisper, has_magic,      is_onnx, is_cut_magic, is_all_zero, is_text, is_unknown,
    };
    (void)path;
    file_head view = {
        .bytes = head,
        .count = drayi_min(drayi_min(head_bytes, file_bytes), looked_at_most),
        .file_bytes = file_bytes,
    };
    dray_status status = DRAY_OK;
    for (size_t i = 0; status == DRAY_OK; i++) // the last check always answers
        status = checks[i](&view, error);
    return status;
}
