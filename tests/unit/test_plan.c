/// The planner: what it refuses and in which words, and exactly which steps come out.
#include "support/testing.h"
#include "support/transfer_rig.h"
#include "transfer/plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { room = 1 << 20, page = 4096 };
// Page-aligned, so that file and memory have the same phase unless a case says otherwise.
static _Alignas(page) uint8_t left[room], right[room], file_bytes[room], other_file_bytes[room];

typedef struct plan_case {
    transfer_rig rig;
    dray_region *memory, *target, *file, *other_file, *drop;
    dray_plan *plan;
} plan_case;

/// memory <-> memory with loops; file -> memory and memory -> file, plain and direct; memory -> null.
static void plan_open(plan_case *fixture)
{
    memset(fixture, 0, sizeof(*fixture));
    backend_sim_reset(&backend_sims[0], 1);
    backend_sim_reset(&backend_sims[1], 2);
    backend_sim *sim = &backend_sims[0];
    dray_edge *copy = backend_sim_edge(sim, DRAY_STORAGE_SYSTEM, DRAY_STORAGE_SYSTEM);
    copy->max_segments = 4;
    copy->max_loops = 2;
    for (uint32_t i = 0; i < 4; i++) {
        bool reads = i < 2, direct = i & 1;
        dray_edge *edge = backend_sim_edge(sim, reads ? DRAY_STORAGE_DISK : DRAY_STORAGE_SYSTEM,
                                           reads ? DRAY_STORAGE_SYSTEM : DRAY_STORAGE_DISK);
        edge->flags = direct ? DRAY_EDGE_DIRECT : DRAY_EDGE_SCATTER;
        edge->max_bytes = 16 * page;
        edge->max_segments = direct ? 1 : 4;
        edge->best_depth = 4;
    }
    backend_sim_edge(sim, DRAY_STORAGE_SYSTEM, DRAY_STORAGE_NULL)->max_segments = 4;
    transfer_rig_open(&fixture->rig, true, false);
    fixture->memory = transfer_rig_wrap(&fixture->rig, left, room);
    fixture->target = transfer_rig_wrap(&fixture->rig, right, room);
    fixture->file = transfer_rig_file(&fixture->rig, 0, file_bytes, room, 512);
    fixture->other_file = transfer_rig_file(&fixture->rig, 1, other_file_bytes, room, 0);
    fixture->drop = transfer_rig_null(&fixture->rig, room);
}

static int plan_setup(void **state)
{
    static plan_case fixture;
    plan_open(&fixture);
    *state = &fixture;
    return 0;
}

static int plan_teardown(void **state)
{
    plan_case *fixture = *state;
    dray_plan_destroy(fixture->plan);
    dray_region_release(fixture->memory);
    dray_region_release(fixture->target);
    dray_region_release(fixture->file);
    dray_region_release(fixture->other_file);
    dray_region_release(fixture->drop);
    transfer_rig_close(&fixture->rig);
    return 0;
}

static dray_status plan_make(plan_case *fixture, const dray_copy *copies, uint64_t count,
                             const dray_plan_options *options)
{
    dray_plan_destroy(fixture->plan);
    fixture->plan = NULL;
    return dray_plan_create(fixture->rig.agent, copies, count, options, &fixture->plan,
                            &fixture->rig.error);
}

static void refuse(plan_case *fixture, const dray_copy *copies, uint64_t count,
                   const dray_plan_options *options, dray_status status, uint64_t index,
                   const char *message)
{
    assert_int_equal(plan_make(fixture, copies, count, options), status);
    assert_string_equal(fixture->rig.error.message, message);
    assert_true(fixture->rig.error.index == index);
    assert_null(fixture->plan);
}

static void keep_text(void *self, const char *text, size_t bytes)
{
    char *out = self;
    assert_int_equal(text[bytes - 1], '\n');
    assert_ptr_equal(memchr(text, '\n', bytes), text + bytes - 1);
    assert_true(strlen(out) + bytes < 4096);
    strncat(out, text, bytes);
}

/// The plan as dray_plan_print() shows it.
static void expect_print(plan_case *fixture, uint32_t detail, const char *wanted)
{
    char text[4096] = "";
    dray_plan_print(fixture->plan, detail, keep_text, text);
    assert_string_equal(text, wanted);
}

