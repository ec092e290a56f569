/// What a shared object is, for those who only look.
#include "abi/import_tree.h"
#include "base/quote.h"
#include "loader/elf_rules.h"

#include <inttypes.h>
#include <stdio.h>

static const char prefix[] = "__tvm_ffi_";

bool drayi_elf_function(const drayi_elf_symbol *symbol, dray_text *out_name)
{
    const uint64_t length = sizeof(prefix) - 1;
    if (!symbol->defined || !symbol->is_function || symbol->name.length <= length ||
        memcmp(symbol->name.bytes, prefix, length) != 0 || symbol->name.bytes[length] == '_')
        return false;
    *out_name = (dray_text){symbol->name.bytes + length, symbol->name.length - length};
    return true;
}

static dray_status report_symbols(const drayi_elf_library *library,
                                  const dray_module_report *report, dray_error *error)
{
    char note[128];
    bool unique_told = false;
    for (uint64_t i = 1; i < library->symbol_count; i++) {
        drayi_elf_symbol symbol = drayi_elf_symbol_at(library, i);
        dray_text name;
        if (drayi_elf_function(&symbol, &name))
            DRAY_TRY(report->function(report->self, name, error));
        if (symbol.defined && symbol.is_unique && !unique_told) {
            unique_told = true;
            snprintf(note, sizeof(note), "unique symbol %s: once loaded it may never be unloaded",
                     drayi_quote(symbol.name).text);
            DRAY_TRY(report->note(report->self, note, error));
        }
    }
    return DRAY_OK;
}

const uint8_t *drayi_elf_tree(const drayi_elf_library *library, drayi_elf_symbol *out_symbol)
{
    if (!drayi_elf_find(library, "__tvm_ffi__library_bin", out_symbol))
        return NULL;
    return drayi_elf_bytes_at(library, out_symbol->address, out_symbol->bytes);
}

static dray_status report_tree(drayi_env *env, const drayi_elf_library *library,
                               const dray_module_report *report, dray_error *error)
{
    drayi_elf_symbol symbol;
    drayi_tree tree;
    const uint8_t *bytes = drayi_elf_tree(library, &symbol);
    if (!bytes)
        return DRAY_OK;
    dray_error broken;
    dray_status status = drayi_tree_read(env, bytes, symbol.bytes, true, &tree, &broken);
    if (status == DRAY_E_FORMAT)
        return report->note(report->self, broken.message, error);
    if (status != DRAY_OK)
        return dray_fail(error, status, "%s", broken.message);
    for (uint64_t i = 0; i < tree.count && status == DRAY_OK; i++) {
        if (!tree.modules[i].is_host)
            status = report->import(report->self, tree.modules[i].kind, error);
    }
    drayi_tree_free(env, &tree);
    return status;
}

static dray_status report_text(const dray_module_report *report, const char *format, dray_text text,
                               dray_error *error)
{
    char note[160];
    if (!text.bytes)
        return DRAY_OK;
    int length = snprintf(note, sizeof(note), "%s", format);
    snprintf(note + length, sizeof(note) - (size_t)length, "%s", drayi_quote(text).text);
    return report->note(report->self, note, error);
}

static dray_status report_notes(const drayi_elf_library *library, const dray_module_report *report,
                                dray_error *error)
{
    const struct {
        bool holds;
        const char *note;
    } notes[] = {
        {library->writable_executable, "a segment that is both writable and executable"},
        {library->executable_stack, "wants executable stacks"},
        {library->text_relocations, "relocations in its code"},
        {library->never_unloads, "is never unloaded (DF_1_NODELETE)"},
        {library->refuses_dlopen, "is a program, or refuses to be loaded at run time"},
    };
    char note[128];
    snprintf(note, sizeof(note), "%" PRIu64 " function%s when it is loaded",
             library->constructor_count, library->constructor_count == 1 ? " runs" : "s run");
    if (library->constructor_count)
        DRAY_TRY(report->note(report->self, note, error));
    DRAY_TRY(report_text(report, "soname ", library->soname, error));
    DRAY_TRY(report_text(report, "search path (DT_RPATH) ", library->rpath, error));
    DRAY_TRY(report_text(report, "search path (DT_RUNPATH) ", library->runpath, error));
    for (size_t i = 0; i < sizeof(notes) / sizeof(notes[0]); i++) {
        if (notes[i].holds)
            DRAY_TRY(report->note(report->self, notes[i].note, error));
    }
    if (!library->static_tls)
        return DRAY_OK;
    snprintf(note, sizeof(note),
             "%" PRIu64 " bytes of static thread-local memory, of which a process has little",
             library->tls_bytes);
    return report->note(report->self, note, error);
}

dray_status drayi_elf_inspect(drayi_env *env, dray_image *image, const dray_module_report *report,
                              dray_error *error)
{
    drayi_elf_library library;
    DRAY_TRY(image->map(image, error));
    DRAY_TRY(drayi_elf_library_read(image->bytes, image->byte_count, &library, error));
    DRAY_TRY(
        report->arch(report->self, drayi_elf_machine_name(library.elf.header.e_machine), error));
    for (uint64_t i = 0; i < library.needed_count; i++)
        DRAY_TRY(report->needed(report->self, drayi_elf_needed(&library, i), error));
    DRAY_TRY(report_symbols(&library, report, error));
    DRAY_TRY(report_tree(env, &library, report, error));
    return report_notes(&library, report, error);
}
