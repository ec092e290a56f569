/// The OpenCL family on a real driver, with single calls taken away, refused, or made to tell of a failure.
#include "device/opencl/opencl_calls.h"
#include "device_rig.h"
#include "testing.h"

#include <stdio.h>
#include <string.h>

static drayi_opencl_calls real;

static void find(const char *name, void *out_function)
{
    void *symbol = device_rig_real_symbol("libOpenCL.so.1", name);
    assert_non_null(symbol);
    memcpy(out_function, &symbol, sizeof(symbol));
}

static void replace(const char *name, void *function_in_memory)
{
    void *function;
    memcpy(&function, function_in_memory, sizeof(function));
    device_rig_replace_symbol(name, function);
}

// --- whether it is there -------------------------------------------------------------------------------

static cl_int no_platforms(cl_uint room, cl_platform_id *platforms, cl_uint *count)
{
    (void)room;
    (void)platforms;
    (void)count;
    return DRAYI_OPENCL_PLATFORM_NOT_FOUND;
}

static void why_it_is_unavailable_is_told(void **state)
{
    (void)state;
    device_rig_reset();
    device_rig_hide_library("libOpenCL.so.1");
    assert_string_equal(device_rig_listed("opencl").unavailable,
                        "no OpenCL loader: libOpenCL.so.1: cannot open shared object file");
    device_rig_reset();
    cl_int (*call)(cl_uint, cl_platform_id *, cl_uint *) = no_platforms;
    replace("clGetPlatformIDs", &call);
    assert_string_equal(device_rig_listed("opencl").unavailable,
                        "the OpenCL loader is here, no driver is registered with it");
    device_rig_reset();
    device_rig_hide_symbol("clFlush");
    assert_string_equal(device_rig_listed("opencl").unavailable, "libOpenCL.so.1 has no clFlush");
}

static void a_missing_call_takes_one_capability(void **state)
{
    (void)state;
    static const struct {
        const char *symbol;
        uint32_t lost;
    } cases[] = {
        {"clSVMAlloc", DRAY_DEVICE_MANAGED}, // a loader of OpenCL 1.2
        {"clEnqueueFillBuffer", DRAY_DEVICE_MEMORY},
        {"clEnqueueCopyBuffer", DRAY_DEVICE_COPY},
    };
    device_rig_reset();
    const uint32_t all = device_rig_listed("opencl:0").capabilities;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        device_rig_reset();
        device_rig_hide_symbol(cases[i].symbol);
        dray_device_info info = device_rig_listed("opencl:0");
        assert_string_equal(info.unavailable, "");
        assert_string_equal(info.missing, cases[i].symbol);
        assert_int_equal(info.capabilities, all & ~cases[i].lost);
    }
}

// --- failures ------------------------------------------------------------------------------------------

static cl_mem no_memory(cl_context context, cl_bitfield flags, size_t bytes, void *host,
                        cl_int *code)
{
    (void)context;
    (void)flags;
    (void)bytes;
    (void)host;
    *code = DRAYI_OPENCL_MEM_OBJECT_ALLOCATION_FAILURE;
    return NULL;
}

static void a_full_device_says_so(void **state)
{
    (void)state;
    device_rig_reset();
    cl_mem (*call)(cl_context, cl_bitfield, size_t, void *, cl_int *) = no_memory;
    replace("clCreateBuffer", &call);
    dray_context *context = device_rig_context(NULL, 0);
    dray_device *device;
    dray_error error = {0};
    assert_int_equal(dray_device_open(context, "opencl:0", &device, &error), DRAY_OK);
    dray_region_options options = {.struct_bytes = sizeof(options),
                                   .storage = DRAY_STORAGE_DEVICE,
                                   .bytes = 4096,
                                   .device = device};
    dray_region *region;
    assert_int_equal(dray_region_create(context, &options, &region, &error), DRAY_E_NOMEM);
    assert_string_equal(error.message, "create region on opencl:0: clCreateBuffer 4096 bytes: "
                                       "CL_MEM_OBJECT_ALLOCATION_FAILURE (-4)");
    assert_int_equal(error.native_code, -4);
    dray_device_release(device);
    dray_context_destroy(context);
}

enum { run_count = 5, run_bytes = 1000 };
static int write_number, failing_write, refused_write;
static cl_event failing_event;

/// The real call; one of them is refused, one will be told to have failed.
static cl_int write_with_faults(cl_command_queue queue, cl_mem buffer, cl_bool blocking,
                                size_t offset, size_t bytes, const void *host, cl_uint wait_count,
                                const cl_event *waits, cl_event *event)
{
    write_number++;
    if (write_number == refused_write)
        return DRAYI_OPENCL_OUT_OF_RESOURCES;
    cl_int result =
        real.buffer_write(queue, buffer, blocking, offset, bytes, host, wait_count, waits, event);
    if (write_number == failing_write)
        failing_event = *event;
    return result;
}

