/// Streams: bytes whose number shows only at their end. Compressed ones go through the codec straight
/// into their final place; input is held 1 MiB at a time, output never moves and is never copied. What a
/// stream promises of its size is a hint for a refusal, and is checked at the end.
#include "base/checked.h"
#include "weights/model_data_object.h"

#include <inttypes.h>

static const uint64_t justified_bytes = 1 << 30, justified_ratio = 256;

const dray_codec_ops *drayi_codec_of(const drayi_env *env, const uint8_t *head, uint64_t head_bytes)
{
    const dray_codec_ops *best = NULL;
    uint32_t best_score = 0;
    for (const dray_codec_ops *const *each = env->codecs; each && *each; each++) {
        uint32_t score = (*each)->probe(head, head_bytes);
        if (score > best_score) {
            best = *each;
            best_score = score;
        }
    }
    return best;
}

bool drayi_decoded_in_proportion(uint64_t decoded_bytes, uint64_t input_bytes)
{
    return decoded_bytes <= justified_bytes ||
           (decoded_bytes - justified_bytes) / justified_ratio <= input_bytes;
}

static dray_status cap_reached(const drayi_sink *sink, const char *what, dray_error *error)
{
    return dray_fail(error, DRAY_E_NOSPACE,
                     "%s: %s more than the limit of %" PRIu64
                     " bytes (decoded_bytes_max, or what memory is available)",
                     sink->name, what, sink->limit);
}

static dray_status drain_plain(drayi_source *source, drayi_sink *sink, dray_error *error)
{
    for (;;) {
        uint64_t room, got;
        DRAY_TRY(drayi_sink_room(sink, &room, error));
        if (room == 0) {
            DRAY_TRY(drayi_source_fill(source, 1, error));
            return source->end > source->first ? cap_reached(sink, "the input is", error) : DRAY_OK;
        }
        DRAY_TRY(drayi_source_read(source, sink->at + sink->used, room, &got, error));
        if (got == 0)
            return DRAY_OK;
        sink->used += got;
    }
}

/// A decoding under way.
typedef struct decoding {
    const dray_codec_ops *codec;
    dray_decoder *decoder;
    drayi_source *source;
    drayi_sink *sink;
    uint64_t taken; // bytes of input so far
    bool bounded;   // the caller named no limit: the output must stay in proportion to the input
    bool done;      // all frames so far are complete
} decoding;

/// One call of the codec; *out_moved: did anything go in or come out?
static dray_status decode_step(decoding *d, bool *out_moved, dray_error *error)
{
    uint64_t room, available = d->source->end - d->source->first;
    DRAY_TRY(drayi_sink_room(d->sink, &room, error));
    dray_decode_step step = {
        .input = d->source->buffer + d->source->first,
        .input_bytes = available,
        .output = d->sink->at ? d->sink->at + d->sink->used : NULL,
        .output_bytes = room,
        .input_ended = d->source->ended,
    };
    dray_status status = d->codec->step(d->decoder, &step, error);
    if (status != DRAY_OK)
        return dray_fail_within(error, status,
                                "decode %s (%s), %" PRIu64 " bytes in and %" PRIu64 " out",
                                d->source->name, d->codec->name, d->taken, d->sink->used);
    if (step.input_bytes > available || step.output_bytes > room)
        return dray_fail(error, DRAY_E_INTERNAL, "decode %s: codec %s took more than it was given",
                         d->source->name, d->codec->name);
    d->source->first += available - step.input_bytes;
    d->taken += available - step.input_bytes;
    d->sink->used += room - step.output_bytes;
    *out_moved = step.input_bytes < available || step.output_bytes < room;
    d->done = step.done || (d->done && !*out_moved); // done stays until another frame begins
    if (d->bounded && !drayi_decoded_in_proportion(d->sink->used, d->taken))
        return dray_fail(error, DRAY_E_NOSPACE,
                         "decode %s: %" PRIu64 " bytes of %s decode to more than %" PRIu64
                         "; set decoded_bytes_max if that is meant",
                         d->source->name, d->taken, d->codec->name, d->sink->used);
    return DRAY_OK;
}

/// The decoder moves no more: at the end of the input with all frames complete that is success.
static dray_status decode_stuck(const decoding *d, dray_error *error)
{
    uint64_t left = d->source->end - d->source->first, at = d->source->position - left;
    if (d->done && left == 0)
        return DRAY_OK;
    if (d->done)
        return dray_fail_rule(error, DRAY_E_CORRUPT, "codec.trailing", at,
                              "decode %s: bytes behind the last %s frame, at %" PRIu64,
                              d->source->name, d->codec->name, at);
    if (d->sink->used == d->sink->limit)
        return cap_reached(d->sink, "it decodes to", error);
    return dray_fail_rule(error, DRAY_E_CORRUPT, "codec.truncated", at,
                          "decode %s: the %s data ends early, at %" PRIu64 " (%" PRIu64
                          " bytes decoded)",
                          d->source->name, d->codec->name, at, d->sink->used);
}

static dray_status decode_all(decoding *d, dray_error *error)
{
    drayi_source *source = d->source;
    for (bool moved = true; moved;) {
        if (source->first == source->end)
            DRAY_TRY(drayi_source_fill(source, 1, error));
        if (d->done && source->first == source->end)
            return DRAY_OK;
        DRAY_TRY(decode_step(d, &moved, error));
        uint64_t left = source->end - source->first;
        if (!moved && !source->ended && left < drayi_source_room) { // it wants more at once
            DRAY_TRY(drayi_source_fill(source, left + 1, error));
            moved = true;
        }
    }
    return decode_stuck(d, error);
}

static dray_status drain_decoded(decoding *d, uint64_t declared, dray_error *error)
{
    DRAY_TRY(d->codec->open(d->source->env, &d->decoder, error));
    dray_status status = decode_all(d, error);
    d->codec->close(d->decoder);
    if (status == DRAY_OK && declared != DRAY_UNKNOWN && d->sink->used < declared)
        status = dray_fail_rule(error, DRAY_E_CORRUPT, "codec.size", 0,
                                "decode %s: %s declares %" PRIu64 " bytes, %" PRIu64 " came out",
                                d->source->name, d->codec->name, declared, d->sink->used);
    return status;
}

dray_status drayi_data_drain(dray_model_data *data, const drayi_data_plan *plan,
                             drayi_source *source, dray_error *error)
{
    const dray_codec_ops *codec = plan->codec;
    uint64_t declared = DRAY_UNKNOWN;
    drayi_sink_options options = {
        .limit = drayi_sink_cap(data->env, plan->decoded_bytes_max),
        .sealed = plan->backing == DRAY_BACKING_SEALED,
    };
    if (codec) {
        DRAY_TRY(drayi_source_fill(source, 64, error));
        declared = codec->decoded_bytes(source->buffer + source->first, source->end - source->first);
    }
    if (declared != DRAY_UNKNOWN && declared > options.limit)
        return dray_fail(error, DRAY_E_NOSPACE,
                         "%s: %s declares %" PRIu64 " decoded bytes, the limit is %" PRIu64
                         " (decoded_bytes_max, or what memory is available)",
                         data->name, codec->name, declared, options.limit);
    drayi_sink sink = {.memfd = -1};
    decoding decoded = {
        .codec = codec, .source = source, .sink = &sink, .bounded = plan->decoded_bytes_max == 0};
    dray_status status = drayi_sink_open(&sink, data->env, data->name, &options, error);
    if (status == DRAY_OK)
        status =
            codec ? drain_decoded(&decoded, declared, error) : drain_plain(source, &sink, error);
    return drayi_data_take(data, &sink, status, error);
}
