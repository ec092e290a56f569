#include "loader/recognise_code.h"

#include "loader/elf_library.h"
#include "loader/gpu_image.h"

#include <stdio.h>

/// A magic number at the very beginning.
typedef struct code_magic {
    drayi_code code;
    uint32_t length;
    const char *bytes;
} code_magic;

static const code_magic magics[] = {
    {DRAYI_CODE_FATBIN, 4, "\x50\xED\x55\xBA"},
    {DRAYI_CODE_HIP_BUNDLE, 24, "__CLANG_OFFLOAD_BUNDLE__"},
    {DRAYI_CODE_HIP_BUNDLE, 4, "CCOB"},
    {DRAYI_CODE_SPIRV, 4, "\x03\x02\x23\x07"},
    {DRAYI_CODE_SPIRV, 4, "\x07\x23\x02\x03"},
    {DRAYI_CODE_POCL, 7, "poclbin"},
    {DRAYI_CODE_ENVELOPE, 8, "drayclb\n"},
    {DRAYI_CODE_WASM, 4, "\0asm"},
    {DRAYI_CODE_WASM_AOT, 4, "\0aot"},
};

static drayi_code elf_code(const uint8_t *prefix, uint64_t count)
{
    if (count < sizeof(Elf64_Ehdr))
        return DRAYI_CODE_ELF_OTHER;
    uint16_t type = drayi_load_u16(prefix + 16, false), machine = drayi_load_u16(prefix + 18, false);
    if (prefix[EI_CLASS] != ELFCLASS64 || prefix[EI_DATA] != ELFDATA2LSB)
        return DRAYI_CODE_ELF_OTHER;
    if (machine == EM_CUDA)
        return DRAYI_CODE_CUBIN;
    if (machine == EM_AMDGPU)
        return DRAYI_CODE_HSACO;
    return type == ET_DYN ? DRAYI_CODE_ELF : DRAYI_CODE_ELF_OTHER;
}

/// A tree has no magic: its first number is the size of what follows, then come an index that begins
/// with 0 and does not decrease.
static bool is_bundle(const uint8_t *prefix, uint64_t count, uint64_t total)
{
    if (count < 32 || total < 32 || drayi_load_u64(prefix, false) != total - 8)
        return false;
    uint64_t entries = drayi_load_u64(prefix + 8, false), last = 0;
    if (entries < 2 || entries > total / 8 || drayi_load_u64(prefix + 16, false) != 0)
        return false;
    for (uint64_t i = 0; i < entries && 24 + i * 8 <= count; i++) {
        uint64_t value = drayi_load_u64(prefix + 16 + i * 8, false);
        if (value < last || value > total / 8)
            return false;
        last = value;
    }
    return true;
}

static bool is_text(const uint8_t *prefix, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        if (prefix[i] < 0x20 && prefix[i] != '\t' && prefix[i] != '\n' && prefix[i] != '\r' &&
            prefix[i] != '\f')
            return false;
    }
    return count > 0;
}

static bool holds(const uint8_t *prefix, uint64_t count, const char *word)
{
    return memmem(prefix, count, word, strlen(word)) != NULL;
}

static drayi_code text_code(const uint8_t *prefix, uint64_t count, uint32_t *out_score)
{
    drayi_ptx ptx;
    uint64_t without_nul = count;
    while (without_nul > 0 && prefix[without_nul - 1] == 0)
        without_nul--;
    if (!is_text(prefix, without_nul))
        return DRAYI_CODE_UNKNOWN;
    if (drayi_ptx_read(prefix, without_nul, &ptx, NULL) == DRAY_OK) {
        *out_score = 95;
        return DRAYI_CODE_PTX;
    }
    if (holds(prefix, without_nul, "__kernel") || holds(prefix, without_nul, "kernel void")) {
        *out_score = 60;
        return DRAYI_CODE_OPENCL_SOURCE;
    }
    return DRAYI_CODE_UNKNOWN;
}

drayi_code drayi_recognise_code(const uint8_t *prefix, uint64_t prefix_bytes, uint64_t total_bytes,
                                uint32_t *out_score)
{
    uint64_t count = drayi_min(prefix_bytes, DRAYI_CODE_PREFIX);
    *out_score = 100;
    if (drayi_elf_is(prefix, count))
        return elf_code(prefix, count);
    for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++) {
        if (count >= magics[i].length && memcmp(prefix, magics[i].bytes, magics[i].length) == 0)
            return magics[i].code;
    }
    if (is_bundle(prefix, count, total_bytes)) {
        *out_score = 90;
        return DRAYI_CODE_BUNDLE;
    }
    drayi_code code = text_code(prefix, count, out_score);
    if (code == DRAYI_CODE_UNKNOWN)
        *out_score = 0;
    return code;
}

