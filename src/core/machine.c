/// What this machine gives to this process: every answer comes from trying, none from a version.
#include "base/env.h"
#include "dray/context.h"
#include "os/os.h"

#include <sys/mman.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U // since kernel 6.3
#endif

static int32_t uring_code(const drayi_os *os)
{
    struct io_uring *ring = NULL;
    int code = os->uring_open(&ring, 4);
    if (code < 0)
        return -code;
    os->uring_close(ring);
    return 0;
}

/// An fd of an empty memfd, or the negative errno.
static int memfd_open(const drayi_os *os, unsigned flags)
{
    return os->memfd("dray-probe", MFD_CLOEXEC | flags);
}

static int32_t noexec_seal_code(const drayi_os *os)
{
    int fd = memfd_open(os, MFD_NOEXEC_SEAL);
    if (fd < 0)
        return -fd;
    os->close(fd);
    return 0;
}

static int32_t cachestat_code(const drayi_os *os)
{
    int fd = memfd_open(os, 0);
    if (fd < 0)
        return -fd;
    drayi_cachestat counts;
    int code = os->cachestat(fd, 0, 0, &counts);
    os->close(fd);
    return code < 0 ? -code : 0;
}

void dray_context_get_machine(dray_context *context, dray_machine_info *out_machine)
{
    const drayi_os *os = drayi_env_of(context)->os;
    dray_machine_info machine = {
        .memory_bytes = DRAY_UNKNOWN,
        .available_bytes = DRAY_UNKNOWN,
        .cpu_count = os->cpu_count(),
        .page_bytes = os->page_bytes(),
        .huge_page_bytes = os->huge_page_bytes(),
        .lockable_bytes = DRAY_UNKNOWN,
        .lockable_bytes_max = DRAY_UNKNOWN,
        .io_uring_code = uring_code(os),
        .cachestat_code = cachestat_code(os),
        .noexec_seal_code = noexec_seal_code(os),
    };
    drayi_memory_facts memory;
    if (os->memory_facts(&memory) == 0) {
        machine.memory_bytes = memory.total_bytes;
        machine.available_bytes = memory.available_bytes;
        machine.limited_by_cgroup = memory.limited_by_cgroup;
    }
    uint64_t soft, hard;
    bool privileged;
    if (os->lock_limit(&soft, &hard, &privileged) == 0) {
        machine.lockable_bytes = soft;
        machine.lockable_bytes_max = hard;
        machine.locks_anything = privileged;
    }
    *out_machine = machine;
}
