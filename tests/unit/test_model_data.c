/// Model data: every backing gives the file's bytes, and says what it is; nothing falls back in silence.
#include "base/env.h"
#include "core/context.h"
#include "dray/model_data.h"
#include "dray/spi/codec.h"
#include "dray/spi/region.h"
#include "support/counting_allocator.h"
#include "support/fault_os.h"
#include "support/test_file.h"
#include "support/testing.h"
#include "weights/model_data_object.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint64_t odd_bytes = (5 << 20) + 4096 * 3 + 1234;

static dray_model_data_options with_backing(dray_backing backing)
{
    return (dray_model_data_options){.struct_bytes = sizeof(dray_model_data_options),
                                     .backing = backing};
}

static dray_model_data *open_as(dray_context *context, const char *path, dray_backing backing)
{
    dray_model_data_options options = with_backing(backing);
    dray_model_data *data = NULL;
    dray_error error = {.message = ""};
    if (dray_model_data_open(context, path, &options, &data, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    return data;
}

// --- regular files -------------------------------------------------------------------------------

static void every_backing_gives_the_files_bytes(void **state)
{
    const char *path = test_file_make("bytes", odd_bytes);
    static const dray_backing wanted[] = {DRAY_BACKING_AUTO, DRAY_BACKING_MAPPED, DRAY_BACKING_HEAP,
                                          DRAY_BACKING_SEALED, DRAY_BACKING_DIRECT};
    static const dray_backing got[] = {DRAY_BACKING_MAPPED, DRAY_BACKING_MAPPED, DRAY_BACKING_HEAP,
                                       DRAY_BACKING_SEALED, DRAY_BACKING_DIRECT};
    for (size_t i = 0; i < 5; i++) {
        dray_model_data *data = open_as(*state, path, wanted[i]);
        assert_int_equal(dray_model_data_length(data), odd_bytes);
        assert_true(test_file_same(dray_model_data_bytes(data), 0, odd_bytes));
        assert_int_equal(dray_model_data_backing(data), got[i]);
        assert_int_equal(dray_model_data_is_mapped(data), got[i] == DRAY_BACKING_MAPPED);
        assert_false(dray_model_data_is_empty(data));
        assert_string_equal(dray_model_data_path(data), path);
        dray_region *region = dray_model_data_region(data);
        assert_ptr_equal(dray_region_pointer(region), dray_model_data_bytes(data));
        assert_int_equal(dray_region_bytes(region), odd_bytes);
        dray_region_native native;
        dray_region_get_native(region, &native);
        assert_int_equal(native.writable, 0);
        assert_int_equal(dray_model_data_check(data, NULL), DRAY_OK);
        dray_model_data_close(data);
    }
    unlink(path);
}

/// Does the kernel say that this file takes direct I/O?
static bool takes_direct(int fd)
{
    drayi_file_facts facts;
    return drayi_os_linux.facts(fd, &facts) == 0 && facts.direct_known &&
           facts.direct_offset_align > 0;
}

static void a_range_of_a_descriptor_begins_at_any_byte(void **state)
{
    const char *path = test_file_make("range", odd_bytes);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    for (dray_backing backing = DRAY_BACKING_AUTO; backing <= DRAY_BACKING_DIRECT; backing++) {
        static const uint64_t offsets[] = {0, 1, 4095, 4096, 5000, (4 << 20) + 7};
        for (size_t i = 0; i < 6; i++) {
            dray_model_data_options options = with_backing(backing);
            options.offset = offsets[i];
            options.bytes = 1 + (i % 3) * 300000;
            dray_model_data *data;
            assert_int_equal(dray_model_data_open_fd(*state, fd, NULL, &options, &data, NULL),
                             DRAY_OK);
            assert_int_equal(dray_model_data_length(data), options.bytes);
            assert_true(test_file_same(dray_model_data_bytes(data), offsets[i], options.bytes));
            if (backing == DRAY_BACKING_DIRECT && takes_direct(fd))
                assert_null(dray_model_data_note(
                    data)); // the memory has the file's phase: nothing was refused
            dray_model_data_close(data);
        }
    }
    assert_int_equal(lseek(fd, 0, SEEK_CUR), 0); // the caller's own offset is not ours to move
    close(fd);
    unlink(path);
}

static void a_range_outside_the_file_is_refused(void **state)
{
    const char *path = test_file_make("outside", 1000);
    dray_model_data_options options = with_backing(DRAY_BACKING_AUTO);
    options.offset = 900;
    options.bytes = 101;
    dray_model_data *data = NULL;
    dray_error error;
    char wanted[600];
    assert_int_equal(dray_model_data_open(*state, path, &options, &data, &error), DRAY_E_INVALID);
    snprintf(wanted, sizeof(wanted), "open %s: 101 bytes at 900 leave a file of 1000 bytes", path);
    assert_string_equal(error.message, wanted);
    options.offset = UINT64_MAX;
    assert_int_equal(dray_model_data_open(*state, path, &options, &data, &error), DRAY_E_INVALID);
    assert_null(data);
    unlink(path);
}

static void an_empty_file_is_empty_on_every_backing(void **state)
{
    const char *path = test_file_make("empty", 0);
    for (dray_backing backing = DRAY_BACKING_AUTO; backing <= DRAY_BACKING_DIRECT; backing++) {
        dray_model_data *data = open_as(*state, path, backing);
        assert_true(dray_model_data_is_empty(data));
        assert_int_equal(dray_model_data_length(data), 0);
        assert_non_null(dray_model_data_bytes(data));
        assert_int_equal(dray_model_data_backing(data), backing ? backing : DRAY_BACKING_MAPPED);
        assert_int_equal(dray_model_data_prefetch(data, 0, 0, NULL, NULL, NULL, NULL), DRAY_OK);
        assert_int_equal(dray_model_data_lock(data, 0, 0, NULL), DRAY_OK);
        assert_int_equal(dray_model_data_advise(data, 0, 0, DRAY_ADVICE_SEQUENTIAL, NULL), DRAY_OK);
        dray_release_report report;
        assert_int_equal(dray_model_data_release(data, 0, 0, DRAY_RELEASE_CACHE, &report, NULL),
                         DRAY_OK);
        assert_int_equal(report.range_bytes, 0);
        dray_model_data_close(data);
    }
    unlink(path);
}

static void a_missing_file_is_named(void **state)
{
    dray_model_data *data = NULL;
    dray_error error;
    assert_int_equal(dray_model_data_open(*state, "/no/such/file", NULL, &data, &error),
                     DRAY_E_NOTFOUND);
    assert_string_equal(error.message, "open /no/such/file: No such file or directory");
    assert_int_equal(error.native_code, ENOENT);
    assert_int_equal(dray_model_data_open(*state, "/proc", NULL, &data, &error), DRAY_E_INVALID);
    assert_string_equal(error.message, "open /proc: it is a directory, not a file");
}

static void sealed_bytes_cannot_be_made_writable(void **state)
{
    const char *path = test_file_make("sealed", 100000);
    dray_model_data *data = open_as(*state, path, DRAY_BACKING_SEALED);
    void *at = (void *)(uintptr_t)dray_model_data_bytes(data);
    // Before Linux 6.7 the mapping has to be private: then our own copy could be written, never the memfd.
    int code = mprotect(at, 4096, PROT_READ | PROT_WRITE);
    assert_true(code != 0 || dray_model_data_note(data));
    dray_model_data_close(data);
    unlink(path);
}

static void sealing_works_without_noexec_and_says_so(void **state)
{
    const char *path = test_file_make("noexec", 100000);
    fault_os_make_absent(FAULT_NO_NOEXEC_SEAL);
    dray_model_data *data = open_as(*state, path, DRAY_BACKING_SEALED);
    assert_true(test_file_same(dray_model_data_bytes(data), 0, 100000));
    assert_string_equal(dray_model_data_note(data),
                        "this kernel has no MFD_NOEXEC_SEAL: sealed without it");
    dray_model_data_close(data);
    fault_os_make_absent(0);
    unlink(path);
}

static void direct_falls_back_with_a_note(void **state)
{
    static const unsigned absent[] = {FAULT_NO_DIRECT, FAULT_DIRECT_REFUSED, FAULT_NO_DIRECT_ALIGN};
    const char *path = test_file_make("direct", odd_bytes);
    for (size_t i = 0; i < 3; i++) {
        fault_os_make_absent(absent[i]);
        dray_model_data *data = open_as(*state, path, DRAY_BACKING_DIRECT);
        assert_true(test_file_same(dray_model_data_bytes(data), 0, odd_bytes));
        assert_int_equal(dray_model_data_backing(data), DRAY_BACKING_DIRECT);
        if (absent[i] != FAULT_NO_DIRECT_ALIGN) // without the kernel's word 4096 is tried, and works
            assert_non_null(strstr(dray_model_data_note(data), "read through the page cache"));
        dray_model_data_close(data);
    }
    fault_os_make_absent(0);
    unlink(path);
}

static void direct_leaves_no_body_in_the_page_cache(void **state)
{
    const char *path = test_file_make("uncached", odd_bytes);
    if (!test_file_make_cold(path))
        skip();
    dray_model_data *data = open_as(*state, path, DRAY_BACKING_DIRECT);
    if (!dray_model_data_note(data)) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        drayi_cachestat counts;
        if (drayi_os_linux.cachestat(fd, 0, 4 << 20, &counts) == 0)
            assert_true(counts.cached_pages <= 1); // the one with the magic
        close(fd);
    }
    dray_model_data_close(data);
    unlink(path);
}

static void a_changed_file_is_noticed(void **state)
{
    const char *path = test_file_make("changed", 10000);
    dray_model_data *data = open_as(*state, path, DRAY_BACKING_MAPPED);
    dray_error error;
    assert_int_equal(truncate(path, 9000), 0);
    assert_int_equal(dray_model_data_check(data, &error), DRAY_E_CORRUPT);
    char wanted[600];
    snprintf(wanted, sizeof(wanted), "%s: the file has 9000 bytes, at open it had 10000", path);
    assert_string_equal(error.message, wanted);
    dray_model_data_close(data);

    data = open_as(*state, path, DRAY_BACKING_MAPPED);
    struct timespec later[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 4000000000}};
    assert_int_equal(utimensat(AT_FDCWD, path, later, 0), 0);
    assert_int_equal(dray_model_data_check(data, &error), DRAY_E_CORRUPT);
    assert_non_null(strstr(error.message, "was written to after it was opened"));
    dray_model_data_close(data);
    unlink(path);
}

