#include "loader/elf_library.h"

#include "base/env.h"
#include "base/quote.h"

#include <inttypes.h>

_Static_assert(sizeof(Elf64_Dyn) == 16 && sizeof(Elf64_Sym) == 24 && sizeof(Elf64_Rela) == 24,
               "the sizes in the file are those of the structs");

enum { page_bytes = 4096 }; // the smallest page of any machine that we load on

uint16_t drayi_elf_host_machine(void)
{
#if defined(__x86_64__)
    return EM_X86_64;
#elif defined(__aarch64__)
    return EM_AARCH64;
#elif defined(__riscv)
    return EM_RISCV;
#elif defined(__powerpc64__)
    return EM_PPC64;
#else
    return EM_NONE;
#endif
}

static dray_status check_kind(const drayi_elf *elf, dray_error *error)
{
    const Elf64_Ehdr *header = &elf->header;
    uint16_t host = drayi_elf_host_machine();
    if (header->e_machine != host) {
        const char *name = drayi_elf_machine_name(header->e_machine);
        return dray_fail_rule(error, DRAY_E_UNSUPPORTED, "elf.machine", 18,
                              "elf: code for machine %u (%s), this one is %u (%s)",
                              header->e_machine, name ? name : "unknown", host,
                              drayi_elf_machine_name(host));
    }
    if (header->e_type != ET_DYN)
        return dray_fail_rule(
            error, DRAY_E_UNSUPPORTED, "elf.type", 16, "elf: type %u, a shared object has 3%s",
            header->e_type, header->e_type == ET_REL ? "; link this object file with -shared" : "");
    return DRAY_OK;
}

// --- what is loaded ----------------------------------------------------------------------------------

static dray_status check_load(const drayi_elf *elf, uint64_t index, const Elf64_Phdr *segment,
                              uint64_t *end, dray_error *error)
{
    uint64_t at = elf->header.e_phoff + index * sizeof(*segment), next;
    if (segment->p_filesz > segment->p_memsz)
        return dray_fail_rule(error, DRAY_E_FORMAT, "elf.load.size", at,
                              "elf: segment %" PRIu64 " has %" PRIu64
                              " bytes in the file and only %" PRIu64 " in memory",
                              index, segment->p_filesz, segment->p_memsz);
    if (!drayi_add(segment->p_vaddr, segment->p_memsz, &next) || next > INT64_MAX)
        return dray_fail_rule(error, DRAY_E_FORMAT, "elf.load.address", at,
                              "elf: segment %" PRIu64 " ends beyond all addresses", index);
    if (segment->p_align > 1 && !drayi_is_power_of_two(segment->p_align))
        return dray_fail_rule(error, DRAY_E_FORMAT, "elf.load.align", at,
                              "elf: segment %" PRIu64 " is aligned to %" PRIu64
                              ", which is no power of two",
                              index, segment->p_align);
    if ((segment->p_vaddr - segment->p_offset) % page_bytes != 0)
        return dray_fail_rule(error, DRAY_E_FORMAT, "elf.load.align", at,
                              "elf: segment %" PRIu64
                              " lies differently within its page in the file and in memory",
                              index);
    if (segment->p_vaddr < *end)
        return dray_fail_rule(error, DRAY_E_FORMAT, "elf.load.order", at,
                              "elf: segment %" PRIu64 " begins at %" PRIu64
                              ", inside or before the one ahead of it, which ends at %" PRIu64,
                              index, segment->p_vaddr, *end);
    *end = next;
    return DRAY_OK;
}

/// The loaded segment that holds the addresses, in the file or at least in memory.
static bool find_load(const drayi_elf *elf, uint64_t address, uint64_t bytes, bool in_file,
                      Elf64_Phdr *out)
{
    for (uint64_t i = 0; i < elf->header.e_phnum; i++) {
        Elf64_Phdr segment = drayi_elf_segment(elf, i);
        if (segment.p_type == PT_LOAD && address >= segment.p_vaddr &&
            drayi_inside(address - segment.p_vaddr, bytes,
                         in_file ? segment.p_filesz : segment.p_memsz)) {
            *out = segment;
            return true;
        }
    }
    return false;
}

