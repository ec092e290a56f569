/// The agent and its transfers over a simulated backend: who is opened, what a run promises, what happens
/// when a backend fails or lies.
#include "support/testing.h"
#include "support/transfer_rig.h"
#include "transfer/run.h"

#include <string.h>

enum { big = 1 << 20 };
static uint8_t source_bytes[big], target_bytes[big];

/// memory -> memory by "sim", at most `max_bytes` per operation, `depth` lanes.
static void sim_memory(uint64_t max_bytes, uint32_t depth)
{
    backend_sim_reset(&backend_sims[0], 1);
    backend_sim_reset(&backend_sims[1], 2);
    dray_edge *edge = backend_sim_edge(&backend_sims[0], DRAY_STORAGE_SYSTEM, DRAY_STORAGE_SYSTEM);
    edge->max_bytes = max_bytes;
    edge->max_segments = 16;
    edge->max_loops = 2;
    edge->best_depth = depth;
    for (uint32_t i = 0; i < big; i++)
        source_bytes[i] = (uint8_t)(i * 7 + i / 251);
    memset(target_bytes, 0, sizeof(target_bytes));
}

/// What most cases start from: one copy of `big` bytes from memory to memory.
typedef struct one_copy {
    transfer_rig rig;
    dray_region *source, *target;
    dray_copy copy;
    dray_plan *plan;
    dray_transfer *transfer;
} one_copy;

static void one_copy_open(one_copy *fixture, const dray_transfer_options *options)
{
    memset(fixture, 0, sizeof(*fixture));
    transfer_rig_open(&fixture->rig, true, false);
    fixture->source = transfer_rig_wrap(&fixture->rig, source_bytes, big);
    fixture->target = transfer_rig_wrap(&fixture->rig, target_bytes, big);
    fixture->copy =
        (dray_copy){.source = fixture->source, .target = fixture->target, .run_bytes = big};
    assert_int_equal(dray_plan_create(fixture->rig.agent, &fixture->copy, 1, NULL, &fixture->plan,
                                      &fixture->rig.error),
                     DRAY_OK);
    assert_int_equal(dray_transfer_create(fixture->rig.agent, fixture->plan, options,
                                          &fixture->transfer, &fixture->rig.error),
                     DRAY_OK);
}

static void one_copy_close(one_copy *fixture)
{
    dray_transfer_destroy(fixture->transfer);
    dray_plan_destroy(fixture->plan);
    dray_region_release(fixture->source);
    dray_region_release(fixture->target);
    transfer_rig_close(&fixture->rig);
}

// --- who is opened ---------------------------------------------------------------------------------------------

static dray_status open_agent(transfer_rig *rig, const char *const *names)
{
    dray_agent_options options = {
        .struct_bytes = sizeof(options), .name = "tester", .backends = names};
    return dray_agent_create(rig->context, &options, &rig->agent, &rig->error);
}

static void a_backend_is_found_by_name_whatever_the_case(void **state)
{
    (void)state;
    sim_memory(0, 1);
    transfer_rig rig;
    transfer_rig_open(&rig, false, false);
    assert_int_equal(open_agent(&rig, (const char *const[]){"SIM", NULL}), DRAY_OK);
    assert_true(dray_agent_has_backend(rig.agent, "sim"));
    assert_true(dray_agent_has_backend(rig.agent, "Sim"));
    assert_false(dray_agent_has_backend(rig.agent, "sim2"));
    transfer_rig_close(&rig);
}

static void a_missing_backend_is_named_and_the_others_listed(void **state)
{
    (void)state;
    sim_memory(0, 1);
    transfer_rig rig;
    transfer_rig_open(&rig, false, false);
    assert_int_equal(open_agent(&rig, (const char *const[]){"sim", "warp", NULL}), DRAY_E_NOTFOUND);
    const char *wanted =
        "agent tester: backend warp: there is none of that name; there are: sim, sim2";
    assert_memory_equal(rig.error.message, wanted, strlen(wanted));
    assert_null(rig.agent);
    assert_false(backend_sims[0].is_open);
    transfer_rig_close(&rig);
}

static void a_named_backend_that_cannot_open_says_why(void **state)
{
    (void)state;
    sim_memory(0, 1);
    backend_sims[1].open_status = DRAY_E_UNSUPPORTED;
    transfer_rig rig;
    transfer_rig_open(&rig, false, false);
    assert_int_equal(open_agent(&rig, (const char *const[]){"sim2", NULL}), DRAY_E_UNSUPPORTED);
    assert_string_equal(rig.error.message,
                        "agent tester: backend sim2: the simulated machine has no such device");
    transfer_rig_close(&rig);
}

