/// The TCP members of drayi_os_linux; see os.h.
#ifndef DRAY_OS_OS_NET_H
#define DRAY_OS_OS_NET_H

#include "os/os.h"

int drayi_net_resolve(const char *host, uint16_t port, drayi_address *out, unsigned capacity,
                      char *out_why, size_t why_bytes);
int drayi_net_listen(const drayi_address *at, int backlog);
int drayi_net_accept(int fd);
int drayi_net_connect(const drayi_address *to);
int drayi_net_connected(int fd);
int drayi_net_where(int fd, drayi_address *out);
ssize_t drayi_net_send(int fd, const void *bytes, size_t count);
ssize_t drayi_net_receive(int fd, void *out, size_t count);
int drayi_net_wait_writable(int fd, int64_t timeout_ns);

#endif
