/// Agents that reach each other over UCX, in one process and in two, over shared memory and over TCP.
#include "support/testing.h"
#include "support/ucx_rig.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { bytes = 3 * 1024 * 1024 + 137 };

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/// A and B, where A knows B's "memory" as `remote`.
typedef struct two_ends {
    ucx_end a, b;
    dray_peer *peer;
    dray_region *remote;
} two_ends;

static void ends_open(two_ends *ends, uint32_t threads)
{
    ucx_end_open(&ends->a, "a", bytes, 1, threads);
    ucx_end_open(&ends->b, "b", bytes, 2, threads);
    if (dray_agent_import(ends->a.agent, ends->b.blob, ends->b.blob_bytes, &ends->peer,
                          &ends->a.error) != DRAY_OK)
        fail_msg("%s", ends->a.error.message);
    assert_int_equal(dray_peer_open(ends->peer, "memory", &ends->remote, &ends->a.error), DRAY_OK);
}

static void ends_close(two_ends *ends)
{
    dray_region_release(ends->remote);
    ucx_end_close(&ends->a);
    ucx_end_close(&ends->b);
}

static void good(dray_status status, const ucx_end *end)
{
    if (status != DRAY_OK)
        fail_msg("%s: %s", dray_status_name(status), end->error.message);
}

// --- one process -----------------------------------------------------------------------------------------------------

static void a_peer_is_what_its_metadata_says(void **state)
{
    (void)state;
    two_ends ends;
    ends_open(&ends, 0);
    assert_string_equal(dray_peer_name(ends.peer), "b");
    assert_true(dray_peer_epoch(ends.peer) == dray_agent_epoch(ends.b.agent));
    assert_true(dray_agent_epoch(ends.a.agent) != dray_agent_epoch(ends.b.agent));
    assert_int_equal(dray_peer_region_count(ends.peer), 1);
    assert_null(dray_peer_broken(ends.peer));
    dray_descriptor descriptor;
    const char *name;
    dray_peer_describe(ends.peer, 0, &descriptor, &name);
    assert_string_equal(name, "memory");
    assert_memory_equal(&descriptor, &ends.b.descriptor, sizeof(descriptor));
    assert_int_equal(dray_region_storage(ends.remote), DRAY_STORAGE_REMOTE);
    assert_int_equal(dray_region_bytes(ends.remote), bytes);
    assert_null(dray_region_pointer(ends.remote));
    assert_string_equal(dray_region_name(ends.remote), "b/memory");
    dray_region *none = NULL;
    assert_int_equal(dray_peer_open(ends.peer, "other", &none, &ends.a.error), DRAY_E_NOTFOUND);
    assert_string_equal(ends.a.error.message,
                        "peer b: it has no region of the name other; 1 are known");
    assert_null(none);
    ends_close(&ends);
}

static void bytes_are_written_to_a_peer(void **state)
{
    (void)state;
    two_ends ends;
    ends_open(&ends, 0);
    good(ucx_run(&ends.a, &ends.b, ends.a.region, ends.remote, NULL, NULL), &ends.a);
    assert_true(ucx_same(ends.b.region, 1));
    ends_close(&ends);
}

static void bytes_are_read_from_a_peer(void **state)
{
    (void)state;
    two_ends ends;
    ends_open(&ends, 0);
    good(ucx_run(&ends.a, &ends.b, ends.remote, ends.a.region, NULL, NULL), &ends.a);
    assert_true(ucx_same(ends.a.region, 2));
    ends_close(&ends);
}