static void without_a_list_what_cannot_open_is_left_out_and_logged(void **state)
{
    (void)state;
    sim_memory(0, 1);
    backend_sims[1].open_status = DRAY_E_UNSUPPORTED;
    transfer_rig rig;
    transfer_rig_open(&rig, false, false);
    assert_int_equal(open_agent(&rig, NULL), DRAY_OK);
    assert_true(dray_agent_has_backend(rig.agent, "sim"));
    assert_false(dray_agent_has_backend(rig.agent, "sim2"));
    assert_non_null(
        strstr(rig.log, "left out: backend sim2: the simulated machine has no such device"));
    transfer_rig_close(&rig);
}

static void an_empty_list_succeeds(void **state)
{
    (void)state;
    sim_memory(0, 1);
    transfer_rig rig;
    transfer_rig_open(&rig, false, false);
    assert_int_equal(open_agent(&rig, (const char *const[]){NULL}), DRAY_OK);
    assert_false(dray_agent_has_backend(rig.agent, "sim"));
    transfer_rig_close(&rig);
}

static void an_edge_that_makes_no_sense_is_refused(void **state)
{
    (void)state;
    sim_memory(0, 1);
    backend_sims[0].edges[0].max_segments = 0;
    transfer_rig rig;
    transfer_rig_open(&rig, false, false);
    assert_int_equal(open_agent(&rig, (const char *const[]){"sim", NULL}), DRAY_E_INTERNAL);
    assert_string_equal(rig.error.message,
                        "agent tester: backend sim: edge 0 makes no sense: from 1 to 1, "
                        "0 segments, 2 loops at most");
    transfer_rig_close(&rig);
}

// --- a run -------------------------------------------------------------------------------------------------------

static void a_run_moves_every_byte_and_allocates_nothing(void **state)
{
    (void)state;
    sim_memory(4096, 8);
    backend_sims[0].reorders = true;
    backend_sims[0].delay_polls = 5;
    backend_sims[0].refuse_percent = 30;
    one_copy fixture;
    one_copy_open(&fixture, NULL);
    uint64_t calls = counting_allocator_calls(&fixture.rig.counter);
    for (uint32_t run = 0; run < 20; run++) {
        memset(target_bytes, 0, sizeof(target_bytes));
        assert_int_equal(dray_transfer_submit(fixture.transfer, &fixture.rig.error), DRAY_OK);
        assert_int_equal(dray_transfer_wait(fixture.transfer, -1, &fixture.rig.error), DRAY_OK);
        assert_memory_equal(source_bytes, target_bytes, big);
    }
    assert_int_equal(counting_allocator_calls(&fixture.rig.counter), calls);
    assert_int_equal(backend_sims[0].submitted, 20 * big / 4096);
    assert_int_equal(backend_sims[0].completed, 20 * big / 4096);
    assert_int_equal(backend_sims[0].most_in_flight, 8);
    one_copy_close(&fixture);
}

static void submit_starts_at_once_and_poll_ends_it(void **state)
{
    (void)state;
    sim_memory(big / 4, 2);
    one_copy fixture;
    one_copy_open(&fixture, NULL);
    bool done = true;
    assert_int_equal(dray_transfer_poll(fixture.transfer, &done, &fixture.rig.error),
                     DRAY_E_INVALID);
    assert_string_equal(fixture.rig.error.message, "transfer: it was not submitted");
    assert_int_equal(dray_transfer_submit(fixture.transfer, &fixture.rig.error), DRAY_OK);
    assert_int_equal(backend_sims[0].submitted, 2);
    assert_int_equal(dray_transfer_submit(fixture.transfer, &fixture.rig.error), DRAY_E_BUSY);
    assert_string_equal(fixture.rig.error.message,
                        "transfer: it runs already, 0 of 1048576 bytes are done");
    uint32_t polls = 0;
    for (done = false; !done; polls++)
        assert_int_equal(dray_transfer_poll(fixture.transfer, &done, &fixture.rig.error), DRAY_OK);
    assert_int_equal(polls, 2);
    assert_memory_equal(source_bytes, target_bytes, big);
    one_copy_close(&fixture);
}

typedef struct told_record {
    uint64_t copies[8], copy_count;
    dray_transfer_progress last;
    uint64_t progress_count;
} told_record;

static void on_copy(void *self, uint64_t copy_index)
{
    told_record *told = self;
    assert_true(told->copy_count < 8);
    told->copies[told->copy_count++] = copy_index;
}

static void on_progress(void *self, const dray_transfer_progress *progress)
{
    told_record *told = self;
    assert_true(progress->bytes_done >= told->last.bytes_done);
    told->last = *progress;
    told->progress_count++;
}

