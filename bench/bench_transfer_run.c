/// One way measured: batches of every size, all cases in turn, round by round, as JSON lines.
///
/// The blocks of a batch move in a shuffled order, so that nothing can be joined: every block is an
/// operation of its own for everybody. A plan is made once and run often, as a server would. What the first
/// round brought over is compared with its source before anything is counted.
#include "bench_transfer.h"

#include <stdlib.h>
#include <string.h>

static const uint64_t work_bytes = 64 << 20; // of one measured run, unless that is too often:
enum { repeats_most = 4096, peer_repeats_most = 64 };

uint64_t bench_set_bytes(const bench_transfer_state *state)
{
    return state->batch.block_bytes * state->batch.count;
}

static uint8_t *bytes_of(dray_region *region)
{
    return dray_region_pointer(region);
}

bool bench_case_dray(bench_transfer_state *state)
{
    for (uint32_t turn = 0; turn < state->batch.repeats; turn++) {
        if (dray_transfer_submit(state->transfer, state->error) != DRAY_OK ||
            dray_transfer_wait(state->transfer, -1, state->error) != DRAY_OK)
            return false;
    }
    return true;
}

// --- one batch ---------------------------------------------------------------------------------------

static dray_status plan_make(bench_transfer_state *state, dray_error *error)
{
    const bench_batch *batch = &state->batch;
    dray_copy copies[bench_batch_most];
    for (uint32_t i = 0; i < batch->count; i++) {
        uint64_t at = batch->order[i] * batch->block_bytes;
        bool into = state->now->write; // memory -> other
        copies[i] = (dray_copy){.source = into ? state->memory : state->other,
                                .target = into ? state->other : state->memory,
                                .source_offset = at,
                                .target_offset = at,
                                .run_bytes = batch->block_bytes};
    }
    dray_plan_options options = {.struct_bytes = sizeof(options),
                                 .direct =
                                     state->now->direct ? DRAY_DIRECT_ONLY : DRAY_DIRECT_NEVER};
    dray_status status =
        dray_plan_create(state->agent, copies, batch->count, &options, &state->plan, error);
    return status == DRAY_OK
               ? dray_transfer_create(state->agent, state->plan, NULL, &state->transfer, error)
               : status;
}

void bench_plan_drop(bench_transfer_state *state)
{
    dray_transfer_destroy(state->transfer);
    dray_plan_destroy(state->plan);
    state->transfer = NULL;
    state->plan = NULL;
}

static void case_round(bench_transfer_state *state, bench_case *each, uint32_t round)
{
    if (each->refused)
        return;
    double begin = bench_now(), cpu = bench_cpu();
    state->own_seconds = 0;
    each->refused = !each->run(state);
    double seconds = state->own_seconds > 0 ? state->own_seconds : bench_now() - begin,
           gigabytes = (double)bench_set_bytes(state) * state->batch.repeats / 1e9;
    if (round == 0) // the warm-up
        return;
    each->rates[round - 1] = gigabytes / seconds;
    each->cpu[round - 1] = (bench_cpu() - cpu) / gigabytes;
}

static void print_ratio(FILE *out, const bench_case *each, const bench_case *base, uint32_t rounds)
{
    double ratios[bench_rounds_max];
    char name[64];
    if (each == base || each->refused || base->refused)
        return;
    for (uint32_t i = 0; i < rounds; i++)
        ratios[i] = each->rates[i] / base->rates[i];
    snprintf(name, sizeof(name), "ratio_to_%s", base->name);
    for (char *at = name; *at; at++) {
        if (strchr(" ,-", *at))
            *at = '_';
    }
    bench_print_spread(out, name, bench_spread_of(ratios, rounds));
}

void bench_cases_print(const bench_transfer_state *state, const bench_case *all, uint32_t count)
{
    uint32_t rounds = state->options->rounds;
    for (uint32_t i = 0; i < count; i++) {
        fprintf(state->out,
                "{\"bench\":\"transfer\",\"way\":\"%s\",\"block_bytes\":%llu,\"batch\":%u,"
                "\"case\":\"%s\"",
                state->now->name, (unsigned long long)state->batch.block_bytes, state->batch.count,
                all[i].name);
        if (all[i].refused) {
            fprintf(state->out, ",\"refused\":\"not possible here\"}\n");
            continue;
        }
        for (uint32_t k = 1; i == 0 && k < count; k++) // before sorting mixes the rounds
            print_ratio(state->out, &all[0], &all[k], rounds);
        double rates[bench_rounds_max];
        memcpy(rates, all[i].rates, sizeof(rates));
        bench_print_spread(state->out, "gigabytes_per_second", bench_spread_of(rates, rounds));
        for (uint32_t k = 0; k < rounds; k++)
            rates[k] = (double)bench_set_bytes(state) / 1e3 / all[i].rates[k];
        bench_print_spread(state->out, "microseconds_per_batch", bench_spread_of(rates, rounds));
        memcpy(rates, all[i].cpu, sizeof(rates));
        bench_print_spread(state->out, "cpu_seconds_per_gigabyte", bench_spread_of(rates, rounds));
        fprintf(state->out, ",\"rounds\":%u}\n", rounds);
    }
    fflush(state->out);
}

