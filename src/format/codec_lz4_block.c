/// One LZ4 block behind its decoded size (u32 LE), as lz4_flex::compress_prepend_size writes it; APR
/// files are packed like this.
///
/// liblz4 wants a block whole; this decoder takes it in any pieces and needs no buffer, because what a
/// match refers to stands in the output. After the LZ4 block format description: a sequence is a token
/// (lengths of literals and match, four bits each), more length bytes while they are 255, the literals,
/// a u16 LE distance, more length bytes for the match. The last sequence ends behind its literals.
#include "base/env.h"
#include "format/codec_frames.h"

#include <string.h>

typedef enum block_stage {
    stage_size = 0, // the four bytes of the decoded size
    stage_token,
    stage_literal_length,
    stage_literals,
    stage_distance,
    stage_match_length,
    stage_match,
    stage_end
} block_stage;

enum { nibble_more = 15, match_least = 4, short_copy = 16 };

struct dray_decoder {
    drayi_env *env;
    drayi_frames frames; // the block counts as one frame
    block_stage stage;
    uint32_t gathered, gathered_bytes; // of a number that takes several bytes
    uint32_t distance;
    uint8_t token;
    uint64_t decoded_bytes; // as the block says
    uint64_t left;          // of the literals or the match
};

static uint32_t block_probe(const uint8_t *head, uint64_t head_bytes)
{
    (void)head;
    (void)head_bytes;
    return 0; // nothing to know it by
}

static uint64_t block_decoded_bytes(const uint8_t *head, uint64_t head_bytes)
{
    return head_bytes >= 4 ? drayi_load_u32(head, false) : DRAY_UNKNOWN;
}

static dray_status block_open(drayi_env *env, dray_decoder **out_decoder, dray_error *error)
{
    dray_decoder *decoder = drayi_new(env, dray_decoder, error);
    if (!decoder)
        return DRAY_E_NOMEM;
    decoder->env = env;
    *out_decoder = decoder;
    return DRAY_OK;
}

static void block_close(dray_decoder *decoder)
{
    drayi_free(decoder->env, decoder, sizeof(*decoder));
}

/// Gathers a number of `bytes` bytes; true when it is complete.
static bool gather(dray_decoder *decoder, dray_decode_step *step, uint32_t bytes)
{
    while (decoder->gathered_bytes < bytes && step->input_bytes > 0) {
        decoder->gathered |= (uint32_t)*step->input << (8 * decoder->gathered_bytes++);
        drayi_frames_advance(&decoder->frames, step, 1, 0);
    }
    return decoder->gathered_bytes == bytes;
}

static uint32_t gathered_take(dray_decoder *decoder)
{
    uint32_t number = decoder->gathered;
    decoder->gathered = decoder->gathered_bytes = 0;
    return number;
}

/// Adds length bytes until one is below 255; true when that one came.
static bool read_length(dray_decoder *decoder, dray_decode_step *step)
{
    while (step->input_bytes > 0) {
        uint8_t byte = *step->input;
        drayi_frames_advance(&decoder->frames, step, 1, 0);
        decoder->left += byte;
        if (byte != 255)
            return true;
    }
    return false;
}

/// Copies what both sides allow; true when all literals are out. Short ones are copied with one fixed
/// size, over what lies in the room behind them.
static bool copy_literals(dray_decoder *decoder, dray_decode_step *step)
{
    uint64_t bytes = drayi_min(decoder->left, drayi_min(step->input_bytes, step->output_bytes));
    if (bytes <= short_copy && step->input_bytes >= short_copy && step->output_bytes >= short_copy)
        memcpy(step->output, step->input, short_copy);
    else if (bytes > 0)
        memcpy(step->output, step->input, (size_t)bytes);
    drayi_frames_advance(&decoder->frames, step, bytes, bytes);
    decoder->left -= bytes;
    return decoder->left == 0;
}

/// Writes a match, which may reach into what it writes itself: then its period doubles with every
/// copy. `spare` bytes behind it may be overwritten.
static inline void match_write(uint8_t *to, uint64_t period, uint64_t bytes, uint64_t spare)
{
    const uint8_t *from = to - period;
    if (bytes <= short_copy && period >= short_copy && bytes + spare >= short_copy) {
        memcpy(to, from, short_copy);
        return;
    }
    for (; bytes > period; bytes -= period, to += period, period *= 2)
        memcpy(to, from, (size_t)period);
    memcpy(to, from, (size_t)bytes);
}

/// The same for a match; true when all of it is out.
static bool copy_match(dray_decoder *decoder, dray_decode_step *step)
{
    uint64_t bytes = drayi_min(decoder->left, step->output_bytes);
    if (bytes > 0) // room 0 may have no address
        match_write(step->output, decoder->distance, bytes, step->output_bytes - bytes);
    drayi_frames_advance(&decoder->frames, step, 0, bytes);
    decoder->left -= bytes;
    return decoder->left == 0;
}

/// The literals or the match just announced must fit into the decoded size.
static dray_status check_left(const dray_decoder *decoder, dray_error *error)
{
    if (decoder->left <= decoder->decoded_bytes - decoder->frames.produced)
        return DRAY_OK;
    return drayi_frames_corrupt(&decoder->frames, "lz4_block", "more comes out than the block says",
                                error);
}