bool drayi_elf_offset_of(const drayi_elf_library *library, uint64_t address, uint64_t count,
                         uint64_t *out_offset)
{
    Elf64_Phdr segment;
    if (!find_load(&library->elf, address, count, true, &segment))
        return false;
    *out_offset = segment.p_offset + (address - segment.p_vaddr);
    return true;
}

const uint8_t *drayi_elf_bytes_at(const drayi_elf_library *library, uint64_t address, uint64_t count)
{
    uint64_t offset;
    return drayi_elf_offset_of(library, address, count, &offset)
               ? drayi_elf_view(&library->elf, offset, count, NULL)
               : NULL;
}

bool drayi_elf_is_writable(const drayi_elf_library *library, uint64_t address, uint64_t count)
{
    const drayi_elf *elf = &library->elf;
    Elf64_Phdr load;
    if (!find_load(elf, address, count, false, &load) || !(load.p_flags & PF_W))
        return false;
    for (uint64_t i = 0; i < elf->header.e_phnum; i++) {
        Elf64_Phdr segment = drayi_elf_segment(elf, i);
        if (segment.p_type == PT_GNU_RELRO && address < segment.p_vaddr + segment.p_memsz &&
            address + count > segment.p_vaddr)
            return false; // read-only after relocation
    }
    return true;
}

void drayi_elf_span(const drayi_elf_library *library, uint64_t *out_first, uint64_t *out_end)
{
    bool found = false;
    for (uint64_t i = 0; i < library->elf.header.e_phnum; i++) {
        Elf64_Phdr segment = drayi_elf_segment(&library->elf, i);
        if (segment.p_type != PT_LOAD)
            continue;
        if (!found)
            *out_first = segment.p_vaddr;
        found = true;
        *out_end = segment.p_vaddr + segment.p_memsz;
    }
}

/// The parts that the linker and the unwinder find by their address in memory.
static dray_status check_in_memory(const drayi_elf *elf, uint64_t index, const Elf64_Phdr *segment,
                                   dray_error *error)
{
    Elf64_Phdr load;
    bool by_memory = segment->p_type == PT_GNU_RELRO;
    uint64_t bytes = by_memory ? segment->p_memsz : segment->p_filesz;
    if (bytes == 0 || find_load(elf, segment->p_vaddr, bytes, !by_memory, &load))
        return DRAY_OK;
    return dray_fail_rule(error, DRAY_E_FORMAT, "elf.segment.loaded",
                          elf->header.e_phoff + index * sizeof(*segment),
                          "elf: segment %" PRIu64 " (type %" PRIu32 "), %" PRIu64
                          " bytes at address %" PRIu64 ", is not inside a loaded one",
                          index, segment->p_type, bytes, segment->p_vaddr);
}

static dray_status check_loads(drayi_elf_library *library, dray_error *error)
{
    const drayi_elf *elf = &library->elf;
    uint64_t end = 0, loads = 0;
    library->executable_stack = true; // unless a header says otherwise: so does the C library think
    for (uint64_t i = 0; i < elf->header.e_phnum; i++) {
        Elf64_Phdr segment = drayi_elf_segment(elf, i);
        if (segment.p_type == PT_LOAD) {
            DRAY_TRY(check_load(elf, i, &segment, &end, error));
            library->writable_executable |= (segment.p_flags & PF_W) && (segment.p_flags & PF_X);
            loads++;
        } else if (segment.p_type == PT_GNU_STACK) {
            library->executable_stack = (segment.p_flags & PF_X) != 0;
        } else if (segment.p_type == PT_TLS) {
            library->tls_bytes = segment.p_memsz;
        }
    }
    return loads ? DRAY_OK
                 : dray_fail_rule(error, DRAY_E_FORMAT, "elf.load", elf->header.e_phoff,
                                  "elf: of %u segments none is loaded", elf->header.e_phnum);
}

