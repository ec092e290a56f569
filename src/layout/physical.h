/// A layout with its memory, from the inside: built in physical.c or import.c, read everywhere in this folder.
#ifndef DRAY_LAYOUT_PHYSICAL_H
#define DRAY_LAYOUT_PHYSICAL_H

#include "base/env.h"
#include "dray/layout.h"
#include "dray/spi/remote.h"

#include <stdbool.h>

struct dray_layout {
    drayi_env *env;
    dray_agent *agent;
    char owner[DRAY_AGENT_NAME_MAX + 1]; // the agent's name whose regions they are
    dray_layout_geometry geometry;
    dray_region *base;            // what `regions` are views of, or NULL
    dray_region **regions;        // region_count references; NULL entries while half-built
    dray_descriptor *descriptors; // region_count, or NULL: not registered
    uint64_t *handles;            // registrations that are ours to end
    uint64_t handle_count, handle_room;
    bool made_file;             // the builder has created options.allocate->path
    struct dray_device *device; // of the regions, which keep it; NULL: none
    dray_storage storage;       // the weakest of the regions'
};

/// An object without memory: room for the regions of `geometry`.
dray_status drayi_layout_new(dray_agent *agent, const dray_layout_geometry *geometry,
                             dray_layout **out_layout, dray_error *error);

// request.c: what of the request can be checked before anything is made.
typedef struct drayi_layout_request {
    dray_layout_options options;
    dray_layout_allocation allocate; // exactly one of the three is filled; the options tell which
    dray_layout_provided provided;
    dray_layout_registered registered;
    dray_layout_geometry geometry;
} drayi_layout_request;
dray_status drayi_layout_request_read(const dray_layout_options *given, drayi_layout_request *out,
                                      dray_error *error);

// allocate.c: one base region from the request.
dray_status drayi_layout_allocate(dray_layout *layout, const dray_layout_allocation *wanted,
                                  dray_error *error);
/// Fills `regions` with views of `base`.
dray_status drayi_layout_slice(dray_layout *layout, dray_error *error);

// regions.c: do the regions fit the geometry, and each other?
/// Size, alignment, kind and place of every region; none overlaps another. Sets storage and device.
dray_status drayi_layout_regions_check(dray_layout *layout, const char *whose, dray_error *error);

// register.c
dray_status drayi_layout_register(dray_layout *layout, bool writable, dray_error *error);
dray_status drayi_layout_adopt(dray_layout *layout, const dray_layout_registered *given,
                               dray_error *error);

#endif
