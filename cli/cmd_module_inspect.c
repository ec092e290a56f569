/// dray module inspect: what a file is, what it offers and what it would do, read from its bytes.
#include "json_out.h"
#include "module_options.h"
#include "table.h"
#include "terminal.h"
#include "text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct inspect_values {
    const char *path, *kind;
    bool json;
} inspect_values;

static void list_out(json_out *json, const char *key, const char *const *items, uint64_t count)
{
    json_array(json, key);
    for (uint64_t i = 0; i < count; i++)
        json_string(json, NULL, items[i]);
    json_end(json);
}

static void facts_out(const dray_module_facts_view *facts)
{
    char digest[65];
    module_digest_text(facts->sha256, digest);
    json_out json = json_begin(stdout);
    json_object(&json, NULL);
    json_string(&json, "kind", facts->kind);
    json_u64(&json, "bytes", facts->bytes);
    json_string(&json, "arch", facts->arch[0] ? facts->arch : NULL);
    json_string(&json, "sha256", facts->has_sha256 ? digest : NULL);
    json_bool(&json, "loadable", facts->loadable != 0);
    list_out(&json, "functions", facts->functions, facts->function_count);
    list_out(&json, "needed", facts->needed, facts->needed_count);
    list_out(&json, "imports", facts->imports, facts->import_count);
    list_out(&json, "notes", facts->notes, facts->note_count);
    json_end(&json);
    json_finish(&json);
}

/// One row for each, the title in front of the first.
static void list_rows(table *rows, const char *title, const char *const *items, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        char *safe = text_safe(items[i], strlen(items[i]));
        table_cell(rows, "%s", i == 0 ? title : "");
        table_cell(rows, "%s", safe);
        free(safe);
    }
}

static void print_facts(const dray_module_facts_view *facts, const char *path)
{
    static const table_column columns[] = {{NULL, TABLE_LEFT, 0}, {NULL, TABLE_LEFT, TABLE_CUT_END}};
    char bytes[TEXT_NUMBER_BYTES], digest[65], *safe = text_safe(path, strlen(path));
    module_digest_text(facts->sha256, digest);
    printf("%s%s: %s%s%s, %s%s%s\n", terminal_bold(stdout), safe, facts->kind,
           facts->arch[0] ? " for " : "", facts->arch, text_bytes(bytes, facts->bytes),
           facts->loadable ? "" : ", not loadable here", terminal_plain(stdout));
    free(safe);
    table *rows = table_create(columns, 2);
    if (facts->has_sha256) {
        table_cell(rows, "sha256");
        table_cell(rows, "%s", digest);
    }
    list_rows(rows, "functions", facts->functions, facts->function_count);
    list_rows(rows, "needs", facts->needed, facts->needed_count);
    list_rows(rows, "imports", facts->imports, facts->import_count);
    list_rows(rows, "note", facts->notes, facts->note_count);
    table_print(rows, stdout, 2);
    table_destroy(rows);
}

static int inspect_run(const void *values)
{
    const inspect_values *given = values;
    session job = session_begin("module inspect", given->json);
    dray_module_facts *facts = NULL;
    const dray_module_source source = module_file(given->path);
    dray_status status = session_context(&job, (option_number){.given = true});
    if (status == DRAY_OK)
        status = dray_module_inspect(job.context, given->kind, &source, &facts, &job.error);
    if (status == DRAY_OK && given->json)
        facts_out(dray_module_facts_get(facts));
    else if (status == DRAY_OK)
        print_facts(dray_module_facts_get(facts), given->path);
    dray_module_facts_destroy(facts);
    return session_end(&job, status, false);
}

static const option inspect_options[] = {
    {"kind", "KIND", "what it is, instead of what it looks like", .parse = option_text,
     .at = offsetof(inspect_values, kind)},
    {"json", NULL, "one JSON document on standard output", .at = offsetof(inspect_values, json)},
    {0},
};

const command command_module_inspect = {
    .name = "module inspect",
    .summary = "kind, architecture, digest and functions of a file; nothing of it runs",
    .description =
        "Reads the file and says what it is: kind, size, architecture, SHA-256, its functions, the\n"
        "libraries it needs, the kinds of modules it imports, and what else a reader should know before\n"
        "loading it (code that runs at load, search paths, memory that is writable and executable).\n",
    .operand = {"FILE", offsetof(inspect_values, path), NULL, false},
    .options = inspect_options,
    .values_bytes = sizeof(inspect_values),
    .run = inspect_run,
};