// --- refusals -----------------------------------------------------------------------------------------------------

static void what_lies_outside_its_region_is_refused(void **state)
{
    plan_case *fixture = *state;
    dray_copy copies[2] = {{.source = fixture->memory, .target = fixture->target, .run_bytes = 10},
                           {.source = fixture->memory,
                            .target = fixture->target,
                            .target_offset = 20,
                            .run_bytes = room}};
    refuse(fixture, copies, 2, NULL, DRAY_E_INVALID, 1,
           "copy 1: its target ends at 1048596, system has 1048576 bytes");
    copies[1] = (dray_copy){.source = fixture->memory,
                            .target = fixture->target,
                            .source_offset = UINT64_MAX,
                            .target_offset = 20,
                            .run_bytes = 2};
    refuse(fixture, copies, 2, NULL, DRAY_E_INVALID, 1,
           "copy 1: the end of its source overflows 64 bits");
    copies[1] = (dray_copy){.source = fixture->memory,
                            .target = fixture->target,
                            .target_offset = 20,
                            .run_bytes = 1,
                            .loop_count = 1,
                            .loops = {{3, 0, UINT64_C(1) << 63}}};
    refuse(fixture, copies, 2, NULL, DRAY_E_INVALID, 1,
           "copy 1: the end of its target overflows 64 bits");
    copies[1].loops[0] = (dray_loop){2, room, 1};
    refuse(fixture, copies, 2, NULL, DRAY_E_INVALID, 1,
           "copy 1: its source ends at 1048577, system has 1048576 bytes");
    copies[1].loop_count = 5;
    refuse(fixture, copies, 2, NULL, DRAY_E_INVALID, 1, "copy 1: 5 loops, at most 4 are possible");
    copies[1] = (dray_copy){.source = fixture->memory, .run_bytes = 1};
    refuse(fixture, copies, 2, NULL, DRAY_E_INVALID, 1, "copy 1: it has no target region");
    refuse(fixture, NULL, 2, NULL, DRAY_E_INVALID, DRAY_UNKNOWN, "plan: 2 copies at a NULL pointer");
}

static void a_source_repeated_beyond_64_bits_is_refused(void **state)
{
    plan_case *fixture = *state;
    dray_copy copy = {.source = fixture->memory,
                      .target = fixture->drop,
                      .run_bytes = 1 << 10,
                      .loop_count = 2,
                      .loops = {{UINT64_C(1) << 40, 0, 0}, {UINT64_C(1) << 40, 0, 0}}};
    refuse(fixture, &copy, 1, NULL, DRAY_E_INVALID, 0,
           "copy 0: its bytes, over all loops, overflow 64 bits");
    copy.loops[1].count = 1 << 4;
    refuse(
        fixture, &copy, 1, NULL, DRAY_E_UNSUPPORTED, 0,
        "copy 0: its loops unroll into 17592186044416 segments, a plan holds 67108864 and has 0; make the runs "
        "longer, or split the list over several plans");
}

static void a_read_only_target_is_refused(void **state)
{
    plan_case *fixture = *state;
    dray_region *file;
    assert_int_equal(
        dray_region_open(fixture->rig.context, "fake:0", NULL, &file, &fixture->rig.error), DRAY_OK);
    dray_copy copy = {.source = fixture->memory, .target = file, .run_bytes = 1};
    refuse(fixture, &copy, 1, NULL, DRAY_E_INVALID, 0, "copy 0: its target fake:0 is read only");
    dray_region_release(file);
}

static void kinds_that_nobody_connects_are_refused(void **state)
{
    plan_case *fixture = *state;
    dray_copy copy = {.source = fixture->drop, .target = fixture->target, .run_bytes = 1};
    refuse(fixture, &copy, 1, NULL, DRAY_E_UNSUPPORTED, 0,
           "copy 0: no backend of the agent moves bytes from null to system, in one hop or two");
}

static void options_that_make_no_sense_are_refused(void **state)
{
    plan_case *fixture = *state;
    dray_copy copy = {.source = fixture->memory, .target = fixture->target, .run_bytes = 1};
    dray_plan_options options = {.struct_bytes = sizeof(options), .lanes = 5000};
    refuse(fixture, &copy, 1, &options, DRAY_E_INVALID, DRAY_UNKNOWN,
           "plan: 5000 lanes, at most 4096 are possible");
    options = (dray_plan_options){.struct_bytes = sizeof(options), .direct = (dray_direct)7};
    refuse(fixture, &copy, 1, &options, DRAY_E_INVALID, DRAY_UNKNOWN,
           "plan: direct is 7, one of 0, 1, 2 is wanted");
}

