/// OpenCL C as text: compiled by the device's driver, with its log to whoever wants it.
#include "loader/opencl_envelope.h"
#include "loader/recognise_code.h"

static uint32_t opencl_source_sniff(const uint8_t *head, uint64_t head_bytes, uint64_t byte_count)
{
    return drayi_sniff_code(DRAYI_CODE_OPENCL_SOURCE, head, head_bytes, byte_count);
}

static dray_status opencl_source_load(const dray_load_request *request, dray_loaded_part *out,
                                      dray_error *error)
{
    const drayi_kernel_code code = {.form = DRAY_CODE_OPENCL_SOURCE,
                                    .bytes = request->image->byte_count};
    DRAY_TRY(drayi_kernel_part_create(request, &code, out, error));
    out->part->save_as = drayi_envelope_save;
    return DRAY_OK;
}

static const char *const opencl_source_extensions[] = {"cl", NULL};

const dray_loader_ops drayi_loader_opencl_source = {
    .abi = DRAY_LOADER_ABI,
    .flags = DRAY_LOADER_NATIVE | DRAY_LOADER_RAW | DRAY_LOADER_SERIALIZED,
    .kind = "opencl-source",
    .extensions = opencl_source_extensions,
    .sniff = opencl_source_sniff,
    .load = opencl_source_load,
};
