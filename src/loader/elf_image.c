#include "loader/elf_image.h"

#include "base/env.h"
#include "os/os.h"

#include <inttypes.h>

_Static_assert(sizeof(Elf64_Ehdr) == 64 && sizeof(Elf64_Phdr) == 56 && sizeof(Elf64_Shdr) == 64,
               "the sizes in the file are those of the structs");

static const uint64_t piece_bytes = 4096;

static dray_status outside(dray_error *error, const char *rule, uint64_t at, const char *what,
                           uint64_t index, uint64_t offset, uint64_t bytes, uint64_t count)
{
    return dray_fail_rule(error, DRAY_E_FORMAT, rule, at,
                          "elf: %s %" PRIu64 " has %" PRIu64 " bytes at %" PRIu64
                          ", the file ends at %" PRIu64,
                          what, index, bytes, offset, count);
}

static dray_status check_size(uint64_t count, dray_error *error)
{
    if (count < sizeof(Elf64_Ehdr))
        return dray_fail_rule(error, DRAY_E_FORMAT, "elf.header", 0,
                              "elf: %" PRIu64 " bytes, the header alone has 64", count);
    return DRAY_OK;
}

static dray_status check_ident(const uint8_t *bytes, dray_error *error)
{
    if (!drayi_elf_is(bytes, sizeof(Elf64_Ehdr)))
        return dray_fail_rule(error, DRAY_E_FORMAT, "elf.magic", 0,
                              "elf: the first bytes are not 7f 45 4c 46");
    if (bytes[EI_CLASS] != ELFCLASS64)
        return dray_fail_rule(error, DRAY_E_UNSUPPORTED, "elf.class", EI_CLASS,
                              "elf: class %u, only 64-bit files (class 2) are loaded",
                              bytes[EI_CLASS]);
    if (bytes[EI_DATA] != ELFDATA2LSB)
        return dray_fail_rule(error, DRAY_E_UNSUPPORTED, "elf.data", EI_DATA,
                              "elf: byte order %u, only little-endian files (1) are loaded",
                              bytes[EI_DATA]);
    if (bytes[EI_VERSION] != EV_CURRENT)
        return dray_fail_rule(error, DRAY_E_FORMAT, "elf.version", EI_VERSION,
                              "elf: version %u, wanted 1", bytes[EI_VERSION]);
    return DRAY_OK;
}

static dray_status check_table(const char *rule, const char *what, uint64_t offset,
                               uint64_t entries, uint64_t entry_bytes, uint64_t wanted_bytes,
                               uint64_t count, dray_error *error)
{
    if (entries == 0)
        return DRAY_OK;
    if (entry_bytes != wanted_bytes)
        return dray_fail_rule(error, DRAY_E_FORMAT, rule, offset,
                              "elf: entries of the %s table have %" PRIu64 " bytes, wanted %" PRIu64,
                              what, entry_bytes, wanted_bytes);
    if (!drayi_inside(offset, entries * entry_bytes, count)) // both at most 16 bits: no overflow
        return dray_fail_rule(error, DRAY_E_FORMAT, rule, offset,
                              "elf: the %s table has %" PRIu64 " bytes at %" PRIu64
                              ", the file ends at %" PRIu64,
                              what, entries * entry_bytes, offset, count);
    return DRAY_OK;
}

static dray_status check_tables(const Elf64_Ehdr *header, uint64_t count, dray_error *error)
{
    if (header->e_shoff != 0 && header->e_shnum == 0)
        return dray_fail_rule(
            error, DRAY_E_UNSUPPORTED, "elf.sections", 60,
            "elf: the number of sections stands elsewhere (65280 or more of them)");
    if (header->e_phnum == PN_XNUM)
        return dray_fail_rule(error, DRAY_E_UNSUPPORTED, "elf.segments", 56,
                              "elf: 65535 or more segments");
    DRAY_TRY(check_table("elf.segments", "segment", header->e_phoff, header->e_phnum,
                         header->e_phentsize, sizeof(Elf64_Phdr), count, error));
    return check_table("elf.sections", "section", header->e_shoff, header->e_shnum,
                       header->e_shentsize, sizeof(Elf64_Shdr), count, error);
}

static dray_status check_extents(const drayi_elf *elf, dray_error *error)
{
    for (uint64_t i = 0; i < elf->header.e_phnum; i++) {
        Elf64_Phdr segment = drayi_elf_segment(elf, i);
        if (segment.p_type != PT_NULL &&
            !drayi_inside(segment.p_offset, segment.p_filesz, elf->count))
            return outside(error, "elf.segment.bounds", elf->header.e_phoff + i * sizeof(segment),
                           "segment", i, segment.p_offset, segment.p_filesz, elf->count);
    }
    for (uint64_t i = 0; i < elf->header.e_shnum; i++) {
        Elf64_Shdr section = drayi_elf_section(elf, i);
        if (section.sh_type != SHT_NULL && section.sh_type != SHT_NOBITS &&
            !drayi_inside(section.sh_offset, section.sh_size, elf->count))
            return outside(error, "elf.section.bounds", elf->header.e_shoff + i * sizeof(section),
                           "section", i, section.sh_offset, section.sh_size, elf->count);
    }
    return DRAY_OK;
}

