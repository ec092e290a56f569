/// dray layout move: blocks from one layout to another, and a report of how.
#include "command.h"
#include "json_out.h"
#include "layout_end.h"
#include "layout_verify.h"
#include "progress.h"
#include "table.h"
#include "terminal.h"
#include "text.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { look_every_ns = 100000000 };
static const uint64_t blocks_max = 1 << 24; // on a command line

typedef struct block_list {
    uint64_t *ids;
    uint64_t count;
} block_list;

typedef struct layer_range {
    bool given;
    uint32_t first, last;
} layer_range;

typedef struct move_values {
    const char *from, *to, *secret_file;
    block_list blocks, to_blocks;
    layer_range layers;
    option_number threads;
    bool fill, verify, explain, json;
} move_values;

typedef struct move_job {
    session base;
    const move_values *given;
    progress bar;
    layout_end from, to;
    secret shared;
    dray_agent *agent;
    dray_device *staging_device; // borrowed from an end
    dray_layout_move move;
    dray_plan *plan;
    dray_transfer *transfer;
    dray_plan_summary summary;
    uint64_t verified_bytes;
    double planning_seconds, seconds;
    char backend[160];
    char **reasons; // of --explain
    size_t reason_count;
} move_job;

// --- options -----------------------------------------------------------------------------------------

static bool number_read(const char **at, uint64_t *out)
{
    char *end;
    errno = 0;
    if (!isdigit((unsigned char)**at))
        return false;
    *out = strtoull(*at, &end, 10);
    *at = end;
    return errno == 0;
}

/// "a" or "a-b".
static bool range_read(const char **at, uint64_t *first, uint64_t *last)
{
    if (!number_read(at, first))
        return false;
    *last = *first;
    if (**at != '-')
        return true;
    (*at)++;
    return number_read(at, last) && *last >= *first;
}

static bool parse_blocks(const char *text, void *field, option_problem *problem)
{
    block_list *list = field;
    uint64_t first, last;
    for (const char *at = text;; at++) {
        if (!range_read(&at, &first, &last) || (*at && *at != ','))
            return option_wrong(problem, "wanted ids and ranges like 0-3,7");
        uint64_t more = last - first;
        if (more >= blocks_max - list->count)
            return option_wrong(problem, "at most %" PRIu64 " blocks can be named", blocks_max);
        list->ids = text_memory(list->ids, (list->count + more + 1) * sizeof(*list->ids));
        for (uint64_t id = first; id <= last && id >= first; id++)
            list->ids[list->count++] = id;
        if (!*at)
            return true;
    }
}

static void move_drop(void *values)
{
    move_values *given = values;
    free(given->blocks.ids);
    free(given->to_blocks.ids);
}

static bool parse_layers(const char *text, void *field, option_problem *problem)
{
    layer_range *range = field;
    uint64_t first, last;
    const char *at = text;
    if (!range_read(&at, &first, &last) || *at || last >= UINT32_MAX)
        return option_wrong(problem, "wanted a layer or a range like 0-39");
    *range = (layer_range){true, (uint32_t)first, (uint32_t)last};
    return true;
}

static bool move_check(const void *values, option_problem *problem)
{
    const move_values *given = values;
    layout_end from, to;
    if (!layout_end_parse("source", given->from, &from, problem) ||
        !layout_end_parse("target", given->to, &to, problem))
        return false;
    if (given->verify && !given->fill && layout_end_is_fresh(&from))
        return option_wrong(problem, "--verify would compare zeros with zeros: the source is fresh "
                                     "memory, --fill gives it contents");
    if (from.config.page_size != to.config.page_size && !given->to_blocks.count)
        return option_wrong(problem,
                            "the pages have %" PRIu64 " and %" PRIu64
                            " tokens: --to-blocks says which blocks are meant",
                            from.config.page_size, to.config.page_size);
    if (given->secret_file && from.at.storage != DRAY_STORAGE_REMOTE &&
        to.at.storage != DRAY_STORAGE_REMOTE)
        return option_wrong(problem, "--secret-file is about agents, and none takes part");
    return true;
}

// --- agent ---------------------------------------------------------------------------------------------

static bool is_far(const layout_end *end)
{
    return end->at.storage == DRAY_STORAGE_REMOTE && !location_is_here(end->at.address);
}

