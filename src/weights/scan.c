#include "weights/scan.h"

#include "base/checked.h"
#include "os/os.h"
#include "os/pool.h"

#include <inttypes.h>

static const uint64_t window_default = 32 << 20;
static const uint64_t piece_bytes = 4 << 20;

typedef struct scan_run scan_run;

/// Looking at one range of a window.
typedef struct glance {
    drayi_job job; // first: the pool hands back a pointer to it
    const scan_run *run;
    uint64_t range;
    const uint8_t *bytes;
    drayi_latch *latch;
} glance;

typedef struct scan_window {
    dray_region *memory;
    uint64_t first, count; // ranges
    drayi_placement placement;
    dray_plan *plan;
    dray_transfer *transfer;
    glance *glances; // as many as the scan has ranges at most in one window
    drayi_latch latch;
} scan_window;

struct scan_run {
    const drayi_scan *scan;
    dray_agent *own_agent, *agent;
    uint64_t window_bytes, glance_room;
    uint64_t next; // range
    uint64_t bytes_done, bytes_total;
    scan_window windows[2];
};

// --- windows -------------------------------------------------------------------------------------

/// Ranges from `first` on that fit into one window: every one may start a stretch of its own.
static uint64_t ranges_that_fit(const scan_run *run, uint64_t first)
{
    const drayi_scan *scan = run->scan;
    uint64_t used = 0, count = 0;
    while (first + count < scan->range_count) {
        uint64_t more = scan->ranges[first + count].bytes + scan->alignment;
        if (count > 0 && more > run->window_bytes - used)
            break;
        used += more;
        count++;
    }
    return count;
}

/// Both windows together take a quarter of what there is, where that is little: a cgroup, a small machine.
static uint64_t window_that_fits(const drayi_env *env)
{
    drayi_memory_facts memory;
    if (env->os->memory_facts(&memory) < 0)
        return window_default;
    return drayi_min(window_default, drayi_max(memory.available_bytes / 8, piece_bytes));
}

/// The window that holds the largest range, and the most ranges that any window gets.
static dray_status windows_size(scan_run *run, dray_error *error)
{
    const drayi_scan *scan = run->scan;
    run->window_bytes = window_that_fits(scan->env);
    if (scan->window_bytes_most)
        run->window_bytes = drayi_min(run->window_bytes, scan->window_bytes_most);
    for (uint64_t i = 0; i < scan->range_count; i++) {
        uint64_t wanted;
        if (!drayi_add(scan->ranges[i].bytes, scan->alignment, &wanted))
            return dray_fail(error, DRAY_E_NOSPACE, "scan: a range of %" PRIu64 " bytes",
                             scan->ranges[i].bytes);
        run->window_bytes = drayi_max(run->window_bytes, wanted);
        run->bytes_total += scan->ranges[i].bytes;
    }
    for (uint64_t first = 0; first < scan->range_count;) {
        uint64_t count = ranges_that_fit(run, first);
        run->glance_room = drayi_max(run->glance_room, count);
        first += count;
    }
    return DRAY_OK;
}

static dray_status window_open(const scan_run *run, scan_window *window, dray_error *error)
{
    const drayi_scan *scan = run->scan;
    dray_region_options options = {
        .struct_bytes = sizeof(options),
        .bytes = run->window_bytes + scan->alignment, // and its phase
        .alignment = scan->alignment,
    };
    DRAY_TRY(dray_region_create(scan->context, &options, &window->memory, error));
    window->glances =
        drayi_alloc_array(scan->env, run->glance_room, sizeof(*window->glances), error);
    return window->glances ? DRAY_OK : DRAY_E_NOMEM;
}

/// After it nothing of the window is in use.
static void window_rest(scan_window *window)
{
    dray_transfer_destroy(window->transfer);
    dray_plan_destroy(window->plan);
    drayi_placement_free(&window->placement);
    window->transfer = NULL;
    window->plan = NULL;
    window->count = 0;
}

static void window_close(const scan_run *run, scan_window *window)
{
    drayi_latch_wait(&window->latch);
    drayi_latch_free(&window->latch);
    window_rest(window);
    drayi_free(run->scan->env, window->glances, (size_t)run->glance_room * sizeof(*window->glances));
    dray_region_release(window->memory);
}

// --- reading -------------------------------------------------------------------------------------

static dray_status window_plan(const scan_run *run, scan_window *window, dray_error *error)
{
    const drayi_scan *scan = run->scan;
    const drayi_placement *placement = &window->placement;
    dray_copy *copies = drayi_alloc_array(scan->env, placement->piece_count, sizeof(*copies), error);
    if (!copies)
        return DRAY_E_NOMEM;
    for (uint64_t i = 0; i < placement->piece_count; i++)
        copies[i] = (dray_copy){
            .source = scan->regions[placement->pieces[i].file],
            .target = window->memory,
            .source_offset = placement->pieces[i].file_offset,
            .target_offset = placement->phase + placement->pieces[i].target_offset,
            .run_bytes = placement->pieces[i].bytes,
        };
    dray_plan_options options = {
        .struct_bytes = sizeof(options), .direct = scan->direct, .targets_disjoint = 1};
    dray_status status = dray_plan_create(run->agent, copies, placement->piece_count, &options,
                                          &window->plan, error);
    drayi_free(scan->env, copies, (size_t)placement->piece_count * sizeof(*copies));
    return status;
}

