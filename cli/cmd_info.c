/// dray info: this build, what was left out of it and what is unproven, and what this machine gives.
#include "command.h"
#include "json_out.h"
#include "table.h"
#include "terminal.h"
#include "text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct info_values {
    bool json;
} info_values;

// --- JSON ----------------------------------------------------------------------------------------

static void components_out(json_out *json)
{
    json_array(json, "components");
    for (uint32_t i = 0; i < dray_component_count(); i++) {
        const dray_component_info *component = dray_component_at(i);
        json_object_flat(json, NULL);
        json_string(json, "kind", component->kind);
        json_string(json, "name", component->name);
        json_bool(json, "built_in", component->left_out == NULL);
        json_string(json, "left_out", component->left_out);
        json_string(json, "note", component->note);
        json_string(json, "unproven", component->proof);
        json_end(json);
    }
    json_end(json);
}

/// "works": true, or false with the reason beside it.
static void feature_out(json_out *json, const char *name, int32_t code)
{
    json_object_flat(json, name);
    json_bool(json, "works", code == 0);
    json_string(json, "reason", code ? strerror(code) : NULL);
    json_end(json);
}

static void machine_out(json_out *json, const dray_machine_info *machine)
{
    json_object(json, "machine");
    json_u64(json, "cpu_count", machine->cpu_count);
    json_u64_or_null(json, "memory_bytes", machine->memory_bytes, DRAY_UNKNOWN);
    json_u64_or_null(json, "available_bytes", machine->available_bytes, DRAY_UNKNOWN);
    json_bool(json, "limited_by_cgroup", machine->limited_by_cgroup != 0);
    json_u64(json, "page_bytes", machine->page_bytes);
    json_u64(json, "huge_page_bytes", machine->huge_page_bytes);
    json_u64_or_null(json, "lockable_bytes", machine->lockable_bytes, DRAY_UNKNOWN);
    json_u64_or_null(json, "lockable_bytes_max", machine->lockable_bytes_max, DRAY_UNKNOWN);
    json_bool(json, "locks_anything", machine->locks_anything != 0);
    feature_out(json, "io_uring", machine->io_uring_code);
    feature_out(json, "cachestat", machine->cachestat_code);
    feature_out(json, "noexec_seal", machine->noexec_seal_code);
    json_end(json);
}

static void document_out(const dray_machine_info *machine)
{
    json_out json = json_begin(stdout);
    json_object(&json, NULL);
    json_string(&json, "version", dray_version());
    components_out(&json);
    machine_out(&json, machine);
    json_end(&json);
    json_finish(&json);
}

// --- for people ----------------------------------------------------------------------------------

static void print_components(void)
{
    static const table_column columns[] = {{"component", TABLE_LEFT, 0},
                                           {"name", TABLE_LEFT, 0},
                                           {"built in", TABLE_LEFT, 0},
                                           {"remark", TABLE_LEFT, TABLE_CUT_END}};
    table *rows = table_create(columns, 4);
    for (uint32_t i = 0; i < dray_component_count(); i++) {
        const dray_component_info *component = dray_component_at(i);
        const char *why = component->left_out ? component->left_out : component->note;
        table_cell(rows, "%s", component->kind);
        table_cell(rows, "%s", component->name);
        table_cell(rows, "%s", component->left_out ? "no" : "yes");
        table_cell(rows, "%s%s%s%s", why ? why : "", why && component->proof ? "; " : "",
                   component->proof ? "unproven: " : "", component->proof ? component->proof : "");
    }
    table_print(rows, stdout, 2);
    table_destroy(rows);
}

static void row_memory(table *rows, const dray_machine_info *machine)
{
    char available[TEXT_NUMBER_BYTES], all[TEXT_NUMBER_BYTES];
    table_cell(rows, "memory");
    if (machine->memory_bytes == DRAY_UNKNOWN)
        table_cell(rows, "unknown");
    else
        table_cell(rows, "%s available of %s%s", text_bytes(available, machine->available_bytes),
                   text_bytes(all, machine->memory_bytes),
                   machine->limited_by_cgroup ? " (limited by the cgroup)" : "");
}

static void row_lockable(table *rows, const dray_machine_info *machine)
{
    char now[TEXT_NUMBER_BYTES], most[TEXT_NUMBER_BYTES];
    table_cell(rows, "lockable memory");
    if (machine->locks_anything)
        table_cell(rows, "no limit (CAP_IPC_LOCK)");
    else if (machine->lockable_bytes == DRAY_UNKNOWN)
        table_cell(rows, "no limit");
    else if (machine->lockable_bytes_max == machine->lockable_bytes)
        table_cell(rows, "%s", text_bytes(now, machine->lockable_bytes));
    else
        table_cell(rows, "%s; ulimit -l raises it up to %s",
                   text_bytes(now, machine->lockable_bytes),
                   machine->lockable_bytes_max == DRAY_UNKNOWN
                       ? "no limit"
                       : text_bytes(most, machine->lockable_bytes_max));
}

static void row_feature(table *rows, const char *name, int32_t code, const char *otherwise)
{
    table_cell(rows, "%s", name);
    if (code == 0)
        table_cell(rows, "works");
    else
        table_cell(rows, "no (%s): %s", strerror(code), otherwise);
}

static void print_machine(const dray_machine_info *machine)
{
    static const table_column columns[] = {{NULL, TABLE_LEFT, 0}, {NULL, TABLE_LEFT, TABLE_CUT_END}};
    char bytes[TEXT_NUMBER_BYTES];
    table *rows = table_create(columns, 2);
    table_cell(rows, "processors");
    table_cell(rows, "%" PRIu32, machine->cpu_count);
    row_memory(rows, machine);
    row_lockable(rows, machine);
    table_cell(rows, "huge pages");
    table_cell(rows, "%s",
               machine->huge_page_bytes ? text_bytes(bytes, machine->huge_page_bytes) : "off");
    row_feature(rows, "io_uring", machine->io_uring_code, "threads and pread do its work");
    row_feature(rows, "cachestat", machine->cachestat_code,
                "the page cache is looked at with mincore");
    row_feature(rows, "sealed non-executable memory", machine->noexec_seal_code,
                "sealed without that flag");
    table_print(rows, stdout, 2);
    table_destroy(rows);
}

static int info_run(const void *values)
{
    const info_values *given = values;
    session job = session_begin("info", given->json);
    dray_machine_info machine;
    dray_status status = session_context(&job, (option_number){.given = true});
    if (status == DRAY_OK) {
        dray_context_get_machine(job.context, &machine);
        if (given->json) {
            document_out(&machine);
        } else {
            printf("%sdray %s%s\n\n", terminal_bold(stdout), dray_version(), terminal_plain(stdout));
            print_components();
            printf("\n%sthis machine%s\n", terminal_bold(stdout), terminal_plain(stdout));
            print_machine(&machine);
        }
    }
    return session_end(&job, status, false);
}

static const option info_options[] = {
    {"json", NULL, "one JSON document on standard output", .at = offsetof(info_values, json)},
    {0},
};

const command command_info = {
    .name = "info",
    .summary = "this build and this machine: components, what is missing, what is unproven",
    .description =
        "Lists the plug-ins of this build, those that were left out and why, what has not been proven\n"
        "on real hardware yet, and what the kernel gives to this process.\n",
    .options = info_options,
    .values_bytes = sizeof(info_values),
    .run = info_run,
};
