/// The inside door of the stand-in for libnixl_capi.so: faults, lies, and what has not been given back.
///
/// It reads and writes files for real, when a request's status is asked for, and checks handles,
/// registrations and the order of calls. Like NIXL of 1.4.0, an engine whose request failed fails
/// everything after it, and a queue may call a short read a success. Its speed is nobody's.
#ifndef DRAY_TESTS_STANDIN_NIXL_H
#define DRAY_TESTS_STANDIN_NIXL_H

#include <stdbool.h>
#include <stdint.h>

enum { STANDIN_NIXL_AIO = 1, STANDIN_NIXL_URING = 2, STANDIN_NIXL_POSIX_AIO = 4 };

typedef struct standin_nixl_config {
    const char *call; // member of drayi_nixl_calls ("post_xfer_req"); "": any call; NULL: no fault
    uint64_t at;      // the Nth from now on
    uint64_t repeat;  // how many in a row; 0: one
    int code;         // 0: success is said, and nothing given or done
    uint32_t polls;   // how often a request answers "in progress"
    unsigned liars;   // queues that call short reads and failed writes a success
    unsigned absent;  // queues that cannot be had
    bool stub, no_gds;
    bool fresh; // what has not been given back is forgotten: a new process, so to speak
} standin_nixl_config;

typedef struct standin_nixl_counts {
    int64_t agents, plugins, objects; // not given back; objects: lists, params, options, requests
    int64_t registrations;
    uint64_t calls, hits, requests; // since standin_nixl_set()
    uint64_t misuse;
    char last_misuse[96];
    char last_hit[48];
    unsigned queues; // which queues were ever chosen, since standin_nixl_set()
} standin_nixl_counts;

/// Both are looked up with dlsym.
typedef void (*standin_nixl_set_fn)(const standin_nixl_config *config); // "standin_nixl_set"
typedef void (*standin_nixl_get_fn)(standin_nixl_counts *out);          // "standin_nixl_get"

#endif
