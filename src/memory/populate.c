/// Faulting pages in costs more than reading them from a fast disk when it happens inside the read
/// (measured 1.4 against 3.5 GB/s), and it needs no I/O: so it is a job of its own that runs ahead.
///
/// MADV_POPULATE_WRITE (Linux 5.14) does it in the kernel. It is asked for 2 MiB at a time, so that the
/// address space's lock is given back in between. Older kernels get an atomic `or 0` per page: a write
/// that changes nothing, whatever the I/O puts there meanwhile.
#include "memory/populate.h"

#include "base/checked.h"
#include "memory/region.h"
#include "os/os.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

enum { chunk_bytes = 2 << 20 };

static void touch_pages(uint8_t *at, uint64_t bytes, uint64_t page_bytes)
{
    for (uint64_t done = 0; done < bytes; done += page_bytes)
        __atomic_fetch_or(at + done, 0, __ATOMIC_RELAXED);
}

dray_status drayi_populate_pages(drayi_env *env, const drayi_extent *pages, dray_error *error)
{
    const drayi_os *os = env->os;
    for (uint64_t done = 0; done < pages->bytes;) {
        uint8_t *at = pages->at + done;
        uint64_t to_boundary = chunk_bytes - ((uintptr_t)at & (chunk_bytes - 1));
        uint64_t bytes = drayi_min(to_boundary, pages->bytes - done);
        int code = os->advise(at, (size_t)bytes, MADV_POPULATE_WRITE);
        if (code == -EINTR || code == -EAGAIN)
            continue;
        if (code == -EINVAL)
            touch_pages(at, bytes, os->page_bytes());
        else if (code < 0)
            return dray_fail_os(error, -code, "madvise",
                                "fault in %" PRIu64 " of %" PRIu64 " bytes of %s", bytes,
                                pages->bytes, pages->name);
        done += bytes;
    }
    return DRAY_OK;
}

dray_status drayi_region_populate(drayi_env *env, dray_region *region, uint64_t offset,
                                  uint64_t bytes, dray_error *error)
{
    const dray_region_native *native = &region->native;
    if (!drayi_inside(offset, bytes, native->bytes))
        return dray_fail(error, DRAY_E_INVALID,
                         "fault in %s: %" PRIu64 " bytes at %" PRIu64 " leave a region of %" PRIu64
                         " bytes",
                         native->name, bytes, offset, native->bytes);
    if (!native->pointer || bytes == 0)
        return DRAY_OK;
    drayi_extent part = {
        .name = native->name, .at = (uint8_t *)native->pointer + offset, .bytes = bytes, .fd = -1};
    drayi_extent pages = drayi_extent_outwards(&part, env->os->page_bytes());
    return drayi_populate_pages(env, &pages, error);
}
