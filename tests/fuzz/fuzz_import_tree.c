/// The reader of import trees over any bytes: what it takes lies inside, can be walked leaves first
/// without a cycle, and is written again to the same bytes.
#include "abi/import_tree.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool promise)
{
    if (!promise)
        abort();
}

static void check_order(const drayi_tree *tree)
{
    uint8_t *done = calloc(tree->count, 1);
    require(done != NULL);
    for (uint64_t i = 0; i < tree->count; i++) {
        const drayi_tree_module *module = &tree->modules[tree->leaves_first[i]];
        for (uint64_t j = 0; j < module->import_count; j++)
            require(done[module->imports[j]]);
        require(!done[tree->leaves_first[i]]);
        done[tree->leaves_first[i]] = 1;
    }
    require(tree->leaves_first[tree->count - 1] == 0);
    free(done);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dray_context *context;
    require(dray_context_create(NULL, &context, NULL) == DRAY_OK);
    drayi_env *env = drayi_env_of(context);
    drayi_tree tree;
    dray_error error = {.status = DRAY_OK};
    dray_status status = drayi_tree_read(env, data, size, false, &tree, &error);
    if (status == DRAY_OK) {
        uint8_t *again;
        uint64_t bytes;
        check_order(&tree);
        require(drayi_tree_write(env, tree.modules, tree.count, &again, &bytes, NULL) == DRAY_OK);
        require(bytes == size && memcmp(again, data, size) == 0);
        drayi_free(env, again, bytes);
    } else {
        require(status == DRAY_E_FORMAT && error.rule && error.message[0]);
    }
    drayi_tree_free(env, &tree);
    dray_context_destroy(context);
    return 0;
}
