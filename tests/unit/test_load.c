/// Loading: every destination by every method gives the file's bytes, exactly the tensors that were
/// asked for, and tells the truth about how.
#include "core/context.h"
#include "dray/spi/region.h"
#include "dray/weights.h"
#include "support/fault_os.h"
#include "support/safetensors_writer.h"
#include "support/test_file.h"
#include "support/test_model.h"
#include "support/testing.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { model_tensors = 10, tensor_bytes = 700 << 10 };

static dray_context *context;
static dray_weights *weights;
static char model_path[512];
static dray_error error;

static void open_context(uint32_t threads)
{
    dray_context_options options = {.struct_bytes = sizeof(options), .thread_count = threads};
    assert_int_equal(drayi_context_create_with(&options, fault_os(), &context, &error), DRAY_OK);
}

static int open_model(void **state)
{
    (void)state;
    fault_os_reset();
    memset(&error, 0, sizeof(error));
    open_context(2);
    snprintf(model_path, sizeof(model_path), "%s",
             test_model_make("load.gguf", model_tensors, tensor_bytes));
    assert_int_equal(dray_weights_open(context, model_path, NULL, &weights, &error), DRAY_OK);
    return 0;
}

static int close_model(void **state)
{
    (void)state;
    dray_weights_close(weights);
    dray_context_destroy(context);
    unlink(model_path);
    return 0;
}

static dray_load_options load_options(dray_storage storage)
{
    return (dray_load_options){.struct_bytes = sizeof(dray_load_options), .storage = storage};
}

/// The bytes of a tensor at its destination, wherever that is.
static uint8_t *destination_bytes(const dray_tensor_view *view)
{
    uint8_t *bytes = malloc(view->tensor->bytes + 1);
    if (view->pointer) {
        memcpy(bytes, view->pointer, view->tensor->bytes);
    } else {
        dray_region_native native;
        dray_region_get_native(view->span.region, &native);
        assert_int_equal(pread(native.fd, bytes, view->tensor->bytes, (off_t)view->span.offset),
                         view->tensor->bytes);
    }
    return bytes;
}

static void check_all(const dray_loaded *loaded)
{
    for (uint64_t i = 0; i < dray_loaded_count(loaded); i++) {
        dray_tensor_view view;
        assert_int_equal(dray_loaded_tensor_at(loaded, i, &view, &error), DRAY_OK);
        assert_ptr_equal(view.tensor, dray_weights_tensor_at(weights, view.index));
        assert_int_equal(view.span.bytes, view.tensor->bytes);
        uint8_t *bytes = destination_bytes(&view);
        assert_true(test_model_same(view.tensor, bytes));
        free(bytes);
    }
}

static dray_loaded *load_ok(const dray_load_options *options)
{
    dray_loaded *loaded = NULL;
    dray_status status = dray_weights_load(weights, options, &loaded, &error);
    if (status != DRAY_OK)
        fail_msg("%s", error.message);
    assert_non_null(loaded);
    return loaded;
}

// --- destinations and methods ----------------------------------------------------------------------

static void every_method_to_every_destination_gives_the_files_bytes(void **state)
{
    (void)state;
    static const dray_storage storages[] = {DRAY_STORAGE_SYSTEM, DRAY_STORAGE_PINNED,
                                            DRAY_STORAGE_DISK};
    for (int s = 0; s < 3; s++) {
        for (int method = DRAY_LOAD_AUTO; method <= DRAY_LOAD_MAPPED; method++) {
            if (method == DRAY_LOAD_MAPPED && storages[s] != DRAY_STORAGE_SYSTEM)
                continue;
            for (int cold = 0; cold < 2; cold++) {
                if (cold)
                    test_file_make_cold(model_path);
                dray_load_options options = load_options(storages[s]);
                options.method = (dray_load_method)method;
                const char *disk = test_file_path("destination");
                if (storages[s] == DRAY_STORAGE_DISK)
                    options.disk_path = disk;
                dray_loaded *loaded = load_ok(&options);
                assert_int_equal(dray_loaded_count(loaded), model_tensors);
                check_all(loaded);
                dray_loaded_free(loaded);
                unlink(disk);
            }
        }
    }
}