/// Pages of 512 bytes out of rows of 4096, to a view of the peer's region: offsets count on both sides.
static void loops_and_views_land_where_they_should(void **state)
{
    (void)state;
    two_ends ends;
    ends_open(&ends, 0);
    dray_region *view;
    assert_int_equal(dray_region_view(ends.remote, 10000, 1 << 20, &view, &ends.a.error), DRAY_OK);
    dray_copy copy = {.source = ends.a.region,
                      .target = view,
                      .source_offset = 100,
                      .target_offset = 3,
                      .run_bytes = 512,
                      .loop_count = 1,
                      .loops = {{.count = 200, .source_stride = 4096, .target_stride = 1000}}};
    dray_plan *plan;
    dray_transfer *transfer;
    good(dray_plan_create(ends.a.agent, &copy, 1, NULL, &plan, &ends.a.error), &ends.a);
    good(dray_transfer_create(ends.a.agent, plan, NULL, &transfer, &ends.a.error), &ends.a);
    good(dray_transfer_submit(transfer, &ends.a.error), &ends.a);
    for (bool done = false; !done;) {
        dray_agent_poll(ends.b.agent);
        good(dray_transfer_poll(transfer, &done, &ends.a.error), &ends.a);
    }
    const uint8_t *there = dray_region_pointer(ends.b.region);
    for (uint64_t i = 0; i < bytes; i++) {
        uint64_t at = i - 10003, run = at / 1000;
        bool hit = i >= 10003 && run < 200 && at % 1000 < 512;
        uint8_t wanted = hit ? ucx_byte(1, 100 + run * 4096 + at % 1000) : ucx_byte(2, i);
        if (there[i] != wanted)
            fail_msg("byte %d is wrong", (int)i);
    }
    dray_transfer_destroy(transfer);
    dray_plan_destroy(plan);
    dray_region_release(view);
    ends_close(&ends);
}

static void a_read_only_region_takes_no_plan_to_write(void **state)
{
    (void)state;
    two_ends ends;
    ends_open(&ends, 0);
    dray_descriptor descriptor;
    dray_register_options options = {.struct_bytes = sizeof(options), .name = "weights"};
    good(dray_agent_register(ends.b.agent, ends.b.region, &options, &descriptor, &ends.b.error),
         &ends.b);
    ucx_end_export(&ends.b);
    good(dray_agent_import(ends.a.agent, ends.b.blob, ends.b.blob_bytes, &ends.peer, &ends.a.error),
         &ends.a);
    dray_region *weights;
    good(dray_peer_open(ends.peer, "weights", &weights, &ends.a.error), &ends.a);
    assert_int_equal(ucx_run(&ends.a, &ends.b, ends.a.region, weights, NULL, NULL), DRAY_E_INVALID);
    assert_string_equal(ends.a.error.message, "copy 0: its target b/weights is read only");
    good(ucx_run(&ends.a, &ends.b, weights, ends.a.region, NULL, NULL), &ends.a);
    assert_true(ucx_same(ends.a.region, 2));
    dray_region_release(weights);
    ends_close(&ends);
}

static void two_views_of_one_peer_may_not_overlap_as_targets(void **state)
{
    (void)state;
    two_ends ends;
    ends_open(&ends, 0);
    dray_region *view;
    good(dray_region_view(ends.remote, 50, 100, &view, &ends.a.error), &ends.a);
    dray_copy copies[2] = {{.source = ends.a.region, .target = ends.remote, .run_bytes = 100},
                           {.source = ends.a.region, .target = view, .run_bytes = 100}};
    dray_plan *plan = NULL;
    assert_int_equal(dray_plan_create(ends.a.agent, copies, 2, NULL, &plan, &ends.a.error),
                     DRAY_E_INVALID);
    assert_null(plan);
    dray_region_release(view);
    ends_close(&ends);
}

// --- notices ---------------------------------------------------------------------------------------------------------

static void a_notice_comes_with_the_bytes(void **state)
{
    (void)state;
    two_ends ends;
    ends_open(&ends, 0);
    good(ucx_run(&ends.a, &ends.b, ends.a.region, ends.remote, ends.peer, "blocks 3 to 9"), &ends.a);
    ucx_settle(&ends.b, NULL);
    assert_int_equal(ends.b.notices, 1);
    assert_string_equal(ends.b.notice_from, "a");
    assert_string_equal(ends.b.notice, "blocks 3 to 9");
    assert_true(ucx_same(ends.b.region, 1));
    ends_close(&ends);
}

