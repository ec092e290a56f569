/// Reading is in doubling steps: small files cost one small read, large heads few of them.
///
/// Most of the time that a large head takes goes into faulting its memory in, page by page. So what lies
/// behind the first step stands at the begin of a huge page (700 KB: 0.07 ms instead of 0.27 ms), and
/// what a small file needs stands in ordinary pages in front of it.
#include "weights/head.h"

#include "base/checked.h"
#include "os/os.h"

#include <inttypes.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

enum {
    step_first = 64 << 10,
    step_largest = 64 << 20, // beyond it, steps grow no more: a head of 100 MB is the largest known
    populate_from = 256 << 10,   // one call that faults a run of pages in beats a fault for each
    huge_from = 256 << 10,       // smaller files stay in ordinary pages
    huge_most = 4 << 20,         // huge pages far larger than the head would waste memory
    reservation_least = 64 << 10 // below it a head is not worth having
};

static const uint64_t reservation_most = UINT64_C(4) << 30;

/// Maps `wanted` bytes of address space. With `huge`: behind the first step begins a huge page.
static int head_map(drayi_head *head, uint64_t wanted, uint64_t huge)
{
    const drayi_os *os = head->env->os;
    int code = 0;
    uint64_t mapped = wanted + 2 * huge;
    uint8_t *at = os->map(NULL, (size_t)mapped, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0, &code);
    if (!at)
        return code;
    head->mapping = at;
    head->mapping_bytes = mapped;
    head->huge_bytes = huge;
    head->reserved = at;
    head->reserved_bytes = wanted;
    if (huge) {
        uintptr_t aligned = ((uintptr_t)at + step_first + huge - 1) & ~(uintptr_t)(huge - 1);
        head->reserved = at + (aligned - step_first - (uintptr_t)at);
        os->advise((void *)aligned, (size_t)((uintptr_t)at + mapped - aligned), MADV_HUGEPAGE);
    }
    head->bytes = head->reserved;
    return 0;
}

/// Address space only. Where even that is limited (RLIMIT_AS, strict overcommit) less is reserved.
static dray_status head_reserve(drayi_head *head, dray_error *error)
{
    const drayi_os *os = head->env->os;
    uint64_t page = os->page_bytes(), huge = os->huge_page_bytes();
    uint64_t wanted = drayi_max(drayi_min(head->file_bytes, reservation_most), 1);
    if (!drayi_round_up(wanted, page, &wanted))
        return dray_fail(error, DRAY_E_NOMEM, "read the head of %s: its size overflows", head->path);
    for (;;) {
        bool pays = wanted >= huge_from && huge > step_first && huge < wanted + huge_most;
        int code = head_map(head, wanted, pays ? huge : 0);
        if (code == 0)
            return DRAY_OK;
        if (wanted <= reservation_least)
            return dray_fail_os(error, -code, "mmap",
                                "read the head of %s: %" PRIu64 " bytes of address space",
                                head->path, wanted);
        wanted = drayi_max(drayi_round_down(wanted / 2, page), page);
    }
}

dray_status drayi_head_open_fd(drayi_head *head, drayi_env *env, int fd, uint64_t base,
                               const char *path, uint64_t file_bytes, dray_error *error)
{
    *head = (drayi_head){.env = env, .path = path, .file_bytes = file_bytes, .fd = fd, .base = base};
    return head_reserve(head, error);
}

void drayi_head_open_memory(drayi_head *head, drayi_env *env, const uint8_t *bytes,
                            const char *path, uint64_t file_bytes)
{
    *head = (drayi_head){.env = env,
                         .path = path,
                         .bytes = bytes,
                         .available = file_bytes,
                         .file_bytes = file_bytes,
                         .fd = -1};
}

/// Where reading should go on to when `upto` is wanted: twice what is there, in whole steps.
static uint64_t head_target(const drayi_head *head, uint64_t upto)
{
    uint64_t step = drayi_min(drayi_max(head->available, step_first), step_largest);
    uint64_t target = drayi_max(upto, head->available + step);
    if (!drayi_round_up(target, step_first, &target))
        target = upto;
    return drayi_min(target, drayi_min(head->file_bytes, head->reserved_bytes));
}

static dray_status head_read(drayi_head *head, uint64_t bytes, dray_error *error)
{
    const drayi_os *os = head->env->os;
    uint8_t *at = head->reserved + head->available;
    uint64_t page = os->page_bytes();
    uint64_t first = drayi_round_down(head->available + page - 1, page),
             end = head->available + bytes;
    if (bytes >= populate_from &&
        !head->huge_bytes) // only advice: what is not faulted in here is faulted in by the read
        os->advise(head->reserved + first, (size_t)(end - first), MADV_POPULATE_WRITE);
    head->read_bytes += bytes;
    return drayi_pread_all(os, head->fd, head->path, at, bytes, head->base + head->available, NULL,
                           error);
}

dray_status drayi_head_need(drayi_head *head, uint64_t upto, dray_error *error)
{
    if (upto <= head->available)
        return DRAY_OK;
    if (upto > head->file_bytes)
        return dray_fail(error, DRAY_E_CORRUPT,
                         "read the head of %s: %" PRIu64 " bytes wanted, the file has %" PRIu64,
                         head->path, upto, head->file_bytes);
    if (upto > head->reserved_bytes)
        return dray_fail(error, DRAY_E_NOMEM,
                         "read the head of %s: %" PRIu64 " bytes wanted, %" PRIu64
                         " bytes of address space were to be had",
                         head->path, upto, head->reserved_bytes);
    uint64_t target = head_target(head, upto);
    dray_status status = head_read(head, target - head->available, error);
    if (status != DRAY_OK)
        return dray_fail_within(error, status, "read the head of %s", head->path);
    head->available = target;
    return DRAY_OK;
}

void drayi_head_settle(drayi_head *head)
{
    if (!head->mapping)
        return;
    uint64_t grain = head->huge_bytes ? head->huge_bytes : head->env->os->page_bytes(), kept;
    uint64_t first = (uint64_t)(head->reserved - head->mapping); // a huge page is not cut in two
    if (!drayi_round_up(first + drayi_max(head->available, 1), grain, &kept))
        return;
    kept += head->huge_bytes; // the mapping itself need not begin at one
    if (kept >= head->mapping_bytes)
        return;
    if (head->env->os->unmap(head->mapping + kept, (size_t)(head->mapping_bytes - kept)) != 0)
        return;
    head->mapping_bytes = kept;
    head->reserved_bytes = drayi_min(head->reserved_bytes, kept - first);
}

void drayi_head_close(drayi_head *head)
{
    if (head->mapping)
        head->env->os->unmap(head->mapping, (size_t)head->mapping_bytes);
    *head = (drayi_head){.fd = -1};
}
