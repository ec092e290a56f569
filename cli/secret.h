/// cli/secret: a secret shared with another agent, from a file or the environment: never from the command
/// line, where every user of the machine could read it.
#ifndef DRAY_CLI_SECRET_H
#define DRAY_CLI_SECRET_H

#include <dray/dray.h>

#define SECRET_VARIABLE "DRAY_SECRET"

typedef struct secret {
    uint8_t bytes[DRAY_SECRET_BYTES_MAX + 1]; ///< one more, to notice those that are too long
    uint32_t count;
} secret;

/// What stands in the file, without a newline at its end; `path` NULL: the value of DRAY_SECRET; count 0
/// when there is none either. A file that others may read is refused.
dray_status secret_read(const char *path, secret *out, dray_error *error);
/// Its bytes, or NULL when there is none.
const void *secret_bytes(const secret *of);
void secret_wipe(secret *of);

#endif
