/// Opening models: what the core makes of what formats say, of folders, shards, splits and memory.
#include "core/context.h"
#include "dray/weights.h"
#include "os/os.h"
#include "support/apr_writer.h"
#include "support/fault_os.h"
#include "support/gguf_writer.h"
#include "support/safetensors_writer.h"
#include "support/scripted_format.h"
#include "support/test_file.h"
#include "support/testing.h"
#include "weights/head.h"
#include "weights/shards.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static dray_context *context;
static dray_error error;

static int make_context(void **state)
{
    (void)state;
    static const dray_format_ops *const formats[] = {&scripted_format, NULL};
    dray_context_options options = {.struct_bytes = sizeof(options), .formats = formats};
    fault_os_reset();
    memset(&error, 0, sizeof(error));
    return drayi_context_create_with(&options, fault_os(), &context, &error) == DRAY_OK ? 0 : 1;
}

static int drop_context(void **state)
{
    (void)state;
    dray_context_destroy(context);
    return 0;
}

/// A file of 4096 bytes that the scripted format takes.
static const char *scripted_file(void)
{
    char content[4096] = "SCRIPTED";
    return test_file_write("scripted", content, sizeof(content));
}

static dray_status open_script(const script *what, dray_weights **out)
{
    scripted = *what;
    const char *path = scripted_file();
    dray_status status = dray_weights_open(context, path, NULL, out, &error);
    unlink(path);
    return status;
}

static void refused(const script *what, const char *rule)
{
    dray_weights *weights = NULL;
    assert_int_equal(open_script(what, &weights), DRAY_E_FORMAT);
    assert_non_null(error.rule);
    assert_string_equal(error.rule, rule);
    assert_null(weights);
}

// --- what formats say ------------------------------------------------------------------------------

static void tensors_come_in_file_order_and_are_found_by_name(void **state)
{
    (void)state;
    const script_tensor tensors[] = {
        {"blk.1.late", DRAY_DTYPE_F32, {2, 3}, 2, 200, 24, false},
        {"early", DRAY_DTYPE_U8, {10}, 1, 100, 10, false},
        {"empty", DRAY_DTYPE_F32, {0}, 1, 200, 0, false},
    };
    dray_weights *weights;
    uint64_t index;
    assert_int_equal(open_script(&(script){.tensors = tensors, .tensor_count = 3}, &weights),
                     DRAY_OK);
    assert_memory_equal(dray_weights_tensor_at(weights, 0)->name.bytes, "early", 5);
    assert_memory_equal(dray_weights_tensor_at(weights, 1)->name.bytes, "empty", 5);
    const dray_tensor *late = dray_weights_tensor_find(weights, "blk.1.late", 10, &index);
    assert_non_null(late);
    assert_int_equal(index, 2);
    assert_ptr_equal(late, dray_weights_tensor_at(weights, 2));
    assert_int_equal(late->layer, 1);
    assert_int_equal(late->shape[0], 2);
    assert_int_equal(late->shape[1], 3);
    assert_int_equal(late->native_type, 7);
    assert_null(dray_weights_tensor_at(weights, 3));
    assert_null(dray_weights_tensor_find(weights, "blk.1.lat", 9, NULL));
    dray_span span;
    assert_int_equal(dray_weights_tensor_span(weights, 2, &span, &error), DRAY_OK);
    assert_int_equal(span.offset, 200);
    assert_int_equal(span.bytes, 24);
    assert_int_equal(dray_weights_tensor_span(weights, 3, &span, &error), DRAY_E_INVALID);
    dray_weights_info info;
    dray_weights_get_info(weights, &info);
    assert_string_equal(info.format, "scripted");
    assert_int_equal(info.tensor_bytes, 34);
    dray_weights_close(weights);
}

static void a_span_outside_the_file_is_refused(void **state)
{
    (void)state;
    const script_tensor one[] = {{"a", DRAY_DTYPE_U8, {10}, 1, 4090, 10, false}};
    refused(&(script){.tensors = one, .tensor_count = 1}, "weights.tensor.span");
    assert_non_null(
        strstr(error.message, "tensor a: 10 bytes at 4090 are not within the file's 4096"));
    const script_tensor wraps[] = {{"a", DRAY_DTYPE_U8, {16}, 1, UINT64_MAX - 7, 16, false}};
    refused(&(script){.tensors = wraps, .tensor_count = 1}, "weights.tensor.span");
    const script_tensor unknown[] = {{"a", DRAY_DTYPE_UNKNOWN, {16}, 1, 4097, 0, true}};
    refused(&(script){.tensors = unknown, .tensor_count = 1}, "weights.tensor.span");
    refused(&(script){.facts.data_offset = 4097}, "weights.data");
}

