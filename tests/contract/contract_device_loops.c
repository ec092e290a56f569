/// Copies with loops on memory of one device, bit for bit as the naive loop: by kernels, and where the driver has
/// no compiler or refuses the kernels, run by run.
#include "device_rig.h"
#include "dray/transfer.h"
#include "sequence.h"
#include "testing.h"
#include "transfer_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { room = 96 << 10 };

typedef struct bench {
    dray_context *context;
    dray_agent *agent;
    uint8_t *bytes, *wanted; // of the target
    dray_region *host, *from, *to;
    random_sequence random;
} bench;

static void move(bench *own, dray_region *from, dray_region *to, const dray_copy *given)
{
    const dray_copy whole = {.source = from, .target = to, .run_bytes = room};
    dray_plan *plan;
    dray_transfer *transfer = NULL;
    dray_error error;
    dray_status status =
        dray_plan_create(own->agent, given ? given : &whole, 1, NULL, &plan, &error);
    if (status == DRAY_OK)
        status = dray_transfer_create(own->agent, plan, NULL, &transfer, &error);
    for (int i = 0; i < 2 && status == DRAY_OK; i++) { // twice: the kernels are there already
        status = dray_transfer_submit(transfer, &error);
        if (status == DRAY_OK)
            status = dray_transfer_wait(transfer, -1, &error);
    }
    if (status != DRAY_OK)
        fail_msg("%s", error.message);
    dray_transfer_destroy(transfer);
    dray_plan_destroy(plan);
}

