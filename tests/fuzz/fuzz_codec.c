/// Codecs over any bytes. Byte 0 chooses the codec, bytes 1 and 2 how input and room are cut, the rest
/// is the stream. Decoded whole and decoded in pieces it must come to the same.
#include "base/env.h"
#include "core/components.h"
#include "support/counting_allocator.h"

#include <stdlib.h>
#include <string.h>

enum { room = 1 << 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool promise)
{
    if (!promise)
        abort();
}

typedef struct outcome {
    dray_status status;
    bool done;
    size_t produced;
    uint8_t *bytes;
} outcome;

static outcome decode(const dray_codec_ops *codec, const uint8_t *input, size_t size,
                      size_t input_cut, size_t output_cut)
{
    outcome it = {.bytes = malloc(room)};
    require(it.bytes != NULL);
    counting_allocator counter;
    counting_allocator_init(&counter, 0);
    drayi_env env = {.allocator = counting_allocator_interface(&counter)};
    dray_decoder *decoder;
    require(codec->open(&env, &decoder, NULL) == DRAY_OK);
    size_t used = 0;
    for (bool moved = true; moved;) {
        size_t given = size - used < input_cut ? size - used : input_cut;
        size_t space = room - it.produced < output_cut ? room - it.produced : output_cut;
        dray_decode_step step = {input + used,         given, it.bytes + it.produced, space,
                                 used + given == size, false};
        dray_error error = {0};
        it.status = codec->step(decoder, &step, &error);
        if (it.status != DRAY_OK) {
            require(error.message[0] != '\0');
            break;
        }
        require(step.input_bytes <= given && step.output_bytes <= space);
        moved = step.input_bytes < given || step.output_bytes < space;
        used += given - step.input_bytes;
        it.produced += space - step.output_bytes;
        it.done = step.done;
        require(!step.done || step.input_bytes == 0);
    }
    codec->close(decoder);
    require(counting_allocator_live_bytes(&counter) == 0);
    require(it.done || it.status != DRAY_OK || it.produced == room);
    return it;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint32_t codec_count = 0;
    while (drayi_components.codecs[codec_count])
        codec_count++;
    if (size < 3 || codec_count == 0)
        return 0;
    const dray_codec_ops *codec = drayi_components.codecs[data[0] % codec_count];
    const uint8_t *input = data + 3;
    size -= 3;
    codec->probe(input, size);
    codec->decoded_bytes(input, size);
    outcome whole = decode(codec, input, size, size, room);
    outcome pieces = decode(codec, input, size, 1 + (size_t)data[1], 1 + (size_t)data[2]);
    require((whole.status == DRAY_OK) == (pieces.status == DRAY_OK));
    if (whole.status == DRAY_OK) {
        require(whole.done == pieces.done && whole.produced == pieces.produced);
        require(memcmp(whole.bytes, pieces.bytes, whole.produced) == 0);
    }
    free(whole.bytes);
    free(pieces.bytes);
    return 0;
}
