/// dray module: functions and kernels that arrive as bytes.
#include "command.h"

static const command *const parts[] = {
    &command_module_kinds,
    &command_module_inspect,
    &command_module_call,
    &command_module_tree,
    &command_module_bundle,
    &command_module_unbundle,
    NULL,
};

const command command_module = {
    .name = "module",
    .summary = "functions and kernels from bytes: inspect, call, bundle",
    .parts = parts,
};
