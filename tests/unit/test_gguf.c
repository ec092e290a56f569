/// GGUF: every verdict on a handcrafted file as a named case, then what a good file says.
///
/// A case states what the strict reader does and what --lenient does: a rule means refused with it,
/// NULL means accepted. It runs several times: with the whole file readable at once and with a head
/// that creeps forward byte by byte; the outcome must be the same.
#include "format/gguf_types.h"
#include "support/corpus.h"
#include "support/format_probe.h"
#include "support/gguf_writer.h"
#include "support/testing.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

extern const dray_format_ops drayi_format_gguf;

typedef struct file_case {
    const char *name;
    void (*build)(gguf_writer *writer, const struct file_case *given);
    const char *strict, *lenient; // the rule that refuses it; NULL: accepted
    const char *warns;            // the rule of a warning where it is accepted; NULL: none
    uint64_t number;              // what the builder makes of it
    const char *text;
    uint64_t text_bytes; // 0: up to the NUL
} file_case;

#define BYTES(literal) .text = (literal), .text_bytes = sizeof(literal) - 1

static const uint64_t four[] = {4};

// --- builders ------------------------------------------------------------------------------------

static void put_text(gguf_writer *writer, const file_case *given)
{
    gguf_text_bytes(writer, given->text,
                    given->text_bytes ? given->text_bytes : strlen(given->text));
}

/// These bytes and nothing else.
static void build_bytes(gguf_writer *writer, const file_case *given)
{
    gguf_bytes(writer, given->text, given->text_bytes);
}

static void build_version(gguf_writer *writer, const file_case *given)
{
    gguf_header(writer, (uint32_t)given->number, 0, 0);
}

/// Says it is big-endian, but everything behind the version is not.
static void build_swapped_version(gguf_writer *writer, const file_case *given)
{
    (void)given;
    gguf_header(writer, 0x03000000, 1, 1);
    gguf_key_u32(writer, "a", 1);
    gguf_tensor(writer, "t", GGUF_F32, 1, four, 0);
    gguf_data(writer, 16);
}

static void build_tensor_count(gguf_writer *writer, const file_case *given)
{
    gguf_header(writer, 3, given->number, 0);
    gguf_zeros(writer, 64);
}

static void build_key_count(gguf_writer *writer, const file_case *given)
{
    gguf_header(writer, 3, 0, given->number);
    gguf_zeros(writer, 64);
}

/// One u8 with the given key.
static void build_key(gguf_writer *writer, const file_case *given)
{
    gguf_header(writer, 3, 0, 1);
    put_text(writer, given);
    gguf_u32(writer, GGUF_U8);
    gguf_u8(writer, 7);
}

/// A key that says it has `number` bytes.
static void build_key_length(gguf_writer *writer, const file_case *given)
{
    gguf_header(writer, 3, 0, 1);
    gguf_u64(writer, given->number);
    gguf_zeros(writer, 64);
}

static void build_long_key(gguf_writer *writer, const file_case *given)
{
    gguf_header(writer, 3, 0, 1);
    gguf_u64(writer, given->number);
    for (uint64_t i = 0; i < given->number; i++)
        gguf_u8(writer, 'k');
    gguf_u32(writer, GGUF_U8);
    gguf_u8(writer, 7);
}

static void build_value_type(gguf_writer *writer, const file_case *given)
{
    gguf_header(writer, 3, 0, 1);
    gguf_key(writer, "a", (uint32_t)given->number);
    gguf_zeros(writer, 64);
}

static void build_same_key_twice(gguf_writer *writer, const file_case *given)
{
    (void)given;
    gguf_header(writer, 3, 0, 2);
    gguf_key_u32(writer, "a", 1);
    gguf_key_u32(writer, "a", 2);
}

static void build_bool(gguf_writer *writer, const file_case *given)
{
    gguf_header(writer, 3, 0, 1);
    gguf_key_u8(writer, "a", GGUF_BOOL, (uint8_t)given->number);
}

static void build_bools(gguf_writer *writer, const file_case *given)
{
    gguf_header(writer, 3, 0, 1);
    gguf_key_array(writer, "a", GGUF_BOOL, 3);
    gguf_u8(writer, 1);
    gguf_u8(writer, 0);
    gguf_u8(writer, (uint8_t)given->number);
}

static void build_text(gguf_writer *writer, const file_case *given)
{
    gguf_header(writer, 3, 0, 1);
    gguf_key(writer, "a", GGUF_TEXT);
    put_text(writer, given);
}

static void build_text_length(gguf_writer *writer, const file_case *given)
{
    gguf_header(writer, 3, 0, 1);
    gguf_key(writer, "a", GGUF_TEXT);
    gguf_u64(writer, given->number);
    gguf_zeros(writer, 64);
}

static void build_texts(gguf_writer *writer, const file_case *given)
{
    gguf_header(writer, 3, 0, 2);
    gguf_key_array(writer, "a", GGUF_TEXT, 4);
    gguf_text(writer, "");
    gguf_text(writer, "eine längere Zeile");
    put_text(writer, given);
    gguf_text(writer, "z");
    gguf_key_u32(writer, "behind.it.all.there.is.more", 1);
}

static void build_texts_with_length(gguf_writer *writer, const file_case *given)
{
    gguf_header(writer, 3, 0, 1);
    gguf_key_array(writer, "a", GGUF_TEXT, 2);
    gguf_text(writer, "one");
    gguf_u64(writer, given->number);
    gguf_text(writer, "two");
}

static void build_array_type(gguf_writer *writer, const file_case *given)
{
    gguf_header(writer, 3, 0, 1);
    gguf_key_array(writer, "a", (uint32_t)given->number, 0);
    gguf_zeros(writer, 64);
}

/// An array of u32 that says it has `number` elements; four are there.
static void build_array_count(gguf_writer *writer, const file_case *given)
{
    gguf_header(writer, 3, 0, 1);
    gguf_key_array(writer, "a", GGUF_U32, given->number);
    gguf_zeros(writer, 16);
}

/// Arrays in arrays, `number` deep, with a u8 in the innermost, and two in each.
static void build_nested(gguf_writer *writer, const file_case *given)
{
    gguf_header(writer, 3, 0, 2);
    gguf_key_array(writer, "a", GGUF_ARRAY, 2);
    gguf_u32(writer, GGUF_U8); // the first of the two is flat
    gguf_u64(writer, 1);
    gguf_u8(writer, 5);
    for (uint64_t depth = 2; depth < given->number; depth++) {
        gguf_u32(writer, GGUF_ARRAY);
        gguf_u64(writer, 1);
    }
    gguf_u32(writer, GGUF_TEXT);
    gguf_u64(writer, 1);
    gguf_text(writer, "deep");
    gguf_key_u32(writer, "b", 1);
}

