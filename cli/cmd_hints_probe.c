/// dray hints probe: what each backend of hints can do on this machine.
#include "command.h"
#include "json_out.h"
#include "table.h"
#include "terminal.h"
#include "text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct probe_values {
    bool json;
} probe_values;

/// One backend: the host, or a device.
typedef struct probed {
    const char *name;
    const char *unproven;
    dray_hints *hints;                    // NULL: none can be given
    const dray_hint_abilities *abilities; // of hints
    char why[384];                        // then
} probed;

static void probe_host(session *job, probed *out)
{
    dray_error error;
    *out = (probed){.name = "host"};
    if (dray_hints_open(job->context, NULL, &out->hints, &error) == DRAY_OK)
        out->abilities = dray_hints_abilities(out->hints);
    else
        snprintf(out->why, sizeof(out->why), "%s", error.message);
}

/// The device may go: its hints keep it.
static void probe_device(session *job, const dray_device_info *info, probed *out)
{
    dray_error error;
    dray_device *device = NULL;
    *out = (probed){.name = info->name, .unproven = info->unproven};
    if (info->unavailable[0]) {
        snprintf(out->why, sizeof(out->why), "%s", info->unavailable);
        return;
    }
    dray_status status = dray_device_open(job->context, info->name, &device, &error);
    if (status == DRAY_OK)
        status = dray_hints_open(job->context, device, &out->hints, &error);
    dray_device_release(device);
    if (status == DRAY_OK)
        out->abilities = dray_hints_abilities(out->hints);
    else
        snprintf(out->why, sizeof(out->why), "%s", error.message);
}

// --- JSON ----------------------------------------------------------------------------------------------

static void features_out(json_out *json, uint32_t features)
{
    json_array_flat(json, "calls");
    for (uint32_t bit = 1; bit; bit <<= 1) {
        if (features & bit && dray_hint_feature_name(bit))
            json_string(json, NULL, dray_hint_feature_name(bit));
    }
    json_end(json);
}

static void device_out(json_out *json, const dray_hint_abilities *abilities, uint32_t ordinal)
{
    const dray_hint_device *device = &abilities->devices[ordinal];
    json_object_flat(json, NULL);
    json_u64(json, "ordinal", ordinal);
    json_bool(json, "managed", device->managed);
    json_bool(json, "concurrent_managed", device->concurrent_managed);
    json_bool(json, "pageable", device->pageable);
    json_bool(json, "host_page_tables", device->host_page_tables);
    json_bool(json, "integrated", device->integrated);
    if (device->numa_node >= 0)
        json_i64(json, "numa_node", device->numa_node);
    else
        json_null(json, "numa_node");
    json_u64_or_null(json, "total_bytes", device->total_bytes, DRAY_UNKNOWN);
    json_u64_or_null(json, "free_bytes", device->free_bytes, DRAY_UNKNOWN);
    json_string(json, "no_effect", device->no_effect[0] ? device->no_effect : NULL);
    json_end(json);
}

static void host_out(json_out *json, const dray_hint_abilities *abilities)
{
    json_u64(json, "page_bytes", abilities->page_bytes);
    json_u64(json, "huge_page_bytes", abilities->huge_page_bytes);
    json_u64_or_null(json, "lockable_bytes", abilities->lockable_bytes, UINT64_MAX);
    json_u64_or_null(json, "free_bytes", abilities->host_free_bytes, DRAY_UNKNOWN);
    json_u64(json, "node_count", abilities->node_count);
    json_u64(json, "current_node", abilities->current_node);
}

static void backend_out(json_out *json, const probed *backend)
{
    const dray_hint_abilities *abilities = backend->abilities;
    json_object(json, NULL);
    json_string(json, "name", backend->name);
    json_bool(json, "available", abilities != NULL);
    json_string(json, "unavailable", abilities ? NULL : backend->why);
    json_string(json, "unproven", backend->unproven);
    if (abilities) {
        features_out(json, abilities->features);
        if (strcmp(abilities->family, "host") == 0)
            host_out(json, abilities);
        else
            json_u64(json, "driver_version", abilities->driver_version);
        json_array(json, "devices");
        for (uint32_t i = 0; i < abilities->device_count; i++)
            device_out(json, abilities, i);
        json_end(json);
    }
    json_end(json);
}

// --- for people ----------------------------------------------------------------------------------------

static void row(table *rows, const char *title, const char *text)
{
    char *safe = text_safe(text, strlen(text));
    table_cell(rows, "%s", title);
    table_cell(rows, "%s", safe);
    free(safe);
}

