/// From bytes or a file to the first function, and away again: dray beside dlopen() of the file, a temporary
/// file, and libtvm_ffi where it is given. Each case looks its function up, and every library is gone
/// afterwards; the calls that end it are part of the time.
#include "bench_module.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { case_plain, case_fd, case_tvm, case_temporary, case_bytes, case_digest, case_count };
enum { light_repeats = 15 }; // of the first three

static const char *const case_names[case_count] = {
    "dlopen",
    "dray, the file's fd",
    "libtvm_ffi, the file",
    "temporary file, dlopen",
    "dray, from bytes",
    "dray, from bytes with SHA-256",
};

/// The C functions of libtvm_ffi that a load takes.
typedef struct tvm_calls {
    void *library;
    int (*get_global)(const dray_byte_array *name, void **out);
    int (*call)(void *function, dray_any *arguments, int32_t count, dray_any *result);
    int (*release)(void *object);
    void *load, *get; // ffi.ModuleLoadFromFile, ffi.ModuleGetFunction
} tvm_calls;

typedef struct load_state {
    dray_context *context;
    const bench_module_options *options;
    FILE *out;
    dray_error *error;
    tvm_calls tvm;
    char path[4096], copy[4096];
    char *bytes;
    uint64_t count;
    int fd;
    uint8_t digest[32];
    double seconds[case_count][bench_rounds_max];
} load_state;

// --- cases -------------------------------------------------------------------------------------------

static bool open_and_close(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    bool found = library && dlsym(library, "__tvm_ffi_add_one");
    return library && dlclose(library) == 0 && found;
}