/// A model of one tensor with general.alignment `number`, laid out for it.
static void build_alignment(gguf_writer *writer, const file_case *given)
{
    writer->alignment = given->number && given->number < 4096 ? given->number : 32;
    gguf_header(writer, 3, 1, 1);
    gguf_key_u32(writer, "general.alignment", (uint32_t)given->number);
    gguf_tensor(writer, "t", GGUF_F32, 1, four, 0);
    gguf_data(writer, 16);
}

static void build_alignment_without_tensors(gguf_writer *writer, const file_case *given)
{
    gguf_header(writer, 3, 0, 1);
    gguf_key_u32(writer, "general.alignment", (uint32_t)given->number);
}

static void build_alignment_i32(gguf_writer *writer, const file_case *given)
{
    (void)given;
    gguf_header(writer, 3, 0, 1);
    gguf_key_i32(writer, "general.alignment", 32);
}

/// Two tensors laid out for an alignment of `number`; the file says 64.
static void build_other_alignment(gguf_writer *writer, const file_case *given)
{
    gguf_header(writer, 3, 2, 1);
    gguf_key_u32(writer, "general.alignment", 64);
    gguf_tensor(writer, "t", GGUF_F32, 1, four, 0);
    gguf_tensor(writer, "u", GGUF_F32, 1, four, given->number);
    writer->alignment = 64;
    gguf_data(writer, 64 + 16);
}

/// Split keys of the given types: 's' as llama.cpp writes them, 'w' wider, 't' text, '-' negative.
static void build_split(gguf_writer *writer, const file_case *given)
{
    gguf_header(writer, 3, 0, 3);
    if (given->text[0] == 't')
        gguf_key_text(writer, "split.no", "0");
    else
        gguf_key_u16(writer, "split.no", (uint16_t)given->number);
    if (given->text[0] == 'w')
        gguf_key_u32(writer, "split.count", 3);
    else
        gguf_key_u16(writer, "split.count", 3);
    gguf_key_i32(writer, "split.tensors.count", given->text[0] == '-' ? -1 : 291);
}

/// One tensor of four F32 with the given name.
static void build_name(gguf_writer *writer, const file_case *given)
{
    gguf_header(writer, 3, 1, 0);
    put_text(writer, given);
    gguf_u32(writer, 1);
    gguf_u64(writer, 4);
    gguf_u32(writer, GGUF_F32);
    gguf_u64(writer, 0);
    gguf_data(writer, 16);
}

static void build_name_length(gguf_writer *writer, const file_case *given)
{
    gguf_header(writer, 3, 1, 0);
    gguf_u64(writer, given->number);
    for (uint64_t i = 0; i < given->number && i < 100; i++)
        gguf_u8(writer, 'n');
    gguf_u32(writer, 1);
    gguf_u64(writer, 4);
    gguf_u32(writer, GGUF_F32);
    gguf_u64(writer, 0);
    gguf_data(writer, 16);
}

