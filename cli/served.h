/// cli/served: what `dray agent serve` shares: NAME=disk:PATH, NAME=system:SIZE, NAME=pinned:SIZE.
///
/// A file is shared where it lies, through a shared mapping: what peers write is in the file, what others
/// write into the file peers see. Read-only shares are mapped read-only.
#ifndef DRAY_CLI_SERVED_H
#define DRAY_CLI_SERVED_H

#include "options.h"
#include <dray/dray.h>

enum { SHARES_MAX = 64, SHARE_NAME_BYTES = 64 };

typedef struct share {
    char name[SHARE_NAME_BYTES];
    dray_storage storage; ///< DISK, SYSTEM or PINNED
    const char *path;     ///< DISK
    uint64_t bytes;       ///< of memory; of a file once it is open
    bool writable;
    dray_region *region;
} share;

typedef struct share_list {
    share items[SHARES_MAX];
    uint32_t count;
} share_list;

/// For the option table: one more share into the share_list.
bool share_parse(const char *text, void *field, option_problem *problem);
bool share_parse_writable(const char *text, void *field, option_problem *problem);

/// Maps or makes every share. What was made until an error goes with shares_close.
dray_status shares_open(share_list *shares, dray_context *context, dray_error *error);
dray_status shares_register(const share_list *shares, dray_agent *agent, dray_error *error);
/// What peers wrote into files is on the disk afterwards; after the agent is gone.
dray_status shares_sync(const share_list *shares, dray_error *error);
void shares_close(share_list *shares);

#endif