static void a_size_that_is_not_the_shapes_is_refused(void **state)
{
    (void)state;
    const script_tensor one[] = {{"a", DRAY_DTYPE_F32, {10}, 1, 100, 39, false}};
    refused(&(script){.tensors = one, .tensor_count = 1}, "weights.tensor.size");
    const script_tensor rank[] = {{"a", DRAY_DTYPE_F32, {10}, 65, 100, 40, false}};
    refused(&(script){.tensors = rank, .tensor_count = 1}, "weights.tensor.rank");
}

static void overlapping_tensors_are_refused(void **state)
{
    (void)state;
    const script_tensor tensors[] = {
        {"b", DRAY_DTYPE_U8, {10}, 1, 109, 10, false},
        {"a", DRAY_DTYPE_U8, {10}, 1, 100, 10, false},
    };
    refused(&(script){.tensors = tensors, .tensor_count = 2}, "weights.tensor.overlap");
    assert_non_null(strstr(error.message, "tensor b begins at 109, but a ends only at 110"));
}

static void a_tensor_that_appears_twice_is_refused(void **state)
{
    (void)state;
    const script_tensor tensors[] = {
        {"a", DRAY_DTYPE_U8, {10}, 1, 100, 10, false},
        {"a", DRAY_DTYPE_U8, {10}, 1, 200, 10, false},
    };
    refused(&(script){.tensors = tensors, .tensor_count = 2}, "weights.tensor.duplicate");
    const char *keys[] = {"k", "l", "k"};
    refused(&(script){.keys = keys, .key_count = 3}, "weights.metadata.duplicate");
}

static void control_bytes_in_names_do_not_reach_messages(void **state)
{
    (void)state;
    const script_tensor one[] = {{"a\x1b[31m\n", DRAY_DTYPE_U8, {10}, 1, 4090, 10, false}};
    refused(&(script){.tensors = one, .tensor_count = 1}, "weights.tensor.span");
    assert_non_null(strstr(error.message, "tensor a?[31m?:"));
}

static void many_names_are_all_found(void **state)
{
    (void)state;
    enum { count = 3000 };
    static char names[count][16];
    static script_tensor tensors[count];
    for (int i = 0; i < count; i++) {
        snprintf(names[i], sizeof(names[i]), "t%d", i);
        tensors[i] =
            (script_tensor){names[i], DRAY_DTYPE_U8, {1}, 1, (uint64_t)(count - i), 1, false};
    }
    dray_weights *weights;
    assert_int_equal(open_script(&(script){.tensors = tensors, .tensor_count = count}, &weights),
                     DRAY_OK);
    for (int i = 0; i < count; i++) {
        uint64_t index;
        assert_non_null(dray_weights_tensor_find(weights, names[i], strlen(names[i]), &index));
        assert_int_equal(index, count - 1 - i);
    }
    dray_weights_close(weights);
}

static void warnings_are_kept_up_to_a_number(void **state)
{
    (void)state;
    dray_weights *weights;
    dray_weights_info info;
    assert_int_equal(open_script(&(script){.warning_count = 1500}, &weights), DRAY_OK);
    dray_weights_get_info(weights, &info);
    assert_int_equal(info.warning_count, 1000);
    assert_string_equal(dray_weights_warning_at(weights, 998)->message, "warning 998");
    assert_string_equal(dray_weights_warning_at(weights, 999)->message, "501 more warnings");
    assert_null(dray_weights_warning_at(weights, 1000));
    dray_weights_close(weights);
}

static void tensors_of_unknown_size_are_listed_and_have_no_span(void **state)
{
    (void)state;
    const script_tensor one[] = {{"a", DRAY_DTYPE_UNKNOWN, {16}, 1, 100, 0, true}};
    dray_weights *weights;
    dray_span span;
    assert_int_equal(open_script(&(script){.tensors = one, .tensor_count = 1}, &weights), DRAY_OK);
    assert_true(dray_weights_tensor_at(weights, 0)->bytes == DRAY_UNKNOWN);
    assert_int_equal(dray_weights_tensor_span(weights, 0, &span, &error), DRAY_E_UNSUPPORTED);
    dray_weights_close(weights);
}

// --- the head --------------------------------------------------------------------------------------

static void a_head_grows_without_moving(void **state)
{
    (void)state;
    enum { bytes = 3 << 20 };
    const char *path = test_file_make("head", bytes);
    drayi_head head;
    int fd;
    assert_int_equal(drayi_open_file(fault_os(), path, 0, 0, &fd, &error), DRAY_OK);
    assert_int_equal(drayi_head_open_fd(&head, drayi_env_of(context), fd, 0, path, bytes, &error),
                     DRAY_OK);
    const uint8_t *at = head.bytes;
    assert_int_equal(head.available, 0);
    assert_int_equal(drayi_head_need(&head, 100, &error), DRAY_OK);
    assert_true(head.available >= 100 && head.available <= 64 << 10);
    assert_int_equal(drayi_head_need(&head, 1 << 20, &error), DRAY_OK);
    assert_int_equal(drayi_head_need(&head, bytes, &error), DRAY_OK);
    assert_int_equal(head.available, bytes);
    assert_ptr_equal(head.bytes, at);
    assert_true(test_file_same(head.bytes, 0, bytes));
    assert_int_equal(drayi_head_need(&head, bytes + 1, &error), DRAY_E_CORRUPT);
    drayi_head_settle(&head);
    assert_true(test_file_same(head.bytes, 0, bytes));
    drayi_head_close(&head);
    drayi_close_file(fault_os(), fd);
    unlink(path);
}

