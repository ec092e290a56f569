#include "loader/elf_part.h"

#include "base/sort.h"
#include "dray/module.h"
#include "loader/elf_rules.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U // such a memfd can be opened as a library all the same
#endif

enum { attempts_max = 8, path_bytes = 32, chunk_bytes = 1 << 20 };
static const int64_t trial_ns = INT64_C(10000000000);

static void descriptor_path(int fd, char out[path_bytes])
{
    snprintf(out, path_bytes, "/proc/self/fd/%d", fd);
}

// --- the descriptor ----------------------------------------------------------------------------------

static dray_status copy_bytes(drayi_env *env, dray_image *image, int fd, dray_error *error)
{
    uint8_t *buffer = drayi_alloc(env, chunk_bytes, error);
    dray_status status = buffer ? DRAY_OK : DRAY_E_NOMEM;
    for (uint64_t at = 0; status == DRAY_OK && at < image->byte_count; at += chunk_bytes) {
        uint64_t part = drayi_min(chunk_bytes, image->byte_count - at);
        status = image->read(image, at, buffer, part, error);
        if (status == DRAY_OK)
            status = drayi_pwrite_all(env->os, fd, image->name, buffer, part, at, error);
    }
    drayi_free(env, buffer, chunk_bytes);
    return status;
}

