/// Bundles: import trees as files of their own, with every module's bytes inside.
///
/// This is only the container: the core loads the tree (leaves first, all or nothing), because it takes
/// other loaders for that, and gives back its root.
#include "abi/import_tree.h"
#include "dray/module.h"
#include "dray/spi/loader.h"
#include "loader/recognise_code.h"

#include <inttypes.h>
#include <stdio.h>

struct dray_part {
    drayi_env *env;
};

static uint32_t bundle_sniff(const uint8_t *head, uint64_t head_bytes, uint64_t byte_count)
{
    return drayi_sniff_code(DRAYI_CODE_BUNDLE, head, head_bytes, byte_count);
}

static dray_status report_modules(const drayi_tree *tree, const dray_module_report *report,
                                  dray_error *error)
{
    char note[96];
    bool host = false;
    for (uint64_t i = 0; i < tree->count; i++) {
        host |= tree->modules[i].is_host;
        DRAY_TRY(report->import(report->self, tree->modules[i].kind, error));
    }
    snprintf(note, sizeof(note), "%" PRIu64 " module%s, %" PRIu64 " deep", tree->count,
             tree->count == 1 ? "" : "s", tree->depth);
    DRAY_TRY(report->note(report->self, note, error));
    return host ? report->note(report->self, "belongs inside a library (_lib), which is not here",
                               error)
                : DRAY_OK;
}

static dray_status bundle_inspect(drayi_env *env, dray_image *image,
                                  const dray_module_report *report, dray_error *error)
{
    drayi_tree tree;
    DRAY_TRY(image->map(image, error));
    DRAY_TRY(drayi_tree_read(env, image->bytes, image->byte_count, false, &tree, error));
    dray_status status = report_modules(&tree, report, error);
    drayi_tree_free(env, &tree);
    return status;
}

static dray_status bundle_tree(drayi_env *env, dray_image *image, const uint8_t **out_tree,
                               uint64_t *out_bytes, dray_error *error)
{
    (void)env;
    DRAY_TRY(image->map(image, error));
    *out_tree = image->bytes;
    *out_bytes = image->byte_count;
    return DRAY_OK;
}

static void bundle_destroy(dray_part *part)
{
    drayi_free(part->env, part, sizeof(*part));
}

static dray_status bundle_function(dray_part *part, const char *name, dray_part_function *out,
                                   dray_error *error)
{
    (void)part, (void)name, (void)out, (void)error;
    return DRAY_E_NOTFOUND;
}

static const dray_part_ops bundle_part_ops = {
    .abi = DRAY_LOADER_ABI,
    .destroy = bundle_destroy,
    .function = bundle_function,
};

static dray_status bundle_load(const dray_load_request *request, dray_loaded_part *out,
                               dray_error *error)
{
    dray_image *image = request->image;
    DRAY_TRY(image->map(image, error));
    out->part = drayi_new(request->env, dray_part, error);
    if (!out->part)
        return DRAY_E_NOMEM;
    out->part->env = request->env;
    out->ops = &bundle_part_ops;
    out->tree = image->bytes;
    out->tree_bytes = image->byte_count;
    return DRAY_OK;
}

static const char *const bundle_extensions[] = {"bundle", NULL};

const dray_loader_ops drayi_loader_bundle = {
    .abi = DRAY_LOADER_ABI,
    .flags = DRAY_LOADER_SERIALIZED | DRAY_LOADER_CONTAINER,
    .kind = "bundle",
    .extensions = bundle_extensions,
    .sniff = bundle_sniff,
    .inspect = bundle_inspect,
    .tree = bundle_tree,
    .load = bundle_load,
};