/// What was parsed is what stays, whatever happens to the file afterwards.
static void a_file_that_changes_later_does_not_change_the_index(void **state)
{
    (void)state;
    gguf_writer writer = {0};
    gguf_header(&writer, 3, 1, 1);
    gguf_key_text(&writer, "general.architecture", "llama");
    gguf_tensor(&writer, "first", GGUF_F32, 1, (uint64_t[]){4}, 0);
    gguf_data(&writer, 16);
    const char *path = test_file_write("changes.gguf", writer.bytes, writer.length);
    dray_weights *weights;
    assert_int_equal(dray_weights_open(context, path, NULL, &weights, &error), DRAY_OK);
    assert_int_equal(truncate(path, 0), 0);
    const dray_metadata *entry = dray_weights_metadata_find(weights, "general.architecture");
    assert_non_null(entry);
    assert_memory_equal(entry->value.as.text.bytes, "llama", 5);
    assert_memory_equal(dray_weights_tensor_at(weights, 0)->name.bytes, "first", 5);
    dray_weights_close(weights);
    unlink(path);
    gguf_free(&writer);
}

static void little_address_space_is_enough_for_a_small_head(void **state)
{
    (void)state;
    const char *path = test_file_make("reserve", 1 << 20);
    drayi_head head;
    int fd;
    assert_int_equal(drayi_open_file(fault_os(), path, 0, 0, &fd, &error), DRAY_OK);
    fault_os_inject(&(fault_plan){.at = 1, .repeat = 3, .groups = FAULT_MEMORY, .code = -ENOMEM});
    assert_int_equal(drayi_head_open_fd(&head, drayi_env_of(context), fd, 0, path, 1 << 20, &error),
                     DRAY_OK);
    assert_int_equal(head.reserved_bytes, 128 << 10);
    fault_os_inject(&(fault_plan){0});
    assert_int_equal(drayi_head_need(&head, 128 << 10, &error), DRAY_OK);
    assert_int_equal(drayi_head_need(&head, (128 << 10) + 1, &error), DRAY_E_NOMEM);
    drayi_head_close(&head);
    drayi_close_file(fault_os(), fd);
    unlink(path);
}

// --- formats and refusals --------------------------------------------------------------------------

static void a_format_may_be_named(void **state)
{
    (void)state;
    const char *path = test_file_make("raw", 1000);
    dray_weights *weights;
    dray_weights_options options = {.struct_bytes = sizeof(options), .format = "raw"};
    assert_int_equal(dray_weights_open(context, path, &options, &weights, &error), DRAY_OK);
    assert_int_equal(dray_weights_tensor_at(weights, 0)->bytes, 1000);
    dray_weights_close(weights);
    options.format = "gguf";
    assert_int_equal(dray_weights_open(context, path, &options, &weights, &error), DRAY_E_FORMAT);
    options.format = "tensorflow";
    assert_int_equal(dray_weights_open(context, path, &options, &weights, &error), DRAY_E_NOTFOUND);
    assert_non_null(strstr(error.message,
                           "no format is called \"tensorflow\"; this build knows scripted, gguf"));
    unlink(path);
}

static void a_file_of_proc_is_not_called_empty(void **state)
{
    (void)state;
    dray_weights *weights;
    assert_int_equal(dray_weights_open(context, "/proc/self/maps", NULL, &weights, &error),
                     DRAY_E_FORMAT);
    assert_null(strstr(error.message, "empty"));
    dray_weights_options options = {.struct_bytes = sizeof(options), .format = "raw"};
    assert_int_equal(dray_weights_open(context, "/proc/self/maps", &options, &weights, &error),
                     DRAY_OK);
    assert_true(dray_weights_tensor_at(weights, 0)->bytes > 100);
    dray_weights_close(weights);
}

static void what_nobody_takes_is_explained(void **state)
{
    (void)state;
    const char *path = test_file_write("page", "<!DOCTYPE html><html></html>", 28);
    dray_weights *weights;
    assert_int_equal(dray_weights_open(context, path, NULL, &weights, &error), DRAY_E_FORMAT);
    assert_non_null(strstr(error.message, "HTML"));
    unlink(path);
    path = test_file_write("noise", "\x01\x02\x03\x04xyz", 7);
    assert_int_equal(dray_weights_open(context, path, NULL, &weights, &error), DRAY_E_FORMAT);
    assert_non_null(error.rule);
    unlink(path);
    assert_int_equal(dray_weights_open(context, "/nonexistent/x.gguf", NULL, &weights, &error),
                     DRAY_E_NOTFOUND);
    assert_int_equal(error.native_code, ENOENT);
}