static void a_replaced_file_keeps_its_bytes(void **state)
{
    const char *path = test_file_make("replaced", 10000);
    dray_model_data *data = open_as(*state, path, DRAY_BACKING_MAPPED);
    const char *other = test_file_write("other", "short", 5);
    assert_int_equal(rename(other, path), 0); // what the header tells writers to do
    assert_int_equal(dray_model_data_check(data, NULL), DRAY_OK);
    assert_true(test_file_same(dray_model_data_bytes(data), 0, 10000));
    dray_model_data_close(data);
    unlink(path);
}

static ssize_t shrinking_pread(int fd, void *buffer, size_t bytes, uint64_t offset)
{
    ssize_t got = drayi_os_linux.pread(fd, buffer, bytes, offset);
    char path[64], target[512];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    ssize_t length = readlink(path, target, sizeof(target) - 1);
    target[length > 0 ? length : 0] = '\0';
    assert_int_equal(truncate(target, 12), 0);
    return got;
}

static void a_file_that_changes_while_it_is_read_is_refused(void **state)
{
    (void)state;
    const char *path = test_file_make("racing", 10000);
    drayi_os os = drayi_os_linux;
    os.pread = shrinking_pread;
    dray_context *context;
    assert_int_equal(drayi_context_create_with(NULL, &os, &context, NULL), DRAY_OK);
    dray_model_data_options options = with_backing(DRAY_BACKING_HEAP);
    options.keep_compressed = 1;
    dray_model_data *data = NULL;
    dray_error error;
    assert_int_equal(dray_model_data_open(context, path, &options, &data, &error), DRAY_E_CORRUPT);
    assert_non_null(strstr(error.message, "changed while it was read"));
    assert_non_null(strstr(error.message, "the file has 12 bytes, at open it had 10000"));
    dray_context_destroy(context);
    unlink(path);
}

