/// Code objects for AMD GPUs: recognised, and refused by name.
#include "base/env.h"
#include "dray/spi/loader.h"
#include "loader/elf_image.h"
#include "loader/recognise_code.h"

static uint32_t hsaco_sniff(const uint8_t *head, uint64_t head_bytes, uint64_t byte_count)
{
    return drayi_sniff_code(DRAYI_CODE_HSACO, head, head_bytes, byte_count);
}

/// The gfx names of the machine numbers in the low byte of the flags.
static const char *gfx_name(uint32_t flags)
{
    static const struct {
        uint8_t number;
        const char *name;
    } machines[] = {
        {0x2f, "gfx906"},  {0x30, "gfx908"},  {0x3f, "gfx90a"},  {0x4c, "gfx942"},
        {0x36, "gfx1030"}, {0x41, "gfx1100"}, {0x4e, "gfx1200"}, {0x4f, "gfx1201"},
    };
    for (size_t i = 0; i < sizeof(machines) / sizeof(machines[0]); i++) {
        if (machines[i].number == (flags & 0xff))
            return machines[i].name;
    }
    return "amdgpu";
}

static dray_status hsaco_inspect(drayi_env *env, dray_image *image,
                                 const dray_module_report *report, dray_error *error)
{
    (void)env;
    drayi_elf elf;
    DRAY_TRY(image->map(image, error));
    DRAY_TRY(drayi_elf_read(image->bytes, image->byte_count, &elf, error));
    return report->arch(report->self, gfx_name(elf.header.e_flags), error);
}

const dray_loader_ops drayi_loader_hsaco = {
    .abi = DRAY_LOADER_ABI,
    .flags = DRAY_LOADER_RAW,
    .kind = "hsaco",
    .sniff = hsaco_sniff,
    .inspect = hsaco_inspect,
    .refusal = "code for AMD GPUs is not loaded by this version of dray",
};
