/// Copying past the caches: for targets so large that they would only push everything else out.
#ifndef DRAY_BACKEND_COPY_STREAM_H
#define DRAY_BACKEND_COPY_STREAM_H

#include <stddef.h>
#include <stdint.h>

/// As memcpy. What it wrote is visible to other threads like any other store when it returns.
typedef void (*drayi_copy_fn)(uint8_t *target, const uint8_t *source, size_t bytes);

typedef struct drayi_stream {
    drayi_copy_fn copy;
    const char *name; // "AVX2", "SSE2", or NULL: this machine has no such stores, copy is memcpy
} drayi_stream;

/// The best of what this CPU has.
drayi_stream drayi_stream_choose(void);
/// The variant with this name, for tests; copy is NULL when the CPU does not have it.
drayi_stream drayi_stream_named(const char *name);

#endif
