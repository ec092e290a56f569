/// The one table of element types, and the only place that turns a shape into bytes.
#include "dray/dtype.h"

#include "base/checked.h"

#include <inttypes.h>
#include <string.h>

#define PLAIN(label, bits)                                         \
    {                                                              \
        .name = (label), .block_elements = 1, .block_bits = (bits) \
    }
#define BLOCK(label, elements, bytes)                                            \
    {                                                                            \
        .name = (label), .block_elements = (elements), .block_bits = 8 * (bytes) \
    }

static const dray_dtype_info infos[] = {
    [DRAY_DTYPE_BOOL] = PLAIN("BOOL", 8),
    [DRAY_DTYPE_U8] = PLAIN("U8", 8),
    [DRAY_DTYPE_I8] = PLAIN("I8", 8),
    [DRAY_DTYPE_U16] = PLAIN("U16", 16),
    [DRAY_DTYPE_I16] = PLAIN("I16", 16),
    [DRAY_DTYPE_U32] = PLAIN("U32", 32),
    [DRAY_DTYPE_I32] = PLAIN("I32", 32),
    [DRAY_DTYPE_U64] = PLAIN("U64", 64),
    [DRAY_DTYPE_I64] = PLAIN("I64", 64),
    [DRAY_DTYPE_F16] = PLAIN("F16", 16),
    [DRAY_DTYPE_BF16] = PLAIN("BF16", 16),
    [DRAY_DTYPE_F32] = PLAIN("F32", 32),
    [DRAY_DTYPE_F64] = PLAIN("F64", 64),
    [DRAY_DTYPE_C64] = PLAIN("C64", 64),
    [DRAY_DTYPE_F8_E4M3] = PLAIN("F8_E4M3", 8),
    [DRAY_DTYPE_F8_E5M2] = PLAIN("F8_E5M2", 8),
    [DRAY_DTYPE_F8_E8M0] = PLAIN("F8_E8M0", 8),
    [DRAY_DTYPE_F8_E4M3FNUZ] = PLAIN("F8_E4M3FNUZ", 8),
    [DRAY_DTYPE_F8_E5M2FNUZ] = PLAIN("F8_E5M2FNUZ", 8),
    [DRAY_DTYPE_F6_E2M3] = PLAIN("F6_E2M3", 6),
    [DRAY_DTYPE_F6_E3M2] = PLAIN("F6_E3M2", 6),
    [DRAY_DTYPE_F4] = PLAIN("F4", 4),
    [DRAY_DTYPE_Q4_0] = BLOCK("Q4_0", 32, 18),
    [DRAY_DTYPE_Q4_1] = BLOCK("Q4_1", 32, 20),
    [DRAY_DTYPE_Q5_0] = BLOCK("Q5_0", 32, 22),
    [DRAY_DTYPE_Q5_1] = BLOCK("Q5_1", 32, 24),
    [DRAY_DTYPE_Q8_0] = BLOCK("Q8_0", 32, 34),
    [DRAY_DTYPE_Q8_1] = BLOCK("Q8_1", 32, 36),
    [DRAY_DTYPE_Q2_K] = BLOCK("Q2_K", 256, 84),
    [DRAY_DTYPE_Q3_K] = BLOCK("Q3_K", 256, 110),
    [DRAY_DTYPE_Q4_K] = BLOCK("Q4_K", 256, 144),
    [DRAY_DTYPE_Q5_K] = BLOCK("Q5_K", 256, 176),
    [DRAY_DTYPE_Q6_K] = BLOCK("Q6_K", 256, 210),
    [DRAY_DTYPE_Q8_K] = BLOCK("Q8_K", 256, 292),
    [DRAY_DTYPE_IQ2_XXS] = BLOCK("IQ2_XXS", 256, 66),
    [DRAY_DTYPE_IQ2_XS] = BLOCK("IQ2_XS", 256, 74),
    [DRAY_DTYPE_IQ3_XXS] = BLOCK("IQ3_XXS", 256, 98),
    [DRAY_DTYPE_IQ1_S] = BLOCK("IQ1_S", 256, 50),
    [DRAY_DTYPE_IQ4_NL] = BLOCK("IQ4_NL", 32, 18),
    [DRAY_DTYPE_IQ3_S] = BLOCK("IQ3_S", 256, 110),
    [DRAY_DTYPE_IQ2_S] = BLOCK("IQ2_S", 256, 82),
    [DRAY_DTYPE_IQ4_XS] = BLOCK("IQ4_XS", 256, 136),
    [DRAY_DTYPE_IQ1_M] = BLOCK("IQ1_M", 256, 56),
    [DRAY_DTYPE_TQ1_0] = BLOCK("TQ1_0", 256, 54),
    [DRAY_DTYPE_TQ2_0] = BLOCK("TQ2_0", 256, 66),
    [DRAY_DTYPE_MXFP4] = BLOCK("MXFP4", 32, 17),
    [DRAY_DTYPE_NVFP4] = BLOCK("NVFP4", 64, 36),
    [DRAY_DTYPE_Q1_0] = BLOCK("Q1_0", 128, 18),
    [DRAY_DTYPE_Q2_0] = BLOCK("Q2_0", 64, 18),
    [DRAY_DTYPE_APR_Q4] = {.name = "APR_Q4", .block_elements = 32, .block_bits = 8 * 18, .flat = 1},
    [DRAY_DTYPE_APR_Q8] = {.name = "APR_Q8", .block_elements = 1, .block_bits = 8, .head_bytes = 4},
};