static void build_rank(gguf_writer *writer, const file_case *given)
{
    static const uint64_t ones[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    gguf_header(writer, 3, 1, 0);
    gguf_tensor(writer, "t", GGUF_F32, (uint32_t)given->number, ones, 0);
    gguf_data(writer, 4);
}

static void build_rank_of_billions(gguf_writer *writer, const file_case *given)
{
    (void)given;
    gguf_header(writer, 3, 1, 0);
    gguf_text(writer, "t");
    gguf_u32(writer, UINT32_MAX);
    gguf_zeros(writer, 64);
}

static const uint64_t shapes[][4] = {
    {4, UINT64_MAX},           // 0: negative
    {0, 5},                    // 1: none
    {UINT64_C(1) << 62, 4},    // 2: wraps to zero
    {UINT64_C(1) << 62, 4, 0}, // 3: the same, hidden by a zero
    {UINT64_C(1) << 61, 2},    // 4: 2^62 elements, 2^64 bytes
    {UINT64_C(1) << 62, 2},    // 5: 2^63 elements: more than an int64
    {0, UINT64_C(1) << 62, 4}, // 6: a zero in front hides nothing either
    {INT64_MAX, 1, 1, 1},      // 7: bytes overflow
};

static void build_shape(gguf_writer *writer, const file_case *given)
{
    uint32_t rank = 4;
    const uint64_t *shape = shapes[given->number];
    while (rank > 2 && shape[rank - 1] == 0 && !(rank == 3 && given->number == 3))
        rank--;
    gguf_header(writer, 3, 1, 0);
    gguf_tensor(writer, "t", GGUF_F32, rank, shape, 0);
    gguf_data(writer, 64);
}

static void build_type(gguf_writer *writer, const file_case *given)
{
    static const uint64_t shape[] = {256};
    gguf_header(writer, 3, 2, 0);
    gguf_tensor(writer, "t", (uint32_t)given->number, 1, shape, 0);
    gguf_tensor(writer, "u", GGUF_F32, 1, four, 1024);
    gguf_data(writer, 1024 + 16);
}

static void build_half_block(gguf_writer *writer, const file_case *given)
{
    static const uint64_t shape[] = {128, 2};
    gguf_header(writer, 3, 1, 0);
    gguf_tensor(writer, "t", (uint32_t)given->number, 2, shape, 0);
    gguf_data(writer, 1024);
}

/// Three tensors of 16 bytes, the second at `number`, the third at 64.
static void build_offset(gguf_writer *writer, const file_case *given)
{
    gguf_header(writer, 3, 3, 0);
    gguf_tensor(writer, "t", GGUF_F32, 1, four, 0);
    gguf_tensor(writer, "u", GGUF_F32, 1, four, given->number);
    gguf_tensor(writer, "v", GGUF_F32, 1, four, 64);
    gguf_data(writer, 160);
}

static void build_unordered(gguf_writer *writer, const file_case *given)
{
    (void)given;
    gguf_header(writer, 3, 3, 0);
    gguf_tensor(writer, "t", GGUF_F32, 1, four, 64);
    gguf_tensor(writer, "u", GGUF_F32, 1, four, 0);
    gguf_tensor(writer, "v", GGUF_F32, 1, four, 32);
    gguf_data(writer, 80);
}

static void build_unordered_overlap(gguf_writer *writer, const file_case *given)
{
    static const uint64_t twelve[] = {12};
    (void)given;
    gguf_header(writer, 3, 2, 0);
    gguf_tensor(writer, "t", GGUF_F32, 1, four, 32);
    gguf_tensor(writer, "u", GGUF_F32, 1, twelve, 0);
    gguf_data(writer, 96);
}

static void build_same_tensor_twice(gguf_writer *writer, const file_case *given)
{
    (void)given;
    gguf_header(writer, 3, 2, 0);
    gguf_tensor(writer, "t", GGUF_F32, 1, four, 0);
    gguf_tensor(writer, "t", GGUF_F32, 1, four, 32);
    gguf_data(writer, 48);
}

/// One tensor of 16 bytes of which `number` are there (more: they belong to nothing).
static void build_data(gguf_writer *writer, const file_case *given)
{
    gguf_header(writer, 3, 1, 0);
    gguf_tensor(writer, "t", GGUF_F32, 1, four, 0);
    gguf_data(writer, given->number);
}

static void build_no_data_at_all(gguf_writer *writer, const file_case *given)
{
    (void)given;
    gguf_header(writer, 3, 1, 0);
    gguf_tensor(writer, "t", GGUF_F32, 1, four, 0);
}

/// The data follows the descriptions at once, `number` bytes of it.
static void build_no_padding(gguf_writer *writer, const file_case *given)
{
    gguf_header(writer, 3, 1, 0);
    gguf_tensor(writer, "t", GGUF_F32, 1, four, 0);
    for (uint64_t i = 0; i < given->number; i++)
        gguf_u8(writer, (uint8_t)(i + 1));
}

/// Descriptions that end 16 bytes before the alignment, then 32 bytes: is it 16 of padding and 16 of
/// data (number 0), or 16 of data and 16 of padding (number 1)?
static void build_padding_ambiguous(gguf_writer *writer, const file_case *given)
{
    gguf_header(writer, 3, 1, 0);
    gguf_tensor(writer, "aaaaaaaaaaaaaaaaaaaaaaaa", GGUF_F32, 1, four, 0);
    assert_int_equal(writer->length % 32, 16);
    for (int i = 0; i < 32; i++)
        gguf_u8(writer, (i < 16) == (given->number == 1) ? 7 : 0);
}

static void build_no_padding_of_zeros(gguf_writer *writer, const file_case *given)
{
    gguf_header(writer, 3, 1, 0);
    gguf_tensor(writer, "t", GGUF_F32, 1, four, 0);
    gguf_zeros(writer, given->number);
}

static void build_vocabulary(gguf_writer *writer, const file_case *given)
{
    gguf_header(writer, 3, 0, 1);
    gguf_key_text(writer, "tokenizer.ggml.model", "gpt2");
    gguf_zeros(writer, given->number);
}

/// A whole small model: every part of the format once.
static void build_model(gguf_writer *writer, const file_case *given)
{
    static const char *const texts[] = {"<s>", "Ġhallo", "世界"};
    uint32_t version = given && given->number ? (uint32_t)given->number : 3;
    writer->alignment = 64;
    gguf_header(writer, version, 3, 4);
    gguf_key_text(writer, "general.architecture", "llama");
    gguf_key_u32(writer, "general.alignment", 64);
    gguf_key_texts(writer, "tokenizer.ggml.tokens", texts, 3);
    gguf_key_array(writer, "tokenizer.ggml.scores", GGUF_FLOAT32, 3);
    for (int i = 0; i < 3; i++)
        gguf_u32(writer, 0x3F800000);
    gguf_tensor(writer, "token_embd.weight", GGUF_Q4_K, 2, (uint64_t[]){256, 3}, 0);
    gguf_tensor(writer, "output_norm.weight", GGUF_F32, 1, (uint64_t[]){5}, 448);
    gguf_tensor(writer, "blk.0.attn_q.weight", GGUF_F16, 4, (uint64_t[]){3, 1, 2, 1}, 512);
    gguf_data(writer, 512 + 12);
}

static void build_big_endian_model(gguf_writer *writer, const file_case *given)
{
    writer->big_endian = true;
    build_model(writer, given);
}

/// `number` keys that each deserve a warning.
static void build_odd_keys(gguf_writer *writer, const file_case *given)
{
    gguf_header(writer, 3, 0, given->number);
    for (uint64_t i = 0; i < given->number; i++) {
        char key[] = {'K', (char)('a' + i / 26), (char)('a' + i % 26), 0};
        gguf_key_u8(writer, key, GGUF_U8, 1);
    }
}

// --- the table -----------------------------------------------------------------------------------

#define NAME_63 "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
#define STRICT_ONLY(rule, warning) .strict = (rule), .warns = (warning)
#define BOTH(rule) .strict = (rule), .lenient = (rule)

static const file_case cases[] = {
    // header
    {"empty file", build_bytes, BOTH("gguf.truncated"), .text = ""},
    {"magic only", build_bytes, BOTH("gguf.truncated"), BYTES("GGUF")},
    {"header cut by a byte", build_bytes, BOTH("gguf.truncated"),
     BYTES("GGUF\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")},
    {"llama.cpp HEADER_BAD_MAGIC", build_bytes, BOTH("gguf.magic"),
     BYTES("FUGG\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")},
    {"version 0", build_version, BOTH("gguf.version"), .number = 0},
    {"llama.cpp HEADER_BAD_VERSION_1", build_version, BOTH("gguf.version"), .number = 1},
    {"llama.cpp HEADER_BAD_VERSION_FUTURE", build_version, BOTH("gguf.version"), .number = 4},
    {"version 0xFFFFFFFF", build_version, BOTH("gguf.version"), .number = UINT32_MAX},
    {"version swapped and nothing else", build_swapped_version, BOTH("gguf.tensor.count")},
    {"llama.cpp HEADER_BAD_N_TENSORS", build_tensor_count, BOTH("gguf.tensor.count"),
     .number = UINT64_MAX},
    {"more tensors than the file could hold", build_tensor_count, BOTH("gguf.tensor.count"),
     .number = 3},
    {"as many tensors as it could hold, all zeros", build_tensor_count, BOTH("gguf.tensor.name"),
     .number = 2},
    {"llama.cpp HEADER_BAD_N_KV", build_key_count, BOTH("gguf.key.count"), .number = UINT64_MAX},
    {"2^62 keys", build_key_count, BOTH("gguf.key.count"), .number = UINT64_C(1) << 62},
    {"llama.cpp HEADER_EMPTY", build_version, .number = 3},
    {"version 2", build_version, .number = 2},
    // keys
    {"llama.cpp KV_BAD_KEY_SIZE", build_key_length, BOTH("gguf.key.length"), .number = UINT64_MAX},
    {"key behind the end of the file", build_key_length, BOTH("gguf.truncated"), .number = 65},
    {"empty key", build_key_length, BOTH("gguf.key.empty"), .number = 0},
    {"key of 65,535 bytes", build_long_key, .number = 65535},
    {"key of 65,536 bytes", build_long_key, BOTH("gguf.key.length"), .number = 65536},
    {"key of 70,000 bytes", build_long_key, BOTH("gguf.key.length"), .number = 70000},
    {"key that is not UTF-8", build_key, BOTH("gguf.key.utf8"), BYTES("a\xff\xfe")},
    {"key with NUL", build_key, BOTH("gguf.key.nul"), BYTES("a\0b")},
    {"key with spaces", build_key, BOTH("gguf.key.characters"), .text = "my key"},
    {"key with a control byte", build_key, BOTH("gguf.key.characters"), .text = "a\nb"},
    {"key with DEL", build_key, BOTH("gguf.key.characters"),
     .text = "a\x7f"
             "b"},
    {"key with a dash", build_key, .text = "gpt-oss.block_count"},
    {"key in capitals", build_key, .warns = "gguf.key.characters", .text = "General.Name"},
    {"key outside ASCII", build_key, .warns = "gguf.key.characters", .text = "größe"},
    {"llama.cpp KV_BAD_TYPE", build_value_type, BOTH("gguf.value.type"), .number = 13},
    {"value type 0xFFFFFFFF", build_value_type, BOTH("gguf.value.type"), .number = UINT32_MAX},
    {"llama.cpp KV_DUPLICATE_KEY", build_same_key_twice,
     STRICT_ONLY("gguf.key.duplicate", "gguf.key.duplicate")},
    {"a hundred odd keys give 64 warnings and a last one", build_odd_keys, .warns = "gguf.warnings",
     .number = 100},
    // values
    {"bool 0", build_bool, .number = 0},
    {"bool 1", build_bool, .number = 1},
    {"bool 2", build_bool, BOTH("gguf.value.bool"), .number = 2},
    {"bool 255 in an array", build_bools, BOTH("gguf.value.bool"), .number = 255},
    {"bools", build_bools, .number = 1},
    {"text", build_text, .text = "Grüße, 世界 🎉"},
    {"text with NUL", build_text, BYTES("a\0b")},
    {"text that is not UTF-8", build_text, BOTH("gguf.text.utf8"), BYTES("\xc3(")},
    {"text of 2^64-1 bytes", build_text_length, BOTH("gguf.truncated"), .number = UINT64_MAX},
    {"text a byte longer than the file", build_text_length, BOTH("gguf.truncated"), .number = 65},
    {"texts", build_texts, .text = "ein Text"},
    {"texts with a surrogate", build_texts, BOTH("gguf.text.utf8"), BYTES("\xed\xa0\x80")},
    {"texts with an overlong form", build_texts, BOTH("gguf.text.utf8"), BYTES("\xc0\xaf")},
    {"texts with an overlong form of three", build_texts, BOTH("gguf.text.utf8"),
     BYTES("\xe0\x80\xaf")},
    {"texts with a lonely continuation", build_texts, BOTH("gguf.text.utf8"), BYTES("abcdefgh\x80")},
    {"texts with a character cut at eight bytes", build_texts, BOTH("gguf.text.utf8"),
     BYTES("abcdefg\xc3")},
    {"texts with a character over eight bytes", build_texts, BYTES("abcdefg\xc3\xa4")},
    {"texts with a character cut at the end", build_texts, BOTH("gguf.text.utf8"),
     BYTES("abcdefgh\xc3")},
    {"a text in an array of 2^63 bytes", build_texts_with_length, BOTH("gguf.truncated"),
     .number = UINT64_C(1) << 63},
    {"a text in an array of 2^64-8 bytes", build_texts_with_length, BOTH("gguf.truncated"),
     .number = UINT64_MAX - 7},
    // arrays
    {"array of type 13", build_array_type, BOTH("gguf.value.type"), .number = 13},
    {"empty array", build_array_type, .warns = "gguf.data.trailing", .number = GGUF_TEXT},
    {"array larger than the file", build_array_count, BOTH("gguf.array.length"), .number = 5},
    {"array whose size wraps", build_array_count, BOTH("gguf.array.length"),
     .number = UINT64_C(1) << 62},
    {"array of 2^64-1", build_array_count, BOTH("gguf.array.length"), .number = UINT64_MAX},
    {"array up to the end", build_array_count, .number = 4},
    {"array of arrays", build_nested, STRICT_ONLY("gguf.array.nested", "gguf.array.nested"),
     .number = 2},
    {"arrays four deep", build_nested, STRICT_ONLY("gguf.array.nested", "gguf.array.nested"),
     .number = 4},
    {"arrays five deep", build_nested, .strict = "gguf.array.nested", .lenient = "gguf.array.depth",
     .number = 5},
    {"arrays a thousand deep", build_nested, .strict = "gguf.array.nested",
     .lenient = "gguf.array.depth", .number = 1000},
    // alignment
    {"llama.cpp KV_BAD_ALIGN", build_alignment, BOTH("gguf.alignment"), .number = 24},
    {"alignment 0", build_alignment, BOTH("gguf.alignment"), .number = 0},
    {"alignment 1", build_alignment, BOTH("gguf.alignment"), .number = 1},
    {"alignment 4", build_alignment, BOTH("gguf.alignment"), .number = 4},
    {"alignment 8", build_alignment, .number = 8},
    {"llama.cpp TENSORS_CUSTOM_ALIGN", build_alignment, .number = 1024},
    {"alignment 2^31", build_alignment, BOTH("gguf.alignment"), .number = UINT64_C(1) << 31},
    {"alignment 2^31 without tensors", build_alignment_without_tensors, BOTH("gguf.alignment"),
     .number = UINT64_C(1) << 31},
    {"alignment as i32", build_alignment_i32, BOTH("gguf.alignment")},
    {"llama.cpp DATA_CUSTOM_ALIGN", build_other_alignment, .number = 64},
    {"llama.cpp TENSORS_INCONSISTENT_ALIGN", build_other_alignment, BOTH("gguf.tensor.offset"),
     .number = 32},
    // split files
    {"split keys as llama.cpp writes them", build_split, .text = "s", .number = 1},
    {"split keys of other integers", build_split, .warns = "gguf.split.type", .text = "w",
     .number = 1},
    {"split number that is a text", build_split, BOTH("gguf.split"), .text = "t"},
    {"split with a negative number of tensors", build_split, BOTH("gguf.split"), .text = "-"},
    {"split 3 of 3", build_split, BOTH("gguf.split"), .text = "s", .number = 3},
    // tensors: names
    {"name of 63 bytes", build_name, .text = NAME_63},
    {"name of 64 bytes", build_name, BOTH("gguf.tensor.name"), .text = NAME_63 "n"},
    {"llama.cpp TENSORS_BAD_NAME_SIZE", build_name_length, BOTH("gguf.tensor.name"),
     .number = UINT64_MAX},
    {"empty name", build_name_length, BOTH("gguf.tensor.name"), .number = 0},
    {"name with NUL", build_name, BOTH("gguf.tensor.name"), BYTES("a\0b")},
    {"name that is not UTF-8", build_name, BOTH("gguf.tensor.name"), BYTES("a\xff")},
    {"name with spaces and slashes", build_name, .text = "model/a b"},
    {"llama.cpp TENSORS_DUPLICATE_NAME", build_same_tensor_twice, BOTH("tensor.duplicate")},
    // tensors: shapes
    {"scalar", build_rank, .number = 0},
    {"four dimensions", build_rank, .number = 4},
    {"llama.cpp TENSORS_BAD_N_DIMS", build_rank, BOTH("gguf.tensor.rank"), .number = 5},
    {"four billion dimensions", build_rank_of_billions, BOTH("gguf.tensor.rank")},
    {"llama.cpp TENSORS_BAD_SHAPE", build_shape, BOTH("gguf.tensor.shape"), .number = 0},
    {"dimension 0", build_shape, .warns = "gguf.data.trailing", .number = 1},
    {"product that wraps to zero", build_shape, BOTH("gguf.tensor.shape"), .number = 2},
    {"product that wraps, times zero", build_shape, BOTH("gguf.tensor.shape"), .number = 3},
    {"llama.cpp TENSORS_NE_TOO_BIG", build_shape, BOTH("gguf.tensor.shape"), .number = 4},
    {"more elements than an int64 counts", build_shape, BOTH("gguf.tensor.shape"), .number = 5},
    {"zero times a product that wraps", build_shape, BOTH("gguf.tensor.shape"), .number = 6},
    {"bytes that overflow", build_shape, BOTH("gguf.tensor.shape"), .number = 7},
    {"half a block of Q4_K", build_half_block, BOTH("gguf.tensor.shape"), .number = GGUF_Q4_K},
    // tensors: types
    {"llama.cpp TENSORS_BAD_TYPE", build_type, STRICT_ONLY("gguf.tensor.type", "gguf.tensor.type"),
     .number = 43},
    {"removed type 4", build_type, STRICT_ONLY("gguf.tensor.type", "gguf.tensor.type"), .number = 4},
    {"removed type 31", build_type, STRICT_ONLY("gguf.tensor.type", "gguf.tensor.type"),
     .number = 31},
    {"removed type 38", build_type, STRICT_ONLY("gguf.tensor.type", "gguf.tensor.type"),
     .number = 38},
    {"fork's type 337", build_type, STRICT_ONLY("gguf.tensor.type", "gguf.tensor.type"),
     .number = 337},
    {"type -1", build_type, STRICT_ONLY("gguf.tensor.type", "gguf.tensor.type"),
     .number = UINT32_MAX},
    // tensors: offsets
    {"three tensors in order", build_offset, .warns = "gguf.data.trailing", .number = 32},
    {"llama.cpp TENSORS_BAD_OFFSET", build_offset, BOTH("gguf.tensor.offset"), .number = 33},
    {"overlapping", build_offset, .strict = "gguf.tensor.offset", .lenient = "gguf.tensor.overlap",
     .number = 0},
    {"overlapping the one behind", build_offset, .strict = "gguf.tensor.offset",
     .lenient = "gguf.tensor.overlap", .number = 64},
    {"overlapping out of order", build_unordered_overlap, .strict = "gguf.tensor.offset",
     .lenient = "gguf.tensor.overlap"},
    {"out of order", build_unordered, STRICT_ONLY("gguf.tensor.offset", "gguf.tensor.offset")},
    {"holes and another order", build_offset,
     STRICT_ONLY("gguf.tensor.offset", "gguf.tensor.offset"), .number = 96},
    {"hole", build_other_alignment, .strict = "gguf.tensor.offset", .lenient = "gguf.data.short",
     .number = 128},
    {"offset 2^64-32", build_offset, .strict = "gguf.tensor.offset",
     .lenient = "gguf.tensor.offset", .number = UINT64_MAX - 31},
    // data
    {"llama.cpp DATA_SUCCESS", build_data, .number = 16},
    {"data with its last padding", build_data, .number = 32},
    {"llama.cpp DATA_NOT_ENOUGH_DATA", build_data, BOTH("gguf.data.short"), .number = 15},
    {"no data", build_no_data_at_all, BOTH("gguf.data.short")},
    {"bytes behind the data", build_data, .warns = "gguf.data.trailing", .number = 33},
    {"no padding before the data", build_no_padding,
     STRICT_ONLY("gguf.data.padding", "gguf.data.padding"), .number = 16},
    {"no padding before the data, but behind it", build_no_padding,
     STRICT_ONLY("gguf.data.padding", "gguf.data.padding"), .number = 32},
    {"no padding before data of zeros", build_no_padding_of_zeros,
     STRICT_ONLY("gguf.data.padding", "gguf.data.padding"), .number = 16},
    {"no padding before, as much as behind", build_padding_ambiguous,
     STRICT_ONLY("gguf.data.padding", "gguf.data.padding"), .number = 1},
    {"as much padding before as would be behind", build_padding_ambiguous, .number = 0},
    {"a part of the last padding", build_data, BOTH("gguf.data.short"), .number = 31},
    {"a byte of the last padding", build_data, BOTH("gguf.data.short"), .number = 17},
    {"no padding, and cut", build_no_padding, BOTH("gguf.data.short"), .number = 15},
    {"vocabulary without padding", build_vocabulary, .number = 0},
    {"bytes behind a vocabulary", build_vocabulary, .warns = "gguf.data.trailing", .number = 100},
    // whole files
    {"model", build_model, .number = 3},
    {"model of version 2", build_model, .number = 2},
    {"big-endian model", build_big_endian_model, .number = 3},
    {"big-endian model of version 2", build_big_endian_model, .number = 2},
};

enum { case_count = sizeof(cases) / sizeof(cases[0]) };

static void check_case(const file_case *given, const gguf_writer *file, uint32_t flags,
                       uint64_t head_first)
{
    const char *wanted = flags & DRAY_FORMAT_LENIENT ? given->lenient : given->strict;
    format_probe probe = {.head_first = head_first, .head_exact = true, .flags = flags};
    dray_status status = format_probe_read(&probe, &drayi_format_gguf, file->bytes, file->length);
    const char *how = flags & DRAY_FORMAT_LENIENT ? "lenient" : "strict";
    if (wanted && (status != DRAY_E_FORMAT || strcmp(probe.error.rule, wanted) != 0))
        fail_msg("%s, %s: wanted %s, got %s: %s", given->name, how, wanted,
                 dray_status_name(status), probe.error.message);
    if (!wanted && status != DRAY_OK)
        fail_msg("%s, %s: refused: %s", given->name, how, probe.error.message);
    if (!wanted && !given->warns && probe.warning_count > 0)
        fail_msg("%s, %s: warns: %s", given->name, how, probe.warnings[0].message);
    if (!wanted && given->warns && format_probe_warned(&probe, given->warns) == 0)
        fail_msg("%s, %s: does not warn of %s", given->name, how, given->warns);
    if (wanted && probe.error.offset != DRAY_UNKNOWN && probe.error.offset > file->length)
        fail_msg("%s: the error points to %" PRIu64 " of %" PRIu64, given->name, probe.error.offset,
                 file->length);
    format_probe_free(&probe);
}

static void every_file_gets_its_verdict(void **state)
{
    (void)state;
    for (size_t i = 0; i < case_count; i++) {
        gguf_writer file = {0};
        cases[i].build(&file, &cases[i]);
        corpus_write(cases[i].name, file.bytes, file.length);
        for (uint32_t flags = 0; flags <= DRAY_FORMAT_LENIENT; flags++) {
            check_case(&cases[i], &file, flags, 0);
            check_case(&cases[i], &file, flags, 1);
        }
        gguf_free(&file);
    }
}

// --- what good files say -------------------------------------------------------------------------

static void check_tensor(const format_probe *probe, const char *name, dray_dtype dtype,
                         uint32_t rank, const uint64_t *shape, uint64_t offset, uint64_t bytes)
{
    const format_probe_tensor *tensor = format_probe_tensor_named(probe, name);
    assert_non_null(tensor);
    assert_int_equal(tensor->dtype, dtype);
    assert_int_equal(tensor->rank, rank);
    for (uint32_t i = 0; i < rank; i++)
        assert_int_equal(tensor->shape[i], shape[i]);
    assert_int_equal(tensor->offset, probe->facts.data_offset + offset);
    assert_int_equal(tensor->bytes, bytes);
    assert_int_equal(tensor->size_known, 1);
}

static void check_model(bool big_endian)
{
    gguf_writer file = {.big_endian = big_endian};
    build_model(&file, NULL);
    format_probe probe = {.head_first = 24};
    assert_int_equal(format_probe_read(&probe, &drayi_format_gguf, file.bytes, file.length),
                     DRAY_OK);
    assert_int_equal(probe.facts.version, 3);
    assert_int_equal(probe.facts.big_endian, big_endian);
    assert_int_equal(probe.facts.alignment, 64);
    assert_int_equal(probe.facts.data_offset % 64, 0);
    assert_int_equal(probe.facts.data_offset, file.length - 524);
    assert_int_equal(probe.facts.split_count, 0);
    assert_int_equal(probe.tensor_count, 3);
    check_tensor(&probe, "token_embd.weight", DRAY_DTYPE_Q4_K, 2, (uint64_t[]){3, 256}, 0, 432);
    check_tensor(&probe, "output_norm.weight", DRAY_DTYPE_F32, 1, (uint64_t[]){5}, 448, 20);
    check_tensor(&probe, "blk.0.attn_q.weight", DRAY_DTYPE_F16, 4, (uint64_t[]){1, 2, 1, 3}, 512,
                 12);

    const dray_value *tokens = format_probe_value(&probe, "tokenizer.ggml.tokens");
    assert_int_equal(tokens->type, DRAY_VALUE_ARRAY);
    assert_int_equal(tokens->element_type, DRAY_VALUE_TEXT);
    assert_int_equal(tokens->as.array.count, 3);
    assert_int_equal(tokens->as.array.byte_count, 3 * 8 + 3 + 7 + 6);
    assert_memory_equal(tokens->as.array.bytes + 8, "<s>", 3);
    const dray_value *scores = format_probe_value(&probe, "tokenizer.ggml.scores");
    assert_int_equal(scores->element_type, DRAY_VALUE_F32);
    assert_int_equal(scores->as.array.byte_count, 12);
    assert_int_equal(scores->as.array.bytes[big_endian ? 0 : 3], 0x3F); // as it stands in the file
    const dray_value *name = format_probe_value(&probe, "general.architecture");
    assert_int_equal(name->as.text.length, 5);
    assert_memory_equal(name->as.text.bytes, "llama", 5);
    format_probe_free(&probe);
    gguf_free(&file);
}

static void a_model_is_described_exactly(void **state)
{
    (void)state;
    check_model(false);
}

static void a_big_endian_model_is_described_the_same(void **state)
{
    (void)state;
    check_model(true);
}

static void put_every_value(gguf_writer *writer)
{
    gguf_header(writer, 3, 0, 12);
    gguf_key_u8(writer, "u8", GGUF_U8, 200);
    gguf_key_u8(writer, "i8", GGUF_I8, 0x80);
    gguf_key_u16(writer, "u16", 60000);
    gguf_key(writer, "i16", GGUF_I16);
    gguf_u16(writer, 0xFFFE);
    gguf_key_u32(writer, "u32", 4000000000U);
    gguf_key_i32(writer, "i32", -5);
    gguf_key(writer, "f32", GGUF_FLOAT32);
    gguf_u32(writer, 0xC0490FDB); // -pi
    gguf_key_u8(writer, "bool", GGUF_BOOL, 1);
    gguf_key_text(writer, "text", "");
    gguf_key_u64(writer, "u64", UINT64_C(0x8877665544332211));
    gguf_key(writer, "i64", GGUF_I64);
    gguf_u64(writer, (uint64_t)INT64_MIN);
    gguf_key(writer, "f64", GGUF_FLOAT64);
    gguf_u64(writer, UINT64_C(0x3FB999999999999A)); // 0.1
}

static void check_every_value(const format_probe *probe)
{
    static const struct {
        const char *key;
        dray_value_type type;
        uint64_t bits; // of as.u64
    } wanted[] = {
        {"u8", DRAY_VALUE_U8, 200},
        {"i8", DRAY_VALUE_I8, (uint64_t)-128},
        {"u16", DRAY_VALUE_U16, 60000},
        {"i16", DRAY_VALUE_I16, (uint64_t)-2},
        {"u32", DRAY_VALUE_U32, 4000000000},
        {"i32", DRAY_VALUE_I32, (uint64_t)-5},
        {"bool", DRAY_VALUE_BOOL, 1},
        {"u64", DRAY_VALUE_U64, UINT64_C(0x8877665544332211)},
        {"i64", DRAY_VALUE_I64, (uint64_t)INT64_MIN},
    };
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        const dray_value *value = format_probe_value(probe, wanted[i].key);
        assert_non_null(value);
        assert_int_equal(value->type, wanted[i].type);
        assert_int_equal(value->as.u64, wanted[i].bits);
    }
    assert_true(format_probe_value(probe, "f32")->as.f64 == (double)-3.14159274F);
    assert_true(format_probe_value(probe, "f64")->as.f64 == 0.1);
    assert_int_equal(format_probe_value(probe, "text")->as.text.length, 0);
}

