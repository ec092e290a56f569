/// Cubins: ELF files whose flags say the architecture and whose sections are kernels.
#include "base/env.h"
#include "loader/gpu_image.h"

enum {
    abi_cuda_12 = 7, // the architecture in the low byte of the flags
    abi_cuda_13 = 8, // one byte further up
    suffix_a = 1 << 11
};

/// The driver reads it by its section table; a file that lacks it has no kernel either.
static dray_status check_sections(const drayi_elf *elf, dray_error *error)
{
    if (elf->header.e_shnum == 0)
        return dray_fail_rule(error, DRAY_E_FORMAT, "cubin.sections", 40,
                              "cubin: there is no section table");
    return DRAY_OK;
}

static dray_status read_architecture(drayi_cubin *cubin, dray_error *error)
{
    uint32_t flags = cubin->elf.header.e_flags;
    unsigned version = cubin->elf.header.e_ident[EI_ABIVERSION];
    if (version == abi_cuda_12) {
        cubin->sm = flags & 0xff;
        cubin->family_specific = (flags & suffix_a) != 0;
    } else if (version == abi_cuda_13) {
        cubin->sm = flags >> 8 & 0xff;
    } else {
        return dray_fail_rule(error, DRAY_E_UNSUPPORTED, "cubin.version", EI_ABIVERSION,
                              "cubin: layout version %u, known are 7 (CUDA 12) and 8 (CUDA 13)",
                              version);
    }
    if (cubin->sm < 20)
        return dray_fail_rule(error, DRAY_E_FORMAT, "cubin.architecture", 48,
                              "cubin: flags %#x name architecture sm_%u, which there is none of",
                              flags, cubin->sm);
    return DRAY_OK;
}

dray_status drayi_cubin_read(const uint8_t *bytes, uint64_t count, drayi_cubin *out,
                             dray_error *error)
{
    drayi_cubin cubin = {.sm = 0};
    DRAY_TRY(drayi_elf_read(bytes, count, &cubin.elf, error));
    if (cubin.elf.header.e_machine != EM_CUDA)
        return dray_fail_rule(error, DRAY_E_FORMAT, "cubin.machine", 18,
                              "cubin: machine %u, wanted 190 (CUDA)", cubin.elf.header.e_machine);
    DRAY_TRY(check_sections(&cubin.elf, error));
    DRAY_TRY(read_architecture(&cubin, error));
    cubin.bytes = drayi_elf_extent(&cubin.elf);
    *out = cubin;
    return DRAY_OK;
}

bool drayi_cubin_kernel(const drayi_cubin *cubin, uint64_t index, dray_text *out)
{
    static const char prefix[] = ".text.";
    const uint64_t length = sizeof(prefix) - 1;
    Elf64_Shdr section = drayi_elf_section(&cubin->elf, index);
    dray_text name = drayi_elf_section_name(&cubin->elf, &section);
    if (section.sh_type != SHT_PROGBITS || !(section.sh_flags & SHF_EXECINSTR) ||
        name.length <= length || memcmp(name.bytes, prefix, length) != 0)
        return false;
    *out = (dray_text){name.bytes + length, name.length - length};
    return true;
}