/// The backends of all devices and agents that take part.
static dray_status agent_make(move_job *job)
{
    layout_end *const ends[] = {&job->from, &job->to};
    const char *names[8] = {"posix"};
    size_t count = 1;
    bool remote = false;
    for (size_t i = 0; i < 2; i++) {
        dray_device_info info;
        remote = remote || ends[i]->at.storage == DRAY_STORAGE_REMOTE;
        if (!ends[i]->device)
            continue;
        dray_status status = dray_device_get_info(ends[i]->device, &info, &job->base.error);
        if (status != DRAY_OK)
            return status;
        if (info.backend)
            names[count++] = info.backend;
        if (info.capabilities & (DRAY_DEVICE_PINNED | DRAY_DEVICE_REGISTER))
            job->staging_device = ends[i]->device;
    }
    if (remote) {
        dray_status status = secret_read(job->given->secret_file, &job->shared, &job->base.error);
        if (status != DRAY_OK)
            return status;
        names[count++] = "ucx";
    }
    dray_agent_options options = {
        .struct_bytes = sizeof(options),
        .name = "layout-move",
        .backends = count > 1 ? names : NULL,
        .reach = is_far(&job->from) || is_far(&job->to) ? DRAY_REACH_NETWORK : DRAY_REACH_HOST};
    return dray_agent_create(job->base.context, &options, &job->agent, &job->base.error);
}

static dray_status ends_open(move_job *job)
{
    dray_error *error = &job->base.error;
    dray_context *context = job->base.context;
    option_problem problem;
    layout_end_parse("source", job->given->from, &job->from, &problem); // checked before
    layout_end_parse("target", job->given->to, &job->to, &problem);
    dray_status status = location_open_device(&job->from.at, context, &job->from.device, error);
    // opened twice it would be two devices, with the host between them
    bool one_device = job->from.device && strcmp(job->from.at.device, job->to.at.device) == 0;
    if (one_device)
        job->to.device = dray_device_retain(job->from.device);
    else if (status == DRAY_OK)
        status = location_open_device(&job->to.at, context, &job->to.device, error);
    if (status == DRAY_OK)
        status = agent_make(job);
    if (status == DRAY_OK)
        status = layout_end_open(&job->from, job->agent, &job->shared, job->given->fill, error);
    if (status == DRAY_OK && job->given->fill)
        status = dray_layout_fill(job->agent, job->from.layout, NULL, error);
    if (status == DRAY_OK)
        status = layout_end_open(&job->to, job->agent, &job->shared, true, error);
    return status;
}

// --- moving ----------------------------------------------------------------------------------------------

static void on_plan_line(void *self, const char *text, size_t bytes)
{
    move_job *job = self;
    if (!job->given->explain)
        return;
    size_t length = bytes && text[bytes - 1] == '\n' ? bytes - 1 : bytes;
    job->reasons = text_memory(job->reasons, (job->reason_count + 1) * sizeof(*job->reasons));
    job->reasons[job->reason_count++] = text_safe(text, length);
}

static void move_describe(move_job *job)
{
    const move_values *given = job->given;
    const block_list *to_blocks = given->to_blocks.count ? &given->to_blocks : &given->blocks;
    job->move = (dray_layout_move){.struct_bytes = sizeof(job->move),
                                   .sources = &job->from.layout,
                                   .targets = &job->to.layout,
                                   .source_count = 1,
                                   .target_count = 1,
                                   .source_blocks = given->blocks.ids,
                                   .target_blocks = to_blocks->ids,
                                   .source_block_count = given->blocks.count,
                                   .target_block_count = to_blocks->count};
    if (given->layers.given) {
        job->move.source_layer = job->move.target_layer = given->layers.first;
        job->move.layer_count = given->layers.last - given->layers.first + 1;
    }
}

static dray_status plan_make(move_job *job)
{
    const dray_plan_options options = {.struct_bytes = sizeof(options),
                                       .staging_device = job->staging_device};
    double begin = progress_now();
    dray_status status =
        dray_layout_plan_move(job->agent, &job->move, &options, &job->plan, &job->base.error);
    if (status != DRAY_OK)
        return status;
    job->planning_seconds = progress_now() - begin;
    dray_plan_summarize(job->plan, &job->summary);
    dray_plan_print(job->plan, 0, on_plan_line, job);
    return dray_transfer_create(job->agent, job->plan, NULL, &job->transfer, &job->base.error);
}

