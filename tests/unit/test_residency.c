/// Residency: three witnesses, and "unknown" when none of them may speak. Also the page arithmetic and
/// the sets of ranges under it.
#include "core/context.h"
#include "memory/extent.h"
#include "memory/prefetch.h"
#include "memory/range_set.h"
#include "memory/residency.h"
#include "os/os.h"
#include "support/fault_os.h"
#include "support/test_file.h"
#include "support/testing.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { file_bytes = 1 << 20, page = 4096 };

typedef struct mapped_file {
    drayi_env env;
    drayi_os os;
    const char *path;
    drayi_extent extent;
} mapped_file;

static mapped_file open_mapped(const char *name, uint64_t loaded_bytes)
{
    mapped_file f = {.os = drayi_os_linux, .path = test_file_make(name, file_bytes)};
    test_file_make_cold(f.path);
    int fd = open(f.path, O_RDONLY | O_CLOEXEC), code;
    posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM); // no read-ahead: exactly what is touched comes
    uint8_t *at = drayi_os_linux.map(NULL, file_bytes, PROT_READ, MAP_SHARED, fd, 0, &code);
    assert_non_null(at);
    madvise(at, file_bytes, MADV_RANDOM);
    f.extent =
        (drayi_extent){.name = f.path, .at = at, .bytes = file_bytes, .fd = fd, .to_file_end = true};
    for (uint64_t i = 0; i < loaded_bytes; i += page)
        assert_int_equal(at[i], test_file_byte(i));
    return f;
}

static void close_mapped(mapped_file *f)
{
    munmap(f->extent.at, f->extent.bytes);
    close(f->extent.fd);
    unlink(f->path);
}

static int absent(int fd, uint64_t offset, uint64_t bytes, drayi_cachestat *out)
{
    (void)fd;
    (void)offset;
    (void)bytes;
    (void)out;
    return -ENOSYS;
}

static int stranger(int fd)
{
    (void)fd;
    return 0;
}

static int no_pagemap(const char *path, int flags, mode_t mode)
{
    return strcmp(path, "/proc/self/pagemap") == 0 ? -EACCES
                                                   : drayi_os_linux.open(path, flags, mode);
}

static void all_witnesses_agree(void **state)
{
    (void)state;
    mapped_file f = open_mapped("agree", 40 * page);
    f.env.os = &f.os;
    dray_residency by_cachestat, by_mincore;
    drayi_residency(&f.env, &f.extent, &by_cachestat);
    f.os.cachestat = absent;
    drayi_residency(&f.env, &f.extent, &by_mincore);
    assert_int_equal(by_cachestat.bytes, file_bytes);
    assert_true(by_cachestat.cached_bytes >= 40 * page);
    assert_int_equal(by_cachestat.cached_bytes, by_mincore.cached_bytes);
    if (by_mincore.mapped_bytes != DRAY_UNKNOWN)
        assert_in_range(by_mincore.mapped_bytes, 40 * page, by_mincore.cached_bytes);
    close_mapped(&f);
}

static void a_file_is_asked_without_a_mapping_of_ours(void **state)
{
    (void)state;
    mapped_file f = open_mapped("unmapped", 40 * page);
    f.env.os = &f.os;
    uint64_t by_cachestat = drayi_file_cached_bytes(&f.env, f.extent.fd, 3, 39 * page);
    assert_true(by_cachestat >= 38 * page && by_cachestat <= 39 * page);
    f.os.cachestat = absent;
    assert_int_equal(drayi_file_cached_bytes(&f.env, f.extent.fd, 3, 39 * page), by_cachestat);
    assert_int_equal(drayi_file_cached_bytes(&f.env, f.extent.fd, 3, 0), 0);
    f.os.sees_cache = stranger;
    assert_int_equal(drayi_file_cached_bytes(&f.env, f.extent.fd, 3, 39 * page), DRAY_UNKNOWN);
    close_mapped(&f);
}

