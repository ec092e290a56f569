/// Batches of blocks through the copy engine beside its baselines: memory, files on a tmpfs and on a disk,
/// a device; and what planning and submitting costs when no byte moves.
///
/// The blocks of a batch move in a shuffled order, so that nothing can be joined: every block is an
/// operation of its own for everybody. A plan is made once and run often, as a server would. What the first
/// round brought over is compared with its source before anything is counted.
#include "bench.h"
#include <dray/device.h>
#include <dray/spi/region.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { cases_most = 4, batch_most = 256 };
static const uint64_t work_bytes = 64 << 20; // of one measured run, at least
static const uint64_t set_most = 256 << 20;  // larger batches are left out

/// One way that is measured.
typedef struct way {
    const char *name; // "memory", "tmpfs read", ...
    bool direct;
    bool write;       // memory is the source
    bool device;      // the other side is a device, and no file
    const char *path; // NULL: no file
} way;

typedef struct transfer_state {
    dray_context *context;
    const bench_transfer_options *options;
    FILE *out;
    dray_agent *agent;
    dray_device *device;
    bench_ring *ring;
    bench_queue *queue;
    dray_region *memory, *other; // both of set_most bytes
    const way *now;
    int fd;
    bench_batch batch;
    dray_plan *plan;
    dray_transfer *transfer;
    dray_error *error;
} transfer_state;

typedef struct transfer_case {
    const char *name;
    bool (*run)(transfer_state *state);
    double rates[bench_rounds_max], cpu[bench_rounds_max];
    bool refused;
} transfer_case;

static uint8_t *bytes_of(dray_region *region)
{
    return dray_region_pointer(region);
}

static uint64_t set_bytes(const transfer_state *state)
{
    return state->batch.block_bytes * state->batch.count;
}

// --- cases -------------------------------------------------------------------------------------------

static bool case_dray(transfer_state *state)
{
    for (uint32_t turn = 0; turn < state->batch.repeats; turn++) {
        if (dray_transfer_submit(state->transfer, state->error) != DRAY_OK ||
            dray_transfer_wait(state->transfer, -1, state->error) != DRAY_OK)
            return false;
    }
    return true;
}

static bool case_memcpy(transfer_state *state)
{
    bench_memcpy(&state->batch, bytes_of(state->other), bytes_of(state->memory));
    return true;
}

static bool case_stream(transfer_state *state)
{
    bench_stream_copy(&state->batch, bytes_of(state->other), bytes_of(state->memory));
    return true;
}

static bool case_plain(transfer_state *state)
{
    return bench_plain_io(&state->batch, state->fd, bytes_of(state->memory), state->now->write);
}

static bool case_ring(transfer_state *state)
{
    return state->ring && bench_ring_io(state->ring, &state->batch, state->fd,
                                        bytes_of(state->memory), state->now->write);
}

static bool case_queue(transfer_state *state)
{
    return state->queue && bench_queue_io(state->queue, &state->batch, state->other,
                                          bytes_of(state->memory), state->now->write);
}

static uint32_t cases_of(const way *now, transfer_case *out)
{
    uint32_t count = 0;
    out[count++] = (transfer_case){.name = "dray", .run = case_dray};
    if (now->device) {
        out[count++] = (transfer_case){.name = "bare enqueue loop", .run = case_queue};
    } else if (now->path) {
        out[count++] = (transfer_case){.name = "raw io_uring, depth 64", .run = case_ring};
        out[count++] = (transfer_case){.name = now->write ? "pwrite" : "pread", .run = case_plain};
    } else {
        out[count++] = (transfer_case){.name = "memcpy", .run = case_memcpy};
        out[count++] = (transfer_case){.name = "non-temporal stores", .run = case_stream};
    }
    return count;
}

// --- one batch ---------------------------------------------------------------------------------------

