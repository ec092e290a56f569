/// Manifests: strict text, checked while loading and by itself; one flipped bit names tensor and chunk.
#include "core/context.h"
#include "dray/weights.h"
#include "support/fault_os.h"
#include "support/safetensors_writer.h"
#include "support/test_file.h"
#include "support/test_model.h"
#include "support/testing.h"
#include "weights/manifest.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { model_tensors = 10, tensor_bytes = 300 << 10, chunk_bytes = 64 << 10 };

static dray_context *context;
static dray_weights *weights;
static char model_path[512], manifest_path[600];
static dray_error error;

static void open_weights(void)
{
    dray_status status = dray_weights_open(context, model_path, NULL, &weights, &error);
    if (status != DRAY_OK)
        fail_msg("%s", error.message);
}

static int open_model(void **state)
{
    (void)state;
    dray_context_options options = {.struct_bytes = sizeof(options), .thread_count = 2};
    fault_os_reset();
    memset(&error, 0, sizeof(error));
    if (drayi_context_create_with(&options, fault_os(), &context, &error) != DRAY_OK)
        return 1;
    snprintf(model_path, sizeof(model_path), "%s",
             test_model_make("verified.gguf", model_tensors, tensor_bytes));
    snprintf(manifest_path, sizeof(manifest_path), "%s.dray", model_path);
    unlink(manifest_path);
    open_weights();
    return 0;
}

static int close_model(void **state)
{
    (void)state;
    dray_weights_close(weights);
    dray_context_destroy(context);
    unlink(model_path);
    unlink(manifest_path);
    return 0;
}

static void write_manifest(void)
{
    dray_manifest_options options = {.struct_bytes = sizeof(options), .chunk_bytes = chunk_bytes};
    dray_status status = dray_manifest_write(weights, &options, &error);
    if (status != DRAY_OK)
        fail_msg("%s", error.message);
}

static void reopen(void)
{
    dray_weights_close(weights);
    open_weights();
}

static uint64_t chunks_in_all(void)
{
    uint64_t sum = 0;
    for (int i = 0; i < model_tensors; i++)
        sum += drayi_chunks_of(dray_weights_tensor_at(weights, (uint64_t)i)->bytes, chunk_bytes);
    return sum;
}

// --- written and checked ---------------------------------------------------------------------------

static void what_was_written_verifies(void **state)
{
    (void)state;
    dray_verify_report report;
    write_manifest();
    assert_int_equal(dray_weights_verify(weights, NULL, &report, &error), DRAY_OK);
    assert_int_equal(report.tensors_total, model_tensors);
    assert_int_equal(report.tensors_checked, model_tensors);
    assert_int_equal(report.tensors_bad, 0);
    assert_int_equal(report.chunks_checked, chunks_in_all());
    assert_int_equal(report.chunks_bad, 0);
    dray_weights_info info;
    dray_weights_get_info(weights, &info);
    assert_int_equal(report.bytes, info.tensor_bytes);
}

static void the_text_is_the_same_every_time(void **state)
{
    (void)state;
    static char first[100000], second[100000];
    for (int i = 0; i < 2; i++) {
        write_manifest();
        int fd = open(manifest_path, O_RDONLY);
        ssize_t got = read(fd, i ? second : first, sizeof(first) - 1);
        assert_true(got > 1000);
        close(fd);
    }
    assert_string_equal(first, second);
    assert_memory_equal(first, "dray-manifest 1\nchunk 65536\nfile ", 33);
}

