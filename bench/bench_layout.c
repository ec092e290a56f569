/// Blocks of a KV cache from layout to layout: the shape of a 70B model (80 layers, K and V, 8 heads of 128
/// elements of 2 bytes), as it is, reshaped, and to a file past the page cache; and what planning costs.
///
/// Beside each move stand a copy of as many bytes in one piece (memcpy, and non-temporal stores: the better
/// of both, round by round, is the bar) and the loop over regions that one would write without a library.
/// One thread does the work on every side. What dray brought over is compared with the loop's result first.
#include "bench.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { layers = 80, outers = 2, heads = 8, head_dim = 128, width = 2, blocks_most = 256 };
enum { case_dray, case_memcpy, case_stream, case_naive, case_ring, case_count };
static const uint64_t work_bytes = 64 << 20; // of one measured run, at least
static const uint64_t piece_bytes = 1 << 20; // of the bare io_uring

static const char *const case_names[case_count] = {"dray", "memcpy", "non-temporal stores",
                                                   "naive region loop", "raw io_uring, depth 64"};

/// What a side is.
typedef struct form {
    const char *name;
    dray_layout_kind kind;
    dray_block_format format;
    bool apart; // a region of its own per layer, not one allocation for all
} form;

static const form contiguous = {"contiguous", DRAY_LAYOUT_CONTIGUOUS, DRAY_BLOCK_NHD, false},
                  first = {"block-first", DRAY_LAYOUT_LAYER_SEPARATE_FIRST, DRAY_BLOCK_NHD, false},
                  second = {"block-second", DRAY_LAYOUT_LAYER_SEPARATE_SECOND, DRAY_BLOCK_NHD,
                            false},
                  apart = {"block-first, a region per layer", DRAY_LAYOUT_LAYER_SEPARATE_FIRST,
                           DRAY_BLOCK_NHD, true},
                  universal = {"universal-tp", DRAY_LAYOUT_CONTIGUOUS, DRAY_BLOCK_UNIVERSAL_TP,
                               false};

typedef struct way {
    const form *from, *to;
} way;

typedef struct layout_state {
    dray_context *context;
    dray_agent *agent;
    const bench_layout_options *options;
    FILE *out;
    dray_error *error;
    uint32_t page, count; // tokens per page, blocks
    bool shuffled;
    way now;
    dray_layout *from, *to;
    uint64_t blocks[blocks_most];
    uint32_t order[blocks_most];
    bench_batch batch; // the same blocks as plain bytes
    bench_ring *ring;
    int fd; // of the file tier; -1: memory
    bool to_file;
    dray_plan *plan;
    dray_transfer *transfer;
    double rates[case_count][bench_rounds_max], planning[bench_rounds_max];
} layout_state;

static uint64_t block_bytes(const layout_state *state)
{
    return (uint64_t)layers * outers * state->page * heads * head_dim * width;
}

static uint8_t *bytes_of(const dray_layout *layout)
{
    return dray_region_pointer(dray_layout_region(layout, 0));
}

// --- cases -------------------------------------------------------------------------------------------

static bool run_dray(layout_state *state)
{
    for (uint32_t turn = 0; turn < state->batch.repeats; turn++) {
        if (dray_transfer_submit(state->transfer, state->error) != DRAY_OK ||
            dray_transfer_wait(state->transfer, -1, state->error) != DRAY_OK)
            return false;
    }
    return true;
}

static uint8_t *slice_at(const dray_layout *layout, uint64_t block, uint64_t layer, uint64_t outer)
{
    const dray_layout_geometry *geometry = dray_layout_get_geometry(layout);
    uint64_t region = geometry->region_count > 1 ? layer : 0;
    return (uint8_t *)dray_region_pointer(dray_layout_region(layout, region)) +
           block * geometry->block_stride + layer * geometry->layer_stride +
           outer * geometry->outer_stride;
}