static dray_status plan_make(transfer_state *state, dray_error *error)
{
    const bench_batch *batch = &state->batch;
    dray_copy copies[batch_most];
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

static void plan_drop(transfer_state *state)
{
    dray_transfer_destroy(state->transfer);
    dray_plan_destroy(state->plan);
    state->transfer = NULL;
    state->plan = NULL;
}

static void case_round(transfer_state *state, transfer_case *each, uint32_t round)
{
    if (each->refused)
        return;
    double begin = bench_now(), cpu = bench_cpu();
    each->refused = !each->run(state);
    double seconds = bench_now() - begin,
           gigabytes = (double)set_bytes(state) * state->batch.repeats / 1e9;
    if (round == 0) // the warm-up
        return;
    each->rates[round - 1] = gigabytes / seconds;
    each->cpu[round - 1] = (bench_cpu() - cpu) / gigabytes;
}

static void print_ratio(FILE *out, const transfer_case *each, const transfer_case *base,
                        uint32_t rounds)
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

static void cases_print(const transfer_state *state, transfer_case *all, uint32_t count)
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
        bench_print_spread(state->out, "cpu_seconds_per_gigabyte",
                           bench_spread_of(all[i].cpu, rounds));
        fprintf(state->out, ",\"rounds\":%u}\n", rounds);
    }
    fflush(state->out);
}

/// What dray brought over is what was there: the other side, read by somebody else.
static dray_status check(transfer_state *state, dray_error *error)
{
    char digests[2][65];
    dray_span spans[2] = {{.region = state->memory, .bytes = set_bytes(state)},
                          {.region = state->other, .bytes = set_bytes(state)}};
    for (int i = 0; i < 2; i++) {
        dray_status status =
            dray_span_digest(state->context, &spans[i], DRAY_DIGEST_XXH3_128, digests[i], error);
        if (status != DRAY_OK)
            return status;
    }
    return strcmp(digests[0], digests[1]) == 0
               ? DRAY_OK
               : dray_fail(error, DRAY_E_CORRUPT, "bench: %s: the bytes on both sides differ",
                           state->now->name);
}

/// Both sides hold different bytes before.
static void fill(transfer_state *state)
{
    uint8_t *at = bytes_of(state->memory);
    uint64_t seed = state->batch.block_bytes + state->batch.count;
    for (uint64_t i = 0; i < set_bytes(state); i += 8) {
        uint64_t value = (i + seed) * UINT64_C(0x9e3779b97f4a7c15);
        memcpy(at + i, &value, sizeof(value));
    }
}

static dray_status batch_run(transfer_state *state, dray_error *error)
{
    transfer_case all[cases_most];
    uint32_t count = cases_of(state->now, all);
    uint64_t repeats = work_bytes / set_bytes(state);
    state->batch.repeats = repeats < 1 ? 1 : repeats > 4096 ? 4096 : (uint32_t)repeats;
    if (state->now->write)
        fill(state);
    else
        memset(bytes_of(state->memory), 0, set_bytes(state));
    dray_status status = plan_make(state, error);
    if (status == DRAY_OK && !case_dray(state))
        status = error ? error->status : DRAY_E_INTERNAL;
    if (status == DRAY_OK)
        status = check(state, error);
    for (uint32_t round = 0; status == DRAY_OK && round <= state->options->rounds; round++) {
        for (uint32_t i = 0; i < count; i++)
            case_round(state, &all[i], round);
    }
    if (status == DRAY_OK)
        cases_print(state, all, count);
    plan_drop(state);
    return status;
}

static void order_shuffle(uint32_t *order, uint32_t count)
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

static dray_status way_run(transfer_state *state, dray_error *error)
{
    static const uint64_t blocks[] = {4 << 10, 64 << 10, 1 << 20, 16 << 20, 64 << 20};
    static const uint32_t batches[] = {1, 16, 256};
    const bench_transfer_options *options = state->options;
    uint32_t order[batch_most];
    for (size_t b = 0; b < sizeof(blocks) / sizeof(blocks[0]); b++) {
        for (size_t k = 0; k < sizeof(batches) / sizeof(batches[0]); k++) {
            bool wanted = (!options->block_bytes || options->block_bytes == blocks[b]) &&
                          (!options->batch || options->batch == batches[k]);
            if (!wanted || blocks[b] * batches[k] > set_most)
                continue;
            order_shuffle(order, batches[k]);
            state->batch =
                (bench_batch){.block_bytes = blocks[b], .count = batches[k], .order = order};
            dray_status status = batch_run(state, error);
            if (status != DRAY_OK)
                return status;
        }
    }
    return DRAY_OK;
}

