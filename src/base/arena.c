/// A chain of chunks, each twice the size of the one before up to 1 MiB; large wishes get their own.
#include "base/arena.h"

#include "base/checked.h"

#include <inttypes.h>
#include <string.h>

struct drayi_arena_chunk {
    drayi_arena_chunk *older;
    uint64_t bytes, used; // `bytes` counts this header too
};

enum { chunk_first = 4096, chunk_largest = 1 << 20, grain = 16 };

static const uint64_t header_bytes =
    (sizeof(drayi_arena_chunk) + grain - 1) & ~(uint64_t)(grain - 1);

static dray_status chunk_add(drayi_arena *arena, uint64_t wanted, dray_error *error)
{
    uint64_t bytes =
        arena->newest ? drayi_min(arena->newest->bytes * 2, chunk_largest) : chunk_first;
    uint64_t least;
    if (!drayi_add(wanted, header_bytes, &least) || least > SIZE_MAX)
        return dray_fail(error, DRAY_E_NOMEM, "out of memory: %" PRIu64 " bytes of index wanted",
                         wanted);
    bytes = drayi_max(bytes, least);
    drayi_arena_chunk *chunk = drayi_alloc(arena->env, (size_t)bytes, error);
    if (!chunk)
        return DRAY_E_NOMEM;
    chunk->older = arena->newest;
    chunk->bytes = bytes;
    chunk->used = header_bytes;
    arena->newest = chunk;
    arena->total_bytes += bytes;
    return DRAY_OK;
}

void *drayi_arena_alloc(drayi_arena *arena, uint64_t bytes, dray_error *error)
{
    uint64_t rounded;
    if (!drayi_round_up(bytes, grain, &rounded)) {
        dray_fail(error, DRAY_E_NOMEM, "out of memory: %" PRIu64 " bytes of index wanted", bytes);
        return NULL;
    }
    drayi_arena_chunk *chunk = arena->newest;
    if (!chunk || chunk->bytes - chunk->used < rounded) {
        if (chunk_add(arena, rounded, error) != DRAY_OK)
            return NULL;
        chunk = arena->newest;
    }
    void *pointer = (char *)chunk + chunk->used;
    chunk->used += rounded;
    return pointer;
}

char *drayi_arena_text(drayi_arena *arena, const char *text, uint64_t bytes, dray_error *error)
{
    char *copy = drayi_arena_alloc(arena, bytes + 1, error);
    if (copy && bytes)
        memcpy(copy, text, (size_t)bytes);
    return copy;
}

void drayi_arena_free(drayi_arena *arena)
{
    while (arena->newest) {
        drayi_arena_chunk *chunk = arena->newest;
        arena->newest = chunk->older;
        drayi_free(arena->env, chunk, (size_t)chunk->bytes);
    }
    arena->total_bytes = 0;
}