static void naive_slice(const layout_state *state, uint64_t block, uint64_t layer, uint64_t outer)
{
    const dray_layout_geometry *a = dray_layout_get_geometry(state->from),
                               *b = dray_layout_get_geometry(state->to);
    const uint8_t *from = slice_at(state->from, block, layer, outer);
    uint8_t *to = slice_at(state->to, block, layer, outer);
    if (a->slices_whole && b->slices_whole) {
        memcpy(to, from, a->bytes_per_slice);
        return;
    }
    for (uint64_t token = 0; token < state->page; token++) {
        for (uint64_t head = 0; head < heads; head++)
            memcpy(to + token * b->token_stride + head * b->head_stride,
                   from + token * a->token_stride + head * a->head_stride, (size_t)head_dim * width);
    }
}

static void run_naive(layout_state *state)
{
    for (uint32_t turn = 0; turn < state->batch.repeats; turn++) {
        for (uint32_t i = 0; i < state->count; i++) {
            for (uint64_t layer = 0; layer < layers; layer++) {
                for (uint64_t outer = 0; outer < outers; outer++)
                    naive_slice(state, state->blocks[i], layer, outer);
            }
        }
    }
}

static bool run_case(layout_state *state, uint32_t which)
{
    uint8_t *to = bytes_of(state->to), *from = bytes_of(state->from);
    switch (which) {
    case case_dray:
        return run_dray(state);
    case case_memcpy:
        bench_memcpy(&state->batch, to, from);
        return true;
    case case_stream:
        bench_stream_copy(&state->batch, to, from);
        return true;
    case case_naive:
        run_naive(state);
        return true;
    default:
        return bench_ring_io(state->ring, &state->batch, state->fd, state->to_file ? from : to,
                             state->to_file);
    }
}

/// In memory the first four are measured; with a file dray and the ring.
static bool measured(const layout_state *state, uint32_t which)
{
    if (state->fd >= 0)
        return which == case_dray || (which == case_ring && state->ring);
    bool one_piece = !state->now.from->apart && !state->now.to->apart;
    return which == case_dray || which == case_naive || (which < case_naive && one_piece);
}

// --- output ------------------------------------------------------------------------------------------

static void print_head(const layout_state *state, const char *what)
{
    fprintf(state->out,
            "{\"bench\":\"layout\",\"from\":\"%s%s\",\"to\":\"%s%s\",\"page\":%u,\"blocks\":%u,"
            "\"order\":\"%s\",\"case\":\"%s\"",
            state->now.from->name, state->fd >= 0 && !state->to_file ? " file" : "",
            state->now.to->name, state->to_file ? " file" : "", state->page, state->count,
            state->shuffled ? "shuffled" : "adjacent", what);
}

static void print_ratio(const layout_state *state, const char *name, uint32_t base, uint32_t other)
{
    double ratios[bench_rounds_max];
    for (uint32_t i = 0; i < state->options->rounds; i++) {
        double best = state->rates[base][i];
        if (state->rates[other][i] > best)
            best = state->rates[other][i];
        ratios[i] = state->rates[case_dray][i] / best;
    }
    bench_print_spread(state->out, name, bench_spread_of(ratios, state->options->rounds));
}

static void print_ratios(const layout_state *state)
{
    if (state->fd >= 0) {
        if (state->ring)
            print_ratio(state, "ratio_to_raw", case_ring, case_ring);
        return;
    }
    if (measured(state, case_memcpy))
        print_ratio(state, "ratio_to_best_copy", case_memcpy, case_stream);
    print_ratio(state, "ratio_to_naive", case_naive, case_naive);
}

