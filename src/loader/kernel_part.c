#include "loader/kernel_part.h"

#include "base/checked.h"
#include "dray/module.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void part_destroy(dray_part *part)
{
    drayi_env *env = part->env;
    if (part->program)
        part->ops->unload(part->program);
    dray_device_release(part->device);
    drayi_free(env, part->kernels, part->kernel_count * sizeof(*part->kernels));
    drayi_kernel_names_free(&part->carried);
    if (part->bytes)
        drayi_free(env, part->bytes, (size_t)part->byte_count + 1);
    drayi_free(env, part, sizeof(*part));
}

static dray_status bytes_keep(dray_part *part, dray_image *image, dray_error *error)
{
    if (image->byte_count >= SIZE_MAX / 2)
        return dray_fail(error, DRAY_E_FORMAT, "%" PRIu64 " bytes are no code", image->byte_count);
    part->bytes = drayi_alloc(part->env, (size_t)image->byte_count + 1, error);
    if (!part->bytes)
        return DRAY_E_NOMEM;
    part->byte_count = image->byte_count;
    return image->read(image, 0, part->bytes, image->byte_count, error);
}

// --- onto the device -------------------------------------------------------------------------------------

static dray_status kernels_list(dray_part *part, dray_error *error)
{
    uint32_t count = part->ops->kernel_count(part->program);
    part->kernels = drayi_alloc_array(part->env, count, sizeof(drayi_kernel), error);
    if (!part->kernels)
        return DRAY_E_NOMEM;
    part->kernel_count = count;
    for (uint32_t i = 0; i < count; i++) {
        drayi_kernel *kernel = &part->kernels[i];
        kernel->part = part;
        kernel->index = i;
        kernel->name = part->ops->kernel_name(part->program, i);
        DRAY_TRY(part->ops->parameters(part->program, i, kernel->parameters,
                                       DRAYI_KERNEL_PARAMETERS_MAX, &kernel->parameter_count,
                                       &kernel->known, error));
        if (kernel->parameter_count > DRAYI_KERNEL_PARAMETERS_MAX)
            return dray_fail(error, DRAY_E_UNSUPPORTED, "kernel %s has %u parameters, at most %d",
                             kernel->name, kernel->parameter_count, DRAYI_KERNEL_PARAMETERS_MAX);
    }
    return DRAY_OK;
}

static dray_status program_load(dray_part *part, const dray_load_request *request,
                                const drayi_kernel_code *given, dray_error *error)
{
    dray_device_native native;
    dray_device_get_native(request->device, &native);
    part->device = dray_device_retain(request->device);
    part->ops = native.ops->module;
    if (!part->ops || !(part->ops->forms & 1u << given->form))
        return dray_fail(error, DRAY_E_UNSUPPORTED, "%s takes no code of kind %s",
                         dray_device_name(request->device), request->kind);
    const dray_text_sink *sink = &request->options->build_log;
    const dray_code code = {.form = given->form,
                            .bytes = part->bytes + given->at,
                            .byte_count = given->bytes,
                            .kernels = given->names ? given->names->names : NULL,
                            .kernel_count = given->names ? given->names->count : 0,
                            .build_options = request->options->build_options,
                            .log = sink->write,
                            .log_self = sink->self};
    DRAY_TRY(part->ops->load(native.self, &code, &part->program, error));
    return kernels_list(part, error);
}

static dray_status names_keep(dray_part *part, const drayi_kernel_names *names, dray_error *error)
{
    for (uint64_t i = 0; names && i < names->count; i++)
        DRAY_TRY(drayi_kernel_names_add(
            &part->carried, (dray_text){names->names[i], strlen(names->names[i])}, error));
    return DRAY_OK;
}

// --- the part's table --------------------------------------------------------------------------------------

static dray_status part_function(dray_part *part, const char *name, dray_part_function *out,
                                 dray_error *error)
{
    if (!part->program)
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "module %s was loaded without a device: its bytes are here, its kernels "
                         "cannot run (dray_module_options.device)",
                         part->name);
    for (uint32_t i = 0; i < part->kernel_count; i++)
        if (strcmp(part->kernels[i].name, name) == 0) {
            *out = (dray_part_function){.call = drayi_kernel_call, .handle = &part->kernels[i]};
            return DRAY_OK;
        }
    return DRAY_E_NOTFOUND;
}

static const char *part_name_at(dray_part *part, uint64_t index)
{
    if (!part->program)
        return index < part->carried.count ? part->carried.names[index] : NULL;
    return index < part->kernel_count ? part->kernels[index].name : NULL;
}

static dray_status part_save(dray_part *part, const char *format, dray_any *out_bytes,
                             dray_error *error)
{
    if (!format)
        format = part->saved_as;
    if (format && strcmp(format, part->kind) != 0 && !part->save_as)
        return dray_fail(error, DRAY_E_UNSUPPORTED, "module %s cannot be saved as \"%s\"",
                         part->name, format);
    if (format && part->save_as && (part->saved_as || strcmp(format, part->kind) != 0))
        return part->save_as(part, format, out_bytes, error);
    *out_bytes = dray_any_string(DRAY_TYPE_BYTES, part->bytes, (size_t)part->byte_count);
    if (out_bytes->type_index == DRAY_TYPE_NONE)
        return dray_fail(error, DRAY_E_NOMEM, "no memory for a copy of %" PRIu64 " bytes",
                         part->byte_count);
    return DRAY_OK;
}

static dray_status part_source(dray_part *part, const char *format, dray_any *out_text,
                               dray_error *error)
{
    (void)format;
    if (!part->is_text)
        return DRAY_OK;
    *out_text = dray_any_string(DRAY_TYPE_TEXT, part->bytes, (size_t)part->byte_count);
    return out_text->type_index != DRAY_TYPE_NONE
               ? DRAY_OK
               : dray_fail(error, DRAY_E_NOMEM, "no memory for a copy of the source");
}

static const dray_part_ops kernel_part_ops = {
    .abi = DRAY_LOADER_ABI,
    .properties = DRAY_MODULE_SERIALIZABLE | DRAY_MODULE_RUNNABLE,
    .destroy = part_destroy,
    .function = part_function,
    .name_at = part_name_at,
    .save_as = part_save,
    .source = part_source,
};

/// Without a device.
static const dray_part_ops carried_part_ops = {
    .abi = DRAY_LOADER_ABI,
    .properties = DRAY_MODULE_SERIALIZABLE,
    .destroy = part_destroy,
    .function = part_function,
    .name_at = part_name_at,
    .save_as = part_save,
    .source = part_source,
};

dray_status drayi_kernel_part_create(const dray_load_request *request, const drayi_kernel_code *code,
                                     dray_loaded_part *out, dray_error *error)
{
    dray_part *part = drayi_new(request->env, dray_part, error);
    if (!part)
        return DRAY_E_NOMEM;
    part->env = request->env;
    part->carried.arena.env = request->env;
    part->context = request->context;
    part->kind = request->loader->kind;
    snprintf(part->name, sizeof(part->name), "%s", request->image->name);
    dray_status status = bytes_keep(part, request->image, error);
    if (status == DRAY_OK)
        status = request->device ? program_load(part, request, code, error)
                                 : names_keep(part, code->names, error);
    if (status != DRAY_OK) {
        part_destroy(part);
        return status;
    }
    part->is_text = code->form == DRAY_CODE_OPENCL_SOURCE || code->form == DRAY_CODE_PTX;
    *out = (dray_loaded_part){.part = part,
                              .ops = part->program ? &kernel_part_ops : &carried_part_ops};
    return DRAY_OK;
}
