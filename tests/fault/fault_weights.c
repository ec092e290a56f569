/// Open, load, verify and manifest with every allocation and every system call failing in turn, and a
/// world that misbehaves meanwhile: each failure is an error with a message or is survived with the
/// right bytes; nothing leaks, nothing half-made stays, and the next try works.
#include "base/env.h"
#include "core/context.h"
#include "dray/weights.h"
#include "support/counting_allocator.h"
#include "support/fault_os.h"
#include "support/test_file.h"
#include "support/test_model.h"
#include "support/testing.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { model_tensors = 6, tensor_bytes = 150 << 10, chunk_bytes = 64 << 10 };

static char model_path[512], manifest_path[600], disk_path[512];

static int make_model(void **state)
{
    (void)state;
    fault_os_reset();
    snprintf(model_path, sizeof(model_path), "%s",
             test_model_make("faulty.gguf", model_tensors, tensor_bytes));
    snprintf(manifest_path, sizeof(manifest_path), "%s.dray", model_path);
    snprintf(disk_path, sizeof(disk_path), "%s", test_file_path("faulty.out"));
    return 0;
}

static int remove_model(void **state)
{
    (void)state;
    unlink(model_path);
    unlink(manifest_path);
    unlink(disk_path);
    return 0;
}

// --- the cases -------------------------------------------------------------------------------------

/// OK, or an error that says something.
static dray_status told(dray_status status, const dray_error *error)
{
    if (status != DRAY_OK && (error->status != status || strlen(error->message) < 8))
        fail_msg("status %d with error status %d, message '%s'", status, error->status,
                 error->message);
    return status;
}

static void check_bytes(const dray_loaded *loaded)
{
    for (uint64_t i = 0; i < dray_loaded_count(loaded); i++) {
        dray_tensor_view view;
        dray_error error;
        assert_int_equal(dray_loaded_tensor_at(loaded, i, &view, &error), DRAY_OK);
        if (view.pointer)
            assert_true(test_model_same(view.tensor, view.pointer));
    }
}

typedef dray_status use_case(dray_weights *weights, dray_error *error);

static dray_status load_to(dray_weights *weights, dray_load_options options, dray_error *error)
{
    dray_loaded *loaded = NULL;
    options.struct_bytes = sizeof(options);
    dray_status status = told(dray_weights_load(weights, &options, &loaded, error), error);
    if (status != DRAY_OK) {
        assert_null(loaded);
        assert_int_equal(access(disk_path, F_OK), -1);
        return status;
    }
    char hex[65];
    check_bytes(loaded);
    status = told(dray_loaded_digest(loaded, 0, DRAY_DIGEST_XXH3_128, hex, error), error);
    void *managed;
    dray_status exported = dray_loaded_dlpack(loaded, 0, &managed, error);
    dray_loaded_free(loaded);
    if (exported == DRAY_OK) // the deleter stands behind two words of version and a pointer
        (*(void (**)(void *))((char *)managed + 16))(managed);
    unlink(disk_path);
    return status;
}

static dray_status case_pinned(dray_weights *weights, dray_error *error)
{
    return load_to(weights,
                   (dray_load_options){.storage = DRAY_STORAGE_PINNED,
                                       .method = DRAY_LOAD_DIRECT,
                                       .release_source = 1},
                   error);
}

static dray_status case_buffered(dray_weights *weights, dray_error *error)
{
    return load_to(
        weights,
        (dray_load_options){.storage = DRAY_STORAGE_SYSTEM,
                            .method = DRAY_LOAD_BUFFERED,
                            .manifest = access(manifest_path, F_OK) == 0 ? manifest_path : NULL},
        error);
}

static dray_status case_mapped(dray_weights *weights, dray_error *error)
{
    return load_to(weights, (dray_load_options){.method = DRAY_LOAD_MAPPED}, error);
}

static dray_status case_disk(dray_weights *weights, dray_error *error)
{
    return load_to(
        weights,
        (dray_load_options){.storage = DRAY_STORAGE_DISK,
                            .disk_path = disk_path,
                            .manifest = access(manifest_path, F_OK) == 0 ? manifest_path : NULL},
        error);
}

