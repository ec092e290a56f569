/// A layout with its memory, from the inside: built in physical.c or import.c, read everywhere in this folder.
#ifndef DRAY_LAYOUT_PHYSICAL_H
#define DRAY_LAYOUT_PHYSICAL_H

#include "base/env.h"
#include "dray/layout.h"

#include <stdbool.h>

struct dray_layout {
    drayi_env *env;
    dray_agent *agent;
    dray_peer *peer; // whose regions they are; NULL: ours
    dray_layout_geometry geometry;
    dray_region *base;            // what `regions` are views of, or NULL
    dray_region **regions;        // region_count references, or NULL while half-built
    dray_descriptor *descriptors; // region_count, or NULL: not registered
    uint64_t *handles;            // registrations that are ours to end
    uint64_t handle_count;
    char *made_path; // a file of the builder's, to be unlinked until the build has ended well
    size_t made_path_bytes;
    struct dray_device *device; // borrowed from the regions; NULL: none
    dray_storage storage;       // the weakest of the regions'
};

#endif
