/// dray module tree: the modules inside a file and who imports whom; nothing is loaded.
#include "json_out.h"
#include "module_options.h"
#include "terminal.h"
#include "text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct tree_values {
    const char *path;
    bool json;
} tree_values;

static void tree_document(const dray_bundle *bundle)
{
    json_out json = json_begin(stdout);
    json_object(&json, NULL);
    json_u64(&json, "count", dray_bundle_count(bundle));
    json_u64(&json, "depth", dray_bundle_depth(bundle));
    json_array(&json, "modules");
    for (uint64_t i = 0; i < dray_bundle_count(bundle); i++) {
        const dray_bundle_module *module = dray_bundle_at(bundle, i);
        json_object_flat(&json, NULL);
        json_u64(&json, "index", i);
        json_string(&json, "kind", module->kind);
        json_u64(&json, "bytes", module->payload_bytes);
        json_bool(&json, "host", module->is_host != 0);
        json_array_flat(&json, "imports");
        for (uint64_t j = 0; j < module->import_count; j++)
            json_u64(&json, NULL, module->imports[j]);
        json_end(&json);
        json_end(&json);
    }
    json_end(&json);
    json_end(&json);
    json_finish(&json);
}

/// A module on the way down, and how many of its imports have been shown.
typedef struct tree_step {
    uint64_t module, shown;
} tree_step;

static void print_module(const dray_bundle *bundle, uint64_t index, uint64_t depth, bool again)
{
    const dray_bundle_module *module = dray_bundle_at(bundle, index);
    char *kind = text_safe(module->kind, strlen(module->kind));
    printf("%*s%" PRIu64 " ", depth < 40 ? (int)depth * 2 : 80, "", index);
    if (module->is_host)
        printf("(the library itself)");
    else
        printf("%s, %" PRIu64 " bytes", kind, module->payload_bytes);
    printf("%s\n", again && module->import_count ? ", imports as above" : "");
    free(kind);
}

/// Depth first; what a module imports is shown where it is met first.
static void print_tree(const dray_bundle *bundle)
{
    uint64_t count = dray_bundle_count(bundle), depth = 1;
    tree_step *steps = text_memory(NULL, count * sizeof(*steps));
    bool *seen = text_memory(NULL, count * sizeof(*seen));
    memset(seen, 0, count * sizeof(*seen));
    print_module(bundle, 0, 0, false);
    steps[0] = (tree_step){0, 0};
    seen[0] = true;
    while (depth > 0) {
        tree_step *step = &steps[depth - 1];
        const dray_bundle_module *module = dray_bundle_at(bundle, step->module);
        if (step->shown == module->import_count) {
            depth--;
            continue;
        }
        uint64_t next = module->imports[step->shown++];
        print_module(bundle, next, depth, seen[next]);
        if (!seen[next]) {
            seen[next] = true;
            steps[depth++] = (tree_step){next, 0};
        }
    }
    free(steps);
    free(seen);
}

static int tree_run(const void *values)
{
    const tree_values *given = values;
    session job = session_begin("module tree", given->json);
    dray_bundle *bundle = NULL;
    const dray_module_source source = module_file(given->path);
    dray_status status = session_context(&job, (option_number){.given = true});
    if (status == DRAY_OK)
        status = dray_bundle_open(job.context, &source, &bundle, &job.error);
    if (status == DRAY_OK && given->json)
        tree_document(bundle);
    else if (status == DRAY_OK)
        print_tree(bundle);
    dray_bundle_destroy(bundle);
    return session_end(&job, status, false);
}

static const option tree_options[] = {
    {"json", NULL, "one JSON document on standard output", .at = offsetof(tree_values, json)},
    {0},
};

const command command_module_tree = {
    .name = "module tree",
    .summary = "the modules inside a bundle or a library, and who imports whom",
    .description = "Reads the tree and checks all of it; nothing is loaded.\n",
    .operand = {"FILE", offsetof(tree_values, path), NULL, false},
    .options = tree_options,
    .values_bytes = sizeof(tree_values),
    .run = tree_run,
};