static void print_cases(layout_state *state)
{
    uint32_t rounds = state->options->rounds;
    for (uint32_t which = 0; which < case_count; which++) {
        if (!measured(state, which))
            continue;
        print_head(state, case_names[which]);
        if (which == case_dray) { // before sorting mixes the rounds
            print_ratios(state);
            dray_plan_summary summary;
            dray_plan_summarize(state->plan, &summary);
            fprintf(state->out, ",\"copies\":%llu,\"segments\":%llu",
                    (unsigned long long)summary.copies, (unsigned long long)summary.segments);
            bench_print_spread(state->out, "planning_ns_per_region_copy",
                               bench_spread_of(state->planning, rounds));
        }
        double rates[bench_rounds_max];
        memcpy(rates, state->rates[which], sizeof(rates));
        bench_print_spread(state->out, "gigabytes_per_second", bench_spread_of(rates, rounds));
        fprintf(state->out, ",\"rounds\":%u}\n", rounds);
    }
    fflush(state->out);
}

// --- one move ----------------------------------------------------------------------------------------

static dray_status plan_make(layout_state *state)
{
    const dray_layout_move move = {.struct_bytes = sizeof(move),
                                   .sources = &state->from,
                                   .targets = &state->to,
                                   .source_count = 1,
                                   .target_count = 1,
                                   .source_blocks = state->blocks,
                                   .target_blocks = state->blocks,
                                   .source_block_count = state->count,
                                   .target_block_count = state->count};
    const dray_plan_options options = {.struct_bytes = sizeof(options),
                                       .direct =
                                           state->fd >= 0 ? DRAY_DIRECT_ONLY : DRAY_DIRECT_AUTO};
    return dray_layout_plan_move(state->agent, &move, &options, &state->plan, state->error);
}

static void plan_drop(layout_state *state)
{
    dray_transfer_destroy(state->transfer);
    dray_plan_destroy(state->plan);
    state->transfer = NULL;
    state->plan = NULL;
}

static dray_status planning_measure(layout_state *state)
{
    double copies = (double)state->count * layers * outers;
    uint32_t turns = (uint32_t)(20000 / copies) + 1;
    for (uint32_t round = 0; round < state->options->rounds; round++) {
        double begin = bench_now();
        for (uint32_t turn = 0; turn < turns; turn++) {
            plan_drop(state);
            dray_status status = plan_make(state);
            if (status != DRAY_OK)
                return status;
        }
        state->planning[round] = (bench_now() - begin) * 1e9 / copies / turns;
    }
    return dray_transfer_create(state->agent, state->plan, NULL, &state->transfer, state->error);
}

