/// Source: ggml.h of 2026-08 and the sizes its library prints; ids are stable, holes are removed types.
#include "format/gguf_types.h"

#include <inttypes.h>
#include <stdbool.h>

static const uint8_t dtypes[] = {
    [0] = DRAY_DTYPE_F32,     [1] = DRAY_DTYPE_F16,      [2] = DRAY_DTYPE_Q4_0,
    [3] = DRAY_DTYPE_Q4_1,    [6] = DRAY_DTYPE_Q5_0,     [7] = DRAY_DTYPE_Q5_1,
    [8] = DRAY_DTYPE_Q8_0,    [9] = DRAY_DTYPE_Q8_1,     [10] = DRAY_DTYPE_Q2_K,
    [11] = DRAY_DTYPE_Q3_K,   [12] = DRAY_DTYPE_Q4_K,    [13] = DRAY_DTYPE_Q5_K,
    [14] = DRAY_DTYPE_Q6_K,   [15] = DRAY_DTYPE_Q8_K,    [16] = DRAY_DTYPE_IQ2_XXS,
    [17] = DRAY_DTYPE_IQ2_XS, [18] = DRAY_DTYPE_IQ3_XXS, [19] = DRAY_DTYPE_IQ1_S,
    [20] = DRAY_DTYPE_IQ4_NL, [21] = DRAY_DTYPE_IQ3_S,   [22] = DRAY_DTYPE_IQ2_S,
    [23] = DRAY_DTYPE_IQ4_XS, [24] = DRAY_DTYPE_I8,      [25] = DRAY_DTYPE_I16,
    [26] = DRAY_DTYPE_I32,    [27] = DRAY_DTYPE_I64,     [28] = DRAY_DTYPE_F64,
    [29] = DRAY_DTYPE_IQ1_M,  [30] = DRAY_DTYPE_BF16,    [34] = DRAY_DTYPE_TQ1_0,
    [35] = DRAY_DTYPE_TQ2_0,  [39] = DRAY_DTYPE_MXFP4,   [40] = DRAY_DTYPE_NVFP4,
    [41] = DRAY_DTYPE_Q1_0,   [42] = DRAY_DTYPE_Q2_0,
};

enum { dtype_count = sizeof(dtypes) / sizeof(dtypes[0]) };

static const char *const removed[] = {
    [4] = "Q4_2",      [5] = "Q4_3",        [31] = "Q4_0_4_4",   [32] = "Q4_0_4_8",
    [33] = "Q4_0_8_8", [36] = "IQ4_NL_4_4", [37] = "IQ4_NL_4_8", [38] = "IQ4_NL_8_8",
};

enum { removed_count = sizeof(removed) / sizeof(removed[0]) };

dray_dtype drayi_gguf_dtype(uint32_t id)
{
    return id < dtype_count ? (dray_dtype)dtypes[id] : DRAY_DTYPE_UNKNOWN;
}

/// Ids that ik_llama.cpp gives to types of its own.
static bool is_fork_id(uint32_t id)
{
    return (id >= 97 && id <= 99) || (id >= 133 && id <= 158) || (id >= 202 && id <= 233) ||
           (id >= 335 && id <= 399);
}

dray_status drayi_gguf_refuse_type(uint32_t id, uint64_t offset, dray_error *error)
{
    static const char rule[] = "gguf.tensor.type";
    if (id < removed_count && removed[id])
        return dray_fail_rule(error, DRAY_E_FORMAT, rule, offset,
                              "type %" PRIu32
                              " (%s) was removed from ggml: quantise the model again "
                              "with a current llama.cpp; --lenient lists the tensor",
                              id, removed[id]);
    if (is_fork_id(id))
        return dray_fail_rule(error, DRAY_E_FORMAT, rule, offset,
                              "type %" PRIu32
                              " is none of ggml's but of the fork ik_llama.cpp, its size is "
                              "unknown here; --lenient lists the tensor",
                              id);
    return dray_fail_rule(error, DRAY_E_FORMAT, rule, offset,
                          "type %" PRIu32 " is none of ggml's (0 to %d), its size is unknown; "
                          "--lenient lists the tensor",
                          id, dtype_count - 1);
}
