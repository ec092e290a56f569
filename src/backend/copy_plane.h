/// Transposing: elements that follow each other in the source lie a pitch apart in the target, and the other
/// way round. Copied one after the other they would touch a line of the target per element.
#ifndef DRAY_BACKEND_COPY_PLANE_H
#define DRAY_BACKEND_COPY_PLANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// Element (row, column) lies at source + row * source_pitch + column * bytes, and goes to
/// target + column * target_pitch + row * bytes.
typedef struct drayi_plane {
    uint64_t rows, columns;
    uint64_t source_pitch, target_pitch;
    size_t element_bytes;
} drayi_plane;

/// Is there a kernel for elements of this size?
bool drayi_plane_serves(size_t element_bytes);
void drayi_plane_copy(const drayi_plane *plane, uint8_t *target, const uint8_t *source);
/// The same without vector instructions: what other machines run.
void drayi_plane_copy_plainly(const drayi_plane *plane, uint8_t *target, const uint8_t *source);

#endif
