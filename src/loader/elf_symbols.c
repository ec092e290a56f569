/// The symbols of a shared object, counted and found by the tables that the linker uses.
#include "base/env.h"
#include "loader/elf_library.h"

/// Bytes of the loaded file from `address` to the end of its segment.
static uint64_t bytes_behind(const drayi_elf_library *library, uint64_t address)
{
    for (uint64_t i = 0; i < library->elf.header.e_phnum; i++) {
        Elf64_Phdr segment = drayi_elf_segment(&library->elf, i);
        if (segment.p_type == PT_LOAD && address >= segment.p_vaddr &&
            address - segment.p_vaddr <= segment.p_filesz)
            return segment.p_filesz - (address - segment.p_vaddr);
    }
    return 0;
}

/// Symbols by the chain of the highest bucket; UINT64_MAX: the table is broken.
static uint64_t count_by_gnu_hash(const drayi_elf_library *library, uint64_t address)
{
    uint64_t room = bytes_behind(library, address) / 4; // words, from `address` on
    const uint8_t *head = drayi_elf_bytes_at(library, address, 16);
    if (!head || room < 4)
        return UINT64_MAX;
    uint64_t buckets = drayi_load_u32(head, false), first = drayi_load_u32(head + 4, false);
    uint64_t bloom_words = 2 * (uint64_t)drayi_load_u32(head + 8, false), highest = 0;
    if (buckets == 0 || bloom_words == 0 || 4 + bloom_words + buckets > room)
        return UINT64_MAX;
    const uint8_t *table = drayi_elf_bytes_at(library, address + 4 * (4 + bloom_words), 4 * buckets);
    for (uint64_t i = 0; table && i < buckets; i++)
        highest = drayi_max(highest, drayi_load_u32(table + 4 * i, false));
    if (!table || highest < first)
        return table ? first : UINT64_MAX; // only symbols that others define
    uint64_t chain = 4 + bloom_words + buckets + (highest - first);
    for (; chain < room; chain++, highest++) {
        const uint8_t *word = drayi_elf_bytes_at(library, address + 4 * chain, 4);
        if (!word)
            return UINT64_MAX;
        if (drayi_load_u32(word, false) & 1)
            return highest + 1;
    }
    return UINT64_MAX;
}

dray_status drayi_elf_count_symbols(drayi_elf_library *library, dray_error *error)
{
    uint64_t address, count = 0, table = 0, offset = 0;
    if (drayi_elf_dynamic(library, DT_GNU_HASH, &address)) {
        count = count_by_gnu_hash(library, address);
    } else if (drayi_elf_dynamic(library, DT_HASH, &address)) {
        const uint8_t *head = drayi_elf_bytes_at(library, address, 8);
        count = head ? drayi_load_u32(head + 4, false) : UINT64_MAX;
    }
    drayi_elf_dynamic(library, DT_SYMTAB, &table);
    if (count > bytes_behind(library, table) / sizeof(Elf64_Sym))
        return dray_fail_rule(error, DRAY_E_FORMAT, "elf.symbols", library->dynamic_at,
                              "elf: the table of symbols is shorter than its hash table says, or the "
                              "latter is broken");
    library->symbol_count = count;
    if (count == 0)
        return DRAY_OK;
    drayi_elf_offset_of(library, table, count * sizeof(Elf64_Sym), &offset);
    library->symbols = drayi_elf_view(&library->elf, offset, count * sizeof(Elf64_Sym), error);
    return library->symbols ? DRAY_OK : DRAY_E_IO;
}

drayi_elf_symbol drayi_elf_symbol_at(const drayi_elf_library *library, uint64_t index)
{
    Elf64_Sym raw;
    memcpy(&raw, library->symbols + index * sizeof(raw), sizeof(raw));
    drayi_elf_symbol symbol = {
        .name = {"", 0},
        .address = raw.st_value,
        .bytes = raw.st_size,
        .defined = raw.st_shndx != SHN_UNDEF,
        .is_function = ELF64_ST_TYPE(raw.st_info) == STT_FUNC,
        .is_data = ELF64_ST_TYPE(raw.st_info) == STT_OBJECT,
        .is_weak = ELF64_ST_BIND(raw.st_info) == STB_WEAK,
        .is_unique = ELF64_ST_BIND(raw.st_info) == STB_GNU_UNIQUE,
    };
    drayi_elf_text(library->strings, library->strings_bytes, raw.st_name, &symbol.name);
    return symbol;
}

bool drayi_elf_find(const drayi_elf_library *library, const char *name, drayi_elf_symbol *out)
{
    uint64_t length = strlen(name);
    for (uint64_t i = 1; i < library->symbol_count; i++) {
        drayi_elf_symbol symbol = drayi_elf_symbol_at(library, i);
        if (symbol.defined && symbol.name.length == length &&
            memcmp(symbol.name.bytes, name, length) == 0) {
            *out = symbol;
            return true;
        }
    }
    return false;
}
