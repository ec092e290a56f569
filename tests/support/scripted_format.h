/// A format that says whatever the test wrote down, true or not: what the core makes of it is the test.
///
///     scripted = (script){.tensors = (script_tensor[]){{"a", DRAY_DTYPE_U8, {4}, 1, 16, 4}}, .tensor_count = 1};
///     const dray_format_ops *const formats[] = {&scripted_format, NULL};
///
/// It takes files that begin with "SCRIPTED". There is one script per process.
#ifndef DRAY_TESTS_SCRIPTED_FORMAT_H
#define DRAY_TESTS_SCRIPTED_FORMAT_H

#include "dray/spi/format.h"

typedef struct script_tensor {
    const char *name;
    dray_dtype dtype;
    uint64_t shape[4];
    uint32_t rank;
    uint64_t offset, bytes;
    bool size_unknown;
} script_tensor;

typedef struct script {
    const script_tensor *tensors;
    uint64_t tensor_count;
    const char *const *keys; // text values "value"
    uint64_t key_count;
    uint64_t warning_count;
    dray_format_facts facts;
    uint64_t need; // asks for so many bytes of the head first
} script;

extern script scripted;
extern const dray_format_ops scripted_format;

#endif
