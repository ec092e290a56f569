/// dray/spi/codec.h: what a compression is to dray: a stream decoder in one table.
#ifndef DRAY_SPI_CODEC_H
#define DRAY_SPI_CODEC_H

#include "dray/base.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DRAY_CODEC_ABI 1u

struct drayi_env;

typedef struct dray_decoder dray_decoder;

/// One step's input and output; the decoder advances both.
typedef struct dray_decode_step {
    const uint8_t *input;
    uint64_t input_bytes; ///< in: available; out: left over
    uint8_t *output;
    uint64_t output_bytes; ///< in: room; out: room left
    bool input_ended;      ///< no more input will follow
    bool done;             ///< out: the (last) frame is complete and verified
} dray_decode_step;

typedef struct dray_codec_ops {
    uint32_t abi;
    uint32_t reserved;
    const char *name; ///< "zstd", "lz4", "gzip"
    /// 0 no, 100 the magic is there (size-prefixed LZ4 blocks have none and are never probed: 0).
    uint32_t (*probe)(const uint8_t *head, uint64_t head_bytes);
    /// Decoded size as the frame declares it, or DRAY_UNKNOWN. A promise of the file's writer: a hint
    /// for reserving, checked at the end.
    uint64_t (*decoded_bytes)(const uint8_t *head, uint64_t head_bytes);
    dray_status (*open)(struct drayi_env *env, dray_decoder **out_decoder, dray_error *error);
    /// Decodes as far as input and output allow. Several frames one after the other are one stream.
    /// DRAY_E_CORRUPT: bad data, wrong checksum, ends early. Output is final: bytes behind `output` may
    /// be read back as the history, so output must stay in place (one contiguous final buffer).
    dray_status (*step)(dray_decoder *decoder, dray_decode_step *step, dray_error *error);
    void (*close)(dray_decoder *decoder);
} dray_codec_ops;

#ifdef __cplusplus
}
#endif
#endif
