/// Metadata of an agent: whatever is read writes itself back, and nothing is read outside.
///
/// A mutated blob rarely has the right checksum, so each input is read as it is and with its frame (size
/// and checksum) put right.
#include "transfer/agent_metadata.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void *heap_alloc(void *self, size_t bytes)
{
    (void)self;
    return malloc(bytes);
}

static void heap_free(void *self, void *pointer, size_t bytes)
{
    (void)self;
    (void)bytes;
    free(pointer);
}

static void check(const uint8_t *bytes, size_t count)
{
    drayi_env env = {.allocator = {.alloc = heap_alloc, .free = heap_free}};
    drayi_arena arena = {.env = &env};
    drayi_metadata metadata;
    dray_error error = {0};
    dray_status status = drayi_metadata_read(bytes, count, &arena, &metadata, &error);
    if (status == DRAY_OK) {
        uint8_t *again = malloc(count ? count : 1);
        if (drayi_metadata_write(&metadata, again, count) != count ||
            memcmp(again, bytes, count) != 0)
            abort();
        free(again);
    } else if (!error.message[0] || !error.rule) {
        abort();
    }
    drayi_arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1); // exactly as large: a byte too far is seen
    if (size)
        memcpy(copy, data, size);
    check(copy, size);
    if (size >= 50) {
        uint64_t total = size;
        memcpy(copy, "DRAYMETA\1\0\0\0\0\0\0\0", 16);
        memcpy(copy + 16, &total, 8);
        uint64_t sum = XXH3_64bits(copy, size - 8);
        memcpy(copy + size - 8, &sum, 8);
        check(copy, size);
    }
    free(copy);
    return 0;
}
