/// The raw head and what the codec makes of the rest come into memory that grows in place, so nothing is
/// ever copied a second time, and a declared size is believed only as far as the stream keeps its word.
#include "weights/unpack.h"

#include "base/checked.h"
#include "weights/byte_sink.h"

#include <inttypes.h>
#include <string.h>

enum { input_room = 256 << 10 };

typedef struct unpacking {
    drayi_env *env;
    const drayi_model_file *file;
    const dray_codec_ops *codec;
    dray_decoder *decoder;
    drayi_sink sink;
    uint8_t *input;
    uint64_t file_position;
    int fd;
} unpacking;

static dray_status codec_find(const drayi_env *env, const char *name, const dray_codec_ops **out,
                              dray_error *error)
{
    for (const dray_codec_ops *const *codec = env->codecs; codec && *codec; codec++) {
        if (strcmp((*codec)->name, name) == 0) {
            *out = *codec;
            return DRAY_OK;
        }
    }
    return dray_fail(error, DRAY_E_UNSUPPORTED,
                     "the file is packed with %s, which this build was made without", name);
}

static dray_status input_fill(unpacking *work, dray_decode_step *step, dray_error *error)
{
    uint64_t left = work->file->info.bytes - work->file_position;
    uint64_t bytes = drayi_min(left, input_room);
    DRAY_TRY(drayi_pread_all(work->env->os, work->fd, work->file->info.path, work->input, bytes,
                             work->file_position, NULL, error));
    work->file_position += bytes;
    step->input = work->input;
    step->input_bytes = bytes;
    step->input_ended = bytes == left;
    return DRAY_OK;
}

/// One step into what room there is. No progress and no end: the output is full, or the input stops short.
static dray_status decode_step(unpacking *work, dray_decode_step *step, dray_error *error)
{
    drayi_sink *sink = &work->sink;
    uint64_t room = 0;
    if (sink->used < sink->limit)
        DRAY_TRY(drayi_sink_room(sink, &room, error));
    uint64_t input_before = step->input_bytes;
    step->output = sink->at + sink->used;
    step->output_bytes = room;
    DRAY_TRY(work->codec->step(work->decoder, step, error));
    uint64_t produced = room - step->output_bytes;
    sink->used += produced;
    if (produced > 0 || step->input_bytes != input_before)
        return DRAY_OK;
    if (room == 0 && !step->done)
        return dray_fail(error, DRAY_E_NOSPACE,
                         "unpack: more than %" PRIu64 " bytes come out of %" PRIu64
                         "; raise decoded_bytes_max if that is expected",
                         sink->limit, work->file->info.bytes);
    if (!step->done)
        return dray_fail(error, DRAY_E_CORRUPT, "unpack: the stream ends early");
    return step->input_bytes == 0
               ? DRAY_OK
               : dray_fail(error, DRAY_E_CORRUPT, "unpack: bytes follow the end of the stream");
}

static dray_status decode_all(unpacking *work, dray_error *error)
{
    dray_decode_step step = {0};
    while (!(step.done && step.input_ended && step.input_bytes == 0)) {
        if (step.input_bytes == 0 && !step.input_ended)
            DRAY_TRY(input_fill(work, &step, error));
        DRAY_TRY(decode_step(work, &step, error));
    }
    return DRAY_OK;
}

/// What unmaps the bytes when the model is closed.
typedef struct unpacked {
    drayi_env *env;
    void *mapping;
    uint64_t mapping_bytes;
} unpacked;

static void unpacked_release(void *self, void *pointer, uint64_t bytes)
{
    (void)pointer, (void)bytes;
    unpacked *owner = self;
    owner->env->os->unmap(owner->mapping, (size_t)owner->mapping_bytes);
    drayi_free(owner->env, owner, sizeof(*owner));
}

static dray_status output_adopt(unpacking *work, dray_context *context, dray_model_data **out,
                                dray_error *error)
{
    drayi_sink *sink = &work->sink;
    unpacked *owner = drayi_new(work->env, unpacked, error);
    if (!owner)
        return DRAY_E_NOMEM;
    *owner = (unpacked){work->env, sink->mapping, sink->mapping_bytes};
    sink->mapping = NULL; // the owner's, also when the call fails
    return dray_model_data_from_memory(context, sink->at, sink->used, DRAY_BACKING_ADOPTED,
                                       unpacked_release, owner, out, error);
}

static dray_status unpack_run(unpacking *work, dray_weights *weights,
                              const dray_format_packing *packing, dray_model_data **out,
                              dray_error *error)
{
    drayi_sink_options options = {0};
    if (!drayi_add(drayi_sink_cap(work->env, weights->options.decoded_bytes_max),
                   packing->raw_bytes, &options.limit))
        options.limit = UINT64_MAX;
    DRAY_TRY(codec_find(work->env, packing->codec, &work->codec, error));
    DRAY_TRY(drayi_sink_open(&work->sink, work->env, work->file->info.path, &options, error));
    work->input = drayi_alloc(work->env, input_room, error);
    if (!work->input)
        return DRAY_E_NOMEM;
    DRAY_TRY(work->codec->open(work->env, &work->decoder, error));
    uint64_t room;
    DRAY_TRY(drayi_sink_room(&work->sink, &room, error)); // far more than a raw head of 4096 bytes
    memcpy(work->sink.at, work->file->head.bytes, (size_t)packing->raw_bytes);
    work->sink.used = work->file_position = packing->raw_bytes;
    DRAY_TRY(decode_all(work, error));
    DRAY_TRY(drayi_sink_finish(&work->sink, error));
    return output_adopt(work, weights->context, out, error);
}

dray_status drayi_unpack(dray_weights *weights, const drayi_model_file *file,
                         const dray_format_packing *packing, dray_model_data **out_data,
                         dray_error *error)
{
    if (file->keeper)
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "the data is packed with %s: open it from its file", packing->codec);
    if (packing->raw_bytes > drayi_min(file->head.available, 4096))
        return dray_fail(error, DRAY_E_FORMAT, "unpack: a raw head of %" PRIu64 " bytes in %" PRIu64,
                         packing->raw_bytes, file->info.bytes);
    dray_region_native native;
    dray_region_get_native(file->region, &native);
    unpacking work = {.env = weights->env, .file = file, .fd = native.fd};
    dray_status status = unpack_run(&work, weights, packing, out_data, error);
    if (work.decoder)
        work.codec->close(work.decoder);
    drayi_sink_free(&work.sink);
    drayi_free(work.env, work.input, input_room);
    return status;
}