enum { info_count = sizeof(infos) / sizeof(infos[0]) };

const dray_dtype_info *dray_dtype_get_info(dray_dtype dtype)
{
    size_t index = (size_t)dtype;
    return index < info_count && infos[index].name ? &infos[index] : NULL;
}

dray_dtype dray_dtype_from_name(const char *name)
{
    for (size_t i = 0; name && i < info_count; i++) {
        if (infos[i].name && strcmp(infos[i].name, name) == 0)
            return (dray_dtype)i;
    }
    return DRAY_DTYPE_UNKNOWN;
}

dray_status dray_dtype_tensor_bytes(dray_dtype dtype, const uint64_t *shape, uint32_t rank,
                                    uint64_t *out_bytes, dray_error *error)
{
    const dray_dtype_info *info = dray_dtype_get_info(dtype);
    if (!info)
        return dray_fail(error, DRAY_E_INVALID, "dtype %d has no known size", (int)dtype);
    uint64_t elements = 1, bits;
    for (uint32_t i = 0; i < rank; i++) {
        if (!drayi_mul(elements, shape[i], &elements))
            return dray_fail(error, DRAY_E_FORMAT,
                             "element count overflows at dimension %" PRIu32 " (%" PRIu64 ")", i,
                             shape[i]);
    }
    uint64_t fastest = rank ? shape[rank - 1] : 1;
    if (!info->flat && fastest % info->block_elements != 0)
        return dray_fail(error, DRAY_E_FORMAT,
                         "fastest dimension %" PRIu64 " is not a multiple of the %" PRIu32
                         " elements of a %s block",
                         fastest, info->block_elements, info->name);
    uint64_t blocks = elements / info->block_elements + (elements % info->block_elements != 0);
    if (!drayi_mul(blocks, info->block_bits, &bits))
        return dray_fail(error, DRAY_E_FORMAT, "size of %" PRIu64 " elements of %s overflows",
                         elements, info->name);
    if (bits % 8 != 0)
        return dray_fail(error, DRAY_E_FORMAT,
                         "%" PRIu64 " elements of %s are %" PRIu64 " bits, not whole bytes",
                         elements, info->name, bits);
    *out_bytes = bits / 8 + (elements ? info->head_bytes : 0);
    return DRAY_OK;
}