static void fill(uint8_t *bytes, uint64_t count)
{
    for (uint64_t i = 0; i + 8 <= count; i += 8) {
        uint64_t value = (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
        memcpy(bytes + i, &value, sizeof(value));
    }
}

static dray_status digest_of(layout_state *state, char out[65])
{
    dray_span span = {.region = dray_layout_region(state->to, 0)};
    span.bytes = dray_region_bytes(span.region);
    return dray_span_digest(state->context, &span, DRAY_DIGEST_XXH3_128, out, state->error);
}

/// dray's target is the loop's target, as far as the first region goes.
static dray_status compare(layout_state *state)
{
    char wanted[65], got[65];
    uint32_t repeats = state->batch.repeats;
    state->batch.repeats = 1;
    run_naive(state);
    dray_status status = digest_of(state, wanted);
    memset(bytes_of(state->to), 0, dray_region_bytes(dray_layout_region(state->to, 0)));
    if (status == DRAY_OK && !run_dray(state))
        status = DRAY_E_INTERNAL;
    if (status == DRAY_OK)
        status = digest_of(state, got);
    state->batch.repeats = repeats;
    if (status == DRAY_OK && strcmp(wanted, got) != 0)
        status = dray_fail(state->error, DRAY_E_CORRUPT, "bench: %s to %s: not what the loop gives",
                           state->now.from->name, state->now.to->name);
    return status;
}

static dray_status rounds_run(layout_state *state)
{
    double gigabytes = (double)block_bytes(state) * state->count * state->batch.repeats / 1e9;
    for (uint32_t round = 0; round <= state->options->rounds; round++) {
        for (uint32_t which = 0; which < case_count; which++) {
            if (!measured(state, which))
                continue;
            double begin = bench_now();
            if (!run_case(state, which))
                return state->error && state->error->status ? state->error->status : DRAY_E_IO;
            if (round > 0) // the first one warms up
                state->rates[which][round - 1] = gigabytes / (bench_now() - begin);
        }
    }
    return DRAY_OK;
}

static dray_status move_measure(layout_state *state)
{
    uint64_t bytes = block_bytes(state) * state->count;
    assert(bytes > 0); // a layout that was built has blocks with bytes
    state->batch = (bench_batch){.block_bytes = block_bytes(state),
                                 .count = state->count,
                                 .repeats = (uint32_t)(work_bytes / bytes) + 1,
                                 .order = state->order};
    if (!state->shuffled && state->fd < 0) { // adjacent blocks are one piece for everybody
        state->batch.block_bytes = bytes;
        state->batch.count = 1;
    }
    dray_status status = planning_measure(state);
    if (status == DRAY_OK && state->fd < 0)
        status = compare(state);
    if (status == DRAY_OK)
        status = rounds_run(state);
    if (status == DRAY_OK)
        print_cases(state);
    plan_drop(state);
    return status;
}

// --- layouts -----------------------------------------------------------------------------------------

static dray_layout_config config_of(const layout_state *state, const form *wanted)
{
    return (dray_layout_config){.struct_bytes = sizeof(dray_layout_config),
                                .kind = wanted->kind,
                                .format = wanted->format,
                                .num_blocks = state->count,
                                .num_layers = layers,
                                .outer_dim = outers,
                                .page_size = state->page,
                                .inner_dim = (uint64_t)heads * head_dim,
                                .num_heads = heads,
                                .dtype_width_bytes = width};
}

static dray_status apart_build(layout_state *state, const dray_layout_config *config,
                               dray_layout **out)
{
    dray_region *regions[layers] = {NULL};
    const dray_region_options memory = {.struct_bytes = sizeof(memory),
                                        .bytes = block_bytes(state) * state->count / layers};
    dray_status status = DRAY_OK;
    for (uint32_t i = 0; i < layers && status == DRAY_OK; i++)
        status = dray_region_create(state->context, &memory, &regions[i], state->error);
    const dray_layout_provided provided = {
        .struct_bytes = sizeof(provided), .regions = regions, .region_count = layers};
    const dray_layout_options options = {
        .struct_bytes = sizeof(options), .config = config, .provided = &provided, .unregistered = 1};
    if (status == DRAY_OK)
        status = dray_layout_build(state->agent, &options, out, state->error);
    for (uint32_t i = 0; i < layers; i++)
        dray_region_release(regions[i]);
    return status;
}

static dray_status build(layout_state *state, const form *wanted, const char *path,
                         dray_layout **out)
{
    const dray_layout_config config = config_of(state, wanted);
    if (wanted->apart)
        return apart_build(state, &config, out);
    const dray_layout_allocation memory = {.struct_bytes = sizeof(memory),
                                           .storage = path ? DRAY_STORAGE_DISK : DRAY_STORAGE_SYSTEM,
                                           .path = path};
    const dray_layout_options options = {
        .struct_bytes = sizeof(options), .config = &config, .allocate = &memory, .unregistered = 1};
    return dray_layout_build(state->agent, &options, out, state->error);
}

static void layouts_drop(layout_state *state)
{
    dray_layout_destroy(state->from);
    dray_layout_destroy(state->to);
    state->from = state->to = NULL;
}

static void order_make(layout_state *state, bool shuffled)
{
    uint64_t random = UINT64_C(0x2545f4914f6cdd1d);
    state->shuffled = shuffled;
    for (uint32_t i = 0; i < state->count; i++)
        state->order[i] = i;
    for (uint32_t i = state->count; shuffled && i-- > 1;) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        uint32_t with = (uint32_t)(random % (i + 1)), keep = state->order[i];
        state->order[i] = state->order[with];
        state->order[with] = keep;
    }
    for (uint32_t i = 0; i < state->count; i++)
        state->blocks[i] = state->order[i];
}

