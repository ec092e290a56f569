/// Opening: path -> files -> format -> index. Nothing of the tensors' bytes is read.
///
/// What a path is, is told by what is found there: a folder, an index.json, a compressed file, a format.
/// Every file is opened once, by one descriptor, and never again by its name.
#include "base/checked.h"
#include "weights/folder.h"
#include "weights/model_data_object.h"
#include "weights/opened.h"
#include "weights/shards.h"
#include "weights/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { probe_bytes_most = 4096 };

const char *drayi_last_component(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static dray_status path_put(drayi_arena *arena, const char *folder, size_t folder_bytes,
                            const char *name, char **out, dray_error *error)
{
    bool slash = folder_bytes > 0 && folder[folder_bytes - 1] != '/';
    size_t room = folder_bytes + slash + strlen(name) + 1;
    *out = drayi_arena_alloc(arena, room, error);
    if (!*out)
        return DRAY_E_NOMEM;
    snprintf(*out, room, "%.*s%s%s", (int)folder_bytes, folder, slash ? "/" : "", name);
    return DRAY_OK;
}

dray_status drayi_path_join(drayi_arena *arena, const char *folder, const char *name, char **out,
                            dray_error *error)
{
    return path_put(arena, folder, strlen(folder), name, out, error);
}

dray_status drayi_path_beside(drayi_arena *arena, const char *path, const char *name, char **out,
                              dray_error *error)
{
    return path_put(arena, path, (size_t)(drayi_last_component(path) - path), name, out, error);
}

// --- files ---------------------------------------------------------------------------------------

/// A fresh entry at the end; whatever it comes to own is closed with the weights.
static dray_status file_entry(dray_weights *weights, const char *path, drayi_model_file **out,
                              dray_error *error)
{
    DRAY_TRY(drayi_grow(weights->env, (void **)&weights->files, &weights->file_room,
                        weights->file_count + 1, sizeof(*weights->files), error));
    char *copy = drayi_arena_text(&weights->index.arena, path, strlen(path), error);
    if (!copy)
        return DRAY_E_NOMEM;
    drayi_model_file *file = &weights->files[weights->file_count++];
    *file = (drayi_model_file){.info.path = copy, .head.fd = -1};
    *out = file;
    return DRAY_OK;
}

static void file_close(drayi_model_file *file)
{
    drayi_head_close(&file->head);
    if (!file->keeper)
        dray_region_release(file->region);
    drayi_keeper_release(file->keeper);
    file->region = NULL;
    file->keeper = NULL;
}

/// The file's bytes are those of `data`, in private memory, from here on.
static dray_status file_take_data(dray_weights *weights, drayi_model_file *file,
                                  dray_model_data *data, bool owned, dray_error *error)
{
    file_close(file);
    DRAY_TRY(drayi_keeper_of_data(weights->env, data, owned, &file->keeper, error));
    file->region = drayi_keeper_region(file->keeper);
    file->info.bytes = dray_model_data_length(data);
    drayi_head_open_memory(&file->head, weights->env, dray_model_data_bytes(data), file->info.path,
                           file->info.bytes);
    return DRAY_OK;
}

/// [base, base + bytes) of an open file. The descriptor stays the caller's; the file gets its own.
static dray_status file_take_fd(dray_weights *weights, drayi_model_file *file, int fd,
                                uint64_t base, uint64_t bytes, dray_error *error)
{
    int code = weights->env->os->facts(fd, &file->facts);
    if (code < 0)
        return dray_fail_os(error, -code, "statx", "open %s", file->info.path);
    file->info.bytes = bytes;
    DRAY_TRY(dray_region_wrap_fd(weights->context, fd, file->info.path, base, bytes, &file->region,
                                 error));
    dray_region_native native;
    dray_region_get_native(file->region, &native);
    return drayi_head_open_fd(&file->head, weights->env, native.fd, base, file->info.path, bytes,
                              error);
}

static dray_status descriptor_open(const drayi_os *os, const char *path, int *out_fd,
                                   drayi_file_facts *out_facts, dray_error *error)
{
    DRAY_TRY(drayi_open_file(os, path, O_RDONLY | O_NONBLOCK, 0, out_fd,
                             error)); // a FIFO must not hold us up
    int code = os->facts(*out_fd, out_facts);
    if (code == 0)
        return DRAY_OK;
    drayi_close_file(os, *out_fd);
    return dray_fail_os(error, -code, "statx", "open %s", path);
}

dray_status drayi_weights_add_file(dray_weights *weights, const char *path, dray_error *error)
{
    const drayi_os *os = weights->env->os;
    int fd;
    drayi_file_facts facts;
    drayi_model_file *file = NULL;
    DRAY_TRY(descriptor_open(os, path, &fd, &facts, error));
    dray_status status =
        S_ISREG(facts.mode) ? file_entry(weights, path, &file, error)
                            : dray_fail(error, DRAY_E_INVALID, "open %s: not a regular file", path);
    if (status == DRAY_OK)
        status = file_take_fd(weights, file, fd, 0, facts.bytes, error);
    drayi_close_file(os, fd);
    return status;
}

static dray_status stream_take(dray_weights *weights, const char *path, int fd, dray_error *error)
{
    dray_model_data_options options = {.struct_bytes = sizeof(options),
                                       .decoded_bytes_max = weights->options.decoded_bytes_max};
    drayi_model_file *file;
    dray_model_data *data;
    DRAY_TRY(file_entry(weights, path, &file, error));
    DRAY_TRY(dray_model_data_open_fd(weights->context, fd, path, &options, &data, error));
    return file_take_data(weights, file, data, true, error);
}

/// Pipes and the like: read into memory once. `fd` does not wait, so that nobody waited in open(): the
/// writer may come later, and may be gone again with its few bytes before a second open() here saw it.
/// Devices like /dev/zero never end.
static dray_status add_stream(dray_weights *weights, const char *path, int fd,
                              const drayi_file_facts *facts, dray_error *error)
{
    if (S_ISCHR(facts->mode))
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "open %s: this is a device, not a file; pass a model file, or a pipe",
                         path);
    int code;
    do
        code = weights->env->os->wait_fd(fd, -1);
    while (code == -EINTR);
    if (code < 0)
        return dray_fail_os(error, -code, "ppoll", "wait for a writer of %s", path);
    return stream_take(weights, path, fd, error);
}

