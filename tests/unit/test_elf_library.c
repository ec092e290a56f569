/// Shared objects are read for what they are, and refused wherever they were cut off or thrown together.
#include "loader/elf_library.h"
#include "test_module.h"
#include "testing.h"

#include <stdlib.h>

static bool is(dray_text text, const char *wanted)
{
    return text.bytes && text.length == strlen(wanted) &&
           memcmp(text.bytes, wanted, text.length) == 0;
}

static void facts_are_those_of_the_linker(void **state)
{
    (void)state;
    test_bytes file = test_module_read("facts");
    drayi_elf_library library;
    dray_error error;
    assert_int_equal(drayi_elf_library_read(file.bytes, file.count, &library, &error), DRAY_OK);
    assert_true(is(library.soname, "libfacts.so.1"));
    assert_true(is(library.runpath, "/nowhere/at/all"));
    assert_null(library.rpath.bytes);
    assert_true(library.needed_count >= 1);
    bool needs_math = false;
    for (uint64_t i = 0; i < library.needed_count; i++)
        needs_math |= is(drayi_elf_needed(&library, i), "libm.so.6");
    assert_true(needs_math);
    assert_true(library.executable_stack && library.constructor_count >= 1 && library.static_tls);
    assert_int_equal(library.tls_bytes, 4);
    assert_false(library.writable_executable || library.text_relocations ||
                 library.refuses_dlopen || library.never_unloads);
    assert_true(drayi_elf_extent(&library.elf) == file.count);
    test_bytes_free(&file);
}

static void functions_are_found_without_running_anything(void **state)
{
    (void)state;
    test_bytes file = test_module_read("facts");
    drayi_elf_library library;
    drayi_elf_symbol symbol;
    assert_int_equal(drayi_elf_library_read(file.bytes, file.count, &library, NULL), DRAY_OK);
    assert_true(drayi_elf_find(&library, "__tvm_ffi_root", &symbol));
    assert_true(symbol.is_function && symbol.defined && symbol.address > 0 && !symbol.is_unique);
    assert_non_null(drayi_elf_bytes_at(&library, symbol.address, symbol.bytes));
    assert_false(drayi_elf_find(&library, "sqrt", &symbol)); // needed, not defined
    assert_false(drayi_elf_find(&library, "facts_begin", &symbol));
    test_bytes_free(&file);
}

/// An exact copy of the first `count` bytes, so that a read behind them is found out.
static dray_status read_cut(const test_bytes *file, uint64_t count, dray_error *error)
{
    drayi_elf_library library;
    uint8_t *cut = malloc(count ? count : 1);
    assert_non_null(cut);
    memcpy(cut, file->bytes, count);
    dray_status status = drayi_elf_library_read(cut, count, &library, error);
    free(cut);
    return status;
}

static void every_cut_is_refused(void **state)
{
    (void)state;
    test_bytes file = test_module_read("facts");
    for (uint64_t count = 0; count < file.count; count++) {
        dray_error error = {.status = DRAY_OK};
        if (read_cut(&file, count, &error) != DRAY_E_FORMAT || error.message[0] == '\0' ||
            !error.rule)
            fail_msg("cut after %lu of %lu bytes: %s", (unsigned long)count,
                     (unsigned long)file.count, error.message);
    }
    assert_int_equal(read_cut(&file, file.count, NULL), DRAY_OK);
    test_bytes_free(&file);
}

/// Without sections only what gets loaded tells where the file ends.
static void every_cut_of_a_file_without_sections_is_refused(void **state)
{
    (void)state;
    test_bytes file = test_module_read("facts");
    drayi_elf elf;
    assert_int_equal(drayi_elf_read(file.bytes, file.count, &elf, NULL), DRAY_OK);
    elf.header.e_shoff = 0;
    elf.header.e_shnum = elf.header.e_shstrndx = 0;
    memcpy(file.bytes, &elf.header, sizeof(elf.header));
    uint64_t end = drayi_elf_extent(&elf);
    assert_true(end < file.count);
    for (uint64_t count = 0; count < end; count++)
        assert_int_equal(read_cut(&file, count, NULL), DRAY_E_FORMAT);
    assert_int_equal(read_cut(&file, end, NULL), DRAY_OK);
    test_bytes_free(&file);
}

