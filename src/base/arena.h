/// Memory for many small things that die together: names, shapes, arrays of an index.
#ifndef DRAY_BASE_ARENA_H
#define DRAY_BASE_ARENA_H

#include "base/env.h"

typedef struct drayi_arena_chunk drayi_arena_chunk;

/// Zero-initialised except for env. Threads: one at a time.
typedef struct drayi_arena {
    drayi_env *env;
    drayi_arena_chunk *newest;
    uint64_t total_bytes; // asked from the allocator, for reports and tests
} drayi_arena;

/// Zeroed memory aligned to 16, valid until drayi_arena_free(); NULL: out of memory, `error` says so.
void *drayi_arena_alloc(drayi_arena *arena, uint64_t bytes, dray_error *error);
/// A copy of `bytes` bytes with a NUL behind it.
char *drayi_arena_text(drayi_arena *arena, const char *text, uint64_t bytes, dray_error *error);
void drayi_arena_free(drayi_arena *arena);

#endif