static dray_status transfer_await(move_job *job)
{
    struct timespec now;
    dray_transfer_progress done;
    for (;;) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        int64_t deadline = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec + look_every_ns;
        dray_status status = dray_transfer_wait(job->transfer, deadline, &job->base.error);
        if (status != DRAY_E_TIMEOUT)
            return status;
        dray_transfer_get_progress(job->transfer, &done);
        if (!progress_update(&job->bar, done.bytes_done, done.bytes_total))
            return dray_fail(&job->base.error, DRAY_E_CANCELLED,
                             "stopped with %" PRIu64 " of %" PRIu64 " bytes moved", done.bytes_done,
                             done.bytes_total);
    }
}

static dray_status blocks_move(move_job *job)
{
    move_describe(job);
    dray_status status = plan_make(job);
    if (status != DRAY_OK)
        return status;
    progress_begin(&job->bar, "moving");
    double begin = progress_now();
    status = dray_transfer_submit(job->transfer, &job->base.error);
    if (status == DRAY_OK)
        status = transfer_await(job);
    if (status == DRAY_OK)
        status = layout_end_sync(&job->to, &job->base.error);
    job->seconds = progress_now() - begin;
    progress_end(&job->bar);
    dray_plan_describe(job->agent, job->plan, job->backend, sizeof(job->backend));
    if (status == DRAY_OK && job->given->verify)
        status = layout_verify(job->agent, &job->move, &job->verified_bytes, &job->base.error);
    return status;
}

// --- output ------------------------------------------------------------------------------------------------

static double gigabytes_per_second(const move_job *job)
{
    return job->seconds > 0 ? (double)job->summary.bytes / 1e9 / job->seconds : 0;
}

static void end_out(json_out *json, const layout_end *end)
{
    char line[DRAY_LAYOUT_TEXT_BYTES], place[LOCATION_TEXT_BYTES];
    dray_layout_print(&end->config, line);
    json_object_flat(json, end->name);
    json_string(json, "layout", line);
    json_string(json, "place", location_text(&end->at, place));
    json_end(json);
}

static void document_out(const move_job *job)
{
    json_out json = json_begin(stdout);
    json_object(&json, NULL);
    end_out(&json, &job->from);
    end_out(&json, &job->to);
    json_u64(&json, "source_blocks", job->move.source_block_count);
    json_u64(&json, "target_blocks", job->move.target_block_count);
    json_u64(&json, "bytes", job->summary.bytes);
    json_rounded(&json, "seconds", job->seconds);
    json_rounded(&json, "gigabytes_per_second", gigabytes_per_second(job));
    json_rounded(&json, "planning_seconds", job->planning_seconds);
    json_u64(&json, "copies", job->summary.copies);
    json_u64(&json, "segments", job->summary.segments);
    json_u64(&json, "hops", job->summary.hops);
    json_u64(&json, "staging_bytes", job->summary.staging_bytes);
    json_u64(&json, "direct_bytes", job->summary.direct_bytes);
    json_string(&json, "backend", job->backend);
    json_bool(&json, "filled", job->given->fill);
    json_bool(&json, "verified", job->given->verify);
    if (job->given->explain) {
        json_array(&json, "explain");
        for (size_t i = 0; i < job->reason_count; i++)
            json_string(&json, NULL, job->reasons[i]);
        json_end(&json);
    }
    json_end(&json);
    json_finish(&json);
}

static void print_move(const move_job *job)
{
    static const table_column columns[] = {{NULL, TABLE_LEFT, 0}, {NULL, TABLE_LEFT, TABLE_CUT_END}};
    char bytes[TEXT_NUMBER_BYTES], seconds[TEXT_NUMBER_BYTES], from[LOCATION_TEXT_BYTES],
        to[LOCATION_TEXT_BYTES], line[DRAY_LAYOUT_TEXT_BYTES];
    for (size_t i = 0; i < job->reason_count; i++) {
        char *reason = text_rounded(job->reasons[i]);
        printf("  %s\n", reason);
        free(reason);
    }
    printf("%s%" PRIu64 " blocks, %s, from %s to %s in %s%s\n", terminal_bold(stdout),
           job->move.source_block_count, text_bytes(bytes, job->summary.bytes),
           location_text(&job->from.at, from), location_text(&job->to.at, to),
           text_seconds(seconds, job->seconds), terminal_plain(stdout));
    table *rows = table_create(columns, 2);
    dray_layout_print(&job->from.config, line);
    table_cell(rows, "source");
    table_cell(rows, "%s", line);
    dray_layout_print(&job->to.config, line);
    table_cell(rows, "target");
    table_cell(rows, "%s", line);
    table_cell(rows, "rate");
    table_cell(rows, "%.2f GB/s", gigabytes_per_second(job));
    table_cell(rows, "method");
    table_cell(rows, "%s", job->backend);
    table_cell(rows, "copies");
    table_cell(rows, "%" PRIu64 ", planned in %s", job->summary.copies,
               text_seconds(seconds, job->planning_seconds));
    table_cell(rows, "verified");
    if (job->given->verify)
        table_cell(rows, "%s read back from both sides and compared head by head",
                   text_bytes(bytes, job->verified_bytes));
    else
        table_cell(rows, "no (--verify reads both sides back)");
    table_print(rows, stdout, 2);
    table_destroy(rows);
}