static void a_stranger_without_cachestat_is_told_unknown(void **state)
{
    (void)state;
    mapped_file f = open_mapped("stranger", 10 * page);
    f.env.os = &f.os;
    f.os.cachestat = absent;
    f.os.sees_cache = stranger; // mincore would answer "all of it"
    dray_residency now;
    drayi_residency(&f.env, &f.extent, &now);
    assert_int_equal(now.cached_bytes, DRAY_UNKNOWN);
    close_mapped(&f);
}

static void without_pagemap_mapped_bytes_are_unknown(void **state)
{
    (void)state;
    mapped_file f = open_mapped("no-pagemap", 10 * page);
    f.env.os = &f.os;
    f.os.open = no_pagemap;
    dray_residency now;
    drayi_residency(&f.env, &f.extent, &now);
    assert_int_equal(now.mapped_bytes, DRAY_UNKNOWN);
    assert_true(now.cached_bytes >= 10 * page);
    close_mapped(&f);
}

static void untouched_memory_is_not_resident(void **state)
{
    (void)state;
    drayi_env env = {.os = &drayi_os_linux};
    const uint64_t bytes = 16 << 20; // several chunks of the scan
    uint8_t *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(at, MAP_FAILED);
    madvise(at, bytes, MADV_NOHUGEPAGE);
    at[0] = at[9 << 20] = at[bytes - 1] = 1;
    drayi_extent extent = {.name = "memory", .at = at + 10, .bytes = bytes - 10, .fd = -1};
    dray_residency now;
    drayi_residency(&env, &extent, &now);
    assert_int_equal(now.bytes, bytes);
    assert_int_equal(now.cached_bytes, 3 * page);
    assert_true(now.mapped_bytes == 3 * page || now.mapped_bytes == DRAY_UNKNOWN);
    munmap(at, bytes);
}

static void pages_are_rounded_both_ways(void **state)
{
    (void)state;
    uint8_t *base = (uint8_t *)(uintptr_t)0x100000;
    drayi_extent whole = {
        .at = base, .bytes = 5 * page + 100, .fd = 3, .file_offset = 8 * page, .to_file_end = true};

    drayi_extent part = drayi_extent_part(&whole, 100, 2 * page); // [100, 2p + 100)
    drayi_extent out = drayi_extent_outwards(&part, page), in = drayi_extent_inwards(&part, page);
    assert_ptr_equal(out.at, base);
    assert_int_equal(out.bytes, 3 * page);
    assert_int_equal(out.file_offset, 8 * page);
    assert_ptr_equal(in.at, base + page);
    assert_int_equal(in.bytes, page);
    assert_int_equal(in.file_offset, 9 * page);

    part = drayi_extent_part(&whole, 10, 100); // inside one page
    assert_int_equal(drayi_extent_outwards(&part, page).bytes, page);
    assert_int_equal(drayi_extent_inwards(&part, page).bytes, 0);

    part = drayi_extent_part(&whole, 5 * page, 100); // the file's last page is the file's alone
    assert_int_equal(drayi_extent_inwards(&part, page).bytes, page);
    whole.to_file_end = false; // but not when the file goes on
    part = drayi_extent_part(&whole, 5 * page, 100);
    assert_int_equal(drayi_extent_inwards(&part, page).bytes, 0);

    part = drayi_extent_part(&whole, page, 0);
    assert_int_equal(drayi_extent_outwards(&part, page).bytes, 0);
    assert_int_equal(drayi_extent_inwards(&part, page).bytes, 0);
}

