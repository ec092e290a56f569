#include "os/os_numa.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    policy_bind = 2,
    nodes_max = 1024,
    bits = 8 * sizeof(unsigned long)
}; // MPOL_BIND, CONFIG_NODES_SHIFT

int drayi_numa_bind(void *at, size_t bytes, uint32_t node)
{
    unsigned long mask[nodes_max / bits] = {0};
    if (node >= nodes_max)
        return -EINVAL;
    mask[node / bits] = 1ul << (node % bits);
    // the kernel reads one bit less than it is told
    long code = syscall(SYS_mbind, at, bytes, policy_bind, mask, (unsigned long)nodes_max + 1, 0u);
    if (code == 0)
        return 0;
    return errno == ENOSYS && node == 0 ? 0 : -errno; // a kernel without NUMA has one node
}

int drayi_numa_node(void)
{
    unsigned cpu = 0, node = 0;
    if (syscall(SYS_getcpu, &cpu, &node, NULL) < 0)
        return -errno;
    return (int)node;
}

/// "0" or "0-3" or "0,2": the number behind the last sign, and one more.
uint32_t drayi_numa_nodes(void)
{
    char text[256];
    int fd = open("/sys/devices/system/node/online", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 1;
    ssize_t got = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (got <= 0)
        return 1;
    text[got] = 0;
    const char *last = text;
    for (const char *at = text; *at; at++) {
        if (*at == '-' || *at == ',')
            last = at + 1;
    }
    unsigned long highest = strtoul(last, NULL, 10);
    return highest < nodes_max ? (uint32_t)highest + 1 : 1;
}
