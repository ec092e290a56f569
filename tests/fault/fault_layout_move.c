/// Moves of blocks to and from files while system calls and allocations fail, one after the other: a failed run
/// says so and why, nothing leaks, and the same transfer, posted again, brings every byte.
#include "core/context.h"
#include "counting_allocator.h"
#include "dray/layout.h"
#include "fault_os.h"
#include "testing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { block_count = 6 };

typedef struct world {
    counting_allocator counter;
    dray_context *context;
    dray_agent *agent;
    dray_layout *memory, *file;
    dray_error error;
} world;

static void good(const world *all, dray_status status)
{
    if (status != DRAY_OK)
        fail_msg("%s", all->error.message);
}

static dray_layout *built(world *all, dray_storage storage)
{
    const char *folder = getenv("TMPDIR");
    const dray_layout_config config = {.struct_bytes = sizeof(config),
                                       .kind = storage == DRAY_STORAGE_DISK
                                                   ? DRAY_LAYOUT_CONTIGUOUS
                                                   : DRAY_LAYOUT_LAYER_SEPARATE_FIRST,
                                       .num_blocks = block_count,
                                       .num_layers = 2,
                                       .outer_dim = 2,
                                       .page_size = 16,
                                       .inner_dim = 1024,
                                       .num_heads = 8,
                                       .dtype_width_bytes = 2};
    const dray_layout_allocation allocation = {
        .struct_bytes = sizeof(allocation),
        .storage = storage,
        .folder = storage == DRAY_STORAGE_DISK ? (folder ? folder : "/tmp") : NULL};
    const dray_layout_options options = {.struct_bytes = sizeof(options),
                                         .config = &config,
                                         .allocate = &allocation,
                                         .unregistered = 1};
    dray_layout *layout = NULL;
    good(all, dray_layout_build(all->agent, &options, &layout, &all->error));
    return layout;
}

static void world_open(world *all)
{
    memset(all, 0, sizeof(*all));
    fault_os_reset();
    counting_allocator_init(&all->counter, 0);
    const dray_context_options options = {.struct_bytes = sizeof(options),
                                          .allocator = counting_allocator_interface(&all->counter)};
    good(all, drayi_context_create_with(&options, fault_os(), &all->context, &all->error));
    good(all, dray_agent_create(all->context, NULL, &all->agent, &all->error));
    all->memory = built(all, DRAY_STORAGE_SYSTEM);
    all->file = built(all, DRAY_STORAGE_DISK);
}

static void world_close(world *all)
{
    fault_os_reset();
    dray_layout_destroy(all->memory);
    dray_layout_destroy(all->file);
    dray_agent_destroy(all->agent);
    dray_context_destroy(all->context);
    assert_int_equal(counting_allocator_live_bytes(&all->counter), 0);
}

static const uint64_t blocks[3] = {4, 0, 5}, targets[3] = {1, 3, 2};

static dray_layout_move move_of(const world *all, bool to_file)
{
    return (dray_layout_move){.struct_bytes = sizeof(dray_layout_move),
                              .sources = to_file ? &all->memory : &all->file,
                              .targets = to_file ? &all->file : &all->memory,
                              .source_count = 1,
                              .target_count = 1,
                              .source_blocks = blocks,
                              .target_blocks = targets,
                              .source_block_count = 3,
                              .target_block_count = 3};
}

static void fill(world *all, dray_layout *layout, uint64_t seed)
{
    const dray_layout_pattern pattern = {.struct_bytes = sizeof(pattern), .seed = seed};
    good(all, dray_layout_fill(all->agent, layout, &pattern, &all->error));
}

static void arrived(world *all, const dray_layout_move *move)
{
    dray_layout_digest wanted[3], got[3];
    good(all,
         dray_layout_digest_blocks(all->agent, move->sources[0], blocks, 3, wanted, &all->error));
    good(all, dray_layout_digest_blocks(all->agent, move->targets[0], targets, 3, got, &all->error));
    assert_memory_equal(got, wanted, sizeof(wanted));
}

static dray_status post(dray_transfer *transfer, dray_error *error)
{
    dray_status status = dray_transfer_submit(transfer, error);
    return status == DRAY_OK ? dray_transfer_wait(transfer, -1, error) : status;
}