// --- folders, shards, splits -----------------------------------------------------------------------

static char folder[512];

static int make_folder(void **state)
{
    if (make_context(state) != 0)
        return 1;
    snprintf(folder, sizeof(folder), "%s", test_file_path("folder"));
    return mkdir(folder, 0700);
}

static int drop_folder(void **state)
{
    DIR *list = opendir(folder);
    for (struct dirent *entry; list && (entry = readdir(list)) != NULL;)
        unlinkat(dirfd(list), entry->d_name, 0); // fails for . and .., as it should
    if (list)
        closedir(list);
    return drop_context(state) | rmdir(folder);
}

static void file_put(const char *name, const void *bytes, uint64_t count)
{
    char path[1024];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    fclose(file);
}

static void shard_put(const char *name, const char *tensor, uint64_t bytes)
{
    char path[1024];
    safetensors_writer writer = {0};
    safetensors_writer_metadata(&writer, "format", "pt");
    safetensors_writer_tensor(&writer, tensor, "U8", &bytes, 1, NULL, bytes);
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_true(safetensors_writer_save(&writer, path));
}

static void text_put(const char *name, const char *text)
{
    file_put(name, text, strlen(text));
}

static dray_status open_in_folder(const char *name, dray_weights **out)
{
    char path[1024];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return dray_weights_open(context, path, NULL, out, &error);
}

static const char two_shards[] =
    "{\"metadata\":{\"total_size\":30},\"weight_map\":{\"a\":\"m-1.safetensors\",\"b\":\"m-2.safetensors\"}}";

static void shards_are_opened_through_their_index(void **state)
{
    (void)state;
    dray_weights *weights;
    dray_weights_info info;
    shard_put("m-1.safetensors", "a", 10);
    shard_put("m-2.safetensors", "b", 20);
    shard_put("stray.safetensors", "c", 5);
    text_put("model.safetensors.index.json", two_shards);
    text_put("config.json", "{}");
    for (int twice = 0; twice < 2; twice++) { // the index, or the folder that holds it
        assert_int_equal(open_in_folder(twice ? "" : "model.safetensors.index.json", &weights),
                         DRAY_OK);
        dray_weights_get_info(weights, &info);
        assert_int_equal(info.file_count, 2);
        assert_int_equal(info.tensor_bytes, 30);
        assert_int_equal(info.metadata_count, 1); // "format" of both shards, once
        assert_int_equal(dray_weights_tensor_find(weights, "b", 1, NULL)->file, 1);
        assert_int_equal(info.warning_count, 1);
        assert_string_equal(dray_weights_warning_at(weights, 0)->rule, "index.shard.unnamed");
        dray_weights_close(weights);
    }
}

static void an_index_that_lies_is_refused(void **state)
{
    (void)state;
    dray_weights *weights;
    shard_put("m-1.safetensors", "a", 10);
    text_put("i.json", two_shards); // m-2 is not there
    assert_int_equal(open_in_folder("i.json", &weights), DRAY_E_NOTFOUND);
    assert_non_null(strstr(error.message, "shard 2 of 2"));
    shard_put("m-2.safetensors", "x", 20);
    assert_int_equal(open_in_folder("i.json", &weights), DRAY_E_FORMAT);
    assert_string_equal(error.rule, "index.tensor");
    shard_put("m-2.safetensors", "a", 20);
    assert_int_equal(open_in_folder("i.json", &weights), DRAY_E_FORMAT);
    assert_string_equal(error.rule, "weights.tensor.duplicate");
    shard_put("m-2.safetensors", "b", 21);
    assert_int_equal(open_in_folder("i.json", &weights), DRAY_E_FORMAT);
    assert_string_equal(error.rule, "index.total_size");
    shard_put("m-1.safetensors", "b", 10);
    shard_put("m-2.safetensors", "a", 20);
    assert_int_equal(open_in_folder("i.json", &weights), DRAY_E_FORMAT);
    assert_non_null(
        strstr(error.message, "names it in m-1.safetensors, but it lies in m-2.safetensors"));
    text_put("i.json", "{\"weight_map\":{\"a\":\"../m-1.safetensors\"}}");
    assert_int_equal(open_in_folder("i.json", &weights), DRAY_E_FORMAT);
}

