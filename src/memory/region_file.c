/// Files as regions. One buffered descriptor, and beside it a second one of the same inode for direct
/// I/O where the file system takes it: O_DIRECT belongs to the open file, so one descriptor cannot do both.
#include "base/checked.h"
#include "memory/region.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { sector_most = 65536 }; // no disk has larger ones

/// Where the kernel does not tell how direct I/O must be aligned: like the file system's blocks, which are
/// whole sectors of the disk.
static uint32_t block_alignment(const drayi_file_facts *facts)
{
    uint32_t block = facts->block_bytes;
    return drayi_is_power_of_two(block) && block >= 512 ? (uint32_t)drayi_min(block, sector_most)
                                                        : sector_most;
}

/// Does the file system keep the file's bytes in memory and nowhere else? Unknown counts as no.
static bool lives_in_memory(const drayi_os *os, int fd)
{
    enum { tmpfs = 0x01021994 };
    static const uint64_t ramfs = 0x858458f6;
    uint64_t magic = 0;
    return os->fstatfs_magic(fd, &magic) >= 0 && (magic == tmpfs || magic == ramfs);
}

/// Direct I/O on a second open file, with the alignments the kernel names.
static void direct_open(dray_region *region, bool writable, const drayi_file_facts *facts)
{
    const drayi_os *os = region->env->os;
    if (facts->direct_known && facts->direct_offset_align == 0)
        return; // the kernel says that this file cannot
    int fd = os->reopen(region->native.fd, (writable ? O_RDWR : O_RDONLY) | O_DIRECT);
    if (fd < 0)
        return;
    region->native.direct_fd = fd;
    region->native.direct_memory_align =
        facts->direct_known ? facts->direct_memory_align : block_alignment(facts);
    region->native.direct_offset_align =
        facts->direct_known ? facts->direct_offset_align : block_alignment(facts);
}

void drayi_region_take_file(dray_region *region, int fd, uint64_t file_offset, bool writable,
                            const drayi_file_facts *facts)
{
    region->owns_files = true;
    region->native.fd = fd;
    region->native.file_offset = file_offset;
    region->file_device = facts->device;
    region->file_inode = facts->inode;
    region->native.writable = writable;
    region->native.in_memory = lives_in_memory(region->env->os, fd);
    direct_open(region, writable, facts);
}

static dray_status file_facts(const drayi_os *os, int fd, const char *path, drayi_file_facts *out,
                              dray_error *error)
{
    int code = os->facts(fd, out);
    if (code < 0)
        return dray_fail_os(error, -code, "statx", "open %s", path);
    if (!S_ISREG(out->mode) && !S_ISBLK(out->mode))
        return dray_fail(error, DRAY_E_INVALID, "open %s: %s, a region needs a regular file", path,
                         S_ISDIR(out->mode) ? "it is a directory" : "it is not a regular file");
    return DRAY_OK;
}

/// Reserves the file's blocks, by written zeros where the file system has no fallocate.
static dray_status file_reserve(const drayi_os *os, int fd, const char *path, uint64_t bytes,
                                dray_error *error)
{
    static const char zeros[1 << 16];
    if (bytes == 0)
        return DRAY_OK;
    int code;
    do
        code = os->allocate(fd, 0, bytes);
    while (code == -EINTR);
    if (code == 0)
        return DRAY_OK;
    if (code != -EOPNOTSUPP && code != -ENOSYS)
        return dray_fail_os(error, -code, "fallocate", "create %s: reserve %" PRIu64 " bytes", path,
                            bytes);
    for (uint64_t at = 0; at < bytes; at += sizeof(zeros))
        DRAY_TRY(
            drayi_pwrite_all(os, fd, path, zeros, drayi_min(sizeof(zeros), bytes - at), at, error));
    return DRAY_OK;
}

/// Does a failing creation leave a name behind that was not there before?
static bool has_new_name(const dray_file_options *options)
{
    return options->create && !options->replace && !options->anonymous;
}

/// Where the file system has no O_TMPFILE: a name nobody guesses, taken away at once.
static dray_status file_open_unnamed(const drayi_os *os, const char *folder, int *out_fd,
                                     dray_error *error)
{
    int fd;
    do
        fd = os->open(folder, O_RDWR | O_TMPFILE, 0600);
    while (fd == -EINTR);
    if (fd >= 0) {
        *out_fd = fd;
        return DRAY_OK;
    }
    if (fd != -EOPNOTSUPP && fd != -EISDIR && fd != -EINVAL)
        return dray_fail_os(error, -fd, "open", "create a file without a name in %s", folder);
    uint64_t number;
    int code = os->random(&number, sizeof(number));
    if (code < 0)
        return dray_fail_os(error, -code, "getrandom", "create a file without a name in %s", folder);
    char path[4096];
    int length = snprintf(path, sizeof(path), "%s/.dray-%016" PRIx64, folder, number);
    if (length < 0 || (size_t)length >= sizeof(path))
        return dray_fail_os(error, ENAMETOOLONG, "open", "create a file without a name in %s",
                            folder);
    DRAY_TRY(drayi_open_file(os, path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600, out_fd, error));
    code = os->unlink(path);
    if (code == 0)
        return DRAY_OK;
    drayi_close_file(os, *out_fd);
    *out_fd = -1;
    return dray_fail_os(error, -code, "unlink", "take the name of %s away", path);
}

