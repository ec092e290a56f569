/// Images for GPUs are read for what they are, and every kind of code is known by its first bytes. The
/// cubins and fatbins were made by nvcc 13.0 from two kernels of ours.
#include "loader/elf_library.h"
#include "loader/gpu_image.h"
#include "loader/recognise_code.h"
#include "test_module.h"
#include "testing.h"

#include <stdio.h>
#include <stdlib.h>

static test_bytes image(const char *name)
{
    char path[1024];
    snprintf(path, sizeof(path), "%s/fuzz/corpus/gpu_image/%s", getenv("DRAY_TESTS_DIR"), name);
    return test_bytes_of_file(path);
}

static bool is(dray_text text, const char *wanted)
{
    return text.length == strlen(wanted) && memcmp(text.bytes, wanted, text.length) == 0;
}

static void a_cubin_names_architecture_and_kernels(void **state)
{
    (void)state;
    const struct {
        const char *file;
        uint32_t sm;
    } cases[] = {{"sm_75.cubin", 75}, {"sm_90.cubin", 90}};
    for (size_t i = 0; i < 2; i++) {
        test_bytes file = image(cases[i].file);
        drayi_cubin cubin;
        dray_text kernel, kernels[2] = {{0}};
        unsigned count = 0;
        assert_int_equal(drayi_cubin_read(file.bytes, file.count, &cubin, NULL), DRAY_OK);
        assert_int_equal(cubin.sm, cases[i].sm);
        assert_true(cubin.bytes == file.count);
        for (uint64_t j = 0; j < cubin.elf.header.e_shnum; j++) {
            if (drayi_cubin_kernel(&cubin, j, &kernel)) {
                assert_true(count < 2);
                kernels[count++] = kernel;
            }
        }
        assert_int_equal(count, 2);
        assert_true(is(kernels[0], "twice") && is(kernels[1], "add_one"));
        test_bytes_free(&file);
    }
}

/// The layout of CUDA 12: the architecture in the low byte, and a bit for sm_90a.
static void a_cubin_of_cuda_12_names_its_architecture(void **state)
{
    (void)state;
    test_bytes file = image("sm_90.cubin");
    drayi_cubin cubin;
    dray_error error;
    const uint32_t flags = 90 | 90 << 16 | 1 << 11;
    file.bytes[EI_ABIVERSION] = 7;
    memcpy(file.bytes + offsetof(Elf64_Ehdr, e_flags), &flags, 4);
    assert_int_equal(drayi_cubin_read(file.bytes, file.count, &cubin, NULL), DRAY_OK);
    assert_true(cubin.sm == 90 && cubin.family_specific);
    file.bytes[EI_ABIVERSION] = 6;
    assert_int_equal(drayi_cubin_read(file.bytes, file.count, &cubin, &error), DRAY_E_UNSUPPORTED);
    assert_string_equal(error.rule, "cubin.version");
    test_bytes_free(&file);
}

static void every_cut_of_a_cubin_and_a_fatbin_is_refused(void **state)
{
    (void)state;
    test_bytes cubin_file = image("sm_90.cubin"), fatbin_file = image("compressed.fatbin");
    for (uint64_t count = 0; count < cubin_file.count; count++) {
        drayi_cubin cubin;
        uint8_t *cut = malloc(count + 1);
        memcpy(cut, cubin_file.bytes, count);
        assert_int_equal(drayi_cubin_read(cut, count, &cubin, NULL), DRAY_E_FORMAT);
        free(cut);
    }
    for (uint64_t count = 0; count < fatbin_file.count; count++) {
        uint64_t bytes;
        uint8_t *cut = malloc(count + 1);
        memcpy(cut, fatbin_file.bytes, count);
        assert_int_equal(drayi_fatbin_check(cut, count, &bytes, NULL), DRAY_E_FORMAT);
        free(cut);
    }
    test_bytes_free(&cubin_file);
    test_bytes_free(&fatbin_file);
}

static void a_fatbin_lists_its_images(void **state)
{
    (void)state;
    const char *files[] = {"compressed.fatbin", "plain.fatbin"};
    for (size_t i = 0; i < 2; i++) {
        test_bytes file = image(files[i]);
        drayi_fatbin_entry entries[3], more;
        uint64_t bytes, position = 0;
        assert_int_equal(drayi_fatbin_check(file.bytes, file.count, &bytes, NULL), DRAY_OK);
        assert_true(bytes == file.count);
        for (size_t j = 0; j < 3; j++)
            assert_true(drayi_fatbin_next(file.bytes, &position, &entries[j]));
        assert_false(drayi_fatbin_next(file.bytes, &position, &more));
        assert_true(entries[0].sm == 80 && !entries[0].is_ptx && !entries[0].compressed);
        assert_true(entries[1].sm == 90 && !entries[1].is_ptx && !entries[1].compressed);
        assert_true(entries[2].sm == 90 && entries[2].is_ptx);
        assert_true(entries[2].compressed == (i == 0));
        drayi_cubin cubin;
        assert_int_equal(drayi_cubin_read(entries[1].bytes, entries[1].count, &cubin, NULL),
                         DRAY_OK);
        assert_int_equal(cubin.sm, 90);
        test_bytes_free(&file);
    }
}

