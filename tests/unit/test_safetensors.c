/// The verdicts of the safetensors format: a table of headers, the reference's own named tests, real
/// files, and faults. tests/oracle/safetensors_oracle.py runs the same table through the reference.
#include "support/format_probe.h"
#include "support/safetensors_writer.h"
#include "support/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const dray_format_ops drayi_format_safetensors;

static dray_status read_file(format_probe *probe, const void *bytes, uint64_t count)
{
    return format_probe_read(probe, &drayi_format_safetensors, bytes, count);
}

// ---------------------------------------------------------------- the table

#define OK NULL  // accepted without a warning
#define WARN "!" // accepted; the warning carries the strict rule
#define LIKE_STRICT "="

/// Quotes are written as ' here. `strict` and `lenient` are a rule, or one of the words above.
static const struct header_case {
    const char *header;
    uint64_t data_bytes;
    const char *strict, *lenient;
} header_cases[] = {
    // what is right
    {"{}", 0, OK, OK},
    {"{}      ", 0, OK, OK},
    {"{'a':{'dtype':'F32','shape':[1],'data_offsets':[0,4]}}", 4, OK, OK},
    {"{'a':{'data_offsets':[0,4],'shape':[1],'dtype':'F32'}}", 4, OK, OK},
    {"{ 'a' : { 'dtype' : 'F32' , 'shape' : [ 1 ] , 'data_offsets' : [ 0 , 4 ] } } \n\t\r", 4, OK,
     OK},
    {"{'a':{'dtype':'F32','shape':[],'data_offsets':[0,4]}}", 4, OK, OK},
    {"{'a':{'dtype':'F32','shape':[0],'data_offsets':[0,0]}}", 0, OK, OK},
    {"{'a':{'dtype':'F32','shape':[2,0,3],'data_offsets':[0,0]}}", 0, OK, OK},
    {"{'a':{'dtype':'F32','shape':[0,9223372036854775808,4],'data_offsets':[0,0]}}", 0, OK, OK},
    {"{'b':{'dtype':'U8','shape':[2],'data_offsets':[1,3]},'a':{'dtype':'U8','shape':[1],'data_offsets':[0,1]}}",
     3, OK, OK},
    {"{'__metadata__':{},'a':{'dtype':'U8','shape':[1],'data_offsets':[0,1]}}", 1, OK, OK},
    {"{'__metadata__':{'format':'pt','':''}}", 0, OK, OK},
    {"{'a':{'dtype':'U8','shape':[1],'data_offsets':[0,1]},'__metadata__':{'k':'v'}}", 1, OK, OK},
    {"{'__metadata__':{'k':'\\u0000'}}", 0, OK, OK},
    {"{'../../x':{'dtype':'U8','shape':[1],'data_offsets':[0,1]}}", 1, OK, OK},
    {"{'\xC3\xA9\xF0\x9F\x98\x80':{'dtype':'U8','shape':[1],'data_offsets':[0,1]}}", 1, OK, OK},
    {"{'\\u00e9\\ud83d\\ude00\\n':{'dtype':'U8','shape':[1],'data_offsets':[0,1]}}", 1, OK, OK},
    {"{'a':{'\\u0064type':'F\\u00332','shape':[1],'data_offsets':[0,4]}}", 4, OK, OK},
    {"{'__meta\\u0064ata__':{'k':'v'}}", 0, OK, OK},
    {"{'a':{'dtype':'F4','shape':[2],'data_offsets':[0,1]}}", 1, OK, OK},
    {"{'a':{'dtype':'F4','shape':[3,2],'data_offsets':[0,3]}}", 3, OK, OK},
    {"{'a':{'dtype':'F6_E2M3','shape':[4],'data_offsets':[0,3]}}", 3, OK, OK},
    {"{'a':{'dtype':'F6_E3M2','shape':[8],'data_offsets':[0,6]}}", 6, OK, OK},
    {"{'z':{'dtype':'U8','shape':[0],'data_offsets':[0,0]},'y':{'dtype':'U8','shape':[0],'data_offsets':[0,0]}}",
     0, OK, OK},
    {"{'':{'dtype':'U8','shape':[1],'data_offsets':[0,1]}}", 1, "!safetensors.name", LIKE_STRICT},

    // what --lenient lets pass
    {" {}", 0, "safetensors.start", WARN},
    {"\n{'a':{'dtype':'U8','shape':[1],'data_offsets':[0,1]}}", 1, "safetensors.start", WARN},
    {"{'__metadata__':null}", 0, "safetensors.metadata", WARN},
    {"{'a':{'dtype':'U8','shape':[1],'data_offsets':[0,1],'x':1}}", 1, "safetensors.field", WARN},
    {"{'a':{'x':{'y':[[],{}]},'dtype':'U8','shape':[1],'data_offsets':[0,1]}}", 1,
     "safetensors.field", WARN},
    {"{'a':{'dtype':'U8','shape':[1],'data_offsets':[0,1]}}", 2, "safetensors.end", WARN},
    {"{}", 1, "safetensors.end", WARN},

    // JSON
    {"", 0, "json.syntax", LIKE_STRICT},
    {"   ", 0, "safetensors.start", "json.syntax"},
    {"{", 0, "json.syntax", LIKE_STRICT},
    {"}", 0, "json.syntax", LIKE_STRICT},
    {"[]", 0, "safetensors.header", LIKE_STRICT},
    {"null", 0, "safetensors.header", LIKE_STRICT},
    {"'a'", 0, "safetensors.header", LIKE_STRICT},
    {"1", 0, "safetensors.header", LIKE_STRICT},
    {"{}{}", 0, "json.trailing", LIKE_STRICT},
    {"{}x", 0, "json.trailing", LIKE_STRICT},
    {"\xEF\xBB\xBF{}", 0, "json.syntax", LIKE_STRICT},
    {"\xFF\xFE{}", 0, "safetensors.utf8", LIKE_STRICT},
    {"{'\xFF':{'dtype':'U8','shape':[1],'data_offsets':[0,1]}}", 1, "safetensors.utf8", LIKE_STRICT},
    {"{'\\ud800':{'dtype':'U8','shape':[1],'data_offsets':[0,1]}}", 1, "json.surrogate",
     LIKE_STRICT},
    {"{'a\x01':{'dtype':'U8','shape':[1],'data_offsets':[0,1]}}", 1, "json.text.control",
     LIKE_STRICT},
    {"{'a':{'dtype':'U8','shape':[1],'data_offsets':[0,1],}}", 1, "json.syntax", LIKE_STRICT},
    {"{'a':{'dtype':'U8','shape':[1,],'data_offsets':[0,1]}}", 1, "json.syntax", LIKE_STRICT},
    {"{'a':{'dtype':'U8','shape':[1],'data_offsets':[0,1]},}", 1, "json.syntax", LIKE_STRICT},
    {"{/**/'a':{'dtype':'U8','shape':[1],'data_offsets':[0,1]}}", 1, "json.syntax", LIKE_STRICT},
    {"{'a':{'dtype':'U8','shape':[1],'data_offsets':[0,1]}", 1, "json.syntax", LIKE_STRICT},
    {"{'a':{'dtype':'U8','shape':[01],'data_offsets':[0,1]}}", 1, "json.number", LIKE_STRICT},
    {"{a:{'dtype':'U8','shape':[1],'data_offsets':[0,1]}}", 1, "json.syntax", LIKE_STRICT},

    // a tensor's fields
    {"{'a':null}", 0, "safetensors.tensor", LIKE_STRICT},
    {"{'a':1}", 0, "safetensors.tensor", LIKE_STRICT},
    {"{'a':['F32',[1],[0,4]]}", 4, "safetensors.tensor", LIKE_STRICT},
    {"{'a':{}}", 0, "safetensors.field", LIKE_STRICT},
    {"{'a':{'shape':[1],'data_offsets':[0,4]}}", 4, "safetensors.field", LIKE_STRICT},
    {"{'a':{'dtype':'F32','data_offsets':[0,4]}}", 4, "safetensors.field", LIKE_STRICT},
    {"{'a':{'dtype':'F32','shape':[1]}}", 4, "safetensors.field", LIKE_STRICT},
    {"{'a':{'dtype':'F32','dtype':'F32','shape':[1],'data_offsets':[0,4]}}", 4,
     "safetensors.duplicate", LIKE_STRICT},
    {"{'a':{'dtype':'F32','shape':[1],'shape':[1],'data_offsets':[0,4]}}", 4,
     "safetensors.duplicate", LIKE_STRICT},
    {"{'a':{'dtype':'F32','shape':[1],'data_offsets':[0,4],'data_offsets':[0,4]}}", 4,
     "safetensors.duplicate", LIKE_STRICT},
    {"{'a':{'dtype':'C128','shape':[1],'data_offsets':[0,16]}}", 16, "safetensors.dtype",
     LIKE_STRICT},
    {"{'a':{'dtype':'f32','shape':[1],'data_offsets':[0,4]}}", 4, "safetensors.dtype", LIKE_STRICT},
    {"{'a':{'dtype':'','shape':[1],'data_offsets':[0,4]}}", 4, "safetensors.dtype", LIKE_STRICT},
    {"{'a':{'dtype':'Q8_0','shape':[32],'data_offsets':[0,34]}}", 34, "safetensors.dtype",
     LIKE_STRICT},
    {"{'a':{'dtype':null,'shape':[1],'data_offsets':[0,4]}}", 4, "safetensors.dtype", LIKE_STRICT},
    {"{'a':{'dtype':{'F32':null},'shape':[1],'data_offsets':[0,4]}}", 4, "safetensors.dtype",
     LIKE_STRICT},
    {"{'a':{'dtype':'F32','shape':1,'data_offsets':[0,4]}}", 4, "safetensors.shape", LIKE_STRICT},
    {"{'a':{'dtype':'F32','shape':null,'data_offsets':[0,4]}}", 4, "safetensors.shape", LIKE_STRICT},
    {"{'a':{'dtype':'F32','shape':['1'],'data_offsets':[0,4]}}", 4, "safetensors.shape",
     LIKE_STRICT},
    {"{'a':{'dtype':'F32','shape':[1.0],'data_offsets':[0,4]}}", 4, "safetensors.shape",
     LIKE_STRICT},
    {"{'a':{'dtype':'F32','shape':[1e0],'data_offsets':[0,4]}}", 4, "safetensors.shape",
     LIKE_STRICT},
    {"{'a':{'dtype':'F32','shape':[-1],'data_offsets':[0,4]}}", 4, "safetensors.shape", LIKE_STRICT},
    {"{'a':{'dtype':'F32','shape':[-0],'data_offsets':[0,0]}}", 0, "safetensors.shape", LIKE_STRICT},
    {"{'a':{'dtype':'F32','shape':[18446744073709551616],'data_offsets':[0,0]}}", 0,
     "safetensors.shape", LIKE_STRICT},
    {"{'a':{'dtype':'F32','shape':[[1]],'data_offsets':[0,4]}}", 4, "safetensors.shape",
     LIKE_STRICT},
    {"{'a':{'dtype':'F32','shape':[1],'data_offsets':[0]}}", 4, "safetensors.data_offsets",
     LIKE_STRICT},
    {"{'a':{'dtype':'F32','shape':[1],'data_offsets':[]}}", 4, "safetensors.data_offsets",
     LIKE_STRICT},
    {"{'a':{'dtype':'F32','shape':[1],'data_offsets':[0,4,4]}}", 4, "safetensors.data_offsets",
     LIKE_STRICT},
    {"{'a':{'dtype':'F32','shape':[1],'data_offsets':{'0':0}}}", 4, "safetensors.data_offsets",
     LIKE_STRICT},
    {"{'a':{'dtype':'F32','shape':[1],'data_offsets':[0,4.0]}}", 4, "safetensors.data_offsets",
     LIKE_STRICT},
    {"{'a':{'dtype':'F32','shape':[1],'data_offsets':[-0,4]}}", 4, "safetensors.data_offsets",
     LIKE_STRICT},
    {"{'a':{'dtype':'F32','shape':[1],'data_offsets':['0',4]}}", 4, "safetensors.data_offsets",
     LIKE_STRICT},

    // names
    {"{'a':{'dtype':'U8','shape':[1],'data_offsets':[0,1]},'a':{'dtype':'U8','shape':[1],'data_offsets':[0,1]}}",
     1, "safetensors.duplicate", LIKE_STRICT},
    {"{'a':{'dtype':'U8','shape':[1],'data_offsets':[0,1]},'a':{'dtype':'U8','shape':[1],'data_offsets':[1,2]}}",
     2, "tensor.duplicate", LIKE_STRICT},
    {"{'a':{'dtype':'U8','shape':[0],'data_offsets':[0,0]},'\\u0061':{'dtype':'U8','shape':[0],'data_offsets':[0,0]}}",
     0, "tensor.duplicate", LIKE_STRICT},
    {"{'a\\u0000b':{'dtype':'U8','shape':[1],'data_offsets':[0,1]}}", 1, "safetensors.name",
     LIKE_STRICT},
    {"{'__metadata__':{'k':'v','k':'w'}}", 0, "safetensors.duplicate", LIKE_STRICT},
    {"{'__metadata__':{},'__metadata__':{}}", 0, "safetensors.duplicate", LIKE_STRICT},
    {"{'__metadata__':{},'__metadata_\\u005f':{}}", 0, "safetensors.duplicate", LIKE_STRICT},
    {"{'__metadata__':[]}", 0, "safetensors.metadata", LIKE_STRICT},
    {"{'__metadata__':'x'}", 0, "safetensors.metadata", LIKE_STRICT},
    {"{'__metadata__':{'k':1}}", 0, "safetensors.metadata", LIKE_STRICT},
    {"{'__metadata__':{'k':null}}", 0, "safetensors.metadata", LIKE_STRICT},
    {"{'__metadata__':{'k':{'x':'y'}}}", 0, "safetensors.metadata", LIKE_STRICT},

    // where tensors lie
    {"{'a':{'dtype':'F32','shape':[1],'data_offsets':[4,8]}}", 8, "safetensors.order", LIKE_STRICT},
    {"{'a':{'dtype':'F32','shape':[1],'data_offsets':[4,0]}}", 4, "safetensors.order", LIKE_STRICT},
    {"{'a':{'dtype':'U8','shape':[4],'data_offsets':[0,4]},'b':{'dtype':'U8','shape':[4],'data_offsets':[2,6]}}",
     6, "safetensors.order", LIKE_STRICT},
    {"{'a':{'dtype':'U8','shape':[4],'data_offsets':[0,4]},'b':{'dtype':'U8','shape':[4],'data_offsets':[0,4]}}",
     4, "safetensors.order", LIKE_STRICT},
    {"{'a':{'dtype':'U8','shape':[4],'data_offsets':[0,4]},'b':{'dtype':'U8','shape':[4],'data_offsets':[5,9]}}",
     9, "safetensors.order", LIKE_STRICT},
    {"{'a':{'dtype':'U8','shape':[1],'data_offsets':[0,1]},'b':{'dtype':'U8','shape':[0],'data_offsets':[1,0]}}",
     1, "safetensors.order", LIKE_STRICT},
    {"{'a':{'dtype':'U8','shape':[0],'data_offsets':[18446744073709551615,18446744073709551615]}}",
     0, "safetensors.order", LIKE_STRICT},
    {"{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,4]}}", 4, "safetensors.size", LIKE_STRICT},
    {"{'a':{'dtype':'F32','shape':[1],'data_offsets':[0,8]}}", 8, "safetensors.size", LIKE_STRICT},
    {"{'a':{'dtype':'F32','shape':[9223372036854775808,4,0],'data_offsets':[0,0]}}", 0,
     "safetensors.size", LIKE_STRICT},
    {"{'a':{'dtype':'U8','shape':[2305843009213693952],'data_offsets':[0,0]}}", 0,
     "safetensors.size", LIKE_STRICT},
    {"{'a':{'dtype':'U8','shape':[18446744073709551615],'data_offsets':[0,18446744073709551615]}}",
     0, "safetensors.size", LIKE_STRICT},
    {"{'a':{'dtype':'F4','shape':[3],'data_offsets':[0,2]}}", 2, "safetensors.size", LIKE_STRICT},
    {"{'a':{'dtype':'F4','shape':[1],'data_offsets':[0,1]}}", 1, "safetensors.size", LIKE_STRICT},
    {"{'a':{'dtype':'F6_E2M3','shape':[3],'data_offsets':[0,3]}}", 3, "safetensors.size",
     LIKE_STRICT},
    {"{'a':{'dtype':'F32','shape':[1],'data_offsets':[0,4]}}", 3, "safetensors.end", LIKE_STRICT},
    {"{'a':{'dtype':'F32','shape':[1],'data_offsets':[0,4]}}", 0, "safetensors.end", LIKE_STRICT},
    {"{'a':{'dtype':'U8','shape':[2305843009213693951],'data_offsets':[0,2305843009213693951]}}",
     16, "safetensors.end", LIKE_STRICT},
};

