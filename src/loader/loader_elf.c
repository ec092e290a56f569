/// Shared objects from memory or from a file, by the dynamic linker and without a temporary file.
///
/// Order: structure, the policy's rules, a trial where it is asked for, then the linker. What is linked is
/// a descriptor: a sealed memfd, or the caller's file itself where nothing was asked that a change behind
/// our back would break (a digest or a signature made the core seal it before).
///
/// One mapping belongs to one module. The linker maps a file once, however often it is opened, by whatever
/// path; so whoever comes second, after another module or after the program itself, gets a copy.
#include "base/quote.h"
#include "loader/elf_part.h"
#include "loader/elf_rules.h"
#include "loader/recognise_code.h"
#include "os/os.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/// One attempt to load.
typedef struct elf_load {
    const dray_load_request *request;
    dray_part *part;
    drayi_elf_pieces pieces;   // of the part's own descriptor
    drayi_elf_library library; // over them
    bool copy;                 // of bytes that nobody else has mapped
} elf_load;

static uint32_t elf_sniff(const uint8_t *head, uint64_t head_bytes, uint64_t byte_count)
{
    return drayi_sniff_code(DRAYI_CODE_ELF, head, head_bytes, byte_count);
}

static bool can_stay(const dray_image *image)
{
    return image->fd >= 0 && image->fd_offset == 0;
}

static void load_end(elf_load *load)
{
    drayi_arena_free(&load->pieces.arena);
    drayi_elf_part_destroy(load->part);
}

/// Why it may stay mapped when its module ends, as far as the file tells.
static void find_pins(elf_load *load)
{
    char *why = load->part->why_pinned;
    const size_t room = sizeof(load->part->why_pinned);
    if (load->library.never_unloads) {
        snprintf(why, room, "it was linked never to be unloaded (-z nodelete)");
        return;
    }
    for (uint64_t i = 1; i < load->library.symbol_count; i++) {
        drayi_elf_symbol symbol = drayi_elf_symbol_at(&load->library, i);
        if (symbol.defined && symbol.is_unique) {
            snprintf(why, room, "it defines the unique symbol %s (STB_GNU_UNIQUE)",
                     drayi_quote(symbol.name).text);
            return;
        }
        if (!symbol.defined && symbol.name.length >= 19 &&
            memcmp(symbol.name.bytes, "__cxa_thread_atexit", 19) == 0)
            snprintf(
                why, room,
                "it has thread-local destructors, and stays as long as a thread has to run them");
    }
}

// --- symbols of the ABI ------------------------------------------------------------------------------

static bool begins_with(dray_text name, const char *prefix)
{
    size_t length = strlen(prefix);
    return name.length >= length && memcmp(name.bytes, prefix, length) == 0;
}

static bool needs_tvm(const drayi_elf_library *library)
{
    for (uint64_t i = 0; i < library->needed_count; i++) {
        if (begins_with(drayi_elf_needed(library, i), "libtvm_ffi.so"))
            return true;
    }
    return false;
}

/// Functions of the ABI that the library does not have and asks its process for.
static dray_status provide_symbols(elf_load *load, dray_error *error)
{
    const drayi_elf_library *library = &load->library;
    uint64_t count = 0, capacity = 0;
    const char **names = NULL;
    dray_status status = DRAY_OK;
    if (needs_tvm(library))
        return DRAY_OK; // the linker brings the real one
    for (uint64_t i = 1; i < library->symbol_count && status == DRAY_OK; i++) {
        drayi_elf_symbol symbol = drayi_elf_symbol_at(library, i);
        if (symbol.defined || symbol.is_weak || !begins_with(symbol.name, "TVMFFI"))
            continue;
        status = drayi_grow(load->request->env, (void **)&names, &capacity, count + 1,
                            sizeof(*names), error);
        if (status == DRAY_OK)
            names[count++] = symbol.name.bytes; // terminated in its table
    }
    if (status == DRAY_OK && count > 0)
        status = load->request->provide_symbols(load->request, names, count, error);
    drayi_free(load->request->env, names, capacity * sizeof(*names));
    return status;
}

/// Pointers that the library wants filled in: "__TVMFFIErrorSetRaisedFromCStr" and its like.
static bool is_context_symbol(const elf_load *load, const drayi_elf_symbol *symbol)
{
    return symbol->defined && symbol->is_data && begins_with(symbol->name, "__TVM") &&
           symbol->address % sizeof(void *) == 0 &&
           drayi_elf_is_writable(&load->library, symbol->address, sizeof(void *));
}

static void **pointer_at(const elf_load *load, uint64_t address)
{
    return (void **)(uintptr_t)(load->part->base + address);
}

static void fill_context_symbols(elf_load *load)
{
    for (uint64_t i = 1; i < load->library.symbol_count; i++) {
        drayi_elf_symbol symbol = drayi_elf_symbol_at(&load->library, i);
        void *value = is_context_symbol(load, &symbol)
                          ? load->request->context_symbol(load->request, symbol.name.bytes)
                          : NULL;
        if (value)
            __atomic_store_n(pointer_at(load, symbol.address), value, __ATOMIC_RELEASE);
    }
}