static dray_status read_image(drayi_elf *elf, dray_error *error)
{
    DRAY_TRY(check_size(elf->count, error));
    const uint8_t *head = drayi_elf_view(elf, 0, sizeof(elf->header), error);
    if (!head)
        return DRAY_E_IO;
    DRAY_TRY(check_ident(head, error));
    memcpy(&elf->header, head, sizeof(elf->header));
    const Elf64_Ehdr *header = &elf->header;
    DRAY_TRY(check_tables(header, elf->count, error));
    if (header->e_phnum > 0)
        elf->segments =
            drayi_elf_view(elf, header->e_phoff, header->e_phnum * sizeof(Elf64_Phdr), error);
    if (header->e_shnum > 0)
        elf->sections =
            drayi_elf_view(elf, header->e_shoff, header->e_shnum * sizeof(Elf64_Shdr), error);
    if ((header->e_phnum > 0 && !elf->segments) || (header->e_shnum > 0 && !elf->sections))
        return DRAY_E_IO;
    return check_extents(elf, error);
}

dray_status drayi_elf_read(const uint8_t *bytes, uint64_t count, drayi_elf *out, dray_error *error)
{
    drayi_elf elf = {.bytes = bytes, .count = count};
    DRAY_TRY(read_image(&elf, error));
    *out = elf;
    return DRAY_OK;
}

dray_status drayi_elf_read_pieces(drayi_elf_pieces *pieces, uint64_t count, drayi_elf *out,
                                  dray_error *error)
{
    drayi_elf elf = {.pieces = pieces, .count = count};
    DRAY_TRY(read_image(&elf, error));
    *out = elf;
    return DRAY_OK;
}

static const uint8_t *read_piece(drayi_elf_pieces *pieces, uint64_t offset, uint64_t count,
                                 dray_error *error)
{
    const unsigned most = sizeof(pieces->pieces) / sizeof(pieces->pieces[0]);
    uint8_t *bytes = drayi_arena_alloc(&pieces->arena, count, error);
    if (!bytes || drayi_pread_all(pieces->arena.env->os, pieces->fd, pieces->name, bytes, count,
                                  offset, NULL, error) != DRAY_OK)
        return NULL;
    unsigned at =
        pieces->used < most ? pieces->used++ : most - 1; // the last one is forgotten, not freed
    pieces->pieces[at].offset = offset;
    pieces->pieces[at].count = count;
    pieces->pieces[at].bytes = bytes;
    return bytes;
}

const uint8_t *drayi_elf_view(const drayi_elf *elf, uint64_t offset, uint64_t count,
                              dray_error *error)
{
    if (elf->bytes)
        return elf->bytes + offset;
    const drayi_elf_pieces *pieces = elf->pieces;
    for (unsigned i = 0; i < pieces->used; i++) {
        uint64_t first = pieces->pieces[i].offset;
        if (offset >= first && drayi_inside(offset - first, count, pieces->pieces[i].count))
            return pieces->pieces[i].bytes + (offset - first);
    }
    // what stands around it is looked at next: the dynamic table lies close ahead of the section table
    uint64_t first = drayi_round_down(offset, piece_bytes);
    first -= drayi_min(first, piece_bytes);
    uint64_t end = drayi_min(drayi_max(offset + count, first + 2 * piece_bytes), elf->count);
    const uint8_t *piece = read_piece(elf->pieces, first, end - first, error);
    return piece ? piece + (offset - first) : NULL;
}

bool drayi_elf_text(const uint8_t *strings, uint64_t count, uint64_t offset, dray_text *out)
{
    if (offset >= count)
        return false;
    const uint8_t *end = memchr(strings + offset, 0, count - offset);
    if (!end)
        return false;
    *out = (dray_text){(const char *)strings + offset, (uint64_t)(end - (strings + offset))};
    return true;
}

dray_text drayi_elf_section_name(const drayi_elf *elf, const Elf64_Shdr *section)
{
    dray_text name = {"", 0};
    if (elf->header.e_shstrndx >= elf->header.e_shnum)
        return name;
    Elf64_Shdr strings = drayi_elf_section(elf, elf->header.e_shstrndx);
    const uint8_t *bytes = strings.sh_type == SHT_STRTAB
                               ? drayi_elf_view(elf, strings.sh_offset, strings.sh_size, NULL)
                               : NULL;
    if (bytes)
        drayi_elf_text(bytes, strings.sh_size, section->sh_name, &name);
    return name;
}

uint64_t drayi_elf_extent(const drayi_elf *elf)
{
    const Elf64_Ehdr *header = &elf->header;
    uint64_t end = sizeof(*header);
    if (header->e_phnum)
        end = drayi_max(end, header->e_phoff + header->e_phnum * sizeof(Elf64_Phdr));
    if (header->e_shnum)
        end = drayi_max(end, header->e_shoff + header->e_shnum * sizeof(Elf64_Shdr));
    for (uint64_t i = 0; i < header->e_phnum; i++) {
        Elf64_Phdr segment = drayi_elf_segment(elf, i);
        if (segment.p_type != PT_NULL)
            end = drayi_max(end, segment.p_offset + segment.p_filesz);
    }
    for (uint64_t i = 0; i < header->e_shnum; i++) {
        Elf64_Shdr section = drayi_elf_section(elf, i);
        if (section.sh_type != SHT_NULL && section.sh_type != SHT_NOBITS)
            end = drayi_max(end, section.sh_offset + section.sh_size);
    }
    return end;
}

const char *drayi_elf_machine_name(uint16_t machine)
{
    switch (machine) {
    case EM_X86_64:
        return "x86-64";
    case EM_AARCH64:
        return "aarch64";
    case EM_RISCV:
        return "riscv";
    case EM_PPC64:
        return "ppc64";
    case EM_S390:
        return "s390";
    case EM_CUDA:
        return "cuda";
    case EM_AMDGPU:
        return "amdgpu";
    default:
        return NULL;
    }
}
