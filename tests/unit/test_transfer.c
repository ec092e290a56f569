/// Transfers over the real backends and a real file system: file to memory, to file, to nowhere, and back.
#include "core/context.h"
#include "dray/transfer.h"
#include "support/backend_rig.h"
#include "support/counting_allocator.h"
#include "support/fault_os.h"
#include "support/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { file_count = (9 << 20) + 123, page = 4096 };

typedef struct world_case {
    counting_allocator counter;
    dray_context *context;
    dray_agent *agent;
    dray_error error;
    char path[256], copy_path[256];
    dray_region *file, *copy, *memory, *drop;
    uint8_t *bytes, *wanted;
} world_case;

static void must(world_case *world, dray_status status)
{
    if (status != DRAY_OK)
        fail_msg("%s", world->error.message);
}

static void world_open(world_case *world, uint32_t threads)
{
    memset(world, 0, sizeof(*world));
    counting_allocator_init(&world->counter, 0);
    dray_context_options options = {.struct_bytes = sizeof(options),
                                    .allocator = counting_allocator_interface(&world->counter),
                                    .thread_count = threads};
    must(world, drayi_context_create_with(&options, fault_os(), &world->context, &world->error));
    must(world, dray_agent_create(world->context, NULL, &world->agent, &world->error));
    assert_true(dray_agent_has_backend(world->agent, "copy") &&
                dray_agent_has_backend(world->agent, "POSIX"));
    backend_rig_file(NULL, file_count, world->path);
    must(world, dray_region_open(world->context, world->path, NULL, &world->file, &world->error));
    snprintf(world->copy_path, sizeof(world->copy_path), "%.240s.copy", world->path);
    dray_file_options create = {
        .struct_bytes = sizeof(create), .writable = 1, .create = 1, .bytes = file_count};
    must(world,
         dray_region_open(world->context, world->copy_path, &create, &world->copy, &world->error));
    dray_region_options memory = {.struct_bytes = sizeof(memory), .bytes = file_count};
    must(world, dray_region_create(world->context, &memory, &world->memory, &world->error));
    memory.storage = DRAY_STORAGE_NULL;
    must(world, dray_region_create(world->context, &memory, &world->drop, &world->error));
    world->bytes = dray_region_pointer(world->memory);
    world->wanted = malloc(file_count);
    backend_rig_fill(world->wanted, file_count, 0);
}

static void world_close(world_case *world)
{
    dray_agent_destroy(world->agent);
    dray_region_release(world->file);
    dray_region_release(world->copy);
    dray_region_release(world->memory);
    dray_region_release(world->drop);
    dray_context_destroy(world->context);
    assert_int_equal(counting_allocator_live_bytes(&world->counter), 0);
    unlink(world->path);
    unlink(world->copy_path);
    free(world->wanted);
}

/// Runs the copies three times with one transfer; nothing may be allocated once it exists.
static dray_plan_summary run(world_case *world, const dray_copy *copies, uint64_t count)
{
    dray_plan *plan;
    dray_transfer *transfer;
    dray_plan_summary summary;
    must(world, dray_plan_create(world->agent, copies, count, NULL, &plan, &world->error));
    must(world, dray_transfer_create(world->agent, plan, NULL, &transfer, &world->error));
    uint64_t calls = counting_allocator_calls(&world->counter);
    for (uint32_t i = 0; i < 3; i++) {
        must(world, dray_transfer_submit(transfer, &world->error));
        must(world, dray_transfer_wait(transfer, -1, &world->error));
    }
    assert_int_equal(counting_allocator_calls(&world->counter), calls);
    dray_plan_summarize(plan, &summary);
    dray_transfer_destroy(transfer);
    dray_plan_destroy(plan);
    return summary;
}

