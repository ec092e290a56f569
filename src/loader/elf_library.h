/// What a shared object is about to do to this process, read from its bytes without running anything.
///
/// All facts come from where the dynamic linker takes them: program headers and the dynamic table, not
/// the section table, which may say something else. drayi_elf_library_read() also checks what the linker
/// follows without looking: every table of the dynamic section must lie inside a part of the file that
/// gets loaded. That stops files that were cut or thrown together; whoever wants to stop a file that was
/// made to do harm needs to know who made it (dray/trust.h).
#ifndef DRAY_LOADER_ELF_LIBRARY_H
#define DRAY_LOADER_ELF_LIBRARY_H

#include "loader/elf_image.h"

/// Borrows the bytes.
typedef struct drayi_elf_library {
    drayi_elf elf;
    uint64_t dynamic_at, dynamic_count; // in the file; entries before DT_NULL
    const uint8_t *dynamic, *strings, *symbols;
    uint64_t strings_bytes; // the last one is 0
    uint64_t symbol_count;
    uint64_t needed_count;
    dray_text soname, rpath, runpath; // bytes NULL: it has none
    uint64_t tls_bytes;
    bool static_tls;            // initial-exec: lives in a small area that cannot grow
    bool text_relocations;      // code pages are written to at load
    bool writable_executable;   // a segment that may be written and run
    bool executable_stack;      // makes the stacks of the whole process executable
    bool never_unloads;         // DF_1_NODELETE
    bool refuses_dlopen;        // DF_1_NOOPEN, or a program
    uint64_t constructor_count; // functions that run at load, before anything is called
} drayi_elf_library;

/// DRAY_E_FORMAT with a rule "elf.*". DRAY_E_UNSUPPORTED: no shared object of this machine, with both named.
dray_status drayi_elf_library_read(const uint8_t *bytes, uint64_t count, drayi_elf_library *out,
                                   dray_error *error);
/// The same of a file, of which only what is looked at gets read.
dray_status drayi_elf_library_read_pieces(drayi_elf_pieces *pieces, uint64_t count,
                                          drayi_elf_library *out, dray_error *error);

/// The name of the index'th library it needs; index < needed_count.
dray_text drayi_elf_needed(const drayi_elf_library *library, uint64_t index);

typedef struct drayi_elf_symbol {
    dray_text name;
    uint64_t address, bytes;
    bool defined, is_function, is_data;
    bool is_weak;
    bool is_unique; // STB_GNU_UNIQUE: pins the library for good
} drayi_elf_symbol;

/// index < symbol_count. A name that cannot be read is empty.
drayi_elf_symbol drayi_elf_symbol_at(const drayi_elf_library *library, uint64_t index);

/// A symbol by its name; false: it does not define one.
bool drayi_elf_find(const drayi_elf_library *library, const char *name, drayi_elf_symbol *out);

/// The value of the last entry with this tag, which is the one that counts for the linker.
bool drayi_elf_dynamic(const drayi_elf_library *library, int64_t tag, uint64_t *out);

/// Part of reading: symbol_count, by the hash table.
dray_status drayi_elf_count_symbols(drayi_elf_library *library, dray_error *error);

/// Where in the file the bytes at an address of the loaded library stand; false: not all of them do.
bool drayi_elf_offset_of(const drayi_elf_library *library, uint64_t address, uint64_t count,
                         uint64_t *out_offset);

/// Those bytes; NULL: they do not stand in the file, or cannot be read.
const uint8_t *drayi_elf_bytes_at(const drayi_elf_library *library, uint64_t address,
                                  uint64_t count);

/// Is this an address that may still be written to once the library is loaded?
bool drayi_elf_is_writable(const drayi_elf_library *library, uint64_t address, uint64_t count);

/// The addresses of what gets loaded: from the first to behind the last.
void drayi_elf_span(const drayi_elf_library *library, uint64_t *out_first, uint64_t *out_end);

/// e_machine of what we run on.
uint16_t drayi_elf_host_machine(void);

#endif
