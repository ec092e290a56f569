/// The manifest as text: one strict reading, one way to write it.
///
/// Lines of words with single spaces, numbers without leading zeros, names with every byte but printable
/// ASCII (and '%') as %xx: whatever can be written in two ways is wrong in one of them. The last line is
/// the hash of everything before it, and is looked at first.
#include "weights/manifest.h"

#include "base/checked.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char magic_line[] = "dray-manifest 1\n";

void drayi_manifest_init(drayi_manifest *manifest, drayi_env *env)
{
    *manifest = (drayi_manifest){.arena = {.env = env}, .names = {.env = env}};
}

void drayi_manifest_free(drayi_manifest *manifest)
{
    drayi_env *env = manifest->arena.env;
    drayi_free(env, manifest->files, (size_t)manifest->file_room * sizeof(*manifest->files));
    drayi_free(env, manifest->tensors, (size_t)manifest->tensor_room * sizeof(*manifest->tensors));
    drayi_free(env, manifest->chunks, (size_t)manifest->chunk_room * sizeof(*manifest->chunks));
    drayi_names_free(&manifest->names);
    drayi_arena_free(&manifest->arena);
    drayi_manifest_init(manifest, env);
}

dray_status drayi_manifest_add_file(drayi_manifest *manifest, const drayi_manifest_file *file,
                                    dray_error *error)
{
    DRAY_TRY(drayi_grow(manifest->arena.env, (void **)&manifest->files, &manifest->file_room,
                        manifest->file_count + 1, sizeof(*file), error));
    manifest->files[manifest->file_count++] = *file;
    return DRAY_OK;
}

dray_status drayi_manifest_add_tensor(drayi_manifest *manifest, const drayi_manifest_tensor *tensor,
                                      dray_error *error)
{
    DRAY_TRY(drayi_grow(manifest->arena.env, (void **)&manifest->tensors, &manifest->tensor_room,
                        manifest->tensor_count + 1, sizeof(*tensor), error));
    DRAY_TRY(drayi_names_add(&manifest->names, tensor->name, manifest->tensor_count, error));
    manifest->tensors[manifest->tensor_count++] = *tensor;
    return DRAY_OK;
}

dray_status drayi_manifest_add_chunk(drayi_manifest *manifest, drayi_hash hash, dray_error *error)
{
    DRAY_TRY(drayi_grow(manifest->arena.env, (void **)&manifest->chunks, &manifest->chunk_room,
                        manifest->chunk_count + 1, sizeof(hash), error));
    manifest->chunks[manifest->chunk_count++] = hash;
    return DRAY_OK;
}

const drayi_manifest_tensor *drayi_manifest_find(const drayi_manifest *manifest, dray_text name)
{
    uint64_t found =
        drayi_names_find(&manifest->names, manifest->tensors, sizeof(*manifest->tensors), name);
    return found == UINT64_MAX ? NULL : &manifest->tensors[found];
}

// --- writing -------------------------------------------------------------------------------------

enum { printer_room = 16 << 10 };

typedef struct printer {
    drayi_manifest_write_fn *write;
    void *self;
    drayi_hash_state *hash; // of everything printed; on the stack, where it is aligned as it wants
    char text[printer_room];
    uint64_t used;
} printer;

static dray_status printer_flush(printer *out, dray_error *error)
{
    uint64_t used = out->used;
    out->used = 0;
    drayi_hash_add(out->hash, out->text, used);
    return used ? out->write(out->self, out->text, used, error) : DRAY_OK;
}

static dray_status print_bytes(printer *out, const char *bytes, uint64_t count, dray_error *error)
{
    for (uint64_t done = 0, piece; done < count; done += piece) {
        if (out->used == printer_room)
            DRAY_TRY(printer_flush(out, error));
        piece = drayi_min(count - done, printer_room - out->used);
        memcpy(out->text + out->used, bytes + done, (size_t)piece);
        out->used += piece;
    }
    return DRAY_OK;
}

static dray_status print_line(printer *out, dray_error *error, const char *format, ...)
    DRAY_PRINTF(3, 4);
