/// The module object: a loaded part with a name, its functions' names, imports, and a count.
#include "dray/module.h"

#include "base/sort.h"
#include "module/module_object.h"
#include "module/tree.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

// --- life ---------------------------------------------------------------------------------------------

static int compare_names(const void *left, const void *right, const void *self)
{
    (void)self;
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

static dray_status module_names(dray_module *module, dray_error *error)
{
    const dray_loaded_part *part = &module->loaded->part;
    uint64_t count = 0;
    while (part->ops->name_at && part->ops->name_at(part->part, count))
        count++;
    module->name_capacity = 2 * count; // the second half is for sorting
    module->names = drayi_alloc_array(drayi_module_env(module), module->name_capacity,
                                      sizeof(*module->names), error);
    if (!module->names)
        return DRAY_E_NOMEM;
    for (uint64_t i = 0; i < count; i++)
        module->names[i] = part->ops->name_at(part->part, i);
    drayi_sort(module->names, module->names + count, count, sizeof(*module->names), compare_names,
               NULL);
    module->name_count = count;
    return DRAY_OK;
}

static void module_free(dray_module *module)
{
    drayi_env *env = drayi_module_env(module);
    drayi_module_code *loaded = module->loaded;
    if (loaded && loaded->part.context_slot)
        *loaded->part.context_slot = NULL;
    drayi_module_lent_free(module);
    drayi_free(env, module->names, module->name_capacity * sizeof(*module->names));
    drayi_free(env, module->imports, module->import_capacity * sizeof(dray_module *));
    drayi_free(env, module, sizeof(*module));
    if (loaded)
        drayi_module_code_end(loaded);
}

dray_status drayi_module_wrap(drayi_modules *modules, const char *kind, const char *name,
                              const dray_loaded_part *part, dray_module *provider,
                              dray_module **out, dray_error *error)
{
    drayi_module_code *loaded = drayi_module_code_create(modules, name, part, provider, error);
    if (!loaded) {
        part->ops->destroy(part->part);
        return DRAY_E_NOMEM;
    }
    dray_module *module = drayi_new(modules->env, dray_module, error);
    if (!module) {
        drayi_module_code_end(loaded);
        return DRAY_E_NOMEM;
    }
    module->lookup = drayi_module_context_lookup;
    module->references = 1;
    module->modules = modules;
    module->loaded = loaded;
    module->properties = part->ops->properties;
    snprintf(module->kind, sizeof(module->kind), "%s", kind);
    dray_status status = module_names(module, error);
    if (status != DRAY_OK) {
        module_free(module);
        return status;
    }
    if (part->context_slot)
        *part->context_slot = module;
    *out = module;
    return DRAY_OK;
}

dray_module *dray_module_retain(dray_module *module)
{
    atomic_fetch_add_explicit(&module->references, 1, memory_order_relaxed);
    return module;
}

static bool module_drop(dray_module *module)
{
    return atomic_fetch_sub_explicit(&module->references, 1, memory_order_acq_rel) == 1;
}

/// A chain of imports may be as long as it likes: those that end wait in a list, not on the stack.
void dray_module_release(dray_module *module)
{
    if (!module || !module_drop(module))
        return;
    module->next_to_end = NULL;
    while (module) {
        dray_module *rest = module->next_to_end;
        for (uint64_t i = 0; i < module->import_count; i++) {
            dray_module *imported = module->imports[i];
            if (module_drop(imported)) {
                imported->next_to_end = rest;
                rest = imported;
            }
        }
        module_free(module);
        module = rest;
    }
}

// --- facts ----------------------------------------------------------------------------------------------

const char *dray_module_kind(const dray_module *module)
{
    return module->kind;
}

const char *dray_module_name(const dray_module *module)
{
    return module->loaded->name;
}

uint32_t dray_module_properties(const dray_module *module)
{
    return module->properties;
}

uint64_t dray_module_function_count(const dray_module *module)
{
    return module->name_count;
}

const char *dray_module_function_name(const dray_module *module, uint64_t index)
{
    return index < module->name_count ? module->names[index] : NULL;
}

// --- functions --------------------------------------------------------------------------------------------

/// DRAY_E_NOTFOUND without a message.
static dray_status function_of(dray_module *module, const char *name, dray_function_object **out,
                               dray_error *error)
{
    const dray_loaded_part *part = &module->loaded->part;
    dray_part_function function = {0};
    DRAY_TRY(part->ops->function(part->part, name, &function, error));
    *out = drayi_module_function(module, &function, error);
    return *out ? DRAY_OK : DRAY_E_NOMEM;
}

dray_status drayi_module_find(dray_module *module, const char *name, bool itself,
                              dray_function_object **out, dray_error *error)
{
    dray_status status = itself ? function_of(module, name, out, error) : DRAY_E_NOTFOUND;
    if (status != DRAY_E_NOTFOUND)
        return status;
    drayi_module_list imports;
    DRAY_TRY(drayi_module_reachable(module, &imports, error));
    for (uint64_t i = 0; i < imports.count && status == DRAY_E_NOTFOUND; i++)
        status = function_of(imports.modules[i], name, out, error);
    drayi_module_list_free(drayi_module_env(module), &imports);
    return status;
}

dray_status dray_module_get_function(dray_module *module, const char *name, bool through_imports,
                                     dray_function_object **out_function, dray_error *error)
{
    dray_status status = through_imports
                             ? drayi_module_find(module, name, true, out_function, error)
                             : function_of(module, name, out_function, error);
    if (status == DRAY_E_NOTFOUND)
        dray_fail(error, status, "module %s (%s) has no function \"%s\"%s", dray_module_name(module),
                  module->kind, name, through_imports ? ", nor has any that it imports" : "");
    return status;
}

typedef dray_status getter_of(dray_part *part, const char *name, dray_part_function *out,
                              dray_error *error);

static dray_status function_text(dray_module *module, getter_of *getter, const char *name,
                                 dray_any *out, dray_error *error)
{
    *out = dray_any_none();
    dray_part_function function = {0};
    dray_status status =
        getter ? getter(module->loaded->part.part, name, &function, error) : DRAY_E_NOTFOUND;
    if (status != DRAY_OK)
        return status == DRAY_E_NOTFOUND ? DRAY_OK : status;
    dray_function_object *object = drayi_module_function(module, &function, error);
    if (!object)
        return DRAY_E_NOMEM;
    status = dray_function_call(module->modules->context, object, NULL, 0, out, error);
    dray_object_release(&object->head);
    dray_byte_array text;
    if (status == DRAY_OK && !dray_any_get_text(out, &text)) {
        dray_any_release(out);
        status = dray_fail(error, DRAY_E_FAILED, "module %s: the text about \"%s\" is no text",
                           dray_module_name(module), name);
    }
    return status;
}

dray_status dray_module_function_doc(dray_module *module, const char *name, dray_any *out,
                                     dray_error *error)
{
    return function_text(module, module->loaded->part.ops->doc, name, out, error);
}

dray_status dray_module_function_metadata(dray_module *module, const char *name, dray_any *out,
                                          dray_error *error)
{
    return function_text(module, module->loaded->part.ops->metadata, name, out, error);
}

// --- bytes ------------------------------------------------------------------------------------------------

dray_status dray_module_save_as(dray_module *module, const char *format, dray_any *out_bytes,
                                dray_error *error)
{
    const dray_loaded_part *part = &module->loaded->part;
    *out_bytes = dray_any_none();
    if (part->ops->save_as)
        return part->ops->save_as(part->part, format, out_bytes, error);
    if (format && strcmp(format, module->kind) != 0)
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "module %s: of kind %s, cannot be saved as \"%s\"",
                         dray_module_name(module), module->kind, format);
    if (!part->ops->save)
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "module %s: modules of kind %s do not keep their bytes",
                         dray_module_name(module), module->kind);
    return part->ops->save(part->part, out_bytes, error);
}