static void more_than_the_memory_is_refused_before_it_is_touched(void **state)
{
    const char *path = test_file_make("huge", 1);
    assert_int_equal(truncate(path, (off_t)1 << 43), 0); // sparse, 8 TiB
    dray_model_data_options options = with_backing(DRAY_BACKING_HEAP);
    dray_model_data *data = NULL;
    dray_error error;
    assert_int_equal(dray_model_data_open(*state, path, &options, &data, &error), DRAY_E_NOMEM);
    assert_non_null(strstr(error.message, "8796093022208 bytes of memory wanted"));
    unlink(path);
}

// --- pipes and pseudo files ----------------------------------------------------------------------

typedef struct pipe_writer {
    pthread_t thread;
    const char *path; // a FIFO; NULL: fd
    int fd;
    uint64_t bytes;
} pipe_writer;

static void *write_pipe(void *argument)
{
    pipe_writer *writer = argument;
    int fd = writer->path ? open(writer->path, O_WRONLY | O_CLOEXEC) : writer->fd;
    for (uint64_t done = 0; done < writer->bytes;) {
        uint8_t piece[3001];
        uint64_t count = writer->bytes - done < sizeof(piece) ? writer->bytes - done : sizeof(piece);
        for (uint64_t i = 0; i < count; i++)
            piece[i] = test_file_byte(done + i);
        ssize_t written = write(fd, piece, count);
        if (written < 0)
            break;
        done += (uint64_t)written;
    }
    close(fd);
    return NULL;
}

static void a_pipe_is_read_to_its_end(void **state)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pipe_writer writer = {.fd = ends[1], .bytes = 3000000};
    assert_int_equal(pthread_create(&writer.thread, NULL, write_pipe, &writer), 0);
    dray_model_data *data;
    assert_int_equal(dray_model_data_open_fd(*state, ends[0], "standard input", NULL, &data, NULL),
                     DRAY_OK);
    pthread_join(writer.thread, NULL);
    assert_int_equal(dray_model_data_length(data), 3000000);
    assert_true(test_file_same(dray_model_data_bytes(data), 0, 3000000));
    assert_int_equal(dray_model_data_backing(data), DRAY_BACKING_HEAP);
    assert_string_equal(dray_model_data_path(data), "standard input");
    dray_model_data_close(data);
    close(ends[0]);
}

static void a_fifo_can_be_sealed(void **state)
{
    const char *path = test_file_path("fifo");
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    pipe_writer writer = {.path = path, .bytes = 70000};
    assert_int_equal(pthread_create(&writer.thread, NULL, write_pipe, &writer), 0);
    dray_model_data *data = open_as(*state, path, DRAY_BACKING_SEALED);
    pthread_join(writer.thread, NULL);
    assert_int_equal(dray_model_data_length(data), 70000);
    assert_true(test_file_same(dray_model_data_bytes(data), 0, 70000));
    dray_model_data_close(data);
    unlink(path);
}

static void an_endless_input_stops_at_the_cap(void **state)
{
    dray_model_data_options options = with_backing(DRAY_BACKING_AUTO);
    options.decoded_bytes_max = 3 << 20;
    dray_model_data *data = NULL;
    dray_error error;
    assert_int_equal(dray_model_data_open(*state, "/dev/zero", &options, &data, &error),
                     DRAY_E_NOSPACE);
    assert_string_equal(error.message,
                        "/dev/zero: the input is more than the limit of 3145728 bytes "
                        "(decoded_bytes_max, or what memory is available)");
}

static void an_input_of_exactly_the_cap_is_whole(void **state)
{
    const char *path = test_file_path("fifo2");
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    pipe_writer writer = {.path = path, .bytes = 1 << 20};
    assert_int_equal(pthread_create(&writer.thread, NULL, write_pipe, &writer), 0);
    dray_model_data_options options = with_backing(DRAY_BACKING_HEAP);
    options.decoded_bytes_max = 1 << 20;
    dray_model_data *data;
    assert_int_equal(dray_model_data_open(*state, path, &options, &data, NULL), DRAY_OK);
    pthread_join(writer.thread, NULL);
    assert_int_equal(dray_model_data_length(data), 1 << 20);
    dray_model_data_close(data);
    unlink(path);
}

