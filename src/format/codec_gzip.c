/// gzip members (RFC 1952), through zlib, which checks CRC and length of each. zlib's own memory (40 KB)
/// comes from the context's allocator.
#include "base/env.h"
#include "format/codec_frames.h"

#include <zlib.h>

enum {
    gzip_window_bits = 15 + 16, // the largest window; gzip headers only
    step_bytes_max = 1 << 30    // zlib counts in unsigned int
};

struct dray_decoder {
    drayi_env *env;
    z_stream stream;
    bool opened;
    drayi_frames frames;
};

static uint32_t gzip_probe(const uint8_t *head, uint64_t head_bytes)
{
    bool magic = head_bytes >= 10 && head[0] == 0x1F && head[1] == 0x8B && head[2] == 8;
    // A safetensors header of 559,903 bytes begins with the same three; byte 8 (extra flags: 0, 2 or 4) is then the '{' of its JSON.
    return magic && (head[3] & 0xE0) == 0 && head[8] != '{' ? 100 : 0;
}

/// A member says its size, modulo 2^32, behind its data.
static uint64_t gzip_decoded_bytes(const uint8_t *head, uint64_t head_bytes)
{
    (void)head;
    (void)head_bytes;
    return DRAY_UNKNOWN;
}

/// zlib does not say at the end how many bytes it asked for: they are kept in front.
typedef union gzip_block {
    size_t bytes;
    max_align_t aligned;
} gzip_block;

static void *gzip_alloc(void *self, unsigned count, unsigned bytes)
{
    size_t total = sizeof(gzip_block) + (size_t)count * bytes;
    gzip_block *block = drayi_alloc(self, total, NULL);
    if (!block)
        return NULL;
    block->bytes = total;
    return block + 1;
}

static void gzip_free(void *self, void *pointer)
{
    gzip_block *block = (gzip_block *)pointer - 1;
    drayi_free(self, block, block->bytes);
}

static void gzip_close(dray_decoder *decoder)
{
    if (decoder->opened)
        inflateEnd(&decoder->stream);
    drayi_free(decoder->env, decoder, sizeof(*decoder));
}

static dray_status gzip_open(drayi_env *env, dray_decoder **out_decoder, dray_error *error)
{
    dray_decoder *decoder = drayi_new(env, dray_decoder, error);
    if (!decoder)
        return DRAY_E_NOMEM;
    decoder->env = env;
    decoder->stream = (z_stream){.zalloc = gzip_alloc, .zfree = gzip_free, .opaque = env};
    decoder->opened = inflateInit2(&decoder->stream, gzip_window_bits) == Z_OK;
    if (!decoder->opened) {
        gzip_close(decoder);
        return dray_fail(error, DRAY_E_NOMEM, "gzip: no memory for a decoder");
    }
    *out_decoder = decoder;
    return DRAY_OK;
}

/// One call of inflate(); *out_moved: did anything go in or come out?
static int inflate_some(dray_decoder *decoder, dray_decode_step *step, bool *out_moved)
{
    uint8_t nothing = 0; // inflate() refuses a NULL output even when it has no room
    z_stream *stream = &decoder->stream;
    unsigned input_bytes = (unsigned)drayi_min(step->input_bytes, step_bytes_max);
    unsigned output_bytes = (unsigned)drayi_min(step->output_bytes, step_bytes_max);
    stream->next_in = (uint8_t *)(uintptr_t)step->input; // zlib does not write there
    stream->avail_in = input_bytes;
    stream->next_out = step->output ? step->output : &nothing;
    stream->avail_out = output_bytes;
    int result = inflate(stream, Z_NO_FLUSH);
    *out_moved = drayi_frames_advance(&decoder->frames, step, input_bytes - stream->avail_in,
                                      output_bytes - stream->avail_out);
    return result;
}

static dray_status gzip_fail(const dray_decoder *decoder, int result, bool between,
                             dray_error *error)
{
    if (result == Z_MEM_ERROR)
        return dray_fail(error, DRAY_E_NOMEM, "gzip: no memory for a window");
    if (between)
        return drayi_frames_trailing(&decoder->frames, "gzip", error);
    const char *why = decoder->stream.msg ? decoder->stream.msg : zError(result);
    return drayi_frames_corrupt(&decoder->frames, "gzip", why, error);
}

static dray_status gzip_step(dray_decoder *decoder, dray_decode_step *step, dray_error *error)
{
    drayi_frames *frames = &decoder->frames;
    bool moved = true;
    while (moved && drayi_frames_ready(frames, step)) {
        bool between = frames->frame_bytes == 0 && frames->complete > 0;
        int result = inflate_some(decoder, step, &moved);
        if (result == Z_STREAM_END) {
            drayi_frames_ended(frames);
            result = inflateReset(&decoder->stream);
        }
        if (result != Z_OK && result != Z_BUF_ERROR) // BUF_ERROR: no progress, which is no error
            return gzip_fail(decoder, result, between, error);
    }
    return drayi_frames_pause(frames, "gzip", step, error);
}

const dray_codec_ops drayi_codec_gzip = {
    .abi = DRAY_CODEC_ABI,
    .name = "gzip",
    .probe = gzip_probe,
    .decoded_bytes = gzip_decoded_bytes,
    .open = gzip_open,
    .step = gzip_step,
    .close = gzip_close,
};
