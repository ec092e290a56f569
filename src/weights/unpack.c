/// Address space for the cap is reserved, memory is used only where bytes come out; so a declared size
/// is believed only as far as the stream keeps its word, and nothing is ever copied a second time.
#include "weights/unpack.h"

#include "base/checked.h"

#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

enum { input_room = 256 << 10 };

static const uint64_t cap_default = UINT64_C(64) << 30;

typedef struct unpacking {
    drayi_env *env;
    const drayi_model_file *file;
    const dray_codec_ops *codec;
    dray_decoder *decoder;
    uint8_t *output;
    uint64_t output_room, output_bytes;
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

/// What decoding may use: the caller's cap, or the default, but never more than there is memory.
static uint64_t output_cap(const dray_weights *weights, uint64_t raw_bytes)
{
    uint64_t cap =
        weights->options.decoded_bytes_max ? weights->options.decoded_bytes_max : cap_default;
    drayi_memory_facts facts;
    if (weights->env->os->memory_facts(&facts) == 0)
        cap = drayi_min(cap, facts.available_bytes);
    return drayi_add(cap, raw_bytes, &cap) ? cap : UINT64_MAX;
}

static dray_status output_reserve(unpacking *work, uint64_t cap, dray_error *error)
{
    const drayi_os *os = work->env->os;
    uint64_t page = os->page_bytes(), room;
    if (!drayi_round_up(drayi_max(cap, 1), page, &room))
        return dray_fail(error, DRAY_E_NOMEM, "unpack: a cap of %" PRIu64 " bytes overflows", cap);
    int code = 0;
    void *at = os->map(NULL, (size_t)room, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0, &code);
    if (!at)
        return dray_fail_os(error, -code, "mmap",
                            "unpack: %" PRIu64 " bytes of address space (see decoded_bytes_max)",
                            room);
    work->output = at;
    work->output_room = room;
    return DRAY_OK;
}

static dray_status input_fill(unpacking *work, dray_decode_step *step, dray_error *error)
{
    uint64_t left = work->file->info.bytes - work->file_position,
             bytes = drayi_min(left, input_room);
    DRAY_TRY(drayi_pread_all(work->env->os, work->fd, work->file->info.path, work->input, bytes,
                             work->file_position, NULL, error));
    work->file_position += bytes;
    step->input = work->input;
    step->input_bytes = bytes;
    step->input_ended = bytes == left;
    return DRAY_OK;
}

static dray_status output_is_full(const unpacking *work, uint64_t cap, dray_error *error)
{
    return dray_fail(error, DRAY_E_NOSPACE,
                     "unpack: more than %" PRIu64 " bytes come out of %" PRIu64
                     "; raise decoded_bytes_max if that is expected",
                     cap, work->file->info.bytes);
}

static dray_status decode_all(unpacking *work, uint64_t cap, dray_error *error)
{
    dray_decode_step step = {0};
    while (!(step.done && step.input_ended && step.input_bytes == 0)) {
        if (step.input_bytes == 0 && !step.input_ended)
            DRAY_TRY(input_fill(work, &step, error));
        step.output = work->output + work->output_bytes;
        step.output_bytes = cap - work->output_bytes;
        uint64_t input_before = step.input_bytes, output_before = step.output_bytes;
        DRAY_TRY(work->codec->step(work->decoder, &step, error));
        work->output_bytes += output_before - step.output_bytes;
        bool moved = step.input_bytes != input_before || step.output_bytes != output_before;
        if (!moved && !step.done)
            return step.output_bytes == 0
                       ? output_is_full(work, cap, error)
                       : dray_fail(error, DRAY_E_CORRUPT, "unpack: the stream ends early");
        if (!moved && step.done && step.input_bytes > 0)
            return dray_fail(error, DRAY_E_CORRUPT, "unpack: bytes follow the end of the stream");
    }
    return DRAY_OK;
}

static void output_unmap(void *self, void *pointer, uint64_t bytes)
{
    const drayi_os *os = ((drayi_env *)self)->os;
    uint64_t page = os->page_bytes();
    os->unmap(pointer, (size_t)((drayi_max(bytes, 1) + page - 1) / page * page));
}

/// Gives back the address space that was not needed; what is left belongs to the model data.
static dray_status output_adopt(unpacking *work, dray_context *context, dray_model_data **out,
                                dray_error *error)
{
    const drayi_os *os = work->env->os;
    uint64_t page = os->page_bytes(),
             kept = (drayi_max(work->output_bytes, 1) + page - 1) / page * page;
    if (kept < work->output_room)
        os->unmap(work->output + kept, (size_t)(work->output_room - kept));
    uint8_t *bytes = work->output;
    work->output = NULL;
    return dray_model_data_from_memory(context, bytes, work->output_bytes, DRAY_BACKING_ADOPTED,
                                       output_unmap, work->env, out, error);
}

static dray_status unpack_run(unpacking *work, dray_weights *weights,
                              const dray_format_packing *packing, dray_model_data **out,
                              dray_error *error)
{
    uint64_t cap = output_cap(weights, packing->raw_bytes);
    DRAY_TRY(codec_find(work->env, packing->codec, &work->codec, error));
    DRAY_TRY(output_reserve(work, cap, error));
    work->input = drayi_alloc(work->env, input_room, error);
    if (!work->input)
        return DRAY_E_NOMEM;
    DRAY_TRY(work->codec->open(work->env, &work->decoder, error));
    memcpy(work->output, work->file->head.bytes, (size_t)packing->raw_bytes);
    work->output_bytes = work->file_position = packing->raw_bytes;
    DRAY_TRY(decode_all(work, cap, error));
    return output_adopt(work, weights->context, out, error);
}

dray_status drayi_unpack(dray_weights *weights, const drayi_model_file *file,
                         const dray_format_packing *packing, dray_model_data **out_data,
                         dray_error *error)
{
    if (file->keeper)
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "the data is packed with %s: open it from its file", packing->codec);
    if (packing->raw_bytes > file->head.available)
        return dray_fail(error, DRAY_E_FORMAT, "unpack: a raw head of %" PRIu64 " bytes in %" PRIu64,
                         packing->raw_bytes, file->info.bytes);
    dray_region_native native;
    dray_region_get_native(file->region, &native);
    unpacking work = {.env = weights->env, .file = file, .fd = native.fd};
    dray_status status = unpack_run(&work, weights, packing, out_data, error);
    if (work.decoder)
        work.codec->close(work.decoder);
    if (work.output)
        work.env->os->unmap(work.output, (size_t)work.output_room);
    drayi_free(work.env, work.input, input_room);
    return status;
}