/// The Nth call fails, N = 1, 2, ...; then the run is repeated with a whole kernel.
static void calls_fail(world *all, bool to_file, dray_direct direct, int code)
{
    dray_layout_move move = move_of(all, to_file);
    const dray_plan_options options = {.struct_bytes = sizeof(options), .direct = direct};
    dray_plan *plan;
    dray_transfer *transfer;
    good(all, dray_layout_plan_move(all->agent, &move, &options, &plan, &all->error));
    good(all, dray_transfer_create(all->agent, plan, NULL, &transfer, &all->error));
    for (uint64_t n = 1;; n++) {
        fault_os_reset();
        fill(all, to_file ? all->memory : all->file, n);
        fault_os_inject(&(fault_plan){.at = n,
                                      .groups = FAULT_READ | FAULT_WRITE | FAULT_RING |
                                                FAULT_COMPLETION | FAULT_EVENT,
                                      .code = code});
        dray_error error = {0};
        dray_status status = post(transfer, &error);
        bool hit = fault_os_hits() > 0;
        fault_os_reset();
        if (status == DRAY_OK) {
            arrived(all, &move);
        } else {
            assert_true(error.message[0] != '\0');
            assert_true(hit);
            good(all, post(transfer, &all->error));
            arrived(all, &move);
        }
        if (!hit)
            break;
        assert_true(n < 2000);
    }
    dray_transfer_destroy(transfer);
    dray_plan_destroy(plan);
}

static void a_failing_call_is_never_a_move(void **state)
{
    (void)state;
    static const dray_direct ways[2] = {DRAY_DIRECT_AUTO, DRAY_DIRECT_NEVER};
    world all;
    world_open(&all);
    for (int i = 0; i < 2; i++) {
        calls_fail(&all, true, ways[i], -EIO);
        calls_fail(&all, false, ways[i], -EIO);
        calls_fail(&all, true, ways[i], 0); // short writes are continued
        calls_fail(&all, false, ways[i], 0);
    }
    world_close(&all);
}

static void a_full_disk_is_told(void **state)
{
    (void)state;
    static const dray_direct ways[2] = {DRAY_DIRECT_AUTO, DRAY_DIRECT_NEVER};
    world all;
    world_open(&all);
    fault_os_make_absent(FAULT_NO_URING);
    dray_layout_move move = move_of(&all, true);
    for (int i = 0; i < 2; i++) {
        const dray_plan_options options = {.struct_bytes = sizeof(options), .direct = ways[i]};
        dray_plan *plan;
        dray_transfer *transfer;
        dray_error error = {0};
        good(&all, dray_layout_plan_move(all.agent, &move, &options, &plan, &all.error));
        good(&all, dray_transfer_create(all.agent, plan, NULL, &transfer, &all.error));
        fault_os_inject(&(fault_plan){.at = 1,
                                      .repeat = UINT64_MAX,
                                      .groups = FAULT_WRITE | FAULT_COMPLETION,
                                      .code = -ENOSPC});
        assert_int_equal(post(transfer, &error), DRAY_E_NOSPACE);
        fault_os_reset();
        good(&all, post(transfer, &all.error));
        arrived(&all, &move);
        dray_transfer_destroy(transfer);
        dray_plan_destroy(plan);
    }
    world_close(&all);
}

static void a_failing_allocation_leaves_nothing_behind(void **state)
{
    (void)state;
    world all;
    world_open(&all);
    dray_layout_move move = move_of(&all, true);
    uint64_t live = counting_allocator_live_bytes(&all.counter);
    dray_status status = DRAY_E_NOMEM;
    for (uint64_t n = 1; status != DRAY_OK; n++) {
        dray_plan *plan = NULL;
        dray_transfer *transfer = NULL;
        dray_error error = {0};
        all.counter.fail_at = counting_allocator_calls(&all.counter) + n;
        status = dray_layout_plan_move(all.agent, &move, NULL, &plan, &error);
        if (status == DRAY_OK)
            status = dray_transfer_create(all.agent, plan, NULL, &transfer, &error);
        all.counter.fail_at = 0;
        if (status == DRAY_OK) {
            good(&all, post(transfer, &all.error));
        } else {
            assert_int_equal(status, DRAY_E_NOMEM);
            assert_true(error.message[0] != '\0');
        }
        dray_transfer_destroy(transfer);
        dray_plan_destroy(plan);
        assert_int_equal(counting_allocator_live_bytes(&all.counter), live);
    }
    world_close(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failing_call_is_never_a_move),
        cmocka_unit_test(a_full_disk_is_told),
        cmocka_unit_test(a_failing_allocation_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
