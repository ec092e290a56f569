/// Whole reads and writes over the table: continued after short transfers and interruptions.
#include "base/checked.h"
#include "os/os.h"

#include <errno.h>
#include <inttypes.h>

dray_status drayi_pread_all(const drayi_os *os, int fd, const char *name, void *buffer,
                            uint64_t bytes, uint64_t offset, uint64_t *out_got, dray_error *error)
{
    uint64_t got = 0;
    ssize_t count = 0;
    while (got < bytes) {
        size_t wanted = (size_t)drayi_min(bytes - got, 1u << 30);
        count = os->pread(fd, (char *)buffer + got, wanted, offset + got);
        if (count > 0)
            got += (uint64_t)count;
        else if (count != -EINTR)
            break;
    }
    if (out_got)
        *out_got = got;
    if (got == bytes)
        return DRAY_OK;
    if (count < 0)
        return dray_fail_os(error, (int)-count, "pread", "pread %s: %" PRIu64 " bytes at %" PRIu64,
                            name, bytes - got, offset + got);
    return dray_fail_rule(error, DRAY_E_CORRUPT, NULL, offset + got,
                          "pread %s: wanted %" PRIu64 " at %" PRIu64 ", file ends at %" PRIu64,
                          name, bytes, offset, offset + got);
}

dray_status drayi_pwrite_all(const drayi_os *os, int fd, const char *name, const void *buffer,
                             uint64_t bytes, uint64_t offset, dray_error *error)
{
    uint64_t done = 0;
    while (done < bytes) {
        size_t wanted = (size_t)drayi_min(bytes - done, 1u << 30);
        ssize_t count = os->pwrite(fd, (const char *)buffer + done, wanted, offset + done);
        if (count == -EINTR)
            continue;
        if (count <= 0)
            return dray_fail_os(error, count < 0 ? (int)-count : ENOSPC, "pwrite",
                                "pwrite %s: %" PRIu64 " bytes at %" PRIu64, name, bytes - done,
                                offset + done);
        done += (uint64_t)count;
    }
    return DRAY_OK;
}

dray_status drayi_open_file(const drayi_os *os, const char *path, int flags, mode_t mode,
                            int *out_fd, dray_error *error)
{
    int fd;
    do
        fd = os->open(path, flags, mode);
    while (fd == -EINTR);
    if (fd < 0)
        return dray_fail_os(error, -fd, "open", "open %s", path);
    *out_fd = fd;
    return DRAY_OK;
}

void drayi_close_file(const drayi_os *os, int fd)
{
    if (fd >= 0)
        os->close(fd);
}
