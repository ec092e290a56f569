/// OpenCL's facet of hints on a real driver (PoCL): what it takes for memory, that no stranger's pointer reaches
/// the driver, and failures that arrive late. Intel's extension is played by the test.
#include "counting_allocator.h"
#include "device/opencl/opencl_calls.h"
#include "device_rig.h"
#include "dray/spi/hints.h"
#include "testing.h"

#include <stdio.h>
#include <string.h>

enum { page = 4096, region_bytes = 64 * page };

typedef struct opencl_case {
    dray_context *context;
    dray_device *device;
    dray_region *region;
    char *bytes;
    dray_device_native native;
    const dray_device_hints_ops *ops;
    dray_hint_queue *queue;
} opencl_case;

static opencl_case case_open(const dray_allocator *allocator)
{
    opencl_case out = {.context = device_rig_context(allocator, 0)};
    assert_int_equal(dray_device_open(out.context, "opencl:0", &out.device, NULL), DRAY_OK);
    out.region = device_rig_region(out.context, out.device, DRAY_STORAGE_MANAGED, region_bytes);
    out.bytes = dray_region_pointer(out.region);
    dray_device_get_native(out.device, &out.native);
    out.ops = out.native.ops->hints;
    assert_non_null(out.ops);
    assert_int_equal(out.ops->queue_open(out.native.self, &out.queue, NULL), DRAY_OK);
    return out;
}

static void case_close(opencl_case *self)
{
    self->ops->queue_close(self->queue);
    dray_region_release(self->region);
    dray_device_release(self->device);
    dray_context_destroy(self->context);
}

static dray_hint_call_range part(void *pointer, uint64_t bytes)
{
    dray_hint_call_range out = {.location = dray_hint_at_host()};
    assert_int_equal(dray_hint_range_raw(pointer, bytes, &out.range, NULL), DRAY_OK);
    return out;
}

static dray_status migrate(const opencl_case *self, dray_hint_function function, uint32_t flags,
                           const dray_hint_call_range *ranges, uint64_t count, dray_error *error)
{
    dray_hint_call call = {
        .function = function, .advice = flags, .range_count = count, .bytes = ranges[0].range.bytes};
    dray_hint_answer answer = {0};
    dray_status status = self->ops->call(self->queue, &call, ranges, &answer, error);
    assert_int_equal(answer.outcome, 0);
    return status;
}

static void find(const char *name, void *out_function)
{
    void *symbol = device_rig_real_symbol("libOpenCL.so.1", name);
    assert_non_null(symbol);
    memcpy(out_function, &symbol, sizeof(symbol));
}

static void replace(const char *name, const void *function_in_memory)
{
    void *function;
    memcpy(&function, function_in_memory, sizeof(function));
    device_rig_replace_symbol(name, function);
}

// --- what there is ---------------------------------------------------------------------------------

static void the_driver_moves_nothing_and_that_is_known(void **state)
{
    (void)state;
    device_rig_reset();
    opencl_case self = case_open(NULL);
    dray_hint_abilities abilities = {0};
    assert_int_equal(self.ops->probe(self.native.self, &abilities, NULL), DRAY_OK);
    assert_string_equal(abilities.family, "opencl");
    assert_true(abilities.features & DRAY_HINT_HAS_SVM_MIGRATE);
    assert_true(abilities.driver_version >= 210);
    assert_true(abilities.device_count >= 1);
    assert_string_equal(abilities.devices[0].no_effect,
                        "the device shares the host's memory: there is nowhere to move to");
    assert_int_equal(abilities.devices[0].managed, 1);
    assert_int_equal(abilities.devices[0].free_bytes, DRAY_UNKNOWN);
    assert_null(self.ops->state); // nothing can be read back
    case_close(&self);
}

static void without_the_calls_there_are_no_hints(void **state)
{
    (void)state;
    device_rig_reset();
    device_rig_hide_symbol("clEnqueueSVMMigrateMem");
    opencl_case self = case_open(NULL);
    dray_hint_abilities abilities = {0};
    dray_error error;
    assert_int_equal(self.ops->probe(self.native.self, &abilities, &error), DRAY_E_UNSUPPORTED);
    device_rig_says(error.message, "clEnqueueSVMMigrateMem (OpenCL 2.1)");
    dray_hint_call_range range = part(self.bytes, page);
    assert_int_equal(migrate(&self, DRAY_HINT_CL_SVM_MIGRATE, 0, &range, 1, &error),
                     DRAY_E_UNSUPPORTED);
    assert_int_equal(migrate(&self, DRAY_HINT_CL_USM_MIGRATE, 0, &range, 1, &error),
                     DRAY_E_UNSUPPORTED);
    assert_int_equal(migrate(&self, DRAY_HINT_CU_ADVISE, 0, &range, 1, &error), DRAY_E_UNSUPPORTED);
    case_close(&self);
}

