/// What code in memory looks like: from its first bytes, never from a name.
#ifndef DRAY_LOADER_RECOGNISE_CODE_H
#define DRAY_LOADER_RECOGNISE_CODE_H

#include "base/reader.h"

typedef enum drayi_code {
    DRAYI_CODE_UNKNOWN = 0,
    DRAYI_CODE_ELF = 1,       // a host shared object
    DRAYI_CODE_ELF_OTHER = 2, // an ELF file of another kind or machine
    DRAYI_CODE_CUBIN = 3,
    DRAYI_CODE_FATBIN = 4,
    DRAYI_CODE_PTX = 5,
    DRAYI_CODE_HSACO = 6,
    DRAYI_CODE_HIP_BUNDLE = 7,
    DRAYI_CODE_SPIRV = 8,
    DRAYI_CODE_POCL = 9,      // an OpenCL binary as PoCL makes them
    DRAYI_CODE_ENVELOPE = 10, // an OpenCL binary in dray's envelope
    DRAYI_CODE_WASM = 11,
    DRAYI_CODE_WASM_AOT = 12,
    DRAYI_CODE_BUNDLE = 13, // an import tree
    DRAYI_CODE_OPENCL_SOURCE = 14
} drayi_code;

enum { DRAYI_CODE_PREFIX = 4096 }; // as much as is looked at

/// `prefix` holds the first prefix_bytes (at most DRAYI_CODE_PREFIX are looked at) of `total_bytes`.
/// *out_score: how sure (0 .. 100); 100 is a magic number, less is a guess from text.
drayi_code drayi_recognise_code(const uint8_t *prefix, uint64_t prefix_bytes, uint64_t total_bytes,
                                uint32_t *out_score);

/// The same as a loader's `sniff`: how sure it is that this is `code`; 0: it is something else.
uint32_t drayi_sniff_code(drayi_code code, const uint8_t *prefix, uint64_t prefix_bytes,
                          uint64_t total_bytes);

/// "elf", "cubin", ... as loaders are called; for those without a loader what it is ("hsaco").
const char *drayi_code_name(drayi_code code);

/// "an ELF shared object for x86-64", "PTX text", ...: for messages. Room for 80 bytes.
void drayi_describe_code(const uint8_t *prefix, uint64_t prefix_bytes, uint64_t total_bytes,
                         char out[80]);

#endif
