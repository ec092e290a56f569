/// A loaded shared object: from a descriptor to functions, and back. Used by loader_elf.c alone.
#ifndef DRAY_LOADER_ELF_PART_H
#define DRAY_LOADER_ELF_PART_H

#include "base/arena.h"
#include "dray/spi/loader.h"
#include "loader/elf_library.h"

typedef struct drayi_elf_entry {
    const char *name; // what stands behind "__tvm_ffi_"
    uint64_t address; // in the file's own terms
} drayi_elf_entry;

struct dray_part {
    drayi_env *env;
    drayi_arena arena; // names
    int fd; // ours; open as long as the library is mapped, so its path means nothing else
    bool sealed;
    uint64_t byte_count;
    int64_t modified_ns; // of a file that is not sealed, when it was loaded
    void *library;
    uint64_t base, first, end; // addresses in memory: base + what the file says
    // sorted by byte; those for callers, and those of the ABI itself ("_doc_add_one")
    drayi_elf_entry *functions, *specials;
    uint64_t function_count, special_count;
    char why_pinned[160];
};

/// A part over the image's own descriptor, or (`copy`) over a sealed copy that nobody else has.
/// On failure *out may be half-built: drayi_elf_part_destroy().
dray_status drayi_elf_part_create(drayi_env *env, dray_image *image, bool copy, dray_part **out,
                                  dray_error *error);

/// The names of `library`, whose bytes may go afterwards.
dray_status drayi_elf_part_names(dray_part *part, const drayi_elf_library *library,
                                 dray_error *error);

/// The address in memory of a function, or 0. `kind` stands in front of the name: "", "_doc_", "_metadata_".
uint64_t drayi_elf_part_find(const dray_part *part, const char *kind, const char *name);

/// Opens the part's fd as a library, and makes sure that no other one was opened in its place. *out_shared (and DRAY_E_BUSY): this file is mapped
/// already, for somebody else, and the linker maps a file once. DRAY_E_UNSUPPORTED: the linker refuses, with its words.
dray_status drayi_elf_part_open(dray_part *part, const drayi_elf_library *library, bool *out_shared,
                                dray_error *error);

/// Closes the library, and its descriptor when it really went. NULL is accepted.
void drayi_elf_part_destroy(dray_part *part);

/// Opens and closes it in a child process.
dray_status drayi_elf_part_try(dray_part *part, dray_error *error);

extern const dray_part_ops drayi_elf_part_ops;

#endif