static void every_copy_is_reported_once_when_its_last_byte_is_there(void **state)
{
    (void)state;
    sim_memory(1000, 3);
    backend_sims[0].reorders = true;
    backend_sims[0].delay_polls = 3;
    transfer_rig rig;
    transfer_rig_open(&rig, true, false);
    dray_region *source = transfer_rig_wrap(&rig, source_bytes, big),
                *target = transfer_rig_wrap(&rig, target_bytes, big);
    dray_copy copies[4] = {
        {.source = source, .target = target, .run_bytes = 5000},
        {.source = source, .target = target}, // empty
        {.source = source, .target = target, .target_offset = 5000, .run_bytes = 10},
        {.source = source, .target = target, .target_offset = 6000, .run_bytes = 20000},
    };
    dray_plan *plan;
    dray_transfer *transfer;
    told_record told = {0};
    dray_transfer_options options = {.struct_bytes = sizeof(options),
                                     .self = &told,
                                     .copy_done = on_copy,
                                     .progress = on_progress};
    assert_int_equal(dray_plan_create(rig.agent, copies, 4, NULL, &plan, &rig.error), DRAY_OK);
    assert_int_equal(dray_transfer_create(rig.agent, plan, &options, &transfer, &rig.error),
                     DRAY_OK);
    assert_int_equal(dray_transfer_submit(transfer, &rig.error), DRAY_OK);
    assert_int_equal(told.copy_count, 0); // callbacks run in poll and wait
    assert_int_equal(dray_transfer_wait(transfer, -1, &rig.error), DRAY_OK);
    assert_int_equal(told.copy_count, 4);
    uint64_t seen = 0;
    for (uint32_t i = 0; i < 4; i++)
        seen |= UINT64_C(1) << told.copies[i];
    assert_int_equal(seen, 15);
    assert_int_equal(told.copies[0], 1); // nothing to wait for
    assert_int_equal(told.last.bytes_done, 25010);
    assert_int_equal(told.last.bytes_total, 25010);
    assert_int_equal(told.last.copies_done, 4);
    assert_int_equal(told.last.copies_total, 4);
    dray_transfer_destroy(transfer);
    dray_plan_destroy(plan);
    dray_region_release(source);
    dray_region_release(target);
    transfer_rig_close(&rig);
}

static void one_small_operation_is_done_at_once_only_when_it_is_waited_for(void **state)
{
    (void)state;
    sim_memory(0, 4);
    transfer_rig rig;
    transfer_rig_open(&rig, true, false);
    dray_region *source = transfer_rig_wrap(&rig, source_bytes, big),
                *target = transfer_rig_wrap(&rig, target_bytes, big);
    dray_copy copy = {.source = source, .target = target, .run_bytes = 65536};
    assert_int_equal(transfer_rig_run(&rig, &copy, 1, NULL), DRAY_OK);
    assert_int_equal(backend_sims[0].small_sync, 1);
    copy.run_bytes = 65537;
    assert_int_equal(transfer_rig_run(&rig, &copy, 1, NULL), DRAY_OK);
    assert_int_equal(backend_sims[0].small_sync, 1);

    dray_plan *plan;
    dray_transfer *transfer;
    copy.run_bytes = 100;
    assert_int_equal(dray_plan_create(rig.agent, &copy, 1, NULL, &plan, &rig.error), DRAY_OK);
    assert_int_equal(dray_transfer_create(rig.agent, plan, NULL, &transfer, &rig.error), DRAY_OK);
    assert_int_equal(dray_transfer_submit(transfer, &rig.error), DRAY_OK);
    bool done = false;
    while (!done)
        assert_int_equal(dray_transfer_poll(transfer, &done, &rig.error), DRAY_OK);
    assert_int_equal(backend_sims[0].small_sync, 1);
    assert_int_equal(backend_sims[0].completed, 3);
    dray_transfer_destroy(transfer);
    dray_plan_destroy(plan);
    dray_region_release(source);
    dray_region_release(target);
    transfer_rig_close(&rig);
}

/// Three copies of a page each over "sim2", which works at once when it feels like it.
typedef struct held_run {
    transfer_rig rig;
    dray_region *source, *target;
    dray_copy copies[3];
    dray_plan *plan;
    dray_transfer *transfer;
} held_run;

