/// Cubin, fatbin and PTX over any bytes: what is taken lies inside, and every walk ends.
#include "loader/gpu_image.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t touched;

static void touch(const void *bytes, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        touched += ((const uint8_t *)bytes)[i];
}

static void try_cubin(const uint8_t *data, size_t size)
{
    drayi_cubin cubin;
    dray_text name;
    if (drayi_cubin_read(data, size, &cubin, NULL) != DRAY_OK)
        return;
    if (cubin.bytes > size)
        abort();
    for (uint64_t i = 0; i < cubin.elf.header.e_shnum; i++) {
        if (drayi_cubin_kernel(&cubin, i, &name))
            touch(name.bytes, name.length);
    }
}

static void try_fatbin(const uint8_t *data, size_t size)
{
    uint64_t bytes, position = 0;
    drayi_fatbin_entry entry;
    if (drayi_fatbin_check(data, size, &bytes, NULL) != DRAY_OK)
        return;
    if (bytes > size)
        abort();
    while (drayi_fatbin_next(data, &position, &entry)) {
        touch(entry.bytes, entry.count);
        if (!entry.is_ptx && !entry.compressed)
            try_cubin(entry.bytes, entry.count);
    }
    if (position != bytes)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    drayi_ptx ptx;
    dray_text name;
    uint64_t position = 0;
    try_cubin(data, size);
    try_fatbin(data, size);
    if (drayi_ptx_read(data, size, &ptx, NULL) == DRAY_OK) {
        touch(ptx.version.bytes, ptx.version.length);
        touch(ptx.target.bytes, ptx.target.length);
        while (drayi_ptx_next_kernel(&ptx, &position, &name))
            touch(name.bytes, name.length);
    }
    return 0;
}