static void null_takes_all_and_keeps_nothing(void **state)
{
    (void)state;
    dray_load_options options = load_options(DRAY_STORAGE_NULL);
    dray_loaded *loaded = load_ok(&options);
    dray_load_report report;
    dray_tensor_view view;
    char hex[65];
    void *managed;
    dray_loaded_get_report(loaded, &report);
    assert_true(report.read_bytes >= report.bytes);
    assert_int_equal(dray_loaded_tensor_at(loaded, 0, &view, &error), DRAY_OK);
    assert_null(view.pointer);
    assert_int_equal(dray_region_storage(view.span.region), DRAY_STORAGE_NULL);
    assert_int_equal(dray_loaded_digest(loaded, 0, DRAY_DIGEST_XXH3_128, hex, &error),
                     DRAY_E_UNSUPPORTED);
    assert_int_equal(dray_loaded_dlpack(loaded, 0, &managed, &error), DRAY_E_UNSUPPORTED);
    dray_loaded_free(loaded);
}

static void without_threads_and_without_io_uring_the_bytes_are_the_same(void **state)
{
    (void)state;
    static const unsigned absent[] = {0,
                                      FAULT_NO_URING,
                                      FAULT_NO_DIRECT,
                                      FAULT_DIRECT_REFUSED,
                                      FAULT_NO_CACHESTAT,
                                      FAULT_NO_CACHESTAT | FAULT_STRANGER,
                                      FAULT_NO_DIRECT_ALIGN,
                                      FAULT_NO_URING | FAULT_NO_CACHESTAT | FAULT_NO_DIRECT};
    for (size_t i = 0; i < sizeof(absent) / sizeof(absent[0]); i++) {
        for (uint32_t threads = 0; threads < 3; threads += 2) {
            dray_weights_close(weights);
            dray_context_destroy(context);
            fault_os_reset();
            fault_os_make_absent(absent[i]);
            open_context(threads);
            assert_int_equal(dray_weights_open(context, model_path, NULL, &weights, &error),
                             DRAY_OK);
            test_file_make_cold(model_path);
            dray_load_options options = load_options(DRAY_STORAGE_PINNED);
            dray_loaded *loaded = load_ok(&options);
            check_all(loaded);
            dray_load_report report;
            dray_loaded_get_report(loaded, &report);
            bool unknown = (absent[i] & FAULT_STRANGER) != 0; // others ask mincore instead
            assert_true((report.cache_bytes_after == DRAY_UNKNOWN) == unknown);
            assert_true(strncmp(report.backend, "posix", 5) == 0);
            dray_loaded_free(loaded);
        }
    }
}

static void the_report_says_what_was_done(void **state)
{
    (void)state;
    dray_load_report report;
    dray_load_options options = load_options(DRAY_STORAGE_PINNED);
    options.method = DRAY_LOAD_BUFFERED;
    dray_loaded *loaded = load_ok(&options);
    dray_loaded_get_report(loaded, &report);
    assert_string_equal(report.method, "buffered");
    dray_weights_info info;
    dray_weights_get_info(weights, &info);
    assert_int_equal(report.bytes, info.tensor_bytes);
    assert_true(report.destination_bytes >= report.bytes);
    assert_int_equal(report.chunks_verified, 0);
    assert_true(report.seconds > 0);
    dray_loaded_free(loaded);
    options.storage = DRAY_STORAGE_SYSTEM;
    options.method = DRAY_LOAD_MAPPED;
    loaded = load_ok(&options);
    dray_loaded_get_report(loaded, &report);
    assert_string_equal(report.method, "mapped");
    assert_int_equal(report.destination_bytes, 0);
    dray_loaded_free(loaded);
}