static void a_folder_with_one_model_opens_it(void **state)
{
    (void)state;
    dray_weights *weights;
    text_put("README.md", "# a model");
    assert_int_equal(open_in_folder("", &weights), DRAY_E_NOTFOUND);
    shard_put("weights.bin", "a", 10); // by content: the name does not matter
    assert_int_equal(open_in_folder("", &weights), DRAY_OK);
    assert_int_equal(dray_weights_tensor_at(weights, 0)->bytes, 10);
    dray_weights_close(weights);
    shard_put("other.safetensors", "a", 10);
    assert_int_equal(open_in_folder("", &weights), DRAY_E_INVALID);
    assert_non_null(strstr(error.message, "holds 2 models (other.safetensors, weights.bin)"));
    shard_put("m0.safetensors", "a", 10);
    shard_put("a9.safetensors", "a", 10);
    assert_int_equal(open_in_folder("", &weights), DRAY_E_INVALID);
    assert_non_null(strstr(error.message, "holds 4 models (a9.safetensors, m0.safetensors, ...)"));
}

static void split_put(const char *name, uint16_t number, uint16_t count, int32_t total,
                      const char *tensor)
{
    gguf_writer writer = {0};
    gguf_header(&writer, 3, 1, 4);
    gguf_key_text(&writer, "general.architecture", "llama");
    gguf_key_u16(&writer, "split.no", number);
    gguf_key_u16(&writer, "split.count", count);
    gguf_key_i32(&writer, "split.tensors.count", total);
    gguf_tensor(&writer, tensor, GGUF_F32, 1, (uint64_t[]){8}, 0);
    gguf_data(&writer, 32);
    file_put(name, writer.bytes, writer.length);
    gguf_free(&writer);
}

static void splits_are_opened_from_the_first(void **state)
{
    (void)state;
    dray_weights *weights;
    dray_weights_info info;
    split_put("m-00001-of-00002.gguf", 0, 2, 2, "a");
    assert_int_equal(open_in_folder("m-00001-of-00002.gguf", &weights), DRAY_E_NOTFOUND);
    assert_non_null(strstr(error.message, "split 2 of 2"));
    split_put("m-00002-of-00002.gguf", 1, 2, 2, "b");
    for (int twice = 0; twice < 2; twice++) {
        assert_int_equal(open_in_folder(twice ? "" : "m-00001-of-00002.gguf", &weights), DRAY_OK);
        dray_weights_get_info(weights, &info);
        assert_int_equal(info.file_count, 2);
        assert_int_equal(info.tensor_count, 2);
        assert_int_equal(dray_weights_tensor_find(weights, "b", 1, NULL)->file, 1);
        assert_int_equal(dray_weights_metadata_find(weights, "split.no")->value.as.u64, 0);
        dray_weights_close(weights);
    }
}

static void splits_that_do_not_belong_together_are_refused(void **state)
{
    (void)state;
    dray_weights *weights;
    const char *first = "m-00001-of-00002.gguf", *second = "m-00002-of-00002.gguf";
    split_put(first, 0, 2, 2, "a");
    split_put(second, 1, 2, 2, "a");
    assert_int_equal(open_in_folder(first, &weights), DRAY_E_FORMAT);
    assert_string_equal(error.rule, "weights.tensor.duplicate");
    split_put(second, 0, 2, 2, "b");
    assert_int_equal(open_in_folder(first, &weights), DRAY_E_FORMAT);
    assert_string_equal(error.rule, "gguf.split.no");
    split_put(second, 1, 3, 2, "b");
    assert_int_equal(open_in_folder(first, &weights), DRAY_E_FORMAT);
    split_put(second, 1, 2, 2, "b");
    split_put(first, 0, 2, 3, "a");
    assert_int_equal(open_in_folder(first, &weights), DRAY_E_FORMAT);
    assert_string_equal(error.rule, "gguf.split.tensors");
    assert_int_equal(open_in_folder(second, &weights), DRAY_E_INVALID);
    assert_non_null(
        strstr(error.message, "open the first one, its name ends in -00001-of-00002.gguf"));
    split_put("renamed.gguf", 0, 2, 2, "a");
    assert_int_equal(open_in_folder("renamed.gguf", &weights), DRAY_E_FORMAT);
    assert_string_equal(error.rule, "gguf.split.name");
}

static void split_names_are_read_strictly(void **state)
{
    (void)state;
    uint32_t number, count;
    assert_true(drayi_split_name("a/b-00002-of-00012.gguf", &number, &count));
    assert_int_equal(number, 2);
    assert_int_equal(count, 12);
    assert_true(drayi_split_name("-00001-of-00001.gguf", &number, &count));
    assert_false(drayi_split_name("b-0002-of-00012.gguf", &number, &count));
    assert_false(drayi_split_name("b-00002-of-00012.ggu", &number, &count));
    assert_false(drayi_split_name("b-0000x-of-00012.gguf", &number, &count));
    assert_false(drayi_split_name("0001-of-00001.gguf", &number, &count));
}

// --- memory ----------------------------------------------------------------------------------------

