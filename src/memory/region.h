/// A region's inside: one struct for every storage kind; the fields a kind does not have are zero.
#ifndef DRAY_MEMORY_REGION_H
#define DRAY_MEMORY_REGION_H

#include "base/env.h"
#include "dray/memory.h"
#include "dray/spi/region.h"
#include "os/os.h"

#include <stdatomic.h>
#include <stdbool.h>

struct dray_region {
    drayi_env *env;
    atomic_uint references;
    dray_region *parent; // a view keeps it alive; NULL: not a view
    dray_region_native native;
    char *name; // owned copy; native.name points here or to a static string
    size_t name_bytes;
    // what this region itself gives back at its end (never set in a view):
    void *mapping; // anonymous mapping, may begin before native.pointer (phase)
    uint64_t mapping_bytes;
    bool owns_files;                  // native.fd and native.direct_fd
    uint64_t file_device, file_inode; // DISK: two regions opened apart may be one file
    dray_release_fn release;
    void *release_self;
};

/// A zeroed region with one reference and a copy of `name` (may be NULL).
dray_status drayi_region_new(drayi_env *env, dray_storage storage, uint64_t bytes, const char *name,
                             dray_region **out_region, dray_error *error);

/// SYSTEM, PINNED or NULL of the host, as dray_region_create() makes it without a device.
dray_status drayi_region_make_memory(drayi_env *env, const dray_region_options *options,
                                     dray_region **out_region, dray_error *error);
/// The node that `numa` means, which is not ANY. DRAY_E_UNSUPPORTED: the device's is not known.
dray_status drayi_region_node(drayi_env *env, const dray_region_options *options, int32_t *out_node,
                              dray_error *error);

/// Fills fd, direct_fd and the alignments from an open descriptor that the region takes over.
/// Direct I/O that the file system refuses is not an error: direct_fd stays -1.
void drayi_region_take_file(dray_region *region, int fd, uint64_t file_offset, bool writable,
                            const drayi_file_facts *facts);

#endif
