/// What is not a batch over one way: planning and submitting when no byte moves, and files to a device
/// through staging beside either hop alone.
#include "bench_transfer.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// --- planning and submitting ---------------------------------------------------------------------------

enum { block = 4096, copies_most = 1 << 16 };

/// The same copies three times: to nowhere, which plans, submits and completes and moves no byte; the plan
/// alone, with targets that are said to be disjoint; and with targets that have to be proven so.
typedef struct overhead {
    bench_transfer_state *state;
    dray_region *nowhere, *elsewhere;
    dray_copy *copies;
    uint32_t *order;
    uint32_t count, repeats;
    double running[bench_rounds_max], planning[bench_rounds_max], proving[bench_rounds_max];
} overhead;

static dray_status overhead_open(overhead *self, dray_error *error)
{
    dray_region_options options = {.struct_bytes = sizeof(options),
                                   .storage = DRAY_STORAGE_NULL,
                                   .bytes = (uint64_t)copies_most * block};
    self->copies = calloc(copies_most, sizeof(*self->copies));
    self->order = calloc(copies_most, sizeof(*self->order));
    if (!self->copies || !self->order)
        return dray_fail(error, DRAY_E_NOMEM, "bench: no memory for %d copies", copies_most);
    dray_status status = dray_region_create(self->state->context, &options, &self->nowhere, error);
    options.storage = DRAY_STORAGE_SYSTEM; // only planned with: no page of it is ever touched
    return status == DRAY_OK
               ? dray_region_create(self->state->context, &options, &self->elsewhere, error)
               : status;
}

static void overhead_close(overhead *self)
{
    dray_region_release(self->nowhere);
    dray_region_release(self->elsewhere);
    free(self->copies);
    free(self->order);
}

static void copies_make(overhead *self, dray_region *target)
{
    for (uint32_t i = 0; i < self->count; i++)
        self->copies[i] = (dray_copy){.source = self->state->memory,
                                      .target = target,
                                      .source_offset = (uint64_t)self->order[i] * block,
                                      .target_offset = (uint64_t)self->order[i] * block,
                                      .run_bytes = block};
}

/// Seconds of planning, `repeats` times.
static dray_status plan_often(overhead *self, uint32_t disjoint, double *out_seconds,
                              dray_error *error)
{
    dray_plan_options how = {.struct_bytes = sizeof(how), .targets_disjoint = disjoint};
    double begin = bench_now();
    for (uint32_t i = 0; i < self->repeats; i++) {
        dray_plan *plan;
        dray_status status =
            dray_plan_create(self->state->agent, self->copies, self->count, &how, &plan, error);
        if (status != DRAY_OK)
            return status;
        dray_plan_destroy(plan);
    }
    *out_seconds = bench_now() - begin;
    return DRAY_OK;
}

/// Seconds of submitting and waiting, `repeats` times, with one plan.
static dray_status run_often(overhead *self, double *out_seconds, dray_error *error)
{
    bench_transfer_state *state = self->state;
    dray_plan_options how = {.struct_bytes = sizeof(how), .targets_disjoint = 1};
    dray_status status =
        dray_plan_create(state->agent, self->copies, self->count, &how, &state->plan, error);
    if (status == DRAY_OK)
        status = dray_transfer_create(state->agent, state->plan, NULL, &state->transfer, error);
    state->batch.repeats = self->repeats;
    double begin = bench_now();
    if (status == DRAY_OK && !bench_case_dray(state))
        status = state->error->status;
    *out_seconds = bench_now() - begin;
    bench_plan_drop(state);
    return status;
}

static dray_status overhead_round(overhead *self, uint32_t round, dray_error *error)
{
    double seconds[3] = {0}, per_copy = 1e9 / ((double)self->repeats * self->count);
    copies_make(self, self->nowhere);
    dray_status status = run_often(self, &seconds[0], error);
    copies_make(self, self->elsewhere);
    if (status == DRAY_OK)
        status = plan_often(self, 1, &seconds[1], error);
    if (status == DRAY_OK)
        status = plan_often(self, 0, &seconds[2], error);
    if (status != DRAY_OK || round == 0)
        return status;
    self->running[round - 1] = seconds[0] * per_copy;
    self->planning[round - 1] = seconds[1] * per_copy;
    self->proving[round - 1] = seconds[2] * per_copy;
    return DRAY_OK;
}

