/// The Nth allocation and the Nth system call fail, for every N, on the way from agent to finished
/// transfer: a status, a message, nothing leaked, and the next try works.
#include "core/context.h"
#include "dray/transfer.h"
#include "support/backend_sim.h"
#include "support/counting_allocator.h"
#include "support/fake_files.h"
#include "support/fault_os.h"
#include "support/testing.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { file_bytes_count = 40000, page = 4096 };
static _Alignas(page) uint8_t from_bytes[file_bytes_count], to_bytes[file_bytes_count],
    memory[file_bytes_count];

static void edges_make(void)
{
    backend_sim_reset(&backend_sims[0], 1);
    backend_sim_reset(&backend_sims[1], 2);
    dray_edge *read = backend_sim_edge(&backend_sims[0], DRAY_STORAGE_DISK, DRAY_STORAGE_SYSTEM);
    read->max_segments = 4;
    read->best_depth = 2;
    dray_edge *direct = backend_sim_edge(&backend_sims[0], DRAY_STORAGE_DISK, DRAY_STORAGE_SYSTEM);
    direct->flags = DRAY_EDGE_DIRECT;
    dray_edge *write = backend_sim_edge(&backend_sims[1], DRAY_STORAGE_SYSTEM, DRAY_STORAGE_DISK);
    write->max_bytes = 5000;
    dray_edge *copy = backend_sim_edge(&backend_sims[1], DRAY_STORAGE_SYSTEM, DRAY_STORAGE_SYSTEM);
    copy->max_loops = 1;
    copy->max_bytes = 100;
    for (uint32_t i = 0; i < file_bytes_count; i++)
        from_bytes[i] = (uint8_t)(i * 13 + i / 256);
    memset(to_bytes, 0, sizeof(to_bytes));
    memset(memory, 0, sizeof(memory));
}

/// The regions of one try, all opened while nothing fails yet.
typedef struct thing_set {
    dray_context *context;
    dray_region *from, *to, *memory;
    dray_agent *agent;
    dray_plan *plan;
    dray_transfer *transfer;
} thing_set;

static dray_status file_open(thing_set *things, const char *path, dray_region **out_region,
                             dray_error *error)
{
    dray_file_options options = {.struct_bytes = sizeof(options), .writable = 1};
    return dray_region_open(things->context, path, &options, out_region, error);
}

/// File to file in two hops over two backends, file to memory, and a loop inside memory.
static dray_status whole_way(thing_set *self, dray_error *error)
{
    const char *const names[] = {"sim", "sim2", NULL};
    dray_agent_options agent = {.struct_bytes = sizeof(agent), .backends = names};
    dray_status status = dray_agent_create(self->context, &agent, &self->agent, error);
    if (status == DRAY_OK)
        status = file_open(self, "fake:0", &self->from, error);
    if (status == DRAY_OK)
        status = file_open(self, "fake:1", &self->to, error);
    if (status == DRAY_OK)
        status = dray_region_wrap(self->context, DRAY_STORAGE_SYSTEM, memory, sizeof(memory), NULL,
                                  NULL, &self->memory, error);
    dray_copy copies[3] = {
        {.source = self->from, .target = self->to, .source_offset = 100, .run_bytes = 30000},
        {.source = self->from, .target = self->memory, .run_bytes = 3 * page + 50},
        {.source = self->from,
         .target = self->memory,
         .target_offset = 20000,
         .run_bytes = 10,
         .loop_count = 2,
         .loops = {{5, 1000, 1000}, {7, 20, 30}}},
    };
    if (status == DRAY_OK)
        status = dray_plan_create(self->agent, copies, 3, NULL, &self->plan, error);
    if (status == DRAY_OK)
        status = dray_transfer_create(self->agent, self->plan, NULL, &self->transfer, error);
    if (status == DRAY_OK)
        status = dray_transfer_submit(self->transfer, error);
    return status == DRAY_OK ? dray_transfer_wait(self->transfer, -1, error) : status;
}

static void give_back(thing_set *self)
{
    dray_transfer_destroy(self->transfer);
    dray_plan_destroy(self->plan);
    dray_agent_destroy(self->agent);
    dray_region_release(self->from);
    dray_region_release(self->to);
    dray_region_release(self->memory);
    dray_context_destroy(self->context);
    assert_false(backend_sims[0].is_open);
    assert_false(backend_sims[1].is_open);
    assert_int_equal(backend_sims[0].attached, backend_sims[0].detached);
    assert_int_equal(backend_sims[1].attached, backend_sims[1].detached);
    assert_string_equal(backend_sims[0].violation, "");
    assert_string_equal(backend_sims[1].violation, "");
    assert_int_equal(fake_files_open, 0);
}