enum { header_case_count = sizeof(header_cases) / sizeof(header_cases[0]) };

static uint8_t *case_file(const struct header_case *it, uint64_t *out_bytes)
{
    char header[512];
    size_t length = strlen(it->header);
    assert_true(length < sizeof(header));
    for (size_t i = 0; i <= length; i++) {
        header[i] = it->header[i];
        if (header[i] == '\'')
            header[i] = '"';
    }
    return safetensors_raw_file(header, length, it->data_bytes, out_bytes);
}

static void judge(const struct header_case *it, uint32_t flags, const char *verdict)
{
    uint64_t bytes;
    uint8_t *file = case_file(it, &bytes);
    format_probe probe = {.flags = flags, .head_first = 8, .head_exact = true};
    dray_status status = read_file(&probe, file, bytes);
    const char *warned = verdict && verdict[0] == '!' ? verdict[1] ? verdict + 1 : it->strict : NULL;
    dray_status wanted = !verdict || warned ? DRAY_OK : DRAY_E_FORMAT;
    if (status != wanted || (status && strcmp(probe.error.rule, verdict) != 0))
        fail_msg("%s (flags %u): %s %s", it->header, flags, dray_status_name(status),
                 status ? probe.error.message : "");
    if (status == DRAY_OK)
        assert_int_equal(probe.warning_count, warned ? 1 : 0);
    if (warned)
        assert_string_equal(probe.warnings[0].rule, warned);
    if (status == DRAY_E_FORMAT && probe.error.offset != DRAY_UNKNOWN)
        assert_true(probe.error.offset <= bytes);
    format_probe_free(&probe);
    free(file);
}