static void verified_loads_give_the_same_bytes(void **state)
{
    (void)state;
    static const dray_storage storages[] = {DRAY_STORAGE_SYSTEM, DRAY_STORAGE_PINNED,
                                            DRAY_STORAGE_DISK};
    write_manifest();
    for (int s = 0; s < 3; s++) {
        for (int method = DRAY_LOAD_DIRECT; method <= DRAY_LOAD_MAPPED; method++) {
            if (method == DRAY_LOAD_MAPPED && storages[s] != DRAY_STORAGE_SYSTEM)
                continue;
            const char *disk = test_file_path("verified.out");
            dray_load_options options = {.struct_bytes = sizeof(options),
                                         .storage = storages[s],
                                         .method = (dray_load_method)method,
                                         .manifest = manifest_path};
            if (storages[s] == DRAY_STORAGE_DISK)
                options.disk_path = disk;
            dray_loaded *loaded;
            dray_load_report report;
            dray_status status = dray_weights_load(weights, &options, &loaded, &error);
            if (status != DRAY_OK)
                fail_msg("%s", error.message);
            dray_loaded_get_report(loaded, &report);
            assert_int_equal(report.chunks_verified, chunks_in_all());
            dray_loaded_free(loaded);
            unlink(disk);
        }
    }
}

/// What the table of `counting_os` has mapped that is no file's, and the most it ever was.
static _Atomic uint64_t mapped_bytes, mapped_bytes_most;

static void *counted_map(void *where, size_t bytes, int protection, int flags, int fd,
                         uint64_t offset, int *out_code)
{
    void *at = drayi_os_linux.map(where, bytes, protection, flags, fd, offset, out_code);
    if (at && fd < 0) {
        uint64_t now = atomic_fetch_add(&mapped_bytes, bytes) + bytes;
        if (now > mapped_bytes_most)
            mapped_bytes_most = now;
    }
    return at;
}

static int counted_unmap(void *at, size_t bytes)
{
    mapped_bytes -= bytes; // anonymous or not: a load to disk maps no file
    return drayi_os_linux.unmap(at, bytes);
}

