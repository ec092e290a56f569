/// Devices for tests: a table of system calls whose libcuda.so.1 is the stand-in, whose libraries can be
/// absent and lack calls, and copies through a device's own facet.
#ifndef DRAY_TESTS_DEVICE_RIG_H
#define DRAY_TESTS_DEVICE_RIG_H

#include "core/context.h"
#include "dray/device.h"
#include "dray/spi/device.h"
#include "dray/spi/region.h"
#include "os/os.h"
#include "standin_cuda.h"

/// DRAY_STANDIN_CUDA names the stand-in; unset or empty: the machine's own driver is used, and the
/// functions about the stand-in do nothing.
bool device_rig_has_standin(void);

/// The table. Call device_rig_reset() first in every test.
const drayi_os *device_rig_os(void);
/// Everything is there, the stand-in has its defaults and no faults.
void device_rig_reset(void);
/// A library that cannot be opened ("libcuda.so.1"), NULL: all can.
void device_rig_hide_library(const char *name);
/// A call that no library has; up to four; NULL forgets them.
void device_rig_hide_symbol(const char *name);

/// A call of the test's own, given instead of the library's: two at most; NULL forgets them. The library's own is
/// found with device_rig_real_symbol() once the library has been opened.
void device_rig_replace_symbol(const char *name, void *function);
void *device_rig_real_symbol(const char *library, const char *name);

void device_rig_standin(const standin_config *config);
standin_counts device_rig_standin_counts(void);
/// What is set on the page at `pointer`, which must be managed memory of the stand-in.
standin_page device_rig_standin_page(const void *pointer);
/// Contexts that this thread has left current in the stand-in.
int device_rig_standin_depth(void);

/// On the rig's table. allocator may be NULL.
dray_context *device_rig_context(const dray_allocator *allocator, uint32_t threads);
dray_region *device_rig_region(dray_context *context, dray_device *device, dray_storage storage,
                               uint64_t bytes);

/// The entry of the list of devices for `name`; its own name is empty when there is none.
dray_device_info device_rig_listed(const char *name);
/// Fails unless `text` holds `part`.
void device_rig_says(const char *text, const char *part);

/// One end of a copy.
dray_device_side device_rig_side(const dray_region *region, uint64_t offset);
/// One run through a stream of its own, waited for.
dray_status device_rig_copy(dray_device *device, dray_region *to, uint64_t to_offset,
                            dray_region *from, uint64_t from_offset, uint64_t bytes,
                            dray_error *error);

#endif