static bool run_temporary(const load_state *state)
{
    int fd = open(state->copy, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
    if (fd < 0)
        return false;
    bool written = true;
    for (uint64_t done = 0; written && done < state->count;) {
        ssize_t put = write(fd, state->bytes + done, state->count - done);
        written = put > 0;
        done += written ? (uint64_t)put : 0;
    }
    written = close(fd) == 0 && written;
    bool opened = written && open_and_close(state->copy);
    unlink(state->copy);
    return opened;
}

static bool run_dray(load_state *state, uint32_t which)
{
    dray_module_source source = {.struct_bytes = sizeof(source), .name = "bench"};
    dray_module_options options = {.struct_bytes = sizeof(options), .policy = &bench_module_policy};
    dray_module *module = NULL;
    dray_function_object *function = NULL;
    if (which == case_fd) {
        source.use_fd = 1;
        source.fd = state->fd;
    } else {
        source.bytes = state->bytes;
        source.byte_count = state->count;
    }
    if (which == case_digest)
        options.expected_sha256 = state->digest;
    if (dray_module_load(state->context, "elf", &source, &options, &module, state->error) !=
            DRAY_OK ||
        dray_module_get_function(module, "add_one", false, &function, state->error) != DRAY_OK) {
        dray_module_release(module);
        return false;
    }
    dray_object_release(&function->head);
    dray_module_release(module);
    return true;
}

static bool run_tvm(const load_state *state)
{
    const tvm_calls *tvm = &state->tvm;
    dray_any module = dray_any_none(), function = dray_any_none();
    dray_any path = dray_any_borrow_text(state->path);
    if (tvm->call(tvm->load, &path, 1, &module) != 0)
        return false;
    dray_any arguments[3] = {module, dray_any_borrow_text("add_one"), dray_any_bool(0)};
    bool found = tvm->call(tvm->get, arguments, 3, &function) == 0 &&
                 function.type_index == DRAY_TYPE_FUNCTION;
    dray_any_release(&function);
    dray_any_release(&module);
    return found;
}

static bool run_case(load_state *state, uint32_t which)
{
    switch (which) {
    case case_plain:
        return open_and_close(state->path);
    case case_temporary:
        return run_temporary(state);
    case case_tvm:
        return run_tvm(state);
    default:
        return run_dray(state, which);
    }
}

// --- preparing ---------------------------------------------------------------------------------------

static bool tvm_open(load_state *state)
{
    static const dray_byte_array load = {"ffi.ModuleLoadFromFile", 22},
                                 get = {"ffi.ModuleGetFunction", 21};
    tvm_calls *tvm = &state->tvm;
    tvm->library = dlopen(state->options->tvm_ffi, RTLD_NOW | RTLD_LOCAL);
    if (!tvm->library)
        return false;
    void *found[3] = {dlsym(tvm->library, "TVMFFIFunctionGetGlobal"),
                      dlsym(tvm->library, "TVMFFIFunctionCall"),
                      dlsym(tvm->library, "TVMFFIObjectDecRef")};
    memcpy(&tvm->get_global, &found[0], sizeof(void *));
    memcpy(&tvm->call, &found[1], sizeof(void *));
    memcpy(&tvm->release, &found[2], sizeof(void *));
    return found[0] && found[1] && found[2] && tvm->get_global(&load, &tvm->load) == 0 &&
           tvm->load && tvm->get_global(&get, &tvm->get) == 0 && tvm->get;
}

static bool read_library(load_state *state)
{
    struct stat facts;
    state->fd = open(state->path, O_RDONLY | O_CLOEXEC);
    if (state->fd < 0 || fstat(state->fd, &facts) != 0)
        return false;
    state->count = (uint64_t)facts.st_size;
    state->bytes = malloc(state->count);
    for (uint64_t done = 0; state->bytes && done < state->count;) {
        ssize_t got = pread(state->fd, state->bytes + done, state->count - done, (off_t)done);
        if (got <= 0)
            return false;
        done += (uint64_t)got;
    }
    return state->bytes != NULL;
}

/// False: this build has no libcrypto.
static bool find_digest(load_state *state)
{
    const dray_module_source source = {
        .struct_bytes = sizeof(source), .bytes = state->bytes, .byte_count = state->count};
    dray_module_facts *facts = NULL;
    if (dray_module_inspect(state->context, "elf", &source, &facts, NULL) != DRAY_OK)
        return false;
    bool has = dray_module_facts_get(facts)->has_sha256 != 0;
    memcpy(state->digest, dray_module_facts_get(facts)->sha256, 32);
    dray_module_facts_destroy(facts);
    return has;
}

// --- measuring ---------------------------------------------------------------------------------------

/// The three that copy nothing take microseconds, and each would pay for the memory that the case before it
/// went through: they run several times in a row, and the median counts.
static bool run_repeatedly(load_state *state, uint32_t which, double *out_seconds)
{
    double seconds[light_repeats];
    const uint32_t repeats = which <= case_tvm ? light_repeats : 1;
    for (uint32_t i = 0; i < repeats; i++) {
        double began = bench_now();
        if (!run_case(state, which))
            return false;
        seconds[i] = bench_now() - began;
    }
    *out_seconds = bench_spread_of(seconds, repeats).median;
    return true;
}

static dray_status measure(load_state *state, bool digest)
{
    for (uint32_t round = 0; round <= state->options->rounds; round++) {
        for (uint32_t which = 0; which < case_count; which++) {
            double seconds = 0;
            if ((which == case_tvm && !state->options->tvm_ffi) || (which == case_digest && !digest))
                continue;
            if (!run_repeatedly(state, which, &seconds))
                return which == case_plain || which == case_temporary || which == case_tvm
                           ? dray_fail(state->error, DRAY_E_FAILED, "%s: it does not work here",
                                       case_names[which])
                           : state->error->status;
            if (round > 0) // the first one warms up
                state->seconds[which][round - 1] = seconds;
        }
    }
    return DRAY_OK;
}

static void print_ratio(const load_state *state, const char *name, uint32_t which, uint32_t base)
{
    double ratios[bench_rounds_max];
    for (uint32_t i = 0; i < state->options->rounds; i++)
        ratios[i] = state->seconds[which][i] / state->seconds[base][i];
    bench_print_spread(state->out, name, bench_spread_of(ratios, state->options->rounds));
}

static void print_cases(load_state *state)
{
    for (uint32_t which = 0; which < case_count; which++) {
        double micros[bench_rounds_max];
        if (state->seconds[which][0] <= 0)
            continue;
        fprintf(state->out, "{\"bench\":\"module\",\"what\":\"load\",\"bytes\":%llu,\"case\":\"%s\"",
                (unsigned long long)state->count, case_names[which]);
        if (which != case_plain)
            print_ratio(state, "ratio_to_dlopen", which, case_plain);
        if (which == case_bytes || which == case_digest)
            print_ratio(state, "ratio_to_temporary_file", which, case_temporary);
        if (which == case_fd && state->options->tvm_ffi)
            print_ratio(state, "ratio_to_libtvm_ffi", which, case_tvm);
        for (uint32_t i = 0; i < state->options->rounds; i++)
            micros[i] = state->seconds[which][i] * 1e6;
        bench_print_spread(state->out, "microseconds",
                           bench_spread_of(micros, state->options->rounds));
        fprintf(state->out, ",\"rounds\":%u}\n", state->options->rounds);
    }
    fflush(state->out);
}

static dray_status one_size(load_state *state, uint64_t bytes)
{
    char why[256];
    snprintf(state->path, sizeof(state->path), "%s/dray-bench-%ld.so", state->options->scratch,
             (long)getpid());
    snprintf(state->copy, sizeof(state->copy), "%s/dray-bench-%ld-copy.so", state->options->scratch,
             (long)getpid());
    state->fd = -1;
    state->bytes = NULL;
    memset(state->seconds, 0, sizeof(state->seconds));
    if (!bench_module_make(state->path, bytes, why)) {
        unlink(state->path);
        return dray_fail(state->error, DRAY_E_UNSUPPORTED, "%s", why);
    }
    dray_status status = DRAY_OK;
    if (!read_library(state))
        status = dray_fail_os(state->error, errno, "read", "%s", state->path);
    if (status == DRAY_OK)
        status = measure(state, find_digest(state));
    if (status == DRAY_OK)
        print_cases(state);
    free(state->bytes);
    if (state->fd >= 0)
        close(state->fd);
    unlink(state->path);
    return status;
}

dray_status bench_module_loads(dray_context *context, const bench_module_options *options,
                               FILE *out, dray_error *error)
{
    static const uint64_t sizes[] = {1000000, 100000000};
    load_state *state = calloc(1, sizeof(*state));
    if (!state)
        return dray_fail(error, DRAY_E_NOMEM, "out of memory: the benchmark's state");
    state->context = context;
    state->options = options;
    state->out = out;
    state->error = error;
    dray_status status = DRAY_OK;
    if (options->tvm_ffi && !tvm_open(state))
        status = dray_fail(error, DRAY_E_UNSUPPORTED, "%s is no libtvm_ffi that is known",
                           options->tvm_ffi);
    for (size_t i = 0; i < 2 && status == DRAY_OK; i++) {
        if (options->bytes == 0 || i == 0)
            status = one_size(state, options->bytes ? options->bytes : sizes[i]);
    }
    free(state);
    return status;
}
