/// Benchmarks: cases that do the same work, run in turn (A B C, A B C, ...), printed as JSON lines.
///
/// A benchmark never passes or fails: it says what it measured. Machines are shared and noisy, so every
/// line carries median, smallest and largest, and the ratios are taken round by round between cases
/// that ran one after the other.
#ifndef DRAY_BENCH_BENCH_H
#define DRAY_BENCH_BENCH_H

#include "dray/dray.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { bench_rounds_max = 64 };

/// One measured run.
typedef struct bench_run {
    double seconds;     // until the last byte is usable
    double cpu_seconds; // of this process, user and system
    double apart_seconds,
        apart_cpu_seconds; // prepared before the clock ran (pre-faulting of the limit case)
    uint64_t bytes;
    uint64_t peak_extra_bytes; // resident above the destination at its highest; 0: not measured
    char note[96];
} bench_run;

typedef struct bench_samples {
    bench_run runs[bench_rounds_max];
    uint32_t count;
} bench_samples;

typedef struct bench_spread {
    double median, smallest, largest;
} bench_spread;

double bench_now(void);                                       // seconds, monotonic
double bench_cpu(void);                                       // seconds of the process
uint64_t bench_resident(void);                                // bytes now
bench_spread bench_spread_of(double *values, uint32_t count); // sorts
/// ,"name":{"median":..,"min":..,"max":..}
void bench_print_spread(FILE *out, const char *name, bench_spread spread);

/// Page cache of a file: emptied (false: not possible here) or filled.
bool bench_evict(const char *path);
bool bench_fill(const char *path);
/// Touches and frees that much memory. A virtual machine gives freed memory back to its host after a while, and
/// the next first touch is many times slower: without this, every case would measure how long ago the
/// one before it ran.
void bench_settle_memory(uint64_t bytes);

// baselines, each as a good engineer would write it; false with a sentence in run->note when impossible
bool bench_read_fresh(const char *path, bool huge_pages, bench_run *run);
bool bench_map_touch(const char *path, bench_run *run);
bool bench_ring_direct(const char *path,
                       bench_run *run); // the limit: O_DIRECT ring into pre-faulted memory

/// Header files for the parse cases, made from a fixed state.
bool bench_write_gguf(const char *path, uint32_t tensors, uint32_t tokens, uint32_t token_bytes);
bool bench_write_safetensors(const char *path, uint32_t tensors);

typedef struct bench_weights_options {
    const char *model;   // file to load; NULL: only the parse cases
    const char *scratch; // folder for the files the bench makes
    uint32_t rounds;
    bool cold, warm, headers;
} bench_weights_options;
dray_status bench_weights(dray_context *context, const bench_weights_options *options, FILE *out,
                          dray_error *error);

typedef struct bench_hints_options {
    const char *scratch; // folder on a disk, for the file that the bench makes
    uint64_t file_bytes; // of it; 0: no file
    const char *device;  // to prefetch to, "cuda:0"; NULL: none
    uint32_t rounds;
} bench_hints_options;
dray_status bench_hints(dray_context *context, const bench_hints_options *options, FILE *out,
                        dray_error *error);
/// Its part about the simulator.
dray_status bench_simulate(dray_context *context, uint32_t rounds, FILE *out, dray_error *error);
/// Its part about prefetches to a device ("cuda:0").
dray_status bench_hint_device(dray_context *context, const char *name, uint32_t rounds, FILE *out,
                              dray_error *error);

typedef struct bench_transfer_options {
    const char *disk;        // folder on a disk; NULL: none
    const char *tmpfs;       // folder on a tmpfs; NULL: none
    const char *device;      // "opencl:0"; NULL: none
    const char *nixl;        // a libnixl_capi.so to measure beside; NULL: none
    const char *nixl_engine; // "AIO", "URING" or "POSIXAIO"
    bool ucx;                // a peer in another process, too
    uint64_t block_bytes;    // only this size; 0: all
    uint32_t batch;          // only this many; 0: all
    uint32_t rounds;
} bench_transfer_options;
dray_status bench_transfer(dray_context *context, const bench_transfer_options *options, FILE *out,
                           dray_error *error);

typedef struct bench_module_options {
    const char *scratch; // folder for the libraries the bench makes
    const char *tvm_ffi; // path of libtvm_ffi.so, as a baseline; NULL: none
    uint64_t bytes;      // only this size of a library; 0: 1 MB and 100 MB
    uint32_t rounds;
} bench_module_options;
dray_status bench_module(dray_context *context, const bench_module_options *options, FILE *out,
                         dray_error *error);

/// Blocks of one batch, in the order in which they move: block i of the list is at order[i] * block_bytes.
typedef struct bench_batch {
    uint64_t block_bytes;
    uint32_t count;
    uint32_t repeats; // of the whole batch in one run
    const uint32_t *order;
} bench_batch;

// baselines of transfers (bench_transfer_baselines.c); one run each
void bench_memcpy(const bench_batch *batch, uint8_t *to, const uint8_t *from);
void bench_stream_copy(const bench_batch *batch, uint8_t *to,
                       const uint8_t *from); // non-temporal stores
bool bench_plain_io(const bench_batch *batch, int fd, uint8_t *memory, bool write);
typedef struct bench_ring bench_ring;
bench_ring *bench_ring_open(void); // NULL: not here
bool bench_ring_io(bench_ring *ring, const bench_batch *batch, int fd, uint8_t *memory, bool write);
void bench_ring_close(bench_ring *ring);
/// A loop of enqueues into one queue of the device's own context, and a finish.
typedef struct bench_queue bench_queue;
bench_queue *bench_queue_open(dray_device *device); // NULL: no OpenCL device
bool bench_queue_io(bench_queue *queue, const bench_batch *batch, dray_region *buffer,
                    uint8_t *memory, bool to_device);
void bench_queue_close(bench_queue *queue);

typedef struct bench_layout_options {
    const char *disk;      // folder for the file tier; NULL: it is left out
    uint32_t page, blocks; // only this many tokens a page, this many blocks; 0: all
    uint64_t memory_bytes; // most of one side; larger cases are left out
    uint32_t rounds;
} bench_layout_options;
dray_status bench_layout(dray_context *context, const bench_layout_options *options, FILE *out,
                         dray_error *error);

#endif
