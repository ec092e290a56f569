/// The faults that today's transfer layers were caught in, as a user of dray would meet them: through an agent,
/// with every engine that carries out file I/O here. What they call a success, or never recover from, is either done
/// or an error with numbers; docs/design/backends-vendor.md tells who.
///
///     read past the end of a file        "success", and the rest of the memory as it was
///     a direct write of 1000 bytes       "success", and nothing on the disk
///     good reads after one failed I/O    errors for ever
#include "core/context.h"
#include "dray/transfer.h"
#include "fault_os.h"
#include "test_file.h"
#include "testing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { page = 4096, whole = 16 * page };

typedef struct engine {
    const char *name;
    uint32_t threads;
    unsigned absent;
} engine;

static const engine engines[] = {
    {"io_uring", 2, 0},
    {"io_uring without threads", 0, 0},
    {"threads", 2, FAULT_NO_URING},
    {"the caller alone", 0, FAULT_NO_URING},
    {"without direct I/O", 2, FAULT_NO_DIRECT},
};
#define ENGINE_COUNT (sizeof(engines) / sizeof(engines[0]))

typedef struct bench {
    char path[256];
    int fd; // of the test's own
    dray_context *context;
    dray_agent *agent;
    dray_region *file, *memory;
    uint8_t wanted[whole];
    dray_error error;
} bench;

static void good(dray_status status, const bench *at)
{
    if (status != DRAY_OK)
        fail_msg("%s: %s", dray_status_name(status), at->error.message);
}

static void bench_open(bench *at, const engine *with)
{
    static const char *const backends[] = {"POSIX", NULL};
    memset(at, 0, sizeof(*at));
    fault_os_reset();
    fault_os_make_absent(with->absent);
    snprintf(at->path, sizeof(at->path), "%s/field-XXXXXX", test_file_folder());
    at->fd = mkstemp(at->path);
    assert_true(at->fd >= 0);
    for (int i = 0; i < whole; i++)
        at->wanted[i] = (uint8_t)(i * 7 + i / page);
    assert_int_equal(pwrite(at->fd, at->wanted, whole, 0), whole);
    assert_int_equal(fdatasync(at->fd), 0);
    dray_context_options context = {.struct_bytes = sizeof(context), .thread_count = with->threads};
    dray_agent_options agent = {.struct_bytes = sizeof(agent), .backends = backends};
    dray_file_options file = {.struct_bytes = sizeof(file), .writable = 1};
    dray_region_options memory = {.struct_bytes = sizeof(memory), .bytes = whole};
    good(drayi_context_create_with(&context, fault_os(), &at->context, &at->error), at);
    good(dray_agent_create(at->context, &agent, &at->agent, &at->error), at);
    good(dray_region_open(at->context, at->path, &file, &at->file, &at->error), at);
    good(dray_region_create(at->context, &memory, &at->memory, &at->error), at);
}

static void bench_close(bench *at)
{
    dray_agent_destroy(at->agent);
    dray_region_release(at->file);
    dray_region_release(at->memory);
    dray_context_destroy(at->context);
    unlink(at->path);
    close(at->fd);
    fault_os_reset();
}

/// One copy, waited for. *out_done: what the transfer says has arrived.
static dray_status run(bench *at, const dray_copy *copy, dray_direct direct, uint64_t *out_done)
{
    dray_plan_options options = {.struct_bytes = sizeof(options), .direct = direct};
    dray_transfer_progress progress = {0};
    dray_plan *plan = NULL;
    dray_transfer *transfer = NULL;
    dray_status status = dray_plan_create(at->agent, copy, 1, &options, &plan, &at->error);
    if (status == DRAY_OK)
        status = dray_transfer_create(at->agent, plan, NULL, &transfer, &at->error);
    if (status == DRAY_OK)
        status = dray_transfer_submit(transfer, &at->error);
    if (status == DRAY_OK)
        status = dray_transfer_wait(transfer, -1, &at->error);
    if (transfer)
        dray_transfer_get_progress(transfer, &progress);
    dray_transfer_destroy(transfer);
    dray_plan_destroy(plan);
    *out_done = progress.bytes_done;
    return status;
}

static dray_status read_file(bench *at, uint64_t offset, uint64_t bytes, uint64_t *out_done)
{
    const dray_copy copy = {
        .source = at->file, .target = at->memory, .source_offset = offset, .run_bytes = bytes};
    memset(dray_region_pointer(at->memory), 0xa5, whole);
    return run(at, &copy, DRAY_DIRECT_AUTO, out_done);
}