static dray_status memory_measure(layout_state *state, const way *now)
{
    state->now = *now;
    dray_status status = build(state, now->from, NULL, &state->from);
    if (status == DRAY_OK)
        status = build(state, now->to, NULL, &state->to);
    if (status == DRAY_OK)
        fill(bytes_of(state->from), dray_region_bytes(dray_layout_region(state->from, 0)));
    for (int shuffled = 0; shuffled < 2 && status == DRAY_OK; shuffled++) {
        order_make(state, shuffled);
        if (!shuffled || state->count > 1)
            status = move_measure(state);
    }
    layouts_drop(state);
    return status;
}

// --- the file tier -----------------------------------------------------------------------------------

/// From memory in `with` to a contiguous file, and back.
static dray_status file_measure(layout_state *state, const form *with, const char *path)
{
    dray_layout *memory = NULL, *file = NULL;
    dray_status status = build(state, with, NULL, &memory);
    if (status == DRAY_OK)
        status = build(state, &contiguous, path, &file);
    if (status == DRAY_OK)
        fill(bytes_of(memory), dray_region_bytes(dray_layout_region(memory, 0)));
    state->fd = status == DRAY_OK ? open(path, O_RDWR | O_CLOEXEC | O_DIRECT) : -1;
    if (status == DRAY_OK && state->fd < 0)
        status = dray_fail_os(state->error, errno, "open", "bench: %s with O_DIRECT", path);
    order_make(state, true);
    for (int to_file = 1; to_file >= 0 && status == DRAY_OK; to_file--) {
        state->to_file = to_file;
        state->from = to_file ? memory : file;
        state->to = to_file ? file : memory;
        state->now = to_file ? (way){with, &contiguous} : (way){&contiguous, with};
        status = move_measure(state);
    }
    if (state->fd >= 0)
        close(state->fd);
    state->fd = -1;
    state->to_file = false;
    state->from = memory;
    state->to = file;
    layouts_drop(state);
    unlink(path);
    return status;
}

static dray_status files_measure(layout_state *state)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/dray-bench-layout.%d", state->options->disk, (int)getpid());
    dray_status status = file_measure(state, &contiguous, path);
    return status == DRAY_OK ? file_measure(state, &first, path) : status;
}

// --- all of it ---------------------------------------------------------------------------------------

static dray_status size_measure(layout_state *state)
{
    const way ways[] = {{&contiguous, &contiguous}, {&first, &contiguous},
                        {&contiguous, &first},      {&second, &contiguous},
                        {&contiguous, &second},     {&contiguous, &universal},
                        {&universal, &contiguous},  {&apart, &contiguous}};
    dray_status status = DRAY_OK;
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]) && status == DRAY_OK; i++)
        status = memory_measure(state, &ways[i]);
    bool whole_pieces = block_bytes(state) % piece_bytes == 0;
    if (status == DRAY_OK && state->options->disk && whole_pieces && state->count == 16)
        status = files_measure(state);
    return status;
}

dray_status bench_layout(dray_context *context, const bench_layout_options *options, FILE *out,
                         dray_error *error)
{
    static const uint32_t pages[] = {16, 32, 64}, counts[] = {1, 4, 16, 64, 256};
    layout_state state = {
        .context = context, .options = options, .out = out, .error = error, .fd = -1};
    const dray_agent_options named = {.struct_bytes = sizeof(named), .name = "bench"};
    dray_status status = dray_agent_create(context, &named, &state.agent, error);
    state.ring = bench_ring_open();
    for (size_t p = 0; p < sizeof(pages) / sizeof(pages[0]); p++) {
        for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]) && status == DRAY_OK; c++) {
            state.page = pages[p];
            state.count = counts[c];
            bool wanted = (!options->page || options->page == state.page) &&
                          (!options->blocks || options->blocks == state.count);
            if (wanted && block_bytes(&state) * state.count <= options->memory_bytes)
                status = size_measure(&state);
        }
    }
    bench_ring_close(state.ring);
    dray_agent_destroy(state.agent);
    return status;
}
