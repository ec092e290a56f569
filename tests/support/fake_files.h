/// Files in memory behind the system-call table: planner and transfer tests choose what direct I/O wants.
///
/// Paths are "fake:0" to "fake:7". Direct descriptors refuse (-EINVAL) what is not aligned, as disks do.
#ifndef DRAY_TESTS_FAKE_FILES_H
#define DRAY_TESTS_FAKE_FILES_H

#include "os/os.h"

enum { FAKE_FILES = 8 };

typedef struct fake_file {
    uint8_t *bytes; // the test's
    uint64_t count;
    uint32_t direct_memory_align, direct_offset_align; // 0: direct I/O is refused
    uint64_t direct_calls, buffered_calls;
} fake_file;

extern fake_file fake_files[FAKE_FILES];
extern uint64_t fake_files_open; // descriptors that were not closed

/// `os` with the calls on files replaced; everything else is the kernel's.
drayi_os fake_files_os(void);

#endif
