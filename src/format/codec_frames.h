/// What the codecs share: a count of what went in and came out, the words for a stream that is broken,
/// and frames to be skipped (zstd and lz4 have the same).
#ifndef DRAY_FORMAT_CODEC_FRAMES_H
#define DRAY_FORMAT_CODEC_FRAMES_H

#include "base/reader.h"
#include "dray/spi/codec.h"

#include <inttypes.h>

typedef struct drayi_frames {
    uint64_t consumed, produced; // bytes, over all steps
    uint64_t complete;           // frames that ended and were verified
    uint64_t frame_bytes;        // consumed of the frame that is not complete; 0: between frames
    bool full;                   // the library filled all of its room, and may hold more
    bool blocked;                // given input and no room, it did not move
} drayi_frames;

/// Is there anything a call of the library could do?
static inline bool drayi_frames_ready(const drayi_frames *frames, const dray_decode_step *step)
{
    if (step->output_bytes == 0)
        return step->input_bytes > 0 && !frames->blocked; // libzstd gives up when asked too often
    return step->input_bytes > 0 || frames->full;
}

/// Advances the step by what a library took and gave. False: neither.
static inline bool drayi_frames_advance(drayi_frames *frames, dray_decode_step *step,
                                        uint64_t taken, uint64_t given)
{
    if (taken) // what is absent stays NULL
        step->input += taken;
    step->input_bytes -= taken;
    step->output_bytes -= given;
    if (given)
        step->output += given;
    frames->consumed += taken;
    frames->produced += given;
    frames->frame_bytes += taken;
    frames->full = step->output_bytes == 0;
    frames->blocked = frames->full && taken == 0 && given == 0;
    return taken > 0 || given > 0;
}

static inline void drayi_frames_ended(drayi_frames *frames)
{
    frames->complete++;
    frames->frame_bytes = 0;
    frames->full = frames->blocked = false;
}

/// The data are wrong; `why` is the library's word for it.
static inline dray_status drayi_frames_corrupt(const drayi_frames *frames, const char *codec,
                                               const char *why, dray_error *error)
{
    return dray_fail_rule(error, DRAY_E_CORRUPT, "codec.corrupt", frames->consumed,
                          "%s: %s, near byte %" PRIu64 " of the compressed data", codec, why,
                          frames->consumed);
}

/// What stands behind the last frame is not a frame.
static inline dray_status drayi_frames_trailing(const drayi_frames *frames, const char *codec,
                                                dray_error *error)
{
    return dray_fail_rule(error, DRAY_E_CORRUPT, "codec.trailing", frames->consumed,
                          "%s: what follows the frame that ends near byte %" PRIu64
                          " is not another frame",
                          codec, frames->consumed);
}

/// Called when the library moves no more: sets `done`, or finds that the stream ends early. (With no
/// room left a missing end cannot be told from missing room: the caller sees neither done nor progress.)
static inline dray_status drayi_frames_pause(const drayi_frames *frames, const char *codec,
                                             dray_decode_step *step, dray_error *error)
{
    step->done = frames->complete > 0 && frames->frame_bytes == 0 && step->input_bytes == 0;
    if (step->done || !step->input_ended || step->output_bytes == 0)
        return DRAY_OK;
    return dray_fail_rule(error, DRAY_E_CORRUPT, "codec.truncated", frames->consumed,
                          "%s: ends early, after %" PRIu64 " bytes (%" PRIu64 " decoded)", codec,
                          frames->consumed, frames->produced);
}

/// Is the first frame that is not to be skipped one with this magic number, as far as `head` shows?
/// Writes where it begins.
static inline bool drayi_frames_begin(const uint8_t *head, uint64_t head_bytes, uint32_t magic,
                                      uint64_t *out_at)
{
    uint64_t at = 0;
    while (drayi_inside(at, 8, head_bytes) &&
           (drayi_load_u32(head + at, false) & ~UINT32_C(0xF)) == UINT32_C(0x184D2A50))
        at += 8 + (uint64_t)drayi_load_u32(head + at + 4, false);
    *out_at = at;
    return drayi_inside(at, 4, head_bytes) && drayi_load_u32(head + at, false) == magic;
}

#endif
