/// zstd frames, through the stable streaming interface of libzstd.
///
/// A frame that lies whole in the input, says its size and fits the room is decoded straight into the
/// output; any other passes through a window inside the library. A frame may ask for a window of up to
/// 2 GiB, so windows are held to 128 MiB, the default of the zstd program.
#include "base/env.h"
#include "format/codec_frames.h"

#include <zstd.h>
#include <zstd_errors.h>

enum { window_log_max = 27 };

static const uint32_t zstd_magic = ZSTD_MAGICNUMBER;

struct dray_decoder {
    drayi_env *env;
    ZSTD_DCtx *stream;
    drayi_frames frames;
    uint8_t magic[4]; // of the present frame, as far as it has been seen
};

static uint32_t zstd_probe(const uint8_t *head, uint64_t head_bytes)
{
    uint64_t at;
    return drayi_frames_begin(head, head_bytes, zstd_magic, &at) ? 100 : 0;
}

static uint64_t zstd_decoded_bytes(const uint8_t *head, uint64_t head_bytes)
{
    uint64_t at;
    if (!drayi_frames_begin(head, head_bytes, zstd_magic, &at))
        return DRAY_UNKNOWN;
    unsigned long long bytes = ZSTD_getFrameContentSize(head + at, (size_t)(head_bytes - at));
    return bytes == ZSTD_CONTENTSIZE_ERROR ? DRAY_UNKNOWN
                                           : bytes; // "unknown" is UINT64_MAX there too
}

_Static_assert(ZSTD_CONTENTSIZE_UNKNOWN == DRAY_UNKNOWN, "an unknown size needs no translation");

static void zstd_close(dray_decoder *decoder)
{
    ZSTD_freeDCtx(decoder->stream);
    drayi_free(decoder->env, decoder, sizeof(*decoder));
}

static dray_status zstd_open(drayi_env *env, dray_decoder **out_decoder, dray_error *error)
{
    dray_decoder *decoder = drayi_new(env, dray_decoder, error);
    if (!decoder)
        return DRAY_E_NOMEM;
    decoder->env = env;
    decoder->stream = ZSTD_createDCtx();
    if (!decoder->stream ||
        ZSTD_isError(ZSTD_DCtx_setParameter(decoder->stream, ZSTD_d_windowLogMax, window_log_max))) {
        zstd_close(decoder);
        return dray_fail(error, DRAY_E_NOMEM, "zstd: no memory for a decoder");
    }
    *out_decoder = decoder;
    return DRAY_OK;
}

static dray_status zstd_fail(const drayi_frames *frames, size_t result, dray_error *error)
{
    switch (ZSTD_getErrorCode(result)) {
    case ZSTD_error_memory_allocation:
        return dray_fail(error, DRAY_E_NOMEM, "zstd: no memory for a window");
    case ZSTD_error_frameParameter_windowTooLarge:
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "zstd: the frame wants a window above 128 MiB; compress it without --long");
    case ZSTD_error_dictionary_wrong:
        return dray_fail(error, DRAY_E_UNSUPPORTED, "zstd: the frame wants a dictionary");
    default:
        return drayi_frames_corrupt(frames, "zstd", ZSTD_getErrorName(result), error);
    }
}

/// libzstd may also read what zstd wrote before its format was settled in 2016, by other decoders with
/// other limits. Only frames of today, and those to be skipped, get there.
static bool frame_of_today(dray_decoder *decoder, const dray_decode_step *step)
{
    uint64_t before = decoder->frames.frame_bytes, known = drayi_min(4, before + step->input_bytes);
    for (uint64_t i = before; i < known && i < sizeof(decoder->magic); i++)
        decoder->magic[i] = step->input[i - before];
    uint32_t mask = known < 4 ? (UINT32_C(1) << (8 * known)) - 1 : UINT32_MAX;
    uint32_t seen = drayi_load_u32(decoder->magic, false) & mask;
    return seen == (zstd_magic & mask) ||
           (seen & ~UINT32_C(0xF)) == (ZSTD_MAGIC_SKIPPABLE_START & mask);
}

static dray_status zstd_step(dray_decoder *decoder, dray_decode_step *step, dray_error *error)
{
    drayi_frames *frames = &decoder->frames;
    bool moved = true;
    while (moved && drayi_frames_ready(frames, step)) {
        if (frames->frame_bytes < 4 && !frame_of_today(decoder, step))
            return frames->complete > 0
                       ? drayi_frames_trailing(frames, "zstd", error)
                       : drayi_frames_corrupt(frames, "zstd", "this is no zstd frame", error);
        ZSTD_inBuffer input = {step->input, (size_t)step->input_bytes, 0};
        ZSTD_outBuffer output = {step->output, (size_t)step->output_bytes, 0};
        size_t result = ZSTD_decompressStream(decoder->stream, &output, &input);
        moved = drayi_frames_advance(frames, step, input.pos, output.pos);
        if (ZSTD_isError(result))
            return zstd_fail(frames, result, error);
        if (result == 0 && frames->frame_bytes > 0)
            drayi_frames_ended(frames);
    }
    return drayi_frames_pause(frames, "zstd", step, error);
}

const dray_codec_ops drayi_codec_zstd = {
    .abi = DRAY_CODEC_ABI,
    .name = "zstd",
    .probe = zstd_probe,
    .decoded_bytes = zstd_decoded_bytes,
    .open = zstd_open,
    .step = zstd_step,
    .close = zstd_close,
};