static dray_status check_others(drayi_elf_library *library, dray_error *error)
{
    const drayi_elf *elf = &library->elf;
    bool found = false;
    for (uint64_t i = 0; i < elf->header.e_phnum; i++) {
        Elf64_Phdr segment = drayi_elf_segment(elf, i);
        switch (segment.p_type) {
        case PT_DYNAMIC:
            if (found || segment.p_filesz < sizeof(Elf64_Dyn))
                return dray_fail_rule(error, DRAY_E_FORMAT, "elf.dynamic",
                                      elf->header.e_phoff + i * sizeof(segment),
                                      "elf: a shared object has one dynamic table, with entries");
            found = true;
            library->dynamic_count = segment.p_filesz / sizeof(Elf64_Dyn);
            DRAY_TRY(check_in_memory(elf, i, &segment, error));
            drayi_elf_offset_of(library, segment.p_vaddr, segment.p_filesz, &library->dynamic_at);
            library->dynamic = drayi_elf_view(elf, library->dynamic_at, segment.p_filesz, error);
            if (!library->dynamic)
                return DRAY_E_IO;
            break;
        case PT_TLS:
        case PT_NOTE:
        case PT_PHDR:
        case PT_GNU_EH_FRAME:
        case PT_GNU_RELRO:
        case PT_GNU_PROPERTY:
            DRAY_TRY(check_in_memory(elf, i, &segment, error));
            break;
        default:
            break;
        }
    }
    return found ? DRAY_OK
                 : dray_fail_rule(error, DRAY_E_FORMAT, "elf.dynamic", elf->header.e_phoff,
                                  "elf: there is no dynamic table; a statically linked program?");
}

// --- the dynamic table -------------------------------------------------------------------------------

static Elf64_Dyn entry_at(const drayi_elf_library *library, uint64_t index)
{
    Elf64_Dyn entry;
    memcpy(&entry, library->dynamic + index * sizeof(entry), sizeof(entry));
    return entry;
}

bool drayi_elf_dynamic(const drayi_elf_library *library, int64_t tag, uint64_t *out)
{
    for (uint64_t i = library->dynamic_count; i-- > 0;) {
        Elf64_Dyn entry = entry_at(library, i);
        if (entry.d_tag == tag) {
            *out = entry.d_un.d_val;
            return true;
        }
    }
    return false;
}

static dray_status find_end(drayi_elf_library *library, dray_error *error)
{
    for (uint64_t i = 0; i < library->dynamic_count; i++) {
        if (entry_at(library, i).d_tag == DT_NULL) {
            library->dynamic_count = i;
            return DRAY_OK;
        }
    }
    return dray_fail_rule(error, DRAY_E_FORMAT, "elf.dynamic.end", library->dynamic_at,
                          "elf: the dynamic table has no end in its %" PRIu64 " entries",
                          library->dynamic_count);
}

/// Tables that the linker walks: where, how long (or at least so many bytes), in units of.
typedef struct dynamic_table {
    const char *name;
    int64_t address_tag, bytes_tag; // bytes_tag 0: `least` alone is known
    uint64_t least, unit;
} dynamic_table;

static const dynamic_table dynamic_tables[] = {
    {"string table", DT_STRTAB, DT_STRSZ, 1, 1},
    {"symbol table", DT_SYMTAB, 0, sizeof(Elf64_Sym), 1},
    {"hash table", DT_HASH, 0, 8, 1},
    {"GNU hash table", DT_GNU_HASH, 0, 16, 1},
    {"relocations", DT_RELA, DT_RELASZ, 0, sizeof(Elf64_Rela)},
    {"relocations of calls", DT_JMPREL, DT_PLTRELSZ, 0, sizeof(Elf64_Rela)},
    {"relative relocations", DT_RELR, DT_RELRSZ, 0, 8},
    {"constructors", DT_INIT_ARRAY, DT_INIT_ARRAYSZ, 0, 8},
    {"destructors", DT_FINI_ARRAY, DT_FINI_ARRAYSZ, 0, 8},
    {"versions of symbols", DT_VERSYM, 0, 2, 1},
    {"needed versions", DT_VERNEED, 0, 16, 1},
    {"defined versions", DT_VERDEF, 0, 20, 1},
};