static void every_header_of_the_table_gets_its_verdict(void **state)
{
    (void)state;
    for (size_t i = 0; i < header_case_count; i++) {
        const struct header_case *it = &header_cases[i];
        bool alike = it->lenient && strcmp(it->lenient, LIKE_STRICT) == 0;
        judge(it, 0, it->strict);
        judge(it, DRAY_FORMAT_LENIENT, alike ? it->strict : it->lenient);
    }
}

// ---------------------------------------------------------------- what is reported

static void tensors_come_in_the_order_of_their_bytes(void **state)
{
    (void)state;
    static const char header[] =
        "{\"b\":{\"dtype\":\"F16\",\"shape\":[3,1],\"data_offsets\":[5,11]},"
        "\"\\u0061\\\"\":{\"dtype\":\"U8\",\"shape\":[5],\"data_offsets\":[0,5]},"
        "\"__metadata__\":{\"k\\t\":\"v\"}} ";
    uint64_t bytes, data = sizeof(header) - 1 + 8;
    uint8_t *file = safetensors_raw_file(header, sizeof(header) - 1, 11, &bytes);
    format_probe probe = {0};
    assert_int_equal(read_file(&probe, file, bytes), DRAY_OK);
    assert_int_equal(probe.facts.data_offset, data);
    assert_int_equal(probe.tensor_count, 2);
    const format_probe_tensor *first = format_probe_tensor_named(&probe, "a\"");
    const format_probe_tensor *second = format_probe_tensor_named(&probe, "b");
    assert_ptr_equal(first, &probe.tensors[0]);
    assert_int_equal(first->dtype, DRAY_DTYPE_U8);
    assert_int_equal(first->offset, data);
    assert_int_equal(first->bytes, 5);
    assert_ptr_equal(second, &probe.tensors[1]);
    assert_int_equal(second->dtype, DRAY_DTYPE_F16);
    assert_int_equal(second->rank, 2);
    assert_int_equal(second->shape[0], 3);
    assert_int_equal(second->shape[1], 1);
    assert_int_equal(second->offset, data + 5);
    assert_int_equal(second->bytes, 6);
    assert_int_equal(second->head_offset, 9);
    const dray_value *value = format_probe_value(&probe, "k\t");
    assert_non_null(value);
    assert_int_equal(value->type, DRAY_VALUE_TEXT);
    assert_int_equal(value->as.text.length, 1);
    format_probe_free(&probe);
    free(file);
}

