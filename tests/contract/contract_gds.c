/// GDS_MT over the stand-ins for cuFile and the CUDA driver: bytes, fall-backs, errors and faults.
///
/// Files lie in TMPDIR, which CMake puts into the build tree; where its file system takes no direct I/O, the
/// tests that need it are skipped.
#include "backend_rig.h"
#include "counting_allocator.h"
#include "device_rig.h"
#include "dray/transfer.h"
#include "standin_cufile.h"
#include "testing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern const dray_backend_ops drayi_backend_gds;

static void cufile_set(const standin_cufile_config *config)
{
    standin_cufile_set_fn set;
    void *symbol = device_rig_real_symbol(getenv("DRAY_STANDIN_CUFILE"), "standin_cufile_set");
    memcpy(&set, &symbol, sizeof(symbol));
    set(config);
}

static standin_cufile_counts cufile_counts(void)
{
    standin_cufile_get_fn get;
    void *symbol = device_rig_real_symbol(getenv("DRAY_STANDIN_CUFILE"), "standin_cufile_get");
    memcpy(&get, &symbol, sizeof(symbol));
    standin_cufile_counts counts;
    get(&counts);
    return counts;
}

static void reset(void)
{
    device_rig_reset();
    cufile_set(&(standin_cufile_config){.fresh = true});
}

static void nothing_is_left(void)
{
    standin_cufile_counts counts = cufile_counts();
    if (counts.misuse)
        fail_msg("cuFile: %s", counts.last_misuse);
    assert_int_equal(counts.opens, 0);
    assert_int_equal(counts.handles, 0);
    assert_int_equal(counts.buffers, 0);
    standin_counts driver = device_rig_standin_counts();
    if (driver.misuse)
        fail_msg("driver: %s", driver.last_misuse);
    assert_int_equal(driver.contexts + driver.allocations + driver.streams, 0);
    assert_int_equal(device_rig_standin_depth(), 0);
}

// --- a bench: an agent with GDS_MT, a device, a file ---------------------------------------------------------

enum { BYTES = (9 << 20) + 1234 };

typedef struct bench {
    dray_context *context;
    dray_agent *agent;
    dray_device *device;
    dray_region *memory; // of kind DEVICE
    dray_region *file;
    char path[256];
    char text[4096]; // the last plan, printed
} bench;

static dray_status agent_open(dray_context *context, dray_agent **out, dray_error *error)
{
    static const char *const names[] = {"GDS_MT", "CUDA", "posix", NULL};
    dray_agent_options options = {.struct_bytes = sizeof(options), .backends = names};
    return dray_agent_create(context, &options, out, error);
}

