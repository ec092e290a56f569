/// dray/spi/format.h: what a file format is to dray: one table.
///
/// A format only describes: it turns the head of a file into tensors and metadata, by calling the
/// sink. It never allocates an index of its own, never follows a path, and never trusts a number.
/// The core checks every span again and builds the index.
#ifndef DRAY_SPI_FORMAT_H
#define DRAY_SPI_FORMAT_H

#include "dray/dtype.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DRAY_FORMAT_ABI 1u
#define DRAY_RANK_MAX 64

struct drayi_env;

typedef enum dray_value_type {
    DRAY_VALUE_U8 = 1,
    DRAY_VALUE_I8 = 2,
    DRAY_VALUE_U16 = 3,
    DRAY_VALUE_I16 = 4,
    DRAY_VALUE_U32 = 5,
    DRAY_VALUE_I32 = 6,
    DRAY_VALUE_U64 = 7,
    DRAY_VALUE_I64 = 8,
    DRAY_VALUE_F32 = 9,
    DRAY_VALUE_F64 = 10,
    DRAY_VALUE_BOOL = 11,
    DRAY_VALUE_TEXT = 12,
    DRAY_VALUE_JSON = 13, ///< valid JSON text in `text`
    DRAY_VALUE_ARRAY = 14 ///< `element_type`, `count`; elements through dray_weights_array_*
} dray_value_type;

/// A metadata value. Text and array bytes are borrowed from the head of the file, which the weights
/// object keeps in memory of its own (a file that changes later cannot change them).
typedef struct dray_value {
    dray_value_type type;
    dray_value_type element_type; ///< ARRAY only; ARRAY inside means nested arrays (--lenient)
    union {
        uint64_t u64; ///< all unsigned types and BOOL
        int64_t i64;  ///< all signed types
        double f64;   ///< F32 and F64
        dray_text text;
        struct {
            uint64_t count;
            const uint8_t *bytes; ///< the array as it stands in the file: elements one after the other,
                                  ///< texts as u64 length + bytes; numbers in the file's byte order
            uint64_t byte_count;
        } array;
    } as;
} dray_value;

/// One tensor as the format describes it; everything is borrowed for the call only, except `name`,
/// which must stay valid as long as the head (i.e. points into it, or into memory from `keep`).
typedef struct dray_format_tensor {
    dray_text name;
    dray_dtype dtype;
    uint32_t native_type;  ///< the format's own id, for types we do not know ("id 337")
    uint32_t rank;         ///< <= DRAY_RANK_MAX
    uint32_t size_known;   ///< 0: `bytes` is unknown (an unknown dtype under --lenient)
    const uint64_t *shape; ///< slowest dimension first
    uint64_t offset;       ///< absolute in the file
    uint64_t bytes;
    uint64_t head_offset; ///< where in the head it is described, for messages
} dray_format_tensor;

/// Facts about the file as a whole; the format fills what it knows.
typedef struct dray_format_facts {
    uint32_t version;
    uint32_t big_endian;
    uint64_t alignment;   ///< of tensors; 0: none promised
    uint64_t data_offset; ///< where tensor data begins, absolute
    uint32_t split_no,
        split_count;        ///< GGUF split files: 0-based number and total; count 0: not split
    uint64_t split_tensors; ///< total over all splits, when split_count > 0
} dray_format_facts;

enum {
    DRAY_FORMAT_LENIENT = 1,    ///< relax the rules the format names, each with a warning
    DRAY_FORMAT_BOUNDS_ONLY = 2 ///< array elements are checked for bounds only, not as UTF-8
};

/// What dray gives a format to read from.
typedef struct dray_format_input {
    void *self;
    struct drayi_env *env;
    const char *path;    ///< for messages only
    uint64_t file_bytes; ///< total size
    uint32_t flags;      ///< DRAY_FORMAT_*
    uint32_t reserved;
    const uint8_t *head; ///< first bytes of the file; address never changes
    uint64_t head_bytes; ///< readable now; grows through `need`
    /// Makes [0, upto) of `head` readable (upto <= file_bytes) and updates head_bytes.
    dray_status (*need)(struct dray_format_input *input, uint64_t upto, dray_error *error);
} dray_format_input;

/// Where a format puts what it finds. Each call may fail (out of memory, a duplicate name); the format
/// then stops and returns that status.
typedef struct dray_format_sink {
    void *self;
    dray_format_facts *facts;
    dray_status (*tensor)(struct dray_format_sink *sink, const dray_format_tensor *tensor,
                          dray_error *error);
    /// `key` lives as long as the head. A duplicate key is DRAY_E_FORMAT with *out_duplicate true and
    /// nothing stored; the format decides (--lenient: the first wins, with a warning).
    dray_status (*metadata)(struct dray_format_sink *sink, dray_text key, const dray_value *value,
                            bool *out_duplicate, dray_error *error);
    /// Kept in the weights object and shown to the user. `rule` is a static string.
    dray_status (*warn)(struct dray_format_sink *sink, const char *rule, uint64_t offset,
                        dray_error *error, const char *format, ...) DRAY_PRINTF(5, 6);
    /// Zeroed memory that lives as long as the weights object, for unescaped names and the like.
    void *(*keep)(struct dray_format_sink *sink, uint64_t bytes, dray_error *error);
} dray_format_sink;

/// A payload packed inside the file: bytes [0, raw_bytes) stand as they are, all behind them is one
/// stream of `codec`. Offsets inside the format mean the unpacked file.
typedef struct dray_format_packing {
    const char *codec;  ///< dray_codec_ops.name ("zstd", "lz4_block"); NULL: nothing is packed
    uint64_t raw_bytes; ///< at most 4096
} dray_format_packing;

typedef struct dray_format_ops {
    uint32_t abi;
    uint32_t reserved;
    const char *name; ///< "gguf", "safetensors", "apr", "raw"
    /// How sure it is that this is its format, from the first bytes (at most 4096): 0 no, 100 certain
    /// (magic). Never looks at a name.
    uint32_t (*probe)(const uint8_t *head, uint64_t head_bytes, uint64_t file_bytes);
    dray_status (*read)(dray_format_input *input, dray_format_sink *sink, dray_error *error);
    // optional:
    /// Asked after a probe that succeeded, with the same bytes. The core then unpacks and calls `read`
    /// with the unpacked file.
    dray_status (*packing)(const uint8_t *head, uint64_t head_bytes, dray_format_packing *out,
                           dray_error *error);
    /// Asked when no format takes a file: says in a helpful sentence what people passed by mistake, from
    /// the same bytes as probe. Returns the failing status, or DRAY_OK when it does not know either.
    dray_status (*explain)(const uint8_t *head, uint64_t head_bytes, uint64_t file_bytes,
                           const char *path, dray_error *error);
} dray_format_ops;

#ifdef __cplusplus
}
#endif
#endif