static bench bench_open(const char *name, dray_storage from, dray_storage to)
{
    bench own = {.context = device_rig_context(NULL, 1), .random.state = 17};
    static const char *const backends[] = {"copy", "cuda", "opencl", "sim_device", NULL};
    const dray_agent_options options = {.struct_bytes = sizeof(options), .backends = backends};
    dray_error error;
    dray_device *device = NULL;
    if (dray_agent_create(own.context, &options, &own.agent, &error) != DRAY_OK ||
        dray_device_open(own.context, name, &device, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    own.host = device_rig_region(own.context, NULL, DRAY_STORAGE_SYSTEM, room);
    own.from = device_rig_region(own.context, device, from, room);
    own.to = device_rig_region(own.context, device, to, room);
    own.bytes = dray_region_pointer(own.host);
    own.wanted = malloc(room);
    assert_non_null(own.wanted);
    dray_device_release(device);
    return own;
}

static void bench_close(bench *own)
{
    dray_agent_destroy(own->agent);
    dray_region_release(own->host);
    dray_region_release(own->from);
    dray_region_release(own->to);
    free(own->wanted);
    dray_context_destroy(own->context);
}

/// Loops that nest on the target and are permuted on the source; offsets and gaps of any alignment.
static dray_copy random_copy(bench *own)
{
    static const uint64_t runs[] = {1, 2, 3, 4, 6, 8, 12, 16, 32, 48, 100, 256};
    uint64_t unit = (uint64_t)1 << sequence_below(&own->random, 5),
             run = runs[sequence_below(&own->random, 12)];
    dray_copy copy = {.source = own->from,
                      .target = own->to,
                      .run_bytes = run * (unit > 4 ? 1 : unit),
                      .loop_count = 1 + (uint32_t)sequence_below(&own->random, DRAY_LOOPS_MAX),
                      .source_offset = sequence_below(&own->random, 9) * unit,
                      .target_offset = sequence_below(&own->random, 9) * unit};
    uint64_t source = copy.run_bytes, target = copy.run_bytes;
    for (uint32_t i = copy.loop_count; i-- > 0;) {
        dray_loop *loop = &copy.loops[i];
        loop->count = 1 + sequence_below(&own->random, 4);
        loop->source_stride = source + sequence_below(&own->random, 3) * unit;
        loop->target_stride = target + sequence_below(&own->random, 3) * unit;
        source = loop->count * loop->source_stride;
        target = loop->count * loop->target_stride;
    }
    dray_loop *outer = &copy.loops[0], *inner = &copy.loops[copy.loop_count - 1];
    if (outer->count == inner->count) { // a transpose
        uint64_t swap = outer->source_stride;
        outer->source_stride = inner->source_stride;
        inner->source_stride = swap;
    }
    return copy;
}

static void check(bench *own, int rounds)
{
    static uint8_t source[room], background[room];
    for (int round = 0; round < rounds; round++) {
        dray_copy copy = random_copy(own);
        for (uint32_t i = 0; i < room; i++) {
            source[i] = (uint8_t)sequence_next(&own->random);
            background[i] = (uint8_t)(source[i] + 1);
        }
        memcpy(own->bytes, source, room);
        move(own, own->host, own->from, NULL);
        memcpy(own->bytes, background, room);
        move(own, own->host, own->to, NULL);
        memcpy(own->wanted, background, room);
        transfer_rig_expect(&copy, source, own->wanted);
        move(own, own->from, own->to, &copy);
        move(own, own->to, own->host, NULL);
        assert_memory_equal(own->bytes, own->wanted, room);
    }
}

static const char *const devices[] = {"sim:0", "opencl:0", "cuda:0"};
enum { device_count = sizeof(devices) / sizeof(devices[0]) };

static void loops_on_device_memory_are_the_naive_loop(void **state)
{
    (void)state;
    for (int i = 0; i < device_count; i++) {
        device_rig_reset();
        bench own = bench_open(devices[i], DRAY_STORAGE_DEVICE, DRAY_STORAGE_DEVICE);
        check(&own, 60);
        bench_close(&own);
    }
}

static void loops_with_managed_memory_are_the_naive_loop(void **state)
{
    (void)state;
    static const dray_storage kinds[3][2] = {{DRAY_STORAGE_MANAGED, DRAY_STORAGE_DEVICE},
                                             {DRAY_STORAGE_DEVICE, DRAY_STORAGE_MANAGED},
                                             {DRAY_STORAGE_MANAGED, DRAY_STORAGE_MANAGED}};
    for (int i = 0; i < device_count; i++) {
        for (int k = 0; k < 3; k++) {
            device_rig_reset();
            bench own = bench_open(devices[i], kinds[k][0], kinds[k][1]);
            check(&own, 15);
            bench_close(&own);
        }
    }
}

static void without_a_compiler_runs_go_one_by_one(void **state)
{
    (void)state;
    device_rig_reset();
    device_rig_hide_symbol("clBuildProgram");
    bench own = bench_open("opencl:0", DRAY_STORAGE_DEVICE, DRAY_STORAGE_DEVICE);
    check(&own, 20);
    bench_close(&own);
    device_rig_hide_symbol(NULL);
}

static void cuda_compiles_loads_and_launches(void **state)
{
    (void)state;
    if (!device_rig_has_standin())
        skip();
    device_rig_reset();
    bench own = bench_open("cuda:0", DRAY_STORAGE_DEVICE, DRAY_STORAGE_DEVICE);
    check(&own, 10);
    assert_true(device_rig_standin_counts().launches > 0);
    assert_int_equal(device_rig_standin_counts().modules, 1);
    bench_close(&own);
    standin_counts counts = device_rig_standin_counts();
    if (counts.misuse)
        fail_msg("%s", counts.last_misuse);
    assert_int_equal(counts.modules, 0);
}

static void cuda_without_nvrtc_or_with_faults_in_it_copies_run_by_run(void **state)
{
    (void)state;
    static const char *const calls[] = {"cuModuleLoadData", "cuModuleGetFunction", NULL};
    if (!device_rig_has_standin())
        skip();
    for (int i = 0; i < 3; i++) {
        device_rig_reset();
        if (calls[i])
            device_rig_standin(&(standin_config){.fault = {.call = calls[i], .at = 1, .code = 200}});
        else
            device_rig_hide_library("libnvrtc.so.13");
        bench own = bench_open("cuda:0", DRAY_STORAGE_DEVICE, DRAY_STORAGE_DEVICE);
        check(&own, 5);
        assert_int_equal(device_rig_standin_counts().launches, 0);
        assert_true(device_rig_standin_counts().single_copies > 0);
        bench_close(&own);
        assert_int_equal(device_rig_standin_counts().modules, 0);
        device_rig_hide_library(NULL);
    }
}

extern const unsigned char drayi_cuda_loops_cu[];
extern const unsigned long drayi_cuda_loops_cu_bytes;

/// The compiler is no stand-in; what it makes has still not run on a GPU.
static void a_real_nvrtc_compiles_the_kernels(void **state)
{
    (void)state;
    char why[256];
    void *library = drayi_os_linux.library_open("libnvrtc.so.13", why, sizeof(why));
    if (!library)
        library = drayi_os_linux.library_open("libnvrtc.so.12", why, sizeof(why));
    if (!library) {
        print_message("skipped: %s\n", why);
        skip();
    }
    int (*create)(void **, const char *, const char *, int, const char *const *,
                  const char *const *);
    int (*compile)(void *, int, const char *const *);
    int (*image_bytes)(void *, size_t *);
    int (*image)(void *, char *);
    int (*destroy)(void **);
    static const char *const names[] = {"nvrtcCreateProgram", "nvrtcCompileProgram",
                                        "nvrtcGetPTXSize", "nvrtcGetPTX", "nvrtcDestroyProgram"};
    void *const calls[] = {&create, &compile, &image_bytes, &image, &destroy};
    for (int i = 0; i < 5; i++) {
        void *symbol = drayi_os_linux.library_symbol(library, names[i]);
        assert_non_null(symbol);
        memcpy(calls[i], &symbol, sizeof(symbol));
    }
    static char source[1 << 14], text[1 << 18];
    static const char *const options[] = {"--gpu-architecture=compute_90"};
    void *program;
    size_t bytes = 0;
    assert_true(drayi_cuda_loops_cu_bytes < sizeof(source));
    memcpy(source, drayi_cuda_loops_cu, drayi_cuda_loops_cu_bytes);
    assert_int_equal(create(&program, source, "loops.cu", 0, NULL, NULL), 0);
    assert_int_equal(compile(program, 1, options), 0);
    assert_int_equal(image_bytes(program, &bytes), 0);
    assert_true(bytes < sizeof(text));
    assert_int_equal(image(program, text), 0);
    assert_non_null(strstr(text, ".entry copy_loops_1("));
    assert_non_null(strstr(text, ".entry copy_loops_16("));
    destroy(&program);
    drayi_os_linux.library_close(library);
}

static int32_t build_refused(void *program, uint32_t count, const void *devices_of,
                             const char *options, void (*notify)(void *, void *), void *self)
{
    (void)program, (void)count, (void)devices_of, (void)options, (void)notify, (void)self;
    return -11; // CL_BUILD_PROGRAM_FAILURE
}

static void kernels_that_do_not_build_are_done_without(void **state)
{
    (void)state;
    device_rig_reset();
    device_rig_replace_symbol("clBuildProgram", (void *)(uintptr_t)build_refused);
    bench own = bench_open("opencl:0", DRAY_STORAGE_DEVICE, DRAY_STORAGE_DEVICE);
    check(&own, 20);
    bench_close(&own);
    device_rig_replace_symbol(NULL, NULL);
}

static int32_t run_refused(void *queue, void *kernel, uint32_t dimensions, const size_t *offset,
                           const size_t *global, const size_t *local, uint32_t wait_count,
                           const void *waits, void *event)
{
    (void)queue, (void)kernel, (void)dimensions, (void)offset, (void)global, (void)local;
    (void)wait_count, (void)waits, (void)event;
    return -5; // CL_OUT_OF_RESOURCES
}

static void a_kernel_that_cannot_be_queued_fails_the_copy(void **state)
{
    (void)state;
    device_rig_reset();
    device_rig_replace_symbol("clEnqueueNDRangeKernel", (void *)(uintptr_t)run_refused);
    bench own = bench_open("opencl:0", DRAY_STORAGE_DEVICE, DRAY_STORAGE_DEVICE);
    const dray_copy copy = {.source = own.from,
                            .target = own.to,
                            .run_bytes = 8,
                            .loop_count = 1,
                            .loops = {{4, 16, 32}}};
    dray_plan *plan;
    dray_transfer *transfer;
    dray_error error;
    assert_int_equal(dray_plan_create(own.agent, &copy, 1, NULL, &plan, &error), DRAY_OK);
    assert_int_equal(dray_transfer_create(own.agent, plan, NULL, &transfer, &error), DRAY_OK);
    assert_int_equal(dray_transfer_submit(transfer, &error), DRAY_OK);
    assert_int_not_equal(dray_transfer_wait(transfer, -1, &error), DRAY_OK);
    assert_non_null(strstr(error.message, "clEnqueueNDRangeKernel"));
    dray_transfer_destroy(transfer);
    dray_plan_destroy(plan);
    bench_close(&own);
    device_rig_replace_symbol(NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loops_on_device_memory_are_the_naive_loop),
        cmocka_unit_test(loops_with_managed_memory_are_the_naive_loop),
        cmocka_unit_test(cuda_compiles_loads_and_launches),
        cmocka_unit_test(cuda_without_nvrtc_or_with_faults_in_it_copies_run_by_run),
        cmocka_unit_test(a_real_nvrtc_compiles_the_kernels),
        cmocka_unit_test(without_a_compiler_runs_go_one_by_one),
        cmocka_unit_test(kernels_that_do_not_build_are_done_without),
        cmocka_unit_test(a_kernel_that_cannot_be_queued_fails_the_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