// --- ways --------------------------------------------------------------------------------------------

static dray_status region_make(transfer_state *state, dray_device *device, uint64_t bytes,
                               dray_region **out, dray_error *error)
{
    dray_region_options options = {.struct_bytes = sizeof(options),
                                   .storage = device ? DRAY_STORAGE_DEVICE : DRAY_STORAGE_SYSTEM,
                                   .bytes = bytes,
                                   .device = device};
    return dray_region_create(state->context, &options, out, error);
}

static dray_status file_open(transfer_state *state, dray_error *error)
{
    const way *now = state->now;
    dray_file_options options = {
        .struct_bytes = sizeof(options), .writable = 1, .create = 1, .replace = 1, .bytes = set_most};
    dray_status status = dray_region_open(state->context, now->path, &options, &state->other, error);
    if (status != DRAY_OK)
        return status;
    state->fd = open(now->path, O_RDWR | O_CLOEXEC | (now->direct ? O_DIRECT : 0));
    if (state->fd < 0)
        return dray_fail_os(error, errno, "open", "bench: %s", now->path);
    // every block holds something, and none is fresh: neither side allocates in its turn
    uint32_t zero = 0;
    bench_batch whole = {.block_bytes = set_most, .count = 1, .repeats = 1, .order = &zero};
    state->batch = whole;
    fill(state);
    return bench_plain_io(&whole, state->fd, bytes_of(state->memory), true)
               ? DRAY_OK
               : dray_fail_os(error, errno, "pwrite", "bench: fill %s", now->path);
}

static dray_status way_begin(transfer_state *state, dray_error *error)
{
    if (state->now->path)
        return file_open(state, error);
    return region_make(state, state->now->device ? state->device : NULL, set_most, &state->other,
                       error);
}

static void way_end(transfer_state *state)
{
    dray_region_release(state->other);
    state->other = NULL;
    if (state->fd >= 0)
        close(state->fd);
    state->fd = -1;
    if (state->now->path)
        unlink(state->now->path);
}

static dray_status way_measure(transfer_state *state, const way *now, dray_error *error)
{
    state->now = now;
    dray_status status = way_begin(state, error);
    if (status == DRAY_OK)
        status = way_run(state, error);
    way_end(state);
    return status;
}

static dray_status files_measure(transfer_state *state, const char *folder, bool disk,
                                 dray_error *error)
{
    char path[4096];
    if (!folder)
        return DRAY_OK;
    snprintf(path, sizeof(path), "%s/dray-bench-transfer.%d", folder, (int)getpid());
    const way ways[] = {
        {.name = disk ? "disk read, O_DIRECT" : "tmpfs read", .direct = disk, .path = path},
        {.name = disk ? "disk write, O_DIRECT" : "tmpfs write",
         .direct = disk,
         .write = true,
         .path = path}};
    dray_status status = way_measure(state, &ways[0], error);
    return status == DRAY_OK ? way_measure(state, &ways[1], error) : status;
}

// --- planning and submitting ---------------------------------------------------------------------------

