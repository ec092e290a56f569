/// The release ladder: each rung does what it says, rounds inwards, and reports what was measured.
///
/// Measurements need a real file system under $TMPDIR: on tmpfs the page cache is the file.
#include "core/context.h"
#include "dray/model_data.h"
#include "support/fault_os.h"
#include "support/test_file.h"
#include "support/testing.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { file_bytes = (24 << 20) + 1000, file_pages_bytes = (24 << 20) + 4096 };

typedef struct fixture {
    dray_context *context;
    dray_model_data *data;
    const char *path;
    bool on_disk; // the page cache can be dropped
} fixture;

/// `as_written`: the page cache is what writing left, large folios where the file system has them.
static fixture open_file(const char *name, bool as_written)
{
    fixture f = {.path = test_file_make(name, file_bytes)};
    f.on_disk = test_file_make_cold(f.path);
    if (as_written)
        f.path = test_file_make(name, file_bytes);
    fault_os_reset();
    assert_int_equal(drayi_context_create_with(NULL, fault_os(), &f.context, NULL), DRAY_OK);
    dray_model_data_options options = {.struct_bytes = sizeof(options),
                                       .backing = DRAY_BACKING_MAPPED};
    assert_int_equal(dray_model_data_open(f.context, f.path, &options, &f.data, NULL), DRAY_OK);
    assert_int_equal(dray_model_data_prefetch(f.data, 0, 0, NULL, NULL, NULL, NULL), DRAY_OK);
    return f;
}

static fixture open_loaded(const char *name)
{
    return open_file(name, false);
}

static void close_loaded(fixture *f)
{
    assert_true(test_file_same(dray_model_data_bytes(f->data), 0,
                               file_bytes)); // whatever was released comes back
    dray_model_data_close(f->data);
    dray_context_destroy(f->context);
    unlink(f->path);
}

