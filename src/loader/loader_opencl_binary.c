/// Binaries of an OpenCL driver.
///
/// Drivers end the process over a truncated or altered binary of their own (PoCL reads past its end), so
/// none is handed over that nobody vouched for: raw ones need their digest in the options or in the policy;
/// others come in an envelope that carries it (opencl_envelope.h), which is what a module saves.
#include "dray/module.h"
#include "loader/opencl_envelope.h"
#include "loader/recognise_code.h"

/// A raw binary goes to a driver only when its bytes are exactly those that somebody named.
static dray_status raw_check(const dray_load_request *request, dray_error *error)
{
    if (!request->device || request->options->expected_sha256 ||
        (request->image->flags & DRAY_IMAGE_TRUSTED))
        return DRAY_OK; // the core has compared them
    return dray_fail(
        error, DRAY_E_INVALID,
        "drivers crash on damaged binaries, so a raw one is loaded only with its SHA-256 "
        "(dray_module_options.expected_sha256, or a policy that lists it); "
        "dray_module_save() makes an envelope that carries it");
}

static uint32_t opencl_binary_sniff(const uint8_t *head, uint64_t head_bytes, uint64_t byte_count)
{
    uint32_t raw = drayi_sniff_code(DRAYI_CODE_POCL, head, head_bytes, byte_count);
    uint32_t envelope = drayi_sniff_code(DRAYI_CODE_ENVELOPE, head, head_bytes, byte_count);
    return raw > envelope ? raw : envelope;
}

static dray_status opencl_binary_inspect(drayi_env *env, dray_image *image,
                                         const dray_module_report *report, dray_error *error)
{
    (void)env;
    DRAY_TRY(image->map(image, error));
    if (!drayi_is_envelope(image->bytes, image->byte_count))
        return report->note(report->self, "a raw binary: it carries no digest", error);
    drayi_envelope envelope;
    DRAY_TRY(drayi_envelope_read(image->bytes, image->byte_count, &envelope, error));
    return report->arch(report->self, envelope.made_for.bytes, error);
}

static dray_status opencl_binary_load(const dray_load_request *request, dray_loaded_part *out,
                                      dray_error *error)
{
    dray_image *image = request->image;
    DRAY_TRY(image->map(image, error));
    drayi_envelope envelope = {.code_bytes = image->byte_count};
    bool enveloped = drayi_is_envelope(image->bytes, image->byte_count);
    if (enveloped) {
        DRAY_TRY(drayi_envelope_read(image->bytes, image->byte_count, &envelope, error));
        DRAY_TRY(drayi_envelope_check(request, &envelope, error));
    } else {
        DRAY_TRY(raw_check(request, error));
    }
    const drayi_kernel_code code = {
        .form = DRAY_CODE_OPENCL_BINARY, .at = envelope.code_at, .bytes = envelope.code_bytes};
    DRAY_TRY(drayi_kernel_part_create(request, &code, out, error));
    out->part->save_as = drayi_envelope_save;
    if (!enveloped && request->device)
        out->part->saved_as = "opencl-binary"; // raw bytes alone would not be taken again
    return DRAY_OK;
}

const dray_loader_ops drayi_loader_opencl_binary = {
    .abi = DRAY_LOADER_ABI,
    .flags = DRAY_LOADER_NATIVE | DRAY_LOADER_RAW | DRAY_LOADER_SERIALIZED,
    .kind = "opencl-binary",
    .sniff = opencl_binary_sniff,
    .inspect = opencl_binary_inspect,
    .load = opencl_binary_load,
};