static void held_open(held_run *self, uint32_t at_once_percent, const dray_transfer_options *options)
{
    memset(self, 0, sizeof(*self));
    sim_memory(0, 1);
    dray_edge *edge = backend_sim_edge(&backend_sims[1], DRAY_STORAGE_SYSTEM, DRAY_STORAGE_SYSTEM);
    edge->max_bytes = 4096;
    edge->cost = 0;
    backend_sims[0].edges[0].cost = 9;
    backend_sims[1].at_once_percent = at_once_percent;
    transfer_rig_open(&self->rig, true, true);
    self->source = transfer_rig_wrap(&self->rig, source_bytes, big);
    self->target = transfer_rig_wrap(&self->rig, target_bytes, big);
    for (uint32_t i = 0; i < 3; i++)
        self->copies[i] = (dray_copy){.source = self->source,
                                      .target = self->target,
                                      .source_offset = i * 8192,
                                      .target_offset = i * 8192,
                                      .run_bytes = 4096};
    dray_error *error = &self->rig.error;
    assert_int_equal(dray_plan_create(self->rig.agent, self->copies, 3, NULL, &self->plan, error),
                     DRAY_OK);
    assert_int_equal(
        dray_transfer_create(self->rig.agent, self->plan, options, &self->transfer, error), DRAY_OK);
}

static void held_close(held_run *self)
{
    assert_string_equal(backend_sims[1].violation, "");
    dray_transfer_destroy(self->transfer);
    dray_plan_destroy(self->plan);
    dray_region_release(self->source);
    dray_region_release(self->target);
    transfer_rig_close(&self->rig);
}

static void held_expect(const held_run *self, uint64_t copies)
{
    dray_transfer_progress progress;
    dray_transfer_get_progress(self->transfer, &progress);
    assert_int_equal(progress.copies_done, copies);
    assert_int_equal(progress.bytes_done, copies * 4096);
    for (uint64_t i = 0; i < copies; i++)
        assert_memory_equal(source_bytes + i * 8192, target_bytes + i * 8192, 4096);
}

static void small_work_of_the_processor_is_done_by_whoever_waits(void **state)
{
    (void)state;
    held_run run;
    held_open(&run, 100, NULL);
    for (uint32_t i = 1; i <= 3; i++) {
        memset(target_bytes, 0, sizeof(target_bytes));
        assert_int_equal(dray_transfer_submit(run.transfer, &run.rig.error), DRAY_OK);
        held_expect(&run, 0);
        assert_int_equal(dray_transfer_submit(run.transfer, &run.rig.error), DRAY_E_BUSY);
        assert_int_equal(dray_transfer_wait(run.transfer, -1, &run.rig.error), DRAY_OK);
        held_expect(&run, 3);
        assert_int_equal(backend_sims[1].at_once, 3 * i);
        assert_int_equal(dray_transfer_wait(run.transfer, -1, &run.rig.error), DRAY_OK);
    }
    held_close(&run);
}

static void a_backend_that_declines_half_way_gets_the_rest_submitted(void **state)
{
    (void)state;
    held_run run;
    told_record told = {0};
    dray_transfer_options options = {
        .struct_bytes = sizeof(options), .self = &told, .copy_done = on_copy};
    held_open(&run, 60, &options);
    bool mixed = false;
    for (uint32_t i = 0; i < 40; i++) {
        memset(target_bytes, 0, sizeof(target_bytes));
        memset(&told, 0, sizeof(told));
        uint64_t before = backend_sims[1].at_once;
        assert_int_equal(dray_transfer_submit(run.transfer, &run.rig.error), DRAY_OK);
        assert_int_equal(dray_transfer_wait(run.transfer, -1, &run.rig.error), DRAY_OK);
        held_expect(&run, 3);
        assert_int_equal(told.copy_count, 3);
        mixed = mixed || (backend_sims[1].at_once - before) % 3 != 0;
    }
    assert_true(mixed);
    held_close(&run);
}

static void work_at_once_that_fails_says_where_and_leaves_the_transfer_usable(void **state)
{
    (void)state;
    held_run run;
    held_open(&run, 100, NULL);
    backend_sims[1].fail_at = 2;
    backend_sims[1].fail_status = DRAY_E_IO;
    assert_int_equal(dray_transfer_submit(run.transfer, &run.rig.error), DRAY_OK);
    assert_int_equal(dray_transfer_wait(run.transfer, -1, &run.rig.error), DRAY_E_IO);
    assert_string_equal(run.rig.error.message, "copy 1: simulated: it broke after 0 bytes");
    assert_int_equal(run.rig.error.index, 1);
    held_expect(&run, 1);
    assert_int_equal(dray_transfer_submit(run.transfer, &run.rig.error), DRAY_OK);
    assert_int_equal(dray_transfer_wait(run.transfer, -1, &run.rig.error), DRAY_OK);
    held_expect(&run, 3);
    held_close(&run);
}