static dray_status print_line(printer *out, dray_error *error, const char *format, ...)
{
    char line[256]; // numbers and hashes only: names are printed by themselves
    va_list args;
    va_start(args, format);
    int length = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    return print_bytes(out, line, (uint64_t)length, error);
}

static bool is_plain(unsigned char letter)
{
    return letter > 0x20 && letter < 0x7F && letter != '%';
}

static dray_status print_name(printer *out, dray_text name, dray_error *error)
{
    for (uint64_t i = 0; i < name.length; i++) {
        unsigned char letter = (unsigned char)name.bytes[i];
        if (is_plain(letter))
            DRAY_TRY(print_bytes(out, (const char *)&letter, 1, error));
        else
            DRAY_TRY(print_line(out, error, "%%%02x", letter));
    }
    return print_bytes(out, "\n", 1, error);
}

static dray_status print_tensor(printer *out, const drayi_manifest *manifest,
                                const drayi_manifest_tensor *tensor, dray_error *error)
{
    char hex[drayi_hash_text];
    drayi_hash_print(tensor->whole, hex);
    DRAY_TRY(print_line(out, error, "tensor %" PRIu32 " %" PRIu64 " %" PRIu64 " %s ", tensor->file,
                        tensor->offset, tensor->bytes, hex));
    DRAY_TRY(print_name(out, tensor->name, error));
    for (uint64_t i = 0; tensor->chunk_count > 1 && i < tensor->chunk_count; i++) {
        drayi_hash_print(manifest->chunks[tensor->first_chunk + i], hex);
        DRAY_TRY(print_line(out, error, " %s\n", hex));
    }
    return DRAY_OK;
}

static dray_status print_all(printer *out, const drayi_manifest *manifest, dray_error *error)
{
    char hex[drayi_hash_text];
    DRAY_TRY(print_line(out, error, "%schunk %" PRIu64 "\n", magic_line, manifest->chunk_bytes));
    for (uint64_t i = 0; i < manifest->file_count; i++) {
        const drayi_manifest_file *file = &manifest->files[i];
        drayi_hash_print(file->head, hex);
        DRAY_TRY(print_line(out, error, "file %" PRIu64 " %" PRIu64 " %s ", file->bytes,
                            file->head_bytes, hex));
        DRAY_TRY(print_name(out, file->name, error));
    }
    for (uint64_t i = 0; i < manifest->tensor_count; i++)
        DRAY_TRY(print_tensor(out, manifest, &manifest->tensors[i], error));
    DRAY_TRY(printer_flush(out, error));
    drayi_hash_print(drayi_hash_end(out->hash), hex);
    DRAY_TRY(print_line(out, error, "end %s\n", hex));
    return printer_flush(out, error);
}

dray_status drayi_manifest_print(const drayi_manifest *manifest, drayi_manifest_write_fn *write,
                                 void *self, dray_error *error)
{
    printer *out = drayi_new(manifest->arena.env, printer, error);
    if (!out)
        return DRAY_E_NOMEM;
    out->write = write;
    out->self = self;
    drayi_hash_state hash;
    out->hash = &hash;
    drayi_hash_start(&hash);
    dray_status status = print_all(out, manifest, error);
    drayi_free(manifest->arena.env, out, sizeof(*out));
    return status;
}

// --- reading -------------------------------------------------------------------------------------

typedef struct scanner {
    const char *text;
    uint64_t at, end; // `end`: where the last line begins
} scanner;

static dray_status scan_fail(const scanner *in, const char *rule, const char *wanted,
                             dray_error *error)
{
    return dray_fail_rule(error, DRAY_E_FORMAT, rule, in->at,
                          "manifest: %s wanted at byte %" PRIu64, wanted, in->at);
}

/// Does this word stand here? Moves behind it.
static bool scan_word(scanner *in, const char *word)
{
    size_t length = strlen(word);
    if (in->end - in->at < length || memcmp(in->text + in->at, word, length) != 0)
        return false;
    in->at += length;
    return true;
}