/// A driver's word that a command ended badly. (An event that really fails is beyond PoCL 3.1: its
/// devices crash, or abort now and then.)
static cl_int info_with_failure(cl_event event, cl_uint what, size_t room, void *value, size_t *size)
{
    cl_int result = real.event_info(event, what, room, value, size);
    cl_int status;
    if (event == failing_event && what == DRAYI_OPENCL_EVENT_COMMAND_EXECUTION_STATUS) {
        memcpy(&status, value, sizeof(status));
        if (status == DRAYI_OPENCL_COMPLETE)
            memcpy(value, &(cl_int){DRAYI_OPENCL_OUT_OF_RESOURCES}, sizeof(status));
    }
    return result;
}

/// Five writes; which of them fails or is refused is set above.
static dray_status write_five(bool by_wait, dray_error *error)
{
    cl_int (*call)(cl_command_queue, cl_mem, cl_bool, size_t, size_t, const void *, cl_uint,
                   const cl_event *, cl_event *) = write_with_faults;
    replace("clEnqueueWriteBuffer", &call);
    cl_int (*info)(cl_event, cl_uint, size_t, void *, size_t *) = info_with_failure;
    replace("clGetEventInfo", &info);
    write_number = 0;
    failing_event = NULL;
    dray_context *context = device_rig_context(NULL, 0);
    dray_device *device;
    assert_int_equal(dray_device_open(context, "opencl:0", &device, error), DRAY_OK);
    dray_region *from = device_rig_region(context, NULL, DRAY_STORAGE_SYSTEM, run_count * run_bytes),
                *on = device_rig_region(context, device, DRAY_STORAGE_DEVICE, run_count * run_bytes);
    dray_device_native native;
    dray_device_get_native(device, &native);
    const dray_device_copy_ops *copy = native.ops->copy;
    dray_stream *stream;
    assert_int_equal(copy->stream_open(native.self, &stream, error), DRAY_OK);
    dray_device_run runs[run_count];
    for (uint64_t i = 0; i < run_count; i++)
        runs[i] = (dray_device_run){.from = device_rig_side(from, i * run_bytes),
                                    .to = device_rig_side(on, i * run_bytes),
                                    .bytes = run_bytes};
    dray_status status = copy->start(stream, runs, run_count, error);
    bool done = status != DRAY_OK;
    if (status == DRAY_OK && by_wait)
        status = copy->wait(stream, error);
    while (status == DRAY_OK && !done)
        status = copy->query(stream, &done, error);
    // the stream is as good as new
    failing_write = refused_write = 0;
    failing_event = NULL;
    dray_error later = {0};
    assert_int_equal(copy->start(stream, runs, run_count, &later), DRAY_OK);
    assert_int_equal(copy->wait(stream, &later), DRAY_OK);
    copy->stream_close(stream);
    dray_region_release(from);
    dray_region_release(on);
    dray_device_release(device);
    dray_context_destroy(context);
    return status;
}

static void one_command_that_fails_fails_the_job(void **state)
{
    (void)state;
    for (int n = 1; n <= run_count; n++) { // also when later ones succeed
        for (int by_wait = 0; by_wait < 2; by_wait++) {
            device_rig_reset();
            failing_write = n;
            dray_error error = {0};
            assert_int_not_equal(write_five(by_wait, &error), DRAY_OK);
            assert_int_equal(error.native_code, -5);
            device_rig_says(error.message, "opencl:0");
            device_rig_says(error.message, "CL_OUT_OF_RESOURCES (-5)");
            if (!by_wait) {
                char which[32];
                snprintf(which, sizeof(which), "copy %d of %d", n, run_count);
                device_rig_says(error.message, which);
            }
        }
    }
}

static void a_command_that_is_refused_stops_the_job(void **state)
{
    (void)state;
    for (int n = 1; n <= run_count; n++) {
        device_rig_reset();
        refused_write = n;
        dray_error error = {0};
        assert_int_equal(write_five(false, &error), DRAY_E_NOMEM);
        char wanted[128];
        snprintf(wanted, sizeof(wanted),
                 "clEnqueueWriteBuffer 1000 bytes, copy %d of 5: CL_OUT_OF_RESOURCES (-5)", n);
        assert_string_equal(error.message, wanted);
    }
}

int main(void)
{
    device_rig_reset();
    dray_device_info info = device_rig_listed("opencl:0");
    if (!info.name[0]) {
        printf("skipped: no OpenCL device here: %s\n", device_rig_listed("opencl").unavailable);
        return 77;
    }
    find("clEnqueueWriteBuffer", &real.buffer_write);
    find("clGetEventInfo", &real.event_info);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(why_it_is_unavailable_is_told),
        cmocka_unit_test(a_missing_call_takes_one_capability),
        cmocka_unit_test(a_full_device_says_so),
        cmocka_unit_test(one_command_that_fails_fails_the_job),
        cmocka_unit_test(a_command_that_is_refused_stops_the_job),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
