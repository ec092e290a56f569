/// Do the tensors of a file keep out of each other's bytes?
#ifndef DRAY_FORMAT_BYTE_RANGES_H
#define DRAY_FORMAT_BYTE_RANGES_H

#include <stdbool.h>
#include <stdint.h>

typedef struct drayi_byte_range {
    uint64_t begin, end;
} drayi_byte_range;

/// True: two of them share a byte (empty ones share none), and `out` holds where the later one begins
/// and the earlier one ends. Sorts `ranges`; `scratch` has room for `count` too.
bool drayi_ranges_overlap(drayi_byte_range *ranges, drayi_byte_range *scratch, uint64_t count,
                          drayi_byte_range *out);

#endif
