/// APR: what the original reader took for granted is checked here, one named case for each.
#include "support/apr_writer.h"
#include "support/corpus.h"
#include "support/format_probe.h"
#include "support/testing.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const dray_format_ops drayi_format_apr;

static const char plain_metadata[] =
    "{\"architecture\": \"llama\", \"hidden_size\": 8, \"rms_norm_eps\": 1e-6, \"shift\": -3,\n"
    " \"tied\": true, \"vocab\": [\"a\", {\"b\": null}], \"name\": \"gr\\u00fc\\u00df\\n\", \"none\": null}";

static const apr_tensor_in plain_tensors[] = {
    {"embed", 0, 2, {3, 4}, 48}, // F32
    {"bias", 1, 1, {5}, 10},     // F16
    {"q4", 128, 2, {4, 10}, 36}, // APR q4, last block partly filled
    {"q8", 129, 2, {4, 10}, 44}, // APR q8
};

static void put_model(gguf_writer *writer)
{
    apr_write(writer, 0, plain_metadata, plain_tensors, 4);
}

static dray_status read_file(format_probe *probe, const gguf_writer *file)
{
    return format_probe_read(probe, &drayi_format_apr, file->bytes, file->length);
}

static void a_model_is_described_exactly(void **state)
{
    (void)state;
    gguf_writer file = {0};
    put_model(&file);
    format_probe probe = {.head_first = 64, .head_exact = true};
    assert_int_equal(read_file(&probe, &file), DRAY_OK);
    assert_int_equal(probe.facts.version, 2);
    assert_int_equal(probe.facts.alignment, 64);
    assert_int_equal(probe.facts.data_offset % 64, 0);
    assert_int_equal(probe.tensor_count, 4);
    const format_probe_tensor *embed = format_probe_tensor_named(&probe, "embed");
    assert_int_equal(embed->dtype, DRAY_DTYPE_F32);
    assert_int_equal(embed->shape[0], 3);
    assert_int_equal(embed->shape[1], 4);
    assert_int_equal(embed->offset, probe.facts.data_offset);
    const format_probe_tensor *q8 = format_probe_tensor_named(&probe, "q8");
    assert_int_equal(q8->dtype, DRAY_DTYPE_APR_Q8);
    assert_int_equal(q8->offset, probe.facts.data_offset + 192);
    assert_int_equal(q8->bytes, 44);
    assert_int_equal(format_probe_tensor_named(&probe, "q4")->dtype, DRAY_DTYPE_APR_Q4);
    assert_int_equal(probe.warning_count, 0);
    format_probe_free(&probe);
    gguf_free(&file);
}

static void check_text(const dray_value *value, dray_value_type type, const char *wanted)
{
    assert_non_null(value);
    assert_int_equal(value->type, type);
    assert_int_equal(value->as.text.length, strlen(wanted));
    assert_memory_equal(value->as.text.bytes, wanted, strlen(wanted));
}

static void metadata_keys_become_values_of_their_kind(void **state)
{
    (void)state;
    gguf_writer file = {0};
    put_model(&file);
    format_probe probe = {.head_first = 1};
    assert_int_equal(read_file(&probe, &file), DRAY_OK);
    assert_int_equal(probe.metadata_count, 8);
    check_text(format_probe_value(&probe, "architecture"), DRAY_VALUE_TEXT, "llama");
    check_text(format_probe_value(&probe, "name"), DRAY_VALUE_TEXT, "grüß\n");
    check_text(format_probe_value(&probe, "vocab"), DRAY_VALUE_JSON, "[\"a\", {\"b\": null}]");
    check_text(format_probe_value(&probe, "none"), DRAY_VALUE_JSON, "null");
    assert_int_equal(format_probe_value(&probe, "hidden_size")->type, DRAY_VALUE_U64);
    assert_int_equal(format_probe_value(&probe, "hidden_size")->as.u64, 8);
    assert_int_equal(format_probe_value(&probe, "shift")->as.i64, -3);
    assert_int_equal(format_probe_value(&probe, "shift")->type, DRAY_VALUE_I64);
    assert_true(format_probe_value(&probe, "rms_norm_eps")->as.f64 == 1e-6);
    assert_int_equal(format_probe_value(&probe, "tied")->type, DRAY_VALUE_BOOL);
    assert_int_equal(format_probe_value(&probe, "tied")->as.u64, 1);
    format_probe_free(&probe);
    gguf_free(&file);
}

