/// Open, use and release with every allocation and every system call failing in turn: each failure is an
/// error with a message or is survived with the right bytes; nothing leaks; the object stays usable.
#include "base/env.h"
#include "core/context.h"
#include "dray/model_data.h"
#include "dray/spi/codec.h"
#include "support/counting_allocator.h"
#include "support/fault_os.h"
#include "support/test_file.h"
#include "support/testing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { file_bytes = (192 << 10) + 4096 * 3 + 55 }; // a few chunks of the smallest kind

static const char *file_path;
static const char *xor_path; // the same bytes behind a codec

// --- a codec that adds nothing but a head ----------------------------------------------------------

struct dray_decoder {
    drayi_env *env;
    uint32_t head_left;
};

static uint32_t xor_probe(const uint8_t *head, uint64_t head_bytes)
{
    return head_bytes >= 4 && memcmp(head, "XOR!", 4) == 0 ? 100 : 0;
}

static uint64_t xor_decoded_bytes(const uint8_t *head, uint64_t head_bytes)
{
    (void)head;
    (void)head_bytes;
    return DRAY_UNKNOWN;
}

static dray_status xor_open(drayi_env *env, dray_decoder **out_decoder, dray_error *error)
{
    dray_decoder *decoder = drayi_new(env, dray_decoder, error);
    if (!decoder)
        return DRAY_E_NOMEM;
    *decoder = (dray_decoder){.env = env, .head_left = 4};
    *out_decoder = decoder;
    return DRAY_OK;
}

static dray_status xor_step(dray_decoder *decoder, dray_decode_step *step, dray_error *error)
{
    (void)error;
    while (step->input_bytes > 0 && (decoder->head_left > 0 || step->output_bytes > 0)) {
        if (decoder->head_left > 0) {
            decoder->head_left--;
        } else {
            *step->output++ = *step->input ^ 0x55;
            step->output_bytes--;
        }
        step->input++;
        step->input_bytes--;
    }
    step->done = step->input_ended && step->input_bytes == 0 && decoder->head_left == 0;
    return DRAY_OK;
}

static void xor_close(dray_decoder *decoder)
{
    drayi_free(decoder->env, decoder, sizeof(*decoder));
}

static const dray_codec_ops xor_codec = {DRAY_CODEC_ABI,    0,        "xor",    xor_probe,
                                         xor_decoded_bytes, xor_open, xor_step, xor_close};
static const dray_codec_ops *const xor_codecs[] = {&xor_codec, NULL};

static int make_files(void **state)
{
    (void)state;
    static uint8_t content[file_bytes + 4] = "XOR!";
    file_path = test_file_make("plain", file_bytes);
    for (uint64_t i = 0; i < file_bytes; i++)
        content[4 + i] = test_file_byte(i) ^ 0x55;
    xor_path = test_file_write("xor", content, sizeof(content));
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    unlink(file_path);
    unlink(xor_path);
    return 0;
}

// --- the case ------------------------------------------------------------------------------------

/// DRAY_OK only with the right bytes; anything else with a message that says something.
static dray_status check(dray_status status, dray_error *error, const char *what)
{
    if (status != DRAY_OK && (error->status != status || strlen(error->message) < 8))
        fail_msg("%s: status %d, message '%s'", what, status, error->message);
    *error = (dray_error){.status = DRAY_OK};
    return status;
}