static dray_status overhead_measure(overhead *self, uint32_t count, dray_error *error)
{
    FILE *out = self->state->out;
    uint32_t rounds = self->state->options->rounds;
    self->count = count;
    self->repeats = copies_most / count < 1000 ? copies_most / count : 1000;
    bench_order_shuffle(self->order, count);
    for (uint32_t round = 0; round <= rounds; round++) {
        dray_status status = overhead_round(self, round, error);
        if (status != DRAY_OK)
            return status;
    }
    fprintf(out,
            "{\"bench\":\"transfer\",\"way\":\"to null\",\"block_bytes\":%d,\"batch\":%u,"
            "\"case\":\"dray\"",
            block, count);
    bench_print_spread(out, "planning_ns_per_copy", bench_spread_of(self->planning, rounds));
    bench_print_spread(out, "planning_with_overlap_check_ns_per_copy",
                       bench_spread_of(self->proving, rounds));
    bench_print_spread(out, "submission_and_completion_ns_per_copy",
                       bench_spread_of(self->running, rounds));
    fprintf(out, ",\"rounds\":%u}\n", rounds);
    return DRAY_OK;
}

dray_status bench_overhead(bench_transfer_state *state, dray_error *error)
{
    static const uint32_t counts[] = {1, 16, 256, copies_most};
    overhead self = {.state = state};
    dray_status status = overhead_open(&self, error);
    for (size_t i = 0; status == DRAY_OK && i < sizeof(counts) / sizeof(counts[0]); i++)
        status = overhead_measure(&self, counts[i], error);
    overhead_close(&self);
    return status;
}

// --- staged pipelines ----------------------------------------------------------------------------------

/// Blocks of a file to the device; the file to memory; memory to the device.
enum { WHOLE_WAY, FIRST_HOP, SECOND_HOP, HOPS };

typedef struct pipeline {
    bench_transfer_state *state;
    dray_region *file, *device;
    dray_plan *plans[HOPS];
    dray_transfer *transfers[HOPS];
} pipeline;

static bool pipeline_run(bench_transfer_state *state, int which)
{
    state->transfer = state->pipeline->transfers[which];
    bool well = bench_case_dray(state);
    state->transfer = NULL;
    return well;
}

static bool case_whole(bench_transfer_state *state)
{
    return pipeline_run(state, WHOLE_WAY);
}

static bool case_first(bench_transfer_state *state)
{
    return pipeline_run(state, FIRST_HOP);
}

static bool case_second(bench_transfer_state *state)
{
    return pipeline_run(state, SECOND_HOP);
}

static bool case_first_raw(bench_transfer_state *state)
{
    uint8_t *memory = dray_region_pointer(state->memory);
    return state->ring && bench_ring_io(state->ring, &state->batch, state->fd, memory, false);
}

static bool case_second_raw(bench_transfer_state *state)
{
    return state->queue && bench_queue_io(state->queue, &state->batch, state->pipeline->device,
                                          dray_region_pointer(state->memory), true);
}

static dray_status pipeline_prepare(pipeline *self, int which, const dray_copy *copies,
                                    const dray_plan_options *how, dray_error *error)
{
    dray_agent *agent = self->state->agent;
    dray_status status =
        dray_plan_create(agent, copies, self->state->batch.count, how, &self->plans[which], error);
    return status == DRAY_OK ? dray_transfer_create(agent, self->plans[which], NULL,
                                                    &self->transfers[which], error)
                             : status;
}

static dray_status pipeline_plan(pipeline *self, int which, dray_error *error)
{
    bench_transfer_state *state = self->state;
    const bench_batch *batch = &state->batch;
    dray_copy copies[bench_batch_most];
    for (uint32_t i = 0; i < batch->count; i++) {
        uint64_t at = batch->order[i] * batch->block_bytes;
        copies[i] = (dray_copy){.source = which == SECOND_HOP ? state->memory : self->file,
                                .target = which == FIRST_HOP ? state->memory : self->device,
                                .source_offset = at,
                                .target_offset = at,
                                .run_bytes = batch->block_bytes};
    }
    dray_plan_options how = {.struct_bytes = sizeof(how),
                             .staging_device = which == WHOLE_WAY ? state->device : NULL};
    dray_status status = pipeline_prepare(self, which, copies, &how, error);
    if (status != DRAY_E_UNSUPPORTED || !how.staging_device)
        return status;
    how.staging_device = NULL; // a driver that cannot lock memory of the host
    dray_plan_destroy(self->plans[which]);
    self->plans[which] = NULL;
    return pipeline_prepare(self, which, copies, &how, error);
}