static void bytes_in_memory_are_viewed_where_they_are(void **state)
{
    (void)state;
    dray_model_data *data;
    dray_weights *held;
    dray_load_report report;
    dray_tensor_view view;
    dray_model_data_options heap = {.struct_bytes = sizeof(heap), .backing = DRAY_BACKING_HEAP};
    assert_int_equal(dray_model_data_open(context, model_path, &heap, &data, &error), DRAY_OK);
    assert_int_equal(dray_weights_open_data(context, data, NULL, &held, &error), DRAY_OK);
    dray_load_options options = load_options(DRAY_STORAGE_SYSTEM);
    dray_loaded *loaded;
    assert_int_equal(dray_weights_load(held, &options, &loaded, &error), DRAY_OK);
    dray_loaded_get_report(loaded, &report);
    assert_string_equal(report.method, "memory");
    assert_int_equal(dray_loaded_tensor_at(loaded, 0, &view, &error), DRAY_OK);
    assert_ptr_equal(view.pointer, dray_model_data_bytes(data) + view.tensor->offset);
    dray_loaded_free(loaded);
    options.storage = DRAY_STORAGE_PINNED; // a copy
    assert_int_equal(dray_weights_load(held, &options, &loaded, &error), DRAY_OK);
    assert_int_equal(dray_loaded_tensor_at(loaded, 0, &view, &error), DRAY_OK);
    assert_true(test_model_same(view.tensor, view.pointer));
    dray_loaded_free(loaded);
    options.method = DRAY_LOAD_DIRECT;
    assert_int_equal(dray_weights_load(held, &options, &loaded, &error), DRAY_E_INVALID);
    dray_weights_close(held);
    dray_model_data_close(data);
}

// --- which tensors ---------------------------------------------------------------------------------

static void only_matching_tensors_are_loaded(void **state)
{
    (void)state;
    dray_tensor_view view;
    dray_load_options options = load_options(DRAY_STORAGE_SYSTEM);
    options.method = DRAY_LOAD_BUFFERED;
    options.tensors = "blk.[17].*";
    dray_loaded *loaded = load_ok(&options);
    assert_int_equal(dray_loaded_count(loaded), 2);
    check_all(loaded);
    assert_int_equal(dray_loaded_tensor_find(loaded, "blk.7.w", &view, &error), DRAY_OK);
    assert_int_equal(view.index, 7);
    assert_int_equal(dray_loaded_tensor_find(loaded, "blk.2.w", &view, &error), DRAY_E_NOTFOUND);
    assert_string_equal(error.message, "tensor blk.2.w is in the model, but was not loaded");
    assert_int_equal(dray_loaded_tensor_find(loaded, "nope", &view, &error), DRAY_E_NOTFOUND);
    assert_int_equal(dray_loaded_tensor_at(loaded, 2, &view, &error), DRAY_E_INVALID);
    dray_load_report report;
    dray_loaded_get_report(loaded, &report);
    assert_true(report.destination_bytes <
                UINT64_C(3) * tensor_bytes); // what lies between was not read
    dray_loaded_free(loaded);
    options.tensors = "encoder.*";
    assert_int_equal(dray_weights_load(weights, &options, &loaded, &error), DRAY_E_NOTFOUND);
    assert_string_equal(error.message, "none of 10 tensors matches \"encoder.*\"");
    options.tensors = "blk.[";
    assert_int_equal(dray_weights_load(weights, &options, &loaded, &error), DRAY_E_INVALID);
}

static void only_these_layers_are_loaded(void **state)
{
    (void)state;
    dray_loaded *loaded;
    dray_load_options options = load_options(DRAY_STORAGE_PINNED);
    options.use_layers = 1;
    options.layer_first = 2;
    options.layer_last = 5;
    loaded = load_ok(&options);
    assert_int_equal(dray_loaded_count(loaded), 4);
    check_all(loaded);
    dray_loaded_free(loaded);
    options.layer_first = options.layer_last = 77;
    assert_int_equal(dray_weights_load(weights, &options, &loaded, &error), DRAY_E_NOTFOUND);
}

static void an_empty_tensor_alone_can_be_loaded(void **state)
{
    (void)state;
    dray_load_options options = load_options(DRAY_STORAGE_PINNED);
    options.tensors = "blk.4.w";
    dray_loaded *loaded = load_ok(&options);
    dray_tensor_view view;
    assert_int_equal(dray_loaded_tensor_at(loaded, 0, &view, &error), DRAY_OK);
    assert_int_equal(view.span.bytes, 0);
    dray_loaded_free(loaded);
}

// --- options ---------------------------------------------------------------------------------------

static void contradictions(const dray_load_options *options, const char *message)
{
    dray_loaded *loaded = NULL;
    assert_int_equal(dray_weights_load(weights, options, &loaded, &error), DRAY_E_INVALID);
    assert_string_equal(error.message, message);
    assert_null(loaded);
}

