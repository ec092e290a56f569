/// Memory that grows in place: the final home of bytes whose number is not known yet.
///
/// Decoders read back what they wrote, and gigabytes should not move, so the address never changes:
/// address space is reserved up to the limit, and made usable as the bytes come.
#ifndef DRAY_WEIGHTS_BYTE_SINK_H
#define DRAY_WEIGHTS_BYTE_SINK_H

#include "base/env.h"

#include <stdbool.h>

/// Owns: its memory, until finish hands it over. Threads: one at a time. Units: bytes.
typedef struct drayi_sink {
    drayi_env *env;
    const char *name; // borrowed, for messages
    uint8_t *mapping; // reserved
    uint64_t mapping_bytes;
    uint8_t *at;         // the first byte: behind `mapping` by the phase
    uint64_t used;       // bytes written; the user counts them up
    uint64_t usable;     // bytes behind `at` that may be written
    uint64_t limit;      // of used
    int memfd;           // -1: private memory
    bool without_noexec; // memfd of a kernel before 6.3
} drayi_sink;

typedef struct drayi_sink_options {
    uint64_t limit;     // most bytes it will ever hold
    uint64_t phase;     // the first byte lies this far behind a 2 MiB boundary (below 2 MiB)
    bool limit_is_size; // exactly so many come: less than that cannot do
    bool sealed;        // a memfd, sealed at the end
} drayi_sink_options;

/// The most bytes of unknown number that may be taken in: `wanted_max`, or when that is 0: 64 GiB and
/// three quarters of the available memory.
uint64_t drayi_sink_cap(drayi_env *env, uint64_t wanted_max);

/// A sink that failed to open may be freed. DRAY_E_NOMEM: with the numbers.
dray_status drayi_sink_open(drayi_sink *sink, drayi_env *env, const char *name,
                            const drayi_sink_options *options, dray_error *error);
/// Usable bytes behind `used`: some, as long as used < limit.
dray_status drayi_sink_room(drayi_sink *sink, uint64_t *out_room, dray_error *error);
/// Gives back what was reserved too much, seals. The memory is then [mapping, mapping + mapping_bytes) of
/// the caller (to be unmapped), its bytes [at, at + used); all NULL and 0 when nothing was written.
dray_status drayi_sink_finish(drayi_sink *sink, dray_error *error);
/// After finish only what finish left: the caller cleared `mapping` when it took it.
void drayi_sink_free(drayi_sink *sink);

#endif