// --- formats -------------------------------------------------------------------------------------

static dray_status probe_head(drayi_model_file *file, uint64_t *out_bytes, dray_error *error)
{
    *out_bytes = drayi_min(file->info.bytes, probe_bytes_most);
    return drayi_head_need(&file->head, *out_bytes, error);
}

dray_status drayi_weights_probe(dray_weights *weights, drayi_model_file *file,
                                const dray_format_ops **out, dray_error *error)
{
    uint64_t bytes;
    uint32_t best = 0;
    *out = NULL;
    DRAY_TRY(probe_head(file, &bytes, error));
    for (const dray_format_ops *const *format = weights->env->formats; *format; format++) {
        uint32_t score = (*format)->probe(file->head.bytes, bytes, file->info.bytes);
        if (score > best) {
            best = score;
            *out = *format;
        }
    }
    return DRAY_OK;
}

static dray_status format_named(const dray_weights *weights, const char *name,
                                const dray_format_ops **out, dray_error *error)
{
    char known[128] = "";
    for (const dray_format_ops *const *format = weights->env->formats; *format; format++) {
        if (strcmp((*format)->name, name) == 0) {
            *out = *format;
            return DRAY_OK;
        }
        size_t used = strlen(known);
        snprintf(known + used, sizeof(known) - used, "%s%s", used ? ", " : "", (*format)->name);
    }
    return dray_fail(error, DRAY_E_NOTFOUND, "no format is called \"%s\"; this build knows %s",
                     name, known[0] ? known : "none");
}

/// No format takes it: the one that knows what people passed by mistake says so.
static dray_status refuse_unknown(const dray_weights *weights, const drayi_model_file *file,
                                  dray_error *error)
{
    uint64_t bytes = drayi_min(file->head.available, probe_bytes_most);
    const uint8_t *head = file->head.bytes;
    for (const dray_format_ops *const *format = weights->env->formats; *format; format++) {
        if ((*format)->explain)
            DRAY_TRY((*format)->explain(head, bytes, file->info.bytes, file->info.path, error));
    }
    char shown[3 * 8 + 1] = "";
    for (uint64_t i = 0; i < 8 && i < bytes; i++)
        snprintf(shown + 3 * i, 4, " %02x", head[i]);
    return dray_fail_rule(error, DRAY_E_FORMAT, "weights.unknown", 0,
                          "no format recognises it; its %" PRIu64 " bytes begin with%s",
                          file->info.bytes, bytes ? shown : " nothing");
}

static dray_status input_need(dray_format_input *input, uint64_t upto, dray_error *error)
{
    drayi_model_file *file = input->self;
    DRAY_TRY(drayi_head_need(&file->head, upto, error));
    input->head_bytes = file->head.available;
    return DRAY_OK;
}

