/// dray hints: where memory should live, and what became of it.
#include "command.h"

static const command *const parts[] = {
    &command_hints_explain,
    &command_hints_apply,
    &command_hints_simulate,
    &command_hints_probe,
    NULL,
};

const command command_hints = {
    .name = "hints",
    .summary = "where memory should live: explain, apply, undo; and what came of it",
    .parts = parts,
};