// --- the verb ------------------------------------------------------------------------------------------------

static void job_end(move_job *job, bool failed)
{
    dray_transfer_destroy(job->transfer);
    dray_plan_destroy(job->plan);
    layout_end_close(&job->from, failed);
    layout_end_close(&job->to, failed);
    dray_agent_destroy(job->agent);
    secret_wipe(&job->shared);
    for (size_t i = 0; i < job->reason_count; i++)
        free(job->reasons[i]);
    free(job->reasons);
}

static int layout_move_run(const void *values)
{
    const move_values *given = values;
    move_job job = {.base = session_begin("layout move", given->json), .given = given};
    dray_status status = session_context(&job.base, given->threads);
    if (status == DRAY_OK)
        status = ends_open(&job);
    if (status == DRAY_OK)
        status = blocks_move(&job);
    if (status == DRAY_OK && given->json)
        document_out(&job);
    else if (status == DRAY_OK)
        print_move(&job);
    job_end(&job, status != DRAY_OK);
    return session_end(&job.base, status, false);
}

static const option layout_move_options[] = {
    {"from", "SPEC", "where the blocks are: LAYOUT@PLACE", .parse = option_text, .required = true,
     .at = offsetof(move_values, from)},
    {"to", "SPEC", "where they go: LAYOUT@PLACE", .parse = option_text, .required = true,
     .at = offsetof(move_values, to)},
    {"blocks", "LIST", "ids and ranges of source blocks, like 0-3,7", .parse = parse_blocks,
     .required = true, .at = offsetof(move_values, blocks)},
    {"to-blocks", "LIST", "their places in the target (default: the same ids)",
     .parse = parse_blocks, .at = offsetof(move_values, to_blocks)},
    {"layers", "a-b", "only these layers, from and to the same ones (default: all)",
     .parse = parse_layers, .at = offsetof(move_values, layers)},
    {"fill", NULL, "first give the source contents in which every token is distinct",
     .at = offsetof(move_values, fill)},
    {"verify", NULL, "read both sides back afterwards and compare them, head by head",
     .at = offsetof(move_values, verify)},
    {"secret-file", "PATH", "agent://: the secret shared with the agent (default: $DRAY_SECRET)",
     .parse = option_text, .at = offsetof(move_values, secret_file)},
    {"threads", "N", "threads of the pool; 0: none (default: one per processor, 16 at most)",
     .parse = option_count, .at = offsetof(move_values, threads)},
    {"explain", NULL, "say what ran: the routes, and what was staged where",
     .at = offsetof(move_values, explain)},
    {"json", NULL, "one JSON document on standard output", .at = offsetof(move_values, json)},
    {0},
};

const command command_layout_move = {
    .name = "layout move",
    .summary = "blocks from one layout to another, reshaped on the way",
    .description =
        "A SPEC is one line, LAYOUT@PLACE:\n"
        "  contiguous,blocks=256,layers=80,outer=2,page=16,inner=1024,dtype=2,heads=8,format=NHD@pinned\n"
        "LAYOUT begins with contiguous, layer-separate:block-first or layer-separate:block-second; PLACE is\n"
        "system, pinned, disk:PATH, a device like opencl:0, managed:DEVICE, or agent://HOST:PORT/REGION.\n"
        "A file that exists and has the right size is used as it is: its contents are the blocks, at the\n"
        "offsets that `dray layout plan --memory disk` prints. Only --fill overwrites a source. A target that\n"
        "does not exist is made, and removed when the move fails. Where pages differ, tokens follow the order\n"
        "of both lists.\n",
    .options = layout_move_options,
    .values_bytes = sizeof(move_values),
    .check = move_check,
    .run = layout_move_run,
    .drop = move_drop,
};