static void a_model_in_memory_opens(void **state)
{
    (void)state;
    safetensors_writer writer = {0};
    uint64_t bytes, shape[] = {6};
    safetensors_writer_tensor(&writer, "a", "U8", shape, 1, "abcdef", 6);
    uint8_t *file = safetensors_writer_finish(&writer, &bytes);
    dray_model_data *data;
    dray_weights *weights;
    assert_int_equal(dray_model_data_from_memory(context, file, bytes, DRAY_BACKING_BORROWED, NULL,
                                                 NULL, &data, &error),
                     DRAY_OK);
    assert_int_equal(dray_weights_open_data(context, data, NULL, &weights, &error), DRAY_OK);
    dray_span span;
    assert_int_equal(dray_weights_tensor_span(weights, 0, &span, &error), DRAY_OK);
    assert_int_equal(dray_region_storage(span.region), DRAY_STORAGE_SYSTEM);
    assert_memory_equal((char *)dray_region_pointer(span.region) + span.offset, "abcdef", 6);
    dray_weights_close(weights);
    dray_model_data_close(data);
    free(file);
}

/// Also at an offset inside a larger file.
static void a_mapped_model_is_read_by_its_file(void **state)
{
    (void)state;
    enum { before = 4096 * 3 };
    safetensors_writer writer = {0};
    uint64_t bytes, shape[] = {6000};
    safetensors_writer_tensor(&writer, "a", "U8", shape, 1, NULL, 6000);
    uint8_t *file = safetensors_writer_finish(&writer, &bytes);
    uint8_t *inside = calloc(1, before + bytes);
    memcpy(inside + before, file, bytes);
    const char *path = test_file_write("inside", inside, before + bytes);
    dray_model_data_options mapped = {
        .struct_bytes = sizeof(mapped), .backing = DRAY_BACKING_MAPPED, .offset = before};
    for (int method = DRAY_LOAD_DIRECT; method <= DRAY_LOAD_MAPPED; method++) {
        dray_model_data *data;
        dray_weights *weights;
        dray_loaded *loaded;
        dray_tensor_view view;
        int fd;
        assert_int_equal(drayi_open_file(fault_os(), path, 0, 0, &fd, &error), DRAY_OK);
        assert_int_equal(dray_model_data_open_fd(context, fd, "inside", &mapped, &data, &error),
                         DRAY_OK);
        drayi_close_file(fault_os(), fd);
        dray_status status = dray_weights_open_data(context, data, NULL, &weights, &error);
        if (status != DRAY_OK)
            fail_msg("%s", error.message);
        dray_load_options options = {.struct_bytes = sizeof(options),
                                     .method = (dray_load_method)method};
        status = dray_weights_load(weights, &options, &loaded, &error);
        if (status != DRAY_OK && !(method == DRAY_LOAD_DIRECT && status == DRAY_E_UNSUPPORTED))
            fail_msg("%s", error.message);
        if (status == DRAY_OK) {
            assert_int_equal(dray_loaded_tensor_at(loaded, 0, &view, &error), DRAY_OK);
            assert_memory_equal(view.pointer, file + view.tensor->offset, 6000);
            dray_loaded_free(loaded);
        }
        if (method == DRAY_LOAD_MAPPED) { // no signal
            assert_int_equal(truncate(path, before + 100), 0);
            options.method = DRAY_LOAD_BUFFERED;
            assert_int_equal(dray_weights_load(weights, &options, &loaded, &error), DRAY_E_CORRUPT);
            assert_non_null(strstr(error.message, "lost from tensor a"));
        }
        dray_weights_close(weights);
        dray_model_data_close(data);
    }
    unlink(path);
    free(inside);
    free(file);
}

// --- arrays ----------------------------------------------------------------------------------------

static dray_weights *open_arrays(bool big_endian, bool lenient)
{
    gguf_writer writer = {.big_endian = big_endian};
    gguf_header(&writer, 3, 0, lenient ? 4 : 3);
    gguf_key_array(&writer, "numbers", GGUF_I16, 3);
    gguf_u16(&writer, 1);
    gguf_u16(&writer, (uint16_t)-2);
    gguf_u16(&writer, 300);
    gguf_key_texts(&writer, "texts", (const char *const[]){"one", "", "three"}, 3);
    gguf_key_array(&writer, "nothing", GGUF_U8, 0);
    if (lenient) {
        gguf_key_array(&writer, "nested", GGUF_ARRAY, 2);
        gguf_u32(&writer, GGUF_U32);
        gguf_u64(&writer, 2);
        gguf_u32(&writer, 7);
        gguf_u32(&writer, 8);
        gguf_u32(&writer, GGUF_TEXT);
        gguf_u64(&writer, 1);
        gguf_text(&writer, "in");
    }
    const char *path = test_file_write("arrays", writer.bytes, writer.length);
    dray_weights_options options = {.struct_bytes = sizeof(options), .lenient = lenient};
    dray_weights *weights = NULL;
    dray_status status = dray_weights_open(context, path, &options, &weights, &error);
    if (status != DRAY_OK)
        fail_msg("%s", error.message);
    unlink(path);
    gguf_free(&writer);
    return weights;
}