static void all_22_dtypes_have_their_size(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        dray_dtype dtype;
        uint64_t bytes_of_8;
    } types[] = {
        {"BOOL", DRAY_DTYPE_BOOL, 8},
        {"F4", DRAY_DTYPE_F4, 4},
        {"F6_E2M3", DRAY_DTYPE_F6_E2M3, 6},
        {"F6_E3M2", DRAY_DTYPE_F6_E3M2, 6},
        {"U8", DRAY_DTYPE_U8, 8},
        {"I8", DRAY_DTYPE_I8, 8},
        {"F8_E5M2", DRAY_DTYPE_F8_E5M2, 8},
        {"F8_E4M3", DRAY_DTYPE_F8_E4M3, 8},
        {"F8_E8M0", DRAY_DTYPE_F8_E8M0, 8},
        {"F8_E4M3FNUZ", DRAY_DTYPE_F8_E4M3FNUZ, 8},
        {"F8_E5M2FNUZ", DRAY_DTYPE_F8_E5M2FNUZ, 8},
        {"I16", DRAY_DTYPE_I16, 16},
        {"U16", DRAY_DTYPE_U16, 16},
        {"F16", DRAY_DTYPE_F16, 16},
        {"BF16", DRAY_DTYPE_BF16, 16},
        {"I32", DRAY_DTYPE_I32, 32},
        {"U32", DRAY_DTYPE_U32, 32},
        {"F32", DRAY_DTYPE_F32, 32},
        {"C64", DRAY_DTYPE_C64, 64},
        {"F64", DRAY_DTYPE_F64, 64},
        {"I64", DRAY_DTYPE_I64, 64},
        {"U64", DRAY_DTYPE_U64, 64},
    };
    assert_int_equal(sizeof(types) / sizeof(types[0]), 22);
    safetensors_writer writer = {0};
    for (size_t i = 0; i < 22; i++)
        safetensors_writer_tensor(&writer, types[i].name, types[i].name, (uint64_t[]){2, 4}, 2,
                                  NULL, types[i].bytes_of_8);
    uint64_t bytes;
    uint8_t *file = safetensors_writer_finish(&writer, &bytes);
    format_probe probe = {0};
    assert_int_equal(read_file(&probe, file, bytes), DRAY_OK);
    assert_int_equal(probe.tensor_count, 22);
    for (size_t i = 0; i < 22; i++) {
        assert_int_equal(probe.tensors[i].dtype, types[i].dtype);
        assert_int_equal(probe.tensors[i].bytes, types[i].bytes_of_8);
    }
    format_probe_free(&probe);
    free(file);
}