static void memory_is_recognised_by_our_own_list(void **state)
{
    (void)state;
    device_rig_reset();
    opencl_case self = case_open(NULL);
    dray_hint_memory memory;
    dray_hint_range range = part(self.bytes + 100, 1).range;
    assert_int_equal(self.ops->look(self.native.self, &range, &memory, NULL), DRAY_OK);
    assert_int_equal(memory.kind, DRAY_HINT_MEMORY_MANAGED);
    assert_int_equal(memory.usm, 0);
    assert_true(memory.first <= (uintptr_t)self.bytes);
    assert_true(memory.first + memory.bytes >= (uintptr_t)self.bytes + region_bytes);
    char stranger;
    range = part(&stranger, 1).range;
    assert_int_equal(self.ops->look(self.native.self, &range, &memory, NULL), DRAY_OK);
    assert_int_equal(memory.kind, DRAY_HINT_MEMORY_UNKNOWN);
    range = part(self.bytes, 1).range;
    dray_region_release(self.region); // gone, and not recognised any more
    self.region = NULL;
    assert_int_equal(self.ops->look(self.native.self, &range, &memory, NULL), DRAY_OK);
    assert_int_equal(memory.kind, DRAY_HINT_MEMORY_UNKNOWN);
    case_close(&self);
}

// --- the call --------------------------------------------------------------------------------------

static void several_ranges_go_in_one_call_and_keep_their_bytes(void **state)
{
    (void)state;
    device_rig_reset();
    opencl_case self = case_open(NULL);
    memset(self.bytes, 42, region_bytes);
    const dray_hint_call_range ranges[] = {part(self.bytes, page),
                                           part(self.bytes + 8 * page, 3 * page)};
    for (uint32_t flags = 0; flags < 2; flags++) { // to the device, to the host
        assert_int_equal(migrate(&self, DRAY_HINT_CL_SVM_MIGRATE, flags, ranges, 2, NULL), DRAY_OK);
        assert_int_equal(self.ops->mark(self.queue, NULL), DRAY_OK);
        bool done = false;
        for (int i = 0; i < 1000000 && !done; i++)
            assert_int_equal(self.ops->query(self.queue, &done, NULL), DRAY_OK);
        assert_true(done);
        assert_int_equal(self.ops->wait(self.queue, NULL), DRAY_OK);
    }
    for (unsigned i = 0; i < region_bytes; i++)
        assert_int_equal(self.bytes[i], 42);
    case_close(&self);
}

static unsigned driver_calls;

static cl_int count_migrate(cl_command_queue queue, cl_uint count, const void **pointers,
                            const size_t *bytes, cl_bitfield flags, cl_uint wait_count,
                            const cl_event *waits, cl_event *event)
{
    (void)queue;
    (void)count;
    (void)pointers;
    (void)bytes;
    (void)flags;
    (void)wait_count;
    (void)waits;
    (void)event;
    driver_calls++;
    return -30;
}

static void no_strangers_pointer_reaches_the_driver(void **state)
{
    (void)state;
    device_rig_reset();
    cl_int (*call)(cl_command_queue, cl_uint, const void **, const size_t *, cl_bitfield, cl_uint,
                   const cl_event *, cl_event *) = count_migrate;
    replace("clEnqueueSVMMigrateMem", &call);
    opencl_case self = case_open(NULL);
    driver_calls = 0;
    char stranger[64];
    const dray_hint_call_range wrong[] = {
        part(stranger, sizeof(stranger)),
        part(self.bytes, region_bytes + 2 * page), // past the end
        part((void *)(uintptr_t)16, 16),
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        dray_error error;
        const dray_hint_call_range two[] = {part(self.bytes, page), wrong[i]};
        assert_int_equal(migrate(&self, DRAY_HINT_CL_SVM_MIGRATE, 0, two, 2, &error),
                         DRAY_E_INVALID);
        device_rig_says(error.message, "not inside one allocation of opencl:0");
    }
    assert_int_equal(driver_calls, 0);

    dray_error error;
    const dray_hint_call_range good = part(self.bytes, page);
    assert_int_equal(migrate(&self, DRAY_HINT_CL_SVM_MIGRATE, 0, &good, 1, &error), DRAY_E_DEVICE);
    assert_int_equal(error.native_code, -30);
    assert_string_equal(error.origin, "clEnqueueSVMMigrateMem");
    assert_string_equal(self.ops->code_name(-30), "CL_INVALID_VALUE");
    assert_null(self.ops->code_name(-12345));
    assert_int_equal(driver_calls, 1);
    assert_int_equal(self.ops->wait(self.queue, NULL), DRAY_OK); // nothing was left in it
    case_close(&self);
}

// --- failures that come late -----------------------------------------------------------------------

