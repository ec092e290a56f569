/// What every layer below core gets instead of the context: allocator, system calls, log, threads.
///
/// dray_context (src/core/context.c) begins with a drayi_env, so that a public function of any layer
/// reaches its environment without knowing the context's type.
#ifndef DRAY_BASE_ENV_H
#define DRAY_BASE_ENV_H

#include "dray/base.h"
#include "dray/context.h"

struct drayi_os;             // src/os/os.h: every direct system call
struct drayi_pool;           // src/os/pool.h: the threads
struct drayi_modules;        // src/module/modules.h
struct drayi_component_list; // src/core/components.h

typedef struct drayi_env {
    dray_allocator allocator;
    const struct drayi_os *os;
    struct drayi_pool *pool; // NULL: no threads, work runs in the caller
    dray_log_sink log;
    const struct dray_backend_ops *const *backends; // NULL-terminated
    const struct dray_format_ops *const *formats;   // NULL-terminated
    const struct dray_codec_ops *const *codecs;     // NULL-terminated
    const struct dray_device_ops *const *devices;   // NULL-terminated
    const struct dray_loader_ops *const *loaders;   // NULL-terminated
    struct drayi_modules *_Atomic modules; // registry and ended modules; made by the first who needs it
} drayi_env;

/// The environment inside a context (core asserts that it is the first member).
static inline drayi_env *drayi_env_of(dray_context *context)
{
    return (drayi_env *)context;
}

/// `bytes` of zeroed bookkeeping memory, or NULL with `error` saying how much was wanted.
void *drayi_alloc(drayi_env *env, size_t bytes, dray_error *error);
/// `count` x `bytes`, zeroed, checked for overflow. count or bytes 0 gives a pointer that may be freed.
void *drayi_alloc_array(drayi_env *env, uint64_t count, size_t bytes, dray_error *error);
/// The same without zeroing, for what is written before it is read.
void *drayi_alloc_array_raw(drayi_env *env, uint64_t count, size_t bytes, dray_error *error);
/// NULL is accepted. `bytes` as asked for.
void drayi_free(drayi_env *env, void *pointer, size_t bytes);
/// Grows an array to hold at least `wanted` entries (doubling); the new part is zeroed.
/// On failure the old array is untouched.
dray_status drayi_grow(drayi_env *env, void **array, uint64_t *capacity, uint64_t wanted,
                       size_t entry_bytes, dray_error *error);

#define drayi_new(env, type, error) ((type *)drayi_alloc((env), sizeof(type), (error)))

void drayi_log(const drayi_env *env, dray_log_level level, const char *format, ...)
    DRAY_PRINTF(3, 4);

/// Copies caller's size-first options into `out` (ours, `known_bytes`), zero-filling what an older
/// caller does not have. DRAY_E_INVALID: struct_bytes is 0, or a newer caller set fields we do not know.
dray_status drayi_options(void *out, size_t known_bytes, const void *given, const char *name,
                          dray_error *error);

/// Returns the failing status from the enclosing function; the only macro that returns.
#define DRAY_TRY(expression)                    \
    do {                                        \
        dray_status try_status_ = (expression); \
        if (try_status_ != DRAY_OK)             \
            return try_status_;                 \
    } while (0)

#endif