uint32_t drayi_sniff_code(drayi_code code, const uint8_t *prefix, uint64_t prefix_bytes,
                          uint64_t total_bytes)
{
    uint32_t score;
    return drayi_recognise_code(prefix, prefix_bytes, total_bytes, &score) == code ? score : 0;
}

const char *drayi_code_name(drayi_code code)
{
    static const char *const names[] = {
        [DRAYI_CODE_UNKNOWN] = "unknown",
        [DRAYI_CODE_ELF] = "elf",
        [DRAYI_CODE_ELF_OTHER] = "elf",
        [DRAYI_CODE_CUBIN] = "cubin",
        [DRAYI_CODE_FATBIN] = "fatbin",
        [DRAYI_CODE_PTX] = "ptx",
        [DRAYI_CODE_HSACO] = "hsaco",
        [DRAYI_CODE_HIP_BUNDLE] = "hip-bundle",
        [DRAYI_CODE_SPIRV] = "spirv",
        [DRAYI_CODE_POCL] = "opencl-binary",
        [DRAYI_CODE_ENVELOPE] = "opencl-binary",
        [DRAYI_CODE_WASM] = "wasm",
        [DRAYI_CODE_WASM_AOT] = "wasm-aot",
        [DRAYI_CODE_BUNDLE] = "bundle",
        [DRAYI_CODE_OPENCL_SOURCE] = "opencl-source",
    };
    return names[code];
}

static void describe_elf(const uint8_t *prefix, uint64_t count, char out[80])
{
    static const char *const types[] = {"file", "object file", "program", "shared object",
                                        "core dump"};
    if (count < sizeof(Elf64_Ehdr)) {
        snprintf(out, 80, "the first %u bytes of an ELF file", (unsigned)count);
        return;
    }
    uint16_t type = drayi_load_u16(prefix + 16, false), machine = drayi_load_u16(prefix + 18, false);
    const char *name = drayi_elf_machine_name(machine);
    char number[32];
    snprintf(number, sizeof(number), "machine %u", machine);
    snprintf(out, 80, "an ELF %s for %s", types[type < 5 ? type : 0], name ? name : number);
}

void drayi_describe_code(const uint8_t *prefix, uint64_t prefix_bytes, uint64_t total_bytes,
                         char out[80])
{
    static const char *const sentences[] = {
        [DRAYI_CODE_CUBIN] = "a cubin: code for NVIDIA GPUs",
        [DRAYI_CODE_FATBIN] = "a fatbin: code for several NVIDIA GPUs",
        [DRAYI_CODE_PTX] = "PTX text",
        [DRAYI_CODE_HSACO] = "an hsaco: code for AMD GPUs",
        [DRAYI_CODE_HIP_BUNDLE] = "a HIP bundle: code for several AMD GPUs",
        [DRAYI_CODE_SPIRV] = "SPIR-V",
        [DRAYI_CODE_POCL] = "an OpenCL binary of PoCL",
        [DRAYI_CODE_ENVELOPE] = "an OpenCL binary in dray's envelope",
        [DRAYI_CODE_WASM] = "WebAssembly",
        [DRAYI_CODE_WASM_AOT] = "compiled WebAssembly (WAMR)",
        [DRAYI_CODE_BUNDLE] = "a bundle: a tree of modules",
        [DRAYI_CODE_OPENCL_SOURCE] = "OpenCL source text",
    };
    uint32_t score;
    uint64_t count = drayi_min(prefix_bytes, DRAYI_CODE_PREFIX);
    drayi_code code = drayi_recognise_code(prefix, prefix_bytes, total_bytes, &score);
    if (code == DRAYI_CODE_ELF || code == DRAYI_CODE_ELF_OTHER)
        describe_elf(prefix, count, out);
    else if (code != DRAYI_CODE_UNKNOWN)
        snprintf(out, 80, "%s", sentences[code]);
    else if (count == 0)
        snprintf(out, 80, "nothing: there are no bytes");
    else if (is_text(prefix, count))
        snprintf(out, 80, "text of no kind that is known");
    else
        snprintf(out, 80, "nothing known: they begin with %02x %02x %02x %02x", prefix[0],
                 count > 1 ? prefix[1] : 0u, count > 2 ? prefix[2] : 0u, count > 3 ? prefix[3] : 0u);
}
