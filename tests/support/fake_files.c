#include "fake_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

fake_file fake_files[FAKE_FILES];
uint64_t fake_files_open;

/// fd = base + 2 * file + (1 for direct)
enum { fd_base = 1 << 20 };

static fake_file *file_of(int fd)
{
    return fd >= fd_base ? &fake_files[(fd - fd_base) / 2] : NULL;
}

static int fake_open(const char *path, int flags, mode_t mode)
{
    unsigned index;
    if (sscanf(path, "fake:%u", &index) != 1 || index >= FAKE_FILES)
        return drayi_os_linux.open(path, flags, mode);
    fake_files_open++;
    return fd_base + 2 * (int)index;
}

static int fake_close(int fd)
{
    if (!file_of(fd))
        return drayi_os_linux.close(fd);
    fake_files_open--;
    return 0;
}

static int fake_reopen(int fd, int flags)
{
    const fake_file *file = file_of(fd);
    if (!file)
        return drayi_os_linux.reopen(fd, flags);
    if ((flags & O_DIRECT) && file->direct_offset_align == 0)
        return -EINVAL;
    fake_files_open++;
    return flags & O_DIRECT ? fd | 1 : fd;
}

static int fake_facts(int fd, drayi_file_facts *out)
{
    const fake_file *file = file_of(fd);
    if (!file)
        return drayi_os_linux.facts(fd, out);
    *out = (drayi_file_facts){.bytes = file->count,
                              .device = 77,
                              .inode = (uint64_t)(file - fake_files) + 1,
                              .mode = S_IFREG | 0600,
                              .block_bytes = 4096,
                              .direct_known = true,
                              .direct_memory_align = file->direct_memory_align,
                              .direct_offset_align = file->direct_offset_align};
    return 0;
}

static bool refused(int fd, fake_file *file, const void *buffer, size_t bytes, uint64_t offset)
{
    bool direct = fd & 1;
    file->direct_calls += direct;
    file->buffered_calls += !direct;
    return direct && (bytes % file->direct_offset_align || offset % file->direct_offset_align ||
                      (uintptr_t)buffer % file->direct_memory_align);
}

static size_t inside(const fake_file *file, size_t bytes, uint64_t offset)
{
    if (offset >= file->count)
        return 0;
    return bytes < file->count - offset ? bytes : (size_t)(file->count - offset);
}

static ssize_t fake_pread(int fd, void *buffer, size_t bytes, uint64_t offset)
{
    fake_file *file = file_of(fd);
    if (!file)
        return drayi_os_linux.pread(fd, buffer, bytes, offset);
    if (refused(fd, file, buffer, bytes, offset))
        return -EINVAL;
    size_t count = inside(file, bytes, offset);
    if (count)
        memcpy(buffer, file->bytes + offset, count);
    return (ssize_t)count;
}

static ssize_t fake_pwrite(int fd, const void *buffer, size_t bytes, uint64_t offset)
{
    fake_file *file = file_of(fd);
    if (!file)
        return drayi_os_linux.pwrite(fd, buffer, bytes, offset);
    if (refused(fd, file, buffer, bytes, offset))
        return -EINVAL;
    size_t count = inside(file, bytes, offset);
    if (count)
        memcpy(file->bytes + offset, buffer, count);
    return count || bytes == 0 ? (ssize_t)count : -ENOSPC;
}

drayi_os fake_files_os(void)
{
    drayi_os os = drayi_os_linux;
    os.open = fake_open;
    os.close = fake_close;
    os.reopen = fake_reopen;
    os.facts = fake_facts;
    os.pread = fake_pread;
    os.pwrite = fake_pwrite;
    return os;
}
