/// The pattern is a hash of the offset's 8-byte word, so that no two pages look alike.
#include "test_file.h"

#include "os/os.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

uint8_t test_file_byte(uint64_t offset)
{
    uint64_t word = (offset / 8 + 1) * 0x9E3779B97F4A7C15u;
    return (uint8_t)(word >> (56 - offset % 8 * 7));
}

const char *test_file_folder(void)
{
    const char *folder = getenv("TMPDIR");
    return folder ? folder : "/tmp";
}

const char *test_file_path(const char *name)
{
    static char paths[16][512];
    static unsigned next;
    char *path = paths[next++ % 16];
    snprintf(path, sizeof(paths[0]), "%s/dray-%ld-%s", test_file_folder(), (long)getpid(), name);
    return path;
}

const char *test_file_write(const char *name, const void *content, uint64_t bytes)
{
    const char *path = test_file_path(name);
    unlink(path);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert(fd >= 0);
    assert(drayi_pwrite_all(&drayi_os_linux, fd, path, content, bytes, 0, NULL) == DRAY_OK);
    fsync(fd);
    close(fd);
    return path;
}

const char *test_file_make(const char *name, uint64_t bytes)
{
    uint8_t *content = malloc(bytes ? bytes : 1);
    assert(content);
    for (uint64_t i = 0; i < bytes; i++)
        content[i] = test_file_byte(i);
    const char *path = test_file_write(name, content, bytes);
    free(content);
    return path;
}

bool test_file_same(const uint8_t *bytes, uint64_t offset, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        if (bytes[i] != test_file_byte(offset + i))
            return false;
    }
    return true;
}

bool test_file_make_cold(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert(fd >= 0);
    fsync(fd);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    drayi_cachestat counts = {0};
    bool cold = drayi_os_linux.cachestat(fd, 0, 0, &counts) < 0 || counts.cached_pages == 0;
    close(fd);
    return cold;
}