static void a_pipe_that_ends_before_the_promised_bytes_is_corrupt(void **state)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(write(ends[1], "12345", 5), 5);
    close(ends[1]);
    dray_model_data_options options = with_backing(DRAY_BACKING_AUTO);
    options.bytes = 8;
    dray_model_data *data = NULL;
    dray_error error;
    assert_int_equal(dray_model_data_open_fd(*state, ends[0], "p", &options, &data, &error),
                     DRAY_E_CORRUPT);
    assert_string_equal(error.message, "read p: wanted 8 bytes, the input ends 3 early");
    close(ends[0]);
}

static void proc_and_sys_files_have_content(void **state)
{
    dray_model_data *data = open_as(*state, "/proc/self/status", DRAY_BACKING_AUTO);
    assert_true(dray_model_data_length(data) > 100);
    assert_memory_equal(dray_model_data_bytes(data), "Name:", 5);
    assert_int_equal(dray_model_data_backing(data), DRAY_BACKING_HEAP);
    dray_model_data_close(data);
    data = open_as(*state, "/sys/kernel/mm/transparent_hugepage/enabled",
                   DRAY_BACKING_AUTO); // claims 4096 bytes
    assert_in_range(dray_model_data_length(data), 5, 100);
    dray_model_data_close(data);
    dray_model_data_options options = with_backing(DRAY_BACKING_MAPPED);
    dray_error error;
    assert_int_equal(dray_model_data_open(*state, "/proc/self/status", &options, &data, &error),
                     DRAY_E_INVALID);
    assert_string_equal(error.message,
                        "open /proc/self/status: a pipe, a device or a pseudo file cannot be mapped; "
                        "use auto, heap or sealed");
}

// --- memory --------------------------------------------------------------------------------------

static void count_release(void *self, void *pointer, uint64_t bytes)
{
    assert_non_null(pointer);
    assert_int_equal(bytes, 4);
    ++*(int *)self;
}

static void bytes_in_memory_are_borrowed_copied_or_adopted(void **state)
{
    char bytes[4] = "abc";
    int released = 0;
    dray_model_data *data;
    assert_int_equal(dray_model_data_from_memory(*state, bytes, 4, DRAY_BACKING_BORROWED, NULL,
                                                 NULL, &data, NULL),
                     0);
    assert_ptr_equal(dray_model_data_bytes(data), bytes);
    assert_null(dray_model_data_path(data));
    dray_model_data_close(data);
    assert_int_equal(
        dray_model_data_from_memory(*state, bytes, 4, DRAY_BACKING_COPIED, NULL, NULL, &data, NULL),
        0);
    bytes[0] = 'x';
    assert_string_equal((const char *)dray_model_data_bytes(data), "abc");
    dray_model_data_close(data);
    assert_int_equal(dray_model_data_from_memory(*state, bytes, 4, DRAY_BACKING_ADOPTED,
                                                 count_release, &released, &data, NULL),
                     0);
    assert_int_equal(released, 0);
    dray_model_data_close(data);
    assert_int_equal(released, 1);
}

static void adopted_bytes_are_released_when_the_call_fails(void **state)
{
    (void)state;
    char bytes[4] = "abc";
    for (uint64_t n = 1;; n++) {
        counting_allocator counter;
        counting_allocator_init(&counter, 0);
        dray_context_options options = {.struct_bytes = sizeof(options),
                                        .allocator = counting_allocator_interface(&counter)};
        dray_context *context;
        assert_int_equal(dray_context_create(&options, &context, NULL), DRAY_OK);
        counter.fail_at = counting_allocator_calls(&counter) + n;
        dray_model_data *data = NULL;
        int released = 0;
        dray_status status = dray_model_data_from_memory(context, bytes, 4, DRAY_BACKING_ADOPTED,
                                                         count_release, &released, &data, NULL);
        assert_int_equal(released, status == DRAY_OK ? 0 : 1);
        dray_model_data_close(data);
        assert_int_equal(released, 1);
        dray_context_destroy(context);
        assert_int_equal(counting_allocator_live_bytes(&counter), 0);
        if (status == DRAY_OK)
            break;
    }
}

static void contradicting_memory_arguments_are_refused(void **state)
{
    dray_model_data *data = NULL;
    int released = 0;
    dray_error error;
    assert_int_equal(dray_model_data_from_memory(*state, "abc", 4, DRAY_BACKING_BORROWED,
                                                 count_release, &released, &data, &error),
                     DRAY_E_INVALID);
    assert_string_equal(error.message,
                        "model data from memory: only adopted bytes take a release function");
    assert_int_equal(released, 0);
    assert_int_equal(dray_model_data_from_memory(*state, NULL, 4, DRAY_BACKING_COPIED, NULL, NULL,
                                                 &data, &error),
                     DRAY_E_INVALID);
    assert_int_equal(dray_model_data_from_memory(*state, "abc", 4, DRAY_BACKING_MAPPED, NULL, NULL,
                                                 &data, &error),
                     DRAY_E_INVALID);
    dray_model_data_options options = with_backing(DRAY_BACKING_COPIED);
    assert_int_equal(dray_model_data_open(*state, "/dev/null", &options, &data, &error),
                     DRAY_E_INVALID);
    assert_null(data);
}

