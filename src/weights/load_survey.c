/// What the choice of a method depends on, asked of the kernel and never guessed.
#include "base/checked.h"
#include "memory/residency.h"
#include "weights/load.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef struct known_file_system {
    uint64_t magic;
    const char *name;
    enum { LOCAL, MEMORY, NETWORK } kind;
} known_file_system;

static const known_file_system known[] = {
    {0xEF53, "ext4", LOCAL},           {0x58465342, "xfs", LOCAL},
    {0x9123683E, "btrfs", LOCAL},      {0xF2F52010, "f2fs", LOCAL},
    {0x2FC12FC1, "zfs", LOCAL},        {0x794C7630, "overlay", LOCAL},
    {0x73717368, "squashfs", LOCAL},   {0xE0F5E1E2, "erofs", LOCAL},
    {0x01021994, "tmpfs", MEMORY},     {0x858458F6, "ramfs", MEMORY},
    {0x958458F6, "hugetlbfs", MEMORY}, {0x6969, "nfs", NETWORK},
    {0xFE534D42, "smb", NETWORK},      {0xFF534D42, "cifs", NETWORK},
    {0x65735546, "fuse", NETWORK},     {0x00C36400, "ceph", NETWORK},
    {0x0BD00BD0, "lustre", NETWORK},   {0x01021997, "9p", NETWORK},
    {0x47504653, "gpfs", NETWORK},     {0x19830326, "beegfs", NETWORK},
};

static const known_file_system *file_system_of(uint64_t magic)
{
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (known[i].magic == magic)
            return &known[i];
    }
    return NULL;
}

static void file_look(drayi_survey *survey, const drayi_env *env, const drayi_model_file *file)
{
    dray_region_native native;
    dray_region_get_native(file->region, &native);
    survey->direct_possible = survey->direct_possible && native.direct_fd >= 0;
    uint64_t magic = 0;
    const known_file_system *found =
        env->os->fstatfs_magic(native.fd, &magic) == 0 ? file_system_of(magic) : NULL;
    if (!survey->file_system)
        survey->file_system = found ? found->name : "unknown file system";
    survey->memory_file_system = survey->memory_file_system || (found && found->kind == MEMORY);
    survey->network_file_system = survey->network_file_system || (found && found->kind == NETWORK);
}

/// Bytes of [offset, offset + bytes) in the page cache, at most `bytes`; DRAY_UNKNOWN.
static uint64_t range_cached(drayi_env *env, const dray_region *region, uint64_t offset,
                             uint64_t bytes)
{
    dray_region_native native;
    dray_region_get_native(region, &native);
    return drayi_file_cached_bytes(env, native.fd, native.file_offset + offset, bytes);
}

uint64_t drayi_weights_cached(const dray_weights *weights)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < weights->file_count; i++) {
        const drayi_model_file *file = &weights->files[i];
        uint64_t cached = file->keeper
                              ? DRAY_UNKNOWN
                              : range_cached(weights->env, file->region, 0, file->info.bytes);
        if (cached == DRAY_UNKNOWN)
            return DRAY_UNKNOWN;
        sum += cached;
    }
    return sum;
}

/// Looks at the wanted ranges, neighbours together: a call per tensor would be many.
static void cache_look(drayi_load *load)
{
    static const uint64_t gap_most = 1 << 20;
    drayi_survey *survey = &load->survey;
    for (uint64_t i = 0; i < load->unit_count;) {
        const drayi_range *first = &load->ranges[i];
        uint64_t end = first->offset + first->bytes;
        for (i++; i < load->unit_count; i++) {
            const drayi_range *next = &load->ranges[i];
            if (next->file != first->file || next->offset > end + gap_most)
                break;
            end = drayi_max(end, next->offset + next->bytes);
        }
        uint64_t bytes = end - first->offset;
        uint64_t cached =
            range_cached(load->env, load->weights->files[first->file].region, first->offset, bytes);
        survey->looked_bytes += bytes;
        if (cached == DRAY_UNKNOWN || survey->cached_bytes == DRAY_UNKNOWN)
            survey->cached_bytes = DRAY_UNKNOWN;
        else
            survey->cached_bytes += cached;
    }
}

dray_status drayi_load_survey(drayi_load *load, dray_error *error)
{
    drayi_survey *survey = &load->survey;
    drayi_memory_facts memory = {0};
    bool known_memory = load->env->os->memory_facts(&memory) == 0;
    *survey = (drayi_survey){
        .storage = load->options.storage,
        .tensor_bytes = load->tensor_bytes,
        .destination_bytes = load->placement.bytes,
        .available_bytes = known_memory ? memory.available_bytes : DRAY_UNKNOWN,
        .limited_by_cgroup = known_memory && memory.limited_by_cgroup,
        .memory_limit = load->options.memory_limit,
        .release_source = load->options.release_source != 0,
        .direct_possible = true,
        .in_memory = load->weights->files[0].keeper != NULL,
    };
    if (survey->in_memory)
        return DRAY_OK;
    DRAY_TRY(drayi_weights_check(load->weights, error));
    for (uint64_t i = 0; i < load->weights->file_count; i++)
        file_look(survey, load->env, &load->weights->files[i]);
    cache_look(load);
    return DRAY_OK;
}

// --- is the source still what it was? ------------------------------------------------------------

/// The first tensor that the shortened file no longer holds, for the message; NULL: none.
static const dray_tensor *first_lost(const dray_weights *weights, uint32_t file, uint64_t bytes)
{
    for (uint64_t i = 0; i < weights->index.tensor_count; i++) {
        const dray_tensor *tensor = &weights->index.tensors[i];
        if (tensor->file == file && tensor->bytes != DRAY_UNKNOWN &&
            tensor->offset + tensor->bytes > bytes)
            return tensor;
    }
    return NULL;
}

static dray_status file_check(const dray_weights *weights, uint32_t number, dray_error *error)
{
    const drayi_model_file *file = &weights->files[number];
    dray_region_native native;
    dray_region_get_native(file->region, &native);
    drayi_file_facts now;
    int code = weights->env->os->facts(native.fd, &now);
    if (code < 0)
        return dray_fail_os(error, -code, "statx", "look at %s again", file->info.path);
    if (now.bytes < file->facts.bytes) {
        const dray_tensor *lost =
            first_lost(weights, number, now.bytes - drayi_min(now.bytes, native.file_offset));
        return dray_fail_rule(
            error, DRAY_E_CORRUPT, "weights.source", now.bytes,
            "%s was cut short: it had %" PRIu64 " bytes when it was opened, now %" PRIu64 "%s%s",
            file->info.path, file->facts.bytes, now.bytes, lost ? "; lost from tensor " : "",
            lost ? drayi_show(lost->name).text : "");
    }
    if (now.bytes != file->facts.bytes || now.modified_ns != file->facts.modified_ns ||
        now.inode != file->facts.inode || now.device != file->facts.device)
        return dray_fail_rule(error, DRAY_E_CORRUPT, "weights.source", DRAY_UNKNOWN,
                              "%s was changed since it was opened (%" PRIu64 " bytes then, %" PRIu64
                              " now): what was read cannot be trusted; open it again",
                              file->info.path, file->facts.bytes, now.bytes);
    return DRAY_OK;
}

dray_status drayi_weights_check(const dray_weights *weights, dray_error *error)
{
    for (uint64_t i = 0; i < weights->file_count; i++) {
        if (!weights->files[i].keeper)
            DRAY_TRY(file_check(weights, (uint32_t)i, error));
    }
    return DRAY_OK;
}