static void many_notices_arrive_once_each(void **state)
{
    (void)state;
    two_ends ends;
    ends_open(&ends, 0);
    dray_region *few;
    good(dray_region_view(ends.remote, 0, 64, &few, &ends.a.error), &ends.a);
    for (int i = 0; i < 300; i++)
        good(ucx_run(&ends.a, &ends.b, few, ends.a.region, ends.peer, ""), &ends.a);
    ucx_settle(&ends.b, NULL);
    assert_int_equal(ends.b.notices, 300);
    dray_region_release(few);
    ends_close(&ends);
}

/// B's library runs, B's owner takes nothing: the 1025th notice is refused with a sentence.
static void a_full_peer_refuses_a_notice(void **state)
{
    (void)state;
    two_ends ends;
    ends_open(&ends, 1);
    good(dray_agent_serve(ends.b.agent, &ends.b.error), &ends.b);
    dray_region *few;
    good(dray_region_view(ends.remote, 0, 64, &few, &ends.a.error), &ends.a);
    dray_status status = DRAY_OK;
    int sent = 0;
    for (; status == DRAY_OK && sent < 2000; sent++)
        status = ucx_run(&ends.a, NULL, few, ends.a.region, ends.peer, "x");
    assert_int_equal(sent, 1025);
    assert_int_equal(status, DRAY_E_BUSY);
    assert_string_equal(
        ends.a.error.message,
        "notice: peer b: 1024 notices wait there for somebody to take them: the bytes "
        "have arrived, the notice was not accepted");
    ucx_settle(&ends.b, NULL);
    assert_int_equal(ends.b.notices, 1024);
    good(ucx_run(&ends.a, NULL, few, ends.a.region, ends.peer, "x"), &ends.a);
    dray_region_release(few);
    ends_close(&ends);
}

static void a_notice_is_refused_before_it_costs_anything(void **state)
{
    (void)state;
    two_ends ends;
    ends_open(&ends, 0);
    dray_copy copy = {.source = ends.a.region, .target = ends.remote, .run_bytes = 10};
    dray_plan *plan;
    good(dray_plan_create(ends.a.agent, &copy, 1, NULL, &plan, &ends.a.error), &ends.a);
    static const char large[DRAY_NOTICE_BYTES_MAX + 1];
    dray_transfer_options options = {.struct_bytes = sizeof(options),
                                     .notice_peer = ends.peer,
                                     .notice = large,
                                     .notice_bytes = sizeof(large)};
    dray_transfer *transfer = NULL;
    assert_int_equal(dray_transfer_create(ends.a.agent, plan, &options, &transfer, &ends.a.error),
                     DRAY_E_INVALID);
    assert_string_equal(ends.a.error.message,
                        "transfer: a notice of 4097 bytes, at most 4096 are possible");
    options.notice_bytes = 3;
    options.notice_peer = NULL;
    assert_int_equal(dray_transfer_create(ends.a.agent, plan, &options, &transfer, &ends.a.error),
                     DRAY_E_INVALID);
    assert_null(transfer);
    dray_plan_destroy(plan);
    ends_close(&ends);
}

static void a_peer_that_will_be_notified_is_not_forgotten(void **state)
{
    (void)state;
    two_ends ends;
    ends_open(&ends, 0);
    dray_copy copy = {.source = ends.a.region, .target = ends.remote, .run_bytes = 10};
    dray_plan *plan;
    good(dray_plan_create(ends.a.agent, &copy, 1, NULL, &plan, &ends.a.error), &ends.a);
    dray_transfer_options options = {.struct_bytes = sizeof(options), .notice_peer = ends.peer};
    dray_transfer *transfer;
    good(dray_transfer_create(ends.a.agent, plan, &options, &transfer, &ends.a.error), &ends.a);
    assert_int_equal(dray_agent_forget(ends.a.agent, ends.peer, &ends.a.error), DRAY_E_BUSY);
    dray_transfer_destroy(transfer);
    dray_plan_destroy(plan);
    good(dray_agent_forget(ends.a.agent, ends.peer, &ends.a.error), &ends.a);
    ends_close(&ends);
}

