/// Element types: sizes as ggml and safetensors print them, and sums that cannot be tricked.
#include "dray/dtype.h"
#include "support/testing.h"

#include <stdio.h>
#include <string.h>

typedef struct wanted_type {
    dray_dtype dtype;
    const char *name;
    uint32_t block_elements, block_bits;
} wanted_type;

static const wanted_type wanted_types[] = {
    {DRAY_DTYPE_BOOL, "BOOL", 1, 8},
    {DRAY_DTYPE_U8, "U8", 1, 8},
    {DRAY_DTYPE_I8, "I8", 1, 8},
    {DRAY_DTYPE_U16, "U16", 1, 16},
    {DRAY_DTYPE_I16, "I16", 1, 16},
    {DRAY_DTYPE_U32, "U32", 1, 32},
    {DRAY_DTYPE_I32, "I32", 1, 32},
    {DRAY_DTYPE_U64, "U64", 1, 64},
    {DRAY_DTYPE_I64, "I64", 1, 64},
    {DRAY_DTYPE_F16, "F16", 1, 16},
    {DRAY_DTYPE_BF16, "BF16", 1, 16},
    {DRAY_DTYPE_F32, "F32", 1, 32},
    {DRAY_DTYPE_F64, "F64", 1, 64},
    {DRAY_DTYPE_C64, "C64", 1, 64},
    {DRAY_DTYPE_F8_E4M3, "F8_E4M3", 1, 8},
    {DRAY_DTYPE_F8_E5M2, "F8_E5M2", 1, 8},
    {DRAY_DTYPE_F8_E8M0, "F8_E8M0", 1, 8},
    {DRAY_DTYPE_F8_E4M3FNUZ, "F8_E4M3FNUZ", 1, 8},
    {DRAY_DTYPE_F8_E5M2FNUZ, "F8_E5M2FNUZ", 1, 8},
    {DRAY_DTYPE_F6_E2M3, "F6_E2M3", 1, 6},
    {DRAY_DTYPE_F6_E3M2, "F6_E3M2", 1, 6},
    {DRAY_DTYPE_F4, "F4", 1, 4},
    {DRAY_DTYPE_Q4_0, "Q4_0", 32, 18 * 8},
    {DRAY_DTYPE_Q4_1, "Q4_1", 32, 20 * 8},
    {DRAY_DTYPE_Q5_0, "Q5_0", 32, 22 * 8},
    {DRAY_DTYPE_Q5_1, "Q5_1", 32, 24 * 8},
    {DRAY_DTYPE_Q8_0, "Q8_0", 32, 34 * 8},
    {DRAY_DTYPE_Q8_1, "Q8_1", 32, 36 * 8},
    {DRAY_DTYPE_Q2_K, "Q2_K", 256, 84 * 8},
    {DRAY_DTYPE_Q3_K, "Q3_K", 256, 110 * 8},
    {DRAY_DTYPE_Q4_K, "Q4_K", 256, 144 * 8},
    {DRAY_DTYPE_Q5_K, "Q5_K", 256, 176 * 8},
    {DRAY_DTYPE_Q6_K, "Q6_K", 256, 210 * 8},
    {DRAY_DTYPE_Q8_K, "Q8_K", 256, 292 * 8},
    {DRAY_DTYPE_IQ2_XXS, "IQ2_XXS", 256, 66 * 8},
    {DRAY_DTYPE_IQ2_XS, "IQ2_XS", 256, 74 * 8},
    {DRAY_DTYPE_IQ3_XXS, "IQ3_XXS", 256, 98 * 8},
    {DRAY_DTYPE_IQ1_S, "IQ1_S", 256, 50 * 8},
    {DRAY_DTYPE_IQ4_NL, "IQ4_NL", 32, 18 * 8},
    {DRAY_DTYPE_IQ3_S, "IQ3_S", 256, 110 * 8},
    {DRAY_DTYPE_IQ2_S, "IQ2_S", 256, 82 * 8},
    {DRAY_DTYPE_IQ4_XS, "IQ4_XS", 256, 136 * 8},
    {DRAY_DTYPE_IQ1_M, "IQ1_M", 256, 56 * 8},
    {DRAY_DTYPE_TQ1_0, "TQ1_0", 256, 54 * 8},
    {DRAY_DTYPE_TQ2_0, "TQ2_0", 256, 66 * 8},
    {DRAY_DTYPE_MXFP4, "MXFP4", 32, 17 * 8},
    {DRAY_DTYPE_NVFP4, "NVFP4", 64, 36 * 8},
    {DRAY_DTYPE_Q1_0, "Q1_0", 128, 18 * 8},
    {DRAY_DTYPE_Q2_0, "Q2_0", 64, 18 * 8},
    {DRAY_DTYPE_APR_Q4, "APR_Q4", 32, 18 * 8},
    {DRAY_DTYPE_APR_Q8, "APR_Q8", 1, 8},
};

enum { wanted_count = sizeof(wanted_types) / sizeof(wanted_types[0]) };