dray_status drayi_weights_read_file(dray_weights *weights, const dray_format_ops *format,
                                    dray_error *error)
{
    uint32_t number = (uint32_t)weights->file_count - 1;
    drayi_model_file *file = &weights->files[number];
    dray_format_input input = {
        .self = file,
        .env = weights->env,
        .path = file->info.path,
        .file_bytes = file->info.bytes,
        .flags = (weights->options.lenient ? DRAY_FORMAT_LENIENT : 0u) |
                 (weights->options.bounds_only ? DRAY_FORMAT_BOUNDS_ONLY : 0u),
        .head = file->head.bytes,
        .head_bytes = file->head.available,
        .need = input_need,
    };
    drayi_index_sink sink;
    drayi_index_file_begin(&sink, &weights->index, number, file->info.path, file->info.bytes,
                           &file->format);
    dray_status status = format->read(&input, &sink.sink, error);
    if (status == DRAY_OK)
        status = drayi_index_file_end(&sink, error);
    else
        drayi_index_file_abandon(&sink);
    drayi_head_settle(&file->head);
    file->info.data_offset = file->format.data_offset;
    weights->format = format->name;
    return status;
}

// --- what a file is ------------------------------------------------------------------------------

static const dray_codec_ops *codec_of(const drayi_env *env, const uint8_t *head, uint64_t bytes)
{
    for (const dray_codec_ops *const *codec = env->codecs; codec && *codec; codec++) {
        if ((*codec)->probe(head, bytes) > 0)
            return *codec;
    }
    return NULL;
}

/// A compressed file is decoded into memory, once, straight to where it stays.
static dray_status file_decode(dray_weights *weights, drayi_model_file *file,
                               const dray_codec_ops *codec, dray_error *error)
{
    if (file->keeper || file->head.base > 0)
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "the data is %s; open it decoded (keep_compressed 0)", codec->name);
    dray_region_native native;
    dray_region_get_native(file->region, &native);
    dray_model_data_options options = {.struct_bytes = sizeof(options),
                                       .backing = DRAY_BACKING_HEAP,
                                       .decoded_bytes_max = weights->options.decoded_bytes_max};
    dray_model_data *data;
    DRAY_TRY(dray_model_data_open_fd(weights->context, native.fd, file->info.path, &options, &data,
                                     error));
    weights->codec = codec->name;
    return file_take_data(weights, file, data, true, error);
}

/// A format whose payload is packed behind a raw head is unpacked the same way.
static dray_status file_unpack(dray_weights *weights, drayi_model_file *file,
                               const dray_format_ops *format, dray_error *error)
{
    uint64_t bytes;
    dray_format_packing packing = {0};
    if (!format->packing)
        return DRAY_OK;
    DRAY_TRY(probe_head(file, &bytes, error));
    DRAY_TRY(format->packing(file->head.bytes, bytes, &packing, error));
    if (!packing.codec)
        return DRAY_OK;
    dray_model_data *data;
    DRAY_TRY(drayi_unpack(weights, file, &packing, &data, error));
    weights->codec = packing.codec;
    return file_take_data(weights, file, data, true, error);
}

static dray_status read_as(dray_weights *weights, const dray_format_ops *format, dray_error *error)
{
    DRAY_TRY(file_unpack(weights, &weights->files[0], format, error));
    DRAY_TRY(drayi_weights_read_file(weights, format, error));
    if (weights->files[0].format.split_count > 1)
        DRAY_TRY(drayi_open_splits(weights, format, error));
    return drayi_index_finish(&weights->index, error);
}

/// The whole text of an index.json is the head of its file; the file itself is no part of the model.
static dray_status read_shards(dray_weights *weights, dray_error *error)
{
    drayi_model_file list = weights->files[0];
    weights->file_count = 0;
    dray_status status =
        drayi_open_index_json(weights, list.info.path, list.head.bytes, list.info.bytes, error);
    file_close(&list);
    DRAY_TRY(status);
    return drayi_index_finish(&weights->index, error);
}

static dray_status read_by_content(dray_weights *weights, dray_error *error)
{
    drayi_model_file *file = &weights->files[0];
    uint64_t bytes;
    DRAY_TRY(probe_head(file, &bytes, error));
    const dray_codec_ops *codec = codec_of(weights->env, file->head.bytes, bytes);
    if (codec)
        DRAY_TRY(file_decode(weights, file, codec, error));
    const dray_format_ops *format;
    DRAY_TRY(drayi_weights_probe(weights, file, &format, error));
    if (format)
        return read_as(weights, format, error);
    if (!file->keeper && drayi_looks_like_json(file->head.bytes, bytes)) {
        DRAY_TRY(drayi_head_need(&file->head, file->info.bytes, error));
        if (drayi_is_index_json(file->head.bytes, file->info.bytes))
            return read_shards(weights, error);
    }
    return refuse_unknown(weights, file, error);
}