static void reading_back_keeps_to_the_memory_limit(void **state)
{
    (void)state;
    write_manifest();
    dray_weights_close(weights);
    dray_context_destroy(context);
    static drayi_os os; // outlives this function, as the context does
    os = drayi_os_linux;
    os.map = counted_map;
    os.unmap = counted_unmap;
    dray_context_options alone = {.struct_bytes = sizeof(alone)};
    assert_int_equal(drayi_context_create_with(&alone, &os, &context, &error), DRAY_OK);
    open_weights();
    mapped_bytes = mapped_bytes_most = 0;
    dray_load_options options = {.struct_bytes = sizeof(options),
                                 .storage = DRAY_STORAGE_DISK,
                                 .disk_path = test_file_path("limited.out"),
                                 .manifest = manifest_path,
                                 .memory_limit = 1 << 20};
    dray_loaded *loaded;
    dray_load_report report;
    if (dray_weights_load(weights, &options, &loaded, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    dray_loaded_get_report(loaded, &report);
    assert_int_equal(report.chunks_verified, chunks_in_all());
    assert_in_range(mapped_bytes_most, 1, (1 << 20) + 3 * 4096); // and the edges of pages
    dray_loaded_free(loaded);
    unlink(options.disk_path);
    options.memory_limit = chunk_bytes; // two windows of a chunk each are more than that
    assert_int_equal(dray_weights_load(weights, &options, &loaded, &error), DRAY_E_NOSPACE);
    assert_int_equal(access(options.disk_path, F_OK), -1);
}

/// Every storage and method must notice, say where, and leave nothing behind.
static void a_flipped_bit_names_tensor_and_chunk(void **state)
{
    (void)state;
    static const struct {
        dray_storage storage;
        dray_load_method method;
    } ways[] = {
        {DRAY_STORAGE_SYSTEM, DRAY_LOAD_BUFFERED}, {DRAY_STORAGE_SYSTEM, DRAY_LOAD_MAPPED},
        {DRAY_STORAGE_PINNED, DRAY_LOAD_DIRECT},   {DRAY_STORAGE_DISK, DRAY_LOAD_DIRECT},
        {DRAY_STORAGE_DISK, DRAY_LOAD_BUFFERED},
    };
    write_manifest();
    const dray_tensor *tensor = dray_weights_tensor_find(weights, "blk.5.w", 7, NULL);
    uint64_t at = tensor->offset + UINT64_C(3) * chunk_bytes + 17;
    test_model_flip(model_path, at);
    reopen();
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        const char *disk = test_file_path("flipped.out");
        dray_loaded *loaded = NULL;
        dray_load_options options = {.struct_bytes = sizeof(options),
                                     .storage = ways[i].storage,
                                     .method = ways[i].method,
                                     .manifest = manifest_path};
        if (ways[i].storage == DRAY_STORAGE_DISK)
            options.disk_path = disk;
        assert_int_equal(dray_weights_load(weights, &options, &loaded, &error), DRAY_E_CORRUPT);
        assert_non_null(strstr(error.message, "tensor blk.5.w: chunk 3 (65536 bytes at "));
        assert_string_equal(error.rule, "manifest.chunk");
        assert_null(loaded);
        assert_int_equal(access(disk, F_OK), -1);
    }
    dray_verify_report report;
    assert_int_equal(dray_weights_verify(weights, NULL, &report, &error), DRAY_E_CORRUPT);
    assert_non_null(strstr(error.message, "tensor blk.5.w: chunk 3 "));
}

static void other_tensors_load_beside_a_bad_one(void **state)
{
    (void)state;
    write_manifest();
    test_model_flip(model_path, dray_weights_tensor_find(weights, "blk.5.w", 7, NULL)->offset);
    reopen();
    dray_load_options options = {.struct_bytes = sizeof(options),
                                 .storage = DRAY_STORAGE_PINNED,
                                 .tensors = "blk.[0-4].w",
                                 .manifest = manifest_path};
    dray_loaded *loaded;
    assert_int_equal(dray_weights_load(weights, &options, &loaded, &error), DRAY_OK);
    dray_loaded_free(loaded);
}

typedef struct bad_list {
    uint64_t count, chunks[8];
    const dray_tensor *tensors[8];
} bad_list;

static void on_bad(void *self, const dray_tensor *tensor, uint64_t chunk, uint64_t offset,
                   uint64_t bytes)
{
    bad_list *list = self;
    assert_true(list->count < 8);
    assert_int_equal(offset, tensor->offset + chunk * chunk_bytes);
    assert_true(bytes <= chunk_bytes);
    list->chunks[list->count] = chunk;
    list->tensors[list->count++] = tensor;
}

static void verify_can_go_on_and_name_all_that_is_bad(void **state)
{
    (void)state;
    write_manifest();
    const dray_tensor *first = dray_weights_tensor_find(weights, "blk.1.w", 7, NULL);
    test_model_flip(model_path, first->offset);
    test_model_flip(model_path, first->offset + UINT64_C(2) * chunk_bytes);
    test_model_flip(model_path, dray_weights_tensor_find(weights, "blk.8.w", 7, NULL)->offset);
    reopen();
    bad_list list = {0};
    dray_verify_report report;
    dray_verify_options options = {
        .struct_bytes = sizeof(options), .bad = on_bad, .bad_self = &list};
    assert_int_equal(dray_weights_verify(weights, &options, &report, &error), DRAY_E_CORRUPT);
    assert_int_equal(list.count, 3);
    assert_int_equal(list.chunks[1], 2);
    assert_int_equal(report.chunks_bad, 3);
    assert_int_equal(report.tensors_bad, 2);
    assert_int_equal(report.tensors_checked, model_tensors);
    assert_non_null(strstr(error.message, "tensor blk.1.w: chunk 0 "));
}

static void a_changed_head_does_not_fit(void **state)
{
    (void)state;
    write_manifest();
    const char needle[] = "llama";
    char head[4096];
    int fd = open(model_path, O_RDWR);
    assert_true(read(fd, head, sizeof(head)) > 100);
    char *found = memmem(head, sizeof(head), needle, 5);
    assert_non_null(found);
    assert_int_equal(pwrite(fd, "gemma", 5, found - head), 5);
    close(fd);
    reopen();
    dray_verify_report report;
    assert_int_equal(dray_weights_verify(weights, NULL, &report, &error), DRAY_E_CORRUPT);
    assert_string_equal(error.rule, "manifest.head");
    assert_int_equal(report.tensors_checked, 0);
}

static void another_models_manifest_does_not_fit(void **state)
{
    (void)state;
    write_manifest();
    dray_weights_close(weights);
    unlink(model_path);
    snprintf(model_path, sizeof(model_path), "%s",
             test_model_make("verified.gguf", model_tensors - 1, tensor_bytes));
    open_weights();
    assert_int_equal(dray_weights_verify(weights, NULL, NULL, &error), DRAY_E_CORRUPT);
    assert_string_equal(error.rule, "manifest.set");
}

static void checking_nothing_is_a_failure(void **state)
{
    (void)state;
    safetensors_writer writer = {0};
    const char *path = test_file_path("none.safetensors");
    assert_true(safetensors_writer_save(&writer, path));
    dray_weights *none;
    assert_int_equal(dray_weights_open(context, path, NULL, &none, &error), DRAY_OK);
    assert_int_equal(dray_weights_verify(none, NULL, NULL, &error), DRAY_E_NOTFOUND); // no manifest
    dray_weights_close(none);
    unlink(path);
    assert_int_equal(dray_weights_verify(weights, NULL, NULL, &error), DRAY_E_NOTFOUND);
}

static bool stop_at_once(void *self, uint64_t done, uint64_t total)
{
    (void)self, (void)done, (void)total;
    return false;
}

static void writing_can_be_stopped_and_leaves_nothing(void **state)
{
    (void)state;
    dray_manifest_options options = {.struct_bytes = sizeof(options),
                                     .events.progress = stop_at_once};
    assert_int_equal(dray_manifest_write(weights, &options, &error), DRAY_E_CANCELLED);
    assert_int_equal(access(manifest_path, F_OK), -1);
    options.chunk_bytes = 1000;
    assert_int_equal(dray_manifest_write(weights, &options, &error), DRAY_E_INVALID);
}

// --- the text --------------------------------------------------------------------------------------

/// A parse of `body` with the right magic and seal around it.
static dray_status parse(const char *body, drayi_manifest *out)
{
    char text[4096], hex[drayi_hash_text];
    snprintf(text, sizeof(text), "dray-manifest 1\n%s", body);
    drayi_hash_print(drayi_hash_of(text, strlen(text)), hex);
    size_t used = strlen(text);
    snprintf(text + used, sizeof(text) - used, "end %s\n", hex);
    drayi_manifest_init(out, drayi_env_of(context));
    return drayi_manifest_parse(out, text, strlen(text), &error);
}

static void refused(const char *body, const char *rule)
{
    drayi_manifest manifest;
    if (parse(body, &manifest) != DRAY_E_FORMAT || strcmp(error.rule, rule) != 0)
        fail_msg("%s: %s, wanted %s", body, error.message, rule);
    drayi_manifest_free(&manifest);
}

#define HASH "00112233445566778899aabbccddeeff"
#define FILE_LINE "file 100000 100 " HASH " m.gguf\n"

static void a_manifest_is_read_as_it_was_written(void **state)
{
    (void)state;
    drayi_manifest manifest;
    assert_int_equal(parse("chunk 65536\n" FILE_LINE "tensor 0 100 0 " HASH " \n"
                           "tensor 0 100 99900 " HASH " a%20b%25%0a\n " HASH "\n " HASH "\n",
                           &manifest),
                     DRAY_OK);
    assert_int_equal(manifest.tensor_count, 2);
    const drayi_manifest_tensor *odd =
        drayi_manifest_find(&manifest, (dray_text){.bytes = "a b%\n", .length = 5});
    assert_non_null(odd);
    assert_int_equal(odd->chunk_count, 2);
    assert_non_null(drayi_manifest_find(&manifest, (dray_text){.bytes = "", .length = 0}));
    assert_null(drayi_manifest_find(&manifest, (dray_text){.bytes = "a", .length = 1}));
    drayi_manifest_free(&manifest);
}

static void what_can_be_written_in_two_ways_is_refused_in_one(void **state)
{
    (void)state;
    refused("", "manifest.line");
    refused("chunk 065536\n", "manifest.number");
    refused("chunk 65536 \n", "manifest.number");
    refused("chunk 18446744073709551616\n", "manifest.number");
    refused("chunk +65536\n", "manifest.number");
    refused("chunk 4096\n", "manifest.chunk");
    refused("chunk 65536\nfile 1 1  " HASH " m\n", "manifest.hash");
    refused("chunk 65536\nfile 1 1 00112233445566778899AABBCCDDEEFF m\n", "manifest.hash");
    refused("chunk 65536\n" FILE_LINE "tensor 0 0 1 " HASH " a b\n", "manifest.name");
    refused("chunk 65536\n" FILE_LINE "tensor 0 0 1 " HASH " %61\n", "manifest.name");
    refused("chunk 65536\n" FILE_LINE "tensor 0 0 1 " HASH " %0A\n", "manifest.name");
    refused("chunk 65536\n" FILE_LINE "tensor 0 0 1 " HASH " %2\n", "manifest.name");
    refused("chunk 65536\n" FILE_LINE "tensor 1 0 1 " HASH " a\n", "manifest.span");
    refused("chunk 65536\n" FILE_LINE "tensor 0 100000 1 " HASH " a\n", "manifest.span");
    refused("chunk 65536\n" FILE_LINE "tensor 0 18446744073709551615 1 " HASH " a\n",
            "manifest.span");
    refused("chunk 65536\n" FILE_LINE "tensor 0 0 90000 " HASH " a\n", "manifest.chunk");
    refused("chunk 65536\n" FILE_LINE "tensor 0 0 1 " HASH " a\ntensor 0 1 1 " HASH " a\n",
            "manifest.duplicate");
    refused("chunk 65536\n" FILE_LINE "tensor 0 0 1 " HASH " a\n" FILE_LINE, "manifest.line");
    refused("chunk 65536\r\n", "manifest.number");
}

static void a_manifest_that_was_cut_or_changed_is_corrupt(void **state)
{
    (void)state;
    char text[100000];
    write_manifest();
    int fd = open(manifest_path, O_RDONLY);
    ssize_t bytes = read(fd, text, sizeof(text));
    close(fd);
    drayi_manifest manifest;
    for (ssize_t cut = 1; cut < bytes; cut += 97) {
        drayi_manifest_init(&manifest, drayi_env_of(context));
        assert_int_not_equal(drayi_manifest_parse(&manifest, text, (uint64_t)(bytes - cut), &error),
                             DRAY_OK);
        drayi_manifest_free(&manifest);
    }
    for (ssize_t at = 0; at < bytes; at += 41) {
        text[at] ^= 1;
        drayi_manifest_init(&manifest, drayi_env_of(context));
        assert_int_not_equal(drayi_manifest_parse(&manifest, text, (uint64_t)bytes, &error),
                             DRAY_OK);
        drayi_manifest_free(&manifest);
        text[at] ^= 1;
    }
}

int main(void)
{
#define with_model(test) cmocka_unit_test_setup_teardown(test, open_model, close_model)
    const struct CMUnitTest tests[] = {
        with_model(what_was_written_verifies),
        with_model(the_text_is_the_same_every_time),
        with_model(verified_loads_give_the_same_bytes),
        with_model(reading_back_keeps_to_the_memory_limit),
        with_model(a_flipped_bit_names_tensor_and_chunk),
        with_model(other_tensors_load_beside_a_bad_one),
        with_model(verify_can_go_on_and_name_all_that_is_bad),
        with_model(a_changed_head_does_not_fit),
        with_model(another_models_manifest_does_not_fit),
        with_model(checking_nothing_is_a_failure),
        with_model(writing_can_be_stopped_and_leaves_nothing),
        with_model(a_manifest_is_read_as_it_was_written),
        with_model(what_can_be_written_in_two_ways_is_refused_in_one),
        with_model(a_manifest_that_was_cut_or_changed_is_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