// --- import ----------------------------------------------------------------------------------------------------------

static void a_blob_with_any_byte_flipped_changes_nothing(void **state)
{
    (void)state;
    two_ends ends;
    ends_open(&ends, 0);
    ucx_end_export(&ends.b);
    for (uint64_t i = 0; i < ends.b.blob_bytes; i++) {
        dray_peer *peer = NULL;
        ends.b.blob[i] ^= 0x40;
        assert_int_not_equal(
            dray_agent_import(ends.a.agent, ends.b.blob, ends.b.blob_bytes, &peer, &ends.a.error),
            DRAY_OK);
        assert_true(ends.a.error.message[0]);
        assert_null(peer);
        ends.b.blob[i] ^= 0x40;
    }
    assert_int_equal(dray_peer_region_count(ends.peer), 1);
    good(ucx_run(&ends.a, &ends.b, ends.remote, ends.a.region, NULL, NULL), &ends.a);
    assert_true(ucx_same(ends.a.region, 2));
    ends_close(&ends);
}

static void the_same_epoch_again_adds_and_closes_regions(void **state)
{
    (void)state;
    two_ends ends;
    ends_open(&ends, 0);
    dray_region *second;
    dray_region_options plain = {.struct_bytes = sizeof(plain), .bytes = 5000};
    dray_register_options named = {.struct_bytes = sizeof(named), .name = "second"};
    dray_descriptor descriptor;
    good(dray_region_create(ends.b.context, &plain, &second, &ends.b.error), &ends.b);
    ucx_fill(second, 9);
    good(dray_agent_register(ends.b.agent, second, &named, &descriptor, &ends.b.error), &ends.b);
    ucx_end_export(&ends.b);
    dray_peer *again = NULL;
    good(dray_agent_import(ends.a.agent, ends.b.blob, ends.b.blob_bytes, &again, &ends.a.error),
         &ends.a);
    assert_ptr_equal(again, ends.peer);
    assert_int_equal(dray_peer_region_count(again), 2);
    good(ucx_run(&ends.a, &ends.b, ends.remote, ends.a.region, NULL, NULL), &ends.a); // the old one
    assert_true(ucx_same(ends.a.region, 2));

    good(dray_agent_deregister(ends.b.agent, ends.b.descriptor.handle, &ends.b.error), &ends.b);
    ucx_end_export(&ends.b);
    good(dray_agent_import(ends.a.agent, ends.b.blob, ends.b.blob_bytes, &again, &ends.a.error),
         &ends.a);
    assert_int_equal(dray_peer_region_count(again), 1);
    assert_int_equal(ucx_run(&ends.a, &ends.b, ends.remote, ends.a.region, NULL, NULL),
                     DRAY_E_INVALID);
    dray_region *open, *here;
    good(dray_peer_open_handle(again, descriptor.handle, &open, &ends.a.error), &ends.a);
    good(dray_region_view(ends.a.region, 0, 5000, &here, &ends.a.error), &ends.a);
    good(ucx_run(&ends.a, &ends.b, open, here, NULL, NULL), &ends.a);
    assert_true(ucx_same(here, 9));
    dray_region_release(here);
    dray_region_release(open);
    dray_region_release(second);
    ends_close(&ends);
}

static void regions_outlive_their_peer_and_their_agent(void **state)
{
    (void)state;
    two_ends ends;
    ends_open(&ends, 0);
    good(dray_agent_forget(ends.a.agent, ends.peer, &ends.a.error), &ends.a);
    assert_int_equal(ucx_run(&ends.a, &ends.b, ends.remote, ends.a.region, NULL, NULL),
                     DRAY_E_INVALID);
    const char *wanted = "copy 0: the region's peer was forgotten or has restarted";
    assert_memory_equal(ends.a.error.message, wanted, strlen(wanted));
    dray_agent_destroy(ends.a.agent);
    ends.a.agent = NULL;
    assert_string_equal(dray_region_name(ends.remote), "b/memory");
    ends_close(&ends);
}

