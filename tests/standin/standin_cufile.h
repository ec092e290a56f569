/// The inside door of the stand-in for libcufile.so.0: faults, and what has not been given back.
///
/// It moves bytes for real, between the file and the stand-in for libcuda.so.1 or host memory, and checks
/// handles, registrations, ranges, the current context and the order of calls. It says nothing about
/// GPUDirect Storage, and its speed is nobody's.
#ifndef DRAY_TESTS_STANDIN_CUFILE_H
#define DRAY_TESTS_STANDIN_CUFILE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct standin_cufile_config {
    const char *call; // exact name; "": any call; NULL: no fault
    uint64_t at;      // the Nth from now on
    uint64_t repeat;  // how many in a row; 0: one
    int code; // > 5000: of cuFile; else an errno of reads and writes; 0: success, and nothing done
    uint64_t short_bytes; // reads and writes: no fault, but only so many bytes; 0: off
    bool more;            // with a fault: a byte more than was asked for is said to be done
    bool fresh;           // what has not been given back is forgotten: a new process, so to speak
} standin_cufile_config;

typedef struct standin_cufile_counts {
    int64_t opens, handles, buffers;     // not given back
    uint64_t calls, hits, reads, writes; // since standin_cufile_set()
    uint64_t registered_io;              // reads and writes on registered buffers
    uint64_t misuse;
    char last_misuse[96];
    char last_hit[48];
} standin_cufile_counts;

/// Both are looked up with dlsym.
typedef void (*standin_cufile_set_fn)(const standin_cufile_config *config); // "standin_cufile_set"
typedef void (*standin_cufile_get_fn)(standin_cufile_counts *out);          // "standin_cufile_get"

#endif
