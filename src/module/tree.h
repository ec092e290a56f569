/// Who imports whom. One lock per context guards every list, so that a tree is seen as it was at one
/// moment; no code of others runs under it.
#ifndef DRAY_MODULE_TREE_H
#define DRAY_MODULE_TREE_H

#include "module/module_object.h"

typedef struct drayi_module_list {
    dray_module **modules; // each retained
    uint64_t count, capacity;
} drayi_module_list;

/// Every module that `module` imports, and what those import: depth first, in order, each once.
dray_status drayi_module_reachable(dray_module *module, drayi_module_list *out, dray_error *error);
void drayi_module_list_free(drayi_env *env, drayi_module_list *list);

/// A function of the module (with `itself`) or of what it imports. DRAY_E_NOTFOUND: without a message.
dray_status drayi_module_find(dray_module *module, const char *name, bool itself,
                              dray_function_object **out, dray_error *error);

#endif