static dray_status begin_match(dray_decoder *decoder, dray_error *error)
{
    decoder->distance = gathered_take(decoder);
    if (decoder->distance == 0 || decoder->distance > decoder->frames.produced)
        return drayi_frames_corrupt(&decoder->frames, "lz4_block",
                                    "a match refers to bytes before the first", error);
    uint32_t length = decoder->token & nibble_more;
    decoder->left = length + match_least;
    decoder->stage = length == nibble_more ? stage_match_length : stage_match;
    return DRAY_OK;
}

/// A nibble's further length bytes, as far as `end`; false: they do not end before.
static inline bool length_more(const uint8_t **at, const uint8_t *end, uint64_t *length)
{
    if (*length != nibble_more)
        return true;
    while (*at < end) {
        uint8_t byte = *(*at)++;
        *length += byte;
        if (byte != 255)
            return true;
    }
    return false;
}

/// Whole sequences while both sides have plenty, which is most of a block: no stage is kept, and short
/// copies have one fixed size, over what lies in the room behind them. What is near an end or wrong is
/// left to the stages: nothing of a sequence counts before all of it is done.
static void run_sequences(dray_decoder *decoder, dray_decode_step *step)
{
    enum { spare = 32 }; // more than a fixed-size copy, a distance and a token together
    if (step->input_bytes <= spare || step->output_bytes <= spare)
        return;
    const uint8_t *input = step->input, *input_end = input + step->input_bytes;
    uint8_t *output = step->output;
    uint64_t produced = decoder->frames.produced;
    uint64_t room = drayi_min(step->output_bytes, decoder->decoded_bytes - produced);
    while (input_end - input > spare && room > spare) {
        const uint8_t *at = input + 1;
        uint64_t literals = input[0] >> 4, match = input[0] & nibble_more;
        if (!length_more(&at, input_end, &literals) || room - spare < literals ||
            (uint64_t)(input_end - at) < literals + spare)
            break;
        memcpy(output, at, literals <= short_copy ? short_copy : (size_t)literals);
        at += literals;
        uint64_t distance = drayi_load_u16(at, false), left = room - literals;
        at += 2;
        if (!length_more(&at, input_end, &match) || left - spare < match)
            break;
        if (distance == 0 || distance > produced + literals)
            break;
        match += match_least;
        match_write(output + literals, distance, match, spare - match_least);
        output += literals + match;
        room = left - match;
        produced += literals + match;
        input = at;
    }
    drayi_frames_advance(&decoder->frames, step, (uint64_t)(input - step->input),
                         produced - decoder->frames.produced);
}

/// Carries out the present stage; *out_moved false: it waits for input or room.
static dray_status run_stage(dray_decoder *decoder, dray_decode_step *step, bool *out_moved,
                             dray_error *error)
{
    *out_moved = true;
    switch (decoder->stage) {
    case stage_size:
        if ((*out_moved = gather(decoder, step, 4))) {
            decoder->decoded_bytes = gathered_take(decoder);
            decoder->stage = stage_token;
        }
        return DRAY_OK;
    case stage_token:
        run_sequences(decoder, step);
        if ((*out_moved = gather(decoder, step, 1))) {
            decoder->token = (uint8_t)gathered_take(decoder);
            decoder->left = decoder->token >> 4;
            decoder->stage = decoder->left == nibble_more ? stage_literal_length : stage_literals;
        }
        return decoder->stage == stage_literals ? check_left(decoder, error) : DRAY_OK;
    case stage_literal_length:
        if ((*out_moved = read_length(decoder, step)))
            decoder->stage = stage_literals;
        return check_left(decoder, error);
    case stage_literals:
        if ((*out_moved = copy_literals(decoder, step)))
            decoder->stage =
                decoder->frames.produced == decoder->decoded_bytes ? stage_end : stage_distance;
        return DRAY_OK;
    case stage_distance:
        *out_moved = gather(decoder, step, 2);
        if (!*out_moved)
            return DRAY_OK;
        DRAY_TRY(begin_match(decoder, error));
        return check_left(decoder, error);
    case stage_match_length:
        if ((*out_moved = read_length(decoder, step)))
            decoder->stage = stage_match;
        return check_left(decoder, error);
    case stage_match:
        if ((*out_moved = copy_match(decoder, step)))
            decoder->stage = stage_token;
        return DRAY_OK;
    case stage_end:
        break;
    }
    *out_moved = false;
    return DRAY_OK;
}

static dray_status block_step(dray_decoder *decoder, dray_decode_step *step, dray_error *error)
{
    bool moved = true;
    while (moved)
        DRAY_TRY(run_stage(decoder, step, &moved, error));
    const drayi_frames *frames = &decoder->frames;
    step->done = decoder->stage == stage_end;
    if (step->done && step->input_bytes > 0)
        return dray_fail_rule(error, DRAY_E_CORRUPT, "codec.trailing", frames->consumed,
                              "lz4_block: the block ends at byte %" PRIu64 ", but bytes follow",
                              frames->consumed);
    bool waits_for_room = decoder->stage == stage_match || step->input_bytes > 0;
    if (step->done || !step->input_ended || waits_for_room)
        return DRAY_OK;
    return dray_fail_rule(error, DRAY_E_CORRUPT, "codec.truncated", frames->consumed,
                          "lz4_block: ends early, after %" PRIu64 " bytes (%" PRIu64 " of %" PRIu64
                          " decoded)",
                          frames->consumed, frames->produced, decoder->decoded_bytes);
}

const dray_codec_ops drayi_codec_lz4_block = {
    .abi = DRAY_CODEC_ABI,
    .name = "lz4_block",
    .probe = block_probe,
    .decoded_bytes = block_decoded_bytes,
    .open = block_open,
    .step = block_step,
    .close = block_close,
};