static dray_status check_dynamic_table(const drayi_elf_library *library, const dynamic_table *table,
                                       dray_error *error)
{
    uint64_t address, offset, bytes = table->least;
    if (!drayi_elf_dynamic(library, table->address_tag, &address))
        return DRAY_OK;
    if (table->bytes_tag && !drayi_elf_dynamic(library, table->bytes_tag, &bytes))
        return dray_fail_rule(error, DRAY_E_FORMAT, "elf.dynamic.size", library->dynamic_at,
                              "elf: the dynamic table has %s without their size", table->name);
    if (bytes < table->least || bytes % table->unit != 0)
        return dray_fail_rule(error, DRAY_E_FORMAT, "elf.dynamic.size", library->dynamic_at,
                              "elf: %s of %" PRIu64 " bytes, wanted a multiple of %" PRIu64,
                              table->name, bytes, table->unit);
    if (bytes > 0 && !drayi_elf_offset_of(library, address, bytes, &offset))
        return dray_fail_rule(error, DRAY_E_FORMAT, "elf.dynamic.bounds", library->dynamic_at,
                              "elf: %s, %" PRIu64 " bytes at address %" PRIu64
                              ", is not inside a loaded part of the file",
                              table->name, bytes, address);
    return DRAY_OK;
}

/// Code that the linker calls by itself.
static dray_status check_call(drayi_elf_library *library, int64_t tag, dray_error *error)
{
    uint64_t address;
    Elf64_Phdr load;
    if (!drayi_elf_dynamic(library, tag, &address))
        return DRAY_OK;
    if (!find_load(&library->elf, address, 1, true, &load) || !(load.p_flags & PF_X))
        return dray_fail_rule(error, DRAY_E_FORMAT, "elf.dynamic.call", library->dynamic_at,
                              "elf: the linker would call address %" PRIu64 ", which is no code",
                              address);
    library->constructor_count += tag == DT_INIT;
    return DRAY_OK;
}

static dray_status check_dynamic(drayi_elf_library *library, dray_error *error)
{
    uint64_t address = 0, bytes = 0;
    for (size_t i = 0; i < sizeof(dynamic_tables) / sizeof(dynamic_tables[0]); i++)
        DRAY_TRY(check_dynamic_table(library, &dynamic_tables[i], error));
    DRAY_TRY(check_call(library, DT_INIT, error));
    DRAY_TRY(check_call(library, DT_FINI, error));
    if (!drayi_elf_dynamic(library, DT_STRTAB, &address) ||
        !drayi_elf_dynamic(library, DT_STRSZ, &bytes))
        return dray_fail_rule(error, DRAY_E_FORMAT, "elf.dynamic.strings", library->dynamic_at,
                              "elf: the dynamic table has no string table");
    uint64_t offset = 0;
    drayi_elf_offset_of(library, address, bytes, &offset);
    library->strings = drayi_elf_view(&library->elf, offset, bytes, error);
    library->strings_bytes = bytes;
    if (!library->strings)
        return DRAY_E_IO;
    if (library->strings[bytes - 1] != 0)
        return dray_fail_rule(error, DRAY_E_FORMAT, "elf.dynamic.strings", library->dynamic_at,
                              "elf: the string table's last byte is not 0");
    if (!drayi_elf_dynamic(library, DT_SYMTAB, &address))
        return dray_fail_rule(error, DRAY_E_FORMAT, "elf.dynamic.symbols", library->dynamic_at,
                              "elf: the dynamic table has no symbol table");
    if (drayi_elf_dynamic(library, DT_INIT_ARRAYSZ, &bytes))
        library->constructor_count += bytes / sizeof(uint64_t);
    return DRAY_OK;
}

