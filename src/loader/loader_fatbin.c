/// fatbin: code for several CUDA architectures in one image; the driver takes the entry that suits. Sizes of
/// every entry are checked first, and that one of them suits this device.
#include "loader/cuda_names.h"
#include "loader/kernel_part.h"
#include "loader/recognise_code.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static uint32_t fatbin_sniff(const uint8_t *head, uint64_t head_bytes, uint64_t byte_count)
{
    return drayi_sniff_code(DRAYI_CODE_FATBIN, head, head_bytes, byte_count);
}

/// Names of the entries that can be looked into.
static dray_status entry_names(const drayi_fatbin_entry *entry, drayi_kernel_names *names,
                               dray_error *error)
{
    drayi_cubin cubin;
    drayi_ptx ptx;
    if (entry->compressed)
        return DRAY_OK;
    if (entry->is_ptx) {
        DRAY_TRY(drayi_ptx_read(entry->bytes, strnlen((const char *)entry->bytes, entry->count),
                                &ptx, error));
        return drayi_kernel_names_of_ptx(names, &ptx, error);
    }
    DRAY_TRY(drayi_cubin_read(entry->bytes, entry->count, &cubin, error));
    return drayi_kernel_names_of_cubin(names, &cubin, error);
}

typedef struct fatbin_facts {
    uint64_t bytes;
    uint32_t entries, compressed;
    bool suits;      // some entry runs on the device
    char arches[96]; // "sm_80, sm_90, ptx sm_90"
} fatbin_facts;

static dray_status fatbin_read(dray_image *image, uint32_t device, fatbin_facts *facts,
                               drayi_kernel_names *names, dray_error *error)
{
    *facts = (fatbin_facts){0};
    DRAY_TRY(image->map(image, error));
    DRAY_TRY(drayi_fatbin_check(image->bytes, image->byte_count, &facts->bytes, error));
    uint64_t position = 0;
    drayi_fatbin_entry entry;
    while (drayi_fatbin_next(image->bytes, &position, &entry)) {
        size_t used = strlen(facts->arches);
        snprintf(facts->arches + used, sizeof(facts->arches) - used, "%s%ssm_%u",
                 facts->entries ? ", " : "", entry.is_ptx ? "ptx " : "", entry.sm);
        facts->entries++;
        facts->compressed += entry.compressed;
        facts->suits |= entry.is_ptx ? device == 0 || entry.sm <= device
                                     : drayi_sm_runs(entry.sm, false, device);
        dray_status status = entry_names(&entry, names, error);
        if (status != DRAY_OK)
            return dray_fail_within(error, status, "fatbin entry %u at %" PRIu64, facts->entries,
                                    entry.at);
    }
    return DRAY_OK;
}

static dray_status fatbin_inspect(drayi_env *env, dray_image *image,
                                  const dray_module_report *report, dray_error *error)
{
    fatbin_facts facts;
    drayi_kernel_names names = {.arena = {.env = env}};
    dray_status status = fatbin_read(image, 0, &facts, &names, error);
    if (status == DRAY_OK)
        status = report->arch(report->self, facts.arches, error);
    if (status == DRAY_OK && facts.compressed > 0)
        status = report->note(report->self,
                              "some of its code is compressed: kernels may be missing "
                              "from the list",
                              error);
    if (status == DRAY_OK)
        status = drayi_kernel_names_report(&names, report, error);
    drayi_kernel_names_free(&names);
    return status;
}

static dray_status fatbin_load(const dray_load_request *request, dray_loaded_part *out,
                               dray_error *error)
{
    fatbin_facts facts;
    drayi_kernel_names names = {.arena = {.env = request->env}};
    uint32_t device = drayi_device_sm(request);
    dray_status status = fatbin_read(request->image, device, &facts, &names, error);
    if (status == DRAY_OK && !facts.suits)
        status = dray_fail(error, DRAY_E_UNSUPPORTED, "fatbin: code for %s, the device is sm_%u",
                           facts.entries ? facts.arches : "nothing", device);
    if (status == DRAY_OK)
        status = drayi_kernel_part_create(
            request,
            &(drayi_kernel_code){.form = DRAY_CODE_FATBIN, .bytes = facts.bytes, .names = &names},
            out, error);
    drayi_kernel_names_free(&names);
    return status;
}

static const char *const fatbin_extensions[] = {"fatbin", NULL};

const dray_loader_ops drayi_loader_fatbin = {
    .abi = DRAY_LOADER_ABI,
    .flags = DRAY_LOADER_NATIVE | DRAY_LOADER_RAW | DRAY_LOADER_SERIALIZED,
    .kind = "fatbin",
    .extensions = fatbin_extensions,
    .unproven = "no GPU so far: its tests run on a stand-in for the driver",
    .sniff = fatbin_sniff,
    .inspect = fatbin_inspect,
    .load = fatbin_load,
};
