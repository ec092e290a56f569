/// Copying past the caches: for targets so large that they would only push everything else out.
#ifndef DRAY_BACKEND_COPY_STREAM_H
#define DRAY_BACKEND_COPY_STREAM_H

#include "dray/spi/backend.h"

#include <stddef.h>
#include <stdint.h>

/// As memcpy. What it wrote is visible to other threads like any other store when it returns.
typedef void (*drayi_copy_fn)(uint8_t *target, const uint8_t *source, size_t bytes);

/// `runs` runs of whole lines: run_bytes, the target and its stride are multiples of DRAYI_LINE_BYTES. Others
/// see what it wrote only after `settle`: after every few runs that would cost more than the copying.
typedef void (*drayi_scatter_fn)(uint8_t *target, const uint8_t *source, const dray_loop *loop,
                                 uint64_t runs, size_t run_bytes);

#define DRAYI_LINE_BYTES 64

typedef struct drayi_stream {
    drayi_copy_fn copy;
    drayi_scatter_fn scatter; // NULL where copy is memcpy
    void (*settle)(void);
    const char *name; // "AVX2", "SSE2", or NULL: this machine has no such stores, copy is memcpy
} drayi_stream;

/// The best of what this CPU has.
drayi_stream drayi_stream_choose(void);
/// The variant with this name, for tests; copy is NULL when the CPU does not have it.
drayi_stream drayi_stream_named(const char *name);

#endif
