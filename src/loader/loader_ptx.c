/// PTX: text that the CUDA driver compiles, with its log to whoever wants it. The driver reads up to a NUL,
/// which is put behind the bytes here.
#include "base/quote.h"
#include "loader/cuda_names.h"
#include "loader/kernel_part.h"
#include "loader/recognise_code.h"

static uint32_t ptx_sniff(const uint8_t *head, uint64_t head_bytes, uint64_t byte_count)
{
    return drayi_sniff_code(DRAYI_CODE_PTX, head, head_bytes, byte_count);
}

static dray_status ptx_read(dray_image *image, drayi_ptx *ptx, drayi_kernel_names *names,
                            dray_error *error)
{
    DRAY_TRY(image->map(image, error));
    DRAY_TRY(drayi_ptx_read(image->bytes, image->byte_count, ptx, error));
    return drayi_kernel_names_of_ptx(names, ptx, error);
}

static dray_status ptx_inspect(drayi_env *env, dray_image *image, const dray_module_report *report,
                               dray_error *error)
{
    drayi_ptx ptx;
    drayi_kernel_names names = {.arena = {.env = env}};
    dray_status status = ptx_read(image, &ptx, &names, error);
    if (status == DRAY_OK)
        status = report->arch(report->self, drayi_quote(ptx.target).text, error);
    if (status == DRAY_OK)
        status = drayi_kernel_names_report(&names, report, error);
    drayi_kernel_names_free(&names);
    return status;
}

/// PTX runs on its target and on everything newer; "sm_90a" on sm_90 alone.
static dray_status ptx_fits(const dray_load_request *request, const drayi_ptx *ptx,
                            dray_error *error)
{
    bool specific;
    uint32_t device = drayi_device_sm(request), sm = drayi_sm_of(ptx->target, &specific);
    if (device == 0 || sm == 0 || (specific ? sm == device : sm <= device))
        return DRAY_OK;
    return dray_fail(error, DRAY_E_UNSUPPORTED, "ptx: its target is %s, the device is sm_%u",
                     drayi_quote(ptx->target).text, device);
}

static dray_status ptx_load(const dray_load_request *request, dray_loaded_part *out,
                            dray_error *error)
{
    drayi_ptx ptx;
    drayi_kernel_names names = {.arena = {.env = request->env}};
    dray_status status = ptx_read(request->image, &ptx, &names, error);
    if (status == DRAY_OK)
        status = ptx_fits(request, &ptx, error);
    if (status == DRAY_OK)
        status = drayi_kernel_part_create(
            request,
            &(drayi_kernel_code){.form = DRAY_CODE_PTX, .bytes = ptx.count, .names = &names}, out,
            error);
    drayi_kernel_names_free(&names);
    return status;
}

static const char *const ptx_extensions[] = {"ptx", NULL};

const dray_loader_ops drayi_loader_ptx = {
    .abi = DRAY_LOADER_ABI,
    .flags = DRAY_LOADER_NATIVE | DRAY_LOADER_RAW | DRAY_LOADER_SERIALIZED,
    .kind = "ptx",
    .extensions = ptx_extensions,
    .unproven = "no GPU so far: its tests run on a stand-in for the driver",
    .sniff = ptx_sniff,
    .inspect = ptx_inspect,
    .load = ptx_load,
};
