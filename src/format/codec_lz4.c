/// lz4 frames, through liblz4's frame interface. The output is told to be stable, so that blocks that
/// refer to earlier ones find them there and no copy is kept.
#include "base/env.h"
#include "format/codec_frames.h"

#include <lz4frame.h>

static const uint32_t lz4_magic = 0x184D2204;

struct dray_decoder {
    drayi_env *env;
    LZ4F_dctx *stream;
    drayi_frames frames;
};

static uint32_t lz4_probe(const uint8_t *head, uint64_t head_bytes)
{
    uint64_t at;
    return drayi_frames_begin(head, head_bytes, lz4_magic, &at) ? 100 : 0;
}

/// Magic number, a byte of flags (bit 3: the size is there), a byte on blocks, the size.
static uint64_t lz4_decoded_bytes(const uint8_t *head, uint64_t head_bytes)
{
    uint64_t at;
    if (!drayi_frames_begin(head, head_bytes, lz4_magic, &at) || !drayi_inside(at, 14, head_bytes))
        return DRAY_UNKNOWN;
    return head[at + 4] & 0x08 ? drayi_load_u64(head + at + 6, false) : DRAY_UNKNOWN;
}

static void lz4_close(dray_decoder *decoder)
{
    LZ4F_freeDecompressionContext(decoder->stream);
    drayi_free(decoder->env, decoder, sizeof(*decoder));
}

static dray_status lz4_open(drayi_env *env, dray_decoder **out_decoder, dray_error *error)
{
    dray_decoder *decoder = drayi_new(env, dray_decoder, error);
    if (!decoder)
        return DRAY_E_NOMEM;
    decoder->env = env;
    if (LZ4F_isError(LZ4F_createDecompressionContext(&decoder->stream, LZ4F_VERSION))) {
        lz4_close(decoder);
        return dray_fail(error, DRAY_E_NOMEM, "lz4: no memory for a decoder");
    }
    *out_decoder = decoder;
    return DRAY_OK;
}

static dray_status lz4_step(dray_decoder *decoder, dray_decode_step *step, dray_error *error)
{
    const LZ4F_decompressOptions_t options = {.stableDst = 1};
    drayi_frames *frames = &decoder->frames;
    bool moved = true;
    while (moved && drayi_frames_ready(frames, step)) {
        size_t taken = (size_t)step->input_bytes, given = (size_t)step->output_bytes;
        bool between = frames->frame_bytes == 0 && frames->complete > 0;
        size_t result =
            LZ4F_decompress(decoder->stream, step->output, &given, step->input, &taken, &options);
        if (LZ4F_isError(result))
            return between ? drayi_frames_trailing(frames, "lz4", error)
                           : drayi_frames_corrupt(frames, "lz4", LZ4F_getErrorName(result), error);
        moved = drayi_frames_advance(frames, step, taken, given);
        if (result == 0 && frames->frame_bytes > 0)
            drayi_frames_ended(frames);
    }
    return drayi_frames_pause(frames, "lz4", step, error);
}

const dray_codec_ops drayi_codec_lz4 = {
    .abi = DRAY_CODEC_ABI,
    .name = "lz4",
    .probe = lz4_probe,
    .decoded_bytes = lz4_decoded_bytes,
    .open = lz4_open,
    .step = lz4_step,
    .close = lz4_close,
};
