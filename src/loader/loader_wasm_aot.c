/// WebAssembly that WAMR has compiled: recognised, and refused by name.
#include "dray/spi/loader.h"
#include "loader/recognise_code.h"

static uint32_t wasm_aot_sniff(const uint8_t *head, uint64_t head_bytes, uint64_t byte_count)
{
    return drayi_sniff_code(DRAYI_CODE_WASM_AOT, head, head_bytes, byte_count);
}

const dray_loader_ops drayi_loader_wasm_aot = {
    .abi = DRAY_LOADER_ABI,
    .flags = DRAY_LOADER_RAW,
    .kind = "wasm-aot",
    .sniff = wasm_aot_sniff,
    .refusal = "dray has no WebAssembly runtime",
};