// --- compressed files: a run-length codec of our own ----------------------------------------------
// "RLE!" + declared size (u64) + pairs of {count, byte}, and {0, 0} at the end of a frame.

struct dray_decoder {
    drayi_env *env;
    uint32_t head_left; // bytes of the frame's head still to skip
    uint8_t run, value;
    bool has_count, ended;
};

static uint32_t rle_probe(const uint8_t *head, uint64_t head_bytes)
{
    return head_bytes >= 12 && memcmp(head, "RLE!", 4) == 0 ? 100 : 0;
}

static uint64_t rle_decoded_bytes(const uint8_t *head, uint64_t head_bytes)
{
    uint64_t declared;
    assert_true(head_bytes >= 12);
    memcpy(&declared, head + 4, 8);
    return declared;
}

static dray_status rle_open(drayi_env *env, dray_decoder **out_decoder, dray_error *error)
{
    dray_decoder *decoder = drayi_new(env, dray_decoder, error);
    if (!decoder)
        return DRAY_E_NOMEM;
    decoder->env = env;
    decoder->head_left = 12;
    *out_decoder = decoder;
    return DRAY_OK;
}

static void rle_close(dray_decoder *decoder)
{
    drayi_free(decoder->env, decoder, sizeof(*decoder));
}

static dray_status rle_step(dray_decoder *decoder, dray_decode_step *step, dray_error *error)
{
    for (;;) {
        if (decoder->run > 0) {
            if (step->output_bytes == 0)
                return DRAY_OK;
            *step->output++ = decoder->value;
            step->output_bytes--;
            decoder->run--;
            continue;
        }
        step->done = decoder->ended;
        if (decoder->ended && step->input_bytes > 0) {
            if (*step->input != 'R')
                return DRAY_OK; // not another frame: trailing bytes are left over
            decoder->ended = step->done = false;
            decoder->head_left = 12;
        }
        if (step->input_bytes < 2 && !(step->input_bytes == 1 && decoder->head_left > 0))
            return DRAY_OK;
        if (decoder->head_left > 0) {
            decoder->head_left--;
            step->input++;
            step->input_bytes--;
            continue;
        }
        if (step->input[0] == 0 && step->input[1] == 0)
            decoder->ended = true;
        else if (step->input[0] == 0)
            return dray_fail(error, DRAY_E_CORRUPT, "run of no bytes");
        decoder->run = step->input[0];
        decoder->value = step->input[1];
        step->input += 2;
        step->input_bytes -= 2;
    }
}

static const dray_codec_ops rle_codec = {
    .abi = DRAY_CODEC_ABI,
    .name = "rle",
    .probe = rle_probe,
    .decoded_bytes = rle_decoded_bytes,
    .open = rle_open,
    .step = rle_step,
    .close = rle_close,
};
static const dray_codec_ops *const rle_codecs[] = {&rle_codec, NULL};

static uint64_t rle_frame(uint8_t *out, uint64_t declared, uint32_t runs)
{
    memcpy(out, "RLE!", 4);
    memcpy(out + 4, &declared, 8);
    uint64_t at = 12;
    for (uint32_t i = 0; i < runs; i++) {
        out[at++] = 200;
        out[at++] = (uint8_t)(i * 7 + 1);
    }
    out[at++] = 0;
    out[at++] = 0;
    return at;
}

static void use_rle(dray_context *context)
{
    drayi_env_of(context)->codecs = rle_codecs;
}

static void expect_runs(const dray_model_data *data, uint32_t frames, uint32_t runs)
{
    assert_int_equal(dray_model_data_length(data), (uint64_t)frames * runs * 200);
    for (uint64_t i = 0; i < dray_model_data_length(data); i += 199)
        assert_int_equal(dray_model_data_bytes(data)[i], (uint8_t)(i / 200 % runs * 7 + 1));
}

static void compressed_files_are_decoded_in_place(void **state)
{
    static uint8_t file[4 << 20];
    use_rle(*state);
    const uint32_t runs = 800000; // 1.6 MB in, 160 MB out: several buffers, several steps of memory
    uint64_t bytes = rle_frame(file, (uint64_t)runs * 200, runs);
    const char *path = test_file_write("rle", file, bytes);
    static const dray_backing good[] = {DRAY_BACKING_AUTO, DRAY_BACKING_HEAP, DRAY_BACKING_SEALED};
    for (size_t i = 0; i < 3; i++) {
        dray_model_data *data = open_as(*state, path, good[i]);
        expect_runs(data, 1, runs);
        assert_int_equal(dray_model_data_backing(data), good[i] ? good[i] : DRAY_BACKING_HEAP);
        assert_int_equal(dray_model_data_check(data, NULL), DRAY_OK);
        dray_model_data_close(data);
    }
    unlink(path);
}

static void frames_after_each_other_are_one_stream(void **state)
{
    uint8_t file[1000];
    use_rle(*state);
    uint64_t bytes = rle_frame(file, 2000, 10);
    bytes += rle_frame(file + bytes, 2000, 10);
    const char *path = test_file_write("frames", file, bytes);
    dray_model_data *data = open_as(*state, path, DRAY_BACKING_AUTO);
    expect_runs(data, 2, 10);
    dray_model_data_close(data);
    unlink(path);
}

