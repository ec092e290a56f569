/// Who holds the error that a thread raised last: libtvm_ffi where it is in the process, otherwise
/// libdray_ffi (src/shim), which is opened from bytes that libdray carries.
#ifndef DRAY_MODULE_PROVIDER_H
#define DRAY_MODULE_PROVIDER_H

#include "module/modules.h"

/// The provider of now; opens libdray_ffi when there is none yet. NULL with `error`.
const drayi_provider *drayi_provider_of(drayi_modules *modules, dray_error *error);

/// libtvm_ffi, if it is in the process; or NULL.
const drayi_provider *drayi_provider_tvm(drayi_modules *modules);

/// The raised error of this thread, wherever it is; owned; NULL: none was raised. Opens nothing.
dray_object *drayi_take_raised(drayi_modules *modules);

/// For dray_load_request.
void *drayi_context_symbol(const dray_load_request *request, const char *name);
dray_status drayi_provide_symbols(const dray_load_request *request, const char *const *names,
                                  uint64_t count, dray_error *error);

#endif