/// A manifest that is there is a right one: written wholly or not at all.
static dray_status case_manifest(dray_weights *weights, dray_error *error)
{
    dray_manifest_options options = {.struct_bytes = sizeof(options), .chunk_bytes = chunk_bytes};
    unlink(manifest_path);
    dray_status status = told(dray_manifest_write(weights, &options, error), error);
    return status;
}

static dray_status case_verify(dray_weights *weights, dray_error *error)
{
    dray_verify_report report;
    dray_status status = told(dray_weights_verify(weights, NULL, &report, error), error);
    if (status == DRAY_OK)
        assert_int_equal(report.tensors_checked, model_tensors);
    return status;
}

static use_case *const cases[] = {case_manifest, case_pinned, case_buffered,
                                  case_mapped,   case_disk,   case_verify};
static const char *const case_names[] = {"manifest", "pinned", "buffered",
                                         "mapped",   "disk",   "verify"};

/// The whole life once: DRAY_OK, or the first failure. Nothing may be left of it.
static dray_status live(use_case *use, counting_allocator *counter, uint32_t threads)
{
    dray_context_options options = {.struct_bytes = sizeof(options), .thread_count = threads};
    dray_context *context;
    dray_weights *weights;
    dray_error error = {.status = DRAY_OK};
    if (counter)
        options.allocator = counting_allocator_interface(counter);
    dray_status status =
        told(drayi_context_create_with(&options, fault_os(), &context, &error), &error);
    if (status != DRAY_OK)
        return status;
    status = told(dray_weights_open(context, model_path, NULL, &weights, &error), &error);
    if (status == DRAY_OK) {
        status = use(weights, &error);
        dray_weights_close(weights);
    }
    dray_context_destroy(context);
    return status;
}

static void manifest_must_exist(void)
{
    fault_os_reset();
    assert_int_equal(live(case_manifest, NULL, 0), DRAY_OK);
}

// --- loops -----------------------------------------------------------------------------------------

static void every_allocation_may_fail(void **state)
{
    (void)state;
    manifest_must_exist();
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        for (uint64_t n = 1;; n++) {
            counting_allocator counter;
            counting_allocator_init(&counter, n);
            int fds = fault_os_open_fds();
            dray_status status = live(cases[c], &counter, 0);
            if (counting_allocator_live_bytes(&counter) != 0 || fault_os_open_fds() != fds)
                fail_msg("%s, allocation %" PRIu64 ": %" PRIu64 " bytes and %d descriptors left",
                         case_names[c], n, counting_allocator_live_bytes(&counter),
                         fault_os_open_fds() - fds);
            if (!counting_allocator_failed(&counter)) {
                assert_int_equal(status, DRAY_OK);
                break;
            }
        }
        manifest_must_exist();
    }
}

static void fail_calls(unsigned groups, int code, uint32_t threads)
{
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        manifest_must_exist();
        for (uint64_t n = 1;; n++) {
            fault_os_reset();
            int fds = fault_os_open_fds();
            fault_os_inject(&(fault_plan){.at = n, .groups = groups, .code = code});
            dray_status status = live(cases[c], NULL, threads);
            uint64_t hits = fault_os_hits();
            if (fault_os_open_fds() != fds)
                fail_msg("%s: %s failed as call %" PRIu64 ", and %d descriptors are left",
                         case_names[c], fault_os_last_hit(), n, fault_os_open_fds() - fds);
            if (hits == 0) {
                assert_int_equal(status, DRAY_OK);
                break;
            }
            unlink(disk_path); // unlink itself may be what failed
            if (access(manifest_path, F_OK) != 0 || n % 16 == 0)
                manifest_must_exist();
        }
    }
}

static void every_system_call_may_fail(void **state)
{
    (void)state;
    fail_calls(FAULT_ANY, -EIO, 0);
}

static void every_system_call_may_be_interrupted(void **state)
{
    (void)state;
    fail_calls(FAULT_ANY, -EINTR, 0);
}

static void every_transfer_may_be_short(void **state)
{
    (void)state;
    fail_calls(FAULT_READ | FAULT_WRITE | FAULT_COMPLETION, 0, 0);
}

static void space_and_memory_may_run_out_at_any_call(void **state)
{
    (void)state;
    fail_calls(FAULT_WRITE | FAULT_FILE, -ENOSPC, 0);
    fail_calls(FAULT_MEMORY, -ENOMEM, 0);
    fail_calls(FAULT_READ | FAULT_WRITE | FAULT_RING, -EAGAIN, 0);
}