static void a_short_count_at_once_is_the_backends_broken_promise(void **state)
{
    (void)state;
    held_run run;
    held_open(&run, 100, NULL);
    backend_sims[1].lie = BACKEND_SIM_SHORT_OK;
    assert_int_equal(dray_transfer_submit(run.transfer, &run.rig.error), DRAY_OK);
    assert_int_equal(dray_transfer_wait(run.transfer, -1, &run.rig.error), DRAY_E_INTERNAL);
    assert_string_equal(run.rig.error.message, "copy 0: backend sim2: called an operation of 4096 "
                                               "bytes done after 4095");
    held_close(&run);
}

static void what_is_held_back_starts_when_somebody_polls_or_arms(void **state)
{
    (void)state;
    held_run run;
    held_open(&run, 100, NULL);
    assert_int_equal(dray_transfer_submit(run.transfer, &run.rig.error), DRAY_OK);
    assert_int_equal(backend_sims[1].submitted, 0);
    int fd;
    dray_transfer_arm(run.transfer, &fd, &run.rig.error);
    assert_true(backend_sims[1].submitted > 0);
    for (bool done = false; !done;)
        assert_int_equal(dray_transfer_poll(run.transfer, &done, &run.rig.error), DRAY_OK);
    held_expect(&run, 3);
    assert_int_equal(backend_sims[1].at_once, 0);

    assert_int_equal(dray_transfer_submit(run.transfer, &run.rig.error), DRAY_OK);
    dray_transfer_cancel(run.transfer); // before anything was started
    assert_int_equal(dray_transfer_wait(run.transfer, -1, &run.rig.error), DRAY_E_CANCELLED);
    held_close(&run);
}

static void several_transfers_of_one_agent_go_on_together(void **state)
{
    (void)state;
    sim_memory(1024, 4);
    backend_sims[0].capacity = 3; // fewer than the lanes of both
    transfer_rig rig;
    transfer_rig_open(&rig, true, false);
    dray_region *source = transfer_rig_wrap(&rig, source_bytes, big),
                *target = transfer_rig_wrap(&rig, target_bytes, big);
    dray_copy first = {.source = source, .target = target, .run_bytes = 65536};
    dray_copy second = {.source = source,
                        .target = target,
                        .source_offset = 65536,
                        .target_offset = 65536,
                        .run_bytes = 65536};
    dray_plan *plans[2];
    dray_transfer *transfers[2];
    assert_int_equal(dray_plan_create(rig.agent, &first, 1, NULL, &plans[0], &rig.error), DRAY_OK);
    assert_int_equal(dray_plan_create(rig.agent, &second, 1, NULL, &plans[1], &rig.error), DRAY_OK);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(dray_transfer_create(rig.agent, plans[i], NULL, &transfers[i], &rig.error),
                         DRAY_OK);
        assert_int_equal(dray_transfer_submit(transfers[i], &rig.error), DRAY_OK);
    }
    dray_transfer_progress progress[2] = {0};
    for (uint32_t poll = 0; poll < 30; poll++) {
        dray_agent_poll(rig.agent);
        dray_transfer_get_progress(transfers[0], &progress[0]);
        dray_transfer_get_progress(transfers[1], &progress[1]);
        uint64_t ahead = progress[0].bytes_done > progress[1].bytes_done
                             ? progress[0].bytes_done - progress[1].bytes_done
                             : progress[1].bytes_done - progress[0].bytes_done;
        assert_true(ahead <= 4 * 1024); // at most a round of lanes apart
    }
    assert_int_equal(progress[0].bytes_done + progress[1].bytes_done, 30 * 3 * 1024);
    assert_int_equal(dray_transfer_wait(transfers[1], -1, &rig.error), DRAY_OK);
    assert_int_equal(dray_transfer_wait(transfers[0], -1, &rig.error), DRAY_OK);
    assert_memory_equal(source_bytes, target_bytes, 131072);
    for (uint32_t i = 0; i < 2; i++) {
        dray_transfer_destroy(transfers[i]);
        dray_plan_destroy(plans[i]);
    }
    dray_region_release(source);
    dray_region_release(target);
    transfer_rig_close(&rig);
}

// --- failures ------------------------------------------------------------------------------------------------------