/// Starts reading the next ranges into the window, if there are any.
static dray_status window_start(scan_run *run, scan_window *window, dray_error *error)
{
    const drayi_scan *scan = run->scan;
    window_rest(window);
    window->first = run->next;
    window->count = ranges_that_fit(run, run->next);
    run->next += window->count;
    if (window->count == 0)
        return DRAY_OK;
    drayi_place_options options = {.alignment = scan->alignment,
                                   .gap_most = 0, // what lies between is of no interest
                                   .piece_bytes = drayi_max(piece_bytes, scan->alignment)};
    DRAY_TRY(drayi_place(scan->env, scan->ranges + window->first, window->count, &options,
                         &window->placement, error));
    DRAY_TRY(window_plan(run, window, error));
    DRAY_TRY(dray_transfer_create(run->agent, window->plan, NULL, &window->transfer, error));
    return dray_transfer_submit(window->transfer, error);
}

static dray_status window_wait(scan_window *window, dray_error *error)
{
    dray_status status = dray_transfer_wait(window->transfer, -1, error);
    if (status == DRAY_OK || !error)
        return status;
    uint64_t piece = error->index;
    error->index = DRAY_UNKNOWN;
    if (piece < window->placement.piece_count && window->placement.pieces[piece].range_count > 0)
        error->index = window->first + window->placement.pieces[piece].first_range;
    return status;
}

// --- looking -------------------------------------------------------------------------------------

static void glance_run(drayi_job *job)
{
    glance *each = (glance *)job;
    each->run->scan->look(each->run->scan->self, each->range, each->bytes);
    drayi_latch_done(each->latch);
}

static const uint8_t *range_bytes(const scan_window *window, uint64_t at)
{
    const uint8_t *memory = dray_region_pointer(window->memory);
    return memory + window->placement.phase + window->placement.placed[at].target_offset;
}

static void window_look(const scan_run *run, scan_window *window)
{
    for (uint64_t i = 0; i < window->count; i++) {
        uint64_t range = window->first + i;
        if (run->scan->ranges[range].bytes == 0)
            continue;
        window->glances[i] = (glance){.job = {.run = glance_run},
                                      .run = run,
                                      .range = range,
                                      .bytes = range_bytes(window, i),
                                      .latch = &window->latch};
        drayi_latch_add(&window->latch, 1);
        drayi_pool_run(run->scan->env->pool, &window->glances[i].job);
    }
}

static dray_status window_take(scan_run *run, scan_window *window, dray_error *error)
{
    const drayi_scan *scan = run->scan;
    drayi_latch_wait(&window->latch);
    for (uint64_t i = 0; i < window->count; i++) {
        if (scan->take)
            DRAY_TRY(scan->take(scan->self, window->first + i, range_bytes(window, i), error));
        run->bytes_done += scan->ranges[window->first + i].bytes;
    }
    if (scan->progress && !scan->progress(scan->self, run->bytes_done, run->bytes_total))
        return dray_fail(error, DRAY_E_CANCELLED, "stopped by the caller");
    return DRAY_OK;
}

static dray_status scan_all(scan_run *run, dray_error *error)
{
    scan_window *reading = &run->windows[0], *looked_at = &run->windows[1];
    DRAY_TRY(window_start(run, reading, error));
    while (reading->count > 0) {
        DRAY_TRY(window_wait(reading, error));
        window_look(run, reading);
        scan_window *swap = reading;
        reading = looked_at;
        looked_at = swap;
        DRAY_TRY(window_start(run, reading, error));
        DRAY_TRY(window_take(run, looked_at, error));
    }
    return DRAY_OK;
}

static dray_status scan_build(scan_run *run, dray_error *error)
{
    const drayi_scan *scan = run->scan;
    dray_agent_options options = {.struct_bytes = sizeof(options), .name = "scan"};
    DRAY_TRY(windows_size(run, error));
    if (!scan->agent)
        DRAY_TRY(dray_agent_create(scan->context, &options, &run->own_agent, error));
    run->agent = scan->agent ? scan->agent : run->own_agent;
    DRAY_TRY(window_open(run, &run->windows[0], error));
    return window_open(run, &run->windows[1], error);
}

dray_status drayi_scan_run(const drayi_scan *scan, dray_error *error)
{
    scan_run run = {.scan = scan};
    drayi_latch_init(&run.windows[0].latch);
    drayi_latch_init(&run.windows[1].latch);
    dray_status status = scan_build(&run, error);
    if (status == DRAY_OK)
        status = scan_all(&run, error);
    window_close(&run, &run.windows[0]);
    window_close(&run, &run.windows[1]);
    dray_agent_destroy(run.own_agent);
    return status;
}
