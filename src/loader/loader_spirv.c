/// SPIR-V: checked to be a whole number of words with a header, then compiled by a device that takes it.
#include "base/reader.h"
#include "loader/kernel_part.h"
#include "loader/recognise_code.h"

#include <inttypes.h>
#include <stdio.h>

enum { header_bytes = 20 };

static uint32_t spirv_sniff(const uint8_t *head, uint64_t head_bytes, uint64_t byte_count)
{
    return drayi_sniff_code(DRAYI_CODE_SPIRV, head, head_bytes, byte_count);
}

/// Magic number, version; instructions that end exactly where the bytes do.
static dray_status spirv_check(const uint8_t *bytes, uint64_t count, uint32_t *out_version,
                               dray_error *error)
{
    if (count < header_bytes || count % 4 != 0)
        return dray_fail_rule(error, DRAY_E_FORMAT, "spirv.header", 0,
                              "spirv: %" PRIu64 " bytes, words of 4 from %d on are wanted", count,
                              header_bytes);
    bool swapped = drayi_load_u32(bytes, false) != 0x07230203u;
    if (drayi_load_u32(bytes, swapped) != 0x07230203u)
        return dray_fail_rule(error, DRAY_E_FORMAT, "spirv.magic", 0, "spirv: no magic number");
    *out_version = drayi_load_u32(bytes + 4, swapped);
    for (uint64_t at = header_bytes; at < count;) {
        uint64_t words = drayi_load_u32(bytes + at, swapped) >> 16;
        if (words == 0 || words * 4 > count - at)
            return dray_fail_rule(error, DRAY_E_FORMAT, "spirv.instruction", at,
                                  "spirv: an instruction of %" PRIu64 " words at %" PRIu64
                                  ", the code ends at %" PRIu64,
                                  words, at, count);
        at += words * 4;
    }
    return DRAY_OK;
}

static dray_status spirv_inspect(drayi_env *env, dray_image *image,
                                 const dray_module_report *report, dray_error *error)
{
    (void)env;
    uint32_t version = 0;
    char arch[32];
    DRAY_TRY(image->map(image, error));
    DRAY_TRY(spirv_check(image->bytes, image->byte_count, &version, error));
    snprintf(arch, sizeof(arch), "spirv-%u.%u", version >> 16 & 0xff, version >> 8 & 0xff);
    return report->arch(report->self, arch, error);
}

static dray_status spirv_load(const dray_load_request *request, dray_loaded_part *out,
                              dray_error *error)
{
    uint32_t version;
    dray_image *image = request->image;
    DRAY_TRY(image->map(image, error));
    DRAY_TRY(spirv_check(image->bytes, image->byte_count, &version, error));
    const drayi_kernel_code code = {.form = DRAY_CODE_SPIRV, .bytes = image->byte_count};
    return drayi_kernel_part_create(request, &code, out, error);
}

static const char *const spirv_extensions[] = {"spv", NULL};

const dray_loader_ops drayi_loader_spirv = {
    .abi = DRAY_LOADER_ABI,
    .flags = DRAY_LOADER_NATIVE | DRAY_LOADER_RAW | DRAY_LOADER_SERIALIZED,
    .kind = "spirv",
    .extensions = spirv_extensions,
    .unproven = "no device here takes SPIR-V: checked and carried, never run",
    .sniff = spirv_sniff,
    .inspect = spirv_inspect,
    .load = spirv_load,
};