static void a_set_of_ranges_is_what_a_bitmap_would_be(void **state)
{
    dray_context *context;
    (void)state;
    assert_int_equal(dray_context_create(NULL, &context, NULL), DRAY_OK);
    drayi_env *env = drayi_env_of(context);
    drayi_range_set set = {0};
    bool bitmap[64] = {false};
    uint32_t random = 12345;
    for (int round = 0; round < 20000; round++) {
        random = random * 1664525 + 1013904223;
        uint64_t first = (random >> 8) % 65, end = (random >> 16) % 65;
        bool add = random >> 31;
        assert_int_equal(drayi_range_set_reserve(env, &set, NULL), DRAY_OK);
        if (add)
            drayi_range_set_add(&set, first, end);
        else
            drayi_range_set_remove(&set, first, end);
        for (uint64_t i = first; i < end; i++)
            bitmap[i] = add;
        uint64_t wanted = 0, from = (random >> 4) % 64;
        for (uint64_t i = from; i < 64; i++)
            wanted += bitmap[i];
        assert_int_equal(drayi_range_set_bytes(&set, from, 64), wanted);
        for (uint64_t i = 0; i < set.count; i++) // sorted, not empty, not touching
            assert_true(set.ranges[i].first < set.ranges[i].end &&
                        (i == 0 || set.ranges[i - 1].end < set.ranges[i].first));
    }
    drayi_range_set_free(env, &set);
    dray_context_destroy(context);
}

static int slow_sysfs(const char *path, int flags, mode_t mode)
{
    if (strncmp(path, "/sys/dev/block/", 15) == 0)
        return -ENOENT; // NFS and overlay have no block device
    return drayi_os_linux.open(path, flags, mode);
}

static void the_read_ahead_limit_has_three_sources_and_a_default(void **state)
{
    (void)state;
    drayi_os os = drayi_os_linux;
    drayi_env env = {.os = &os};
    const char *path = test_file_make("read-ahead", 100);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint64_t by_disk = drayi_read_ahead_bytes(&env, fd);
    assert_in_range(by_disk, 64 << 10, 64 << 20);
    os.open = slow_sysfs;
    assert_in_range(drayi_read_ahead_bytes(&env, fd), 64 << 10,
                    by_disk); // the bdi of the same device knows no longest request
    assert_int_equal(drayi_read_ahead_bytes(&env, -1), 128 << 10);
    close(fd);
    unlink(path);
}

static unsigned asked_ahead, populated;

static int counting_advise(void *at, size_t bytes, int advice)
{
    asked_ahead += advice == MADV_WILLNEED;
    populated += advice == 22; // MADV_POPULATE_READ
    return drayi_os_linux.advise(at, bytes, advice);
}

static void only_a_device_that_reads_ahead_little_is_asked_ahead(void **state)
{
    (void)state;
    drayi_os os = drayi_os_linux;
    drayi_env env = {.os = &os};
    const uint64_t bytes = 1 << 20;
    const char *path = test_file_make("asked-ahead", bytes);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint8_t *at = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    drayi_extent extent = {.name = "it", .at = at, .bytes = bytes, .fd = fd};
    os.advise = counting_advise;
    os.open = slow_sysfs; // the bdi's number, or the default of 128 KiB
    uint64_t chunk = drayi_read_ahead_bytes(&env, fd), chunks = (bytes + chunk - 1) / chunk;
    asked_ahead = populated = 0;
    assert_int_equal(drayi_prefetch(&env, &extent, NULL, NULL, NULL), DRAY_OK);
    assert_int_equal(populated, chunks);
    assert_int_equal(asked_ahead, chunk < 1 << 20 ? chunks : 0);
    assert_true(test_file_same(at, 0, bytes));
    munmap(at, bytes);
    close(fd);
    unlink(path);
}

// --- several stretches at once -------------------------------------------------------------------------

static int no_sysfs(const char *path, int flags, mode_t mode)
{
    return strncmp(path, "/sys/", 5) == 0 ? -ENOENT : drayi_os_linux.open(path, flags, mode);
}

enum { stretched_bytes = (8 << 20) + 777 }; // 65 chunks of 128 KiB

/// A mapped file and a context with threads, whose devices tell nothing of themselves.
typedef struct stretched {
    drayi_os os;
    dray_context *context;
    const char *path;
    int fd;
    drayi_extent extent;
    uint64_t told, total, calls, stop_at;
    bool went_back;
} stretched;