// --- overlap ----------------------------------------------------------------------------------------------------------

static void targets_that_share_a_byte_are_refused(void **state)
{
    plan_case *fixture = *state;
    dray_copy copies[3] = {
        {.source = fixture->memory, .target = fixture->target, .target_offset = 200, .run_bytes = 100},
        {.source = fixture->memory, .target = fixture->target, .run_bytes = 100},
        {.source = fixture->memory, .target = fixture->target, .target_offset = 99, .run_bytes = 50}};
    refuse(fixture, copies, 3, NULL, DRAY_E_INVALID, 2,
           "copy 2: its target overlaps the target of copy 1 in 1 bytes at 99 of system");
    copies[2].target_offset = 100;
    assert_int_equal(plan_make(fixture, copies, 3, NULL), DRAY_OK);
    copies[2].target_offset = 99;
    dray_plan_options options = {.struct_bytes = sizeof(options),
                                 .targets_disjoint = 1}; // the caller's word
    assert_int_equal(plan_make(fixture, copies, 3, &options), DRAY_OK);
}

static void a_target_on_a_source_is_refused_even_when_targets_are_disjoint(void **state)
{
    plan_case *fixture = *state;
    dray_copy copies[2] = {{.source = fixture->memory, .target = fixture->target, .run_bytes = 100},
                           {.source = fixture->target,
                            .target = fixture->memory,
                            .source_offset = 500,
                            .target_offset = 90,
                            .run_bytes = 50}};
    const char *wanted =
        "copy 1: its target overlaps the source of copy 0 in 10 bytes at 90 of system";
    dray_plan_options options = {.struct_bytes = sizeof(options), .targets_disjoint = 1};
    refuse(fixture, copies, 2, NULL, DRAY_E_INVALID, 1, wanted);
    refuse(fixture, copies, 2, &options, DRAY_E_INVALID, 1, wanted);
    dray_copy onto_itself = {.source = fixture->memory, .target = fixture->memory, .run_bytes = 100};
    refuse(fixture, &onto_itself, 1, NULL, DRAY_E_INVALID, 0,
           "copy 0: its target overlaps the source of copy 0 in 100 bytes at 0 of system");
}

static void sources_may_overlap(void **state)
{
    plan_case *fixture = *state;
    dray_copy copies[2] = {{.source = fixture->memory, .target = fixture->target, .run_bytes = 100},
                           {.source = fixture->memory,
                            .target = fixture->target,
                            .target_offset = 100,
                            .run_bytes = 100}};
    assert_int_equal(plan_make(fixture, copies, 2, NULL), DRAY_OK);
}

static void overlap_is_seen_through_views_wraps_and_two_openings_of_a_file(void **state)
{
    plan_case *fixture = *state;
    transfer_rig *rig = &fixture->rig;
    dray_region *view, *wrap = transfer_rig_wrap(rig, right + 1000, 1000), *again;
    assert_int_equal(dray_region_view(fixture->target, 500, 1000, &view, &rig->error), DRAY_OK);
    dray_copy copies[2] = {
        {.source = fixture->memory, .target = view, .target_offset = 499, .run_bytes = 2},
        {.source = fixture->memory, .target = wrap, .run_bytes = 10}};
    refuse(fixture, copies, 2, NULL, DRAY_E_INVALID, 1,
           "copy 1: its target overlaps the target of copy 0 in 1 bytes at 0 of system");
    dray_file_options options = {.struct_bytes = sizeof(options), .writable = 1};
    assert_int_equal(dray_region_open(rig->context, "fake:0", &options, &again, &rig->error),
                     DRAY_OK);
    copies[0] = (dray_copy){
        .source = fixture->memory, .target = fixture->file, .target_offset = 10, .run_bytes = 10};
    copies[1] = (dray_copy){
        .source = fixture->memory, .target = again, .target_offset = 15, .run_bytes = 10};
    refuse(fixture, copies, 2, NULL, DRAY_E_INVALID, 1,
           "copy 1: its target overlaps the target of copy 0 in 5 bytes at 15 of fake:0");
    copies[1].target = fixture->other_file;
    assert_int_equal(plan_make(fixture, copies, 2, NULL), DRAY_OK);
    dray_region_release(again);
    dray_region_release(view);
    dray_region_release(wrap);
}