/// A tensor of this dtype byte, shape and size is that type, or refused (UNKNOWN).
typedef struct type_case {
    uint8_t type, rank;
    uint64_t shape[2], bytes;
    dray_dtype wanted;
    const char *rule;
} type_case;

static const type_case types[] = {
    {0, 1, {4}, 16, DRAY_DTYPE_F32, NULL},
    {1, 1, {4}, 8, DRAY_DTYPE_F16, NULL},
    {30, 1, {4}, 8, DRAY_DTYPE_BF16, NULL},
    {2, 1, {64}, 36, DRAY_DTYPE_Q4_0, NULL},
    {12, 2, {2, 256}, 288, DRAY_DTYPE_Q4_K, NULL},
    {14, 1, {256}, 210, DRAY_DTYPE_Q6_K, NULL},
    {17, 1, {256}, 74, DRAY_DTYPE_IQ2_XS, NULL},
    // one byte, two meanings: the size decides
    {8, 1, {64}, 36, DRAY_DTYPE_APR_Q4, NULL}, // legacy
    {8, 1, {64}, 68, DRAY_DTYPE_Q8_0, NULL},
    {8, 1, {33}, 36, DRAY_DTYPE_APR_Q4, NULL},
    {9, 1, {64}, 68, DRAY_DTYPE_APR_Q8, NULL}, // legacy
    {9, 1, {64}, 72, DRAY_DTYPE_Q8_1, NULL},
    {3, 1, {32}, 20, DRAY_DTYPE_Q4_1, NULL},
    {3, 1, {32}, 256, DRAY_DTYPE_F64, NULL},
    {4, 1, {32}, 128, DRAY_DTYPE_I32, NULL},
    {5, 1, {32}, 256, DRAY_DTYPE_I64, NULL},
    {6, 1, {32}, 22, DRAY_DTYPE_Q5_0, NULL},
    {6, 1, {31}, 31, DRAY_DTYPE_I8, NULL},
    {7, 1, {32}, 24, DRAY_DTYPE_Q5_1, NULL},
    {7, 1, {32}, 32, DRAY_DTYPE_U8, NULL},
    {128, 1, {32}, 18, DRAY_DTYPE_APR_Q4, NULL},
    {129, 1, {32}, 36, DRAY_DTYPE_APR_Q8, NULL},
    {129, 1, {0}, 0, DRAY_DTYPE_APR_Q8, NULL},
    {0, 0, {0}, 4, DRAY_DTYPE_F32, NULL},
    // refused
    {0, 1, {4}, 15, DRAY_DTYPE_UNKNOWN, "apr.tensor.size"},
    {0, 1, {4}, 20, DRAY_DTYPE_UNKNOWN, "apr.tensor.size"},
    {8, 1, {64}, 64, DRAY_DTYPE_UNKNOWN, "apr.tensor.size"},
    {129, 1, {32}, 32, DRAY_DTYPE_UNKNOWN, "apr.tensor.size"},
    {12, 1, {100}, 144, DRAY_DTYPE_UNKNOWN, "apr.tensor.shape"},
    {31, 1, {4}, 16, DRAY_DTYPE_UNKNOWN, "apr.tensor.type"},
    {200, 1, {4}, 16, DRAY_DTYPE_UNKNOWN, "apr.tensor.type"},
    {0, 2, {UINT64_C(1) << 62, 4}, 0, DRAY_DTYPE_UNKNOWN, "apr.tensor.shape"},
};