static void the_first_failure_stops_the_run_and_says_where(void **state)
{
    (void)state;
    sim_memory(4096, 4);
    backend_sims[0].fail_at = 10;
    one_copy fixture;
    one_copy_open(&fixture, NULL);
    assert_int_equal(dray_transfer_submit(fixture.transfer, &fixture.rig.error), DRAY_OK);
    assert_int_equal(dray_transfer_wait(fixture.transfer, -1, &fixture.rig.error), DRAY_E_IO);
    assert_string_equal(fixture.rig.error.message, "copy 0: simulated: it broke after 0 bytes");
    assert_int_equal(fixture.rig.error.index, 0);
    assert_int_equal(fixture.rig.error.status, DRAY_E_IO);
    assert_int_equal(backend_sims[0].pending_count, 0); // awaited
    assert_int_equal(backend_sims[0].submitted, backend_sims[0].completed);
    assert_true(backend_sims[0].submitted <= 16); // and nothing more was submitted
    assert_int_equal(dray_transfer_submit(fixture.transfer, &fixture.rig.error),
                     DRAY_OK); // usable afterwards
    assert_int_equal(dray_transfer_wait(fixture.transfer, -1, &fixture.rig.error), DRAY_OK);
    assert_memory_equal(source_bytes, target_bytes, big);
    one_copy_close(&fixture);
}

static void a_failure_without_words_still_has_a_message(void **state)
{
    (void)state;
    sim_memory(0, 4);
    backend_sims[0].fail_at = 1;
    backend_sims[0].fail_silently = true;
    backend_sims[0].fail_status = DRAY_E_DEVICE;
    one_copy fixture;
    one_copy_open(&fixture, NULL);
    assert_int_equal(dray_transfer_submit(fixture.transfer, &fixture.rig.error), DRAY_OK);
    assert_int_equal(dray_transfer_wait(fixture.transfer, -1, &fixture.rig.error), DRAY_E_DEVICE);
    assert_string_equal(fixture.rig.error.message,
                        "copy 0: backend sim: failed (device) without saying why");
    one_copy_close(&fixture);
}

static void lie(backend_sim_lie lie, const char *wanted)
{
    sim_memory(big / 4, 2);
    one_copy fixture;
    one_copy_open(&fixture, NULL);
    backend_sims[0].lie = lie;
    assert_int_equal(dray_transfer_submit(fixture.transfer, &fixture.rig.error), DRAY_OK);
    assert_int_equal(dray_transfer_wait(fixture.transfer, -1, &fixture.rig.error), DRAY_E_INTERNAL);
    assert_string_equal(fixture.rig.error.message, wanted);
    assert_int_equal(backend_sims[0].pending_count, 0);
    one_copy_close(&fixture);
}

static void a_short_transfer_called_done_is_noticed(void **state)
{
    (void)state;
    lie(BACKEND_SIM_SHORT_OK,
        "copy 0: backend sim: called an operation of 262144 bytes done after 262143");
}

static void an_operation_handed_back_twice_is_noticed(void **state)
{
    (void)state;
    lie(BACKEND_SIM_TWICE, "backend sim: handed back an operation that it does not have");
}

static void an_operation_of_somebody_else_is_noticed(void **state)
{
    (void)state;
    lie(BACKEND_SIM_UNKNOWN, "backend sim: handed back an operation that it does not have");
}

static void an_operation_without_a_verdict_is_noticed(void **state)
{
    (void)state;
    lie(BACKEND_SIM_NO_STATUS, "copy 0: backend sim: handed an operation back without a status");
}

static void a_backend_that_broke_its_contract_is_given_nothing_more(void **state)
{
    (void)state;
    sim_memory(big / 4, 2);
    one_copy fixture;
    one_copy_open(&fixture, NULL);
    backend_sims[0].lie = BACKEND_SIM_UNKNOWN;
    assert_int_equal(dray_transfer_submit(fixture.transfer, &fixture.rig.error), DRAY_OK);
    assert_int_equal(dray_transfer_wait(fixture.transfer, -1, &fixture.rig.error), DRAY_E_INTERNAL);
    assert_int_equal(dray_transfer_submit(fixture.transfer, &fixture.rig.error), DRAY_E_INTERNAL);
    one_copy_close(&fixture);
}

// --- deadlines, cancelling, arming ------------------------------------------------------------------------------------

static void a_deadline_that_passes_leaves_the_run_going(void **state)
{
    (void)state;
    sim_memory(big / 4, 1);
    backend_sims[0].delay_polls = 0;
    one_copy fixture;
    one_copy_open(&fixture, NULL);
    assert_int_equal(dray_transfer_submit(fixture.transfer, &fixture.rig.error), DRAY_OK);
    assert_int_equal(dray_transfer_wait(fixture.transfer, 1, &fixture.rig.error), DRAY_E_TIMEOUT);
    assert_string_equal(
        fixture.rig.error.message,
        "transfer: the deadline passed with 262144 of 1048576 bytes done; it still runs");
    assert_int_equal(dray_transfer_wait(fixture.transfer, -1, &fixture.rig.error), DRAY_OK);
    assert_memory_equal(source_bytes, target_bytes, big);
    one_copy_close(&fixture);
}