/// `rows` rows of `run` bytes, every `stride` bytes at the target.
static dray_copy rows_copy(const plan_case *fixture, uint64_t offset, uint64_t run, uint64_t rows,
                           uint64_t stride)
{
    return (dray_copy){.source = fixture->memory,
                       .target = fixture->target,
                       .target_offset = offset,
                       .run_bytes = run,
                       .loop_count = 1,
                       .loops = {{rows, run, stride}}};
}

static void interleaved_rows_are_proven_disjoint(void **state)
{
    plan_case *fixture = *state;
    dray_copy copies[4];
    for (uint32_t i = 0; i < 4; i++)
        copies[i] = rows_copy(fixture, i * 16, 16, 10000, 64);
    assert_int_equal(plan_make(fixture, copies, 4, NULL), DRAY_OK);
    copies[3] = rows_copy(fixture, 47, 16, 10000, 64); // reaches one byte into the rows of copy 2
    refuse(fixture, copies, 4, NULL, DRAY_E_INVALID, 3,
           "copy 3: its target overlaps the target of copy 2 in 1 bytes at 47 of system");
}

static void rows_of_different_strides_are_compared_one_by_one(void **state)
{
    plan_case *fixture = *state;
    dray_copy copies[2] = {rows_copy(fixture, 0, 1, 3, 6),
                           rows_copy(fixture, 1, 1, 3, 4)}; // 0 6 12, 1 5 9
    assert_int_equal(plan_make(fixture, copies, 2, NULL), DRAY_OK);
    copies[1] = rows_copy(fixture, 2, 1, 3, 5); // 2 7 12
    refuse(fixture, copies, 2, NULL, DRAY_E_INVALID, 1,
           "copy 1: its target overlaps the target of copy 0 in 1 bytes at 12 of system");
}

static void what_cannot_be_proven_is_refused_with_numbers(void **state)
{
    plan_case *fixture = *state;
    static uint8_t large[8 << 20];
    dray_region *region = transfer_rig_wrap(&fixture->rig, large, sizeof(large));
    dray_copy copies[2] = {rows_copy(fixture, 0, 1, 600000, 6), rows_copy(fixture, 1, 1, 600000, 7)};
    for (uint32_t i = 0; i < 2; i++) {
        copies[i].target = region;
        copies[i].loops[0].source_stride = 0;
    }
    refuse(
        fixture, copies, 2, NULL, DRAY_E_UNSUPPORTED, 0,
        "copy 0: 2 ranges that cross cannot be proven disjoint: they are 1200000 runs, at most 1048576 are compared; "
        "make fewer runs, or prove it and set targets_disjoint");
    dray_region_release(region);
}

static void a_target_that_overlaps_itself_is_refused(void **state)
{
    plan_case *fixture = *state;
    dray_copy copy = rows_copy(fixture, 0, 10, 3, 9);
    refuse(fixture, &copy, 1, NULL, DRAY_E_INVALID, 0,
           "copy 0: its target overlaps the target of copy 0 in 1 bytes at 9 of system");
    copy = rows_copy(fixture, 0, 10, 3, 0);
    refuse(fixture, &copy, 1, NULL, DRAY_E_INVALID, 0,
           "copy 0: its target overlaps the target of copy 0 in 10 bytes at 0 of system");
    copy = rows_copy(fixture, 0, 1, 2, 3);
    copy.loop_count = 2;
    copy.loops[1] = (dray_loop){2, 0, 2}; // 0 2 3 5: disjoint, though the loops do not nest
    assert_int_equal(plan_make(fixture, &copy, 1, NULL), DRAY_OK);
}

static void nothing_overlaps_where_bytes_are_dropped(void **state)
{
    plan_case *fixture = *state;
    dray_copy copies[2] = {{.source = fixture->memory, .target = fixture->drop, .run_bytes = 100},
                           {.source = fixture->memory, .target = fixture->drop, .run_bytes = 100}};
    assert_int_equal(plan_make(fixture, copies, 2, NULL), DRAY_OK);
}