static void messages_have_numbers_and_places(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        uint64_t data_bytes;
        const char *message;
    } cases[] = {
        {"{'a':{'dtype':'F32','shape':[1],'data_offsets':[0,4]}}", 3,
         "tensors take 4 bytes behind the header, file has 3 there: it is cut off"},
        {"{'a':{'dtype':'F32','shape':[1],'data_offsets':[0,4]}}", 6,
         "last tensor ends at 66, file at 68: 2 bytes belong to nothing"},
        {"{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,4]}}", 4,
         "tensor a: spans 4 bytes, its shape takes 8"},
        {"{'a':{'dtype':'U8','shape':[4],'data_offsets':[0,4]},'b':{'dtype':'U8','shape':[4],'data_offsets':[2,6]}}",
         6, "tensor b: begins at 2 of the data, inside the tensor that ends at 4"},
        {"{'a':{'dtype':'U8','shape':[4],'data_offsets':[1,5]}}", 5,
         "tensor a: begins at 1 of the data, behind a hole that begins at 0"},
        {"{'a':{'dtype':'f32','shape':[1],'data_offsets':[0,4]}}", 4,
         "tensor a: dtype \"f32\" is not one of safetensors' 22"},
        {"{'a':{'dtype':'F32','shape':[1.5],'data_offsets':[0,4]}}", 4,
         "tensor a: shape wants whole numbers below 2^64, found 1.5 at byte 37"},
        {"{'a':{'dtype':'F32','shape':[1]}}", 4, "tensor a: no data_offsets"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct header_case it = {.header = cases[i].header, .data_bytes = cases[i].data_bytes};
        uint64_t bytes;
        uint8_t *file = case_file(&it, &bytes);
        format_probe probe = {0};
        assert_int_equal(read_file(&probe, file, bytes), DRAY_E_FORMAT);
        assert_string_equal(probe.error.message, cases[i].message);
        format_probe_free(&probe);
        free(file);
    }
}