static void assert_good_reads(bench *at, uint64_t bytes)
{
    for (int i = 0; i < 5; i++) {
        uint64_t done;
        good(read_file(at, 0, bytes, &done), at);
        assert_int_equal(done, bytes);
        assert_memory_equal(dray_region_pointer(at->memory), at->wanted, bytes);
    }
}

/// The file was larger when it was opened.
static void read_past_the_end(bench *at)
{
    uint64_t done;
    assert_int_equal(ftruncate(at->fd, page), 0);
    assert_int_equal(read_file(at, 0, whole, &done), DRAY_E_CORRUPT);
    assert_non_null(strstr(at->error.message, "4096"));
    assert_true(done <= page);
    assert_good_reads(at, page);                                        // and the agent goes on
    assert_int_equal(read_file(at, page, page, &done), DRAY_E_CORRUPT); // nothing of it is there
    assert_int_equal(done, 0);
}

static void write_odd_bytes(bench *at)
{
    static const uint64_t offsets[] = {0, 1, 511, page - 1, page + 17};
    for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
        uint8_t got[whole], *from = dray_region_pointer(at->memory);
        uint64_t done;
        const dray_copy copy = {.source = at->memory,
                                .target = at->file,
                                .source_offset = 3,
                                .target_offset = offsets[i],
                                .run_bytes = 1000};
        memset(from, (int)(0x10 + i), whole);
        memset(at->wanted + offsets[i], (int)(0x10 + i), 1000);
        good(run(at, &copy, DRAY_DIRECT_AUTO, &done), at);
        assert_int_equal(done, 1000);
        assert_int_equal(fdatasync(at->fd), 0);
        (void)test_file_make_cold(at->path); // what is read is what the disk has
        assert_int_equal(pread(at->fd, got, whole, 0), whole);
        assert_memory_equal(got, at->wanted, whole); // with all its neighbours
    }
}

static void fail_and_go_on(bench *at)
{
    static const int codes[] = {-EIO, -EINVAL, -ENOMEM};
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        uint64_t done;
        fault_os_inject(&(fault_plan){
            .at = 1, .repeat = 64, .groups = FAULT_READ | FAULT_COMPLETION, .code = codes[i]});
        dray_status status = read_file(at, 0, whole, &done);
        assert_true(fault_os_hits() > 0);
        assert_int_not_equal(status, DRAY_OK);
        assert_true(at->error.native_code == -codes[i]);
        fault_os_inject(&(fault_plan){.at = 0});
        assert_good_reads(at, whole);
    }
}

static void read_what_only_writes(bench *at)
{
    int fd = open(at->path, O_WRONLY | O_CLOEXEC);
    dray_region *region;
    uint64_t done;
    good(dray_region_wrap_fd(at->context, fd, "write only", 0, whole, &region, &at->error), at);
    const dray_copy copy = {.source = region, .target = at->memory, .run_bytes = 1000};
    assert_int_equal(run(at, &copy, DRAY_DIRECT_AUTO, &done), DRAY_E_IO);
    assert_int_equal(at->error.native_code, EBADF);
    assert_int_equal(done, 0);
    assert_good_reads(at, whole);
    dray_region_release(region);
    close(fd);
}

/// Half of the bytes arrive, then the disk fails: an error, and what it counts as done is there.
static void tear_a_write(bench *at)
{
    uint8_t got[whole];
    uint64_t done;
    const dray_copy copy = {.source = at->memory, .target = at->file, .run_bytes = whole};
    memset(dray_region_pointer(at->memory), 0x77, whole);
    fault_os_inject(&(fault_plan){.at = 1, .groups = FAULT_WRITE | FAULT_COMPLETION});
    good(run(at, &copy, DRAY_DIRECT_NEVER, &done), at); // short once: it goes on
    assert_int_equal(done, whole);
    memset(dray_region_pointer(at->memory), 0x78, whole);
    fault_os_inject(&(fault_plan){
        .at = 1, .repeat = 64, .groups = FAULT_WRITE | FAULT_COMPLETION, .code = -ENOSPC});
    assert_int_equal(run(at, &copy, DRAY_DIRECT_NEVER, &done), DRAY_E_NOSPACE);
    fault_os_inject(&(fault_plan){.at = 0});
    assert_true(done < whole);
    assert_int_equal(pread(at->fd, got, whole, 0), whole);
    for (uint64_t i = 0; i < done; i++)
        assert_int_equal(got[i], 0x78);
    good(run(at, &copy, DRAY_DIRECT_AUTO, &done), at);
    assert_int_equal(pread(at->fd, got, whole, 0), whole);
    assert_memory_equal(got, dray_region_pointer(at->memory), whole);
}

// --- a slow disk ---------------------------------------------------------------------------------------

