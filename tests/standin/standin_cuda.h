/// The inside door of the stand-in for libcuda.so.1: faults, and what has not been given back.
///
/// The stand-in is a shared library of the test tree, never installed. It checks handles, contexts,
/// ranges and flags as strictly as we know how, keeps device memory where no pointer of the host reaches
/// it, and carries out copies only when somebody asks for their end. It says nothing about a GPU's
/// behaviour, and its speed is nobody's.
#ifndef DRAY_TESTS_STANDIN_CUDA_H
#define DRAY_TESTS_STANDIN_CUDA_H

#include <stdbool.h>
#include <stdint.h>

typedef struct standin_fault {
    const char *call; // exact name; "(job)": a copy on the device; "": any call
    uint64_t at;      // the Nth from standin_set() on
    unsigned code;    // 0: success is said, and nothing done
    bool sticky;      // from then on everything that needs a context gives the code
} standin_fault;

typedef struct standin_config {
    standin_fault fault;
    int version;                // 0: 13000
    int devices;                // 0: 2; -1: none
    uint64_t capacity_bytes;    // of each device; 0: 256 MiB
    uint32_t queries_not_ready; // how often an event of a job answers 600
    bool stub;                  // every call gives 34
    bool fresh; // what has not been given back is forgotten: a new process, so to speak
    bool no_managed, no_register, no_unified; // attributes 83, 99, 41 are 0
} standin_config;

typedef struct standin_counts {
    int64_t contexts, allocations, host_allocations, registrations, streams, events;
    uint64_t calls, hits; // since standin_set(); hits: faults given
    uint64_t batches, single_copies, peer_copies;
    uint64_t misuse; // handles, ranges, contexts or flags that were wrong
    char last_misuse[96];
    char last_hit[48]; // the call that was made to fail
} standin_counts;

/// Both are looked up with dlsym.
typedef void (*standin_set_fn)(const standin_config *config); // "standin_set"
typedef void (*standin_get_fn)(standin_counts *out);          // "standin_get"

#endif