static void contradicting_options_are_errors_that_name_both(void **state)
{
    (void)state;
    dray_load_options options = load_options(DRAY_STORAGE_PINNED);
    options.method = DRAY_LOAD_MAPPED;
    contradictions(&options, "load: method mapped and storage pinned contradict each other: a "
                             "mapping is the file's own pages");
    options.storage = DRAY_STORAGE_SYSTEM;
    options.release_source = 1;
    contradictions(&options, "load: method mapped and release_source contradict each other: the "
                             "views stand on the page cache");
    options = load_options(DRAY_STORAGE_SYSTEM);
    options.disk_path = "/tmp/x";
    contradictions(&options, "load: disk_path and a storage other than disk contradict each other: "
                             "nothing would be written there");
    options = load_options(DRAY_STORAGE_DISK);
    contradictions(&options, "load: storage disk needs disk_path");
    options = load_options(DRAY_STORAGE_NULL);
    options.manifest = "m";
    contradictions(&options, "load: manifest and storage null contradict each other: it keeps no "
                             "bytes that could be checked");
    options = load_options(DRAY_STORAGE_SYSTEM);
    options.layer_last = 3;
    contradictions(&options, "load: layer_first or layer_last and use_layers 0 contradict each "
                             "other: they would be ignored");
    options.use_layers = 1;
    options.layer_first = 4;
    contradictions(&options, "load: layer_first and layer_last contradict each other: the first "
                             "lies behind the last");
    options = load_options(DRAY_STORAGE_DEVICE);
    contradictions(&options, "load: storage device needs a device");
}

static void the_memory_limit_is_obeyed_with_numbers(void **state)
{
    (void)state;
    dray_loaded *loaded = NULL;
    dray_load_options options = load_options(DRAY_STORAGE_PINNED);
    options.memory_limit = 1 << 20;
    assert_int_equal(dray_weights_load(weights, &options, &loaded, &error), DRAY_E_NOSPACE);
    assert_non_null(strstr(error.message, "the limit is 1048576"));
    options.storage = DRAY_STORAGE_NULL; // staging alone must keep to it
    options.memory_limit = 2 << 20;
    loaded = load_ok(&options);
    dray_load_report report;
    dray_loaded_get_report(loaded, &report);
    assert_true(report.staging_bytes <= 2 << 20);
    dray_loaded_free(loaded);
    options.storage = DRAY_STORAGE_SYSTEM; // a mapping needs none
    options.memory_limit = 1 << 20;
    loaded = load_ok(&options);
    dray_loaded_get_report(loaded, &report);
    assert_string_equal(report.method, "mapped");
    dray_loaded_free(loaded);
}

static void too_little_lockable_memory_names_the_limit(void **state)
{
    (void)state;
    dray_loaded *loaded = NULL;
    dray_load_options options = load_options(DRAY_STORAGE_PINNED);
    fault_os_limit_lock(1 << 20);
    assert_int_equal(dray_weights_load(weights, &options, &loaded, &error), DRAY_E_NOMEM);
    assert_non_null(strstr(error.message, "the limit of lockable memory is 1048576"));
    assert_non_null(strstr(error.message, "raise it"));
    assert_null(loaded);
}

static void an_existing_destination_is_left_alone(void **state)
{
    (void)state;
    const char *disk = test_file_write("precious", "mine", 4);
    dray_loaded *loaded = NULL;
    dray_load_options options = load_options(DRAY_STORAGE_DISK);
    options.disk_path = disk;
    assert_int_equal(dray_weights_load(weights, &options, &loaded, &error), DRAY_E_IO);
    assert_int_equal(error.native_code, EEXIST);
    char content[8] = "";
    int fd = open(disk, O_RDONLY);
    assert_int_equal(read(fd, content, 8), 4);
    close(fd);
    assert_string_equal(content, "mine");
    unlink(disk);
}

// --- events ----------------------------------------------------------------------------------------

typedef struct witness {
    uint32_t done[model_tensors];
    uint64_t last_done, last_total, calls, stop_at;
    uint64_t lines;
    char text[4096];
} witness;

static void on_tensor(void *self, uint64_t index)
{
    ((witness *)self)->done[index]++;
}

static bool on_progress(void *self, uint64_t done, uint64_t total)
{
    witness *seen = self;
    assert_true(done >= seen->last_done && done <= total);
    seen->last_done = done;
    seen->last_total = total;
    seen->calls++;
    return seen->stop_at == 0 || seen->calls < seen->stop_at;
}

static void on_explain(void *self, const char *line)
{
    witness *seen = self;
    seen->lines++;
    assert_null(strchr(line, '\n'));
    size_t used = strlen(seen->text);
    snprintf(seen->text + used, sizeof(seen->text) - used, "%s\n", line);
}

