/// Bookkeeping memory, logging and size-first options over a drayi_env.
#include "base/env.h"

#include "base/checked.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static void *alloc_raw(drayi_env *env, size_t bytes, dray_error *error)
{
    void *pointer = env->allocator.alloc(env->allocator.self, bytes);
    if (!pointer)
        dray_fail(error, DRAY_E_NOMEM, "out of memory: %zu bytes of bookkeeping wanted", bytes);
    return pointer;
}

void *drayi_alloc(drayi_env *env, size_t bytes, dray_error *error)
{
    size_t wanted = bytes ? bytes : 1;
    void *pointer = alloc_raw(env, wanted, error);
    return pointer ? memset(pointer, 0, wanted) : NULL;
}

static bool array_bytes(uint64_t count, size_t bytes, size_t *out_total, dray_error *error)
{
    uint64_t total;
    if (!drayi_mul(count, bytes, &total) || total > SIZE_MAX) {
        dray_fail(error, DRAY_E_NOMEM, "out of memory: %" PRIu64 " entries of %zu bytes overflow",
                  count, bytes);
        return false;
    }
    *out_total = (size_t)total;
    return true;
}

void *drayi_alloc_array(drayi_env *env, uint64_t count, size_t bytes, dray_error *error)
{
    size_t total;
    return array_bytes(count, bytes, &total, error) ? drayi_alloc(env, total, error) : NULL;
}

void *drayi_alloc_array_raw(drayi_env *env, uint64_t count, size_t bytes, dray_error *error)
{
    size_t total;
    return array_bytes(count, bytes, &total, error) ? alloc_raw(env, total ? total : 1, error)
                                                    : NULL;
}

void drayi_free(drayi_env *env, void *pointer, size_t bytes)
{
    if (pointer)
        env->allocator.free(env->allocator.self, pointer, bytes ? bytes : 1);
}

dray_status drayi_grow(drayi_env *env, void **array, uint64_t *capacity, uint64_t wanted,
                       size_t entry_bytes, dray_error *error)
{
    if (wanted <= *capacity)
        return DRAY_OK;
    uint64_t grown = *capacity ? *capacity : 16;
    while (grown < wanted) {
        if (!drayi_mul(grown, 2, &grown))
            return dray_fail(error, DRAY_E_NOMEM, "out of memory: %" PRIu64 " entries wanted",
                             wanted);
    }
    void *fresh = drayi_alloc_array(env, grown, entry_bytes, error);
    if (!fresh)
        return DRAY_E_NOMEM;
    size_t old_bytes = (size_t)*capacity * entry_bytes;
    if (*array)
        memcpy(fresh, *array, old_bytes);
    drayi_free(env, *array, old_bytes);
    *array = fresh;
    *capacity = grown;
    return DRAY_OK;
}

void drayi_log(const drayi_env *env, dray_log_level level, const char *format, ...)
{
    if (!env->log.write)
        return;
    char line[512];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    env->log.write(env->log.self, level, line);
}

dray_status drayi_options(void *out, size_t known_bytes, const void *given, const char *name,
                          dray_error *error)
{
    memset(out, 0, known_bytes);
    if (!given)
        return DRAY_OK;
    size_t struct_bytes;
    memcpy(&struct_bytes, given, sizeof(struct_bytes));
    if (struct_bytes < sizeof(size_t))
        return dray_fail(error, DRAY_E_INVALID,
                         "%s: struct_bytes is %zu; set it to sizeof the struct", name, struct_bytes);
    const uint8_t *bytes = given;
    for (size_t i = known_bytes; i < struct_bytes; i++) {
        if (bytes[i] != 0)
            return dray_fail(
                error, DRAY_E_UNSUPPORTED,
                "%s: byte %zu is set, but this library (%s) knows only %zu bytes of options", name,
                i, dray_version(), known_bytes);
    }
    memcpy(out, given, struct_bytes < known_bytes ? struct_bytes : known_bytes);
    return DRAY_OK;
}
