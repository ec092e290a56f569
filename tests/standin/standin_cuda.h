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
    bool keep;                  // the driver goes on as it is: cuInit need not be called again
    bool fresh; // what has not been given back is forgotten: a new process, so to speak
    bool no_managed, no_register, no_unified; // attributes 83, 99, 41 are 0
    int symbols;            // only the calls of a driver of that version (11080) are there; 0: all
    uint32_t no_concurrent; // bit n: device n has attribute 89 = 0
    uint32_t pageable;      // bit n: device n has attribute 88 = 1
    int nodes;              // NUMA nodes of the host; 0: 1
} standin_config;

typedef struct standin_counts {
    int64_t contexts, allocations, host_allocations, registrations, streams, events;
    uint64_t calls, hits; // since standin_set(); hits: faults given
    uint64_t batches, single_copies, peer_copies, launches;
    int64_t modules;
    uint64_t advises, prefetches, prefetch_batches, discard_batches; // that were accepted
    uint64_t evicted_pages;
    uint64_t misuse; // handles, ranges, contexts or flags that were wrong
    char last_misuse[96];
    char last_hit[48]; // the call that was made to fail
} standin_counts;

/// What is set on a page of managed memory, and where it is. Places are CUmemLocation's types.
typedef struct standin_page {
    int read_mostly; // 0: never set, 1: set, 2: unset, which forbids copies of the driver's own accord
    int preferred_type, preferred_id;
    uint32_t accessed_by; // bit 0: the host, bit n + 1: device n
    int last_type, last_id;
    int at; // -1: the host, n: device n, -2: nowhere
} standin_page;

/// All are looked up with dlsym.
typedef void (*standin_set_fn)(const standin_config *config); // "standin_set"
typedef void (*standin_get_fn)(standin_counts *out);          // "standin_get"
typedef bool (*standin_lacks_fn)(const char *symbol); // "standin_lacks": by standin_config.symbols
typedef bool (*standin_page_fn)(const void *pointer, standin_page *out); // "standin_page_at"

#endif