static dray_load_events events_of(witness *seen)
{
    return (dray_load_events){
        .self = seen, .tensor_done = on_tensor, .progress = on_progress, .explain = on_explain};
}

static void every_tensor_is_told_once_and_progress_reaches_the_end(void **state)
{
    (void)state;
    static const dray_storage storages[] = {DRAY_STORAGE_SYSTEM, DRAY_STORAGE_PINNED,
                                            DRAY_STORAGE_NULL};
    for (int s = 0; s < 3; s++) {
        witness seen = {0};
        dray_load_options options = load_options(storages[s]);
        options.events = events_of(&seen);
        dray_loaded *loaded = load_ok(&options);
        for (int i = 0; i < model_tensors; i++)
            assert_int_equal(seen.done[i], 1);
        assert_true(seen.calls > 0);
        assert_int_equal(seen.last_done, seen.last_total);
        assert_non_null(strstr(seen.text, "method: "));
        dray_loaded_free(loaded);
    }
}

static void progress_may_stop_the_load(void **state)
{
    (void)state;
    for (int method = DRAY_LOAD_DIRECT; method <= DRAY_LOAD_MAPPED; method++) {
        witness seen = {.stop_at = 1};
        dray_loaded *loaded = NULL;
        dray_load_options options = load_options(DRAY_STORAGE_SYSTEM);
        options.method = (dray_load_method)method;
        options.events = events_of(&seen);
        assert_int_equal(dray_weights_load(weights, &options, &loaded, &error), DRAY_E_CANCELLED);
        assert_null(loaded);
    }
    witness seen = {.stop_at = 1};
    const char *disk = test_file_path("stopped");
    dray_loaded *loaded = NULL;
    dray_load_options options = load_options(DRAY_STORAGE_DISK);
    options.disk_path = disk;
    options.events = events_of(&seen);
    assert_int_equal(dray_weights_load(weights, &options, &loaded, &error), DRAY_E_CANCELLED);
    assert_int_equal(access(disk, F_OK), -1); // nothing is left behind
}

static void explaining_moves_nothing(void **state)
{
    (void)state;
    static const dray_storage storages[] = {DRAY_STORAGE_SYSTEM, DRAY_STORAGE_PINNED,
                                            DRAY_STORAGE_NULL, DRAY_STORAGE_DISK};
    for (int s = 0; s < 4; s++) {
        witness seen = {0};
        dray_loaded *loaded = (dray_loaded *)&seen;
        dray_load_options options = load_options(storages[s]);
        const char *disk = test_file_path("unmade");
        if (storages[s] == DRAY_STORAGE_DISK)
            options.disk_path = disk;
        options.explain_only = 1;
        options.events = events_of(&seen);
        assert_int_equal(dray_weights_load(weights, &options, &loaded, &error), DRAY_OK);
        assert_null(loaded);
        assert_true(seen.lines >= 4);
        assert_int_equal(seen.calls, 0);
        assert_int_equal(access(disk, F_OK), -1);
    }
}

// --- digests ---------------------------------------------------------------------------------------