static cl_event (*user_event)(cl_context context, cl_int *code);
static cl_int (*user_event_end)(cl_event event, cl_int status);
static cl_context user_context;
static cl_event pending;

static cl_int late_migrate(cl_command_queue queue, cl_uint count, const void **pointers,
                           const size_t *bytes, cl_bitfield flags, cl_uint wait_count,
                           const cl_event *waits, cl_event *event)
{
    count_migrate(queue, count, pointers, bytes, flags, wait_count, waits, event);
    cl_int code = 0;
    *event = pending = user_event(user_context, &code);
    return code;
}

static void a_move_that_fails_later_is_not_reported_as_done(void **state)
{
    (void)state;
    device_rig_reset();
    find("clCreateUserEvent", &user_event);
    find("clSetUserEventStatus", &user_event_end);
    cl_int (*call)(cl_command_queue, cl_uint, const void **, const size_t *, cl_bitfield, cl_uint,
                   const cl_event *, cl_event *) = late_migrate;
    replace("clEnqueueSVMMigrateMem", &call);
    opencl_case self = case_open(NULL);
    user_context = dray_device_handle(self.device);
    const dray_hint_call_range good = part(self.bytes, page);
    bool done = true;
    dray_error error;
    assert_int_equal(migrate(&self, DRAY_HINT_CL_SVM_MIGRATE, 0, &good, 1, NULL), DRAY_OK);
    assert_int_equal(self.ops->mark(self.queue, NULL), DRAY_OK);
    assert_int_equal(self.ops->query(self.queue, &done, NULL), DRAY_OK);
    assert_false(done);
    assert_int_equal(user_event_end(pending, -5), 0);
    assert_int_equal(self.ops->query(self.queue, &done, &error), DRAY_E_NOMEM);
    assert_true(done);
    assert_int_equal(error.native_code, -5);
    assert_int_equal(self.ops->query(self.queue, &done, NULL), DRAY_OK); // told once
    assert_int_equal(migrate(&self, DRAY_HINT_CL_SVM_MIGRATE, 0, &good, 1, NULL), DRAY_OK);
    assert_int_equal(user_event_end(pending, -14), 0);
    assert_int_equal(self.ops->wait(self.queue, &error), DRAY_E_DEVICE);
    assert_int_equal(error.native_code, -14);
    case_close(&self);
}

// --- Intel's extension -----------------------------------------------------------------------------

static cl_int (*real_device_info)(cl_device_id, cl_uint, size_t, void *, size_t *);
static char usm_memory[4 * page];
static struct {
    const void *pointer;
    size_t bytes;
    cl_bitfield flags;
} usm_asked;

static cl_int device_info_with_usm(cl_device_id device, cl_uint what, size_t room, void *value,
                                   size_t *bytes)
{
    static const char text[] = "cl_khr_fp64 cl_intel_unified_shared_memory cl_khr_il_program";
    if (what != DRAYI_OPENCL_DEVICE_EXTENSIONS)
        return real_device_info(device, what, room, value, bytes);
    if (room < sizeof(text))
        return -30;
    memcpy(value, text, sizeof(text));
    return 0;
}

static cl_int usm_info(cl_context context, const void *pointer, cl_uint what, size_t room,
                       void *value, size_t *bytes)
{
    (void)context;
    (void)bytes;
    const char *at = pointer;
    const bool ours = at >= usm_memory && at < usm_memory + sizeof(usm_memory);
    const cl_uint type = ours ? 0x4199 : 0x4196; // shared, unknown
    const void *base = ours ? usm_memory : NULL;
    const size_t size = ours ? sizeof(usm_memory) : 0;
    if (what == 0x419A && room == sizeof(type))
        memcpy(value, &type, sizeof(type));
    else if (what == 0x419B && room == sizeof(base))
        memcpy(value, &base, sizeof(base));
    else if (what == 0x419C && room == sizeof(size))
        memcpy(value, &size, sizeof(size));
    else
        return -30;
    return 0;
}

static cl_int usm_migrate(cl_command_queue queue, const void *pointer, size_t bytes,
                          cl_bitfield flags, cl_uint wait_count, const cl_event *waits,
                          cl_event *event)
{
    (void)queue;
    (void)wait_count;
    (void)waits;
    usm_asked.pointer = pointer;
    usm_asked.bytes = bytes;
    usm_asked.flags = flags;
    cl_int code = 0;
    *event = user_event(user_context, &code);
    return code ? code : user_event_end(*event, 0);
}

static void *usm_functions(cl_platform_id platform, const char *name)
{
    (void)platform;
    void *out = NULL;
    drayi_usm_info *info = usm_info;
    drayi_usm_migrate *move = usm_migrate;
    if (strcmp(name, "clGetMemAllocInfoINTEL") == 0)
        memcpy(&out, &info, sizeof(out));
    else if (strcmp(name, "clEnqueueMigrateMemINTEL") == 0)
        memcpy(&out, &move, sizeof(out));
    return out;
}

