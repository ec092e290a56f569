/// dray layout: the verbs about KV-cache layouts. Each has its own file.
#include "command.h"

static const command *const layout_parts[] = {&command_layout_plan, &command_layout_move, NULL};

const command command_layout = {
    .name = "layout",
    .summary = "KV-cache blocks: where they lie in memory",
    .parts = layout_parts,
};