// ---------------------------------------------------------------- the frame of the header

/// Puts `piece` behind the text, `times` times.
static void add(char *text, size_t room, const char *piece, int times)
{
    size_t at = strlen(text), length = strlen(piece);
    for (int i = 0; i < times; i++, at += length) {
        assert_true(at + length < room);
        memcpy(text + at, piece, length + 1);
    }
}

static void refused(const void *bytes, uint64_t count, const char *rule)
{
    format_probe probe = {0};
    assert_int_equal(read_file(&probe, bytes, count), DRAY_E_FORMAT);
    assert_string_equal(probe.error.rule, rule);
    format_probe_free(&probe);
}

static void header_too_small(void **state)
{
    (void)state;
    for (uint64_t count = 0; count < 8; count++)
        refused("\x02\0\0\0\0\0\0\0", count, "safetensors.short");
    refused("\0\0\0\0\0\0\0\0", 8, "json.syntax");
}

static void header_too_large(void **state)
{
    (void)state;
    refused("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF{}", 10, "safetensors.header_bytes");
    refused("\x01\xE1\xF5\x05\0\0\0\0{}", 10, "safetensors.header_bytes"); // 100,000,001
}

static void invalid_header_length(void **state)
{
    (void)state;
    refused("\x03\0\0\0\0\0\0\0{}", 10, "safetensors.header_bytes");
    refused("\x60\0\0\0\0\0\0\0", 8, "safetensors.header_bytes");
}

static void rank_ends_at_64(void **state)
{
    (void)state;
    for (int rank = 63; rank <= 65; rank++) {
        char header[400] = "{\"a\":{\"dtype\":\"U8\",\"shape\":[1";
        add(header, sizeof(header), ",1", rank - 1);
        add(header, sizeof(header), "],\"data_offsets\":[0,1]}}", 1);
        uint64_t bytes;
        uint8_t *file = safetensors_raw_file(header, strlen(header), 1, &bytes);
        format_probe probe = {0};
        assert_int_equal(read_file(&probe, file, bytes), rank > 64 ? DRAY_E_FORMAT : DRAY_OK);
        if (rank > 64)
            assert_string_equal(probe.error.rule, "safetensors.rank");
        else
            assert_int_equal(probe.tensors[0].rank, rank);
        format_probe_free(&probe);
        free(file);
    }
}

static void nesting_of_129_is_refused_even_where_fields_are_passed_over(void **state)
{
    (void)state;
    for (int deep = 120; deep <= 130; deep += 10) { // two levels are the header's own
        char header[600] = "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"x\":";
        add(header, sizeof(header), "[", deep);
        add(header, sizeof(header), "]", deep);
        add(header, sizeof(header), "}}", 1);
        uint64_t bytes;
        uint8_t *file = safetensors_raw_file(header, strlen(header), 1, &bytes);
        format_probe probe = {.flags = DRAY_FORMAT_LENIENT};
        assert_int_equal(read_file(&probe, file, bytes), deep > 126 ? DRAY_E_FORMAT : DRAY_OK);
        format_probe_free(&probe);
        free(file);
    }
}