static void arrays_are_walked_in_host_order(void **state)
{
    (void)state;
    for (int big_endian = 0; big_endian < 2; big_endian++) {
        dray_weights *weights = open_arrays(big_endian != 0, false);
        dray_value value;
        uint64_t cursor = 0;
        const dray_value *numbers = &dray_weights_metadata_find(weights, "numbers")->value;
        const int64_t wanted[] = {1, -2, 300};
        for (int i = 0; i < 3; i++) {
            assert_true(dray_weights_array_next(weights, numbers, &cursor, &value));
            assert_int_equal(value.type, DRAY_VALUE_I16);
            assert_int_equal(value.as.i64, wanted[i]);
        }
        assert_false(dray_weights_array_next(weights, numbers, &cursor, &value));
        const dray_value *texts = &dray_weights_metadata_find(weights, "texts")->value;
        const char *words[] = {"one", "", "three"};
        cursor = 0;
        for (int i = 0; i < 3; i++) {
            assert_true(dray_weights_array_next(weights, texts, &cursor, &value));
            assert_int_equal(value.as.text.length, strlen(words[i]));
            assert_memory_equal(value.as.text.bytes, words[i], strlen(words[i]));
        }
        assert_false(dray_weights_array_next(weights, texts, &cursor, &value));
        cursor = 0;
        const dray_value *nothing = &dray_weights_metadata_find(weights, "nothing")->value;
        assert_false(dray_weights_array_next(weights, nothing, &cursor, &value));
        cursor = UINT64_MAX - 1; // a cursor from nowhere is an end, not a wild read
        assert_false(dray_weights_array_next(weights, numbers, &cursor, &value));
        dray_weights_close(weights);
    }
}

static void nested_arrays_are_walked_one_by_one(void **state)
{
    (void)state;
    dray_weights *weights = open_arrays(false, true);
    const dray_value *nested = &dray_weights_metadata_find(weights, "nested")->value;
    dray_value first, second, element;
    uint64_t cursor = 0, inner = 0;
    assert_true(dray_weights_array_next(weights, nested, &cursor, &first));
    assert_true(dray_weights_array_next(weights, nested, &cursor, &second));
    assert_false(dray_weights_array_next(weights, nested, &cursor, &element));
    assert_int_equal(first.as.array.count, 2);
    assert_true(dray_weights_array_next(weights, &first, &inner, &element));
    assert_true(dray_weights_array_next(weights, &first, &inner, &element));
    assert_int_equal(element.as.u64, 8);
    assert_false(dray_weights_array_next(weights, &first, &inner, &element));
    inner = 0;
    assert_true(dray_weights_array_next(weights, &second, &inner, &element));
    assert_memory_equal(element.as.text.bytes, "in", 2);
    dray_weights_close(weights);
}

// --- compressed ------------------------------------------------------------------------------------

static uint32_t crc32_of(const uint8_t *bytes, uint64_t count)
{
    uint32_t crc = UINT32_MAX;
    for (uint64_t i = 0; i < count; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (crc & 1 ? 0xEDB88320u : 0);
    }
    return ~crc;
}

/// One stored block: at most 65535 bytes.
static uint64_t gzip_stored(const uint8_t *bytes, uint16_t count, uint8_t *out)
{
    const uint8_t head[] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1};
    uint16_t inverse = (uint16_t)~count;
    uint32_t crc = crc32_of(bytes, count), length = count;
    uint8_t *at = out;
    memcpy(at, head, sizeof(head));
    at += sizeof(head);
    memcpy(at, &count, 2);
    memcpy(at + 2, &inverse, 2);
    memcpy(at + 4, bytes, count);
    at += 4 + count;
    memcpy(at, &crc, 4);
    memcpy(at + 4, &length, 4);
    return (uint64_t)(at + 8 - out);
}

static bool has_component(const char *kind, const char *name)
{
    for (uint32_t i = 0; i < dray_component_count(); i++) {
        const dray_component_info *info = dray_component_at(i);
        if (strcmp(info->kind, kind) == 0 && strcmp(info->name, name) == 0)
            return info->left_out == NULL;
    }
    return false;
}

static void a_compressed_model_is_decoded_and_opened(void **state)
{
    (void)state;
    if (!has_component("codec", "gzip"))
        skip();
    safetensors_writer writer = {0};
    uint64_t bytes, shape[] = {1000};
    safetensors_writer_tensor(&writer, "a", "U8", shape, 1, NULL, 1000);
    uint8_t *file = safetensors_writer_finish(&writer, &bytes);
    uint8_t packed[4096];
    uint64_t packed_bytes = gzip_stored(file, (uint16_t)bytes, packed);
    const char *path = test_file_write("packed.gz", packed, packed_bytes);
    dray_weights *weights;
    dray_weights_info info;
    assert_int_equal(dray_weights_open(context, path, NULL, &weights, &error), DRAY_OK);
    dray_weights_get_info(weights, &info);
    assert_string_equal(info.codec, "gzip");
    assert_string_equal(info.format, "safetensors");
    assert_int_equal(dray_weights_file_at(weights, 0)->bytes, bytes);
    dray_weights_close(weights);
    dray_weights_options options = {.struct_bytes = sizeof(options), .decoded_bytes_max = 500};
    assert_int_equal(dray_weights_open(context, path, &options, &weights, &error), DRAY_E_NOSPACE);
    unlink(path);
    free(file);
}

