/// The manifest beside the model: read, compared, and written so that half of it is never seen.
#include "weights/manifest_file.h"

#include "base/checked.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { read_bytes = 256 << 10 };

static const uint64_t file_bytes_most = UINT64_C(1) << 30; // chunks of a 100 TB model

// --- reading -------------------------------------------------------------------------------------

static dray_status text_read(drayi_env *env, int fd, const char *path, char **out_text,
                             uint64_t *out_bytes, dray_error *error)
{
    drayi_file_facts facts;
    int code = env->os->facts(fd, &facts);
    if (code < 0)
        return dray_fail_os(error, -code, "statx", "manifest %s", path);
    if (!S_ISREG(facts.mode) || facts.bytes > file_bytes_most)
        return dray_fail(error, DRAY_E_FORMAT,
                         "manifest %s: not a regular file of at most %" PRIu64 " bytes", path,
                         file_bytes_most);
    char *text = drayi_alloc(env, (size_t)facts.bytes, error);
    if (!text)
        return DRAY_E_NOMEM;
    dray_status status = drayi_pread_all(env->os, fd, path, text, facts.bytes, 0, NULL, error);
    if (status != DRAY_OK) {
        drayi_free(env, text, (size_t)facts.bytes);
        return status;
    }
    *out_text = text;
    *out_bytes = facts.bytes;
    return DRAY_OK;
}

dray_status drayi_manifest_load(drayi_manifest *manifest, const char *path, dray_error *error)
{
    drayi_env *env = manifest->arena.env;
    int fd;
    char *text = NULL;
    uint64_t bytes = 0;
    DRAY_TRY(drayi_open_file(env->os, path, O_RDONLY | O_NONBLOCK, 0, &fd, error));
    dray_status status = text_read(env, fd, path, &text, &bytes, error);
    drayi_close_file(env->os, fd);
    DRAY_TRY(status);
    status = drayi_manifest_parse(manifest, text, bytes, error);
    drayi_free(env, text, (size_t)bytes);
    return status == DRAY_OK ? DRAY_OK : dray_fail_within(error, status, "%s", path);
}

// --- comparing -----------------------------------------------------------------------------------

dray_status drayi_file_head_hash(const dray_weights *weights, const drayi_model_file *file,
                                 drayi_hash *out, dray_error *error)
{
    uint64_t count = file->info.data_offset;
    if (file->keeper) {
        *out = drayi_hash_of(dray_model_data_bytes(drayi_keeper_data(file->keeper)), count);
        return DRAY_OK;
    }
    uint8_t *buffer = drayi_alloc(weights->env, read_bytes, error);
    if (!buffer)
        return DRAY_E_NOMEM;
    dray_status status = DRAY_OK;
    drayi_hash_state hash;
    drayi_hash_start(&hash);
    for (uint64_t at = 0, piece; status == DRAY_OK && at < count; at += piece) {
        piece = drayi_min(count - at, read_bytes);
        status = drayi_model_file_read(weights, file, at, buffer, piece, error);
        drayi_hash_add(&hash, buffer, piece);
    }
    drayi_free(weights->env, buffer, read_bytes);
    *out = drayi_hash_end(&hash);
    return status;
}

static dray_status differs(dray_error *error, const char *rule, const char *path,
                           const char *format, ...) DRAY_PRINTF(4, 5);
static dray_status differs(dray_error *error, const char *rule, const char *path,
                           const char *format, ...)
{
    char what[256];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    return dray_fail_rule(error, DRAY_E_CORRUPT, rule, DRAY_UNKNOWN,
                          "%s does not fit the model: %s", path, what);
}

static dray_status file_compare(const drayi_manifest *manifest, const dray_weights *weights,
                                uint64_t number, const char *path, dray_error *error)
{
    const drayi_model_file *file = &weights->files[number];
    const drayi_manifest_file *known = &manifest->files[number];
    if (known->bytes != file->info.bytes || known->head_bytes != file->info.data_offset)
        return differs(error, "manifest.file", path,
                       "%s has %" PRIu64 " bytes and data from %" PRIu64
                       ", written down are %" PRIu64 " and %" PRIu64,
                       drayi_last_component(file->info.path), file->info.bytes,
                       file->info.data_offset, known->bytes, known->head_bytes);
    drayi_hash head;
    DRAY_TRY(drayi_file_head_hash(weights, file, &head, error));
    if (!drayi_hash_equal(head, known->head))
        return differs(error, "manifest.head", path,
                       "the first %" PRIu64
                       " bytes of %s (names, shapes, metadata) are not those written down",
                       known->head_bytes, drayi_last_component(file->info.path));
    return DRAY_OK;
}