static dray_status file_create(const drayi_os *os, const char *path,
                               const dray_file_options *options, int *out_fd, dray_error *error)
{
    int flags = O_RDWR | O_CREAT | O_NOFOLLOW | (options->replace ? 0 : O_EXCL);
    if (options->anonymous)
        DRAY_TRY(file_open_unnamed(os, path, out_fd, error));
    else
        DRAY_TRY(drayi_open_file(os, path, flags, 0600, out_fd, error));
    dray_status status = DRAY_OK;
    drayi_file_facts facts;
    if (options->replace) { // what was there must be a file of ours to truncate, not a FIFO or a device
        status = file_facts(os, *out_fd, path, &facts, error);
        int code = status == DRAY_OK ? os->truncate(*out_fd, 0) : 0;
        if (code < 0)
            status = dray_fail_os(error, -code, "ftruncate", "create %s", path);
    }
    if (status == DRAY_OK)
        status = file_reserve(os, *out_fd, path, options->bytes, error);
    if (status != DRAY_OK) {
        drayi_close_file(os, *out_fd);
        *out_fd = -1;
        if (has_new_name(options))
            os->unlink(path);
    }
    return status;
}

static dray_status file_region(drayi_env *env, int fd, const char *path, bool writable,
                               dray_region **out_region, dray_error *error)
{
    drayi_file_facts facts;
    DRAY_TRY(file_facts(env->os, fd, path, &facts, error));
    dray_region *region;
    DRAY_TRY(drayi_region_new(env, DRAY_STORAGE_DISK, facts.bytes, path, &region, error));
    drayi_region_take_file(region, fd, 0, writable, &facts);
    *out_region = region;
    return DRAY_OK;
}

dray_status dray_region_open(dray_context *context, const char *path, const dray_file_options *given,
                             dray_region **out_region, dray_error *error)
{
    drayi_env *env = drayi_env_of(context);
    dray_file_options options;
    DRAY_TRY(drayi_options(&options, sizeof(options), given, "dray_file_options", error));
    if (options.create && !options.writable)
        return dray_fail(error, DRAY_E_INVALID, "open %s: create without writable", path);
    if (!options.create && (options.replace || options.bytes || options.anonymous))
        return dray_fail(error, DRAY_E_INVALID, "open %s: replace, anonymous and bytes need create",
                         path);
    if (options.replace && options.anonymous)
        return dray_fail(error, DRAY_E_INVALID,
                         "open %s: a file without a name has nothing to replace", path);
    int fd = -1;
    if (options.create)
        DRAY_TRY(file_create(env->os, path, &options, &fd, error));
    else
        DRAY_TRY(drayi_open_file(env->os, path, options.writable ? O_RDWR : O_RDONLY | O_NONBLOCK,
                                 0, &fd, error));
    dray_status status = file_region(env, fd, path, options.writable != 0, out_region, error);
    if (status != DRAY_OK) {
        drayi_close_file(env->os, fd);
        if (has_new_name(&options))
            env->os->unlink(path);
    }
    return status;
}

dray_status dray_region_wrap_fd(dray_context *context, int fd, const char *name, uint64_t offset,
                                uint64_t bytes, dray_region **out_region, dray_error *error)
{
    drayi_env *env = drayi_env_of(context);
    char own_name[32];
    if (!name) {
        snprintf(own_name, sizeof(own_name), "fd %d", fd);
        name = own_name;
    }
    int copy = env->os->dup(fd);
    if (copy < 0)
        return dray_fail_os(error, -copy, "dup", "wrap %s", name);
    drayi_file_facts facts;
    dray_region *region = NULL;
    dray_status status = file_facts(env->os, copy, name, &facts, error);
    if (status == DRAY_OK && !drayi_inside(offset, bytes, facts.bytes))
        status =
            dray_fail(error, DRAY_E_INVALID,
                      "wrap %s: %" PRIu64 " bytes at %" PRIu64 " leave a file of %" PRIu64 " bytes",
                      name, bytes, offset, facts.bytes);
    if (status == DRAY_OK)
        status = drayi_region_new(env, DRAY_STORAGE_DISK, bytes, name, &region, error);
    if (status != DRAY_OK) {
        drayi_close_file(env->os, copy);
        return status;
    }
    drayi_region_take_file(region, copy, offset, env->os->is_writable(copy) == 1, &facts);
    *out_region = region;
    return DRAY_OK;
}