dray_status dray_module_save(dray_module *module, dray_any *out_bytes, dray_error *error)
{
    return dray_module_save_as(module, NULL, out_bytes, error);
}

static dray_status write_new_file(const drayi_os *os, const char *path,
                                  const dray_byte_array *bytes, dray_error *error)
{
    int fd;
    DRAY_TRY(drayi_open_file(os, path, O_WRONLY | O_CREAT | O_EXCL, 0666, &fd, error));
    dray_status status = drayi_pwrite_all(os, fd, path, bytes->data, bytes->size, 0, error);
    int code = os->close(fd);
    if (status == DRAY_OK && code < 0)
        status = dray_fail_os(error, -code, "close", "%s", path);
    if (status != DRAY_OK)
        os->unlink(path);
    return status;
}

dray_status dray_module_write_file(dray_module *module, const char *path, const char *format,
                                   dray_error *error)
{
    const dray_loaded_part *part = &module->loaded->part;
    if (part->ops->write)
        return part->ops->write(part->part, path, format, error);
    dray_any saved;
    DRAY_TRY(dray_module_save_as(module, format, &saved, error));
    dray_byte_array bytes;
    dray_status status = DRAY_OK;
    if (dray_any_get_bytes(&saved, &bytes))
        status = write_new_file(drayi_module_env(module)->os, path, &bytes, error);
    else
        status = dray_fail(error, DRAY_E_INTERNAL, "module %s: what it saved is no bytes",
                           dray_module_name(module));
    dray_any_release(&saved);
    return status;
}

dray_status dray_module_inspect_source(dray_module *module, const char *format, dray_any *out_text,
                                       dray_error *error)
{
    const dray_loaded_part *part = &module->loaded->part;
    *out_text = dray_any_text("");
    return part->ops->source ? part->ops->source(part->part, format, out_text, error) : DRAY_OK;
}

// --- as a value -------------------------------------------------------------------------------------------

typedef struct module_value {
    dray_object head; // first
    dray_module *module;
} module_value;

static void value_delete(void *self, int flags)
{
    module_value *value = self;
    dray_module *module = value->module;
    drayi_env *env = drayi_module_env(module);
    if (!(flags & DRAY_DELETE_WEAK))
        return; // somebody still holds it weakly: the memory stays, and the module with it
    drayi_free(env, (uint8_t *)self - DRAY_OBJECT_PREFIX, sizeof(*value) + DRAY_OBJECT_PREFIX);
    dray_module_release(module);
}

dray_any dray_any_module(dray_module *module)
{
    uint8_t *block =
        drayi_alloc(drayi_module_env(module), sizeof(module_value) + DRAY_OBJECT_PREFIX, NULL);
    if (!block)
        return dray_any_none();
    module_value *value = (module_value *)(void *)(block + DRAY_OBJECT_PREFIX);
    value->head = (dray_object){
        .count = DRAY_OBJECT_FRESH, .type_index = DRAY_TYPE_OBJECT, .deleter = value_delete};
    value->module = dray_module_retain(module);
    return dray_any_take(&value->head);
}

dray_module *dray_any_get_module(const dray_any *any)
{
    if (any->type_index != DRAY_TYPE_OBJECT || !any->as.object ||
        any->as.object->deleter != value_delete)
        return NULL;
    return ((const module_value *)(const void *)any->as.object)->module;
}
