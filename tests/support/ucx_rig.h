/// Two ends of a connection for tests: agents with the backend ucx, in one process or in two.
///
/// A peer process is this test program again, started with "peer" as its first argument: main() of a test
/// that uses ucx_peer_start() calls ucx_peer_main() first. It has one region, named "memory", writable,
/// full of ucx_byte(seed, ...), and does what it is told over a pipe; notices that it gets are counted.
#ifndef DRAY_TESTS_UCX_RIG_H
#define DRAY_TESTS_UCX_RIG_H

#include "counting_allocator.h"
#include "dray/agent.h"

#include <stdbool.h>
#include <sys/types.h>

enum { UCX_BLOB = 4096 };

typedef struct ucx_end {
    counting_allocator counter;
    dray_context *context;
    dray_agent *agent;
    dray_region *region;
    dray_descriptor descriptor;
    dray_error error;
    uint8_t blob[UCX_BLOB];
    uint64_t blob_bytes;
    uint32_t notices;
    char notice_from[64], notice[DRAY_NOTICE_BYTES_MAX + 1];
} ucx_end;

/// NULL: UCX works here. Otherwise why not; then the program exits with 77.
const char *ucx_unavailable(void);

/// An agent of this name with a region "memory" of `bytes` bytes, registered and exported into blob.
void ucx_end_open(ucx_end *end, const char *name, uint64_t bytes, uint8_t seed, uint32_t threads);
void ucx_end_open_reach(ucx_end *end, const char *name, uint64_t bytes, uint8_t seed,
                        uint32_t threads, dray_reach reach);
/// Fails the test when memory was not given back.
void ucx_end_close(ucx_end *end);
void ucx_end_export(ucx_end *end);

uint8_t ucx_byte(uint8_t seed, uint64_t position);
void ucx_fill(dray_region *region, uint8_t seed);
bool ucx_same(const dray_region *region, uint8_t seed);

/// Plan, transfer, submit; then polls `end` and, if it is not NULL, `other` until the end, for at most ten
/// seconds (then the transfer is cancelled and DRAY_E_TIMEOUT comes back). end->error says why.
dray_status ucx_run(ucx_end *end, ucx_end *other, dray_region *source, dray_region *target,
                    dray_peer *peer, const char *notice);
/// Polls both for a while.
void ucx_settle(ucx_end *end, ucx_end *other);

typedef struct ucx_peer {
    pid_t pid;
    int to, from; // pipes
    uint8_t blob[UCX_BLOB];
    uint64_t blob_bytes;
} ucx_peer;

/// `name` is the peer's; blob holds its metadata afterwards.
void ucx_peer_start(ucx_peer *peer, const char *name, uint64_t bytes, uint8_t seed);
/// The same; `before` runs in the new process, ahead of everything else, `after` in this one meanwhile.
void ucx_peer_start_between(ucx_peer *peer, const char *name, uint64_t bytes, uint8_t seed,
                            dray_reach reach, void (*before)(void), void (*after)(pid_t pid));
/// Does the peer's region hold these bytes?
bool ucx_peer_holds(ucx_peer *peer, uint8_t seed);
uint32_t ucx_peer_notices(ucx_peer *peer);
/// Stops answering for good, but lives: what a hung machine looks like.
void ucx_peer_freeze(ucx_peer *peer);
void ucx_peer_kill(ucx_peer *peer);
/// Lets it end by itself; fails the test when it does not end well.
void ucx_peer_stop(ucx_peer *peer);
/// -1: this process is no peer; otherwise what main() returns.
int ucx_peer_main(int count, char **arguments);

#endif