static void digests_are_over_the_bytes_at_the_destination(void **state)
{
    (void)state;
    safetensors_writer writer = {0};
    uint64_t shape[] = {3};
    const char *path = test_file_path("abc.safetensors"), *disk = test_file_path("abc.out");
    safetensors_writer_tensor(&writer, "abc", "U8", shape, 1, "abc", 3);
    assert_true(safetensors_writer_save(&writer, path));
    dray_weights *abc;
    assert_int_equal(dray_weights_open(context, path, NULL, &abc, &error), DRAY_OK);
    for (int kind = 0; kind < 3; kind++) {
        dray_load_options options =
            load_options(kind == 0 ? DRAY_STORAGE_DISK : DRAY_STORAGE_SYSTEM);
        options.method = kind == 2 ? DRAY_LOAD_MAPPED : DRAY_LOAD_BUFFERED;
        options.disk_path = kind == 0 ? disk : NULL;
        dray_loaded *loaded;
        char hex[65];
        assert_int_equal(dray_weights_load(abc, &options, &loaded, &error), DRAY_OK);
        assert_int_equal(dray_loaded_digest(loaded, 0, DRAY_DIGEST_XXH3_128, hex, &error), DRAY_OK);
        assert_string_equal(hex, "06b05ab6733a618578af5f94892f3950");
        dray_status status = dray_loaded_digest(loaded, 0, DRAY_DIGEST_SHA256, hex, &error);
        if (status == DRAY_OK) // FIPS 180-2, appendix B.1
            assert_string_equal(hex,
                                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        else
            assert_int_equal(status, DRAY_E_UNSUPPORTED);
        assert_int_equal(dray_loaded_digest(loaded, 1, DRAY_DIGEST_SHA256, hex, &error),
                         DRAY_E_INVALID);
        assert_int_equal(dray_loaded_digest(loaded, 0, (dray_digest)9, hex, &error), DRAY_E_INVALID);
        dray_loaded_free(loaded);
    }
    dray_weights_close(abc);
    unlink(path);
    unlink(disk);
}

// --- DLPack ----------------------------------------------------------------------------------------

/// dlpack.h 1.0, as a consumer sees it.
typedef struct consumer_tensor {
    uint32_t major, minor;
    void *manager;
    void (*deleter)(struct consumer_tensor *self);
    uint64_t flags;
    void *data;
    int32_t device_type, device_id, rank;
    uint8_t code, bits;
    uint16_t lanes;
    int64_t *shape, *strides;
    uint64_t byte_offset;
} consumer_tensor;

static void a_dlpack_export_outlives_the_load(void **state)
{
    (void)state;
    dray_load_options options = load_options(DRAY_STORAGE_SYSTEM);
    void *managed, *mapped;
    options.method = DRAY_LOAD_BUFFERED;
    dray_loaded *loaded = load_ok(&options);
    assert_int_equal(dray_loaded_dlpack(loaded, 0, &managed, &error), DRAY_OK);
    assert_int_equal(dray_loaded_dlpack(loaded, 2, &mapped, &error), DRAY_E_UNSUPPORTED);
    assert_string_equal(error.message, "tensor blk.2.w: dlpack: it has no code for Q8_0 elements");
    dray_loaded_free(loaded);
    options.method = DRAY_LOAD_MAPPED;
    loaded = load_ok(&options);
    assert_int_equal(dray_loaded_dlpack(loaded, 1, &mapped, &error), DRAY_OK);
    dray_loaded_free(loaded);
    consumer_tensor *tensor = managed;
    assert_int_equal(tensor->major, 1);
    assert_int_equal(tensor->flags, 1); // read-only
    assert_int_equal(tensor->device_type, 1);
    assert_int_equal(tensor->rank, 1);
    assert_int_equal(tensor->code, 2);
    assert_int_equal(tensor->bits, 32);
    assert_int_equal(tensor->lanes, 1);
    assert_int_equal(tensor->shape[0], tensor_bytes / 4);
    assert_int_equal(tensor->strides[0], 1);
    assert_true(test_model_same(dray_weights_tensor_at(weights, 0), tensor->data));
    tensor->deleter(tensor);
    tensor = mapped;
    assert_int_equal(tensor->code, 4); // bfloat
    assert_true(test_model_same(dray_weights_tensor_at(weights, 1), tensor->data));
    tensor->deleter(tensor);
}

static void an_unaligned_tensor_has_no_dlpack(void **state)
{
    (void)state;
    safetensors_writer writer = {0};
    uint64_t one[] = {1}, shape[] = {2, 3, 4};
    const char *path = test_file_path("odd.safetensors");
    safetensors_writer_tensor(&writer, "matrix", "F16", shape, 3, NULL, 48);
    safetensors_writer_tensor(&writer, "byte", "U8", one, 1, NULL, 1);
    safetensors_writer_tensor(&writer, "float", "F32", one, 1, NULL, 4);
    assert_true(safetensors_writer_save(&writer, path));
    dray_weights *odd;
    dray_loaded *loaded;
    void *managed;
    assert_int_equal(dray_weights_open(context, path, NULL, &odd, &error), DRAY_OK);
    dray_load_options options = load_options(DRAY_STORAGE_SYSTEM);
    assert_int_equal(dray_weights_load(odd, &options, &loaded, &error), DRAY_OK);
    assert_int_equal(dray_loaded_dlpack(loaded, 2, &managed, &error), DRAY_E_UNSUPPORTED);
    assert_non_null(
        strstr(error.message, "tensor float: dlpack: the tensor does not lie at a multiple of"));
    assert_int_equal(dray_loaded_dlpack(loaded, 0, &managed, &error), DRAY_OK);
    consumer_tensor *tensor = managed;
    assert_int_equal(tensor->rank, 3);
    assert_int_equal(tensor->shape[0], 2);
    assert_int_equal(tensor->strides[0], 12);
    assert_int_equal(tensor->strides[1], 4);
    assert_int_equal(tensor->strides[2], 1);
    tensor->deleter(tensor);
    dray_loaded_free(loaded);
    dray_weights_close(odd);
    unlink(path);
}

// --- the source ------------------------------------------------------------------------------------

static void a_released_source_leaves_the_page_cache(void **state)
{
    (void)state;
    dray_load_report report;
    for (int method = DRAY_LOAD_DIRECT; method <= DRAY_LOAD_BUFFERED; method++) {
        dray_load_options options = load_options(DRAY_STORAGE_PINNED);
        options.method = (dray_load_method)method;
        options.release_source = 1;
        dray_loaded *loaded = load_ok(&options);
        check_all(loaded);
        dray_loaded_get_report(loaded, &report);
        if (report.cache_bytes_after == DRAY_UNKNOWN)
            skip();                                                 // this kernel does not tell
        assert_true(report.cache_bytes_after <= report.bytes / 10); // a page may be in use elsewhere
        dray_loaded_free(loaded);
    }
}

static void a_file_that_changed_since_it_was_opened_is_refused(void **state)
{
    (void)state;
    dray_loaded *loaded = NULL;
    dray_load_options options = load_options(DRAY_STORAGE_SYSTEM);
    for (int method = DRAY_LOAD_AUTO; method <= DRAY_LOAD_MAPPED; method++) {
        options.method = (dray_load_method)method;
        test_model_flip(model_path, 100000);
        assert_int_equal(dray_weights_load(weights, &options, &loaded, &error), DRAY_E_CORRUPT);
        assert_non_null(strstr(error.message, "was changed since it was opened"));
    }
    assert_int_equal(truncate(model_path, 1000000), 0);
    assert_int_equal(dray_weights_load(weights, &options, &loaded, &error), DRAY_E_CORRUPT);
    assert_non_null(strstr(error.message, "was cut short"));
    assert_non_null(strstr(error.message, "lost from tensor blk.1.w"));
    assert_null(loaded);
}

static void a_caller_may_bring_an_agent(void **state)
{
    (void)state;
    dray_agent *agent;
    assert_int_equal(dray_agent_create(context, NULL, &agent, &error), DRAY_OK);
    dray_load_options options = load_options(DRAY_STORAGE_PINNED);
    options.agent = agent;
    for (int twice = 0; twice < 2; twice++) {
        dray_loaded *loaded = load_ok(&options);
        check_all(loaded);
        dray_loaded_free(loaded);
    }
    dray_agent_destroy(agent);
}

int main(void)
{
#define with_model(test) cmocka_unit_test_setup_teardown(test, open_model, close_model)
    const struct CMUnitTest tests[] = {
        with_model(every_method_to_every_destination_gives_the_files_bytes),
        with_model(null_takes_all_and_keeps_nothing),
        with_model(without_threads_and_without_io_uring_the_bytes_are_the_same),
        with_model(the_report_says_what_was_done),
        with_model(bytes_in_memory_are_viewed_where_they_are),
        with_model(only_matching_tensors_are_loaded),
        with_model(only_these_layers_are_loaded),
        with_model(an_empty_tensor_alone_can_be_loaded),
        with_model(contradicting_options_are_errors_that_name_both),
        with_model(the_memory_limit_is_obeyed_with_numbers),
        with_model(too_little_lockable_memory_names_the_limit),
        with_model(an_existing_destination_is_left_alone),
        with_model(every_tensor_is_told_once_and_progress_reaches_the_end),
        with_model(progress_may_stop_the_load),
        with_model(explaining_moves_nothing),
        with_model(digests_are_over_the_bytes_at_the_destination),
        with_model(a_dlpack_export_outlives_the_load),
        with_model(an_unaligned_tensor_has_no_dlpack),
        with_model(a_released_source_leaves_the_page_cache),
        with_model(a_file_that_changed_since_it_was_opened_is_refused),
        with_model(a_caller_may_bring_an_agent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