static dray_status use(dray_model_data *data)
{
    dray_error error = {.status = DRAY_OK};
    dray_release_report report;
    dray_residency residency;
    static uint8_t out[file_bytes];
    uint64_t loaded;
    dray_status first = DRAY_OK, status;
#define step_of(call)                    \
    status = check(call, &error, #call); \
    if (first == DRAY_OK)                \
    first = status
    step_of(dray_model_data_advise(data, 4096, 0, DRAY_ADVICE_SEQUENTIAL, &error));
    step_of(dray_model_data_prefetch(data, 0, 0, NULL, NULL, &loaded, &error));
    step_of(dray_model_data_lock(data, 0, 10000, &error));
    step_of(dray_model_data_unlock(data, 4096, 1, &error));
    step_of(dray_model_data_residency(data, 0, 0, &residency, &error));
    step_of(dray_model_data_release(data, 0, 0, DRAY_RELEASE_COLD, &report, &error));
    step_of(dray_model_data_release(data, 0, 0, DRAY_RELEASE_CACHE, &report, &error));
    step_of(dray_model_data_check(data, &error));
    step_of(dray_model_data_read(data, 5, out, file_bytes - 5, &error));
    if (status == DRAY_OK)
        assert_true(test_file_same(out, 5, file_bytes - 5));
    assert_int_equal(dray_model_data_length(data),
                     file_bytes); // whatever failed, the object is whole
    assert_true(test_file_same(dray_model_data_bytes(data), 0, file_bytes));
    return first;
}

static dray_status open_and_use(dray_context *context, const char *path, dray_backing backing)
{
    drayi_env_of(context)->codecs = xor_codecs;
    dray_model_data_options options = {.struct_bytes = sizeof(options), .backing = backing};
    dray_model_data *data = NULL;
    dray_error error = {.status = DRAY_OK};
    dray_status status =
        check(dray_model_data_open(context, path, &options, &data, &error), &error, "open");
    if (status != DRAY_OK) {
        assert_null(data);
        return status;
    }
    status = use(data);
    dray_model_data_close(data);
    return status;
}

/// One round of a fault loop; false: the Nth call was never reached.
static bool round_of(const fault_plan *plan, uint64_t fail_at, const char *path,
                     dray_backing backing)
{
    counting_allocator counter;
    counting_allocator_init(&counter, 0);
    dray_context_options options = {.struct_bytes = sizeof(options),
                                    .allocator = counting_allocator_interface(&counter)};
    dray_context *context;
    fault_os_reset();
    assert_int_equal(drayi_context_create_with(&options, fault_os(), &context, NULL), DRAY_OK);
    int fds = fault_os_open_fds();
    if (fail_at > 0)
        counter.fail_at = counting_allocator_calls(&counter) + fail_at;
    if (plan)
        fault_os_inject(plan);
    dray_status status = open_and_use(context, path, backing);
    bool hit = plan ? fault_os_hits() > 0 : counting_allocator_failed(&counter);
    fault_os_inject(&(fault_plan){.at = 0});
    if (fail_at > 0 && hit)
        assert_int_equal(status, DRAY_E_NOMEM);
    if (!hit)
        assert_int_equal(status, DRAY_OK);
    assert_int_equal(fault_os_open_fds(), fds);
    counter.fail_at = 0;
    assert_int_equal(open_and_use(context, path, backing), DRAY_OK); // and the context serves on
    dray_context_destroy(context);
    assert_int_equal(counting_allocator_live_bytes(&counter), 0);
    return hit;
}

static void each(void (*loop)(const char *path, dray_backing backing))
{
    for (dray_backing backing = DRAY_BACKING_MAPPED; backing <= DRAY_BACKING_DIRECT; backing++)
        loop(file_path, backing);
    loop(xor_path, DRAY_BACKING_HEAP);
    loop(xor_path, DRAY_BACKING_SEALED);
}

static void fail_allocations(const char *path, dray_backing backing)
{
    for (uint64_t n = 1; round_of(NULL, n, path, backing); n++)
        assert_true(n < 1000);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    each(fail_allocations);
}

static int code_of_loop;

static void fail_calls(const char *path, dray_backing backing)
{
    for (uint64_t n = 1; round_of(&(fault_plan){.at = n, .code = code_of_loop}, 0, path, backing);
         n++)
        assert_true(n < 100000);
}

static void every_system_call_may_fail(void **state)
{
    (void)state;
    static const int codes[] = {-EIO, -ENOMEM, -EINVAL, -ENOSYS};
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        code_of_loop = codes[i];
        each(fail_calls);
    }
}

static void interruptions_are_survived(const char *path, dray_backing backing)
{
    for (uint64_t n = 1;; n++) {
        fault_os_reset();
        dray_context *context;
        assert_int_equal(drayi_context_create_with(NULL, fault_os(), &context, NULL), DRAY_OK);
        fault_os_inject(
            &(fault_plan){.at = n, .repeat = 3, .groups = FAULT_READ, .code = code_of_loop});
        assert_int_equal(open_and_use(context, path, backing), DRAY_OK);
        bool hit = fault_os_hits() > 0;
        dray_context_destroy(context);
        if (!hit)
            break;
    }
}

static void interrupted_and_short_reads_are_continued(void **state)
{
    (void)state;
    code_of_loop = -EINTR;
    each(interruptions_are_survived);
    code_of_loop = 0; // short transfers
    each(interruptions_are_survived);
}

static void a_kernel_without(unsigned parts)
{
    dray_context *context;
    fault_os_reset();
    fault_os_make_absent(parts);
    assert_int_equal(drayi_context_create_with(NULL, fault_os(), &context, NULL), DRAY_OK);
    for (dray_backing backing = DRAY_BACKING_AUTO; backing <= DRAY_BACKING_DIRECT; backing++)
        assert_int_equal(open_and_use(context, file_path, backing), DRAY_OK);
    dray_context_destroy(context);
    fault_os_reset();
}

static void old_kernels_serve_as_well(void **state)
{
    (void)state;
    a_kernel_without(FAULT_NO_CACHESTAT);
    a_kernel_without(FAULT_NO_NOEXEC_SEAL);
    a_kernel_without(FAULT_NO_DIRECT_ALIGN);
    a_kernel_without(FAULT_NO_DIRECT);
    a_kernel_without(FAULT_DIRECT_REFUSED);
    a_kernel_without(FAULT_NO_CACHESTAT | FAULT_NO_NOEXEC_SEAL | FAULT_NO_DIRECT_ALIGN |
                     FAULT_NO_DIRECT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(every_system_call_may_fail),
        cmocka_unit_test(interrupted_and_short_reads_are_continued),
        cmocka_unit_test(old_kernels_serve_as_well),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