static dray_release_report release(fixture *f, uint64_t offset, uint64_t bytes, dray_release level)
{
    dray_release_report report;
    dray_error error = {.message = ""};
    if (dray_model_data_release(f->data, offset, bytes, level, &report, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    return report;
}

static dray_residency residency(fixture *f, uint64_t offset, uint64_t bytes)
{
    dray_residency now;
    assert_int_equal(dray_model_data_residency(f->data, offset, bytes, &now, NULL), DRAY_OK);
    return now;
}

static bool is(uint64_t measured, uint64_t wanted)
{
    return measured == wanted || measured == DRAY_UNKNOWN;
}

static void dropping_mappings_keeps_the_page_cache(void **state)
{
    (void)state;
    fixture f = open_loaded("mappings");
    dray_release_report report = release(&f, 0, 0, DRAY_RELEASE_MAPPINGS);
    assert_int_equal(report.range_bytes, file_pages_bytes);
    assert_true(is(report.unmapped_bytes, file_pages_bytes));
    assert_true(is(report.freed_bytes, 0));
    assert_true(is(report.still_cached_bytes, file_pages_bytes));
    assert_true(is(residency(&f, 0, 0).mapped_bytes, 0));
    close_loaded(&f);
}

static void cold_frees_nothing_now(void **state)
{
    (void)state;
    fixture f = open_loaded("cold");
    dray_release_report report = release(&f, 0, 0, DRAY_RELEASE_COLD);
    assert_int_equal(report.range_bytes, file_pages_bytes);
    assert_true(is(report.freed_bytes, 0));
    assert_true(is(report.still_cached_bytes, file_pages_bytes));
    close_loaded(&f);
}

static void the_cache_is_really_given_back(void **state)
{
    (void)state;
    fixture f = open_loaded("cache");
    if (!f.on_disk)
        skip();
    dray_release_report report = release(&f, 0, 0, DRAY_RELEASE_CACHE);
    assert_true(is(report.unmapped_bytes, file_pages_bytes));
    assert_true(is(report.freed_bytes, file_pages_bytes));
    assert_true(is(report.still_cached_bytes, 0));
    close_loaded(&f);
}

static void dirty_pages_are_written_back_first(void **state)
{
    (void)state;
    fixture f = open_loaded("dirty");
    if (!f.on_disk)
        skip();
    int fd = open(f.path, O_RDWR | O_CLOEXEC);
    const uint8_t *bytes = dray_model_data_bytes(f.data);
    assert_int_equal(pwrite(fd, bytes, 8 << 20, 0), 8 << 20); // the same bytes, but dirty
    dray_release_report report = release(&f, 0, 0, DRAY_RELEASE_CACHE);
    assert_true(is(report.freed_bytes, file_pages_bytes));
    assert_true(is(report.still_cached_bytes, 0));
    close(fd);
    close_loaded(&f);
}

static void a_part_is_rounded_inwards_and_leaves_its_neighbours(void **state)
{
    (void)state;
    fixture f = open_file("part", true);
    dray_release_report report = release(&f, 4096 + 1, 3 << 20, DRAY_RELEASE_MAPPINGS);
    assert_int_equal(report.range_bytes, (3 << 20) - 4096);
    assert_true(is(report.unmapped_bytes, (3 << 20) - 4096));
    report = release(&f, 100, 4000, DRAY_RELEASE_CACHE); // inside one page: no whole page of its own
    assert_int_equal(report.range_bytes, 0);
    assert_int_equal(report.freed_bytes, 0);
    if (f.on_disk) { // in the middle of large folios
        const uint64_t from = (10 << 20) + 37 * 4096, bytes = (3 << 20) + 5 * 4096;
        report = release(&f, from, bytes, DRAY_RELEASE_CACHE);
        assert_int_equal(report.range_bytes, bytes);
        assert_true(is(report.freed_bytes, bytes));
        uint64_t before = residency(&f, 0, 8 << 20).cached_bytes;
        assert_true(is(before, 8 << 20));
    }
    close_loaded(&f);
}

static void a_mapping_of_somebody_else_shows_in_the_report(void **state)
{
    (void)state;
    fixture f = open_loaded("shared");
    int fd = open(f.path, O_RDONLY | O_CLOEXEC);
    void *other = mmap(NULL, 4 << 20, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    assert_ptr_not_equal(other, MAP_FAILED);
    dray_release_report report = release(&f, 0, 4 << 20, DRAY_RELEASE_CACHE);
    assert_true(is(report.unmapped_bytes, 4 << 20));
    assert_true(is(report.freed_bytes, 0));
    assert_true(is(report.still_cached_bytes, 4 << 20));
    munmap(other, 4 << 20);
    close(fd);
    close_loaded(&f);
}

static void locked_ranges_are_unlocked_and_released(void **state)
{
    (void)state;
    for (int level = DRAY_RELEASE_MAPPINGS; level <= DRAY_RELEASE_CACHE; level++) {
        fixture f = open_loaded("locked");
        if (dray_model_data_lock(f.data, 0, 64 << 10, NULL) != DRAY_OK)
            skip(); // nothing at all may be locked here
        assert_int_equal(residency(&f, 0, 0).locked_bytes, 64 << 10);
        dray_release_report report = release(&f, 0, 32 << 10, (dray_release)level);
        assert_int_equal(report.range_bytes, 32 << 10);
        assert_true(level == DRAY_RELEASE_COLD || is(report.unmapped_bytes, 32 << 10));
        if (f.on_disk && level == DRAY_RELEASE_CACHE)
            assert_true(is(report.freed_bytes, 32 << 10));
        assert_int_equal(residency(&f, 0, 0).locked_bytes, 32 << 10);
        close_loaded(&f);
    }
}

static void memory_locked_by_others_is_released_too(void **state)
{
    (void)state;
    fixture f = open_loaded("foreign-lock");
    if (mlock(dray_model_data_bytes(f.data), 64 << 10) != 0)
        skip();
    dray_release_report report = release(&f, 0, 64 << 10, DRAY_RELEASE_MAPPINGS);
    assert_true(is(report.unmapped_bytes, 64 << 10));
    close_loaded(&f);
}

static int keeps_locked(void *at, size_t bytes)
{
    (void)at;
    (void)bytes;
    return 0;
}

static void locked_pages_go_even_while_the_lock_stays(void **state)
{
    (void)state;
    drayi_os os = drayi_os_linux;
    os.unlock = keeps_locked;
    const char *path = test_file_make("stays-locked", 1 << 20);
    dray_context *context;
    assert_int_equal(drayi_context_create_with(NULL, &os, &context, NULL), DRAY_OK);
    dray_model_data *data;
    assert_int_equal(dray_model_data_open(context, path, NULL, &data, NULL), DRAY_OK);
    if (dray_model_data_lock(data, 0, 64 << 10, NULL) != DRAY_OK)
        skip();
    dray_release_report report;
    dray_status status =
        dray_model_data_release(data, 0, 64 << 10, DRAY_RELEASE_MAPPINGS, &report, NULL);
    assert_int_equal(status, DRAY_OK);
    assert_true(is(report.unmapped_bytes, 64 << 10)); // MADV_DONTNEED_LOCKED
    dray_model_data_close(data);
    dray_context_destroy(context);
    unlink(path);
}

static void an_unknown_rung_is_refused(void **state)
{
    (void)state;
    fixture f = open_loaded("rung");
    dray_release_report report;
    dray_error error;
    assert_int_equal(dray_model_data_release(f.data, 0, 0, (dray_release)4, &report, &error),
                     DRAY_E_INVALID);
    assert_non_null(strstr(error.message, "level 4 is none of mappings (1), cold (2), cache (3)"));
    close_loaded(&f);
}

static int a_stranger(int fd)
{
    (void)fd;
    return 0;
}

static void what_cannot_be_measured_is_unknown(void **state)
{
    (void)state;
    const char *path = test_file_make("unmeasured", 1 << 20);
    drayi_os os = *fault_os();
    fault_os_reset();
    fault_os_make_absent(FAULT_NO_CACHESTAT);
    os.sees_cache = a_stranger;
    dray_context *context;
    assert_int_equal(drayi_context_create_with(NULL, &os, &context, NULL), DRAY_OK);
    dray_model_data *data;
    assert_int_equal(dray_model_data_open(context, path, NULL, &data, NULL), DRAY_OK);
    dray_release_report report;
    assert_int_equal(dray_model_data_release(data, 0, 0, DRAY_RELEASE_CACHE, &report, NULL),
                     DRAY_OK);
    assert_int_equal(report.freed_bytes, DRAY_UNKNOWN);
    assert_int_equal(report.still_cached_bytes, DRAY_UNKNOWN);
    dray_model_data_close(data);
    dray_context_destroy(context);
    fault_os_reset();
    unlink(path);
}

static void memory_has_nothing_to_release(void **state)
{
    (void)state;
    const char *path = test_file_make("heap", 1 << 20);
    dray_context *context;
    assert_int_equal(dray_context_create(NULL, &context, NULL), DRAY_OK);
    static const dray_backing kinds[] = {DRAY_BACKING_HEAP, DRAY_BACKING_SEALED,
                                         DRAY_BACKING_DIRECT};
    for (size_t i = 0; i < 3; i++) {
        dray_model_data_options options = {.struct_bytes = sizeof(options), .backing = kinds[i]};
        dray_model_data *data;
        assert_int_equal(dray_model_data_open(context, path, &options, &data, NULL), DRAY_OK);
        dray_release_report report, nothing = {0};
        assert_int_equal(dray_model_data_release(data, 0, 0, DRAY_RELEASE_CACHE, &report, NULL),
                         DRAY_OK);
        assert_memory_equal(&report, &nothing, sizeof(report));
        assert_true(test_file_same(dray_model_data_bytes(data), 0, 1 << 20));
        dray_model_data_close(data);
    }
    dray_context_destroy(context);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dropping_mappings_keeps_the_page_cache),
        cmocka_unit_test(cold_frees_nothing_now),
        cmocka_unit_test(the_cache_is_really_given_back),
        cmocka_unit_test(dirty_pages_are_written_back_first),
        cmocka_unit_test(a_part_is_rounded_inwards_and_leaves_its_neighbours),
        cmocka_unit_test(a_mapping_of_somebody_else_shows_in_the_report),
        cmocka_unit_test(locked_ranges_are_unlocked_and_released),
        cmocka_unit_test(memory_locked_by_others_is_released_too),
        cmocka_unit_test(locked_pages_go_even_while_the_lock_stays),
        cmocka_unit_test(an_unknown_rung_is_refused),
        cmocka_unit_test(what_cannot_be_measured_is_unknown),
        cmocka_unit_test(memory_has_nothing_to_release),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