static void cancel_awaits_what_is_in_flight_and_the_run_is_cancelled(void **state)
{
    (void)state;
    sim_memory(4096, 8);
    backend_sims[0].delay_polls = 10;
    told_record told = {0};
    dray_transfer_options options = {.struct_bytes = sizeof(options),
                                     .self = &told,
                                     .copy_done = on_copy,
                                     .progress = on_progress};
    one_copy fixture;
    one_copy_open(&fixture, &options);
    assert_int_equal(dray_transfer_submit(fixture.transfer, &fixture.rig.error), DRAY_OK);
    dray_transfer_cancel(fixture.transfer);
    assert_int_equal(backend_sims[0].submitted, 8);
    assert_int_equal(backend_sims[0].completed, 8);
    assert_int_equal(told.progress_count, 0);
    assert_int_equal(dray_transfer_wait(fixture.transfer, -1, &fixture.rig.error), DRAY_E_CANCELLED);
    assert_int_equal(told.copy_count, 0);
    dray_transfer_cancel(fixture.transfer); // had ended: nothing happens
    assert_int_equal(dray_transfer_submit(fixture.transfer, &fixture.rig.error), DRAY_OK);
    assert_int_equal(dray_transfer_wait(fixture.transfer, -1, &fixture.rig.error), DRAY_OK);
    assert_memory_equal(source_bytes, target_bytes, big);
    one_copy_close(&fixture);
}

static void cancel_after_the_end_changes_nothing(void **state)
{
    (void)state;
    sim_memory(4096, 8);
    one_copy fixture;
    one_copy_open(&fixture, NULL);
    assert_int_equal(dray_transfer_submit(fixture.transfer, &fixture.rig.error), DRAY_OK);
    assert_int_equal(dray_transfer_wait(fixture.transfer, -1, &fixture.rig.error), DRAY_OK);
    dray_transfer_cancel(fixture.transfer);
    assert_int_equal(dray_transfer_wait(fixture.transfer, -1, &fixture.rig.error), DRAY_OK);
    one_copy_close(&fixture);
}

static void destroy_of_a_running_transfer_waits_for_it(void **state)
{
    (void)state;
    sim_memory(4096, 8);
    backend_sims[0].delay_polls = 10;
    one_copy fixture;
    one_copy_open(&fixture, NULL);
    assert_int_equal(dray_transfer_submit(fixture.transfer, &fixture.rig.error), DRAY_OK);
    one_copy_close(&fixture);
    assert_int_equal(backend_sims[0].pending_count, 0);
}

static void a_backend_that_must_be_polled_is_polled(void **state)
{
    (void)state;
    sim_memory(4096, 2);
    backend_sims[0].cannot_arm = true;
    backend_sims[0].delay_polls = 300; // past the spinning
    backend_sims[0].refuse_percent = 50;
    one_copy fixture;
    one_copy_open(&fixture, NULL);
    fixture.copy.run_bytes = 8192;
    assert_int_equal(transfer_rig_run(&fixture.rig, &fixture.copy, 1, NULL), DRAY_OK);
    assert_memory_equal(source_bytes, target_bytes, 8192);
    one_copy_close(&fixture);
}

static void arm_gives_a_descriptor_for_the_callers_own_loop(void **state)
{
    (void)state;
    sim_memory(big / 4, 2);
    one_copy fixture;
    one_copy_open(&fixture, NULL);
    int fd = -1;
    assert_int_equal(dray_transfer_submit(fixture.transfer, &fixture.rig.error), DRAY_OK);
    bool done = false;
    uint32_t armed = 0;
    while (!done) {
        dray_status status = dray_transfer_arm(fixture.transfer, &fd, &fixture.rig.error);
        if (status == DRAY_OK) {
            assert_int_equal(drayi_os_linux.wait_fd(fd, 1000000000), 1);
            armed++;
        } else {
            assert_int_equal(status, DRAY_E_BUSY);
        }
        assert_int_equal(dray_transfer_poll(fixture.transfer, &done, &fixture.rig.error), DRAY_OK);
    }
    assert_true(armed > 0);
    assert_int_equal(dray_transfer_arm(fixture.transfer, &fd, &fixture.rig.error), DRAY_E_BUSY);
    one_copy_close(&fixture);
}

/// Starts, polls and cancels other transfers from inside a callback.
typedef struct meddler_record {
    dray_transfer *other;
    uint32_t calls;
} meddler_record;

static void meddle(void *self, uint64_t copy_index)
{
    (void)copy_index;
    meddler_record *meddler = self;
    dray_error error;
    if (meddler->calls++ == 0) {
        assert_int_equal(dray_transfer_submit(meddler->other, &error), DRAY_OK);
        dray_transfer_cancel(meddler->other);
        assert_int_equal(dray_transfer_submit(meddler->other, &error), DRAY_OK);
        assert_int_equal(dray_transfer_wait(meddler->other, -1, &error), DRAY_OK);
    }
}