// --- shapes --------------------------------------------------------------------------------------------------------------

static void loops_that_only_continue_the_run_become_part_of_it(void **state)
{
    plan_case *fixture = *state;
    dray_copy copy = {.source = fixture->memory,
                      .target = fixture->target,
                      .run_bytes = 8,
                      .loop_count = 4,
                      .loops = {{4, 1024, 1024}, {1, 77, 99}, {8, 128, 128}, {16, 8, 8}}};
    assert_int_equal(plan_make(fixture, &copy, 1, NULL), DRAY_OK);
    expect_print(fixture, 1,
                 "plan: 4096 bytes in 1 copy: 1 step of 1 segment on 1 lane\n"
                 "route: system -> system by sim: 4096 bytes in 1 step, 1 segment\n"
                 "lane 0, step 0: system -> system by sim: 4096 bytes\n"
                 "  copy 0: system+0 -> system+0: 4096 bytes\n");
}

static void loops_are_kept_where_the_edge_has_them_and_unrolled_where_not(void **state)
{
    plan_case *fixture = *state;
    dray_copy copy = {.source = fixture->memory,
                      .target = fixture->target,
                      .run_bytes = 8,
                      .loop_count = 3,
                      .loops = {{2, 0, 4096}, {3, 100, 256}, {4, 16, 32}}};
    assert_int_equal(plan_make(fixture, &copy, 1, NULL), DRAY_OK);
    expect_print(
        fixture, 1,
        "plan: 192 bytes in 1 copy: 1 step of 2 segments on 1 lane\n"
        "route: system -> system by sim: 192 bytes in 1 step, 2 segments\n"
        "lane 0, step 0: system -> system by sim: 192 bytes\n"
        "  copy 0: system+0 -> system+0: 8 bytes, 3 times (+100 -> +256), 4 times (+16 -> +32)\n"
        "  copy 0: system+0 -> system+4096: 8 bytes, 3 times (+100 -> +256), 4 times (+16 -> +32)\n");
}

static void loops_are_cut_to_the_size_of_a_step(void **state)
{
    plan_case *fixture = *state;
    dray_copy copy = rows_copy(fixture, 0, 10, 7, 64);
    dray_plan_options options = {.struct_bytes = sizeof(options), .step_bytes = 30, .lanes = 2};
    assert_int_equal(plan_make(fixture, &copy, 1, &options), DRAY_OK);
    expect_print(fixture, 1,
                 "plan: 70 bytes in 1 copy: 3 steps of 3 segments on 2 lanes\n"
                 "route: system -> system by sim: 70 bytes in 3 steps, 3 segments\n"
                 "lane 0, step 0: system -> system by sim: 30 bytes\n"
                 "  copy 0: system+0 -> system+0: 10 bytes, 3 times (+10 -> +64)\n"
                 "lane 1, step 1: system -> system by sim: 30 bytes\n"
                 "  copy 0: system+30 -> system+192: 10 bytes, 3 times (+10 -> +64)\n"
                 "lane 0, step 2: system -> system by sim: 10 bytes\n"
                 "  copy 0: system+60 -> system+384: 10 bytes\n");
}

static void small_copies_share_a_step_up_to_the_edges_limit(void **state)
{
    plan_case *fixture = *state;
    dray_copy copies[6];
    for (uint32_t i = 0; i < 6; i++)
        copies[i] = (dray_copy){.source = fixture->memory,
                                .target = fixture->target,
                                .target_offset = i * 100,
                                .run_bytes = 10};
    assert_int_equal(plan_make(fixture, copies, 6, NULL), DRAY_OK);
    dray_plan_summary summary;
    dray_plan_summarize(fixture->plan, &summary);
    assert_int_equal(summary.segments, 6);
    assert_int_equal(summary.steps, 2); // four, then two
    assert_int_equal(summary.copies, 6);
    assert_int_equal(summary.bytes, 60);
    assert_int_equal(summary.lanes, 1);
    assert_int_equal(summary.hops, 1);
    assert_int_equal(summary.staging_bytes, 0);
    assert_int_equal(summary.direct_bytes, 0);
}