/// The same copies to nowhere: all of planning, submitting and completing, and no byte moved.
static dray_status overhead_measure(transfer_state *state, dray_error *error)
{
    enum { count = 1 << 16, block = 4096 };
    dray_region_options options = {.struct_bytes = sizeof(options),
                                   .storage = DRAY_STORAGE_NULL,
                                   .bytes = (uint64_t)count * block};
    dray_region *nowhere = NULL;
    dray_copy *copies = calloc(count, sizeof(*copies));
    uint32_t *order = calloc(count, sizeof(*order));
    double planning[bench_rounds_max], running[bench_rounds_max];
    dray_status status = copies && order ? DRAY_OK : DRAY_E_NOMEM;
    if (status == DRAY_OK)
        status = dray_region_create(state->context, &options, &nowhere, error);
    if (status == DRAY_OK)
        order_shuffle(order, count);
    for (uint32_t i = 0; status == DRAY_OK && i < count; i++)
        copies[i] = (dray_copy){.source = state->memory,
                                .target = nowhere,
                                .source_offset = (uint64_t)order[i] * block,
                                .target_offset = (uint64_t)order[i] * block,
                                .run_bytes = block};
    for (uint32_t round = 0; status == DRAY_OK && round <= state->options->rounds; round++) {
        dray_plan_options how = {.struct_bytes = sizeof(how), .targets_disjoint = 1};
        double begin = bench_now();
        status = dray_plan_create(state->agent, copies, count, &how, &state->plan, error);
        double planned = bench_now();
        if (status == DRAY_OK)
            status = dray_transfer_create(state->agent, state->plan, NULL, &state->transfer, error);
        double ready = bench_now();
        if (status == DRAY_OK)
            status = dray_transfer_submit(state->transfer, error);
        if (status == DRAY_OK)
            status = dray_transfer_wait(state->transfer, -1, error);
        if (status == DRAY_OK && round > 0) {
            planning[round - 1] = (planned - begin) * 1e9 / count;
            running[round - 1] = (bench_now() - ready) * 1e9 / count;
        }
        plan_drop(state);
    }
    if (status == DRAY_OK) {
        fprintf(state->out,
                "{\"bench\":\"transfer\",\"way\":\"to null\",\"block_bytes\":%d,\"batch\":%d,"
                "\"case\":\"dray\"",
                block, count);
        bench_print_spread(state->out, "planning_ns_per_copy",
                           bench_spread_of(planning, state->options->rounds));
        bench_print_spread(state->out, "submission_and_completion_ns_per_copy",
                           bench_spread_of(running, state->options->rounds));
        fprintf(state->out, ",\"rounds\":%u}\n", state->options->rounds);
    }
    dray_region_release(nowhere);
    free(copies);
    free(order);
    return status;
}

// --- all of it -----------------------------------------------------------------------------------------

static dray_status state_open(transfer_state *state, dray_error *error)
{
    const char *names[] = {"posix", NULL, NULL};
    dray_device_info info;
    dray_status status = DRAY_OK;
    if (state->options->device) {
        status = dray_device_open(state->context, state->options->device, &state->device, error);
        if (status == DRAY_OK)
            status = dray_device_get_info(state->device, &info, error);
        if (status == DRAY_OK)
            names[1] = info.backend;
    }
    dray_agent_options options = {
        .struct_bytes = sizeof(options), .name = "bench", .backends = names[1] ? names : NULL};
    if (status == DRAY_OK)
        status = dray_agent_create(state->context, &options, &state->agent, error);
    if (status == DRAY_OK)
        status = region_make(state, NULL, set_most, &state->memory, error);
    if (status == DRAY_OK && state->device)
        state->queue = bench_queue_open(state->device);
    state->ring = bench_ring_open();
    return status;
}

static void state_close(transfer_state *state)
{
    bench_ring_close(state->ring);
    bench_queue_close(state->queue);
    dray_agent_destroy(state->agent);
    dray_region_release(state->memory);
    dray_device_release(state->device);
}

dray_status bench_transfer(dray_context *context, const bench_transfer_options *options, FILE *out,
                           dray_error *error)
{
    static const way memory = {.name = "memory", .write = true};
    static const way devices[] = {{.name = "host to device", .write = true, .device = true},
                                  {.name = "device to host", .device = true}};
    dray_error own = {0};
    transfer_state state = {
        .context = context, .options = options, .out = out, .fd = -1, .error = error ? error : &own};
    error = state.error;
    dray_status status = state_open(&state, error);
    if (status == DRAY_OK)
        status = overhead_measure(&state, error);
    if (status == DRAY_OK)
        status = way_measure(&state, &memory, error);
    if (status == DRAY_OK)
        status = files_measure(&state, options->tmpfs, false, error);
    if (status == DRAY_OK)
        status = files_measure(&state, options->disk, true, error);
    for (int i = 0; status == DRAY_OK && state.device && i < 2; i++)
        status = way_measure(&state, &devices[i], error);
    state_close(&state);
    return status;
}