static void shared_memory_of_the_extension_is_moved_by_its_call(void **state)
{
    (void)state;
    device_rig_reset();
    find("clGetDeviceInfo", &real_device_info);
    find("clCreateUserEvent", &user_event);
    find("clSetUserEventStatus", &user_event_end);
    cl_int (*info)(cl_device_id, cl_uint, size_t, void *, size_t *) = device_info_with_usm;
    void *(*functions)(cl_platform_id, const char *) = usm_functions;
    replace("clGetDeviceInfo", &info);
    replace("clGetExtensionFunctionAddressForPlatform", &functions);
    opencl_case self = case_open(NULL);
    user_context = dray_device_handle(self.device);
    dray_hint_abilities abilities = {0};
    assert_int_equal(self.ops->probe(self.native.self, &abilities, NULL), DRAY_OK);
    assert_true(abilities.features & DRAY_HINT_HAS_USM);
    dray_hint_memory memory;
    dray_hint_range range = part(usm_memory + 100, 10).range;
    assert_int_equal(self.ops->look(self.native.self, &range, &memory, NULL), DRAY_OK);
    assert_int_equal(memory.kind, DRAY_HINT_MEMORY_MANAGED);
    assert_int_equal(memory.usm, 1);
    assert_true(memory.first == (uintptr_t)usm_memory);
    assert_int_equal(memory.bytes, sizeof(usm_memory));

    const dray_hint_call_range one = part(usm_memory + page, 2 * page);
    assert_int_equal(migrate(&self, DRAY_HINT_CL_USM_MIGRATE, 0, &one, 1, NULL), DRAY_OK);
    assert_int_equal(self.ops->wait(self.queue, NULL), DRAY_OK);
    assert_ptr_equal(usm_asked.pointer, usm_memory + page);
    assert_int_equal(usm_asked.bytes, 2 * page);
    assert_int_equal(usm_asked.flags, 0);
    const dray_hint_call_range two[] = {one, one};
    dray_error error;
    assert_int_equal(migrate(&self, DRAY_HINT_CL_USM_MIGRATE, 0, two, 2, &error), DRAY_E_INVALID);
    case_close(&self);
}

// --- memory ----------------------------------------------------------------------------------------

static void running_out_of_memory_leaves_nothing(void **state)
{
    (void)state;
    device_rig_reset();
    for (uint64_t n = 1;; n++) {
        counting_allocator counter;
        counting_allocator_init(&counter, 0);
        dray_allocator allocator = counting_allocator_interface(&counter);
        opencl_case self = case_open(&allocator);
        self.ops->queue_close(self.queue);
        counter.fail_at = counting_allocator_calls(&counter) + n;
        dray_error error = {.message = ""};
        const dray_hint_call_range good = part(self.bytes, page);
        dray_status status = self.ops->queue_open(self.native.self, &self.queue, &error);
        const bool opened = status == DRAY_OK;
        if (opened)
            status = migrate(&self, DRAY_HINT_CL_SVM_MIGRATE, 0, &good, 1, &error);
        dray_region *more = NULL;
        dray_region_options options = {.struct_bytes = sizeof(options),
                                       .storage = DRAY_STORAGE_MANAGED,
                                       .bytes = page,
                                       .device = self.device};
        if (status == DRAY_OK)
            status = dray_region_create(self.context, &options, &more, &error);
        const bool failed = counting_allocator_failed(&counter);
        assert_int_equal(status, failed ? DRAY_E_NOMEM : DRAY_OK);
        assert_true(!failed || error.message[0]);
        counter.fail_at = 0;
        dray_region_release(more);
        if (!opened)
            assert_int_equal(self.ops->queue_open(self.native.self, &self.queue, NULL), DRAY_OK);
        case_close(&self);
        assert_int_equal(counting_allocator_live_bytes(&counter), 0);
        if (!failed)
            break;
    }
}

int main(void)
{
    device_rig_reset();
    dray_device_info info = device_rig_listed("opencl:0");
    if (!info.name[0] || !(info.capabilities & DRAY_DEVICE_MANAGED)) {
        printf("skipped: no OpenCL device with shared virtual memory\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_driver_moves_nothing_and_that_is_known),
        cmocka_unit_test(without_the_calls_there_are_no_hints),
        cmocka_unit_test(memory_is_recognised_by_our_own_list),
        cmocka_unit_test(several_ranges_go_in_one_call_and_keep_their_bytes),
        cmocka_unit_test(no_strangers_pointer_reaches_the_driver),
        cmocka_unit_test(a_move_that_fails_later_is_not_reported_as_done),
        cmocka_unit_test(shared_memory_of_the_extension_is_moved_by_its_call),
        cmocka_unit_test(running_out_of_memory_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