static void an_empty_list_and_empty_copies_are_a_plan(void **state)
{
    plan_case *fixture = *state;
    assert_int_equal(plan_make(fixture, NULL, 0, NULL), DRAY_OK);
    expect_print(fixture, 1, "plan: 0 bytes in 0 copies: 0 steps of 0 segments on 0 lanes\n");
    dray_copy copies[2] = {{.source = fixture->memory, .target = fixture->target},
                           {.source = fixture->memory,
                            .target = fixture->target,
                            .run_bytes = UINT64_MAX,
                            .loop_count = 2,
                            .loops = {{UINT64_MAX, 1, 1}, {0, 1, 1}}}};
    assert_int_equal(plan_make(fixture, copies, 2, NULL), DRAY_OK);
    assert_int_equal(transfer_rig_run(&fixture->rig, copies, 2, NULL), DRAY_OK);
}

// --- files -----------------------------------------------------------------------------------------------------------------

static void whole_pages_go_past_the_page_cache_head_and_tail_through_it(void **state)
{
    plan_case *fixture = *state;
    dray_copy copy = {.source = fixture->file,
                      .target = fixture->target,
                      .source_offset = 1000,
                      .target_offset = 1000,
                      .run_bytes = 2 * page};
    assert_int_equal(plan_make(fixture, &copy, 1, NULL), DRAY_OK);
    expect_print(
        fixture, 1,
        "plan: 8192 bytes in 1 copy: 3 steps of 3 segments on 3 lanes\n"
        "route: disk -> system by sim: 4096 bytes in 2 steps, 2 segments\n"
        "route: disk -> system by sim, past the page cache: 4096 bytes in 1 step, 1 segment\n"
        "lane 0, step 0: disk -> system by sim: 3096 bytes\n"
        "  copy 0: fake:0+1000 -> system+1000: 3096 bytes\n"
        "lane 1, step 1: disk -> system by sim: 1000 bytes\n"
        "  copy 0: fake:0+8192 -> system+8192: 1000 bytes\n"
        "lane 2, step 2: disk -> system by sim, past the page cache: 4096 bytes\n"
        "  copy 0: fake:0+4096 -> system+4096: 4096 bytes\n");
}

static void memory_of_another_phase_goes_through_the_page_cache(void **state)
{
    plan_case *fixture = *state;
    dray_copy copy = {.source = fixture->file,
                      .target = fixture->target,
                      .target_offset = 8,
                      .run_bytes = 8 * page};
    dray_plan_summary summary;
    assert_int_equal(plan_make(fixture, &copy, 1, NULL), DRAY_OK);
    dray_plan_summarize(fixture->plan, &summary);
    assert_int_equal(summary.direct_bytes, 0);
    copy.target_offset = 512; // what this file wants of memory
    assert_int_equal(plan_make(fixture, &copy, 1, NULL), DRAY_OK);
    dray_plan_summarize(fixture->plan, &summary);
    assert_int_equal(summary.direct_bytes, 8 * page);
}

static void direct_never_and_only_are_obeyed(void **state)
{
    plan_case *fixture = *state;
    dray_copy copy = {.source = fixture->file, .target = fixture->target, .run_bytes = 8 * page + 5};
    dray_plan_options options = {.struct_bytes = sizeof(options), .direct = DRAY_DIRECT_NEVER};
    dray_plan_summary summary;
    assert_int_equal(plan_make(fixture, &copy, 1, &options), DRAY_OK);
    dray_plan_summarize(fixture->plan, &summary);
    assert_int_equal(summary.direct_bytes, 0);
    options.direct = DRAY_DIRECT_ONLY;
    assert_int_equal(plan_make(fixture, &copy, 1, &options), DRAY_OK);
    dray_plan_summarize(fixture->plan, &summary);
    assert_int_equal(summary.direct_bytes, 8 * page);
    copy.target_offset = 8;
    refuse(fixture, &copy, 1, &options, DRAY_E_UNSUPPORTED, 0,
           "copy 0: direct I/O cannot carry it: the memory does not have the file's phase");
    copy.target_offset = 0;
    copy.source = fixture->other_file;
    refuse(fixture, &copy, 1, &options, DRAY_E_UNSUPPORTED, 0,
           "copy 0: direct I/O cannot carry it: the file system takes no direct I/O on this file");
    copy.run_bytes = page - 1; // not one whole page: nothing to do directly
    assert_int_equal(plan_make(fixture, &copy, 1, &options), DRAY_OK);
}

