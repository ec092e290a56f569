/// HIP bundles, which hold code for several AMD GPUs: recognised, and refused by name.
#include "dray/spi/loader.h"
#include "loader/recognise_code.h"

static uint32_t hip_bundle_sniff(const uint8_t *head, uint64_t head_bytes, uint64_t byte_count)
{
    return drayi_sniff_code(DRAYI_CODE_HIP_BUNDLE, head, head_bytes, byte_count);
}

const dray_loader_ops drayi_loader_hip_bundle = {
    .abi = DRAY_LOADER_ABI,
    .flags = DRAY_LOADER_RAW,
    .kind = "hip-bundle",
    .sniff = hip_bundle_sniff,
    .refusal = "code for AMD GPUs is not loaded by this version of dray",
};