static void compressed_bytes_cannot_be_mapped_unless_kept(void **state)
{
    uint8_t file[1000];
    use_rle(*state);
    const char *path = test_file_write("kept", file, rle_frame(file, 2000, 10));
    dray_model_data_options options = with_backing(DRAY_BACKING_MAPPED);
    dray_model_data *data = NULL;
    dray_error error;
    assert_int_equal(dray_model_data_open(*state, path, &options, &data, &error), DRAY_E_INVALID);
    assert_non_null(
        strstr(error.message, "it is compressed with rle, so its bytes cannot be mapped"));
    options.keep_compressed = 1;
    assert_int_equal(dray_model_data_open(*state, path, &options, &data, &error), DRAY_OK);
    assert_memory_equal(dray_model_data_bytes(data), "RLE!", 4);
    dray_model_data_close(data);
    unlink(path);
}

static dray_status open_rle(dray_context *context, const uint8_t *file, uint64_t bytes,
                            uint64_t cap, dray_error *error)
{
    const char *path = test_file_write("bad", file, bytes);
    dray_model_data_options options = with_backing(DRAY_BACKING_AUTO);
    options.decoded_bytes_max = cap;
    dray_model_data *data = NULL;
    dray_status status = dray_model_data_open(context, path, &options, &data, error);
    dray_model_data_close(data);
    unlink(path);
    return status;
}

static void a_bomb_stops_at_the_cap_with_numbers(void **state)
{
    static uint8_t file[1 << 20];
    dray_error error;
    use_rle(*state);
    uint64_t bytes = rle_frame(file, 10, 500000); // declares 10 bytes, decodes to 100 MB
    assert_int_equal(open_rle(*state, file, bytes, 1 << 20, &error), DRAY_E_NOSPACE);
    assert_non_null(strstr(error.message, "it decodes to more than the limit of 1048576 bytes"));
    bytes = rle_frame(file, 10ull << 40, 10); // declares 10 TiB: refused before a byte is decoded
    assert_int_equal(open_rle(*state, file, bytes, 0, &error), DRAY_E_NOSPACE);
    assert_non_null(
        strstr(error.message, "rle declares 10995116277760 decoded bytes, the limit is "));
}

static void without_a_limit_output_stays_in_proportion_to_input(void **state)
{
    (void)state;
    const uint64_t gib = 1 << 30, mib = 1 << 20;
    assert_true(
        drayi_decoded_in_proportion(gib, 0)); // zeros of a new model: small files may be anything
    assert_true(drayi_decoded_in_proportion(gib + 256 * mib, mib));
    assert_false(drayi_decoded_in_proportion(gib + 256 * (mib + 1), mib));
    assert_false(drayi_decoded_in_proportion(UINT64_MAX, 30 * gib)); // 10 TB of zeros in a small file
    assert_true(drayi_decoded_in_proportion(40 * gib, 20 * gib));
}

static void a_stream_of_exactly_the_cap_is_whole(void **state)
{
    static uint8_t file[1000];
    use_rle(*state);
    uint64_t bytes = rle_frame(file, 2000, 10);
    assert_int_equal(open_rle(*state, file, bytes, 2000, NULL), DRAY_OK);
    assert_int_equal(open_rle(*state, file, bytes, 1999, NULL), DRAY_E_NOSPACE);
}

static void broken_streams_are_corrupt_with_the_place(void **state)
{
    static uint8_t file[1000];
    dray_error error;
    use_rle(*state);
    uint64_t bytes = rle_frame(file, 2000, 10);
    assert_int_equal(open_rle(*state, file, bytes - 2, 0, &error), DRAY_E_CORRUPT);
    assert_string_equal(error.rule, "codec.truncated");
    assert_non_null(strstr(error.message, "the rle data ends early, at 32 (2000 bytes decoded)"));
    memcpy(file + bytes, "xyz", 3);
    assert_int_equal(open_rle(*state, file, bytes + 3, 0, &error), DRAY_E_CORRUPT);
    assert_string_equal(error.rule, "codec.trailing");
    assert_int_equal(error.offset, bytes);
    bytes = rle_frame(file, 2001, 10);
    assert_int_equal(open_rle(*state, file, bytes, 0, &error), DRAY_E_CORRUPT);
    assert_non_null(strstr(error.message, "rle declares 2001 bytes, 2000 came out"));
    bytes = rle_frame(file, 2000, 10);
    file[14] = 0;
    assert_int_equal(open_rle(*state, file, bytes, 0, &error), DRAY_E_CORRUPT);
    assert_non_null(strstr(error.message, "(rle), "));
    assert_non_null(strstr(error.message, "run of no bytes"));
}

// --- ranges --------------------------------------------------------------------------------------

static void ranges_outside_are_refused_everywhere(void **state)
{
    const char *path = test_file_make("ranges", 10000);
    dray_model_data *data = open_as(*state, path, DRAY_BACKING_MAPPED);
    uint8_t byte;
    dray_residency residency;
    static const uint64_t ranges[][2] = {
        {10001, 0}, {0, 10001}, {9999, 2}, {UINT64_MAX, 2}, {2, UINT64_MAX}};
    for (size_t i = 0; i < 5; i++) {
        uint64_t offset = ranges[i][0], bytes = ranges[i][1];
        assert_int_equal(dray_model_data_advise(data, offset, bytes, DRAY_ADVICE_NORMAL, NULL),
                         DRAY_E_INVALID);
        assert_int_equal(dray_model_data_prefetch(data, offset, bytes, NULL, NULL, NULL, NULL),
                         DRAY_E_INVALID);
        assert_int_equal(dray_model_data_lock(data, offset, bytes, NULL), DRAY_E_INVALID);
        assert_int_equal(dray_model_data_unlock(data, offset, bytes, NULL), DRAY_E_INVALID);
        assert_int_equal(dray_model_data_residency(data, offset, bytes, &residency, NULL),
                         DRAY_E_INVALID);
        assert_int_equal(dray_model_data_release(data, offset, bytes, DRAY_RELEASE_COLD, NULL, NULL),
                         DRAY_E_INVALID);
        assert_int_equal(dray_model_data_read(data, offset, &byte, bytes ? bytes : 1, NULL),
                         DRAY_E_INVALID);
    }
    dray_model_data_close(data);
    unlink(path);
}