static void direct_steps_stay_aligned_however_small_they_are_asked_for(void **state)
{
    plan_case *fixture = *state;
    dray_copy copy = {.source = fixture->file, .target = fixture->target, .run_bytes = 20 * page};
    dray_plan_options options = {.struct_bytes = sizeof(options), .step_bytes = 3 * page + 100};
    assert_int_equal(plan_make(fixture, &copy, 1, &options), DRAY_OK);
    assert_int_equal(fixture->plan->step_count, 7);
    for (uint64_t i = 0; i < 7; i++)
        assert_int_equal(fixture->plan->steps[i].bytes, i < 6 ? 3 * page : 2 * page);
    options.step_bytes = 100;
    assert_int_equal(plan_make(fixture, &copy, 1, &options), DRAY_OK);
    assert_int_equal(fixture->plan->step_count, 20);
    assert_int_equal(transfer_rig_run(&fixture->rig, &copy, 1, &options), DRAY_OK);
    assert_memory_equal(right, file_bytes, 20 * page);
}

static void neighbours_in_the_file_share_one_scattered_read(void **state)
{
    plan_case *fixture = *state;
    dray_copy copies[4];
    uint64_t at = 100;
    for (uint32_t i = 0; i < 4; i++, at += 50)
        copies[i] = (dray_copy){.source = fixture->file,
                                .target = fixture->target,
                                .source_offset = at,
                                .target_offset = 1000 * i,
                                .run_bytes = 50};
    copies[3].source_offset += 1; // no neighbour
    assert_int_equal(plan_make(fixture, copies, 4, NULL), DRAY_OK);
    expect_print(fixture, 1,
                 "plan: 200 bytes in 4 copies: 2 steps of 4 segments on 2 lanes\n"
                 "route: disk -> system by sim: 200 bytes in 2 steps, 4 segments\n"
                 "lane 0, step 0: disk -> system by sim: 150 bytes\n"
                 "  copy 0: fake:0+100 -> system+0: 50 bytes\n"
                 "  copy 1: fake:0+150 -> system+1000: 50 bytes\n"
                 "  copy 2: fake:0+200 -> system+2000: 50 bytes\n"
                 "lane 1, step 1: disk -> system by sim: 50 bytes\n"
                 "  copy 3: fake:0+251 -> system+3000: 50 bytes\n");
}

static void file_to_file_passes_through_a_slot_that_has_the_files_phase(void **state)
{
    plan_case *fixture = *state;
    dray_copy copy = {.source = fixture->file,
                      .target = fixture->other_file,
                      .source_offset = 1000,
                      .run_bytes = page + 3096};
    assert_int_equal(plan_make(fixture, &copy, 1, NULL), DRAY_OK);
    expect_print(
        fixture, 1,
        "plan: 7192 bytes in 1 copy: 3 steps of 3 segments on 1 lane\n"
        "route: disk -> system by sim: 3096 bytes in 1 step, 1 segment\n"
        "route: disk -> system by sim, past the page cache: 4096 bytes in 1 step, 1 segment\n"
        "route: system -> disk by sim: 7192 bytes in 1 step, 1 segment\n"
        "staging: 1 slot of 8192 bytes of system memory, one for each lane\n"
        "lane 0, step 0: disk -> system by sim: 3096 bytes\n"
        "  copy 0: fake:0+1000 -> staging+1000: 3096 bytes\n"
        "lane 0, step 1: disk -> system by sim, past the page cache: 4096 bytes\n"
        "  copy 0: fake:0+4096 -> staging+4096: 4096 bytes\n"
        "lane 0, step 2: system -> disk by sim: 7192 bytes\n"
        "  copy 0: staging+1000 -> fake:1+0: 7192 bytes\n");
    dray_plan_summary summary;
    dray_plan_summarize(fixture->plan, &summary);
    assert_int_equal(summary.bytes, 7192); // counted once
    assert_int_equal(summary.hops, 2);
    assert_int_equal(summary.staging_bytes, 8192);
    assert_int_equal(transfer_rig_run(&fixture->rig, &copy, 1, NULL), DRAY_OK);
    assert_memory_equal(other_file_bytes, file_bytes + 1000, 7192);
}