static void an_agent_may_import_itself(void **state)
{
    (void)state;
    ucx_end end;
    ucx_end_open(&end, "alone", bytes, 1, 0);
    dray_peer *self;
    dray_region *remote, *other;
    dray_region_options plain = {.struct_bytes = sizeof(plain), .bytes = bytes};
    good(dray_region_create(end.context, &plain, &other, &end.error), &end);
    good(dray_agent_import(end.agent, end.blob, end.blob_bytes, &self, &end.error), &end);
    good(dray_peer_open(self, "memory", &remote, &end.error), &end);
    good(ucx_run(&end, NULL, remote, other, self, "to myself"), &end);
    assert_true(ucx_same(other, 1));
    ucx_settle(&end, NULL);
    assert_string_equal(end.notice, "to myself");
    dray_region_release(remote);
    dray_region_release(other);
    ucx_end_close(&end);
}

// --- serving ---------------------------------------------------------------------------------------------------------

static void a_thread_of_the_pool_answers_peers(void **state)
{
    (void)state;
    two_ends ends;
    ends_open(&ends, 1);
    good(dray_agent_serve(ends.b.agent, &ends.b.error), &ends.b);
    good(dray_agent_serve(ends.b.agent, &ends.b.error), &ends.b); // twice is once
    for (int i = 0; i < 20; i++) {
        ucx_fill(ends.a.region, (uint8_t)i);
        good(ucx_run(&ends.a, NULL, ends.a.region, ends.remote, NULL, NULL), &ends.a);
        dray_agent_poll(ends.b.agent); // what the thread wrote is ours to see from here on
        assert_true(ucx_same(ends.b.region, (uint8_t)i));
        dray_agent_poll(ends.b.agent); // and what it writes comes after
    }
    ends_close(&ends);
}

static void without_threads_nobody_can_serve(void **state)
{
    (void)state;
    two_ends ends;
    ends_open(&ends, 0);
    assert_int_equal(dray_agent_serve(ends.b.agent, &ends.b.error), DRAY_E_INVALID);
    assert_string_equal(
        ends.b.error.message,
        "agent b: serve: ucx: a thread that serves was asked for, and the context has "
        "none: set dray_context_options.thread_count");
    ends_close(&ends);
}

// --- two processes ---------------------------------------------------------------------------------------------------

typedef struct with_peer {
    ucx_end a;
    ucx_peer process;
    dray_peer *peer;
    dray_region *remote;
} with_peer;

static void peer_import(with_peer *both)
{
    good(dray_agent_import(both->a.agent, both->process.blob, both->process.blob_bytes, &both->peer,
                           &both->a.error),
         &both->a);
    good(dray_peer_open(both->peer, "memory", &both->remote, &both->a.error), &both->a);
}

static void peer_open(with_peer *both)
{
    ucx_peer_start(&both->process, "far", bytes, 2);
    ucx_end_open(&both->a, "near", bytes, 1, 0);
    peer_import(both);
}

static void peer_close(with_peer *both)
{
    dray_region_release(both->remote);
    ucx_end_close(&both->a);
}

static void another_process_is_read_and_written(void **state)
{
    (void)state;
    with_peer both;
    peer_open(&both);
    good(ucx_run(&both.a, NULL, both.remote, both.a.region, NULL, NULL), &both.a);
    assert_true(ucx_same(both.a.region, 2));
    ucx_fill(both.a.region, 77);
    good(ucx_run(&both.a, NULL, both.a.region, both.remote, both.peer, "there"), &both.a);
    assert_true(ucx_peer_holds(&both.process, 77));
    assert_int_equal(ucx_peer_notices(&both.process), 1);
    ucx_peer_stop(&both.process);
    peer_close(&both);
}