static bench bench_open(uint32_t threads, uint64_t bytes)
{
    reset();
    bench own = {.context = device_rig_context(NULL, threads)};
    dray_error error = {0};
    backend_rig_file(NULL, bytes, own.path);
    dray_file_options writable = {.struct_bytes = sizeof(writable), .writable = 1};
    if (agent_open(own.context, &own.agent, &error) != DRAY_OK ||
        dray_device_open(own.context, "cuda:0", &own.device, &error) != DRAY_OK ||
        dray_region_open(own.context, own.path, &writable, &own.file, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    own.memory = device_rig_region(own.context, own.device, DRAY_STORAGE_DEVICE, bytes + 8192);
    return own;
}

static void bench_close(bench *own)
{
    dray_region_release(own->file);
    dray_region_release(own->memory);
    dray_device_release(own->device);
    dray_agent_destroy(own->agent);
    dray_context_destroy(own->context);
    unlink(own->path);
    nothing_is_left();
}

static bool goes_direct(const bench *own)
{
    dray_region_native native;
    dray_region_get_native(own->file, &native);
    return native.direct_fd >= 0;
}

static void keep_text(void *self, const char *text, size_t bytes)
{
    char *out = self;
    size_t used = strlen(out), room = 4096 - 1 - used;
    bytes = bytes < room ? bytes : room;
    memcpy(out + used, text, bytes);
    out[used + bytes] = '\0';
}

static dray_status run_copies(bench *own, const dray_copy *copies, uint64_t count,
                              dray_plan_summary *summary, dray_error *error)
{
    dray_plan *plan;
    dray_transfer *transfer;
    dray_status status = dray_plan_create(own->agent, copies, count, NULL, &plan, error);
    if (status != DRAY_OK)
        return status;
    own->text[0] = '\0';
    dray_plan_print(plan, 0, keep_text, own->text);
    if (summary)
        dray_plan_summarize(plan, summary);
    status = dray_transfer_create(own->agent, plan, NULL, &transfer, error);
    if (status == DRAY_OK) {
        status = dray_transfer_submit(transfer, error);
        if (status == DRAY_OK)
            status = dray_transfer_wait(transfer, -1, error);
        char how[512];
        dray_plan_describe(own->agent, plan, how, sizeof(how));
        keep_text(own->text, how, strlen(how));
        dray_transfer_destroy(transfer);
    }
    dray_plan_destroy(plan);
    return status;
}

static dray_status move(bench *own, dray_region *from, uint64_t from_at, dray_region *to,
                        uint64_t to_at, uint64_t bytes, dray_error *error)
{
    dray_copy copy = {.source = from,
                      .target = to,
                      .source_offset = from_at,
                      .target_offset = to_at,
                      .run_bytes = bytes};
    return run_copies(own, &copy, 1, NULL, error);
}

/// What lies on the device, by the driver alone.
static void device_bytes(bench *own, uint64_t at, uint8_t *out, uint64_t bytes)
{
    dray_region *host = device_rig_region(own->context, NULL, DRAY_STORAGE_SYSTEM, bytes);
    dray_error error = {0};
    if (device_rig_copy(own->device, host, 0, own->memory, at, bytes, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    memcpy(out, dray_region_pointer(host), bytes);
    dray_region_release(host);
}

static void assert_file(bench *own, uint64_t count)
{
    uint8_t *bytes = malloc(count);
    int fd = open(own->path, O_RDONLY);
    assert_true(bytes && fd >= 0);
    assert_int_equal(pread(fd, bytes, count, 0), count);
    assert_int_equal(backend_rig_first_wrong(bytes, count, 0), DRAY_UNKNOWN);
    close(fd);
    free(bytes);
}

static void file_wipe(const bench *own, uint64_t count)
{
    uint8_t *zeros = calloc(1, count);
    int fd = open(own->path, O_WRONLY);
    assert_true(zeros && fd >= 0);
    assert_int_equal(pwrite(fd, zeros, count, 0), count);
    assert_int_equal(fsync(fd), 0);
    close(fd);
    free(zeros);
}

// --- bytes ------------------------------------------------------------------------------------------------

static void there_and_back(uint32_t threads, uint64_t phase)
{
    bench own = bench_open(threads, BYTES);
    dray_error error = {0};
    uint8_t *bytes = malloc(BYTES);
    assert_non_null(bytes);
    if (move(&own, own.file, 0, own.memory, phase, BYTES, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    device_bytes(&own, phase, bytes, BYTES);
    assert_int_equal(backend_rig_first_wrong(bytes, BYTES, 0), DRAY_UNKNOWN);
    file_wipe(&own, BYTES);
    if (move(&own, own.memory, phase, own.file, 0, BYTES, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    assert_file(&own, BYTES);
    standin_cufile_counts counts = cufile_counts();
    if (goes_direct(&own)) {
        assert_int_equal(counts.reads, 3);
        assert_int_equal(counts.writes, 3);
        assert_int_equal(counts.registered_io, counts.reads + counts.writes);
        assert_non_null(strstr(own.text, "device -> disk by gds_mt, past the page cache"));
    }
    free(bytes);
    bench_close(&own);
}

static void bytes_go_there_and_back(void **state)
{
    (void)state;
    there_and_back(3, 0);
    there_and_back(0, 0);
}

static void any_phase_of_the_memory_will_do(void **state)
{
    (void)state;
    there_and_back(2, 4096);
    there_and_back(2, 1);
}

static void odd_runs_keep_their_neighbours(void **state)
{
    (void)state;
    enum { count = 400, each = 23000 }; // neighbours share pages of the file
    bench own = bench_open(3, BYTES);
    dray_error error = {0};
    static dray_copy copies[count];
    assert_true(move(&own, own.file, 0, own.memory, 0, BYTES, &error) == DRAY_OK);
    file_wipe(&own, BYTES);
    for (uint64_t i = 0; i < count; i++)
        copies[i] = (dray_copy){.source = own.memory,
                                .target = own.file,
                                .source_offset = i * each,
                                .target_offset = i * each,
                                .run_bytes = each};
    if (run_copies(&own, copies, count, NULL, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    assert_file(&own, (uint64_t)count * each);
    bench_close(&own);
}

static void pinned_memory_of_the_device_takes_part(void **state)
{
    (void)state;
    static const char *const names[] = {"gds_mt", NULL}; // with posix there, posix would do it
    reset();
    bench own = {.context = device_rig_context(NULL, 1)};
    dray_agent_options options = {.struct_bytes = sizeof(options), .backends = names};
    dray_error error = {0};
    backend_rig_file(NULL, 100000, own.path);
    if (dray_agent_create(own.context, &options, &own.agent, &error) != DRAY_OK ||
        dray_device_open(own.context, "cuda:1", &own.device, &error) != DRAY_OK ||
        dray_region_open(own.context, own.path, NULL, &own.file, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    own.memory = device_rig_region(own.context, own.device, DRAY_STORAGE_PINNED, 100000);
    if (goes_direct(&own)) {
        if (move(&own, own.file, 0, own.memory, 0, 100000, &error) != DRAY_OK)
            fail_msg("%s", error.message);
        assert_int_equal(backend_rig_first_wrong(dray_region_pointer(own.memory), 100000, 0),
                         DRAY_UNKNOWN);
        assert_true(cufile_counts().reads > 0);
    }
    bench_close(&own);
}

static void short_transfers_are_continued(void **state)
{
    (void)state;
    bench own = bench_open(2, 1 << 20);
    dray_error error = {0};
    uint8_t *bytes = malloc(1 << 20);
    assert_non_null(bytes);
    cufile_set(&(standin_cufile_config){.short_bytes = 65536 + 100}); // not a whole block, either
    if (move(&own, own.file, 0, own.memory, 0, 1 << 20, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    device_bytes(&own, 0, bytes, 1 << 20);
    assert_int_equal(backend_rig_first_wrong(bytes, 1 << 20, 0), DRAY_UNKNOWN);
    if (goes_direct(&own))
        assert_int_equal(cufile_counts().reads, 16);
    file_wipe(&own, 1 << 20);
    if (move(&own, own.memory, 0, own.file, 0, 1 << 20, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    assert_file(&own, 1 << 20);
    free(bytes);
    bench_close(&own);
}

// --- who may have it ----------------------------------------------------------------------------------------

static void nobody_gets_it_unasked(void **state)
{
    (void)state;
    reset();
    dray_context *context = device_rig_context(NULL, 1);
    dray_agent_options options = {.struct_bytes = sizeof(options)};
    dray_agent *agent;
    dray_error error = {0};
    assert_int_equal(dray_agent_create(context, &options, &agent, &error), DRAY_OK);
    assert_false(dray_agent_has_backend(agent, "GDS_MT"));
    dray_agent_destroy(agent);
    dray_context_destroy(context);
    assert_int_equal(cufile_counts().calls, 0);
    assert_non_null(drayi_backend_gds.unproven);
}

static void assert_refused(const char *wanted)
{
    dray_context *context = device_rig_context(NULL, 1);
    dray_agent *agent = NULL;
    dray_error error = {0};
    assert_int_equal(agent_open(context, &agent, &error), DRAY_E_UNSUPPORTED);
    if (!strstr(error.message, wanted) || !strstr(error.message, "backend gds_mt"))
        fail_msg("\"%s\" is not in \"%s\"", wanted, error.message);
    dray_context_destroy(context);
}

static void an_absent_cufile_is_named(void **state)
{
    (void)state;
    reset();
    device_rig_hide_library("libcufile.so.0");
    assert_refused("libcufile.so.0: cannot open shared object file");
    reset();
    device_rig_hide_symbol("cuFileBufRegister");
    assert_refused("libcufile.so.0 has no cuFileBufRegister");
    reset();
    cufile_set(&(standin_cufile_config){.call = "cuFileDriverOpen", .at = 1, .code = 5001});
    assert_refused("cuFileDriverOpen GPUDirect Storage: CU_FILE_DRIVER_NOT_INITIALIZED (5001)");
    reset();
    cufile_set(&(standin_cufile_config){.call = "cuFileDriverOpen", .at = 1, .code = 5011});
    assert_refused("CU_FILE_CUDA_DRIVER_ERROR (5011), CUDA driver code 999");
    nothing_is_left();
}

static void without_a_gpu_its_driver_is_not_touched(void **state)
{
    (void)state;
    reset();
    device_rig_hide_library("libcuda.so.1");
    assert_refused("libcuda.so.1");
    assert_int_equal(cufile_counts().calls, 0);
    reset();
    device_rig_standin(&(standin_config){.fresh = true, .devices = -1});
    assert_refused("CUDA");
    assert_int_equal(cufile_counts().calls, 0);
}

// --- falling back ---------------------------------------------------------------------------------------------

static void a_refused_file_goes_by_two_hops_and_says_so(void **state)
{
    (void)state;
    bench own = bench_open(2, BYTES);
    dray_error error = {0};
    uint8_t *bytes = malloc(BYTES);
    assert_non_null(bytes);
    cufile_set(&(standin_cufile_config){
        .call = "cuFileHandleRegister", .at = 1, .repeat = UINT32_MAX, .code = 5008});
    dray_plan_summary summary = {0};
    dray_copy copy = {.source = own.file, .target = own.memory, .run_bytes = BYTES};
    if (run_copies(&own, &copy, 1, &summary, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    assert_int_equal(summary.hops, 2);
    assert_true(summary.lanes > 1); // the hops of different lanes overlap
    assert_non_null(strstr(own.text, "passed over: gds_mt: "));
    if (goes_direct(&own))
        assert_non_null(strstr(own.text, "CU_FILE_IO_NOT_SUPPORTED (5008)"));
    device_bytes(&own, 0, bytes, BYTES);
    assert_int_equal(backend_rig_first_wrong(bytes, BYTES, 0), DRAY_UNKNOWN);
    assert_int_equal(cufile_counts().reads, 0);
    free(bytes);
    bench_close(&own);
}

static void a_file_without_direct_io_goes_by_two_hops(void **state)
{
    (void)state;
    char path[256];
    if (access("/dev/shm", W_OK) != 0)
        skip();
    backend_rig_file("/dev/shm", 100000, path);
    bench own = bench_open(2, 100000);
    dray_error error = {0};
    dray_region *file;
    assert_int_equal(dray_region_open(own.context, path, NULL, &file, &error), DRAY_OK);
    dray_region_native native;
    dray_region_get_native(file, &native);
    assert_int_equal(move(&own, file, 0, own.memory, 0, 100000, &error), DRAY_OK);
    if (native.direct_fd < 0) {
        assert_non_null(strstr(own.text, "passed over: gds_mt: the file system of "));
        assert_non_null(strstr(own.text, "takes no direct I/O"));
    }
    dray_region_release(file);
    unlink(path);
    bench_close(&own);
}

static void what_is_refused_in_the_middle_goes_by_host_memory(void **state)
{
    (void)state;
    static const int codes[] = {5008, 5016, 5036, EINVAL};
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        bench own = bench_open((uint32_t)(i % 2) * 2, BYTES);
        dray_error error = {0};
        uint8_t *bytes = malloc(BYTES);
        assert_non_null(bytes);
        cufile_set(&(standin_cufile_config){.call = "cuFileRead", .at = 2, .code = codes[i]});
        if (move(&own, own.file, 0, own.memory, 0, BYTES, &error) != DRAY_OK)
            fail_msg("%s", error.message);
        device_bytes(&own, 0, bytes, BYTES);
        assert_int_equal(backend_rig_first_wrong(bytes, BYTES, 0), DRAY_UNKNOWN);
        if (goes_direct(&own))
            assert_non_null(strstr(own.text, "; 1 operations went through host memory"));
        free(bytes);
        bench_close(&own);
    }
}

static void memory_that_is_not_registered_will_do(void **state)
{
    (void)state;
    bench own = bench_open(2, BYTES);
    dray_error error = {0};
    cufile_set(&(standin_cufile_config){.call = "cuFileBufRegister", .at = 1, .code = 5036});
    if (move(&own, own.file, 0, own.memory, 0, BYTES, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    if (goes_direct(&own)) {
        assert_int_equal(cufile_counts().registered_io, 0);
        assert_non_null(strstr(own.text, "; 1 buffers not registered"));
    }
    bench_close(&own);
}

// --- errors ------------------------------------------------------------------------------------------------

static void assert_error(const standin_cufile_config *fault, bool write, dray_status wanted,
                         const char *text, int native)
{
    bench own = bench_open(1, BYTES);
    dray_error error = {0};
    if (goes_direct(&own)) {
        cufile_set(fault);
        dray_status status = write ? move(&own, own.memory, 0, own.file, 0, BYTES, &error)
                                   : move(&own, own.file, 0, own.memory, 0, BYTES, &error);
        assert_int_equal(status, wanted);
        if (!strstr(error.message, text))
            fail_msg("\"%s\" is not in \"%s\"", text, error.message);
        assert_int_equal(error.native_code, native);
        cufile_set(&(standin_cufile_config){0}); // and works again afterwards
        assert_int_equal(move(&own, own.file, 0, own.memory, 0, BYTES, &error), DRAY_OK);
    }
    bench_close(&own);
}

static void errors_carry_their_code_and_name(void **state)
{
    (void)state;
    assert_error(&(standin_cufile_config){.call = "cuFileRead", .at = 1, .code = EIO}, false,
                 DRAY_E_IO, "read of ", EIO);
    assert_error(&(standin_cufile_config){.call = "cuFileWrite", .at = 2, .code = ENOSPC}, true,
                 DRAY_E_NOSPACE, "cuFileWrite", ENOSPC);
    assert_error(&(standin_cufile_config){.call = "cuFileRead", .at = 1, .code = 5012}, false,
                 DRAY_E_DEVICE, "CU_FILE_CUDA_POINTER_INVALID (5012)", 5012);
    assert_error(&(standin_cufile_config){.call = "cuFileWrite", .at = 1, .code = 5999}, true,
                 DRAY_E_DEVICE, "a code without a name (5999)", 5999);
    assert_error(&(standin_cufile_config){.call = "cuFileRead", .at = 1, .more = true}, false,
                 DRAY_E_DEVICE, "it says it moved", 0);
}

static void an_interrupted_call_is_made_again(void **state)
{
    (void)state;
    bench own = bench_open(1, BYTES);
    dray_error error = {0};
    cufile_set(&(standin_cufile_config){.call = "cuFileRead", .at = 1, .repeat = 20, .code = EINTR});
    if (move(&own, own.file, 0, own.memory, 0, BYTES, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    bench_close(&own);
}

static void a_file_that_became_shorter_is_an_error(void **state)
{
    (void)state;
    bench own = bench_open(1, BYTES);
    dray_error error = {0};
    assert_int_equal(truncate(own.path, 8192), 0);
    assert_int_equal(move(&own, own.file, 0, own.memory, 0, 1 << 20, &error), DRAY_E_CORRUPT);
    assert_non_null(strstr(error.message, "file ends at 8192"));
    bench_close(&own);
}

// --- faults ---------------------------------------------------------------------------------------------------

/// A file to a device and back; everything is given back whatever happens.
static dray_status round_trip(dray_context *context, const char *path, dray_error *error)
{
    bench own = {.context = context};
    dray_region_options options = {
        .struct_bytes = sizeof(options), .storage = DRAY_STORAGE_DEVICE, .bytes = 300000};
    dray_file_options writable = {.struct_bytes = sizeof(writable), .writable = 1};
    dray_status status = agent_open(context, &own.agent, error);
    if (status == DRAY_OK)
        status = dray_device_open(context, "cuda:0", &options.device, error);
    if (status == DRAY_OK)
        status = dray_region_create(context, &options, &own.memory, error);
    if (status == DRAY_OK)
        status = dray_region_open(context, path, &writable, &own.file, error);
    if (status == DRAY_OK)
        status = move(&own, own.file, 0, own.memory, 0, 300000, error);
    if (status == DRAY_OK)
        status = move(&own, own.memory, 0, own.file, 0, 300000, error);
    dray_region_release(own.file);
    dray_region_release(own.memory);
    dray_device_release(options.device);
    dray_agent_destroy(own.agent);
    return status;
}

static void the_nth_call_of_cufile_may_fail(void **state)
{
    (void)state;
    static const int codes[] = {5008, 5030, 5043};
    char path[256];
    reset();
    backend_rig_file(NULL, 300000, path);
    bench own = {0};
    snprintf(own.path, sizeof(own.path), "%s", path);
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        for (uint64_t n = 1;; n++) {
            reset();
            cufile_set(&(standin_cufile_config){.call = "", .at = n, .code = codes[i]});
            dray_context *context = device_rig_context(NULL, (uint32_t)(n % 3));
            dray_error error = {0};
            dray_status status = round_trip(context, path, &error);
            dray_context_destroy(context);
            if (status != DRAY_OK)
                assert_true(error.message[0]);
            uint64_t hits = cufile_counts().hits;
            nothing_is_left();
            assert_file(&own, 300000); // whatever happened, no wrong byte was written
            if (hits == 0) {
                assert_int_equal(status, DRAY_OK);
                assert_true(n > 5);
                break;
            }
        }
    }
    unlink(path);
}

static void allocations_may_fail_anywhere(void **state)
{
    (void)state;
    char path[256];
    reset();
    backend_rig_file(NULL, 300000, path);
    for (uint64_t n = 1;; n++) {
        reset();
        counting_allocator counter;
        counting_allocator_init(&counter, 0);
        dray_allocator allocator = counting_allocator_interface(&counter);
        dray_context *context = device_rig_context(&allocator, 1);
        counter.fail_at = counting_allocator_calls(&counter) + n;
        dray_error error = {0};
        dray_status status = round_trip(context, path, &error);
        dray_context_destroy(context);
        assert_int_equal(counting_allocator_live_bytes(&counter), 0);
        nothing_is_left();
        if (!counting_allocator_failed(&counter)) {
            assert_int_equal(status, DRAY_OK);
            break;
        }
        assert_int_equal(status, DRAY_E_NOMEM);
    }
    unlink(path);
}

int main(void)
{
    if (!device_rig_has_standin() || !getenv("DRAY_STANDIN_CUFILE")) {
        printf("skipped: the stand-ins are not here; run this through ctest\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_go_there_and_back),
        cmocka_unit_test(any_phase_of_the_memory_will_do),
        cmocka_unit_test(odd_runs_keep_their_neighbours),
        cmocka_unit_test(pinned_memory_of_the_device_takes_part),
        cmocka_unit_test(short_transfers_are_continued),
        cmocka_unit_test(nobody_gets_it_unasked),
        cmocka_unit_test(an_absent_cufile_is_named),
        cmocka_unit_test(without_a_gpu_its_driver_is_not_touched),
        cmocka_unit_test(a_refused_file_goes_by_two_hops_and_says_so),
        cmocka_unit_test(a_file_without_direct_io_goes_by_two_hops),
        cmocka_unit_test(what_is_refused_in_the_middle_goes_by_host_memory),
        cmocka_unit_test(memory_that_is_not_registered_will_do),
        cmocka_unit_test(errors_carry_their_code_and_name),
        cmocka_unit_test(an_interrupted_call_is_made_again),
        cmocka_unit_test(a_file_that_became_shorter_is_an_error),
        cmocka_unit_test(the_nth_call_of_cufile_may_fail),
        cmocka_unit_test(allocations_may_fail_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
