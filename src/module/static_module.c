/// Modules over tables of the program itself: the loader `static`, whose input is no bytes.
#include "base/sort.h"
#include "module/module_object.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct dray_part {
    drayi_env *env;
    dray_static_table table;         // its functions are `functions`
    dray_static_function *functions; // sorted by name
};

static void static_destroy(dray_part *part)
{
    drayi_env *env = part->env;
    if (part->table.release)
        part->table.release(part->table.self);
    drayi_free(env, part->functions, 2 * part->table.count * sizeof(*part->functions));
    drayi_free(env, part, sizeof(*part));
}

static int compare_functions(const void *left, const void *right, const void *self)
{
    (void)self;
    const dray_static_function *a = left, *b = right;
    return strcmp(a->name, b->name);
}

static const dray_static_function *static_find(const dray_part *part, const char *name)
{
    uint64_t low = 0, high = part->table.count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        int order = strcmp(name, part->functions[middle].name);
        if (order == 0)
            return &part->functions[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static dray_status static_function(dray_part *part, const char *name, dray_part_function *out,
                                   dray_error *error)
{
    (void)error;
    const dray_static_function *function = static_find(part, name);
    if (!function)
        return DRAY_E_NOTFOUND;
    *out = (dray_part_function){.call = function->call, .handle = function->handle};
    return DRAY_OK;
}

static const char *static_name_at(dray_part *part, uint64_t index)
{
    return index < part->table.count ? part->functions[index].name : NULL;
}

/// The handle is the text.
static int give_text(void *handle, const dray_any *arguments, int32_t count, dray_any *result)
{
    (void)arguments;
    (void)count;
    *result = dray_any_text(handle);
    return 0;
}

static dray_status static_text(const char *text, dray_part_function *out)
{
    if (!text)
        return DRAY_E_NOTFOUND;
    *out = (dray_part_function){.call = give_text};
    memcpy(&out->handle, &text, sizeof(text)); // read only, whatever its type says
    return DRAY_OK;
}

static dray_status static_doc(dray_part *part, const char *name, dray_part_function *out,
                              dray_error *error)
{
    (void)error;
    const dray_static_function *function = static_find(part, name);
    return static_text(function ? function->doc : NULL, out);
}

static dray_status static_metadata(dray_part *part, const char *name, dray_part_function *out,
                                   dray_error *error)
{
    (void)error;
    const dray_static_function *function = static_find(part, name);
    return static_text(function ? function->metadata : NULL, out);
}

static const dray_part_ops static_ops = {
    .abi = DRAY_LOADER_ABI,
    .properties = DRAY_MODULE_RUNNABLE,
    .destroy = static_destroy,
    .function = static_function,
    .name_at = static_name_at,
    .doc = static_doc,
    .metadata = static_metadata,
};

static dray_status check_functions(const dray_static_table *table,
                                   const dray_static_function *sorted, dray_error *error)
{
    for (uint64_t i = 0; i + 1 < table->count; i++)
        if (strcmp(sorted[i].name, sorted[i + 1].name) == 0)
            return dray_fail(error, DRAY_E_INVALID, "static module: \"%s\" stands in it twice",
                             sorted[i].name);
    return DRAY_OK;
}

static dray_status part_build(dray_part *part, const dray_static_table *table, dray_error *error)
{
    for (uint64_t i = 0; i < table->count; i++)
        if (!table->functions[i].name || !table->functions[i].call)
            return dray_fail(error, DRAY_E_INVALID,
                             "static module: entry %" PRIu64 " of %" PRIu64 " has no %s", i,
                             table->count, table->functions[i].name ? "function" : "name");
    part->functions = drayi_alloc_array(part->env, table->count, 2 * sizeof(*part->functions),
                                        error); // and for sorting
    if (!part->functions)
        return DRAY_E_NOMEM;
    part->table.count = table->count;
    if (table->count > 0)
        memcpy(part->functions, table->functions, table->count * sizeof(*part->functions));
    drayi_sort(part->functions, part->functions + table->count, table->count,
               sizeof(*part->functions), compare_functions, NULL);
    return check_functions(table, part->functions, error);
}

dray_status dray_module_create_static(dray_context *context, const dray_static_table *given,
                                      dray_module **out_module, dray_error *error)
{
    dray_static_table table;
    DRAY_TRY(drayi_options(&table, sizeof(table), given, "dray_static_table", error));
    drayi_modules *modules = drayi_modules_of(drayi_env_of(context), error);
    dray_part *part = modules ? drayi_new(modules->env, dray_part, error) : NULL;
    if (!part)
        return DRAY_E_NOMEM;
    part->env = modules->env;
    dray_status status = part_build(part, &table, error);
    if (status != DRAY_OK) {
        static_destroy(part); // `release` is not its own yet
        return status;
    }
    const dray_loaded_part loaded = {.part = part, .ops = &static_ops};
    status = drayi_module_wrap(modules, "static", table.name ? table.name : "static", &loaded, NULL,
                               out_module, error);
    if (status != DRAY_OK)
        return status;
    part->table.release = table.release;
    part->table.self = table.self;
    return DRAY_OK;
}