static dray_status open_copy(dray_part *part, dray_image *image, dray_error *error)
{
    const drayi_os *os = part->env->os;
    char name[48];
    snprintf(name, sizeof(name), "dray:%.40s", image->name);
    part->fd = os->memfd(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (part->fd == -EINVAL) // before Linux 6.3
        part->fd = os->memfd(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (part->fd < 0)
        return dray_fail_os(error, -part->fd, "memfd_create", "a copy of %" PRIu64 " bytes",
                            image->byte_count);
    DRAY_TRY(copy_bytes(part->env, image, part->fd, error));
    int code = os->seal(part->fd, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
    if (code < 0)
        return dray_fail_os(error, -code, "fcntl(F_ADD_SEALS)", "seal a copy");
    part->sealed = true;
    return DRAY_OK;
}

dray_status drayi_elf_part_create(drayi_env *env, dray_image *image, bool copy, dray_part **out,
                                  dray_error *error)
{
    drayi_file_facts facts;
    dray_part *part = drayi_new(env, dray_part, error);
    if (!part)
        return DRAY_E_NOMEM;
    *out = part;
    part->env = env;
    part->arena.env = env;
    part->byte_count = image->byte_count;
    part->fd = -1;
    if (copy)
        return open_copy(part, image, error);
    part->sealed = (image->flags & DRAY_IMAGE_SEALED) != 0;
    part->fd = env->os->dup(image->fd);
    if (part->fd < 0)
        return dray_fail_os(error, -part->fd, "dup", "descriptor %d", image->fd);
    int code = env->os->facts(part->fd, &facts);
    if (code < 0)
        return dray_fail_os(error, -code, "statx", "descriptor %d", part->fd);
    part->modified_ns = facts.modified_ns;
    return DRAY_OK;
}

// --- names -------------------------------------------------------------------------------------------

static const char abi_prefix[] = "__tvm_ffi_";

/// Either kind of name, without the prefix.
static bool entry_of(const drayi_elf_symbol *symbol, dray_text *out, bool *out_special)
{
    const uint64_t length = sizeof(abi_prefix) - 1;
    *out_special = false;
    if (drayi_elf_function(symbol, out))
        return true;
    if (!symbol->defined || !symbol->is_function || symbol->name.length <= length ||
        memcmp(symbol->name.bytes, abi_prefix, length) != 0)
        return false;
    *out = (dray_text){symbol->name.bytes + length, symbol->name.length - length};
    *out_special = true;
    return true;
}

static int entry_compare(const void *left, const void *right, const void *self)
{
    (void)self;
    return strcmp(((const drayi_elf_entry *)left)->name, ((const drayi_elf_entry *)right)->name);
}

static dray_status sort_entries(dray_part *part, drayi_elf_entry *entries, uint64_t count,
                                dray_error *error)
{
    if (count < 2)
        return DRAY_OK;
    drayi_elf_entry *scratch = drayi_alloc_array(part->env, count, sizeof(*scratch), error);
    if (!scratch)
        return DRAY_E_NOMEM;
    drayi_sort(entries, scratch, count, sizeof(*entries), entry_compare, NULL);
    drayi_free(part->env, scratch, count * sizeof(*scratch));
    return DRAY_OK;
}

static dray_status count_entries(dray_part *part, const drayi_elf_library *library,
                                 dray_error *error)
{
    uint64_t functions = 0, specials = 0;
    for (uint64_t i = 1; i < library->symbol_count; i++) {
        drayi_elf_symbol symbol = drayi_elf_symbol_at(library, i);
        dray_text name;
        bool special;
        if (entry_of(&symbol, &name, &special))
            ++*(special ? &specials : &functions);
    }
    part->functions = drayi_arena_alloc(&part->arena, functions * sizeof(drayi_elf_entry), error);
    part->specials = drayi_arena_alloc(&part->arena, specials * sizeof(drayi_elf_entry), error);
    return part->functions && part->specials ? DRAY_OK : DRAY_E_NOMEM;
}

dray_status drayi_elf_part_names(dray_part *part, const drayi_elf_library *library,
                                 dray_error *error)
{
    DRAY_TRY(count_entries(part, library, error));
    for (uint64_t i = 1; i < library->symbol_count; i++) {
        drayi_elf_symbol symbol = drayi_elf_symbol_at(library, i);
        dray_text name;
        bool special;
        if (!entry_of(&symbol, &name, &special))
            continue;
        const char *copy = drayi_arena_text(&part->arena, name.bytes, name.length, error);
        if (!copy)
            return DRAY_E_NOMEM;
        drayi_elf_entry *entry = special ? &part->specials[part->special_count++]
                                         : &part->functions[part->function_count++];
        *entry = (drayi_elf_entry){copy, symbol.address};
    }
    DRAY_TRY(sort_entries(part, part->functions, part->function_count, error));
    return sort_entries(part, part->specials, part->special_count, error);
}

uint64_t drayi_elf_part_find(const dray_part *part, const char *kind, const char *name)
{
    const drayi_elf_entry *entries = kind[0] ? part->specials : part->functions;
    uint64_t low = 0, high = kind[0] ? part->special_count : part->function_count;
    const size_t kind_length = strlen(kind);
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        int order = strncmp(entries[middle].name, kind, kind_length);
        if (order == 0)
            order = strcmp(entries[middle].name + kind_length, name);
        if (order == 0)
            return part->base + entries[middle].address;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return 0;
}

// --- opening -----------------------------------------------------------------------------------------

enum { opened_ours, opened_shared, opened_stale };

/// What the linker gave us for our path. It knows libraries by path and by file: one that came by the same
/// path earlier and is still loaded is given again, whatever the descriptor means by now; and one whose
/// file is the same, whatever its path. Ours is what came by our path when nothing had that path before.
static int tell_opened(const dray_part *part, const char *path, bool taken, void *opened,
                       const drayi_elf_library *library, uint64_t *out_base)
{
    const drayi_os *os = part->env->os;
    uint64_t first = 0, end = 0;
    int by_path = os->module_base(opened, path, out_base), code = 0;
    if (by_path < 0)
        return by_path;
    if (by_path && !taken)
        return opened_ours;
    drayi_elf_span(library, &first, &end);
    void *page = os->map(NULL, 1, PROT_READ, MAP_PRIVATE, part->fd, 0, &code);
    if (!page)
        return code;
    int same = os->same_mapping(page, (const void *)(uintptr_t)(*out_base + first));
    os->unmap(page, 1);
    return same < 0 ? same : same ? opened_shared : opened_stale;
}

/// Another number for the same file.
static dray_status descriptor_change(dray_part *part, dray_error *error)
{
    const drayi_os *os = part->env->os;
    int fresh = os->dup(part->fd);
    if (fresh < 0)
        return dray_fail_os(error, -fresh, "dup", "another descriptor");
    os->close(part->fd);
    part->fd = fresh;
    return DRAY_OK;
}

dray_status drayi_elf_part_open(dray_part *part, const drayi_elf_library *library, bool *out_shared,
                                dray_error *error)
{
    const drayi_os *os = part->env->os;
    char path[path_bytes], why[320];
    uint64_t first = 0, end = 0, base = 0;
    *out_shared = false;
    for (int attempt = 0; attempt < attempts_max; attempt++) {
        descriptor_path(part->fd, path);
        bool taken = os->path_is_loaded(path) != 0;
        void *opened = os->module_open(path, why, sizeof(why));
        if (!opened)
            return dray_fail(error, DRAY_E_UNSUPPORTED, "the dynamic linker refuses: %s", why);
        int what = tell_opened(part, path, taken, opened, library, &base);
        if (what == opened_ours) {
            drayi_elf_span(library, &first, &end);
            part->library = opened;
            part->base = base;
            part->first = base + first;
            part->end = base + end;
            return DRAY_OK;
        }
        os->library_close(opened);
        if (what < 0)
            return dray_fail_os(error, -what, "/proc/self/maps",
                                "which file was loaded cannot be told");
        *out_shared = what == opened_shared;
        if (*out_shared)
            return dray_fail(error, DRAY_E_BUSY, "its file is loaded as another library already");
        DRAY_TRY(descriptor_change(part, error));
    }
    return dray_fail(error, DRAY_E_BUSY,
                     "%d descriptors in turn belong to libraries that are still loaded",
                     attempts_max);
}

static int try_in_child(void *self, char *out_why, size_t why_bytes)
{
    const dray_part *part = self;
    char path[path_bytes];
    descriptor_path(part->fd, path);
    void *library = part->env->os->module_open(path, out_why, why_bytes);
    return library ? part->env->os->library_close(library) : -1;
}

dray_status drayi_elf_part_try(dray_part *part, dray_error *error)
{
    drayi_trial trial;
    int code = part->env->os->trial(try_in_child, part, trial_ns, &trial);
    if (code < 0)
        return dray_fail_os(error, -code, "fork", "trial in a child process");
    if (trial.timed_out)
        return dray_fail_rule(error, DRAY_E_INVALID, "module.trust", DRAY_UNKNOWN,
                              "its trial did not end within %d seconds",
                              (int)(trial_ns / 1000000000));
    if (trial.signal)
        return dray_fail_rule(error, DRAY_E_INVALID, "module.trust", DRAY_UNKNOWN,
                              "its trial in a child process was ended by signal %d (%s)",
                              trial.signal, strsignal(trial.signal));
    if (trial.code < 0)
        return dray_fail_rule(error, DRAY_E_INVALID, "module.trust", DRAY_UNKNOWN,
                              "its trial in a child process failed: %s",
                              trial.why[0] ? trial.why : "it ended the process");
    return DRAY_OK;
}

void drayi_elf_part_destroy(dray_part *part)
{
    if (!part)
        return;
    const drayi_os *os = part->env->os;
    bool gone = true;
    if (part->library) {
        char path[path_bytes];
        descriptor_path(part->fd, path);
        os->library_close(part->library);
        gone = !os->path_is_loaded(path); // if not: its path must not become somebody else's
    }
    if (gone)
        drayi_close_file(os, part->fd);
    drayi_arena_free(&part->arena);
    drayi_free(part->env, part, sizeof(*part));
}

/// The library stays open, and its descriptor with it.
static void part_abandon(dray_part *part)
{
    drayi_env *env = part->env;
    drayi_arena_free(&part->arena);
    drayi_free(env, part, sizeof(*part));
}

// --- the table ---------------------------------------------------------------------------------------

static dray_status find_call(const dray_part *part, const char *kind, const char *name,
                             dray_part_function *out)
{
    uint64_t address = drayi_elf_part_find(part, kind, name);
    if (address == 0)
        return DRAY_E_NOTFOUND;
    out->handle = NULL; // as the ABI wants it for functions of libraries
    // a function in a library is found as data and called as code: POSIX promises that they are one
    memcpy(&out->call, &(void *){(void *)(uintptr_t)address}, sizeof(out->call));
    return DRAY_OK;
}

static dray_status part_function(dray_part *part, const char *name, dray_part_function *out,
                                 dray_error *error)
{
    (void)error;
    return find_call(part, "", name, out);
}

static dray_status part_doc(dray_part *part, const char *name, dray_part_function *out,
                            dray_error *error)
{
    (void)error;
    return find_call(part, "_doc_", name, out);
}

static dray_status part_metadata(dray_part *part, const char *name, dray_part_function *out,
                                 dray_error *error)
{
    (void)error;
    return find_call(part, "_metadata_", name, out);
}

static const char *part_name_at(dray_part *part, uint64_t index)
{
    return index < part->function_count ? part->functions[index].name : NULL;
}

static bool part_contains(dray_part *part, const void *address)
{
    uint64_t at = (uint64_t)(uintptr_t)address;
    return at >= part->first && at < part->end;
}

static const char *part_pinned(dray_part *part)
{
    return part->why_pinned[0] ? part->why_pinned : NULL;
}

/// What was loaded is what stands in the descriptor, unless somebody wrote into the file since.
static dray_status check_unchanged(const dray_part *part, dray_error *error)
{
    drayi_file_facts facts;
    int code = part->env->os->facts(part->fd, &facts);
    if (code < 0)
        return dray_fail_os(error, -code, "statx", "save");
    if (!part->sealed && (facts.modified_ns != part->modified_ns || facts.bytes < part->byte_count))
        return dray_fail(error, DRAY_E_CORRUPT, "save: the file was changed since it was loaded");
    return DRAY_OK;
}

static dray_status part_save(dray_part *part, dray_any *out_bytes, dray_error *error)
{
    const drayi_os *os = part->env->os;
    int code = 0;
    DRAY_TRY(check_unchanged(part, error));
    void *memory = os->map(NULL, part->byte_count, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, &code);
    if (!memory)
        return dray_fail_os(error, -code, "mmap", "save: %" PRIu64 " bytes", part->byte_count);
    dray_status status =
        drayi_pread_all(os, part->fd, "save", memory, part->byte_count, 0, NULL, error);
    if (status == DRAY_OK)
        status = check_unchanged(part, error); // while it was read, too
    if (status == DRAY_OK) {
        *out_bytes = dray_any_string(DRAY_TYPE_BYTES, memory, part->byte_count);
        if (out_bytes->type_index == DRAY_TYPE_NONE)
            status = dray_fail(error, DRAY_E_NOMEM, "save: %" PRIu64 " bytes", part->byte_count);
    }
    os->unmap(memory, part->byte_count);
    return status;
}

const dray_part_ops drayi_elf_part_ops = {
    .abi = DRAY_LOADER_ABI,
    .properties = DRAY_MODULE_SERIALIZABLE | DRAY_MODULE_RUNNABLE,
    .destroy = drayi_elf_part_destroy,
    .function = part_function,
    .name_at = part_name_at,
    .doc = part_doc,
    .metadata = part_metadata,
    .save = part_save,
    .contains = part_contains,
    .pinned = part_pinned,
    .abandon = part_abandon,
};