/// A decimal number without leading zeros, and the byte `behind` it.
static dray_status scan_number(scanner *in, char behind, uint64_t *out, dray_error *error)
{
    uint64_t number = 0, begin = in->at;
    for (; in->at < in->end && in->text[in->at] >= '0' && in->text[in->at] <= '9'; in->at++) {
        bool leading_zero = in->at > begin && number == 0;
        if (leading_zero || !drayi_mul(number, 10, &number) ||
            !drayi_add(number, (uint64_t)(in->text[in->at] - '0'), &number))
            return scan_fail(in, "manifest.number", "a number without leading zeros, below 2^64",
                             error);
    }
    if (in->at == begin || in->at == in->end || in->text[in->at] != behind)
        return scan_fail(in, "manifest.number",
                         behind == '\n' ? "a number and a line end" : "a number and a space", error);
    in->at++;
    *out = number;
    return DRAY_OK;
}

static dray_status scan_hash(scanner *in, char behind, drayi_hash *out, dray_error *error)
{
    if (in->end - in->at < drayi_hash_text || !drayi_hash_read(in->text + in->at, out) ||
        in->text[in->at + 32] != behind)
        return scan_fail(in, "manifest.hash", "32 lower-case hex digits", error);
    in->at += drayi_hash_text;
    return DRAY_OK;
}

static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/// The byte at `in`, decoded; < 0: not as it would have been written.
static int scan_letter(scanner *in, uint64_t line_end)
{
    unsigned char letter = (unsigned char)in->text[in->at];
    if (is_plain(letter)) {
        in->at++;
        return letter;
    }
    if (letter != '%' || line_end - in->at < 3)
        return -1;
    int high = hex_value(in->text[in->at + 1]), low = hex_value(in->text[in->at + 2]);
    if (high < 0 || low < 0 || is_plain((unsigned char)(high * 16 + low)))
        return -1;
    in->at += 3;
    return high * 16 + low;
}

/// To the end of the line.
static dray_status scan_name(scanner *in, drayi_arena *arena, dray_text *out, dray_error *error)
{
    const char *line = in->text + in->at;
    const char *newline = memchr(line, '\n', (size_t)(in->end - in->at));
    if (!newline)
        return scan_fail(in, "manifest.line", "a line end", error);
    uint64_t line_end = in->at + (uint64_t)(newline - line);
    char *name = drayi_arena_alloc(arena, line_end - in->at + 1, error);
    if (!name)
        return DRAY_E_NOMEM;
    *out = (dray_text){.bytes = name};
    while (in->at < line_end) {
        int letter = scan_letter(in, line_end);
        if (letter < 0)
            return scan_fail(in, "manifest.name", "printable ASCII, or %xx for any other byte,",
                             error);
        name[out->length++] = (char)letter;
    }
    in->at++;
    return DRAY_OK;
}

static dray_status scan_file(scanner *in, drayi_manifest *manifest, dray_error *error)
{
    drayi_manifest_file file = {0};
    DRAY_TRY(scan_number(in, ' ', &file.bytes, error));
    DRAY_TRY(scan_number(in, ' ', &file.head_bytes, error));
    DRAY_TRY(scan_hash(in, ' ', &file.head, error));
    DRAY_TRY(scan_name(in, &manifest->arena, &file.name, error));
    return drayi_manifest_add_file(manifest, &file, error);
}

static dray_status scan_chunks(scanner *in, drayi_manifest *manifest, uint64_t count,
                               dray_error *error)
{
    for (uint64_t i = 0; i < count; i++) {
        drayi_hash hash;
        if (!scan_word(in, " "))
            return scan_fail(in, "manifest.chunk", "the hash of another chunk", error);
        DRAY_TRY(scan_hash(in, '\n', &hash, error));
        DRAY_TRY(drayi_manifest_add_chunk(manifest, hash, error));
    }
    return DRAY_OK;
}