static void check_bytes(void)
{
    assert_memory_equal(to_bytes, from_bytes + 100, 30000);
    assert_memory_equal(memory, from_bytes, 3 * page + 50);
    for (uint32_t i = 0; i < 5; i++) {
        for (uint32_t k = 0; k < 7; k++)
            assert_memory_equal(memory + 20000 + i * 1000 + k * 30, from_bytes + i * 1000 + k * 20,
                                10);
    }
}

static dray_status context_open(thing_set *self, const drayi_os *os,
                                const dray_allocator *allocator, dray_error *error)
{
    static const dray_backend_ops *const backends[] = {&backend_sim_ops[0], &backend_sim_ops[1],
                                                       NULL};
    dray_context_options options = {.struct_bytes = sizeof(options), .backends = backends};
    if (allocator)
        options.allocator = *allocator;
    fake_files[0] = (fake_file){from_bytes, sizeof(from_bytes), 512, 512, 0, 0};
    fake_files[1] = (fake_file){to_bytes, sizeof(to_bytes), 0, 0, 0, 0};
    return drayi_context_create_with(&options, os, &self->context, error);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    drayi_os os = fake_files_os();
    for (uint64_t n = 1;; n++) {
        counting_allocator counter;
        counting_allocator_init(&counter, n);
        dray_allocator allocator = counting_allocator_interface(&counter);
        thing_set things = {0};
        dray_error error = {0};
        edges_make();
        dray_status status = context_open(&things, &os, &allocator, &error);
        if (status == DRAY_OK)
            status = whole_way(&things, &error);
        bool failed = counting_allocator_failed(&counter);
        assert_int_equal(status, failed ? DRAY_E_NOMEM : DRAY_OK);
        if (failed)
            assert_non_null(strstr(error.message, "out of memory"));
        else
            check_bytes();
        give_back(&things);
        assert_int_equal(counting_allocator_live_bytes(&counter), 0);
        if (!failed) {
            assert_true(n > 20); // the loop did meet allocations
            return;
        }
    }
}

/// fault_os() cannot open files in memory; it lends its faults, the fake table its files.
static drayi_os faulty_fake_os(void)
{
    drayi_os os = fake_files_os(), faulty = *fault_os();
    os.event_fd = faulty.event_fd;
    os.map = faulty.map;
    os.advise = faulty.advise;
    os.wait_fd = faulty.wait_fd;
    return os;
}

static void every_system_call_of_setting_up_may_fail(void **state)
{
    (void)state;
    static const int codes[] = {-ENOMEM, -EMFILE, -EIO};
    drayi_os os = faulty_fake_os();
    int fds = fault_os_open_fds();
    for (uint32_t code = 0; code < 3; code++) {
        for (uint64_t n = 1;; n++) {
            thing_set things = {0};
            dray_error error = {0};
            edges_make();
            fault_os_reset();
            fault_os_inject(
                &(fault_plan){.at = n, .groups = FAULT_EVENT | FAULT_MEMORY, .code = codes[code]});
            dray_status status = context_open(&things, &os, NULL, &error);
            if (status == DRAY_OK)
                status = whole_way(&things, &error);
            bool hit = fault_os_hits() > 0;
            bool harmless = strcmp(fault_os_last_hit(), "advise") ==
                            0; // advice, or pages that come when touched
            if (status == DRAY_OK)
                check_bytes();
            else
                assert_true(hit && error.status == status && error.message[0]);
            assert_true(status != DRAY_OK || !hit || harmless);
            fault_os_reset();
            give_back(&things);
            assert_int_equal(fault_os_open_fds(), fds);
            if (!hit) {
                assert_true(n > 2);
                break;
            }
        }
    }
}

static void a_failed_attach_is_the_transfers_error_and_undone(void **state)
{
    (void)state;
    drayi_os os = fake_files_os();
    for (uint64_t n = 1; n <= 6; n++) {
        thing_set things = {0};
        dray_error error = {0};
        edges_make();
        backend_sims[1].attach_fail_at = n;
        assert_int_equal(context_open(&things, &os, NULL, &error), DRAY_OK);
        dray_status status = whole_way(&things, &error);
        if (backend_sims[1].attach_fail_at == 0) {
            assert_int_equal(status, DRAY_E_DEVICE);
            assert_string_equal(error.message,
                                "backend sim2: simulated: the region cannot be registered");
        } else {
            assert_int_equal(status, DRAY_OK);
        }
        give_back(&things);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(every_system_call_of_setting_up_may_fail),
        cmocka_unit_test(a_failed_attach_is_the_transfers_error_and_undone),
    };
    return cmocka_run_group_tests_name("faults of transfers", tests, NULL, NULL);
}
