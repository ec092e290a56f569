/// cli/copy_job: what the parts of `dray copy` share: cmd_copy.c reads the command line and reports,
/// copy_places.c opens both sides, copy_ways.c moves the bytes.
///
/// Through a third place two windows take turns: while one is being filled from the source, the other is
/// emptied into the target.
#ifndef DRAY_CLI_COPY_JOB_H
#define DRAY_CLI_COPY_JOB_H

#include "command.h"
#include "location.h"
#include "progress.h"
#include "secret.h"

#define COPY_WINDOWS 2
#define COPY_WINDOW_BYTES_MOST (UINT64_C(64) << 20)

typedef struct copy_values {
    const char *source, *target;
    uint64_t bytes;
    location via;
    option_number threads;
    const char *secret_file;
    bool replace, verify, explain, json;
} copy_values;

/// One side of the copy.
typedef struct copy_end {
    location at;
    dray_device *device; // or NULL
    dray_region *region;
    bool made; // a file that has to go again when the copy fails
    char digest[65];
} copy_end;

/// A way that was planned, and the transfer that runs it.
typedef struct copy_way {
    dray_plan *plan;
    dray_transfer *transfer;
} copy_way;

typedef struct copy_window {
    dray_region *region;
    copy_way in, out;
} copy_window;

typedef struct copy_job {
    session base;
    const copy_values *given;
    progress bar;
    copy_end source, target;
    dray_device *via_device;
    secret secret;
    dray_device *staging_device; // whose driver locks the staging; NULL: nobody's
    dray_agent *agent;
    copy_way straight;
    copy_window windows[COPY_WINDOWS];
    uint64_t window_bytes; // 0: no windows
    uint64_t bytes, bytes_done;
    uint64_t staging_bytes;
    double seconds, cpu_seconds;
    char backend[160];
    char **reasons; // of --explain
    size_t reason_count;
} copy_job;

/// Fresh memory is as large as it is made; files and peers' regions are there already.
bool copy_has_size(const location *at);
/// Fresh memory of that kind.
dray_status copy_memory_make(copy_job *job, const location *at, dray_device *device, uint64_t bytes,
                             dray_region **out);
/// Opens both sides and the agent; fills a source that is memory.
dray_status copy_places_open(copy_job *job);

/// One copy outside the clock and the report.
dray_status copy_run_once(copy_job *job, const dray_copy *copy);
/// Moves all bytes, and measures.
dray_status copy_bytes(copy_job *job);
/// Reads both sides back.
dray_status copy_verify(copy_job *job);
/// Waits for what is in flight and lets plans and windows go.
void copy_ways_end(copy_job *job);

#endif
