/// dray/spi/region.h: what a region is to a plug-in: the addresses and descriptors behind it.
#ifndef DRAY_SPI_REGION_H
#define DRAY_SPI_REGION_H

#include "dray/memory.h"

#ifdef __cplusplus
extern "C" {
#endif

/// What a plug-in may know of a region. Valid while the region lives.
typedef struct dray_region_native {
    dray_storage storage;
    uint32_t writable;
    uint64_t bytes;
    void *pointer; ///< host memory, or NULL
    int fd; ///< DISK: buffered descriptor; SYSTEM: of the file that is mapped at `pointer`; else -1
    int direct_fd; ///< DISK: opened with O_DIRECT, or -1 when the file system refused
    uint64_t file_offset; ///< with fd: file offset of the region's first byte; REMOTE: its address at the peer
    uint32_t in_memory; ///< DISK: the file system keeps its bytes in memory (tmpfs, ramfs): no I/O ever
    uint32_t direct_memory_align; ///< DISK with direct_fd: alignment of memory addresses
    uint32_t direct_offset_align; ///< DISK with direct_fd: alignment of file offsets and lengths
    const char *name;             ///< for messages; never NULL
    // memory that a device's driver made or knows; NULL and 0 otherwise:
    struct dray_device *device;
    const struct dray_device_ops *family; ///< of that device
    void *device_memory;     ///< the driver's handle (cl_mem), or NULL where the address says all
    uint64_t device_address; ///< of the first byte: device address, or offset inside device_memory
    const struct dray_remote_link *remote; ///< REMOTE: the way there (dray/spi/remote.h), else NULL
} dray_region_native;

DRAY_API void dray_region_get_native(const dray_region *region, dray_region_native *out_native);

#ifdef __cplusplus
}
#endif
#endif
