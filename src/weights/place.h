/// Where wanted ranges of files go in one destination, and in which pieces they are read. Pure.
///
/// The destination mirrors each file's offsets modulo the alignment: a block of the file lies on a block
/// of the destination, so direct I/O reads straight into place and needs no staging. Ranges that are
/// neighbours in a file (or nearly: the gap between them is read along, up to a cap) are one run, read in
/// large pieces that are cut where the *file* is aligned and not where a tensor happens to end. Which
/// range is complete when is told from the pieces that touch it.
#ifndef DRAY_WEIGHTS_PLACE_H
#define DRAY_WEIGHTS_PLACE_H

#include "base/env.h"

/// Bytes wanted of a file. Given in order of file and offset, not overlapping.
typedef struct drayi_range {
    uint32_t file;
    uint64_t offset, bytes;
} drayi_range;

typedef struct drayi_place_options {
    uint64_t alignment;   // power of two: what the destination mirrors
    uint64_t gap_most;    // a larger gap between two ranges is not read
    uint64_t piece_bytes; // power of two >= alignment: pieces end at multiples of it in the file
} drayi_place_options;

/// One copy: bytes of a file to their place.
typedef struct drayi_piece {
    uint64_t file_offset, target_offset, bytes;
    uint64_t first_range; // ranges that the piece holds bytes of: [first_range, first_range + range_count)
    uint32_t file;
    uint32_t range_count;
} drayi_piece;

/// Where a range went. Empty ranges have no pieces.
typedef struct drayi_placed {
    uint64_t target_offset;
    uint64_t first_piece;
    uint64_t piece_count;
} drayi_placed;

typedef struct drayi_placement {
    drayi_env *env;
    drayi_piece *pieces;
    uint64_t piece_count, piece_room;
    drayi_placed *placed; // one per range
    uint64_t range_count;
    uint64_t phase;        // destination byte 0 lies this far behind a multiple of the alignment
    uint64_t bytes;        // of the destination
    uint64_t wanted_bytes; // sum of the ranges
    uint64_t read_bytes;   // sum of the pieces: with the gaps
} drayi_placement;

/// DRAY_E_NOSPACE: the destination's size overflows. On failure the placement is empty.
dray_status drayi_place(drayi_env *env, const drayi_range *ranges, uint64_t range_count,
                        const drayi_place_options *options, drayi_placement *out, dray_error *error);
/// A zeroed placement is accepted.
void drayi_placement_free(drayi_placement *placement);

#endif
