/// The first bytes of a model file, read as far as a parser asks and never moved.
///
/// A parser borrows names and arrays straight from these bytes, so their address must not change while
/// more is read, and their content must not change when the file does later. Both follow from one idea:
/// address space for the largest head is reserved once, memory is used only where bytes were read.
/// Nothing is ever parsed through a shared mapping, so no truncation can raise SIGBUS here.
#ifndef DRAY_WEIGHTS_HEAD_H
#define DRAY_WEIGHTS_HEAD_H

#include "base/env.h"
/// Borrows env, path and memory. Zeroed: closed. Threads: one at a time while growing, any afterwards.
typedef struct drayi_head {
    drayi_env *env;
    const char *path;
    const uint8_t *bytes;
    uint64_t available;  // readable now
    uint64_t file_bytes; // of the whole file
    uint64_t read_bytes; // asked from the kernel, for tests and reports
    int fd;
    uint64_t base; // where in the descriptor's file the model begins
    // the reservation; none when `bytes` is borrowed
    uint8_t *reserved;
    uint64_t reserved_bytes;
    uint8_t *mapping; // holds the reservation, and more in front where huge pages want it
    uint64_t mapping_bytes;
    uint64_t huge_bytes; // size of a huge page, 0: ordinary pages only
} drayi_head;

/// Reserves; reads nothing yet. The model begins at byte `base` of the file.
/// DRAY_E_NOMEM: not even 64 KiB of address space is left.
dray_status drayi_head_open_fd(drayi_head *head, drayi_env *env, int fd, uint64_t base,
                               const char *path, uint64_t file_bytes, dray_error *error);
/// Private memory that holds the whole file is borrowed as it is.
void drayi_head_open_memory(drayi_head *head, drayi_env *env, const uint8_t *bytes,
                            const char *path, uint64_t file_bytes);
/// Makes [0, upto) readable; upto <= file_bytes. DRAY_E_CORRUPT: the file ends before its size says.
dray_status drayi_head_need(drayi_head *head, uint64_t upto, dray_error *error);
/// No more growth: gives back the address space behind what was read.
void drayi_head_settle(drayi_head *head);
/// A head that was never opened is accepted.
void drayi_head_close(drayi_head *head);

#endif
