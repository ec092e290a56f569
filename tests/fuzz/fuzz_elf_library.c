/// The reader of shared objects over any bytes: whatever it takes, its names and symbols lie inside.
#include "loader/elf_library.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t touched;

static void touch(dray_text text)
{
    for (uint64_t i = 0; i < text.length; i++)
        touched += (uint8_t)text.bytes[i];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    drayi_elf_library library;
    dray_error error = {.status = DRAY_OK};
    dray_status status = drayi_elf_library_read(data, size, &library, &error);
    if (status != DRAY_OK) {
        if (!error.rule || !error.message[0])
            abort();
        return 0;
    }
    if (drayi_elf_extent(&library.elf) > size)
        abort();
    touch(library.soname);
    touch(library.rpath);
    touch(library.runpath);
    for (uint64_t i = 0; i < library.needed_count; i++)
        touch(drayi_elf_needed(&library, i));
    for (uint64_t i = 0; i < library.symbol_count && i < 1000; i++) {
        drayi_elf_symbol symbol = drayi_elf_symbol_at(&library, i);
        touch(symbol.name);
        const uint8_t *bytes = drayi_elf_bytes_at(&library, symbol.address, symbol.bytes);
        if (bytes && symbol.bytes)
            touch((dray_text){(const char *)bytes, symbol.bytes});
    }
    for (uint64_t i = 0; i < library.elf.header.e_shnum; i++) {
        Elf64_Shdr section = drayi_elf_section(&library.elf, i);
        touch(drayi_elf_section_name(&library.elf, &section));
    }
    return 0;
}
