/// What a policy says of shared objects, and where the facts for it come from.
#ifndef DRAY_LOADER_ELF_RULES_H
#define DRAY_LOADER_ELF_RULES_H

#include "base/env.h"
#include "dray/spi/loader.h"
#include "loader/elf_library.h"

/// DRAY_E_INVALID (rule "module.trust"): the policy does not allow it, with what and by which word it would.
dray_status drayi_elf_check_rules(drayi_env *env, const dray_policy *policy,
                                  const drayi_elf_library *library, const char *name,
                                  dray_error *error);

/// A loader's `inspect` for host libraries: architecture, functions, needed libraries, the kinds of its
/// import tree, and notes about everything that a policy may refuse.
dray_status drayi_elf_inspect(drayi_env *env, dray_image *image, const dray_module_report *report,
                              dray_error *error);

/// The import tree in its data, out_symbol->bytes of them; NULL: it has none.
const uint8_t *drayi_elf_tree(const drayi_elf_library *library, drayi_elf_symbol *out_symbol);

/// "__tvm_ffi_<name>" of a function that can be called; false: it is none. Names that begin with '_' belong
/// to the ABI itself.
bool drayi_elf_function(const drayi_elf_symbol *symbol, dray_text *out_name);

#endif