static dray_status tensor_compare(const drayi_manifest *manifest, const dray_tensor *tensor,
                                  const char *path, dray_error *error)
{
    const drayi_manifest_tensor *known = drayi_manifest_find(manifest, tensor->name);
    if (!known)
        return differs(error, "manifest.tensor", path, "it does not know tensor %s",
                       drayi_show(tensor->name).text);
    if (known->file != tensor->file || known->offset != tensor->offset ||
        known->bytes != tensor->bytes)
        return differs(error, "manifest.tensor", path,
                       "tensor %s has %" PRIu64 " bytes at %" PRIu64 ", written down are %" PRIu64
                       " at %" PRIu64,
                       drayi_show(tensor->name).text, tensor->bytes, tensor->offset, known->bytes,
                       known->offset);
    return DRAY_OK;
}

dray_status drayi_manifest_compare(const drayi_manifest *manifest, const dray_weights *weights,
                                   const char *path, dray_error *error)
{
    if (manifest->file_count != weights->file_count ||
        manifest->tensor_count != weights->index.tensor_count)
        return differs(error, "manifest.set", path,
                       "the model has %" PRIu64 " files and %" PRIu64
                       " tensors, written down are %" PRIu64 " and %" PRIu64,
                       weights->file_count, weights->index.tensor_count, manifest->file_count,
                       manifest->tensor_count);
    for (uint64_t i = 0; i < weights->file_count; i++)
        DRAY_TRY(file_compare(manifest, weights, i, path, error));
    for (uint64_t i = 0; i < weights->index.tensor_count; i++)
        DRAY_TRY(tensor_compare(manifest, &weights->index.tensors[i], path, error));
    return DRAY_OK;
}

// --- writing -------------------------------------------------------------------------------------

typedef struct text_file {
    const drayi_os *os;
    const char *path;
    int fd;
    uint64_t at;
} text_file;

static dray_status text_write(void *self, const char *text, uint64_t count, dray_error *error)
{
    text_file *file = self;
    DRAY_TRY(drayi_pwrite_all(file->os, file->fd, file->path, text, count, file->at, error));
    file->at += count;
    return DRAY_OK;
}

static dray_status temporary_write(const drayi_manifest *manifest, const drayi_os *os,
                                   const char *path, dray_error *error)
{
    text_file file = {.os = os, .path = path};
    DRAY_TRY(
        drayi_open_file(os, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0644, &file.fd, error));
    dray_status status = drayi_manifest_print(manifest, text_write, &file, error);
    int code = status == DRAY_OK ? os->sync(file.fd) : 0;
    drayi_close_file(os, file.fd);
    if (code < 0)
        status = dray_fail_os(error, -code, "fdatasync", "write %s", path);
    if (status != DRAY_OK)
        os->unlink(path);
    return status;
}

dray_status drayi_manifest_save(const drayi_manifest *manifest, drayi_arena *arena,
                                const char *path, dray_error *error)
{
    const drayi_os *os = arena->env->os;
    size_t room = strlen(path) + 40;
    char *temporary = drayi_arena_alloc(arena, room, error);
    if (!temporary)
        return DRAY_E_NOMEM;
    // The name only has to be one that nobody else is writing: O_EXCL refuses any other.
    snprintf(temporary, room, "%s.%016" PRIx64 ".tmp", path, (uint64_t)os->now_ns());
    DRAY_TRY(temporary_write(manifest, os, temporary, error));
    int code = os->rename(temporary, path);
    if (code == 0)
        return DRAY_OK;
    os->unlink(temporary);
    return dray_fail_os(error, -code, "rename", "put %s in its place", path);
}
