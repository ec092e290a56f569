/// Names of kernels that an image for CUDA devices has, and whether a device takes it.
#ifndef DRAY_LOADER_CUDA_NAMES_H
#define DRAY_LOADER_CUDA_NAMES_H

#include "base/arena.h"
#include "dray/spi/kernels.h"
#include "dray/spi/loader.h"
#include "loader/gpu_image.h"

typedef struct drayi_kernel_names {
    drayi_arena arena; // its env is set by the maker
    const char **names;
    uint64_t count, capacity;
} drayi_kernel_names;

/// A name that is there already is not added again.
dray_status drayi_kernel_names_add(drayi_kernel_names *names, dray_text name, dray_error *error);
void drayi_kernel_names_free(drayi_kernel_names *names);

dray_status drayi_kernel_names_of_cubin(drayi_kernel_names *names, const drayi_cubin *cubin,
                                        dray_error *error);
dray_status drayi_kernel_names_of_ptx(drayi_kernel_names *names, const drayi_ptx *ptx,
                                      dray_error *error);

/// "sm_90a" is 90 and specific; 0: no such word.
uint32_t drayi_sm_of(dray_text target, bool *out_specific);

/// The architecture of the request's device (90 for sm_90); 0: no device, or not known.
uint32_t drayi_device_sm(const dray_load_request *request);
/// Binary code runs where the major number is the same and the minor one not smaller; code for one
/// architecture alone ("sm_90a") only there.
bool drayi_sm_runs(uint32_t code, bool specific, uint32_t device);

/// Reports names, for `inspect`.
dray_status drayi_kernel_names_report(const drayi_kernel_names *names,
                                      const dray_module_report *report, dray_error *error);

#endif