typedef struct broken_header {
    size_t at, bytes;
    uint64_t value;
    dray_status wanted;
    const char *rule;
} broken_header;

static void broken_headers_are_named_by_their_rule(void **state)
{
    (void)state;
    static const broken_header cases[] = {
        {0, 1, 0x7e, DRAY_E_FORMAT, "elf.magic"},
        {EI_CLASS, 1, 1, DRAY_E_UNSUPPORTED, "elf.class"},
        {EI_DATA, 1, 2, DRAY_E_UNSUPPORTED, "elf.data"},
        {EI_VERSION, 1, 0, DRAY_E_FORMAT, "elf.version"},
        {offsetof(Elf64_Ehdr, e_machine), 2, EM_S390, DRAY_E_UNSUPPORTED, "elf.machine"},
        {offsetof(Elf64_Ehdr, e_type), 2, ET_REL, DRAY_E_UNSUPPORTED, "elf.type"},
        {offsetof(Elf64_Ehdr, e_type), 2, ET_EXEC, DRAY_E_UNSUPPORTED, "elf.type"},
        {offsetof(Elf64_Ehdr, e_phoff), 8, UINT64_MAX - 8, DRAY_E_FORMAT, "elf.segments"},
        {offsetof(Elf64_Ehdr, e_phentsize), 2, 57, DRAY_E_FORMAT, "elf.segments"},
        {offsetof(Elf64_Ehdr, e_phnum), 2, 0xffff, DRAY_E_UNSUPPORTED, "elf.segments"},
        {offsetof(Elf64_Ehdr, e_phnum), 2, 0, DRAY_E_FORMAT, "elf.load"},
        {offsetof(Elf64_Ehdr, e_shoff), 8, UINT64_MAX, DRAY_E_FORMAT, "elf.sections"},
        {offsetof(Elf64_Ehdr, e_shnum), 2, 0, DRAY_E_UNSUPPORTED, "elf.sections"},
        {offsetof(Elf64_Ehdr, e_shnum), 2, 0xfffe, DRAY_E_FORMAT, "elf.sections"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        test_bytes file = test_module_read("facts");
        dray_error error;
        memcpy(file.bytes + cases[i].at, &cases[i].value, cases[i].bytes);
        assert_int_equal(read_cut(&file, file.count, &error), cases[i].wanted);
        assert_string_equal(error.rule, cases[i].rule);
        test_bytes_free(&file);
    }
}

/// The first segment of a type, changed; then the status and rule of reading the whole.
static dray_status with_segment(uint32_t type, size_t at, uint64_t value, dray_error *error)
{
    test_bytes file = test_module_read("facts");
    drayi_elf elf;
    assert_int_equal(drayi_elf_read(file.bytes, file.count, &elf, NULL), DRAY_OK);
    uint64_t index = 0;
    while (drayi_elf_segment(&elf, index).p_type != type)
        index++;
    memcpy(file.bytes + elf.header.e_phoff + index * sizeof(Elf64_Phdr) + at, &value, 8);
    dray_status status = read_cut(&file, file.count, error);
    test_bytes_free(&file);
    return status;
}

static void broken_segments_are_named_by_their_rule(void **state)
{
    (void)state;
    dray_error error;
    const size_t file_bytes = offsetof(Elf64_Phdr, p_filesz),
                 address = offsetof(Elf64_Phdr, p_vaddr),
                 memory_bytes = offsetof(Elf64_Phdr, p_memsz),
                 align = offsetof(Elf64_Phdr, p_align), offset = offsetof(Elf64_Phdr, p_offset);
    assert_int_equal(with_segment(PT_LOAD, file_bytes, UINT64_MAX, &error), DRAY_E_FORMAT);
    assert_string_equal(error.rule, "elf.segment.bounds");
    assert_int_equal(with_segment(PT_LOAD, memory_bytes, 1, &error), DRAY_E_FORMAT);
    assert_string_equal(error.rule, "elf.load.size");
    assert_int_equal(with_segment(PT_LOAD, memory_bytes, UINT64_MAX, &error), DRAY_E_FORMAT);
    assert_string_equal(error.rule, "elf.load.address");
    assert_int_equal(with_segment(PT_LOAD, align, 4097, &error), DRAY_E_FORMAT);
    assert_string_equal(error.rule, "elf.load.align");
    assert_int_equal(with_segment(PT_LOAD, offset, 1, &error), DRAY_E_FORMAT);
    assert_string_equal(error.rule, "elf.load.align");
    assert_int_equal(with_segment(PT_LOAD, address, 1 << 20, &error), DRAY_E_FORMAT);
    assert_string_equal(error.rule, "elf.load.order");
    assert_int_equal(with_segment(PT_DYNAMIC, address, 1 << 24, &error), DRAY_E_FORMAT);
    assert_string_equal(error.rule, "elf.segment.loaded");
    assert_int_equal(with_segment(PT_DYNAMIC, file_bytes, 16, &error), DRAY_E_FORMAT);
    assert_string_equal(error.rule, "elf.dynamic.end");
    assert_int_equal(with_segment(PT_GNU_EH_FRAME, address, 1 << 24, &error), DRAY_E_FORMAT);
    assert_string_equal(error.rule, "elf.segment.loaded");
}

/// One entry of the dynamic table, changed.
static dray_status with_dynamic(int64_t tag, uint64_t value, dray_error *error)
{
    test_bytes file = test_module_read("facts");
    drayi_elf_library library;
    assert_int_equal(drayi_elf_library_read(file.bytes, file.count, &library, NULL), DRAY_OK);
    uint64_t index = 0;
    Elf64_Dyn entry;
    do
        memcpy(&entry, file.bytes + library.dynamic_at + index++ * sizeof(entry), sizeof(entry));
    while (entry.d_tag != tag);
    memcpy(file.bytes + library.dynamic_at + (index - 1) * sizeof(entry) + 8, &value, 8);
    dray_status status = read_cut(&file, file.count, error);
    test_bytes_free(&file);
    return status;
}

static void broken_dynamic_entries_are_named_by_their_rule(void **state)
{
    (void)state;
    static const struct {
        int64_t tag;
        uint64_t value;
        const char *rule;
    } cases[] = {
        {DT_STRTAB, UINT64_MAX, "elf.dynamic.bounds"},
        {DT_STRSZ, 1 << 24, "elf.dynamic.bounds"},
        {DT_STRSZ, 0, "elf.dynamic.size"},
        {DT_SYMTAB, 1 << 24, "elf.dynamic.bounds"},
        {DT_RELASZ, 25, "elf.dynamic.size"},
        {DT_RELASZ, 24 << 20, "elf.dynamic.bounds"},
        {DT_INIT_ARRAYSZ, 9, "elf.dynamic.size"},
        {DT_INIT_ARRAY, 1 << 24, "elf.dynamic.bounds"},
        {DT_GNU_HASH, 1 << 24, "elf.dynamic.bounds"},
        {DT_INIT, 0, "elf.dynamic.call"},
        {DT_SONAME, UINT64_MAX, "elf.dynamic.text"},
        {DT_NEEDED, 1 << 24, "elf.dynamic.text"},
        {DT_FINI, UINT64_MAX - 7, "elf.dynamic.call"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        dray_error error = {.rule = "none"};
        dray_status status = with_dynamic(cases[i].tag, cases[i].value, &error);
        assert_int_equal(status, DRAY_E_FORMAT);
        assert_string_equal(error.rule, cases[i].rule);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(facts_are_those_of_the_linker),
        cmocka_unit_test(functions_are_found_without_running_anything),
        cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(every_cut_of_a_file_without_sections_is_refused),
        cmocka_unit_test(broken_headers_are_named_by_their_rule),
        cmocka_unit_test(broken_segments_are_named_by_their_rule),
        cmocka_unit_test(broken_dynamic_entries_are_named_by_their_rule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
