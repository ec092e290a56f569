/// Import trees come to life: every module is loaded by its kind's loader, leaves first, and nobody sees
/// any of them before all are there.
#ifndef DRAY_MODULE_BUNDLE_H
#define DRAY_MODULE_BUNDLE_H

#include "module/load_module.h"

enum { DRAYI_BUNDLE_NESTED_MAX = 8 };

typedef struct drayi_bundle_ask {
    const uint8_t *bytes;
    uint64_t byte_count;
    bool more_follows;                  // the tree stands inside something larger
    dray_module *host;                  // what "_lib" means; NULL: the tree stands alone
    const dray_policy *policy;          // what the container was admitted with
    const dray_module_options *options; // of the container
    uint32_t nested;                    // containers around this one
} drayi_bundle_ask;

/// *out: the root, a reference; `host` itself when the tree says so. On failure every module that was loaded
/// is gone again, and the host has the imports that it had.
/// A tree that was vouched for (by digest or signature) vouches for what is in it; kinds, sizes and the
/// rules of shared objects hold for each module.
dray_status drayi_bundle_load(drayi_modules *modules, const drayi_bundle_ask *ask,
                              dray_module **out, dray_error *error);

#endif