/// What dray brought over is what was there: the other side, read by somebody else.
static dray_status check(bench_transfer_state *state, dray_error *error)
{
    char digests[2][65];
    dray_span spans[2] = {{.region = state->memory, .bytes = bench_set_bytes(state)},
                          {.region = state->other, .bytes = bench_set_bytes(state)}};
    bool same = state->other_bytes &&
                memcmp(state->other_bytes, bytes_of(state->memory), spans[0].bytes) == 0;
    for (int i = 0; i < 2 && !state->other_bytes; i++) {
        dray_status status =
            dray_span_digest(state->context, &spans[i], DRAY_DIGEST_XXH3_128, digests[i], error);
        if (status != DRAY_OK)
            return status;
    }
    same = same || (!state->other_bytes && strcmp(digests[0], digests[1]) == 0);
    return same ? DRAY_OK
                : dray_fail(error, DRAY_E_CORRUPT, "bench: %s: the bytes on both sides differ",
                            state->now->name);
}

/// Both sides hold different bytes before.
void bench_fill_memory(bench_transfer_state *state)
{
    uint8_t *at = bytes_of(state->memory);
    uint64_t seed = state->batch.block_bytes + state->batch.count;
    for (uint64_t i = 0; i < bench_set_bytes(state); i += 8) {
        uint64_t value = (i + seed) * UINT64_C(0x9e3779b97f4a7c15);
        memcpy(at + i, &value, sizeof(value));
    }
}

void bench_rounds(bench_transfer_state *state, bench_case *all, uint32_t count)
{
    for (uint32_t round = 0; round <= state->options->rounds; round++) {
        for (uint32_t i = 0; i < count; i++)
            case_round(state, &all[i], round);
    }
    bench_cases_print(state, all, count);
}

static dray_status batch_run(bench_transfer_state *state, const bench_case *cases, uint32_t count,
                             dray_error *error)
{
    bench_case all[bench_cases_most];
    memcpy(all, cases, count * sizeof(*cases));
    uint64_t repeats = work_bytes / bench_set_bytes(state);
    uint64_t most = state->now->remote ? peer_repeats_most : repeats_most;
    state->batch.repeats = repeats < 1 ? 1 : (uint32_t)(repeats > most ? most : repeats);
    if (state->now->write)
        bench_fill_memory(state);
    else
        memset(bytes_of(state->memory), 0, bench_set_bytes(state));
    dray_status status = plan_make(state, error);
    if (status == DRAY_OK && !bench_case_dray(state))
        status = error ? error->status : DRAY_E_INTERNAL;
    if (status == DRAY_OK)
        status = check(state, error);
    if (state->nixl && state->now->path) // what cannot be made ready is refused when it runs
        (void)bench_nixl_prepare(state->nixl, &state->batch, state->fd, state->now->write);
    if (status == DRAY_OK)
        bench_rounds(state, all, count);
    if (state->nixl)
        bench_nixl_forget(state->nixl);
    bench_plan_drop(state);
    return status;
}

void bench_order_shuffle(uint32_t *order, uint32_t count)
{
    uint64_t random = UINT64_C(0x2545f4914f6cdd1d);
    for (uint32_t i = 0; i < count; i++)
        order[i] = i;
    for (uint32_t i = count; i-- > 1;) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        uint32_t with = (uint32_t)(random % (i + 1)), keep = order[i];
        order[i] = order[with];
        order[with] = keep;
    }
}

dray_status bench_way_run(bench_transfer_state *state, const bench_case *cases, uint32_t count,
                          dray_error *error)
{
    static const uint64_t blocks[] = {4 << 10, 64 << 10, 1 << 20, 16 << 20, 64 << 20};
    static const uint32_t batches[] = {1, 16, 256};
    const bench_transfer_options *options = state->options;
    uint32_t order[bench_batch_most];
    for (size_t b = 0; b < sizeof(blocks) / sizeof(blocks[0]); b++) {
        for (size_t k = 0; k < sizeof(batches) / sizeof(batches[0]); k++) {
            bool wanted = (!options->block_bytes || options->block_bytes == blocks[b]) &&
                          (!options->batch || options->batch == batches[k]);
            if (!wanted || blocks[b] * batches[k] > BENCH_SET_BYTES)
                continue;
            bench_order_shuffle(order, batches[k]);
            state->batch =
                (bench_batch){.block_bytes = blocks[b], .count = batches[k], .order = order};
            dray_status status = batch_run(state, cases, count, error);
            if (status != DRAY_OK)
                return status;
        }
    }
    return DRAY_OK;
}