/// A size in front and one run of literals: a block that any LZ4 decoder takes.
static uint64_t lz4_literals(const uint8_t *bytes, uint32_t count, uint8_t *out)
{
    uint64_t at = 0;
    memcpy(out, &count, 4);
    at = 4;
    out[at++] = 0xF0;
    uint32_t left = count - 15;
    for (; left >= 255; left -= 255)
        out[at++] = 255;
    out[at++] = (uint8_t)left;
    memcpy(out + at, bytes, count);
    return at + count;
}

static void a_model_packed_behind_its_head_is_unpacked(void **state)
{
    (void)state;
    if (!has_component("codec", "lz4_block"))
        skip();
    gguf_writer file = {0};
    const apr_tensor_in tensors[] = {{"a", 0, 1, {100}, 400}, {"b", 0, 1, {25}, 100}};
    apr_write(&file, APR_LZ4, "{\"hidden_size\": 8}", tensors, 2);
    uint8_t packed[8192];
    memcpy(packed, file.bytes, 64);
    uint64_t bytes = 64 + lz4_literals(file.bytes + 64, (uint32_t)(file.length - 64), packed + 64);
    const char *path = test_file_write("packed.apr", packed, bytes);
    dray_weights *weights;
    dray_weights_info info;
    dray_span span;
    dray_status status = dray_weights_open(context, path, NULL, &weights, &error);
    if (status != DRAY_OK)
        fail_msg("%s", error.message);
    dray_weights_get_info(weights, &info);
    assert_string_equal(info.format, "apr");
    assert_string_equal(info.codec, "lz4_block");
    assert_int_equal(info.tensor_count, 2);
    assert_int_equal(dray_weights_file_at(weights, 0)->bytes, file.length);
    assert_int_equal(dray_weights_tensor_span(weights, 1, &span, &error), DRAY_OK);
    assert_memory_equal((uint8_t *)dray_region_pointer(span.region) + span.offset,
                        file.bytes + span.offset, 100);
    dray_weights_close(weights);
    unlink(path);
    path = test_file_write("packed.apr", packed, bytes - 10); // cut short
    assert_int_equal(dray_weights_open(context, path, NULL, &weights, &error), DRAY_E_CORRUPT);
    unlink(path);
    dray_weights_options options = {.struct_bytes = sizeof(options), .decoded_bytes_max = 300};
    path = test_file_write("packed.apr", packed, bytes);
    assert_int_equal(dray_weights_open(context, path, &options, &weights, &error), DRAY_E_NOSPACE);
    unlink(path);
    gguf_free(&file);
}

int main(void)
{
#define with_context(test) cmocka_unit_test_setup_teardown(test, make_context, drop_context)
#define with_folder(test) cmocka_unit_test_setup_teardown(test, make_folder, drop_folder)
    const struct CMUnitTest tests[] = {
        with_context(tensors_come_in_file_order_and_are_found_by_name),
        with_context(a_span_outside_the_file_is_refused),
        with_context(a_size_that_is_not_the_shapes_is_refused),
        with_context(overlapping_tensors_are_refused),
        with_context(a_tensor_that_appears_twice_is_refused),
        with_context(control_bytes_in_names_do_not_reach_messages),
        with_context(many_names_are_all_found),
        with_context(warnings_are_kept_up_to_a_number),
        with_context(tensors_of_unknown_size_are_listed_and_have_no_span),
        with_context(a_head_grows_without_moving),
        with_context(a_file_that_changes_later_does_not_change_the_index),
        with_context(little_address_space_is_enough_for_a_small_head),
        with_context(a_format_may_be_named),
        with_context(a_file_of_proc_is_not_called_empty),
        with_context(what_nobody_takes_is_explained),
        with_folder(shards_are_opened_through_their_index),
        with_folder(an_index_that_lies_is_refused),
        with_folder(a_folder_with_one_model_opens_it),
        with_folder(splits_are_opened_from_the_first),
        with_folder(splits_that_do_not_belong_together_are_refused),
        with_context(split_names_are_read_strictly),
        with_context(a_model_in_memory_opens),
        with_context(a_mapped_model_is_read_by_its_file),
        with_context(arrays_are_walked_in_host_order),
        with_context(nested_arrays_are_walked_one_by_one),
        with_context(a_compressed_model_is_decoded_and_opened),
        with_context(a_model_packed_behind_its_head_is_unpacked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