static void a_callback_may_run_and_cancel_other_transfers(void **state)
{
    (void)state;
    sim_memory(4096, 4);
    backend_sims[0].reorders = true;
    backend_sims[0].delay_polls = 3;
    meddler_record meddler = {0};
    dray_transfer_options options = {
        .struct_bytes = sizeof(options), .self = &meddler, .copy_done = meddle};
    one_copy fixture;
    one_copy_open(&fixture, &options);
    assert_int_equal(dray_transfer_create(fixture.rig.agent, fixture.plan, NULL, &meddler.other,
                                          &fixture.rig.error),
                     DRAY_OK);
    assert_int_equal(dray_transfer_submit(fixture.transfer, &fixture.rig.error), DRAY_OK);
    assert_int_equal(dray_transfer_wait(fixture.transfer, -1, &fixture.rig.error), DRAY_OK);
    assert_int_equal(meddler.calls, 1);
    dray_transfer_destroy(meddler.other);
    one_copy_close(&fixture);
}

static void regions_are_attached_for_the_first_transfer_and_detached_after_the_last(void **state)
{
    (void)state;
    sim_memory(4096, 4);
    one_copy fixture;
    one_copy_open(&fixture, NULL);
    dray_transfer *second;
    assert_int_equal(backend_sims[0].attached, 2);
    assert_int_equal(
        dray_transfer_create(fixture.rig.agent, fixture.plan, NULL, &second, &fixture.rig.error),
        DRAY_OK);
    assert_int_equal(backend_sims[0].attached, 2);
    dray_transfer_destroy(second);
    assert_int_equal(backend_sims[0].detached, 0);
    one_copy_close(&fixture);
    assert_int_equal(backend_sims[0].detached, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_backend_is_found_by_name_whatever_the_case),
        cmocka_unit_test(a_missing_backend_is_named_and_the_others_listed),
        cmocka_unit_test(a_named_backend_that_cannot_open_says_why),
        cmocka_unit_test(without_a_list_what_cannot_open_is_left_out_and_logged),
        cmocka_unit_test(an_empty_list_succeeds),
        cmocka_unit_test(an_edge_that_makes_no_sense_is_refused),
        cmocka_unit_test(a_run_moves_every_byte_and_allocates_nothing),
        cmocka_unit_test(submit_starts_at_once_and_poll_ends_it),
        cmocka_unit_test(every_copy_is_reported_once_when_its_last_byte_is_there),
        cmocka_unit_test(one_small_operation_is_done_at_once_only_when_it_is_waited_for),
        cmocka_unit_test(small_work_of_the_processor_is_done_by_whoever_waits),
        cmocka_unit_test(a_backend_that_declines_half_way_gets_the_rest_submitted),
        cmocka_unit_test(work_at_once_that_fails_says_where_and_leaves_the_transfer_usable),
        cmocka_unit_test(a_short_count_at_once_is_the_backends_broken_promise),
        cmocka_unit_test(what_is_held_back_starts_when_somebody_polls_or_arms),
        cmocka_unit_test(several_transfers_of_one_agent_go_on_together),
        cmocka_unit_test(the_first_failure_stops_the_run_and_says_where),
        cmocka_unit_test(a_failure_without_words_still_has_a_message),
        cmocka_unit_test(a_short_transfer_called_done_is_noticed),
        cmocka_unit_test(an_operation_handed_back_twice_is_noticed),
        cmocka_unit_test(an_operation_of_somebody_else_is_noticed),
        cmocka_unit_test(an_operation_without_a_verdict_is_noticed),
        cmocka_unit_test(a_backend_that_broke_its_contract_is_given_nothing_more),
        cmocka_unit_test(a_deadline_that_passes_leaves_the_run_going),
        cmocka_unit_test(cancel_awaits_what_is_in_flight_and_the_run_is_cancelled),
        cmocka_unit_test(cancel_after_the_end_changes_nothing),
        cmocka_unit_test(destroy_of_a_running_transfer_waits_for_it),
        cmocka_unit_test(a_backend_that_must_be_polled_is_polled),
        cmocka_unit_test(arm_gives_a_descriptor_for_the_callers_own_loop),
        cmocka_unit_test(a_callback_may_run_and_cancel_other_transfers),
        cmocka_unit_test(regions_are_attached_for_the_first_transfer_and_detached_after_the_last),
    };
    return cmocka_run_group_tests_name("agent", tests, NULL, NULL);
}