static dray_status read_model(dray_weights *weights, dray_error *error)
{
    const char *path = weights->files[0].info.path; // in the arena: stays when the files change
    dray_status status;
    if (weights->options.format) {
        const dray_format_ops *format = NULL;
        status = format_named(weights, weights->options.format, &format, error);
        if (status == DRAY_OK)
            status = read_as(weights, format, error);
    } else {
        status = read_by_content(weights, error);
    }
    return status == DRAY_OK ? DRAY_OK : dray_fail_within(error, status, "open %s", path);
}

static dray_status open_path(dray_weights *weights, const char *path, dray_error *error)
{
    const drayi_os *os = weights->env->os;
    int fd;
    drayi_file_facts facts;
    DRAY_TRY(descriptor_open(os, path, &fd, &facts, error));
    dray_status status = DRAY_OK;
    if (S_ISDIR(facts.mode)) {
        char *chosen;
        status = drayi_folder_choose(weights, path, &chosen, error);
        if (status == DRAY_OK)
            status = drayi_weights_add_file(weights, chosen, error);
    } else if (S_ISREG(facts.mode) && facts.bytes == 0) {
        status = stream_take(weights, path, fd, error); // in /proc, a size of 0 says nothing
    } else if (S_ISREG(facts.mode)) {
        drayi_model_file *file;
        status = file_entry(weights, path, &file, error);
        if (status == DRAY_OK)
            status = file_take_fd(weights, file, fd, 0, facts.bytes, error);
    } else {
        status = add_stream(weights, path, fd, &facts, error);
    }
    drayi_close_file(os, fd);
    return status == DRAY_OK ? read_model(weights, error) : status;
}

/// A mapping is read by its file, like any other: through the mapping itself, a file cut short meanwhile
/// would be a signal.
static dray_status open_data(dray_weights *weights, dray_model_data *data, dray_error *error)
{
    const char *path = dray_model_data_path(data);
    drayi_extent extent = drayi_data_extent(data);
    drayi_model_file *file;
    DRAY_TRY(file_entry(weights, path ? path : "memory", &file, error));
    if (dray_model_data_is_mapped(data) && extent.fd >= 0)
        DRAY_TRY(file_take_fd(weights, file, extent.fd, extent.file_offset,
                              dray_model_data_length(data), error));
    else
        DRAY_TRY(file_take_data(weights, file, data, false, error));
    return read_model(weights, error);
}

static dray_status weights_create(dray_context *context, const dray_weights_options *given,
                                  dray_weights **out, dray_error *error)
{
    drayi_env *env = drayi_env_of(context);
    dray_weights_options options;
    DRAY_TRY(drayi_options(&options, sizeof(options), given, "dray_weights_options", error));
    dray_weights *weights = drayi_new(env, dray_weights, error);
    if (!weights)
        return DRAY_E_NOMEM;
    weights->context = context;
    weights->env = env;
    weights->options = options;
    drayi_index_init(&weights->index, env);
    *out = weights;
    return DRAY_OK;
}

dray_status dray_weights_open(dray_context *context, const char *path,
                              const dray_weights_options *options, dray_weights **out_weights,
                              dray_error *error)
{
    dray_weights *weights;
    DRAY_TRY(weights_create(context, options, &weights, error));
    dray_status status = open_path(weights, path, error);
    if (status != DRAY_OK)
        dray_weights_close(weights);
    else
        *out_weights = weights;
    return status;
}

dray_status dray_weights_open_data(dray_context *context, dray_model_data *data,
                                   const dray_weights_options *options, dray_weights **out_weights,
                                   dray_error *error)
{
    dray_weights *weights;
    DRAY_TRY(weights_create(context, options, &weights, error));
    dray_status status = open_data(weights, data, error);
    if (status != DRAY_OK)
        dray_weights_close(weights);
    else
        *out_weights = weights;
    return status;
}

void dray_weights_close(dray_weights *weights)
{
    if (!weights)
        return;
    drayi_env *env = weights->env;
    for (uint64_t i = 0; i < weights->file_count; i++)
        file_close(&weights->files[i]);
    drayi_free(env, weights->files, (size_t)weights->file_room * sizeof(*weights->files));
    drayi_index_free(&weights->index);
    drayi_free(env, weights, sizeof(*weights));
}