/// The place where it keeps its module's address, or NULL.
static void **find_slot(const elf_load *load)
{
    drayi_elf_symbol symbol;
    if (!drayi_elf_find(&load->library, "__tvm_ffi__library_ctx", &symbol) || !symbol.is_data ||
        symbol.address % sizeof(void *) != 0 ||
        !drayi_elf_is_writable(&load->library, symbol.address, sizeof(void *)))
        return NULL;
    return pointer_at(load, symbol.address);
}

/// The import tree in the loaded library: as many bytes as its symbol has.
static void find_tree(const elf_load *load, dray_loaded_part *out)
{
    drayi_elf_symbol symbol;
    uint64_t offset;
    if (!drayi_elf_find(&load->library, "__tvm_ffi__library_bin", &symbol) ||
        !drayi_elf_offset_of(&load->library, symbol.address, symbol.bytes, &offset))
        return;
    out->tree = (const uint8_t *)(uintptr_t)(load->part->base + symbol.address);
    out->tree_bytes = symbol.bytes;
}

// --- loading -----------------------------------------------------------------------------------------

static dray_status check(elf_load *load, dray_error *error)
{
    const dray_load_request *request = load->request;
    load->pieces.arena.env = request->env;
    load->pieces.fd = load->part->fd;
    load->pieces.name = request->image->name;
    DRAY_TRY(drayi_elf_library_read_pieces(&load->pieces, request->image->byte_count,
                                           &load->library, error));
    if (load->library.refuses_dlopen)
        return dray_fail_rule(error, DRAY_E_UNSUPPORTED, "elf.type", 16,
                              "elf: it is a program, or was linked not to be loaded at run time");
    return drayi_elf_check_rules(request->env, request->policy, &load->library,
                                 request->image->name, error);
}

/// *out_again: a copy of its own would do: its file is another module's already, or its file system does
/// not let code run.
static dray_status load_once(elf_load *load, dray_loaded_part *out, bool *out_again,
                             dray_error *error)
{
    const dray_load_request *request = load->request;
    bool shared = false;
    DRAY_TRY(drayi_elf_part_create(request->env, request->image, load->copy, &load->part, error));
    DRAY_TRY(check(load, error));
    DRAY_TRY(drayi_elf_part_names(load->part, &load->library, error));
    DRAY_TRY(provide_symbols(load, error));
    if (request->policy->rules & DRAY_POLICY_TRIAL)
        DRAY_TRY(drayi_elf_part_try(load->part, error));
    dray_status status = drayi_elf_part_open(load->part, &load->library, &shared, error);
    *out_again = shared || (status == DRAY_E_UNSUPPORTED && !load->part->sealed);
    if (status != DRAY_OK)
        return status;
    fill_context_symbols(load);
    find_pins(load);
    find_tree(load, out);
    out->context_slot = find_slot(load);
    out->ops = &drayi_elf_part_ops;
    out->part = load->part;
    load->part = NULL;
    return DRAY_OK;
}

static dray_status elf_load_image(const dray_load_request *request, dray_loaded_part *out,
                                  dray_error *error)
{
    dray_image *image = request->image;
    bool again = false;
    *out = (dray_loaded_part){0};
    if (image->byte_count == 0)
        return dray_fail_rule(error, DRAY_E_FORMAT, "elf.header", 0,
                              "elf: 0 bytes, the header alone has 64");
    if (!can_stay(image))
        DRAY_TRY(image->seal(image, error));
    elf_load load = {.request = request};
    dray_status status = load_once(&load, out, &again, error);
    load_end(&load);
    if (status == DRAY_OK || !again)
        return status;
    elf_load second = {.request = request, .copy = true};
    status = load_once(&second, out, &again, error);
    load_end(&second);
    return status;
}

static dray_status elf_tree(drayi_env *env, dray_image *image, const uint8_t **out_tree,
                            uint64_t *out_bytes, dray_error *error)
{
    drayi_elf_library library;
    drayi_elf_symbol symbol;
    (void)env;
    DRAY_TRY(image->map(image, error));
    DRAY_TRY(drayi_elf_library_read(image->bytes, image->byte_count, &library, error));
    *out_tree = drayi_elf_tree(&library, &symbol);
    *out_bytes = *out_tree ? symbol.bytes : 0;
    return DRAY_OK;
}

static const char *const elf_extensions[] = {"so", "dso", NULL};

const dray_loader_ops drayi_loader_elf = {
    .abi = DRAY_LOADER_ABI,
    .flags = DRAY_LOADER_NATIVE | DRAY_LOADER_RAW | DRAY_LOADER_SERIALIZED,
    .kind = "elf",
    .extensions = elf_extensions,
    .sniff = elf_sniff,
    .inspect = drayi_elf_inspect,
    .tree = elf_tree,
    .load = elf_load_image,
};