static void many_unknown_fields_are_counted_and_not_listed(void **state)
{
    (void)state;
    char header[2000] = "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]";
    add(header, sizeof(header), ",\"x\":{}", 100);
    add(header, sizeof(header), "}}", 1);
    uint64_t bytes;
    uint8_t *file = safetensors_raw_file(header, strlen(header), 1, &bytes);
    format_probe probe = {.flags = DRAY_FORMAT_LENIENT};
    assert_int_equal(read_file(&probe, file, bytes), DRAY_OK);
    assert_int_equal(probe.warning_count, 33);
    assert_string_equal(probe.warnings[32].message, "68 more unknown fields passed over");
    format_probe_free(&probe);
    free(file);
}

// ---------------------------------------------------------------- attacks, faults, real files

static void every_prefix_of_a_file_is_refused(void **state)
{
    (void)state;
    safetensors_writer writer = {0};
    safetensors_writer_metadata(&writer, "format", "pt");
    safetensors_writer_tensor(&writer, "w\\u00e9", "F32", (uint64_t[]){2, 3}, 2, NULL, 24);
    safetensors_writer_tensor(&writer, "b", "BF16", (uint64_t[]){5}, 1, NULL, 10);
    uint64_t bytes;
    uint8_t *file = safetensors_writer_finish(&writer, &bytes);
    for (uint64_t count = 0; count <= bytes; count++) {
        for (uint32_t flags = 0; flags <= DRAY_FORMAT_LENIENT; flags++) {
            format_probe probe = {.flags = flags, .head_first = 1, .head_exact = true};
            assert_int_equal(read_file(&probe, file, count),
                             count < bytes ? DRAY_E_FORMAT : DRAY_OK);
            format_probe_free(&probe);
        }
    }
    free(file);
}

/// The reference's second and third abuse: very many tensors over the same bytes.
static void overlapping_tensors_cost_no_more_than_their_header(void **state)
{
    (void)state;
    enum { count = 100000 };
    char *header = malloc(count * 64 + 16);
    assert_non_null(header);
    size_t length = 0;
    for (int i = 0; i < count; i++)
        length += (size_t)sprintf(
            header + length, "%c\"%d\":{\"dtype\":\"U8\",\"shape\":[%d],\"data_offsets\":[0,%d]}",
            i ? ',' : '{', i, count - i, count - i);
    header[length++] = '}';
    uint64_t bytes;
    uint8_t *file = safetensors_raw_file(header, length, count, &bytes);
    refused(file, bytes, "safetensors.order"); // the probe holds allocations against the file's size
    free(file);
    free(header);
}

static void the_nth_call_may_fail(void **state)
{
    (void)state;
    static const char header[] =
        " {\"b\":{\"dtype\":\"F16\",\"shape\":[3],\"data_offsets\":[5,11],\"x\":1},"
        "\"\\u0061\":{\"dtype\":\"U8\",\"shape\":[5],\"data_offsets\":[0,5]},"
        "\"__metadata__\":{\"k\\t\":\"\\n\"}}";
    uint64_t bytes;
    uint8_t *file = safetensors_raw_file(header, sizeof(header) - 1, 12, &bytes);
    uint64_t n = 1;
    for (bool failed = true; failed; n++) {
        format_probe probe = {
            .fail_at = n, .flags = DRAY_FORMAT_LENIENT, .head_first = 4, .head_exact = true};
        dray_status status = read_file(&probe, file, bytes);
        failed = probe.failed;
        if (failed)
            assert_true(status == DRAY_E_NOMEM || status == DRAY_E_IO);
        else
            assert_int_equal(status, DRAY_OK);
        format_probe_free(&probe);
    }
    assert_int_equal(n - 2, 13); // need 2, alloc 2, keep 3, metadata 1, tensor 2, warn 3
    free(file);
}