static void every_value_type_is_read_in_both_byte_orders(void **state)
{
    (void)state;
    for (int big_endian = 0; big_endian < 2; big_endian++) {
        gguf_writer file = {.big_endian = big_endian};
        put_every_value(&file);
        format_probe probe = {.head_first = 1, .head_exact = true};
        assert_int_equal(format_probe_read(&probe, &drayi_format_gguf, file.bytes, file.length),
                         DRAY_OK);
        assert_int_equal(probe.metadata_count, 12);
        check_every_value(&probe);
        format_probe_free(&probe);
        gguf_free(&file);
    }
}

static void every_live_type_is_read_with_its_size(void **state)
{
    static const struct {
        uint32_t id, block_elements, block_bytes;
    } types[] = {
        {0, 1, 4},      {1, 1, 2},      {2, 32, 18},    {3, 32, 20},    {6, 32, 22},
        {7, 32, 24},    {8, 32, 34},    {9, 32, 36},    {10, 256, 84},  {11, 256, 110},
        {12, 256, 144}, {13, 256, 176}, {14, 256, 210}, {15, 256, 292}, {16, 256, 66},
        {17, 256, 74},  {18, 256, 98},  {19, 256, 50},  {20, 32, 18},   {21, 256, 110},
        {22, 256, 82},  {23, 256, 136}, {24, 1, 1},     {25, 1, 2},     {26, 1, 4},
        {27, 1, 8},     {28, 1, 8},     {29, 256, 56},  {30, 1, 2},     {34, 256, 54},
        {35, 256, 66},  {39, 32, 17},   {40, 64, 36},   {41, 128, 18},  {42, 64, 18},
    };
    (void)state;
    assert_int_equal(sizeof(types) / sizeof(types[0]), 35);
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        uint64_t shape[] = {512, 3},
                 bytes = UINT64_C(1536) / types[i].block_elements * types[i].block_bytes;
        gguf_writer file = {0};
        gguf_header(&file, 3, 1, 0);
        gguf_tensor(&file, "t", types[i].id, 2, shape, 0);
        gguf_data(&file, bytes);
        format_probe probe = {0};
        assert_int_equal(format_probe_read(&probe, &drayi_format_gguf, file.bytes, file.length),
                         DRAY_OK);
        assert_int_equal(probe.tensors[0].bytes, bytes);
        assert_int_equal(probe.tensors[0].native_type, types[i].id);
        format_probe_free(&probe);
        gguf_free(&file);
    }
}