static void with_threads_it_is_the_same(void **state)
{
    (void)state;
    fail_calls(FAULT_READ | FAULT_WRITE | FAULT_COMPLETION, -EIO, 2);
}

// --- a world that misbehaves -----------------------------------------------------------------------

typedef struct meddler {
    uint64_t at_call, calls;
    void (*act)(void);
} meddler;

static bool meddle(void *self, uint64_t done, uint64_t total)
{
    (void)done, (void)total;
    meddler *one = self;
    if (++one->calls == one->at_call)
        one->act();
    return true;
}

static void truncate_model(void)
{
    assert_int_equal(truncate(model_path, 200000), 0);
}

static void grow_model(void)
{
    int fd = open(model_path, O_WRONLY | O_APPEND);
    assert_int_equal(write(fd, "more", 4), 4);
    close(fd);
}

/// Another model of the same name: our descriptor still holds the old one, and its bytes are right.
static void replace_model(void)
{
    char other[600];
    snprintf(other, sizeof(other), "%s.new", model_path);
    int fd = open(other, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd, "other", 5), 5);
    close(fd);
    assert_int_equal(rename(other, model_path), 0);
}

static dray_status load_while(void (*act)(void), dray_load_method method, dray_error *error)
{
    dray_context *context;
    dray_weights *weights;
    dray_loaded *loaded = NULL;
    meddler one = {.at_call = 1, .act = act};
    make_model(NULL);
    assert_int_equal(drayi_context_create_with(NULL, fault_os(), &context, error), DRAY_OK);
    assert_int_equal(dray_weights_open(context, model_path, NULL, &weights, error), DRAY_OK);
    dray_load_options options = {.struct_bytes = sizeof(options),
                                 .method = method,
                                 .events = {.self = &one, .progress = meddle}};
    dray_status status = dray_weights_load(weights, &options, &loaded, error);
    if (status == DRAY_OK)
        check_bytes(loaded);
    else
        assert_null(loaded);
    dray_loaded_free(loaded);
    dray_weights_close(weights);
    dray_context_destroy(context);
    return status;
}

static void a_file_cut_short_while_loading_names_a_lost_tensor(void **state)
{
    (void)state;
    dray_error error;
    for (int method = DRAY_LOAD_DIRECT; method <= DRAY_LOAD_MAPPED; method++) {
        assert_int_equal(load_while(truncate_model, (dray_load_method)method, &error),
                         DRAY_E_CORRUPT);
        assert_non_null(strstr(error.message, "was cut short"));
        assert_non_null(strstr(error.message, "lost from tensor blk.1.w"));
    }
}

static void a_file_that_grows_while_loading_is_refused(void **state)
{
    (void)state;
    dray_error error;
    for (int method = DRAY_LOAD_DIRECT; method <= DRAY_LOAD_MAPPED; method++) {
        assert_int_equal(load_while(grow_model, (dray_load_method)method, &error), DRAY_E_CORRUPT);
        assert_non_null(strstr(error.message, "was changed since it was opened"));
    }
}

static void a_file_replaced_while_loading_gives_the_old_bytes(void **state)
{
    (void)state;
    dray_error error;
    for (int method = DRAY_LOAD_DIRECT; method <= DRAY_LOAD_MAPPED; method++)
        assert_int_equal(load_while(replace_model, (dray_load_method)method, &error), DRAY_OK);
}

static dray_status load_to_path(const char *path, dray_error *error)
{
    dray_context *context;
    dray_weights *weights;
    dray_loaded *loaded = NULL;
    assert_int_equal(drayi_context_create_with(NULL, fault_os(), &context, error), DRAY_OK);
    assert_int_equal(dray_weights_open(context, model_path, NULL, &weights, error), DRAY_OK);
    dray_load_options options = {
        .struct_bytes = sizeof(options), .storage = DRAY_STORAGE_DISK, .disk_path = path};
    dray_status status = dray_weights_load(weights, &options, &loaded, error);
    dray_loaded_free(loaded);
    dray_weights_close(weights);
    dray_context_destroy(context);
    return status;
}

