/// A call through a function handle beside the bare pointer, and finding functions by their names.
#include "bench_module.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { calls_per_run = 2000000, lookups_per_run = 1000000, readers_max = 64 };

typedef struct call_state {
    dray_context *context;
    const bench_module_options *options;
    FILE *out;
    dray_module *module;
    dray_function_object *function;
    void *library; // the same file, by dlopen
    dray_safe_call bare;
    double bare_ns[bench_rounds_max], handle_ns[bench_rounds_max], checked_ns[bench_rounds_max];
} call_state;

static volatile int64_t kept; // so that no call is left out

static double per_call(double began)
{
    return (bench_now() - began) * 1e9 / calls_per_run;
}

static double time_bare(dray_safe_call call)
{
    dray_any argument = dray_any_int(1), result = dray_any_none();
    double began = bench_now();
    for (uint32_t i = 0; i < calls_per_run; i++) {
        call(NULL, &argument, 1, &result);
        argument.as.i64 = result.as.i64;
    }
    kept = argument.as.i64;
    return per_call(began);
}

static double time_handle(dray_function_object *function)
{
    dray_any argument = dray_any_int(1), result = dray_any_none();
    double began = bench_now();
    for (uint32_t i = 0; i < calls_per_run; i++) {
        function->call(function, &argument, 1, &result);
        argument.as.i64 = result.as.i64;
    }
    kept = argument.as.i64;
    return per_call(began);
}

static double time_checked(dray_context *context, dray_function_object *function)
{
    dray_any argument = dray_any_int(1), result = dray_any_none();
    double began = bench_now();
    for (uint32_t i = 0; i < calls_per_run; i++) {
        dray_function_call(context, function, &argument, 1, &result, NULL);
        argument.as.i64 = result.as.i64;
    }
    kept = argument.as.i64;
    return per_call(began);
}

static void print_calls(call_state *state)
{
    uint32_t rounds = state->options->rounds;
    double over[bench_rounds_max], checked[bench_rounds_max];
    for (uint32_t i = 0; i < rounds; i++) {
        over[i] = state->handle_ns[i] - state->bare_ns[i];
        checked[i] = state->checked_ns[i] - state->bare_ns[i];
    }
    fprintf(state->out, "{\"bench\":\"module\",\"what\":\"call\"");
    bench_print_spread(state->out, "nanoseconds_over_bare", bench_spread_of(over, rounds));
    bench_print_spread(state->out, "checked_nanoseconds_over_bare",
                       bench_spread_of(checked, rounds));
    bench_print_spread(state->out, "nanoseconds", bench_spread_of(state->handle_ns, rounds));
    bench_print_spread(state->out, "bare_nanoseconds", bench_spread_of(state->bare_ns, rounds));
    fprintf(state->out, ",\"rounds\":%u}\n", rounds);
    fflush(state->out);
}

// --- look-ups ----------------------------------------------------------------------------------------

typedef struct reader {
    pthread_t thread;
    dray_context *context;
    pthread_barrier_t *barrier;
    double ns;
} reader;

static void *reader_run(void *self)
{
    reader *own = self;
    volatile bool found; // its own: a variable of all readers would be what is measured
    pthread_barrier_wait(own->barrier);
    double began = bench_now();
    for (uint32_t i = 0; i < lookups_per_run; i++) {
        dray_global_hold hold = dray_global_borrow(own->context, "bench.add_one");
        found = hold.function != NULL;
        dray_global_give_back(&hold);
    }
    (void)found;
    own->ns = (bench_now() - began) * 1e9 / lookups_per_run;
    return NULL;
}

/// The mean over the readers, all at the same time.
static double time_lookups(dray_context *context, uint32_t count)
{
    reader readers[readers_max];
    pthread_barrier_t barrier;
    double sum = 0;
    pthread_barrier_init(&barrier, NULL, count);
    for (uint32_t i = 0; i < count; i++) {
        readers[i] = (reader){.context = context, .barrier = &barrier};
        if (i > 0 && pthread_create(&readers[i].thread, NULL, reader_run, &readers[i]) != 0)
            abort(); // the others would wait for it
    }
    reader_run(&readers[0]);
    for (uint32_t i = 1; i < count; i++)
        pthread_join(readers[i].thread, NULL);
    for (uint32_t i = 0; i < count; i++)
        sum += readers[i].ns;
    pthread_barrier_destroy(&barrier);
    return sum / count;
}

static dray_status lookups(call_state *state, dray_error *error)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t all = online < 1 ? 1 : online > readers_max ? readers_max : (uint32_t)online;
    dray_status status =
        dray_global_set(state->context, "bench.add_one", state->function, NULL, 0, error);
    for (uint32_t count = 1; status == DRAY_OK && count <= all;
         count = count < all ? all : all + 1) {
        double ns[bench_rounds_max];
        for (uint32_t round = 0; round < state->options->rounds; round++)
            ns[round] = time_lookups(state->context, count);
        fprintf(state->out, "{\"bench\":\"module\",\"what\":\"look-up\",\"readers\":%u", count);
        bench_print_spread(state->out, "nanoseconds", bench_spread_of(ns, state->options->rounds));
        fprintf(state->out, ",\"rounds\":%u}\n", state->options->rounds);
    }
    if (status == DRAY_OK)
        status = dray_global_remove(state->context, "bench.add_one", -1, error);
    fflush(state->out);
    return status;
}

static dray_status calls(call_state *state, const char *path, dray_error *error)
{
    const dray_module_source source = {.struct_bytes = sizeof(source), .path = path};
    const dray_module_options options = {.struct_bytes = sizeof(options),
                                         .policy = &bench_module_policy};
    dray_status status =
        dray_module_load(state->context, "elf", &source, &options, &state->module, error);
    if (status == DRAY_OK)
        status = dray_module_get_function(state->module, "add_one", false, &state->function, error);
    if (status != DRAY_OK)
        return status;
    state->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    void *found = state->library ? dlsym(state->library, "__tvm_ffi_add_one") : NULL;
    if (!found)
        return dray_fail(error, DRAY_E_FAILED, "dlopen %s: it does not work here", path);
    memcpy(&state->bare, &found, sizeof(found));
    for (uint32_t round = 0; round < state->options->rounds; round++) {
        state->bare_ns[round] = time_bare(state->bare);
        state->handle_ns[round] = time_handle(state->function);
        state->checked_ns[round] = time_checked(state->context, state->function);
    }
    print_calls(state);
    return lookups(state, error);
}

dray_status bench_module_calls(dray_context *context, const bench_module_options *options,
                               FILE *out, dray_error *error)
{
    char path[4096], why[256];
    call_state state = {.context = context, .options = options, .out = out};
    snprintf(path, sizeof(path), "%s/dray-bench-%ld.so", options->scratch, (long)getpid());
    if (!bench_module_make(path, 4096, why)) {
        unlink(path);
        return dray_fail(error, DRAY_E_UNSUPPORTED, "%s", why);
    }
    dray_status status = calls(&state, path, error);
    if (state.function)
        dray_object_release(&state.function->head);
    dray_module_release(state.module);
    if (state.library)
        dlclose(state.library);
    unlink(path);
    return status;
}