static dray_status scan_tensor(scanner *in, drayi_manifest *manifest, dray_error *error)
{
    drayi_manifest_tensor tensor = {.first_chunk = manifest->chunk_count};
    uint64_t file, begin = in->at;
    DRAY_TRY(scan_number(in, ' ', &file, error));
    DRAY_TRY(scan_number(in, ' ', &tensor.offset, error));
    DRAY_TRY(scan_number(in, ' ', &tensor.bytes, error));
    DRAY_TRY(scan_hash(in, ' ', &tensor.whole, error));
    DRAY_TRY(scan_name(in, &manifest->arena, &tensor.name, error));
    if (file >= manifest->file_count ||
        !drayi_inside(tensor.offset, tensor.bytes, manifest->files[file].bytes))
        return dray_fail_rule(
            error, DRAY_E_FORMAT, "manifest.span", begin,
            "manifest: the tensor at byte %" PRIu64 " does not lie within its file", begin);
    if (drayi_manifest_find(manifest, tensor.name))
        return dray_fail_rule(error, DRAY_E_FORMAT, "manifest.duplicate", begin,
                              "manifest: the tensor at byte %" PRIu64 " appears twice", begin);
    tensor.file = (uint32_t)file;
    tensor.chunk_count = drayi_chunks_of(tensor.bytes, manifest->chunk_bytes);
    if (tensor.chunk_count > 1)
        DRAY_TRY(scan_chunks(in, manifest, tensor.chunk_count, error));
    return drayi_manifest_add_tensor(manifest, &tensor, error);
}

static dray_status scan_all(scanner *in, drayi_manifest *manifest, dray_error *error)
{
    if (!scan_word(in, "chunk "))
        return scan_fail(in, "manifest.line", "\"chunk <bytes>\"", error);
    DRAY_TRY(scan_number(in, '\n', &manifest->chunk_bytes, error));
    if (manifest->chunk_bytes < drayi_chunk_least || manifest->chunk_bytes > drayi_chunk_most)
        return dray_fail_rule(error, DRAY_E_FORMAT, "manifest.chunk", in->at,
                              "manifest: chunks of %" PRIu64 " bytes, %d to %d are possible",
                              manifest->chunk_bytes, drayi_chunk_least, drayi_chunk_most);
    while (scan_word(in, "file "))
        DRAY_TRY(scan_file(in, manifest, error));
    while (scan_word(in, "tensor "))
        DRAY_TRY(scan_tensor(in, manifest, error));
    return in->at == in->end
               ? DRAY_OK
               : scan_fail(in, "manifest.line", "\"file\", \"tensor\" or the end", error);
}

/// "end <hash>\n" over everything before it.
static dray_status seal_check(const char *text, uint64_t count, uint64_t *out_end, dray_error *error)
{
    enum { seal_bytes = 4 + drayi_hash_text };
    drayi_hash promised;
    if (count < seal_bytes || memcmp(text + count - seal_bytes, "end ", 4) != 0 ||
        !drayi_hash_read(text + count - drayi_hash_text, &promised) || text[count - 1] != '\n')
        return dray_fail_rule(error, DRAY_E_CORRUPT, "manifest.end", count,
                              "manifest: its last line is not \"end <hash>\": it was cut short");
    *out_end = count - seal_bytes;
    if (!drayi_hash_equal(promised, drayi_hash_of(text, *out_end)))
        return dray_fail_rule(
            error, DRAY_E_CORRUPT, "manifest.checksum", DRAY_UNKNOWN,
            "manifest: its own checksum does not match: it was changed or damaged");
    return DRAY_OK;
}

dray_status drayi_manifest_parse(drayi_manifest *manifest, const char *text, uint64_t count,
                                 dray_error *error)
{
    scanner in = {.text = text, .end = count};
    if (!scan_word(&in, magic_line))
        return dray_fail_rule(error, DRAY_E_FORMAT, "manifest.magic", 0,
                              "manifest: the first line is not \"dray-manifest 1\"");
    DRAY_TRY(seal_check(text, count, &in.end, error));
    return in.end < in.at ? scan_fail(&in, "manifest.line", "\"chunk <bytes>\"", error)
                          : scan_all(&in, manifest, error);
}