static void advice_takes_any_range_and_nothing_else(void **state)
{
    const char *path = test_file_make("advice", 100000);
    dray_model_data *data = open_as(*state, path, DRAY_BACKING_MAPPED);
    dray_error error;
    assert_int_equal(dray_model_data_advise(data, 5000, 10, DRAY_ADVICE_SEQUENTIAL, NULL), DRAY_OK);
    assert_int_equal(dray_model_data_advise(data, 0, 0, DRAY_ADVICE_NORMAL, NULL), DRAY_OK);
    assert_int_equal(dray_model_data_advise(data, 0, 0, (dray_advice)9, &error), DRAY_E_INVALID);
    assert_non_null(strstr(error.message, "advice 9 is none of normal, sequential, random"));
    dray_model_data_close(data);
    data = open_as(*state, path, DRAY_BACKING_HEAP);
    assert_int_equal(dray_model_data_advise(data, 5000, 10, DRAY_ADVICE_RANDOM, NULL), DRAY_OK);
    dray_model_data_close(data);
    unlink(path);
}

typedef struct progress_log {
    uint64_t calls, last, stop_at;
} progress_log;

static bool log_progress(void *self, uint64_t done, uint64_t total)
{
    progress_log *log = self;
    assert_true(done > log->last && done <= total);
    log->last = done;
    return ++log->calls != log->stop_at;
}

static void prefetch_loads_every_byte_and_tells(void **state)
{
    const uint64_t bytes = (20 << 20) + 77;
    const char *path = test_file_make("prefetch", bytes);
    bool cold = test_file_make_cold(path);
    dray_model_data *data = open_as(*state, path, DRAY_BACKING_MAPPED);
    dray_residency residency;
    assert_int_equal(dray_model_data_residency(data, 8 << 20, 0, &residency, NULL), DRAY_OK);
    if (cold && residency.cached_bytes != DRAY_UNKNOWN)
        assert_int_equal(residency.cached_bytes, 0);
    progress_log log = {0};
    uint64_t loaded;
    assert_int_equal(dray_model_data_prefetch(data, 100, 0, log_progress, &log, &loaded, NULL),
                     DRAY_OK);
    assert_int_equal(log.last, bytes - 100);
    assert_true(log.calls >= 3);
    assert_int_equal(loaded, bytes - 100);
    assert_int_equal(dray_model_data_residency(data, 0, 0, &residency, NULL), DRAY_OK);
    assert_int_equal(residency.bytes, (bytes + 4095) / 4096 * 4096);
    if (residency.cached_bytes != DRAY_UNKNOWN)
        assert_int_equal(residency.cached_bytes, residency.bytes);
    log = (progress_log){.stop_at = 2};
    dray_error error;
    assert_int_equal(dray_model_data_prefetch(data, 0, 0, log_progress, &log, &loaded, &error),
                     DRAY_E_CANCELLED);
    assert_int_equal(log.calls, 2);
    dray_model_data_close(data);
    unlink(path);
}

static void prefetch_of_a_shortened_file_says_where_it_ends(void **state)
{
    const char *path = test_file_make("shortened", 100000);
    dray_model_data *data = open_as(*state, path, DRAY_BACKING_MAPPED);
    assert_int_equal(truncate(path, 50000), 0);
    dray_error error;
    assert_int_equal(dray_model_data_prefetch(data, 0, 0, NULL, NULL, NULL, &error), DRAY_E_CORRUPT);
    assert_non_null(strstr(error.message, "file ends at 50000"));
    dray_model_data_close(data);
    unlink(path);
}

static int no_populate(void *at, size_t bytes, int advice)
{
    return advice == 22 ? -EINVAL : drayi_os_linux.advise(at, bytes, advice);
}

static void prefetch_works_without_populate(void **state)
{
    (void)state;
    const char *path = test_file_make("old-kernel", 3000000);
    test_file_make_cold(path);
    drayi_os os = drayi_os_linux;
    os.advise = no_populate;
    dray_context *context;
    assert_int_equal(drayi_context_create_with(NULL, &os, &context, NULL), DRAY_OK);
    dray_model_data *data = open_as(context, path, DRAY_BACKING_MAPPED);
    uint64_t loaded;
    assert_int_equal(dray_model_data_prefetch(data, 0, 0, NULL, NULL, &loaded, NULL), DRAY_OK);
    assert_int_equal(loaded, 3000000);
    assert_int_equal(truncate(path, 2000000), 0);
    assert_int_equal(dray_model_data_prefetch(data, 0, 0, NULL, NULL, &loaded, NULL),
                     DRAY_E_CORRUPT);
    dray_model_data_close(data);
    dray_context_destroy(context);
    unlink(path);
}