static void a_full_destination_leaves_nothing(void **state)
{
    (void)state;
    dray_error error;
    char folder[512], path[600];
    snprintf(folder, sizeof(folder), "%s", test_file_path("small"));
    snprintf(path, sizeof(path), "%s/out", folder);
    assert_int_equal(mkdir(folder, 0700), 0);
    if (mount("dray", folder, "tmpfs", 0, "size=128k") != 0) {
        rmdir(folder);
        skip(); // needs the right to mount
    }
    assert_int_equal(load_to_path(path, &error), DRAY_E_NOSPACE);
    assert_int_equal(error.native_code, ENOSPC);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(umount(folder), 0);
    rmdir(folder);
}

static void a_destination_that_may_not_grow_leaves_nothing(void **state)
{
    (void)state;
    dray_error error;
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 64 << 10;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    dray_status status = load_to_path(disk_path, &error);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(status, DRAY_E_NOSPACE);
    assert_int_equal(access(disk_path, F_OK), -1);
}

static void a_folder_that_is_not_there_or_read_only_is_an_error(void **state)
{
    (void)state;
    dray_error error;
    assert_int_equal(load_to_path("/nonexistent/folder/out", &error), DRAY_E_NOTFOUND);
    assert_int_equal(load_to_path("/proc/out", &error),
                     DRAY_E_NOTFOUND); // nothing can be made there
}

// --- real files ------------------------------------------------------------------------------------

static void read_name(const char *name, void (*use)(const char *path))
{
    const char *folder = getenv("DRAY_TEST_DATA");
    char path[1024];
    if (!folder || !*folder) {
        print_message("DRAY_TEST_DATA is not set: no real files\n");
        skip();
    }
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    if (access(path, R_OK) != 0) {
        print_message("%s is not there\n", path);
        skip();
    }
    use(path);
}

static void load_real(const char *path)
{
    dray_context *context;
    dray_weights *weights;
    dray_loaded *loaded;
    dray_error error;
    uint8_t *file = malloc(4 << 20);
    int fd = open(path, O_RDONLY);
    ssize_t bytes = read(fd, file, 4 << 20);
    close(fd);
    fault_os_reset();
    assert_int_equal(drayi_context_create_with(NULL, fault_os(), &context, &error), DRAY_OK);
    dray_status status = dray_weights_open(context, path, NULL, &weights, &error);
    if (status != DRAY_OK)
        fail_msg("%s", error.message);
    dray_load_options options = {.struct_bytes = sizeof(options), .storage = DRAY_STORAGE_PINNED};
    assert_int_equal(dray_weights_load(weights, &options, &loaded, &error), DRAY_OK);
    for (uint64_t i = 0; i < dray_loaded_count(loaded); i++) {
        dray_tensor_view view;
        assert_int_equal(dray_loaded_tensor_at(loaded, i, &view, &error), DRAY_OK);
        assert_true(view.tensor->offset + view.tensor->bytes <= (uint64_t)bytes);
        assert_memory_equal(view.pointer, file + view.tensor->offset, view.tensor->bytes);
    }
    dray_loaded_free(loaded);
    dray_weights_close(weights);
    dray_context_destroy(context);
    free(file);
}

static void real_models_load_as_they_are(void **state)
{
    (void)state;
    read_name("silero-vad-16k.safetensors", load_real);
    read_name("burn-mnist.safetensors", load_real);
    read_name("runai-test.safetensors", load_real);
}

int main(void)
{
#define with_model(test) cmocka_unit_test_setup_teardown(test, make_model, remove_model)
    const struct CMUnitTest tests[] = {
        with_model(every_allocation_may_fail),
        with_model(every_system_call_may_fail),
        with_model(every_system_call_may_be_interrupted),
        with_model(every_transfer_may_be_short),
        with_model(space_and_memory_may_run_out_at_any_call),
        with_model(with_threads_it_is_the_same),
        with_model(a_file_cut_short_while_loading_names_a_lost_tensor),
        with_model(a_file_that_grows_while_loading_is_refused),
        with_model(a_file_replaced_while_loading_gives_the_old_bytes),
        with_model(a_full_destination_leaves_nothing),
        with_model(a_destination_that_may_not_grow_leaves_nothing),
        with_model(a_folder_that_is_not_there_or_read_only_is_an_error),
        with_model(real_models_load_as_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
