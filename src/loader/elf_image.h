/// A 64-bit ELF file as bytes that somebody sent: what its headers say, each number checked first.
///
/// Nothing is copied, allocated or run. drayi_elf_read() checks that everything the headers speak of
/// lies inside the bytes, so a file that was cut off anywhere is refused. It knows nothing of what the
/// file is for: host libraries are elf_library.h, GPU code is gpu_image.h.
#ifndef DRAY_LOADER_ELF_IMAGE_H
#define DRAY_LOADER_ELF_IMAGE_H

#include "base/arena.h"
#include "base/reader.h"

#include <elf.h>

/// A file that is read where it is looked at: a loader needs a few KB of a library of any size, and mapping
/// it costs more than reading those.
typedef struct drayi_elf_pieces {
    drayi_arena arena; // with its env
    int fd;
    const char *name;
    unsigned used;
    struct {
        uint64_t offset, count;
        const uint8_t *bytes;
    } pieces[24];
} drayi_elf_pieces;

/// Borrows the bytes, or the pieces.
typedef struct drayi_elf {
    const uint8_t *bytes;     // all of them; or NULL:
    drayi_elf_pieces *pieces; // from here
    uint64_t count;
    Elf64_Ehdr header;
    const uint8_t *segments, *sections; // the two tables
} drayi_elf;

/// Bytes that lie inside the file. NULL: they cannot be read, `error` says why. Valid as long as the pieces.
const uint8_t *drayi_elf_view(const drayi_elf *elf, uint64_t offset, uint64_t count,
                              dray_error *error);

/// Do the bytes begin like an ELF file?
static inline bool drayi_elf_is(const uint8_t *bytes, uint64_t count)
{
    return count >= SELFMAG && memcmp(bytes, ELFMAG, SELFMAG) == 0;
}

/// DRAY_E_FORMAT with a rule "elf.*": what lies outside, with numbers. DRAY_E_UNSUPPORTED: a class or byte
/// order that is not ours.
dray_status drayi_elf_read(const uint8_t *bytes, uint64_t count, drayi_elf *out, dray_error *error);
/// The same of the first `count` bytes of a file.
dray_status drayi_elf_read_pieces(drayi_elf_pieces *pieces, uint64_t count, drayi_elf *out,
                                  dray_error *error);

/// index < header.e_phnum; the offsets were checked.
static inline Elf64_Phdr drayi_elf_segment(const drayi_elf *elf, uint64_t index)
{
    Elf64_Phdr segment;
    memcpy(&segment, elf->segments + index * sizeof(segment), sizeof(segment));
    return segment;
}

/// index < header.e_shnum.
static inline Elf64_Shdr drayi_elf_section(const drayi_elf *elf, uint64_t index)
{
    Elf64_Shdr section;
    memcpy(&section, elf->sections + index * sizeof(section), sizeof(section));
    return section;
}

/// Its name, or an empty text when there is none that can be read.
dray_text drayi_elf_section_name(const drayi_elf *elf, const Elf64_Shdr *section);

/// The terminated text at `offset` of a string table; false: it does not end inside.
bool drayi_elf_text(const uint8_t *strings, uint64_t count, uint64_t offset, dray_text *out);

/// The first byte behind everything that the headers speak of: what the file's size has to be at least.
uint64_t drayi_elf_extent(const drayi_elf *elf);

/// "x86-64", "aarch64", "cuda", "amdgpu", ..., or NULL.
const char *drayi_elf_machine_name(uint16_t machine);

#endif