static void removed_types_are_named_in_the_error(void **state)
{
    static const struct {
        uint32_t id;
        const char *words;
    } types[] = {
        {4, "4 (Q4_2) was removed"},
        {5, "5 (Q4_3) was removed"},
        {31, "31 (Q4_0_4_4) was removed"},
        {32, "32 (Q4_0_4_8) was removed"},
        {33, "33 (Q4_0_8_8) was removed"},
        {36, "36 (IQ4_NL_4_4) was removed"},
        {37, "37 (IQ4_NL_4_8) was removed"},
        {38, "38 (IQ4_NL_8_8) was removed"},
        {337, "type 337 is none of ggml's but"},
        {43, "type 43 is none of ggml's (0 to 42)"},
        {100, "type 100 is none of ggml's (0 to 42)"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        dray_error error;
        assert_int_equal(drayi_gguf_dtype(types[i].id), DRAY_DTYPE_UNKNOWN);
        assert_int_equal(drayi_gguf_refuse_type(types[i].id, 9, &error), DRAY_E_FORMAT);
        assert_non_null(strstr(error.message, types[i].words));
        assert_int_equal(error.offset, 9);
    }
}

static void an_unknown_type_is_listed_without_a_size_under_lenient(void **state)
{
    (void)state;
    gguf_writer file = {0};
    build_type(&file, &(file_case){.number = 337});
    format_probe probe = {.flags = DRAY_FORMAT_LENIENT};
    assert_int_equal(format_probe_read(&probe, &drayi_format_gguf, file.bytes, file.length),
                     DRAY_OK);
    assert_int_equal(probe.tensors[0].size_known, 0);
    assert_int_equal(probe.tensors[0].native_type, 337);
    assert_int_equal(probe.tensors[0].dtype, DRAY_DTYPE_UNKNOWN);
    assert_int_equal(probe.tensors[1].offset, probe.facts.data_offset + 1024);
    format_probe_free(&probe);
    gguf_free(&file);
}

static void the_first_of_two_equal_keys_counts_under_lenient(void **state)
{
    (void)state;
    gguf_writer file = {0};
    build_same_key_twice(&file, NULL);
    format_probe probe = {.flags = DRAY_FORMAT_LENIENT};
    assert_int_equal(format_probe_read(&probe, &drayi_format_gguf, file.bytes, file.length),
                     DRAY_OK);
    assert_int_equal(probe.metadata_count, 1);
    assert_int_equal(format_probe_value(&probe, "a")->as.u64, 1);
    format_probe_free(&probe);
    gguf_free(&file);
}

static void split_keys_become_facts(void **state)
{
    (void)state;
    gguf_writer file = {0};
    build_split(&file, &(file_case){.number = 2, .text = "s"});
    format_probe probe = {0};
    assert_int_equal(format_probe_read(&probe, &drayi_format_gguf, file.bytes, file.length),
                     DRAY_OK);
    assert_int_equal(probe.facts.split_no, 2);
    assert_int_equal(probe.facts.split_count, 3);
    assert_int_equal(probe.facts.split_tensors, 291);
    format_probe_free(&probe);
    gguf_free(&file);
}

static void bounds_only_does_not_look_into_array_texts(void **state)
{
    (void)state;
    gguf_writer file = {0};
    build_texts(&file, &(file_case){.text = "\xff\xff"});
    format_probe probe = {.flags = DRAY_FORMAT_BOUNDS_ONLY};
    assert_int_equal(format_probe_read(&probe, &drayi_format_gguf, file.bytes, file.length),
                     DRAY_OK);
    assert_int_equal(probe.metadata_count, 2);
    format_probe_free(&probe);
    gguf_free(&file);
}

static void a_model_cut_anywhere_is_refused(void **state)
{
    (void)state;
    gguf_writer file = {0};
    build_model(&file, NULL);
    for (uint64_t length = 0; length < file.length; length++) {
        for (uint32_t flags = 0; flags <= DRAY_FORMAT_LENIENT; flags++) {
            format_probe probe = {.flags = flags, .head_first = 40};
            if (format_probe_read(&probe, &drayi_format_gguf, file.bytes, length) != DRAY_E_FORMAT)
                fail_msg("cut at %" PRIu64 " of %" PRIu64 ", lenient %u: accepted", length,
                         file.length, flags);
            format_probe_free(&probe);
        }
    }
    gguf_free(&file);
}

static void the_head_grows_in_few_steps(void **state)
{
    enum { texts = 60000 };
    (void)state;
    gguf_writer file = {0};
    gguf_header(&file, 3, 0, 1);
    gguf_key_array(&file, "tokens", GGUF_TEXT, texts);
    for (int i = 0; i < texts; i++)
        gguf_text(&file, "a token of a word");
    format_probe probe = {.head_first = 4096, .head_exact = true};
    assert_int_equal(format_probe_read(&probe, &drayi_format_gguf, file.bytes, file.length),
                     DRAY_OK);
    assert_int_equal(probe.need_count, 6); // 64, 128, ... 1024 KiB, and the rest
    assert_int_equal(format_probe_value(&probe, "tokens")->as.array.byte_count, texts * 25);
    format_probe_free(&probe);
    gguf_free(&file);
}

static void every_failing_call_ends_the_read_with_its_error(void **state)
{
    (void)state;
    for (int unordered = 0; unordered < 2; unordered++) {
        gguf_writer file = {0};
        (unordered ? build_unordered : build_model)(&file, &cases[0]);
        bool failed = true;
        for (uint64_t call = 1; failed; call++) {
            format_probe probe = {.fail_at = call, .flags = DRAY_FORMAT_LENIENT, .head_first = 30};
            dray_status status =
                format_probe_read(&probe, &drayi_format_gguf, file.bytes, file.length);
            failed = probe.failed;
            if (failed && status != DRAY_E_NOMEM && status != DRAY_E_IO)
                fail_msg("call %" PRIu64 " failed, the read returns %s", call,
                         dray_status_name(status));
            if (!failed)
                assert_int_equal(status, DRAY_OK);
            format_probe_free(&probe);
        }
        gguf_free(&file);
    }
}

static void only_the_magic_is_taken(void **state)
{
    (void)state;
    assert_int_equal(drayi_format_gguf.probe((const uint8_t *)"GGUF", 4, 4), 100);
    assert_int_equal(drayi_format_gguf.probe((const uint8_t *)"GGU", 3, 3), 0);
    assert_int_equal(drayi_format_gguf.probe((const uint8_t *)"GGML....", 8, 8), 0);
}

static void real_files_are_read(void **state)
{
    static const struct {
        const char *name, *strict, *lenient;
        uint64_t keys, tensors, bytes;
    } files[] = {
        {"llamacpp-vocab-bert-bge.gguf", NULL, NULL, 20, 0, 0},
        {"llamacpp-vocab-gpt-2.gguf", NULL, NULL, 16, 0, 0},
        {"llamacpp-vocab-llama-spm.gguf", NULL, NULL, 22, 0, 0},
        {"iree-single.gguf", "gguf.key.duplicate", NULL, 5, 1, 16},
        {"iree-single-v2.gguf", "gguf.key.duplicate", NULL, 5, 1, 16},
        {"iree-multiple.gguf", "gguf.key.duplicate", NULL, 5, 3, 72},
        {"iree-weight-bias.gguf", "gguf.key.duplicate", NULL, 5, 2, 2520},
        {"weightinspect-tiny.gguf", "gguf.data.short", "gguf.data.short", 0, 0, 0},
    };
    const char *directory = getenv("DRAY_TEST_DATA");
    (void)state;
    if (!directory || !*directory) {
        print_message("skipped: DRAY_TEST_DATA names no folder of real files\n");
        skip();
    }
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        for (uint32_t flags = 0; flags <= DRAY_FORMAT_LENIENT; flags++) {
            const char *wanted = flags ? files[i].lenient : files[i].strict;
            uint64_t length = 0, sum = 0;
            uint8_t *bytes = format_probe_load(directory, files[i].name, &length);
            if (!bytes)
                fail_msg("%s/%s cannot be read", directory, files[i].name);
            format_probe probe = {.flags = flags, .head_first = 4096, .head_exact = true};
            dray_status status = format_probe_read(&probe, &drayi_format_gguf, bytes, length);
            if ((status == DRAY_OK) != !wanted || (wanted && strcmp(probe.error.rule, wanted) != 0))
                fail_msg("%s: %s", files[i].name, probe.error.message);
            for (uint64_t t = 0; t < probe.tensor_count; t++)
                sum += probe.tensors[t].bytes;
            if (!wanted) {
                assert_int_equal(probe.metadata_count, files[i].keys);
                assert_int_equal(probe.tensor_count, files[i].tensors);
                assert_int_equal(sum, files[i].bytes);
            }
            format_probe_free(&probe);
            free(bytes);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_file_gets_its_verdict),
        cmocka_unit_test(a_model_is_described_exactly),
        cmocka_unit_test(a_big_endian_model_is_described_the_same),
        cmocka_unit_test(every_value_type_is_read_in_both_byte_orders),
        cmocka_unit_test(every_live_type_is_read_with_its_size),
        cmocka_unit_test(removed_types_are_named_in_the_error),
        cmocka_unit_test(an_unknown_type_is_listed_without_a_size_under_lenient),
        cmocka_unit_test(the_first_of_two_equal_keys_counts_under_lenient),
        cmocka_unit_test(split_keys_become_facts),
        cmocka_unit_test(bounds_only_does_not_look_into_array_texts),
        cmocka_unit_test(a_model_cut_anywhere_is_refused),
        cmocka_unit_test(the_head_grows_in_few_steps),
        cmocka_unit_test(every_failing_call_ends_the_read_with_its_error),
        cmocka_unit_test(only_the_magic_is_taken),
        cmocka_unit_test(real_files_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