static void broken_fatbins_are_named_by_their_rule(void **state)
{
    (void)state;
    static const struct {
        size_t at, bytes;
        uint64_t value;
        const char *rule;
    } cases[] = {
        {0, 4, 0, "fatbin.magic"},           {4, 2, 2, "fatbin.version"},
        {8, 8, UINT64_MAX, "fatbin.size"},   {8, 8, 0, "fatbin.empty"},
        {20, 4, 63, "fatbin.entry"},         {20, 4, UINT32_MAX, "fatbin.entry"},
        {24, 8, UINT64_MAX, "fatbin.entry"}, {24, 8, 0, "fatbin.entry"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        test_bytes file = image("plain.fatbin");
        uint64_t bytes;
        dray_error error = {.rule = "none"};
        memcpy(file.bytes + cases[i].at, &cases[i].value, cases[i].bytes);
        assert_int_not_equal(drayi_fatbin_check(file.bytes, file.count, &bytes, &error), DRAY_OK);
        assert_string_equal(error.rule, cases[i].rule);
        test_bytes_free(&file);
    }
}

static void ptx_names_target_and_kernels(void **state)
{
    (void)state;
    test_bytes file = image("kernel.ptx");
    drayi_ptx ptx;
    dray_text kernel;
    uint64_t position = 0;
    assert_int_equal(drayi_ptx_read(file.bytes, file.count, &ptx, NULL), DRAY_OK);
    assert_true(is(ptx.version, "8.0") && is(ptx.target, "sm_80"));
    assert_true(drayi_ptx_next_kernel(&ptx, &position, &kernel) && is(kernel, "add_one"));
    assert_true(drayi_ptx_next_kernel(&ptx, &position, &kernel) && is(kernel, "twice"));
    assert_false(drayi_ptx_next_kernel(&ptx, &position, &kernel));
    test_bytes_free(&file);
    dray_error error;
    const char nul[] = ".version 8.0\n.target sm_80\n\0.visible .entry hidden() { }";
    assert_int_equal(drayi_ptx_read((const uint8_t *)nul, sizeof(nul), &ptx, &error), DRAY_E_FORMAT);
    assert_string_equal(error.rule, "ptx.text"); // the driver would not see what we see
    assert_int_equal(drayi_ptx_read((const uint8_t *)".target sm_80", 13, &ptx, &error),
                     DRAY_E_FORMAT);
    assert_string_equal(error.rule, "ptx.version");
}

static void code_is_known_by_its_first_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t count;
        const char *name;
        const char *sentence;
    } cases[] = {
        {"\x50\xED\x55\xBA\1\0\x10\0", 8, "fatbin", "a fatbin: code for several NVIDIA GPUs"},
        {"__CLANG_OFFLOAD_BUNDLE__\1", 25, "hip-bundle", "a HIP bundle: code for several AMD GPUs"},
        {"CCOB\2\0", 6, "hip-bundle", "a HIP bundle: code for several AMD GPUs"},
        {"\x03\x02\x23\x07\0\0\1\0", 8, "spirv", "SPIR-V"},
        {"\x07\x23\x02\x03\0\1\0\0", 8, "spirv", "SPIR-V"},
        {"poclbin\0\3", 9, "opencl-binary", "an OpenCL binary of PoCL"},
        {"\0asm\1\0\0\0", 8, "wasm", "WebAssembly"},
        {"\0aot\3\0\0\0", 8, "wasm-aot", "compiled WebAssembly (WAMR)"},
        {"// c\n.version 8.0\n.target sm_90a\n", 33, "ptx", "PTX text"},
        {"__kernel void f(__global int *a) {}", 35, "opencl-source", "OpenCL source text"},
        {"hello, world", 12, "unknown", "text of no kind that is known"},
        {"\1\2\3\4\5", 5, "unknown", "nothing known: they begin with 01 02 03 04"},
        {"", 0, "unknown", "nothing: there are no bytes"},
        {"\x7f"
         "ELF",
         4, "elf", "the first 4 bytes of an ELF file"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint32_t score;
        char sentence[80];
        const uint8_t *bytes = (const uint8_t *)cases[i].bytes;
        assert_string_equal(
            drayi_code_name(drayi_recognise_code(bytes, cases[i].count, cases[i].count, &score)),
            cases[i].name);
        drayi_describe_code(bytes, cases[i].count, cases[i].count, sentence);
        assert_string_equal(sentence, cases[i].sentence);
    }
}

static void elf_files_are_told_apart_by_their_machine(void **state)
{
    (void)state;
    static const struct {
        uint16_t type, machine;
        const char *name, *sentence;
    } cases[] = {
        {ET_DYN, EM_X86_64, "elf", "an ELF shared object for x86-64"},
        {ET_DYN, EM_AARCH64, "elf", "an ELF shared object for aarch64"},
        {ET_REL, EM_X86_64, "elf", "an ELF object file for x86-64"},
        {ET_DYN, 4711, "elf", "an ELF shared object for machine 4711"},
        {ET_EXEC, EM_CUDA, "cubin", "a cubin: code for NVIDIA GPUs"},
        {ET_DYN, EM_AMDGPU, "hsaco", "an hsaco: code for AMD GPUs"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        Elf64_Ehdr header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, 1},
                             .e_type = cases[i].type,
                             .e_machine = cases[i].machine};
        uint32_t score;
        char sentence[80];
        const uint8_t *bytes = (const uint8_t *)&header;
        assert_string_equal(
            drayi_code_name(drayi_recognise_code(bytes, sizeof(header), 4711, &score)),
            cases[i].name);
        drayi_describe_code(bytes, sizeof(header), 4711, sentence);
        assert_string_equal(sentence, cases[i].sentence);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cubin_names_architecture_and_kernels),
        cmocka_unit_test(a_cubin_of_cuda_12_names_its_architecture),
        cmocka_unit_test(every_cut_of_a_cubin_and_a_fatbin_is_refused),
        cmocka_unit_test(a_fatbin_lists_its_images),
        cmocka_unit_test(broken_fatbins_are_named_by_their_rule),
        cmocka_unit_test(ptx_names_target_and_kernels),
        cmocka_unit_test(code_is_known_by_its_first_bytes),
        cmocka_unit_test(elf_files_are_told_apart_by_their_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
