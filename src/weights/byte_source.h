/// Bytes as they come: a file, a pipe or a /proc file read from front to end in bounded pieces.
#ifndef DRAY_WEIGHTS_BYTE_SOURCE_H
#define DRAY_WEIGHTS_BYTE_SOURCE_H

#include "base/env.h"

#include <stdbool.h>

enum { drayi_source_room = 1 << 20 };

/// Borrows fd and name. Threads: one at a time.
typedef struct drayi_source {
    drayi_env *env;
    const char *name;
    int fd;
    bool seekable;       // read by position, so that the descriptor's own offset stays where it is
    uint64_t position;   // of the next read: the file offset, or bytes so far
    uint64_t left;       // bytes still wanted; UINT64_MAX: to the end
    uint64_t promised;   // bytes the caller asked for; UINT64_MAX: to the end
    uint8_t *buffer;     // drayi_source_room bytes
    uint64_t first, end; // what of the buffer is unread
    bool ended;          // nothing comes after the buffer
} drayi_source;

/// `bytes` UINT64_MAX: to the end. A source that failed to open may be closed.
dray_status drayi_source_open(drayi_source *source, drayi_env *env, int fd, const char *name,
                              bool seekable, uint64_t offset, uint64_t bytes, dray_error *error);
void drayi_source_close(drayi_source *source);

/// Makes at least `wanted` (<= drayi_source_room) bytes stand in the buffer, or all there are.
dray_status drayi_source_fill(drayi_source *source, uint64_t wanted, dray_error *error);
/// Up to `room` bytes: from the buffer first, then straight from the file. *out_got 0: the end.
dray_status drayi_source_read(drayi_source *source, uint8_t *out, uint64_t room, uint64_t *out_got,
                              dray_error *error);

#endif