static void staging_stays_below_what_the_caller_allows(void **state)
{
    plan_case *fixture = *state;
    dray_copy copy = {.source = fixture->file, .target = fixture->other_file, .run_bytes = room};
    dray_plan_options options = {.struct_bytes = sizeof(options), .staging_bytes = 5 * page};
    dray_plan_summary summary;
    assert_int_equal(plan_make(fixture, &copy, 1, &options), DRAY_OK);
    dray_plan_summarize(fixture->plan, &summary);
    assert_true(summary.staging_bytes <= 5 * page && summary.staging_bytes > 0);
    assert_int_equal(transfer_rig_run(&fixture->rig, &copy, 1, &options), DRAY_OK);
    assert_memory_equal(other_file_bytes, file_bytes, room);
    options.staging_bytes = 5000;
    refuse(fixture, &copy, 1, &options, DRAY_E_NOSPACE, DRAY_UNKNOWN,
           "staging of 5000 bytes is too small: one slot of 8192 bytes is the least");
}

static void a_file_is_dropped_through_staging(void **state)
{
    plan_case *fixture = *state;
    dray_copy copy = {.source = fixture->file, .target = fixture->drop, .run_bytes = room};
    assert_int_equal(transfer_rig_run(&fixture->rig, &copy, 1, NULL), DRAY_OK);
    assert_int_equal(fake_files[0].buffered_calls, 0);
    assert_int_equal(fake_files[0].direct_calls, 16);
}

int main(void)
{
    for (uint32_t i = 0; i < room; i++) {
        left[i] = (uint8_t)(i * 31 + i / 257);
        file_bytes[i] = (uint8_t)(i * 17 + i / 253);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_lies_outside_its_region_is_refused),
        cmocka_unit_test(a_source_repeated_beyond_64_bits_is_refused),
        cmocka_unit_test(a_read_only_target_is_refused),
        cmocka_unit_test(kinds_that_nobody_connects_are_refused),
        cmocka_unit_test(options_that_make_no_sense_are_refused),
        cmocka_unit_test(targets_that_share_a_byte_are_refused),
        cmocka_unit_test(a_target_on_a_source_is_refused_even_when_targets_are_disjoint),
        cmocka_unit_test(sources_may_overlap),
        cmocka_unit_test(overlap_is_seen_through_views_wraps_and_two_openings_of_a_file),
        cmocka_unit_test(interleaved_rows_are_proven_disjoint),
        cmocka_unit_test(rows_of_different_strides_are_compared_one_by_one),
        cmocka_unit_test(what_cannot_be_proven_is_refused_with_numbers),
        cmocka_unit_test(a_target_that_overlaps_itself_is_refused),
        cmocka_unit_test(nothing_overlaps_where_bytes_are_dropped),
        cmocka_unit_test(loops_that_only_continue_the_run_become_part_of_it),
        cmocka_unit_test(loops_are_kept_where_the_edge_has_them_and_unrolled_where_not),
        cmocka_unit_test(loops_are_cut_to_the_size_of_a_step),
        cmocka_unit_test(small_copies_share_a_step_up_to_the_edges_limit),
        cmocka_unit_test(an_empty_list_and_empty_copies_are_a_plan),
        cmocka_unit_test(whole_pages_go_past_the_page_cache_head_and_tail_through_it),
        cmocka_unit_test(memory_of_another_phase_goes_through_the_page_cache),
        cmocka_unit_test(direct_never_and_only_are_obeyed),
        cmocka_unit_test(direct_steps_stay_aligned_however_small_they_are_asked_for),
        cmocka_unit_test(neighbours_in_the_file_share_one_scattered_read),
        cmocka_unit_test(file_to_file_passes_through_a_slot_that_has_the_files_phase),
        cmocka_unit_test(staging_stays_below_what_the_caller_allows),
        cmocka_unit_test(a_file_is_dropped_through_staging),
    };
    struct CMUnitTest with_fixture[sizeof(tests) / sizeof(tests[0])];
    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
        with_fixture[i] = tests[i];
        with_fixture[i].setup_func = plan_setup;
        with_fixture[i].teardown_func = plan_teardown;
    }
    return cmocka_run_group_tests_name("plan", with_fixture, NULL, NULL);
}
