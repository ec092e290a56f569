/// Three witnesses, each with its own blind spot:
///
/// - cachestat (Linux 6.5) counts a file's cached pages without a mapping; newer kernels refuse it to
///   those who neither own the file nor may write it.
/// - mincore tells the same of a mapping, on every kernel; to strangers it answers "all of it", so it is
///   believed only when the caller is none. Of anonymous memory it tells what is resident.
/// - /proc/self/pagemap has one word per page of our own address space; bit 63 says "present". It alone
///   knows whether *this process* holds a page.
#include "memory/residency.h"

#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

enum { chunk_pages = 2048 }; // bounds the buffer on the stack; mincore and pagemap take any number

static uint64_t pages_present(const drayi_os *os, int fd, const drayi_extent *pages,
                              uint64_t page_bytes)
{
    uint64_t words[chunk_pages], present = 0;
    uint64_t first = (uintptr_t)pages->at / page_bytes, count = pages->bytes / page_bytes;
    for (uint64_t done = 0; done < count;) {
        uint64_t wanted = drayi_min(chunk_pages, count - done);
        ssize_t got = os->pread(fd, words, (size_t)wanted * sizeof(words[0]),
                                (first + done) * sizeof(words[0]));
        if (got == -EINTR)
            continue;
        if (got < (ssize_t)sizeof(words[0]))
            return DRAY_UNKNOWN;
        uint64_t arrived = (uint64_t)got / sizeof(words[0]);
        for (uint64_t i = 0; i < arrived; i++)
            present += words[i] >> 63;
        done += arrived;
    }
    return present * page_bytes;
}

uint64_t drayi_mapped_bytes(drayi_env *env, const drayi_extent *pages)
{
    if (pages->bytes == 0)
        return 0;
    int fd = env->os->open("/proc/self/pagemap", O_RDONLY, 0);
    if (fd < 0)
        return DRAY_UNKNOWN;
    uint64_t mapped = pages_present(env->os, fd, pages, env->os->page_bytes());
    env->os->close(fd);
    return mapped;
}

static uint64_t resident_by_mincore(const drayi_os *os, const drayi_extent *pages)
{
    unsigned char states[chunk_pages];
    uint64_t page_bytes = os->page_bytes(), count = pages->bytes / page_bytes, resident = 0;
    for (uint64_t done = 0; done < count;) {
        uint64_t wanted = drayi_min(chunk_pages, count - done);
        int code =
            os->resident(pages->at + done * page_bytes, (size_t)(wanted * page_bytes), states);
        if (code == -EINTR)
            continue;
        if (code < 0)
            return DRAY_UNKNOWN;
        for (uint64_t i = 0; i < wanted; i++)
            resident += states[i] & 1;
        done += wanted;
    }
    return resident * page_bytes;
}

uint64_t drayi_cached_bytes(drayi_env *env, const drayi_extent *pages)
{
    const drayi_os *os = env->os;
    if (pages->bytes == 0)
        return 0;
    if (pages->fd < 0)
        return resident_by_mincore(os, pages);
    drayi_cachestat counts;
    if (os->cachestat(pages->fd, pages->file_offset, pages->bytes, &counts) == 0)
        return drayi_min(counts.cached_pages * os->page_bytes(), pages->bytes);
    return os->sees_cache(pages->fd) == 1 ? resident_by_mincore(os, pages) : DRAY_UNKNOWN;
}

/// Without cachestat only a mapping can be asked; it is made for the question, and no page of it is touched.
static uint64_t cached_by_mapping(const drayi_os *os, int fd, uint64_t offset, uint64_t bytes)
{
    uint64_t head = offset & (os->page_bytes() - 1), page_mask = os->page_bytes() - 1;
    drayi_extent pages = {.bytes = (head + bytes + page_mask) & ~page_mask, .fd = fd};
    int code;
    pages.at = os->map(NULL, (size_t)pages.bytes, PROT_READ, MAP_SHARED, fd, offset - head, &code);
    if (!pages.at)
        return DRAY_UNKNOWN;
    uint64_t resident = resident_by_mincore(os, &pages);
    os->unmap(pages.at, (size_t)pages.bytes);
    return resident == DRAY_UNKNOWN ? DRAY_UNKNOWN : drayi_min(resident, bytes);
}

uint64_t drayi_file_cached_bytes(drayi_env *env, int fd, uint64_t offset, uint64_t bytes)
{
    const drayi_os *os = env->os;
    if (bytes == 0)
        return 0;
    drayi_cachestat counts;
    if (os->cachestat(fd, offset, bytes, &counts) == 0)
        return drayi_min(counts.cached_pages * os->page_bytes(), bytes);
    return os->sees_cache(fd) == 1 ? cached_by_mapping(os, fd, offset, bytes) : DRAY_UNKNOWN;
}

void drayi_residency(drayi_env *env, const drayi_extent *extent, dray_residency *out)
{
    drayi_extent pages = drayi_extent_outwards(extent, env->os->page_bytes());
    *out = (dray_residency){
        .bytes = pages.bytes,
        .mapped_bytes = drayi_mapped_bytes(env, &pages),
        .cached_bytes = drayi_cached_bytes(env, &pages),
        .locked_bytes = 0,
    };
}