static void every_type_has_its_name_and_block(void **state)
{
    (void)state;
    for (size_t i = 0; i < wanted_count; i++) {
        const dray_dtype_info *info = dray_dtype_get_info(wanted_types[i].dtype);
        assert_non_null(info);
        assert_string_equal(info->name, wanted_types[i].name);
        assert_int_equal(info->block_elements, wanted_types[i].block_elements);
        assert_int_equal(info->block_bits, wanted_types[i].block_bits);
        assert_int_equal(dray_dtype_from_name(wanted_types[i].name), wanted_types[i].dtype);
    }
}

static void no_type_is_missing_from_this_test(void **state)
{
    (void)state;
    unsigned known = 0;
    for (int i = -1000; i < 1000; i++)
        known += dray_dtype_get_info((dray_dtype)i) != NULL;
    assert_int_equal(known, wanted_count);
}

static void unknown_names_and_values_are_unknown(void **state)
{
    (void)state;
    assert_null(dray_dtype_get_info(DRAY_DTYPE_UNKNOWN));
    assert_null(dray_dtype_get_info((dray_dtype)15));
    assert_int_equal(dray_dtype_from_name("f32"), DRAY_DTYPE_UNKNOWN);
    assert_int_equal(dray_dtype_from_name(""), DRAY_DTYPE_UNKNOWN);
    assert_int_equal(dray_dtype_from_name(NULL), DRAY_DTYPE_UNKNOWN);
}

typedef struct size_case {
    const char *what;
    dray_dtype dtype;
    uint32_t rank;
    uint64_t shape[4];
    uint64_t bytes;      // when it is accepted
    const char *message; // when it is refused: words of it
} size_case;

#define TWO_62 (UINT64_C(1) << 62)
#define TWO_63 (UINT64_C(1) << 63)

static const size_case sizes[] = {
    {"scalar", DRAY_DTYPE_F32, 0, {0}, 4, NULL},
    {"matrix", DRAY_DTYPE_F16, 2, {3, 5}, 30, NULL},
    {"no elements", DRAY_DTYPE_F32, 2, {0, 5}, 0, NULL},
    {"one block", DRAY_DTYPE_Q4_K, 1, {256}, 144, NULL},
    {"blocks in rows", DRAY_DTYPE_Q4_0, 2, {3, 64}, 108, NULL},
    {"two F4 in a byte", DRAY_DTYPE_F4, 1, {6}, 3, NULL},
    {"four F6 in three bytes", DRAY_DTYPE_F6_E2M3, 2, {2, 2}, 3, NULL},
    {"APR q8: one scale, then bytes", DRAY_DTYPE_APR_Q8, 2, {4, 8}, 36, NULL},
    {"APR q8 without elements has no scale", DRAY_DTYPE_APR_Q8, 1, {0}, 0, NULL},
    {"APR q4 runs over rows", DRAY_DTYPE_APR_Q4, 2, {4, 16}, 36, NULL},
    {"APR q4's last block may be partly filled", DRAY_DTYPE_APR_Q4, 1, {33}, 36, NULL},
    {"zero in front of a large product", DRAY_DTYPE_F32, 3, {0, TWO_63, 4}, 0, NULL},
    {"half a block",
     DRAY_DTYPE_Q4_K,
     2,
     {2, 128},
     0,
     "fastest dimension 128 is not a multiple of the 256"},
    {"blocks do not run over rows", DRAY_DTYPE_Q4_0, 2, {32, 1}, 0, "fastest dimension 1"},
    {"a block-quantised scalar", DRAY_DTYPE_Q8_0, 0, {0}, 0, "fastest dimension 1"},
    {"three F4", DRAY_DTYPE_F4, 1, {3}, 0, "3 elements of F4 are 12 bits"},
    {"two F6", DRAY_DTYPE_F6_E3M2, 1, {2}, 0, "12 bits"},
    {"product that wraps to zero", DRAY_DTYPE_F32, 2, {4, TWO_62}, 0, "overflows at dimension 1"},
    {"large product in front of a zero",
     DRAY_DTYPE_F32,
     3,
     {TWO_63, 4, 0},
     0,
     "overflows at dimension 1"},
    {"bits that overflow",
     DRAY_DTYPE_F64,
     1,
     {TWO_62},
     0,
     "4611686018427387904 elements of F64 overflows"},
    {"unknown type", DRAY_DTYPE_UNKNOWN, 1, {1}, 0, "no known size"},
};

static void sizes_are_exact_or_refused_with_the_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        const size_case *given = &sizes[i];
        uint64_t bytes = 12345;
        dray_error error = {0};
        dray_status status =
            dray_dtype_tensor_bytes(given->dtype, given->shape, given->rank, &bytes, &error);
        if (!given->message) {
            if (status != DRAY_OK || bytes != given->bytes)
                fail_msg("%s: %llu bytes, %s", given->what, (unsigned long long)bytes,
                         error.message);
            continue;
        }
        if (status == DRAY_OK || !strstr(error.message, given->message) || bytes != 12345)
            fail_msg("%s: status %d, %s", given->what, (int)status, error.message);
        assert_int_equal(status,
                         given->dtype == DRAY_DTYPE_UNKNOWN ? DRAY_E_INVALID : DRAY_E_FORMAT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_has_its_name_and_block),
        cmocka_unit_test(no_type_is_missing_from_this_test),
        cmocka_unit_test(unknown_names_and_values_are_unknown),
        cmocka_unit_test(sizes_are_exact_or_refused_with_the_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
