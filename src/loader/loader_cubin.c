/// cubin: binary code for one architecture of CUDA devices. The driver takes it without a size, so it is
/// read first: whole, and for this device.
#include "loader/cuda_names.h"
#include "loader/kernel_part.h"
#include "loader/recognise_code.h"

#include <inttypes.h>
#include <stdio.h>

static uint32_t cubin_sniff(const uint8_t *head, uint64_t head_bytes, uint64_t byte_count)
{
    return drayi_sniff_code(DRAYI_CODE_CUBIN, head, head_bytes, byte_count);
}

static dray_status cubin_read(dray_image *image, drayi_cubin *cubin, drayi_kernel_names *names,
                              dray_error *error)
{
    DRAY_TRY(image->map(image, error));
    DRAY_TRY(drayi_cubin_read(image->bytes, image->byte_count, cubin, error));
    return drayi_kernel_names_of_cubin(names, cubin, error);
}

static dray_status cubin_inspect(drayi_env *env, dray_image *image,
                                 const dray_module_report *report, dray_error *error)
{
    drayi_cubin cubin;
    drayi_kernel_names names = {.arena = {.env = env}};
    char arch[32];
    dray_status status = cubin_read(image, &cubin, &names, error);
    if (status == DRAY_OK) {
        snprintf(arch, sizeof(arch), "sm_%u%s", cubin.sm, cubin.family_specific ? "a" : "");
        status = report->arch(report->self, arch, error);
    }
    if (status == DRAY_OK)
        status = drayi_kernel_names_report(&names, report, error);
    drayi_kernel_names_free(&names);
    return status;
}

static dray_status cubin_fits(const dray_load_request *request, const drayi_cubin *cubin,
                              dray_error *error)
{
    uint32_t device = drayi_device_sm(request);
    if (drayi_sm_runs(cubin->sm, cubin->family_specific, device))
        return DRAY_OK;
    return dray_fail(error, DRAY_E_UNSUPPORTED, "cubin: code for sm_%u%s, the device is sm_%u",
                     cubin->sm, cubin->family_specific ? "a" : "", device);
}

static dray_status cubin_load(const dray_load_request *request, dray_loaded_part *out,
                              dray_error *error)
{
    drayi_cubin cubin;
    drayi_kernel_names names = {.arena = {.env = request->env}};
    dray_status status = cubin_read(request->image, &cubin, &names, error);
    if (status == DRAY_OK)
        status = cubin_fits(request, &cubin, error);
    if (status == DRAY_OK)
        status = drayi_kernel_part_create(
            request,
            &(drayi_kernel_code){.form = DRAY_CODE_CUBIN, .bytes = cubin.bytes, .names = &names},
            out, error);
    drayi_kernel_names_free(&names);
    return status;
}

static const char *const cubin_extensions[] = {"cubin", NULL};

const dray_loader_ops drayi_loader_cubin = {
    .abi = DRAY_LOADER_ABI,
    .flags = DRAY_LOADER_NATIVE | DRAY_LOADER_RAW | DRAY_LOADER_SERIALIZED,
    .kind = "cubin",
    .extensions = cubin_extensions,
    .unproven = "no GPU so far: its tests run on a stand-in for the driver",
    .sniff = cubin_sniff,
    .inspect = cubin_inspect,
    .load = cubin_load,
};