static void locks_are_counted_in_pages(void **state)
{
    const char *path = test_file_make("lock", 20000);
    dray_model_data *data = open_as(*state, path, DRAY_BACKING_MAPPED);
    dray_residency residency;
    assert_int_equal(dray_model_data_lock(data, 5000, 10, NULL), DRAY_OK);
    assert_int_equal(dray_model_data_lock(data, 4000, 200, NULL), DRAY_OK);
    assert_int_equal(dray_model_data_residency(data, 0, 0, &residency, NULL), DRAY_OK);
    assert_int_equal(residency.locked_bytes, 8192);
    assert_int_equal(dray_model_data_unlock(data, 0, 1, NULL), DRAY_OK);
    assert_int_equal(dray_model_data_residency(data, 0, 0, &residency, NULL), DRAY_OK);
    assert_int_equal(residency.locked_bytes, 4096);
    dray_model_data_close(data);
    unlink(path);
}

static void too_small_a_lock_limit_names_the_way_out(void **state)
{
    const char *path = test_file_make("limit", 100000);
    fault_os_limit_lock(8192);
    dray_model_data *data = open_as(*state, path, DRAY_BACKING_MAPPED);
    dray_error error;
    assert_int_equal(dray_model_data_lock(data, 0, 0, &error), DRAY_E_NOMEM);
    assert_non_null(
        strstr(error.message, "102400 bytes wanted, the limit of lockable memory is 8192"));
    assert_non_null(strstr(error.message, "prlimit --memlock=111616:111616 --pid $$"));
    assert_non_null(strstr(error.message, "/etc/security/limits.conf"));
    assert_string_equal(error.origin, "mlock");
    dray_residency residency;
    assert_int_equal(dray_model_data_residency(data, 0, 0, &residency, NULL), DRAY_OK);
    assert_int_equal(residency.locked_bytes, 0);
    dray_model_data_close(data);
    fault_os_reset();
    unlink(path);
}

static void reading_copies_or_fails_but_never_lies(void **state)
{
    const char *path = test_file_make("read", 20000);
    uint8_t out[20000];
    for (dray_backing backing = DRAY_BACKING_MAPPED; backing <= DRAY_BACKING_DIRECT; backing++) {
        dray_model_data *data = open_as(*state, path, backing);
        memset(out, 0, sizeof(out));
        assert_int_equal(dray_model_data_read(data, 123, out, 10000, NULL), DRAY_OK);
        assert_true(test_file_same(out, 123, 10000));
        assert_int_equal(dray_model_data_read(data, 20000, out, 0, NULL), DRAY_OK);
        dray_model_data_close(data);
    }
    dray_model_data *data = open_as(*state, path, DRAY_BACKING_MAPPED);
    assert_int_equal(truncate(path, 5000), 0); // the rest of that page would read as zeros
    dray_error error;
    assert_int_equal(dray_model_data_read(data, 4096, out, 1000, &error), DRAY_E_CORRUPT);
    assert_non_null(strstr(error.message, "file ends at 5000"));
    dray_model_data_close(data);
    unlink(path);
}

int main(void)
{
#define case_of(name) cmocka_unit_test_setup_teardown(name, fault_os_context, fault_os_context_end)
    const struct CMUnitTest tests[] = {
        case_of(every_backing_gives_the_files_bytes),
        case_of(a_range_of_a_descriptor_begins_at_any_byte),
        case_of(a_range_outside_the_file_is_refused),
        case_of(an_empty_file_is_empty_on_every_backing),
        case_of(a_missing_file_is_named),
        case_of(sealed_bytes_cannot_be_made_writable),
        case_of(sealing_works_without_noexec_and_says_so),
        case_of(direct_falls_back_with_a_note),
        case_of(direct_leaves_no_body_in_the_page_cache),
        case_of(a_changed_file_is_noticed),
        case_of(a_replaced_file_keeps_its_bytes),
        cmocka_unit_test(a_file_that_changes_while_it_is_read_is_refused),
        case_of(more_than_the_memory_is_refused_before_it_is_touched),
        case_of(a_pipe_is_read_to_its_end),
        case_of(a_fifo_can_be_sealed),
        case_of(an_endless_input_stops_at_the_cap),
        case_of(an_input_of_exactly_the_cap_is_whole),
        case_of(a_pipe_that_ends_before_the_promised_bytes_is_corrupt),
        case_of(proc_and_sys_files_have_content),
        case_of(bytes_in_memory_are_borrowed_copied_or_adopted),
        cmocka_unit_test(adopted_bytes_are_released_when_the_call_fails),
        case_of(contradicting_memory_arguments_are_refused),
        case_of(compressed_files_are_decoded_in_place),
        case_of(frames_after_each_other_are_one_stream),
        case_of(compressed_bytes_cannot_be_mapped_unless_kept),
        case_of(a_bomb_stops_at_the_cap_with_numbers),
        cmocka_unit_test(without_a_limit_output_stays_in_proportion_to_input),
        case_of(a_stream_of_exactly_the_cap_is_whole),
        case_of(broken_streams_are_corrupt_with_the_place),
        case_of(ranges_outside_are_refused_everywhere),
        case_of(advice_takes_any_range_and_nothing_else),
        case_of(prefetch_loads_every_byte_and_tells),
        case_of(prefetch_of_a_shortened_file_says_where_it_ends),
        cmocka_unit_test(prefetch_works_without_populate),
        case_of(locks_are_counted_in_pages),
        case_of(too_small_a_lock_limit_names_the_way_out),
        case_of(reading_copies_or_fails_but_never_lies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
