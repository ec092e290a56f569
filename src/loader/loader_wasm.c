/// WebAssembly: recognised, and refused by name.
#include "dray/spi/loader.h"
#include "loader/recognise_code.h"

static uint32_t wasm_sniff(const uint8_t *head, uint64_t head_bytes, uint64_t byte_count)
{
    return drayi_sniff_code(DRAYI_CODE_WASM, head, head_bytes, byte_count);
}

const dray_loader_ops drayi_loader_wasm = {
    .abi = DRAY_LOADER_ABI,
    .flags = DRAY_LOADER_RAW,
    .kind = "wasm",
    .sniff = wasm_sniff,
    .refusal = "dray has no WebAssembly runtime",
};