/// After a flush the bytes are there: the peer looks at its memory at once.
static void what_is_done_has_arrived(void **state)
{
    (void)state;
    with_peer both;
    peer_open(&both);
    for (int i = 0; i < 30; i++) {
        ucx_fill(both.a.region, (uint8_t)(100 + i));
        good(ucx_run(&both.a, NULL, both.a.region, both.remote, NULL, NULL), &both.a);
        assert_true(ucx_peer_holds(&both.process, (uint8_t)(100 + i)));
    }
    ucx_peer_stop(&both.process);
    peer_close(&both);
}

static ucx_peer *victim;

/// And reaps it: UCX takes a zombie on this machine for a living process.
static void kill_victim(int signal)
{
    (void)signal;
    kill(victim->pid, SIGKILL);
    waitpid(victim->pid, NULL, 0);
}

/// Runs over and over until the peer, killed by a timer, is missed.
static dray_status run_into_death(with_peer *both, dray_region *source, dray_region *target)
{
    victim = &both->process;
    signal(SIGALRM, kill_victim);
    setitimer(ITIMER_REAL, &(struct itimerval){.it_value = {.tv_usec = 30000}}, NULL);
    int64_t start = now_ns();
    dray_status status;
    do
        status = ucx_run(&both->a, NULL, source, target, NULL, NULL);
    while (status == DRAY_OK && now_ns() - start < INT64_C(20000000000));
    signal(SIGALRM, SIG_DFL);
    assert_true(now_ns() - start < INT64_C(8000000000));
    ucx_peer_kill(&both->process); // closes the pipes
    return status;
}

static void a_peer_killed_while_it_is_read_is_an_error_and_the_agent_lives(void **state)
{
    (void)state;
    with_peer both;
    peer_open(&both);
    assert_int_equal(run_into_death(&both, both.remote, both.a.region), DRAY_E_IO);
    assert_true(strstr(both.a.error.message, "far") != NULL);
    assert_non_null(dray_peer_broken(both.peer));
    assert_int_equal(ucx_run(&both.a, NULL, both.remote, both.a.region, NULL, NULL), DRAY_E_IO);
    assert_true(strstr(both.a.error.message, "import the peer again") != NULL);
    dray_region_release(both.remote);
    // it comes back, under the same name
    ucx_peer_start(&both.process, "far", bytes, 3);
    dray_peer *before = both.peer;
    peer_import(&both);
    assert_ptr_equal(both.peer, before);
    assert_null(dray_peer_broken(both.peer));
    good(ucx_run(&both.a, NULL, both.remote, both.a.region, NULL, NULL), &both.a);
    assert_true(ucx_same(both.a.region, 3));
    ucx_peer_stop(&both.process);
    peer_close(&both);
}

static void a_peer_killed_while_it_is_written_is_an_error(void **state)
{
    (void)state;
    with_peer both;
    peer_open(&both);
    assert_int_equal(run_into_death(&both, both.a.region, both.remote), DRAY_E_IO);
    peer_close(&both);
}

/// The old process lives on; its regions are closed here all the same.
static void a_restarted_peer_takes_the_place_of_the_old_one(void **state)
{
    (void)state;
    with_peer both;
    peer_open(&both);
    ucx_peer old = both.process;
    dray_region *stale = both.remote;
    ucx_peer_start(&both.process, "far", bytes, 5);
    peer_import(&both);
    assert_int_equal(ucx_run(&both.a, NULL, stale, both.a.region, NULL, NULL), DRAY_E_INVALID);
    good(ucx_run(&both.a, NULL, both.remote, both.a.region, NULL, NULL), &both.a);
    assert_true(ucx_same(both.a.region, 5));
    dray_region_release(stale);
    ucx_peer_stop(&old);
    ucx_peer_stop(&both.process);
    peer_close(&both);
}