static void moves_there_and_back(world_case *world)
{
    dray_copy copy = {.source = world->file, .target = world->memory, .run_bytes = file_count};
    dray_region_native native;
    dray_region_get_native(world->file, &native);
    dray_plan_summary summary = run(world, &copy, 1);
    assert_int_equal(memcmp(world->bytes, world->wanted, file_count), 0);
    assert_true(summary.direct_bytes == (native.direct_fd >= 0 ? file_count / page * page : 0));
    assert_int_equal(summary.hops, 1);

    copy = (dray_copy){.source = world->file,
                       .target = world->copy,
                       .source_offset = 77,
                       .run_bytes = file_count - 77};
    assert_int_equal(run(world, &copy, 1).hops, 2);
    memset(world->bytes, 0, file_count);
    copy = (dray_copy){.source = world->copy,
                       .target = world->memory,
                       .target_offset = 77,
                       .run_bytes = file_count - 77};
    run(world, &copy, 1);
    assert_int_equal(memcmp(world->bytes + 77, world->wanted + 77, file_count - 77), 0);

    copy = (dray_copy){.source = world->file, .target = world->drop, .run_bytes = file_count};
    assert_int_equal(run(world, &copy, 1).hops, 2);
}

/// Every other row of 1000 bytes out of the file, and every row back into the other file.
static void moves_rows(world_case *world)
{
    dray_copy copies[2] = {{.source = world->file,
                            .target = world->memory,
                            .source_offset = 5,
                            .run_bytes = 1000,
                            .loop_count = 1,
                            .loops = {{3000, 2000, 1000}}},
                           {.source = world->file,
                            .target = world->memory,
                            .target_offset = 4 << 20,
                            .run_bytes = 50000,
                            .loop_count = 1,
                            .loops = {{20, 100000, 60000}}}};
    memset(world->bytes, 0, file_count);
    run(world, copies, 2);
    for (uint32_t i = 0; i < 3000; i++)
        assert_int_equal(memcmp(world->bytes + i * 1000, world->wanted + 5 + i * 2000, 1000), 0);
    for (uint32_t i = 0; i < 20; i++)
        assert_int_equal(
            memcmp(world->bytes + (4 << 20) + i * 60000, world->wanted + i * 100000, 50000), 0);
}

static void in_each_surrounding(void (*check)(world_case *world))
{
    static const struct surrounding {
        uint32_t threads;
        unsigned absent;
    } all[] = {{0, 0}, {2, 0}, {0, FAULT_NO_URING}, {2, FAULT_NO_URING}, {2, FAULT_NO_DIRECT}};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        world_case world;
        fault_os_reset();
        fault_os_make_absent(all[i].absent);
        world_open(&world, all[i].threads);
        check(&world);
        world_close(&world);
    }
    fault_os_reset();
}

static void files_memory_and_nothing_in_every_surrounding(void **state)
{
    (void)state;
    in_each_surrounding(moves_there_and_back);
}

static void rows_in_every_surrounding(void **state)
{
    (void)state;
    in_each_surrounding(moves_rows);
}

static void a_truncated_file_is_an_error_that_names_the_copy(void **state)
{
    (void)state;
    world_case world;
    fault_os_reset();
    world_open(&world, 2);
    assert_int_equal(truncate(world.path, 3 << 20), 0);
    dray_copy copies[2] = {{.source = world.file, .target = world.memory, .run_bytes = 1 << 20},
                           {.source = world.file,
                            .target = world.memory,
                            .source_offset = 2 << 20,
                            .target_offset = 2 << 20,
                            .run_bytes = 4 << 20}};
    dray_plan *plan;
    dray_transfer *transfer;
    must(&world, dray_plan_create(world.agent, copies, 2, NULL, &plan, &world.error));
    must(&world, dray_transfer_create(world.agent, plan, NULL, &transfer, &world.error));
    must(&world, dray_transfer_submit(transfer, &world.error));
    assert_int_equal(dray_transfer_wait(transfer, -1, &world.error), DRAY_E_CORRUPT);
    assert_int_equal(world.error.index, 1);
    assert_memory_equal(world.error.message, "copy 1: ", 8);
    assert_non_null(strstr(world.error.message, world.path));
    dray_transfer_destroy(transfer);
    dray_plan_destroy(plan);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_memory_and_nothing_in_every_surrounding),
        cmocka_unit_test(rows_in_every_surrounding),
        cmocka_unit_test(a_truncated_file_is_an_error_that_names_the_copy),
    };
    return cmocka_run_group_tests_name("transfers over the real backends", tests, NULL, NULL);
}
