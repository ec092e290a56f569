/// cli/layout_verify: after a move, is every element where it should be?
///
/// Both sides are read back block by block, as they lie, and compared by a loop over tokens and heads that
/// knows nothing of copies, loops and plans.
#ifndef DRAY_CLI_LAYOUT_VERIFY_H
#define DRAY_CLI_LAYOUT_VERIFY_H

#include <dray/dray.h>
#include <dray/layout.h>

/// One source, one target. DRAY_E_CORRUPT names the first head that differs. *out_bytes: compared.
dray_status layout_verify(dray_agent *agent, const dray_layout_move *move, uint64_t *out_bytes,
                          dray_error *error);

#endif