enum { slow_ns = 60000000 };

static ssize_t slow_preadv(int fd, const struct iovec *parts, int count, uint64_t offset)
{
    drayi_os_linux.sleep_ns(slow_ns);
    return drayi_os_linux.preadv(fd, parts, count, offset);
}

static ssize_t slow_pread(int fd, void *buffer, size_t bytes, uint64_t offset)
{
    drayi_os_linux.sleep_ns(slow_ns);
    return drayi_os_linux.pread(fd, buffer, bytes, offset);
}

static int no_ring(struct io_uring **out, unsigned entries)
{
    (void)out, (void)entries;
    return -ENOSYS;
}

/// The deadline is told in time, the run goes on; cancelled, it ends, and then nothing writes to the memory.
static void a_slow_disk_is_waited_for_as_long_as_wanted(void **state)
{
    (void)state;
    static drayi_os slow;
    static bench at;
    bench_open(&at, &engines[2]);
    slow = drayi_os_linux;
    slow.preadv = slow_preadv;
    slow.pread = slow_pread;
    slow.uring_open = no_ring;
    dray_context *context;
    dray_agent *agent;
    dray_region *file, *memory;
    dray_context_options options = {.struct_bytes = sizeof(options), .thread_count = 2};
    dray_region_options plain = {.struct_bytes = sizeof(plain), .bytes = whole};
    dray_plan_options lanes = {.struct_bytes = sizeof(lanes), .lanes = 2, .step_bytes = page};
    good(drayi_context_create_with(&options, &slow, &context, &at.error), &at);
    good(dray_agent_create(context, NULL, &agent, &at.error), &at);
    good(dray_region_open(context, at.path, NULL, &file, &at.error), &at);
    good(dray_region_create(context, &plain, &memory, &at.error), &at);
    const dray_copy copy = {.source = file, .target = memory, .run_bytes = whole};
    dray_plan *plan;
    dray_transfer *transfer;
    good(dray_plan_create(agent, &copy, 1, &lanes, &plan, &at.error), &at);
    good(dray_transfer_create(agent, plan, NULL, &transfer, &at.error), &at);
    good(dray_transfer_submit(transfer, &at.error), &at);
    int64_t began = drayi_os_linux.now_ns();
    assert_int_equal(dray_transfer_wait(transfer, began + slow_ns / 3, &at.error), DRAY_E_TIMEOUT);
    dray_transfer_cancel(transfer);
    memset(dray_region_pointer(memory), 0x5a, whole);
    drayi_os_linux.sleep_ns(2 * slow_ns);
    for (int i = 0; i < whole; i++)
        assert_int_equal(((uint8_t *)dray_region_pointer(memory))[i], 0x5a);
    good(dray_transfer_submit(transfer, &at.error), &at); // and once more, with patience
    good(dray_transfer_wait(transfer, -1, &at.error), &at);
    assert_memory_equal(dray_region_pointer(memory), at.wanted, whole);
    dray_transfer_destroy(transfer);
    dray_plan_destroy(plan);
    dray_agent_destroy(agent);
    dray_region_release(file);
    dray_region_release(memory);
    dray_context_destroy(context);
    bench_close(&at);
}

static void with_every_engine(void (*test)(bench *at))
{
    for (size_t i = 0; i < ENGINE_COUNT; i++) {
        bench at;
        print_message("%s\n", engines[i].name);
        bench_open(&at, &engines[i]);
        assert_good_reads(&at, whole);
        test(&at);
        bench_close(&at);
    }
}

static void a_read_past_the_end_is_no_success(void **state)
{
    (void)state;
    with_every_engine(read_past_the_end);
}

static void a_write_that_fits_no_block_is_on_the_disk(void **state)
{
    (void)state;
    with_every_engine(write_odd_bytes);
}

static void good_reads_follow_a_failed_one(void **state)
{
    (void)state;
    with_every_engine(fail_and_go_on);
}

static void a_descriptor_that_only_writes_is_not_read(void **state)
{
    (void)state;
    with_every_engine(read_what_only_writes);
}

static void a_torn_write_is_continued_or_an_error(void **state)
{
    (void)state;
    with_every_engine(tear_a_write);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_read_past_the_end_is_no_success),
        cmocka_unit_test(a_write_that_fits_no_block_is_on_the_disk),
        cmocka_unit_test(good_reads_follow_a_failed_one),
        cmocka_unit_test(a_descriptor_that_only_writes_is_not_read),
        cmocka_unit_test(a_torn_write_is_continued_or_an_error),
        cmocka_unit_test(a_slow_disk_is_waited_for_as_long_as_wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