static void the_size_decides_what_a_dtype_byte_means(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        apr_tensor_in tensor = {
            .name = "t", .type = types[i].type, .rank = types[i].rank, .bytes = types[i].bytes};
        memcpy(tensor.shape, types[i].shape, sizeof(types[i].shape));
        gguf_writer file = {0};
        apr_write(&file, 0, "{}", &tensor, 1);
        char name[40];
        snprintf(name, sizeof(name), "type_%u_%zu", types[i].type, i);
        corpus_write(name, file.bytes, file.length);
        format_probe probe = {0};
        dray_status status = read_file(&probe, &file);
        if (types[i].rule &&
            (status != DRAY_E_FORMAT || strcmp(probe.error.rule, types[i].rule) != 0))
            fail_msg("case %zu: wanted %s, got %s", i, types[i].rule, probe.error.message);
        if (!types[i].rule && (status != DRAY_OK || probe.tensors[0].dtype != types[i].wanted))
            fail_msg("case %zu: %s", i, status == DRAY_OK ? "another type" : probe.error.message);
        format_probe_free(&probe);
        gguf_free(&file);
    }
}

static void an_unknown_dtype_is_listed_under_lenient(void **state)
{
    (void)state;
    gguf_writer file = {0};
    apr_write(&file, 0, "{}", &(apr_tensor_in){"t", 200, 1, {4}, 16}, 1);
    format_probe probe = {.flags = DRAY_FORMAT_LENIENT};
    assert_int_equal(read_file(&probe, &file), DRAY_OK);
    assert_int_equal(probe.tensors[0].size_known, 0);
    assert_int_equal(probe.tensors[0].native_type, 200);
    assert_int_equal(format_probe_warned(&probe, "apr.tensor.type"), 1);
    format_probe_free(&probe);
    gguf_free(&file);
}

/// The plain model with one number of it changed.
typedef struct patch_case {
    const char *name;
    uint64_t offset, value;
    unsigned count;
    dray_status status;
    const char *rule; // refused with it, or warned of when the status is DRAY_OK; NULL: neither
} patch_case;

static const patch_case patches[] = {
    {"unchanged", 44, 0, 1, DRAY_OK, NULL},
    {"magic APR2", 3, '2', 1, DRAY_OK, NULL},
    {"magic APR1", 3, '1', 1, DRAY_E_FORMAT, "apr.version"},
    {"magic APRN", 3, 'N', 1, DRAY_E_FORMAT, "apr.version"},
    {"magic APRX", 3, 'X', 1, DRAY_E_FORMAT, "apr.magic"},
    {"another magic", 0, 'X', 1, DRAY_E_FORMAT, "apr.magic"},
    {"version 3", APR_AT_VERSION, 3, 1, DRAY_E_FORMAT, "apr.version"},
    {"version 2.7", APR_AT_VERSION + 1, 7, 1, DRAY_OK, NULL},
    {"encrypted", APR_AT_FLAGS, APR_ENCRYPTED, 2, DRAY_E_FORMAT, "apr.encrypted"},
    {"column-major", APR_AT_FLAGS, 0x800, 2, DRAY_E_FORMAT, "apr.layout"},
    {"row-major, quantised, with vocabulary", APR_AT_FLAGS, 0x620, 2, DRAY_OK, NULL},
    {"signed", APR_AT_FLAGS, APR_SIGNED, 2, DRAY_OK, "apr.signed"},
    {"sharded", APR_AT_FLAGS, APR_SHARDED, 2, DRAY_OK, "apr.sharded"},
    {"unknown flag", APR_AT_FLAGS, 0x4000, 2, DRAY_OK, "apr.flags"},
    {"wrong checksum", APR_AT_CHECKSUM, 0x12345678, 4, DRAY_E_CORRUPT, "apr.checksum"},
    {"fewer tensors than in the index", APR_AT_TENSORS, 3, 4, DRAY_OK, "apr.data.trailing"},
    {"more tensors than in the index", APR_AT_TENSORS, 5, 4, DRAY_E_FORMAT, "apr.tensor.name"},
    {"four billion tensors", APR_AT_TENSORS, UINT32_MAX, 4, DRAY_E_FORMAT, "apr.tensor.count"},
    {"metadata in the header", APR_AT_METADATA, 63, 8, DRAY_E_FORMAT, "apr.metadata.offset"},
    {"metadata at 2^64-1", APR_AT_METADATA, UINT64_MAX, 8, DRAY_E_FORMAT, "apr.metadata.offset"},
    {"metadata of 4 GiB", APR_AT_METADATA_BYTES, UINT32_MAX, 4, DRAY_E_FORMAT,
     "apr.metadata.offset"},
    {"metadata that reaches into the index", APR_AT_METADATA_BYTES, 400, 4, DRAY_E_FORMAT,
     "apr.offset"},
    {"metadata cut by a byte", APR_AT_METADATA_BYTES, sizeof(plain_metadata) - 2, 4, DRAY_E_FORMAT,
     "json.syntax"},
    {"metadata with padding", APR_AT_METADATA_BYTES, sizeof(plain_metadata), 4, DRAY_E_FORMAT,
     "json.trailing"},
    {"no metadata", APR_AT_METADATA_BYTES, 0, 4, DRAY_OK, NULL},
    {"index at 2^64-1", APR_AT_INDEX, UINT64_MAX, 8, DRAY_E_FORMAT, "apr.offset"},
    {"index in the header", APR_AT_INDEX, 0, 8, DRAY_E_FORMAT, "apr.offset"},
    {"data before the index", APR_AT_DATA, 64, 8, DRAY_E_FORMAT, "apr.offset"},
    {"data at 2^64-1", APR_AT_DATA, UINT64_MAX, 8, DRAY_E_FORMAT, "apr.offset"},
};