static dray_transfer *frozen_start(with_peer *both, dray_plan **out_plan)
{
    dray_copy copy = {.source = both->remote, .target = both->a.region, .run_bytes = bytes};
    dray_transfer *transfer;
    ucx_peer_freeze(&both->process);
    good(dray_plan_create(both->a.agent, &copy, 1, NULL, out_plan, &both->a.error), &both->a);
    good(dray_transfer_create(both->a.agent, *out_plan, NULL, &transfer, &both->a.error), &both->a);
    good(dray_transfer_submit(transfer, &both->a.error), &both->a);
    return transfer;
}

static void a_peer_that_does_not_answer_runs_into_the_deadline_and_can_be_cancelled(void **state)
{
    (void)state;
    with_peer both;
    peer_open(&both);
    dray_plan *plan;
    dray_transfer *transfer = frozen_start(&both, &plan);
    dray_status status = dray_transfer_wait(transfer, now_ns() + 100 * 1000000, &both.a.error);
    if (status == DRAY_OK) { // shared memory needs nobody's help
        assert_true(ucx_same(both.a.region, 2));
    } else {
        assert_int_equal(status, DRAY_E_TIMEOUT);
        int64_t start = now_ns();
        dray_transfer_cancel(transfer);
        assert_true(now_ns() - start < INT64_C(3000000000));
        bool done;
        assert_int_equal(dray_transfer_poll(transfer, &done, &both.a.error), DRAY_E_CANCELLED);
        assert_true(done);
        assert_non_null(dray_peer_broken(both.peer));
    }
    dray_transfer_destroy(transfer);
    dray_plan_destroy(plan);
    ucx_peer_kill(&both.process);
    peer_close(&both);
}

static int over(const char *transports)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_peer_is_what_its_metadata_says),
        cmocka_unit_test(bytes_are_written_to_a_peer),
        cmocka_unit_test(bytes_are_read_from_a_peer),
        cmocka_unit_test(loops_and_views_land_where_they_should),
        cmocka_unit_test(a_read_only_region_takes_no_plan_to_write),
        cmocka_unit_test(two_views_of_one_peer_may_not_overlap_as_targets),
        cmocka_unit_test(a_notice_comes_with_the_bytes),
        cmocka_unit_test(many_notices_arrive_once_each),
        cmocka_unit_test(a_full_peer_refuses_a_notice),
        cmocka_unit_test(a_notice_is_refused_before_it_costs_anything),
        cmocka_unit_test(a_peer_that_will_be_notified_is_not_forgotten),
        cmocka_unit_test(a_blob_with_any_byte_flipped_changes_nothing),
        cmocka_unit_test(the_same_epoch_again_adds_and_closes_regions),
        cmocka_unit_test(regions_outlive_their_peer_and_their_agent),
        cmocka_unit_test(an_agent_may_import_itself),
        cmocka_unit_test(a_thread_of_the_pool_answers_peers),
        cmocka_unit_test(without_threads_nobody_can_serve),
        cmocka_unit_test(another_process_is_read_and_written),
        cmocka_unit_test(what_is_done_has_arrived),
        cmocka_unit_test(a_peer_killed_while_it_is_read_is_an_error_and_the_agent_lives),
        cmocka_unit_test(a_peer_killed_while_it_is_written_is_an_error),
        cmocka_unit_test(a_restarted_peer_takes_the_place_of_the_old_one),
        cmocka_unit_test(a_peer_that_does_not_answer_runs_into_the_deadline_and_can_be_cancelled),
    };
    if (getenv("ONLY"))
        cmocka_set_test_filter(getenv("ONLY"));
    setenv("UCX_TLS", transports, 1);
    return cmocka_run_group_tests_name(transports, tests, NULL, NULL);
}

int main(int count, char **arguments)
{
    int peer = ucx_peer_main(count, arguments);
    if (peer >= 0)
        return peer;
    const char *why = ucx_unavailable();
    if (why) {
        printf("skipped: %s\n", why);
        return 77;
    }
    return over("shm,self") + over("tcp,self");
}