static dray_status read_text(const drayi_elf_library *library, const Elf64_Dyn *entry,
                             dray_text *out, dray_error *error)
{
    if (drayi_elf_text(library->strings, library->strings_bytes, entry->d_un.d_val, out))
        return DRAY_OK;
    return dray_fail_rule(error, DRAY_E_FORMAT, "elf.dynamic.text", library->dynamic_at,
                          "elf: the text of tag %" PRId64 " is at %" PRIu64 " of %" PRIu64,
                          (int64_t)entry->d_tag, (uint64_t)entry->d_un.d_val,
                          library->strings_bytes);
}

static dray_status read_entry(drayi_elf_library *library, const Elf64_Dyn *entry, dray_error *error)
{
    dray_text needed;
    uint64_t value = entry->d_un.d_val;
    switch (entry->d_tag) {
    case DT_NEEDED:
        library->needed_count++;
        return read_text(library, entry, &needed, error);
    case DT_SONAME:
        return read_text(library, entry, &library->soname, error);
    case DT_RPATH:
        return read_text(library, entry, &library->rpath, error);
    case DT_RUNPATH:
        return read_text(library, entry, &library->runpath, error);
    case DT_TEXTREL:
        library->text_relocations = true;
        return DRAY_OK;
    case DT_FLAGS:
        library->text_relocations |= (value & DF_TEXTREL) != 0;
        library->static_tls |= (value & DF_STATIC_TLS) != 0;
        return DRAY_OK;
    case DT_FLAGS_1:
        library->never_unloads |= (value & DF_1_NODELETE) != 0;
        library->refuses_dlopen |= (value & (DF_1_NOOPEN | DF_1_PIE)) != 0;
        return DRAY_OK;
    default:
        return DRAY_OK;
    }
}

dray_text drayi_elf_needed(const drayi_elf_library *library, uint64_t index)
{
    dray_text name = {"", 0};
    for (uint64_t i = 0; i < library->dynamic_count; i++) {
        Elf64_Dyn entry = entry_at(library, i);
        if (entry.d_tag == DT_NEEDED && index-- == 0) {
            drayi_elf_text(library->strings, library->strings_bytes, entry.d_un.d_val, &name);
            break;
        }
    }
    return name;
}

static dray_status read_library(drayi_elf_library *library, dray_error *error)
{
    DRAY_TRY(check_kind(&library->elf, error));
    DRAY_TRY(check_loads(library, error));
    DRAY_TRY(check_others(library, error));
    DRAY_TRY(find_end(library, error));
    DRAY_TRY(check_dynamic(library, error));
    for (uint64_t i = 0; i < library->dynamic_count; i++) {
        Elf64_Dyn entry = entry_at(library, i);
        DRAY_TRY(read_entry(library, &entry, error));
    }
    return drayi_elf_count_symbols(library, error);
}

dray_status drayi_elf_library_read(const uint8_t *bytes, uint64_t count, drayi_elf_library *out,
                                   dray_error *error)
{
    drayi_elf_library library = {.dynamic_at = 0};
    DRAY_TRY(drayi_elf_read(bytes, count, &library.elf, error));
    DRAY_TRY(read_library(&library, error));
    *out = library;
    return DRAY_OK;
}

dray_status drayi_elf_library_read_pieces(drayi_elf_pieces *pieces, uint64_t count,
                                          drayi_elf_library *out, dray_error *error)
{
    drayi_elf_library library = {.dynamic_at = 0};
    DRAY_TRY(drayi_elf_read_pieces(pieces, count, &library.elf, error));
    DRAY_TRY(read_library(&library, error));
    *out = library;
    return DRAY_OK;
}