static void probe_knows_its_own(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t count;
        uint64_t file_bytes;
        uint32_t score;
    } cases[] = {
        {"\x02\0\0\0\0\0\0\0{}", 10, 10, 95},
        {"\x20\0\0\0\0\0\0\0{\"a\":", 13, 1000, 95},
        {"\x20\0\0\0\0\0\0\0{\"a\":", 13, 39, 50}, // cut off
        {"\xFF\xFF\xFF\xFF\xFF\0\0\0{\"", 10, 10, 50},
        {"\x20\0\0\0\0\0\0\0 {\"a\":", 14, 1000, 40},
        {"\x20\0\0\0\0\0\0\0          ", 18, 1000, 0},
        {"\x20\0\0\0\0\0\0\0{a", 10, 1000, 0},
        {"\0\0\0\0\0\0\0\0\0\0", 10, 10, 0},
        {"{\"abcd\":{\"x\":1}}", 16, 16, 0},
        {"GGUF\x03\0\0\0{\"", 10, 10, 50}, // GGUF itself is surer (100)
        {"\x02\0\0\0\0\0\0\0{", 9, 9, 0},
        {"", 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(drayi_format_safetensors.probe((const uint8_t *)cases[i].bytes,
                                                        cases[i].count, cases[i].file_bytes),
                         cases[i].score);
}

static void real_files_read_as_their_writers_meant(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        dray_status status;
        uint64_t tensors, bytes;
    } files[] = {
        {"burn-mnist.safetensors", DRAY_OK, 20, 1507768},
        {"candle-encodec-jfk-codes.safetensors", DRAY_OK, 1, 13248},
        {"runai-test.safetensors", DRAY_OK, 10, 198},
        {"runai-test_empty.safetensors", DRAY_OK, 0, 0},
        {"silero-vad-16k.safetensors", DRAY_OK, 15, 1238532},
        {"syoyo-model.safetensors", DRAY_OK, 2, 2560},
        {"weightinspect-tiny.safetensors", DRAY_E_FORMAT, 0, 0},
        {"syoyo-abuse1.safetensors", DRAY_E_FORMAT, 0, 0},
        {"lfs-pointer.safetensors", DRAY_E_FORMAT, 0, 0},
    };
    const char *folder = getenv("DRAY_TEST_DATA");
    if (!folder || !*folder) {
        print_message("skipped: DRAY_TEST_DATA names no folder with model files\n");
        skip();
    }
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        uint64_t count;
        uint8_t *file = format_probe_load(folder, files[i].name, &count);
        if (!file) {
            print_message("skipped: %s is not there\n", files[i].name);
            continue;
        }
        format_probe probe = {.head_first = 4096};
        dray_status status = read_file(&probe, file, count);
        uint64_t bytes = 0;
        for (uint64_t t = 0; t < probe.tensor_count; t++)
            bytes += probe.tensors[t].bytes;
        if (status != files[i].status || probe.tensor_count != files[i].tensors ||
            bytes != files[i].bytes)
            fail_msg("%s: %s, %d tensors, %d bytes, %s", files[i].name, dray_status_name(status),
                     (int)probe.tensor_count, (int)bytes, status ? probe.error.message : "");
        if (status == DRAY_OK)
            assert_int_equal(
                drayi_format_safetensors.probe(file, count < 4096 ? count : 4096, count), 95);
        format_probe_free(&probe);
        free(file);
    }
}

// ---------------------------------------------------------------- for the oracle

/// With DRAY_WRITE_CASES=FOLDER every case of the table becomes a file there, called after its verdict.
static void write_cases(const char *folder)
{
    for (size_t i = 0; i < header_case_count; i++) {
        const struct header_case *it = &header_cases[i];
        bool accepted = !it->strict || it->strict[0] == '!';
        uint64_t bytes;
        uint8_t *contents = case_file(it, &bytes);
        char path[4096];
        snprintf(path, sizeof(path), "%s/%03zu-%s.safetensors", folder, i,
                 accepted ? "accept" : "refuse");
        FILE *file = fopen(path, "wb");
        assert_non_null(file);
        assert_int_equal(fwrite(contents, 1, bytes, file), bytes);
        fclose(file);
        free(contents);
    }
}

static void the_table_can_be_written_out(void **state)
{
    (void)state;
    const char *folder = getenv("DRAY_WRITE_CASES");
    if (!folder || !*folder)
        skip();
    write_cases(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_header_of_the_table_gets_its_verdict),
        cmocka_unit_test(tensors_come_in_the_order_of_their_bytes),
        cmocka_unit_test(all_22_dtypes_have_their_size),
        cmocka_unit_test(messages_have_numbers_and_places),
        cmocka_unit_test(header_too_small),
        cmocka_unit_test(header_too_large),
        cmocka_unit_test(invalid_header_length),
        cmocka_unit_test(rank_ends_at_64),
        cmocka_unit_test(nesting_of_129_is_refused_even_where_fields_are_passed_over),
        cmocka_unit_test(many_unknown_fields_are_counted_and_not_listed),
        cmocka_unit_test(every_prefix_of_a_file_is_refused),
        cmocka_unit_test(overlapping_tensors_cost_no_more_than_their_header),
        cmocka_unit_test(the_nth_call_may_fail),
        cmocka_unit_test(probe_knows_its_own),
        cmocka_unit_test(real_files_read_as_their_writers_meant),
        cmocka_unit_test(the_table_can_be_written_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