static void every_header_field_is_checked(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(patches) / sizeof(patches[0]); i++) {
        const patch_case *given = &patches[i];
        gguf_writer file = {0};
        put_model(&file);
        apr_patch(&file, given->offset, given->value, given->count);
        corpus_write(given->name, file.bytes, file.length);
        for (uint64_t head_first = 0; head_first <= 1; head_first++) {
            format_probe probe = {.head_first = head_first, .head_exact = true};
            dray_status status = read_file(&probe, &file);
            if (status != given->status)
                fail_msg("%s: %s: %s", given->name, dray_status_name(status), probe.error.message);
            if (status != DRAY_OK && strcmp(probe.error.rule, given->rule) != 0)
                fail_msg("%s: %s: %s", given->name, probe.error.rule, probe.error.message);
            if (status == DRAY_OK && probe.warning_count != (given->rule != NULL))
                fail_msg("%s: %" PRIu64 " warnings", given->name, probe.warning_count);
            if (status == DRAY_OK && given->rule)
                assert_int_equal(format_probe_warned(&probe, given->rule), 1);
            format_probe_free(&probe);
        }
        gguf_free(&file);
    }
}

static void metadata_is_strict_json(void **state)
{
    static const struct {
        const char *json, *rule;
    } texts[] = {
        {"{}", NULL},
        {" {\"a\": 1} ", NULL},
        {"[]", "apr.metadata"},
        {"1", "apr.metadata"},
        {"{\"a\": 1, \"a\": 2}", "apr.metadata.duplicate"},
        {"{\"a\": 1, \"\\u0061\": 2}", "apr.metadata.duplicate"},
        {"{\"a\\u0000b\": 1}", "apr.metadata.key"},
        {"{\"a\": 1,}", "json.comma"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        gguf_writer file = {0};
        apr_write(&file, 0, texts[i].json, NULL, 0);
        format_probe probe = {0};
        dray_status status = read_file(&probe, &file);
        if ((status == DRAY_OK) != !texts[i].rule)
            fail_msg("%s: %s", texts[i].json, probe.error.message);
        if (texts[i].rule && strncmp(texts[i].rule, "json.", 5) != 0)
            assert_string_equal(probe.error.rule, texts[i].rule);
        format_probe_free(&probe);
        gguf_free(&file);
    }
}

static void a_number_too_large_for_a_double_stays_text(void **state)
{
    (void)state;
    gguf_writer file = {0};
    apr_write(&file, 0, "{\"a\": 1e999}", NULL, 0);
    format_probe probe = {0};
    assert_int_equal(read_file(&probe, &file), DRAY_OK);
    check_text(format_probe_value(&probe, "a"), DRAY_VALUE_JSON, "1e999");
    format_probe_free(&probe);
    gguf_free(&file);
}

static void the_right_checksum_is_accepted(void **state)
{
    (void)state;
    // CRC-32 of the header of this very file, from Python's zlib.crc32(header[:40] + header[44:])
    static const char metadata[] = "{}";
    gguf_writer file = {0};
    apr_write(&file, 0, metadata, NULL, 0);
    apr_patch(&file, APR_AT_CHECKSUM, 0x827DC22FU, 4);
    format_probe probe = {0};
    assert_int_equal(read_file(&probe, &file), DRAY_OK);
    format_probe_free(&probe);
    gguf_free(&file);
}

static void the_footer_of_aprender_is_no_trailing_byte(void **state)
{
    (void)state;
    gguf_writer file = {0};
    put_model(&file);
    gguf_u32(&file, 0xDEADBEEF);
    format_probe probe = {0};
    assert_int_equal(read_file(&probe, &file), DRAY_OK);
    assert_int_equal(probe.warning_count, 0);
    format_probe_free(&probe);
    gguf_free(&file);
}

/// Patches the offset (the last but one u64) of the entry behind a name.
static void offset_patch(gguf_writer *file, const char *name, uint32_t rank, uint64_t offset)
{
    const uint8_t *found = memmem(file->bytes, file->length, name, strlen(name));
    assert_non_null(found);
    apr_patch(file, (uint64_t)(found - file->bytes) + strlen(name) + 2 + rank * 8, offset, 8);
}

static void tensors_may_stand_in_any_order_but_not_overlap(void **state)
{
    static const struct {
        uint64_t offset; // of "bias", 10 bytes
        const char *rule;
    } offsets[] = {
        {64, NULL},
        {48, NULL},
        {47, "apr.tensor.overlap"},
        {236, NULL},
        {235, "apr.tensor.overlap"},
        {246, NULL},
        {247, "apr.tensor.offset"},
        {UINT64_MAX, "apr.tensor.offset"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
        gguf_writer file = {0};
        put_model(&file);
        offset_patch(&file, "bias", 1, offsets[i].offset);
        format_probe probe = {.head_first = 1};
        dray_status status = read_file(&probe, &file);
        if ((status == DRAY_OK) != !offsets[i].rule ||
            (offsets[i].rule && strcmp(probe.error.rule, offsets[i].rule) != 0))
            fail_msg("offset %" PRIu64 ": %s", offsets[i].offset, probe.error.message);
        if (offsets[i].offset == 48)
            assert_int_equal(probe.facts.alignment, 16); // what all tensors still share
        format_probe_free(&probe);
        gguf_free(&file);
    }
}

static void a_model_cut_anywhere_is_refused(void **state)
{
    (void)state;
    gguf_writer file = {0};
    put_model(&file);
    uint64_t data_end = file.length - (64 - 44); // behind it there is padding only
    for (uint64_t length = 0; length < data_end; length++) {
        format_probe probe = {.flags = DRAY_FORMAT_LENIENT, .head_first = 40};
        if (format_probe_read(&probe, &drayi_format_apr, file.bytes, length) != DRAY_E_FORMAT)
            fail_msg("cut at %" PRIu64 " of %" PRIu64 ": accepted", length, file.length);
        format_probe_free(&probe);
    }
    gguf_free(&file);
}

static void every_failing_call_ends_the_read_with_its_error(void **state)
{
    (void)state;
    gguf_writer file = {0};
    put_model(&file);
    offset_patch(&file, "bias", 1, 236); // out of order: memory is needed, too
    bool failed = true;
    for (uint64_t call = 1; failed; call++) {
        format_probe probe = {.fail_at = call, .head_first = 30};
        dray_status status = read_file(&probe, &file);
        failed = probe.failed;
        if (failed && status != DRAY_E_NOMEM && status != DRAY_E_IO)
            fail_msg("call %" PRIu64 " failed, the read returns %s", call, dray_status_name(status));
        if (!failed)
            assert_int_equal(status, DRAY_OK);
        format_probe_free(&probe);
    }
    gguf_free(&file);
}

static void packing_follows_from_the_flags(void **state)
{
    static const struct {
        uint16_t flags;
        const char *codec;
        dray_status status;
    } packings[] = {
        {0, NULL, DRAY_OK},
        {APR_LZ4, "lz4_block", DRAY_OK},
        {APR_ZSTD, "zstd", DRAY_OK},
        {APR_ZSTD | APR_ENCRYPTED, NULL, DRAY_OK}, // read() refuses it
        {APR_LZ4 | APR_ZSTD, NULL, DRAY_E_FORMAT},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(packings) / sizeof(packings[0]); i++) {
        gguf_writer file = {0};
        apr_write(&file, packings[i].flags, "{}", NULL, 0);
        dray_format_packing packing;
        dray_error error;
        assert_int_equal(drayi_format_apr.packing(file.bytes, file.length, &packing, &error),
                         packings[i].status);
        assert_int_equal(packing.codec == NULL, packings[i].codec == NULL);
        if (packing.codec) {
            assert_string_equal(packing.codec, packings[i].codec);
            assert_int_equal(packing.raw_bytes, 64);
        }
        gguf_free(&file);
    }
}

static void only_the_four_magics_are_taken(void **state)
{
    (void)state;
    assert_int_equal(drayi_format_apr.probe((const uint8_t *)"APR\0", 4, 64), 100);
    assert_int_equal(drayi_format_apr.probe((const uint8_t *)"APR2", 4, 64), 100);
    assert_int_equal(drayi_format_apr.probe((const uint8_t *)"APR1", 4, 64), 100);
    assert_int_equal(drayi_format_apr.probe((const uint8_t *)"APRN", 4, 64), 100);
    assert_int_equal(drayi_format_apr.probe((const uint8_t *)"APRIL is", 8, 64), 0);
    assert_int_equal(drayi_format_apr.probe((const uint8_t *)"APR", 3, 3), 0);
}

static void a_real_file_of_version_1_is_named(void **state)
{
    const char *directory = getenv("DRAY_TEST_DATA");
    (void)state;
    if (!directory || !*directory) {
        print_message("skipped: DRAY_TEST_DATA names no folder of real files\n");
        skip();
    }
    uint64_t length = 0;
    uint8_t *bytes = format_probe_load(directory, "realizar-mnist_784x2.apr", &length);
    assert_non_null(bytes);
    assert_int_equal(drayi_format_apr.probe(bytes, length, length), 100);
    format_probe probe = {0};
    assert_int_equal(format_probe_read(&probe, &drayi_format_apr, bytes, length), DRAY_E_FORMAT);
    assert_string_equal(probe.error.rule, "apr.version");
    assert_non_null(strstr(probe.error.message, "version 1"));
    format_probe_free(&probe);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_is_described_exactly),
        cmocka_unit_test(metadata_keys_become_values_of_their_kind),
        cmocka_unit_test(the_size_decides_what_a_dtype_byte_means),
        cmocka_unit_test(an_unknown_dtype_is_listed_under_lenient),
        cmocka_unit_test(every_header_field_is_checked),
        cmocka_unit_test(metadata_is_strict_json),
        cmocka_unit_test(a_number_too_large_for_a_double_stays_text),
        cmocka_unit_test(the_right_checksum_is_accepted),
        cmocka_unit_test(the_footer_of_aprender_is_no_trailing_byte),
        cmocka_unit_test(tensors_may_stand_in_any_order_but_not_overlap),
        cmocka_unit_test(a_model_cut_anywhere_is_refused),
        cmocka_unit_test(every_failing_call_ends_the_read_with_its_error),
        cmocka_unit_test(packing_follows_from_the_flags),
        cmocka_unit_test(only_the_four_magics_are_taken),
        cmocka_unit_test(a_real_file_of_version_1_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