static void stretched_open(stretched *s)
{
    dray_context_options options = {.struct_bytes = sizeof(options), .thread_count = 3};
    *s = (stretched){.os = drayi_os_linux, .stop_at = UINT64_MAX};
    s->os.open = no_sysfs;
    s->path = test_file_make("stretched", stretched_bytes);
    test_file_make_cold(s->path);
    s->fd = open(s->path, O_RDONLY | O_CLOEXEC);
    uint8_t *at = mmap(NULL, stretched_bytes, PROT_READ, MAP_SHARED, s->fd, 0);
    assert_true(at != MAP_FAILED);
    s->extent = (drayi_extent){.name = "it",
                               .at = at + 100,
                               .bytes = stretched_bytes - 100,
                               .fd = s->fd,
                               .file_offset = 100};
    assert_int_equal(drayi_context_create_with(&options, &s->os, &s->context, NULL), DRAY_OK);
}

static void stretched_close(stretched *s)
{
    dray_context_destroy(s->context);
    munmap(s->extent.at - 100, stretched_bytes);
    close(s->fd);
    unlink(s->path);
}

static bool on_stretched(void *self, uint64_t done, uint64_t total)
{
    stretched *s = self;
    s->went_back |= done < s->told;
    s->told = done;
    s->total = total;
    return ++s->calls < s->stop_at;
}

static void a_long_prefetch_is_dealt_to_threads_and_all_of_it_arrives(void **state)
{
    (void)state;
    stretched s;
    stretched_open(&s);
    assert_int_equal(drayi_prefetch(drayi_env_of(s.context), &s.extent, on_stretched, &s, NULL),
                     DRAY_OK);
    dray_residency now;
    drayi_residency(drayi_env_of(s.context), &s.extent, &now);
    assert_true(now.cached_bytes == DRAY_UNKNOWN || now.cached_bytes == now.bytes);
    assert_true(now.mapped_bytes == DRAY_UNKNOWN || now.mapped_bytes == now.bytes);
    assert_int_equal(s.told, s.extent.bytes);
    assert_int_equal(s.total, s.extent.bytes);
    assert_false(s.went_back);
    assert_true(test_file_same(s.extent.at, 100, s.extent.bytes));
    stretched_close(&s);
}

static void a_long_prefetch_can_be_stopped(void **state)
{
    (void)state;
    stretched s;
    stretched_open(&s);
    dray_error error = {.message = ""};
    s.stop_at = 2;
    assert_int_equal(drayi_prefetch(drayi_env_of(s.context), &s.extent, on_stretched, &s, &error),
                     DRAY_E_CANCELLED);
    assert_int_equal(s.calls, 2);
    assert_non_null(strstr(error.message, "stopped after"));
    stretched_close(&s);
}

static void of_several_missing_parts_the_first_is_named(void **state)
{
    (void)state;
    stretched s;
    stretched_open(&s);
    dray_error error = {.message = ""};
    assert_int_equal(truncate(s.path, 3 << 20), 0); // the last three stretches end too early
    assert_int_equal(drayi_prefetch(drayi_env_of(s.context), &s.extent, NULL, NULL, &error),
                     DRAY_E_CORRUPT);
    if (!strstr(error.message, "file ends at 3145728"))
        fail_msg("%s", error.message);
    stretched_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_witnesses_agree),
        cmocka_unit_test(a_file_is_asked_without_a_mapping_of_ours),
        cmocka_unit_test(a_stranger_without_cachestat_is_told_unknown),
        cmocka_unit_test(without_pagemap_mapped_bytes_are_unknown),
        cmocka_unit_test(untouched_memory_is_not_resident),
        cmocka_unit_test(pages_are_rounded_both_ways),
        cmocka_unit_test(a_set_of_ranges_is_what_a_bitmap_would_be),
        cmocka_unit_test(the_read_ahead_limit_has_three_sources_and_a_default),
        cmocka_unit_test(only_a_device_that_reads_ahead_little_is_asked_ahead),
        cmocka_unit_test(a_long_prefetch_is_dealt_to_threads_and_all_of_it_arrives),
        cmocka_unit_test(a_long_prefetch_can_be_stopped),
        cmocka_unit_test(of_several_missing_parts_the_first_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
