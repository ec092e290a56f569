/// dray devices: every accelerator that a driver on this machine shows, and why the others cannot be used.
#include "command.h"
#include "json_out.h"
#include "table.h"
#include "terminal.h"
#include "text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct devices_values {
    bool json;
} devices_values;

// --- JSON ----------------------------------------------------------------------------------------

static void capabilities_out(json_out *json, uint32_t capabilities)
{
    json_array_flat(json, "capabilities");
    for (uint32_t bit = 1; bit; bit <<= 1) {
        if (capabilities & bit && dray_device_capability_name(bit))
            json_string(json, NULL, dray_device_capability_name(bit));
    }
    json_end(json);
}

static const char *or_null(const char *text)
{
    return text[0] ? text : NULL;
}

static void device_out(json_out *json, const dray_device_info *info)
{
    bool available = !info->unavailable[0];
    json_object(json, NULL);
    json_string(json, "name", info->name);
    json_string(json, "family", info->family);
    json_bool(json, "available", available);
    json_string(json, "unavailable", or_null(info->unavailable));
    json_string(json, "unproven", info->unproven);
    if (available) {
        json_string(json, "model", info->model);
        json_string(json, "driver", info->driver);
        json_string(json, "symbols", or_null(info->symbols));
        json_string(json, "missing", or_null(info->missing));
        json_u64_or_null(json, "total_bytes", info->total_bytes, DRAY_UNKNOWN);
        json_u64_or_null(json, "free_bytes", info->free_bytes, DRAY_UNKNOWN);
        json_u64_or_null(json, "largest_bytes", info->largest_bytes, DRAY_UNKNOWN);
        json_u64(json, "alignment", info->alignment);
        if (info->numa_node >= 0)
            json_i64(json, "numa_node", info->numa_node);
        else
            json_null(json, "numa_node");
        capabilities_out(json, info->capabilities);
    }
    json_end(json);
}

static void document_out(const dray_device_list *list)
{
    json_out json = json_begin(stdout);
    json_object(&json, NULL);
    json_array(&json, "devices");
    for (uint32_t i = 0; i < dray_device_list_count(list); i++)
        device_out(&json, dray_device_list_at(list, i));
    json_end(&json);
    json_end(&json);
    json_finish(&json);
}

// --- for people ----------------------------------------------------------------------------------

/// A row whose text comes from a driver.
static void row(table *rows, const char *title, const char *text)
{
    if (!text || !text[0])
        return;
    char *safe = text_safe(text, strlen(text));
    table_cell(rows, "%s", title);
    table_cell(rows, "%s", safe);
    free(safe);
}

static void row_memory(table *rows, const dray_device_info *info)
{
    char total[TEXT_NUMBER_BYTES], room[TEXT_NUMBER_BYTES], largest[TEXT_NUMBER_BYTES];
    table_cell(rows, "memory");
    if (info->total_bytes == DRAY_UNKNOWN)
        table_cell(rows, "unknown");
    else if (info->free_bytes == DRAY_UNKNOWN)
        table_cell(rows, "%s, free: the driver does not tell", text_bytes(total, info->total_bytes));
    else
        table_cell(rows, "%s, %s free", text_bytes(total, info->total_bytes),
                   text_bytes(room, info->free_bytes));
    if (info->largest_bytes != DRAY_UNKNOWN && info->largest_bytes < info->total_bytes) {
        table_cell(rows, "largest region");
        table_cell(rows, "%s", text_bytes(largest, info->largest_bytes));
    }
}

static void row_capabilities(table *rows, uint32_t capabilities)
{
    char text[256] = "";
    size_t used = 0;
    for (uint32_t bit = 1; bit; bit <<= 1) {
        const char *name = capabilities & bit ? dray_device_capability_name(bit) : NULL;
        if (!name || used >= sizeof(text))
            continue;
        int wrote = snprintf(text + used, sizeof(text) - used, "%s%s", used ? ", " : "", name);
        used += wrote > 0 ? (size_t)wrote : 0;
    }
    row(rows, "can", text);
}

static void print_device(const dray_device_info *info)
{
    static const table_column columns[] = {{NULL, TABLE_LEFT, 0}, {NULL, TABLE_LEFT, TABLE_CUT_END}};
    printf("%s%s%s%s\n", terminal_bold(stdout), info->name, terminal_plain(stdout),
           info->unavailable[0] ? " (not available)" : "");
    table *rows = table_create(columns, 2);
    row(rows, "why", info->unavailable);
    if (!info->unavailable[0]) {
        row(rows, "model", info->model);
        row(rows, "driver", info->driver);
        row_memory(rows, info);
        row_capabilities(rows, info->capabilities);
        row(rows, "versions used", info->symbols);
        row(rows, "missing calls", info->missing);
    }
    row(rows, "unproven", info->unproven);
    table_print(rows, stdout, 2);
    table_destroy(rows);
}

static int devices_run(const void *values)
{
    const devices_values *given = values;
    session job = session_begin("devices", given->json);
    dray_device_list *list = NULL;
    dray_status status = session_context(&job, (option_number){.given = true});
    if (status == DRAY_OK)
        status = dray_device_list_create(job.context, &list, &job.error);
    if (status == DRAY_OK) {
        if (given->json)
            document_out(list);
        for (uint32_t i = 0; !given->json && i < dray_device_list_count(list); i++)
            print_device(dray_device_list_at(list, i));
        dray_device_list_destroy(list);
    }
    return session_end(&job, status, false);
}

static const option devices_options[] = {
    {"json", NULL, "one JSON document on standard output", .at = offsetof(devices_values, json)},
    {0},
};

const command command_devices = {
    .name = "devices",
    .summary = "accelerators: memory, what each can do, or why it cannot be used",
    .description =
        "Asks the driver of every family (CUDA, OpenCL) and the simulated one for their devices. A family\n"
        "whose driver is not there, or refuses, is listed with the reason. `unproven` says what a family\n"
        "has not been run on yet.\n",
    .options = devices_options,
    .values_bytes = sizeof(devices_values),
    .run = devices_run,
};
