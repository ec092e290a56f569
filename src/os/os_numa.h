/// The NUMA members of the system-call table (os.h says what each does): the three calls that libnuma would
/// be needed for.
#ifndef DRAY_OS_OS_NUMA_H
#define DRAY_OS_OS_NUMA_H

#include <stddef.h>
#include <stdint.h>

int drayi_numa_bind(void *at, size_t bytes, uint32_t node);
int drayi_numa_node(void);
uint32_t drayi_numa_nodes(void);

#endif
