/// "HOST:PORT" and "[::1]:PORT", taken apart.
#ifndef DRAY_TRANSFER_HOST_PORT_H
#define DRAY_TRANSFER_HOST_PORT_H

#include "dray/base.h"

typedef struct drayi_host_port {
    char host[256];
    uint16_t port;
} drayi_host_port;

/// DRAY_E_INVALID: it is none; says what was wanted.
dray_status drayi_host_port_read(const char *text, drayi_host_port *out, dray_error *error);

#endif
