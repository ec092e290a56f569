/// Inside dray bench transfer: one way that is measured, the batch that is measured over it, and the cases
/// that move it.
///
///   bench_transfer.c            the cases over memory, files and devices; all of it in order
///   bench_transfer_run.c        rounds, ratios, JSON lines; plans; the check of the bytes
///   bench_transfer_more.c       planning without moving; staged pipelines
///   bench_transfer_baselines.c  memcpy, streaming stores, pread, io_uring, OpenCL
///   bench_ucx.c, bench_ucp.c, bench_perftest.c   a peer in another process, and what it is held against
///   bench_nixl.c                NIXL through its C library
#ifndef DRAY_BENCH_BENCH_TRANSFER_H
#define DRAY_BENCH_BENCH_TRANSFER_H

#include "bench.h"
#include <dray/device.h>

enum { bench_cases_most = 6, bench_batch_most = 256 };
#define BENCH_SET_BYTES (UINT64_C(256) << 20) // larger batches are left out

/// One way that is measured.
typedef struct bench_way {
    const char *name; // "memory", "tmpfs read", ...
    bool direct;
    bool write;       // memory is the source
    bool device;      // the other side is a device, and no file
    bool remote;      // the other side is another process
    const char *path; // NULL: no file
} bench_way;

typedef struct bench_peer bench_peer; // bench_ucx.c
typedef struct bench_nixl bench_nixl; // bench_nixl.c

typedef struct bench_transfer_state {
    dray_context *context;
    const bench_transfer_options *options;
    FILE *out;
    dray_agent *agent;
    dray_device *device;
    bench_ring *ring;
    bench_queue *queue;
    bench_nixl *nixl;
    bench_peer *peer;
    dray_region *memory, *other; // both of BENCH_SET_BYTES
    const uint8_t *other_bytes;  // of a peer: its memory as we see it; NULL: the region tells
    const bench_way *now;
    int fd;
    bench_batch batch;
    dray_plan *plan;
    dray_transfer *transfer;
    struct pipeline *pipeline; // bench_transfer_more.c
    double own_seconds;        // a case that measured itself says so here
    dray_error *error;
} bench_transfer_state;

typedef struct bench_case {
    const char *name;
    bool (*run)(bench_transfer_state *state);
    double rates[bench_rounds_max], cpu[bench_rounds_max];
    bool refused;
} bench_case;

// bench_transfer_run.c
/// Measures all batches over the way that state->now says; `all` holds dray first.
dray_status bench_way_run(bench_transfer_state *state, const bench_case *cases, uint32_t count,
                          dray_error *error);
bool bench_case_dray(bench_transfer_state *state);
void bench_plan_drop(bench_transfer_state *state);
uint64_t bench_set_bytes(const bench_transfer_state *state);
/// Fills the memory with bytes of this batch.
void bench_fill_memory(bench_transfer_state *state);
void bench_order_shuffle(uint32_t *order, uint32_t count);
/// The rounds of one batch, and their lines. all[0] is held against the others.
void bench_rounds(bench_transfer_state *state, bench_case *all, uint32_t count);
void bench_cases_print(const bench_transfer_state *state, const bench_case *all, uint32_t count);

// bench_transfer_more.c
dray_status bench_overhead(bench_transfer_state *state, dray_error *error);
/// A file to the device through staging, beside either hop alone.
dray_status bench_staged(bench_transfer_state *state, dray_region *file, dray_region *device,
                         dray_error *error);

// bench_ucx.c
dray_status bench_ucx(bench_transfer_state *state, dray_error *error);

// bench_ucp.c: a raw UCP loop, ours, with dray's settings. NULL: no UCX here.
typedef struct bench_ucp bench_ucp;
/// In the serving process: writes what the client needs to know to `report_fd`, returns when
/// `control_fd` ends.
void bench_ucp_serve(uint8_t *memory, uint64_t bytes, int control_fd, int report_fd);
bench_ucp *bench_ucp_connect(int report_fd);
bool bench_ucp_io(bench_ucp *ucp, const bench_batch *batch, uint8_t *memory, bool write);
void bench_ucp_close(bench_ucp *ucp);

// bench_perftest.c: ucx_perftest as installed, with the same settings. Seconds for one turn of the batch; < 0:
// not possible here.
double bench_perftest(const bench_batch *batch, bool write);

// bench_nixl.c
/// Loads a libnixl_capi.so. NULL: it does not work, `why` says so.
bench_nixl *bench_nixl_open(const char *library, const char *engine, uint8_t *memory,
                            uint64_t bytes, const char **out_why);
/// Makes ready for one batch of a file; bench_nixl_io moves it.
bool bench_nixl_prepare(bench_nixl *nixl, const bench_batch *batch, int fd, bool write);
bool bench_nixl_io(bench_nixl *nixl, uint32_t repeats);
void bench_nixl_forget(bench_nixl *nixl);
void bench_nixl_close(bench_nixl *nixl);

#endif