static dray_status pipeline_check(const pipeline *self, dray_error *error)
{
    char digests[2][65];
    const dray_span spans[2] = {{.region = self->file, .bytes = bench_set_bytes(self->state)},
                                {.region = self->device, .bytes = bench_set_bytes(self->state)}};
    for (int i = 0; i < 2; i++) {
        dray_status status = dray_span_digest(self->state->context, &spans[i], DRAY_DIGEST_XXH3_128,
                                              digests[i], error);
        if (status != DRAY_OK)
            return status;
    }
    return strcmp(digests[0], digests[1]) == 0
               ? DRAY_OK
               : dray_fail(error, DRAY_E_CORRUPT, "bench: file to device: the bytes differ");
}

/// The ratio to whichever hop was the slower one, round by round.
static void slower_hop_print(const bench_transfer_state *state, const bench_case *all)
{
    double ratios[bench_rounds_max];
    uint32_t rounds = state->options->rounds;
    for (uint32_t i = 0; i < rounds; i++) {
        double first = all[FIRST_HOP].rates[i], second = all[SECOND_HOP].rates[i];
        ratios[i] = all[WHOLE_WAY].rates[i] / (first < second ? first : second);
    }
    fprintf(state->out,
            "{\"bench\":\"transfer\",\"way\":\"%s\",\"block_bytes\":%llu,\"batch\":%u,"
            "\"case\":\"dray beside its slower hop\"",
            state->now->name, (unsigned long long)state->batch.block_bytes, state->batch.count);
    bench_print_spread(state->out, "ratio_to_slower_hop", bench_spread_of(ratios, rounds));
    fprintf(state->out, ",\"rounds\":%u}\n", rounds);
}

static dray_status pipeline_measure(pipeline *self, dray_error *error)
{
    bench_transfer_state *state = self->state;
    bench_case all[] = {{.name = "dray", .run = case_whole},
                        {.name = "dray, file to memory", .run = case_first},
                        {.name = "dray, memory to device", .run = case_second},
                        {.name = "raw io_uring, depth 64, file to memory", .run = case_first_raw},
                        {.name = "bare enqueue loop, memory to device", .run = case_second_raw}};
    enum { count = sizeof(all) / sizeof(all[0]) };
    dray_status status = DRAY_OK;
    for (int i = 0; status == DRAY_OK && i < HOPS; i++)
        status = pipeline_plan(self, i, error);
    state->batch.repeats = 1;
    if (status == DRAY_OK && !case_whole(state))
        status = state->error->status;
    if (status == DRAY_OK)
        status = pipeline_check(self, error);
    if (status == DRAY_OK) {
        bench_rounds(state, all, count);
        slower_hop_print(state, all);
    }
    for (int i = 0; i < HOPS; i++) {
        dray_transfer_destroy(self->transfers[i]);
        dray_plan_destroy(self->plans[i]);
        self->transfers[i] = NULL;
        self->plans[i] = NULL;
    }
    return status;
}

static dray_status pipeline_blocks(pipeline *self, dray_error *error)
{
    static const uint64_t blocks[] = {1 << 20, 16 << 20};
    bench_transfer_state *state = self->state;
    uint32_t order[bench_batch_most];
    dray_status status = DRAY_OK;
    state->pipeline = self;
    for (size_t i = 0; status == DRAY_OK && i < sizeof(blocks) / sizeof(blocks[0]); i++) {
        if (state->options->block_bytes && state->options->block_bytes != blocks[i])
            continue;
        state->batch = (bench_batch){.block_bytes = blocks[i],
                                     .count = (uint32_t)(BENCH_SET_BYTES / blocks[i]),
                                     .order = order};
        bench_order_shuffle(order, state->batch.count);
        status = pipeline_measure(self, error);
    }
    state->pipeline = NULL;
    return status;
}

dray_status bench_staged(bench_transfer_state *state, dray_region *file, dray_region *device,
                         dray_error *error)
{
    pipeline self = {.state = state, .file = file, .device = device};
    return pipeline_blocks(&self, error);
}
