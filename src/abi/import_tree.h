/// Import trees as bytes: what compilers put behind the symbol __tvm_ffi__library_bin, and what a bundle
/// is. Little-endian:
///
///     u64 bytes that follow
///     u64 n + 1, then as many u64: where each module's imports begin in the next list; 0 first
///     u64 count, then as many u64: modules that are imported, by number
///     n times: u64 + kind, then u64 + payload; the kind "_lib" means the library around it, without payload
///
/// Module 0 is the root. The reader believes nothing: every length is exact, every number is inside, the
/// imports have no cycle, everything can be reached from the root, and there are limits to all of it.
#ifndef DRAY_ABI_IMPORT_TREE_H
#define DRAY_ABI_IMPORT_TREE_H

#include "base/env.h"
#include "base/reader.h"

enum {
    DRAYI_TREE_MODULES_MAX = 65536,
    DRAYI_TREE_IMPORTS_MAX = 1 << 20,
    DRAYI_TREE_DEPTH_MAX = 4096,
    DRAYI_TREE_KIND_MAX = 128 // bytes of a kind's name
};

typedef struct drayi_tree_module {
    dray_text kind;
    const uint8_t *payload; // NULL with is_host; otherwise never NULL, even when it is empty
    uint64_t payload_bytes;
    const uint64_t *imports; // numbers of modules
    uint64_t import_count;
    bool is_host; // "_lib"
} drayi_tree_module;

typedef struct drayi_tree {
    drayi_tree_module *modules;
    uint64_t count; // at least 1
    uint64_t *imports;
    uint64_t import_count;
    uint64_t *leaves_first; // numbers of modules, each behind all that it imports; the root is last
    uint64_t depth;         // longest way from the root, in modules
} drayi_tree;

/// Kind and payload are views into `bytes`. DRAY_E_FORMAT with a rule "bundle.*" and the offset. On failure
/// *out is empty. `count` may be more than the tree says it has only where `more_follows`.
dray_status drayi_tree_read(drayi_env *env, const uint8_t *bytes, uint64_t count, bool more_follows,
                            drayi_tree *out, dray_error *error);
/// A zeroed one is accepted.
void drayi_tree_free(drayi_env *env, drayi_tree *tree);

/// The same bytes that a compiler would write: the modules in the order given. *out is from drayi_alloc.
/// DRAY_E_INVALID: no module, or what the reader would refuse.
dray_status drayi_tree_write(drayi_env *env, const drayi_tree_module *modules, uint64_t count,
                             uint8_t **out, uint64_t *out_bytes, dray_error *error);

#endif
