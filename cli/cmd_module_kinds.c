/// dray module kinds: what this build loads, and what it knows by sight.
#include "command.h"
#include "json_out.h"
#include "table.h"
#include "terminal.h"
#include "text.h"
#include <dray/spi/loader.h>

#include <stdlib.h>
#include <string.h>

typedef struct kinds_values {
    bool json;
} kinds_values;

static void extensions_out(json_out *json, const dray_loader_ops *ops)
{
    json_array_flat(json, "extensions");
    for (const char *const *each = ops->extensions; each && *each; each++)
        json_string(json, NULL, *each);
    json_end(json);
}

static void kind_out(void *self, const dray_loader_ops *ops)
{
    json_out *json = self;
    json_object(json, NULL);
    json_string(json, "kind", ops->kind);
    json_bool(json, "loadable", ops->load != NULL);
    json_bool(json, "native", (ops->flags & DRAY_LOADER_NATIVE) != 0);
    json_bool(json, "serialized", (ops->flags & DRAY_LOADER_SERIALIZED) != 0);
    json_bool(json, "raw", (ops->flags & DRAY_LOADER_RAW) != 0);
    extensions_out(json, ops);
    json_string(json, "refusal", ops->load ? NULL : ops->refusal);
    json_string(json, "unproven", ops->unproven);
    json_end(json);
}

static void kind_row(void *self, const dray_loader_ops *ops)
{
    table *rows = self;
    char extensions[128] = "";
    for (const char *const *each = ops->extensions; each && *each; each++) {
        size_t used = strlen(extensions);
        snprintf(extensions + used, sizeof(extensions) - used, "%s.%s", used ? " " : "", *each);
    }
    table_cell(rows, "%s", ops->kind);
    table_cell(rows, "%s", ops->load ? "yes" : "no");
    table_cell(rows, "%s", extensions);
    if (!ops->load)
        table_cell(rows, "%s", ops->refusal);
    else if (ops->unproven)
        table_cell(rows, "unproven: %s", ops->unproven);
    else
        table_cell(rows, "%s", "");
}

static dray_status print_kinds(session *job)
{
    static const table_column columns[] = {{"kind", TABLE_LEFT, TABLE_WHOLE},
                                           {"loads", TABLE_LEFT, TABLE_WHOLE},
                                           {"files", TABLE_LEFT, TABLE_WHOLE},
                                           {"", TABLE_LEFT, TABLE_CUT_END}};
    table *rows = table_create(columns, 4);
    dray_status status = dray_loader_list(job->context, kind_row, rows, &job->error);
    if (status == DRAY_OK)
        table_print(rows, stdout, 0);
    table_destroy(rows);
    return status;
}

static dray_status kinds_document(session *job)
{
    json_out json = json_begin(stdout);
    json_object(&json, NULL);
    json_array(&json, "kinds");
    dray_status status = dray_loader_list(job->context, kind_out, &json, &job->error);
    json_end(&json);
    json_end(&json);
    json_finish(&json);
    return status;
}

static int kinds_run(const void *values)
{
    const kinds_values *given = values;
    session job = session_begin("module kinds", given->json);
    dray_status status = session_context(&job, (option_number){.given = true});
    if (status == DRAY_OK)
        status = given->json ? kinds_document(&job) : print_kinds(&job);
    return session_end(&job, status, given->json && status == DRAY_OK);
}

static const option kinds_options[] = {
    {"json", NULL, "one JSON document on standard output", .at = offsetof(kinds_values, json)},
    {0},
};

const command command_module_kinds = {
    .name = "module kinds",
    .summary = "the kinds of modules that this build knows",
    .description =
        "Kinds that are known by sight only are recognised, inspected, bundled and carried, and refused\n"
        "by name when they are to be loaded.\n",
    .options = kinds_options,
    .values_bytes = sizeof(kinds_values),
    .run = kinds_run,
};