static void row_features(table *rows, uint32_t features)
{
    char text[512] = "";
    size_t used = 0;
    for (uint32_t bit = 1; bit; bit <<= 1) {
        const char *name = features & bit ? dray_hint_feature_name(bit) : NULL;
        if (!name || used >= sizeof(text))
            continue;
        int wrote = snprintf(text + used, sizeof(text) - used, "%s%s", used ? ", " : "", name);
        used += wrote > 0 ? (size_t)wrote : 0;
    }
    row(rows, "calls", text[0] ? text : "none");
}

static void rows_host(table *rows, const dray_hint_abilities *abilities)
{
    char first[TEXT_NUMBER_BYTES], second[TEXT_NUMBER_BYTES];
    table_cell(rows, "pages");
    table_cell(rows, "%s, huge pages %s", text_bytes(first, abilities->page_bytes),
               abilities->huge_page_bytes ? text_bytes(second, abilities->huge_page_bytes) : "off");
    table_cell(rows, "may be locked");
    table_cell(rows, "%s",
               abilities->lockable_bytes == UINT64_MAX
                   ? "all of it"
                   : text_bytes(first, abilities->lockable_bytes));
    table_cell(rows, "free");
    table_cell(rows, "%s",
               abilities->host_free_bytes == DRAY_UNKNOWN
                   ? "unknown"
                   : text_bytes(first, abilities->host_free_bytes));
    table_cell(rows, "NUMA nodes");
    table_cell(rows, "%u, this processor is on node %u", abilities->node_count,
               abilities->current_node);
}

static void rows_device(table *rows, const dray_hint_abilities *abilities)
{
    const dray_hint_device *device = &abilities->devices[abilities->ordinal];
    row(rows, "managed memory",
        !device->managed             ? "none"
        : device->concurrent_managed ? "with concurrent access"
                                     : "without concurrent access: hints are skipped");
    row(rows, "ordinary memory",
        device->host_page_tables ? "read through the host's page tables"
        : device->pageable       ? "may be hinted, too"
                                 : "not reached by the device");
    if (device->no_effect[0])
        row(rows, "no effect", device->no_effect);
}

static void print_backend(const probed *backend)
{
    static const table_column columns[] = {{NULL, TABLE_LEFT, 0}, {NULL, TABLE_LEFT, TABLE_CUT_END}};
    const dray_hint_abilities *abilities = backend->abilities;
    printf("%s%s%s%s\n", terminal_bold(stdout), backend->name, terminal_plain(stdout),
           abilities ? "" : " (no hints)");
    table *rows = table_create(columns, 2);
    if (!abilities)
        row(rows, "why", backend->why);
    else
        row_features(rows, abilities->features);
    if (abilities && strcmp(abilities->family, "host") == 0)
        rows_host(rows, abilities);
    else if (abilities)
        rows_device(rows, abilities);
    if (backend->unproven)
        row(rows, "unproven", backend->unproven);
    table_print(rows, stdout, 2);
    table_destroy(rows);
}

// --- all of them ---------------------------------------------------------------------------------------

static void show(json_out *json, probed *backend)
{
    if (json)
        backend_out(json, backend);
    else
        print_backend(backend);
    dray_hints_close(backend->hints);
}

static void show_all(session *job, const dray_device_list *list, json_out *json)
{
    probed backend;
    probe_host(job, &backend);
    show(json, &backend);
    for (uint32_t i = 0; i < dray_device_list_count(list); i++) {
        probe_device(job, dray_device_list_at(list, i), &backend);
        show(json, &backend);
    }
}

static int probe_run(const void *values)
{
    const probe_values *given = values;
    session job = session_begin("hints probe", given->json);
    dray_device_list *list = NULL;
    dray_status status = session_context(&job, (option_number){.given = true});
    if (status == DRAY_OK)
        status = dray_device_list_create(job.context, &list, &job.error);
    if (status == DRAY_OK && given->json) {
        json_out json = json_begin(stdout);
        json_object(&json, NULL);
        json_array(&json, "backends");
        show_all(&job, list, &json);
        json_end(&json);
        json_end(&json);
        json_finish(&json);
    } else if (status == DRAY_OK) {
        show_all(&job, list, NULL);
    }
    dray_device_list_destroy(list);
    return session_end(&job, status, false);
}

static const option probe_options[] = {
    {"json", NULL, "one JSON document on standard output", .at = offsetof(probe_values, json)},
    {0},
};

const command command_hints_probe = {
    .name = "hints probe",
    .summary = "what hints this machine's memory, kernel and drivers take",
    .description =
        "Asks Linux and every driver which calls for hints they have, and what each device can do with\n"
        "managed memory. A backend that takes no hints is listed with the reason.\n",
    .options = probe_options,
    .values_bytes = sizeof(probe_values),
    .run = probe_run,
};
