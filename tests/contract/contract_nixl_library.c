/// The NIXL backend over NIXL itself: files and host memory. DRAY_TEST_NIXL is the path of a
/// libnixl_capi.so; without it this is skipped. (The wheels nixl-cu12 and nixl-cu13 have one inside.)
#include "backend_rig.h"
#include "dray/transfer.h"
#include "testing.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BYTES = (20 << 20) + 4321 };

/// NIXL and what it loads keep things to the end of the process; they are not our leaks.
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libnixl\nleak:libplugin_\nleak:libabsl\nleak:libgrpc\n";
}

static void *library_open(const char *name, char *out_why, size_t why_bytes)
{
    if (strcmp(name, "libnixl_capi.so") == 0)
        name = getenv("DRAY_TEST_NIXL");
    return drayi_os_linux.library_open(name, out_why, why_bytes);
}

typedef struct bench {
    dray_context *context;
    dray_agent *agent;
    dray_region *memory, *file;
    char path[256];
} bench;

static drayi_os table;

static int bench_open(void **state)
{
    static bench own;
    table = drayi_os_linux;
    table.library_open = library_open;
    static const char *const names[] = {"nixl", NULL};
    dray_context_options context = {.struct_bytes = sizeof(context)};
    dray_agent_options agent = {.struct_bytes = sizeof(agent), .backends = names};
    dray_region_options memory = {.struct_bytes = sizeof(memory), .bytes = BYTES};
    dray_file_options writable = {.struct_bytes = sizeof(writable), .writable = 1};
    dray_error error = {0};
    backend_rig_file(NULL, BYTES, own.path);
    if (drayi_context_create_with(&context, &table, &own.context, &error) != DRAY_OK ||
        dray_agent_create(own.context, &agent, &own.agent, &error) != DRAY_OK ||
        dray_region_create(own.context, &memory, &own.memory, &error) != DRAY_OK ||
        dray_region_open(own.context, own.path, &writable, &own.file, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    *state = &own;
    return 0;
}

static int bench_close(void **state)
{
    bench *own = *state;
    dray_region_release(own->file);
    dray_region_release(own->memory);
    dray_agent_destroy(own->agent);
    dray_context_destroy(own->context);
    unlink(own->path);
    return 0;
}

static dray_status move(bench *own, dray_region *from, dray_region *to, dray_error *error)
{
    dray_copy copy = {.source = from, .target = to, .run_bytes = BYTES};
    dray_plan *plan;
    dray_transfer *transfer;
    dray_status status = dray_plan_create(own->agent, &copy, 1, NULL, &plan, error);
    if (status != DRAY_OK)
        return status;
    status = dray_transfer_create(own->agent, plan, NULL, &transfer, error);
    if (status == DRAY_OK) {
        status = dray_transfer_submit(transfer, error);
        if (status == DRAY_OK)
            status = dray_transfer_wait(transfer, -1, error);
        char how[512];
        dray_plan_describe(own->agent, plan, how, sizeof(how));
        printf("%s\n", how);
        dray_transfer_destroy(transfer);
    }
    dray_plan_destroy(plan);
    return status;
}

static void assert_reads_well(bench *own)
{
    dray_error error = {0};
    memset(dray_region_pointer(own->memory), 0, BYTES);
    if (move(own, own->file, own->memory, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    assert_int_equal(backend_rig_first_wrong(dray_region_pointer(own->memory), BYTES, 0),
                     DRAY_UNKNOWN);
}

static void bytes_go_there_and_back(void **state)
{
    bench *own = *state;
    dray_error error = {0};
    assert_reads_well(own);
    assert_int_equal(truncate(own->path, 0), 0);
    if (move(own, own->memory, own->file, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    assert_reads_well(own);
}

static void a_file_that_became_shorter_is_an_error_and_others_go_on(void **state)
{
    bench *own = *state;
    dray_error error = {0};
    assert_int_equal(truncate(own->path, 5000), 0);
    assert_int_equal(move(own, own->file, own->memory, &error), DRAY_E_CORRUPT);
    assert_non_null(strstr(error.message, "file ends at 5000"));
    backend_rig_fill(dray_region_pointer(own->memory), BYTES, 0);
    if (move(own, own->memory, own->file, &error) != DRAY_OK) // engines that failed were made anew
        fail_msg("%s", error.message);
    for (int i = 0; i < 5; i++)
        assert_reads_well(own);
}

int main(void)
{
    const char *path = getenv("DRAY_TEST_NIXL");
    if (!path || !path[0]) {
        printf("skipped: DRAY_TEST_NIXL does not name a libnixl_capi.so\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bytes_go_there_and_back, bench_open, bench_close),
        cmocka_unit_test_setup_teardown(a_file_that_became_shorter_is_an_error_and_others_go_on,
                                        bench_open, bench_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
