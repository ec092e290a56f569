/// What the parts of `dray bench module` share.
#ifndef DRAY_BENCH_BENCH_MODULE_H
#define DRAY_BENCH_BENCH_MODULE_H

#include "bench.h"

/// The policy of all cases: what is loaded was made here.
extern const dray_policy bench_module_policy;

/// Builds a shared object of about so many bytes with the C compiler, all of which gets loaded: one function
/// __tvm_ffi_add_one, and data. False, with a sentence: there is no compiler.
bool bench_module_make(const char *path, uint64_t bytes, char why[256]);

dray_status bench_module_loads(dray_context *context, const bench_module_options *options,
                               FILE *out, dray_error *error);
dray_status bench_module_calls(dray_context *context, const bench_module_options *options,
                               FILE *out, dray_error *error);
dray_status bench_module_trees(dray_context *context, const bench_module_options *options,
                               FILE *out, dray_error *error);

#endif
