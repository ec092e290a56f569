/// dray/dtype.h: element types of tensors: plain, sub-byte and block-quantised.
///
/// Sources: ggml's type table (ids 0-42, sizes printed from the library of 2026-08) and safetensors 0.8.
/// Two formats share a value when the bytes mean the same ("F16" is F16 everywhere).
#ifndef DRAY_DTYPE_H
#define DRAY_DTYPE_H

#include "dray/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum dray_dtype {
    DRAY_DTYPE_UNKNOWN = 0, ///< a type this version does not know: its size is unknown too
    // plain numbers
    DRAY_DTYPE_BOOL = 1,
    DRAY_DTYPE_U8 = 2,
    DRAY_DTYPE_I8 = 3,
    DRAY_DTYPE_U16 = 4,
    DRAY_DTYPE_I16 = 5,
    DRAY_DTYPE_U32 = 6,
    DRAY_DTYPE_I32 = 7,
    DRAY_DTYPE_U64 = 8,
    DRAY_DTYPE_I64 = 9,
    DRAY_DTYPE_F16 = 10,
    DRAY_DTYPE_BF16 = 11,
    DRAY_DTYPE_F32 = 12,
    DRAY_DTYPE_F64 = 13,
    DRAY_DTYPE_C64 = 14,
    // small floats (safetensors)
    DRAY_DTYPE_F8_E4M3 = 20,
    DRAY_DTYPE_F8_E5M2 = 21,
    DRAY_DTYPE_F8_E8M0 = 22,
    DRAY_DTYPE_F8_E4M3FNUZ = 23,
    DRAY_DTYPE_F8_E5M2FNUZ = 24,
    DRAY_DTYPE_F6_E2M3 = 25,
    DRAY_DTYPE_F6_E3M2 = 26,
    DRAY_DTYPE_F4 = 27,
    // ggml blocks
    DRAY_DTYPE_Q4_0 = 40,
    DRAY_DTYPE_Q4_1 = 41,
    DRAY_DTYPE_Q5_0 = 42,
    DRAY_DTYPE_Q5_1 = 43,
    DRAY_DTYPE_Q8_0 = 44,
    DRAY_DTYPE_Q8_1 = 45,
    DRAY_DTYPE_Q2_K = 46,
    DRAY_DTYPE_Q3_K = 47,
    DRAY_DTYPE_Q4_K = 48,
    DRAY_DTYPE_Q5_K = 49,
    DRAY_DTYPE_Q6_K = 50,
    DRAY_DTYPE_Q8_K = 51,
    DRAY_DTYPE_IQ2_XXS = 52,
    DRAY_DTYPE_IQ2_XS = 53,
    DRAY_DTYPE_IQ3_XXS = 54,
    DRAY_DTYPE_IQ1_S = 55,
    DRAY_DTYPE_IQ4_NL = 56,
    DRAY_DTYPE_IQ3_S = 57,
    DRAY_DTYPE_IQ2_S = 58,
    DRAY_DTYPE_IQ4_XS = 59,
    DRAY_DTYPE_IQ1_M = 60,
    DRAY_DTYPE_TQ1_0 = 61,
    DRAY_DTYPE_TQ2_0 = 62,
    DRAY_DTYPE_MXFP4 = 63,
    DRAY_DTYPE_NVFP4 = 64,
    DRAY_DTYPE_Q1_0 = 65,
    DRAY_DTYPE_Q2_0 = 66,
    // APR's own
    DRAY_DTYPE_APR_Q4 = 80, ///< per 32 elements: f16 scale and 16 bytes of nibbles
    DRAY_DTYPE_APR_Q8 = 81  ///< one f32 scale for the whole tensor, then an i8 per element
} dray_dtype;

typedef struct dray_dtype_info {
    const char *name;        ///< "F32", "Q4_K", "F8_E4M3": as the format's own tools print it
    uint32_t block_elements; ///< elements per block (along the fastest dimension); 1: plain
    uint32_t block_bits;     ///< bits per block; not a multiple of 8 only for F4, F6
    uint32_t head_bytes;     ///< bytes before the blocks of a tensor that has any (APR_Q8: 4)
    uint32_t flat;           ///< 1: blocks run over the whole tensor and not along the fastest
                             ///< dimension, the last one may be partly filled (APR_Q4)
} dray_dtype_info;

/// NULL for DRAY_DTYPE_UNKNOWN and values not listed.
DRAY_API const dray_dtype_info *dray_dtype_get_info(dray_dtype dtype);
/// DRAY_DTYPE_UNKNOWN: no such name.
DRAY_API dray_dtype dray_dtype_from_name(const char *name);

/// Bytes of a tensor with `rank` dimensions, slowest first (rank 0: one element). DRAY_E_FORMAT (no rule):
/// the product, taken slowest dimension first, overflows at some step (even when a later dimension is
/// zero: [2^63, 4, 0] is refused, [0, 2^63, 4] is not), the fastest dimension is not a multiple of the
/// block, or the bits do not fill whole bytes. DRAY_E_INVALID: a dtype without a known size.
DRAY_API dray_status dray_dtype_tensor_bytes(dray_dtype dtype, const uint64_t *shape, uint32_t rank,
                                             uint64_t *out_bytes, dray_error *error);

#ifdef __cplusplus
}
#endif
#endif
