/// Regions: memory at its phase and really locked, files really reserved, views that keep their parent.
#include "core/context.h"
#include "dray/memory.h"
#include "dray/spi/region.h"
#include "memory/populate.h"
#include "memory/residency.h"
#include "support/counting_allocator.h"
#include "support/fault_os.h"
#include "support/test_file.h"
#include "support/testing.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static dray_region_options of_bytes(uint64_t bytes)
{
    return (dray_region_options){.struct_bytes = sizeof(dray_region_options), .bytes = bytes};
}

static dray_region *create(dray_context *context, const dray_region_options *options)
{
    dray_region *region = NULL;
    dray_error error = {.message = ""};
    if (dray_region_create(context, options, &region, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    return region;
}

static uint64_t resident(dray_context *context, const dray_region *region)
{
    drayi_extent extent = {
        .at = dray_region_pointer(region), .bytes = dray_region_bytes(region), .fd = -1};
    dray_residency now;
    drayi_residency(drayi_env_of(context), &extent, &now);
    return now.cached_bytes;
}

/// VmLck of this process in bytes.
static uint64_t locked_bytes(void)
{
    FILE *status = fopen("/proc/self/status", "re");
    char line[256];
    unsigned long long kib = 0;
    while (fgets(line, sizeof(line), status)) {
        if (sscanf(line, "VmLck: %llu", &kib) == 1)
            break;
    }
    fclose(status);
    return kib * 1024;
}

// --- memory --------------------------------------------------------------------------------------

static void memory_is_zeroed_and_at_its_phase(void **state)
{
    static const uint64_t alignments[] = {0, 1, 64, 4096, 65536, 2 << 20};
    static const uint64_t sizes[] = {1, 4096, 100000, (9 << 20) + 3};
    for (size_t a = 0; a < 6; a++) {
        for (size_t s = 0; s < 4; s++) {
            uint64_t alignment = alignments[a] ? alignments[a] : 4096;
            for (uint64_t phase = 0; phase < alignment; phase = phase * 37 + 13) {
                dray_region_options options = of_bytes(sizes[s]);
                options.alignment = alignments[a];
                options.phase = phase;
                dray_region *region = create(*state, &options);
                uint8_t *at = dray_region_pointer(region);
                assert_int_equal((uintptr_t)at % alignment, phase);
                assert_int_equal(dray_region_bytes(region), sizes[s]);
                assert_int_equal(at[0] | at[sizes[s] / 2] | at[sizes[s] - 1], 0);
                memset(at, 0xAA, sizes[s]);
                dray_region_release(region);
            }
        }
    }
}

static void memory_is_there_at_creation_unless_on_demand(void **state)
{
    dray_region_options options = of_bytes(3 << 20);
    options.huge_pages = 1; // never: pages come one by one
    dray_region *region = create(*state, &options);
    assert_int_equal(resident(*state, region), 3 << 20);
    dray_region_release(region);
    options.on_demand = 1;
    region = create(*state, &options);
    assert_int_equal(resident(*state, region), 0);
    dray_region_release(region);
}

static void pinned_memory_is_locked_until_it_is_given_back(void **state)
{
    uint64_t before = locked_bytes();
    dray_region_options options = of_bytes(32 << 10);
    options.storage = DRAY_STORAGE_PINNED;
    for (options.on_demand = 0; options.on_demand <= 1; options.on_demand++) {
        dray_region *region = NULL;
        dray_error error;
        if (dray_region_create(*state, &options, &region, &error) != DRAY_OK) {
            print_message("skipped: %s\n", error.message);
            skip();
        }
        assert_int_equal(locked_bytes() - before, 32 << 10);
        assert_int_equal(resident(*state, region), options.on_demand ? 0 : 32 << 10);
        dray_region_release(region);
        assert_int_equal(locked_bytes(), before);
    }
}

static void too_small_a_lock_limit_names_the_way_out(void **state)
{
    dray_region_options options = of_bytes(1 << 20);
    options.storage = DRAY_STORAGE_PINNED;
    dray_region *region = NULL;
    dray_error error;
    fault_os_limit_lock(65536);
    assert_int_equal(dray_region_create(*state, &options, &region, &error), DRAY_E_NOMEM);
    assert_string_equal(
        error.message,
        "lock memory: 1048576 bytes wanted, the limit of lockable memory is 65536 (hard limit 65536); "
        "raise it as root with `prlimit --memlock=1115136:1115136 --pid $$`, or for good with a "
        "memlock line in /etc/security/limits.conf");
    assert_null(region);
    fault_os_limit_lock(0);
    assert_int_equal(dray_region_create(*state, &options, &region, &error), DRAY_E_NOMEM);
    assert_non_null(strstr(error.message, "prlimit --memlock="));
}

static int soft_limit_only(uint64_t *out_soft, uint64_t *out_hard, bool *out_privileged)
{
    *out_soft = 65536;
    *out_hard = UINT64_MAX;
    *out_privileged = false;
    return 0;
}

static int refuse_lock(void *at, size_t bytes, bool on_fault)
{
    (void)at;
    (void)bytes;
    (void)on_fault;
    return -ENOMEM;
}

static void a_limit_that_the_user_may_raise_names_ulimit(void **state)
{
    (void)state;
    drayi_os os = drayi_os_linux;
    os.lock = refuse_lock;
    os.lock_limit = soft_limit_only;
    dray_context *context;
    assert_int_equal(drayi_context_create_with(NULL, &os, &context, NULL), DRAY_OK);
    dray_region_options options = of_bytes(1 << 20);
    options.storage = DRAY_STORAGE_PINNED;
    dray_region *region = NULL;
    dray_error error;
    assert_int_equal(dray_region_create(context, &options, &region, &error), DRAY_E_NOMEM);
    assert_non_null(strstr(error.message, "raise it with `ulimit -l 1089` and run again"));
    dray_context_destroy(context);
}

static void more_than_there_is_is_refused_before_it_kills(void **state)
{
    drayi_memory_facts facts;
    assert_int_equal(drayi_os_linux.memory_facts(&facts), 0);
    dray_region_options options = of_bytes(facts.total_bytes);
    dray_region *region = NULL;
    dray_error error;
    assert_int_equal(dray_region_create(*state, &options, &region, &error), DRAY_E_NOMEM);
    assert_non_null(strstr(error.message, "bytes of memory wanted"));
    options.bytes = UINT64_MAX;
    assert_int_equal(dray_region_create(*state, &options, &region, &error), DRAY_E_NOMEM);
}

static void null_regions_have_size_but_no_memory(void **state)
{
    dray_region_options options = of_bytes(1ull << 50);
    options.storage = DRAY_STORAGE_NULL;
    dray_region *region = create(*state, &options);
    assert_null(dray_region_pointer(region));
    assert_int_equal(dray_region_bytes(region), 1ull << 50);
    assert_int_equal(drayi_region_populate(drayi_env_of(*state), region, 0, 1 << 20, NULL), DRAY_OK);
    dray_region_release(region);
}

static void senseless_options_are_refused(void **state)
{
    dray_region *region = NULL;
    dray_region_options bad[] = {of_bytes(0),  of_bytes(10), of_bytes(10),
                                 of_bytes(10), of_bytes(10), of_bytes(10)};
    bad[1].alignment = 48;
    bad[2].phase = 4096;
    bad[3].huge_pages = 3;
    bad[4].storage = DRAY_STORAGE_DISK;
    bad[5].storage = (dray_storage)99;
    for (size_t i = 0; i < 6; i++) {
        dray_error error = {.message = ""};
        assert_int_equal(dray_region_create(*state, &bad[i], &region, &error), DRAY_E_INVALID);
        assert_true(strlen(error.message) > 10);
    }
    assert_null(region);
}

// --- populate ------------------------------------------------------------------------------------

static void populate_makes_the_range_resident(void **state)
{
    dray_region_options options = of_bytes(8 << 20);
    options.on_demand = 1;
    options.huge_pages = 1;
    options.phase = 100;
    dray_region *region = create(*state, &options);
    drayi_env *env = drayi_env_of(*state);
    assert_int_equal(drayi_region_populate(env, region, (3 << 20) + 5, 1 << 20, NULL), DRAY_OK);
    assert_int_equal(resident(*state, region), (1 << 20) + 4096);
    assert_int_equal(drayi_region_populate(env, region, 0, 8 << 20, NULL), DRAY_OK);
    assert_int_equal(resident(*state, region), (8 << 20) + 4096);
    assert_int_equal(drayi_region_populate(env, region, 1, 8 << 20, NULL), DRAY_E_INVALID);
    dray_region_release(region);
}

static int no_populate(void *at, size_t bytes, int advice)
{
    return advice == 23 ? -EINVAL : drayi_os_linux.advise(at, bytes, advice);
}

static void populate_keeps_bytes_and_works_on_old_kernels(void **state)
{
    (void)state;
    drayi_os os = drayi_os_linux;
    os.advise = no_populate;
    dray_context *context;
    assert_int_equal(drayi_context_create_with(NULL, &os, &context, NULL), DRAY_OK);
    dray_region_options options = of_bytes(1 << 20);
    options.on_demand = 1;
    options.huge_pages = 1;
    dray_region *region = create(context, &options);
    uint8_t *at = dray_region_pointer(region);
    for (uint64_t i = 0; i < 1 << 20; i += 8192)
        at[i] = test_file_byte(i);
    assert_int_equal(drayi_region_populate(drayi_env_of(context), region, 0, 1 << 20, NULL),
                     DRAY_OK);
    assert_int_equal(resident(context, region), 1 << 20);
    for (uint64_t i = 0; i < 1 << 20; i += 8192)
        assert_int_equal(at[i], test_file_byte(i));
    dray_region_release(region);
    dray_context_destroy(context);
}

typedef struct populate_job {
    pthread_t thread;
    drayi_env *env;
    dray_region *region;
    dray_status status;
} populate_job;

static void *populate_in_thread(void *argument)
{
    populate_job *job = argument;
    job->status =
        drayi_region_populate(job->env, job->region, 0, dray_region_bytes(job->region), NULL);
    return NULL;
}

static void many_may_populate_the_same_range(void **state)
{
    dray_region_options options = of_bytes(32 << 20);
    options.on_demand = 1;
    dray_region *region = create(*state, &options);
    populate_job jobs[4];
    for (int i = 0; i < 4; i++) {
        jobs[i] =
            (populate_job){.env = drayi_env_of(*state), .region = region, .status = DRAY_E_INTERNAL};
        assert_int_equal(pthread_create(&jobs[i].thread, NULL, populate_in_thread, &jobs[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(jobs[i].thread, NULL);
        assert_int_equal(jobs[i].status, DRAY_OK);
    }
    assert_int_equal(resident(*state, region), 32 << 20);
    dray_region_release(region);
}

// --- views and wrapped memory --------------------------------------------------------------------

static void count_release(void *self, void *pointer, uint64_t bytes)
{
    (void)pointer;
    assert_int_equal(bytes, 100);
    ++*(int *)self;
}

static void a_view_keeps_its_parent_alive(void **state)
{
    static char memory[100];
    int released = 0;
    dray_region *whole, *middle, *inner;
    assert_int_equal(dray_region_wrap(*state, DRAY_STORAGE_SYSTEM, memory, 100, count_release,
                                      &released, &whole, NULL),
                     DRAY_OK);
    assert_int_equal(dray_region_view(whole, 10, 50, &middle, NULL), DRAY_OK);
    assert_int_equal(dray_region_view(middle, 5, 45, &inner, NULL), DRAY_OK);
    assert_ptr_equal(dray_region_pointer(inner), memory + 15);
    dray_region_retain(whole);
    dray_region_release(whole);
    dray_region_release(whole);
    dray_region_release(middle);
    assert_int_equal(released, 0);
    dray_region_release(inner);
    assert_int_equal(released, 1);
}

static void a_view_that_leaves_its_parent_is_refused(void **state)
{
    static char memory[100];
    dray_region *whole, *view = NULL;
    dray_error error;
    assert_int_equal(
        dray_region_wrap(*state, DRAY_STORAGE_SYSTEM, memory, 100, NULL, NULL, &whole, NULL),
        DRAY_OK);
    assert_int_equal(dray_region_view(whole, 90, 11, &view, &error), DRAY_E_INVALID);
    assert_string_equal(error.message, "view of system: 11 bytes at 90 leave a region of 100 bytes");
    assert_int_equal(dray_region_view(whole, UINT64_MAX, 2, &view, &error), DRAY_E_INVALID);
    assert_int_equal(dray_region_view(whole, 100, 0, &view, &error), DRAY_OK);
    dray_region_release(view);
    dray_region_release(whole);
}

// --- files ---------------------------------------------------------------------------------------

static dray_file_options creating(uint64_t bytes)
{
    return (dray_file_options){
        .struct_bytes = sizeof(dray_file_options), .writable = 1, .create = 1, .bytes = bytes};
}

static uint64_t blocks_of(const char *path, uint64_t *out_bytes)
{
    struct stat facts;
    assert_int_equal(stat(path, &facts), 0);
    *out_bytes = (uint64_t)facts.st_size;
    return (uint64_t)facts.st_blocks * 512;
}

static int no_allocate(int fd, uint64_t offset, uint64_t bytes)
{
    (void)fd;
    (void)offset;
    (void)bytes;
    return -EOPNOTSUPP;
}

static int full_disk(int fd, uint64_t offset, uint64_t bytes)
{
    (void)fd;
    (void)offset;
    (void)bytes;
    return -ENOSPC;
}

static void a_new_file_has_its_blocks(void **state)
{
    (void)state;
    drayi_os os = drayi_os_linux;
    for (int round = 0; round < 2; round++) { // with fallocate, and with written zeros
        dray_context *context;
        assert_int_equal(drayi_context_create_with(NULL, &os, &context, NULL), DRAY_OK);
        const char *path = test_file_path("created");
        unlink(path);
        dray_file_options options = creating(300001);
        dray_region *region;
        assert_int_equal(dray_region_open(context, path, &options, &region, NULL), DRAY_OK);
        uint64_t bytes, blocks = blocks_of(path, &bytes);
        assert_int_equal(bytes, 300001);
        assert_true(blocks >= 300001);
        assert_int_equal(dray_region_bytes(region), 300001);
        assert_int_equal(dray_region_storage(region), DRAY_STORAGE_DISK);
        assert_string_equal(dray_region_name(region), path);
        dray_region_release(region);
        dray_region *second = NULL;
        dray_error error;
        assert_int_equal(dray_region_open(context, path, &options, &second, &error), DRAY_E_IO);
        assert_int_equal(error.native_code, EEXIST);
        options.replace = 1;
        options.bytes = 10;
        assert_int_equal(dray_region_open(context, path, &options, &second, NULL), DRAY_OK);
        assert_int_equal(dray_region_bytes(second), 10);
        dray_region_release(second);
        unlink(path);
        dray_context_destroy(context);
        os.allocate = no_allocate;
    }
}

static void a_full_disk_leaves_no_file(void **state)
{
    (void)state;
    drayi_os os = drayi_os_linux;
    os.allocate = full_disk;
    dray_context *context;
    assert_int_equal(drayi_context_create_with(NULL, &os, &context, NULL), DRAY_OK);
    const char *path = test_file_path("full");
    unlink(path);
    dray_file_options options = creating(1 << 20);
    dray_region *region = NULL;
    dray_error error;
    assert_int_equal(dray_region_open(context, path, &options, &region, &error), DRAY_E_NOSPACE);
    assert_non_null(strstr(error.message, "reserve 1048576 bytes: No space left on device"));
    assert_int_equal(access(path, F_OK), -1);
    dray_context_destroy(context);
}

static void links_pipes_and_folders_are_no_targets(void **state)
{
    const char *target = test_file_make("target", 100), *link_path = test_file_path("link");
    unlink(link_path);
    assert_int_equal(symlink(target, link_path), 0);
    dray_file_options options = creating(10);
    options.replace = 1;
    dray_region *region = NULL;
    dray_error error;
    assert_int_equal(dray_region_open(*state, link_path, &options, &region, &error), DRAY_E_IO);
    assert_int_equal(error.native_code, ELOOP);
    unlink(link_path);
    assert_int_equal(mkfifo(link_path, 0600), 0);
    assert_int_equal(dray_region_open(*state, link_path, &options, &region, &error), DRAY_E_INVALID);
    assert_int_equal(dray_region_open(*state, link_path, NULL, &region, &error), DRAY_E_INVALID);
    assert_non_null(strstr(error.message, "it is not a regular file"));
    assert_int_equal(dray_region_open(*state, "/tmp", NULL, &region, &error), DRAY_E_INVALID);
    assert_int_equal(dray_region_open(*state, "/no/such", NULL, &region, &error), DRAY_E_NOTFOUND);
    unlink(link_path);
    unlink(target);
}

static void a_descriptor_is_wrapped_at_its_offset(void **state)
{
    const char *path = test_file_make("wrapped", 1000);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    dray_region *region = NULL;
    dray_error error;
    assert_int_equal(dray_region_wrap_fd(*state, fd, "model", 100, 901, &region, &error),
                     DRAY_E_INVALID);
    assert_string_equal(error.message, "wrap model: 901 bytes at 100 leave a file of 1000 bytes");
    assert_int_equal(dray_region_wrap_fd(*state, fd, "model", 100, 900, &region, NULL), DRAY_OK);
    close(fd); // it was duplicated
    dray_region_native native;
    dray_region_get_native(region, &native);
    assert_int_equal(native.file_offset, 100);
    assert_int_equal(native.writable, 0);
    uint8_t out[900];
    assert_int_equal(pread(native.fd, out, 900, (off_t)native.file_offset), 900);
    assert_true(test_file_same(out, 100, 900));
    dray_region_release(region);
    unlink(path);
}

static void a_disk_has_its_size(void **state)
{
    dray_region *region = NULL;
    static const char *const disks[] = {"/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/loop0"};
    for (size_t i = 0; i < 4 && !region; i++) {
        if (dray_region_open(*state, disks[i], NULL, &region, NULL) == DRAY_OK &&
            dray_region_bytes(region) == 0) {
            dray_region_release(region); // a loop device without a file
            region = NULL;
        }
    }
    if (!region)
        skip(); // not root, or no disk that we know
    assert_true(dray_region_bytes(region) >= 512 && dray_region_bytes(region) % 512 == 0);
    dray_region_release(region);
}

// --- faults --------------------------------------------------------------------------------------

static dray_status create_all(dray_context *context, const char *path, dray_error *error)
{
    dray_region *memory = NULL, *pinned = NULL, *file = NULL, *view = NULL;
    dray_region_options options = of_bytes(70000);
    options.alignment = 65536;
    options.phase = 5;
    dray_file_options file_options = creating(5000);
    unlink(path);
    dray_status status = dray_region_create(context, &options, &memory, error);
    options.storage = DRAY_STORAGE_PINNED;
    options.bytes = 4096;
    if (status == DRAY_OK)
        status = dray_region_create(context, &options, &pinned, error);
    if (status == DRAY_OK)
        status = dray_region_open(context, path, &file_options, &file, error);
    if (status == DRAY_OK)
        status = dray_region_view(file, 1000, 4000, &view, error);
    dray_region_release(file);
    dray_region_release(memory);
    dray_region_release(pinned);
    dray_region_release(view);
    return status;
}

static void every_fault_is_an_error_and_leaks_nothing(void **state)
{
    (void)state;
    const char *path = test_file_path("faults");
    for (int by_call = 0; by_call <= 1; by_call++) {
        bool hit = true;
        for (uint64_t n = 1; hit; n++) {
            counting_allocator counter;
            counting_allocator_init(&counter, 0);
            dray_context_options options = {.struct_bytes = sizeof(options),
                                            .allocator = counting_allocator_interface(&counter)};
            dray_context *context;
            fault_os_reset();
            assert_int_equal(drayi_context_create_with(&options, fault_os(), &context, NULL),
                             DRAY_OK);
            int fds = fault_os_open_fds();
            uint64_t locked = locked_bytes();
            if (by_call)
                fault_os_inject(&(fault_plan){.at = n, .code = -EIO});
            else
                counter.fail_at = counting_allocator_calls(&counter) + n;
            dray_error error = {.message = ""};
            dray_status status = create_all(context, path, &error);
            hit = by_call ? fault_os_hits() > 0 : counting_allocator_failed(&counter);
            if (status != DRAY_OK)
                assert_true(hit && error.status == status && strlen(error.message) > 8);
            assert_true(by_call || !hit || status == DRAY_E_NOMEM);
            bool kept = strcmp(fault_os_last_hit(), "unmap") == 0; // the kernel kept the mapping
            fault_os_reset();
            assert_int_equal(fault_os_open_fds(), fds);
            assert_true(kept || locked_bytes() == locked);
            dray_context_destroy(context);
            assert_int_equal(counting_allocator_live_bytes(&counter), 0);
        }
    }
    unlink(path);
}

int main(void)
{
#define case_of(name) cmocka_unit_test_setup_teardown(name, fault_os_context, fault_os_context_end)
    const struct CMUnitTest tests[] = {
        case_of(memory_is_zeroed_and_at_its_phase),
        case_of(memory_is_there_at_creation_unless_on_demand),
        case_of(pinned_memory_is_locked_until_it_is_given_back),
        case_of(too_small_a_lock_limit_names_the_way_out),
        cmocka_unit_test(a_limit_that_the_user_may_raise_names_ulimit),
        case_of(more_than_there_is_is_refused_before_it_kills),
        case_of(null_regions_have_size_but_no_memory),
        case_of(senseless_options_are_refused),
        case_of(populate_makes_the_range_resident),
        cmocka_unit_test(populate_keeps_bytes_and_works_on_old_kernels),
        case_of(many_may_populate_the_same_range),
        case_of(a_view_keeps_its_parent_alive),
        case_of(a_view_that_leaves_its_parent_is_refused),
        cmocka_unit_test(a_new_file_has_its_blocks),
        cmocka_unit_test(a_full_disk_leaves_no_file),
        case_of(links_pipes_and_folders_are_no_targets),
        case_of(a_descriptor_is_wrapped_at_its_offset),
        case_of(a_disk_has_its_size),
        cmocka_unit_test(every_fault_is_an_error_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
