/// Streams: bytes whose number shows only at their end. Compressed ones go through the codec straight
/// into their final place; input is held 1 MiB at a time, output never moves and is never copied. What a
/// stream promises of its size is a hint for a refusal, and is checked at the end.
#include "base/checked.h"
#include "weights/model_data_object.h"

#include <inttypes.h>

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

/// One call of the codec; *out_moved: did anything go in or come out?
static dray_status decode_step(const dray_codec_ops *codec, dray_decoder *decoder,
                               drayi_source *source, drayi_sink *sink, bool *out_done,
                               bool *out_moved, dray_error *error)
{
    uint64_t room, available = source->end - source->first;
    DRAY_TRY(drayi_sink_room(sink, &room, error));
    dray_decode_step step = {
        .input = source->buffer + source->first,
        .input_bytes = available,
        .output = sink->at ? sink->at + sink->used : NULL,
        .output_bytes = room,
        .input_ended = source->ended,
    };
    dray_status status = codec->step(decoder, &step, error);
    if (status != DRAY_OK)
        return dray_fail_within(error, status,
                                "decode %s (%s), %" PRIu64 " bytes in and %" PRIu64 " out",
                                source->name, codec->name, source->position - available, sink->used);
    if (step.input_bytes > available || step.output_bytes > room)
        return dray_fail(error, DRAY_E_INTERNAL, "decode %s: codec %s took more than it was given",
                         source->name, codec->name);
    source->first += available - step.input_bytes;
    sink->used += room - step.output_bytes;
    *out_moved = step.input_bytes < available || step.output_bytes < room;
    *out_done = step.done || (*out_done && !*out_moved); // done stays until another frame begins
    return DRAY_OK;
}

/// The decoder moves no more: at the end of the input with all frames complete that is success.
static dray_status decode_stuck(const dray_codec_ops *codec, const drayi_source *source,
                                const drayi_sink *sink, bool done, dray_error *error)
{
    uint64_t left = source->end - source->first, at = source->position - left;
    if (done && left == 0)
        return DRAY_OK;
    if (done)
        return dray_fail_rule(error, DRAY_E_CORRUPT, "codec.trailing", at,
                              "decode %s: bytes behind the last %s frame, at %" PRIu64,
                              source->name, codec->name, at);
    if (sink->used == sink->limit)
        return cap_reached(sink, "it decodes to", error);
    return dray_fail_rule(error, DRAY_E_CORRUPT, "codec.truncated", at,
                          "decode %s: the %s data ends early, at %" PRIu64 " (%" PRIu64
                          " bytes decoded)",
                          source->name, codec->name, at, sink->used);
}

static dray_status decode_all(const dray_codec_ops *codec, dray_decoder *decoder,
                              drayi_source *source, drayi_sink *sink, dray_error *error)
{
    bool done = false, moved = true;
    while (moved) {
        if (source->first == source->end)
            DRAY_TRY(drayi_source_fill(source, 1, error));
        if (done && source->first == source->end)
            return DRAY_OK;
        DRAY_TRY(decode_step(codec, decoder, source, sink, &done, &moved, error));
        if (!moved && !source->ended && source->end - source->first < drayi_source_room) {
            DRAY_TRY(drayi_source_fill(source, source->end - source->first + 1,
                                       error)); // wants more at once
            moved = true;
        }
    }
    return decode_stuck(codec, source, sink, done, error);
}

static dray_status drain_decoded(const dray_codec_ops *codec, drayi_source *source,
                                 drayi_sink *sink, uint64_t declared, dray_error *error)
{
    dray_decoder *decoder = NULL;
    DRAY_TRY(codec->open(source->env, &decoder, error));
    dray_status status = decode_all(codec, decoder, source, sink, error);
    codec->close(decoder);
    if (status == DRAY_OK && declared != DRAY_UNKNOWN && sink->used < declared)
        status = dray_fail_rule(error, DRAY_E_CORRUPT, "codec.size", 0,
                                "decode %s: %s declares %" PRIu64 " bytes, %" PRIu64 " came out",
                                source->name, codec->name, declared, sink->used);
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
    dray_status status = drayi_sink_open(&sink, data->env, data->name, &options, error);
    if (status == DRAY_OK)
        status = codec ? drain_decoded(codec, source, &sink, declared, error)
                       : drain_plain(source, &sink, error);
    if (status == DRAY_OK)
        status = drayi_sink_finish(&sink, error);
    if (status == DRAY_OK)
        drayi_data_take(data, &sink);
    drayi_sink_free(&sink);
    return status;
}
