/// dray/memory.h: regions: counted runs of bytes of one storage kind.
///
/// Everything that copies works on regions: allocated memory, locked memory, an opened file, memory
/// that belongs to the caller. A view is a region inside another and keeps it alive.
#ifndef DRAY_MEMORY_H
#define DRAY_MEMORY_H

#include "dray/context.h"

#ifdef __cplusplus
extern "C" {
#endif

/// Where bytes live. Values never change; new ones are appended.
typedef enum dray_storage {
    DRAY_STORAGE_SYSTEM = 1,  ///< ordinary memory
    DRAY_STORAGE_PINNED = 2,  ///< memory that cannot be paged out (mlock, or a driver's pinning)
    DRAY_STORAGE_DEVICE = 3,  ///< a device's own memory
    DRAY_STORAGE_MANAGED = 4, ///< memory that migrates between host and device
    DRAY_STORAGE_DISK = 5,    ///< bytes of a file
    DRAY_STORAGE_REMOTE = 6,  ///< a region of another agent
    DRAY_STORAGE_NULL = 7     ///< accepts and drops bytes: for measuring the way to it
} dray_storage;
#define DRAY_STORAGE_COUNT 8

/// "system", "pinned", ...: the words the CLI uses.
DRAY_API const char *dray_storage_name(dray_storage storage);

/// Owns: its memory or file descriptor, by reference count. Threads: retain and release from any
/// thread; everything else one thread at a time. Units: bytes.
typedef struct dray_region dray_region;

/// Frees what the caller handed over; runs in the thread of the last dray_region_release().
typedef void (*dray_release_fn)(void *self, void *pointer, uint64_t bytes);

/// On which NUMA node the pages of SYSTEM and PINNED memory lie.
typedef enum dray_numa {
    DRAY_NUMA_ANY = 0,  ///< as the kernel likes
    DRAY_NUMA_NODE = 1, ///< on numa_node
    DRAY_NUMA_NEAR = 2  ///< on the node of numa_device, or of `device` where that is NULL
} dray_numa;

typedef struct dray_region_options {
    size_t struct_bytes;
    dray_storage storage; ///< SYSTEM (default), PINNED or NULL; with a device: DEVICE, MANAGED, PINNED
    uint32_t reserved;
    uint64_t bytes;     ///< > 0
    uint64_t alignment; ///< power of two; 0: the page size
    uint64_t phase; ///< the first byte lies `phase` bytes behind a multiple of `alignment` (phase < alignment):
                    ///< a destination that mirrors a file's offset needs no staging for direct I/O
    uint32_t huge_pages; ///< 0: ask for transparent huge pages when the region is large; 1: never; 2: always
    uint32_t on_demand; ///< 1: pages are not faulted in at creation (PINNED: locked as they are touched)
    /// Whose memory: needed for DEVICE and MANAGED. PINNED: the device's driver allocates and locks it.
    /// The region keeps the device. Then `phase` is 0 and huge_pages and on_demand do not apply;
    /// `alignment` 0 is the device's own.
    struct dray_device *device;
    /// Other than ANY: the pages are asked for there, and looked at; with on_demand they are only asked for.
    /// With a device, PINNED only: then the memory is ours, and the driver locks it (dray_device_pin).
    dray_numa numa;
    int32_t numa_node;
    struct dray_device *numa_device; ///< only asked for its node; not kept
} dray_region_options;

/// Fresh zeroed memory. PINNED really locks it: DRAY_E_NOMEM when RLIMIT_MEMLOCK is too small, with
/// the limit, what was wanted, and the command that raises it. NULL needs no memory at all. With `numa`:
/// DRAY_E_NOMEM: some pages lie elsewhere, how many; DRAY_E_INVALID: no such node; DRAY_E_UNSUPPORTED: the
/// device's node is not known, or the kernel does not let this process choose.
DRAY_API dray_status dray_region_create(dray_context *context, const dray_region_options *options,
                                        dray_region **out_region, dray_error *error);

typedef struct dray_file_options {
    size_t struct_bytes;
    uint32_t writable; ///< 0: read only
    uint32_t create;   ///< 1: make the file (0600); an existing one is an error unless `replace`
    uint32_t replace;  ///< with create: 1: use an existing regular file too, truncating it
    /// With create: 1: `path` is a folder; the file has no name and goes with its last region.
    uint32_t anonymous;
    uint64_t bytes; ///< with create: size to reserve (fallocate; written zeros where that is refused)
} dray_file_options;

/// A file as a region of kind DISK. The size is taken once, here. `options` may be NULL: read only.
/// The path must be a regular file or a block device; O_CLOEXEC, and O_NOFOLLOW when created.
DRAY_API dray_status dray_region_open(dray_context *context, const char *path,
                                      const dray_file_options *options, dray_region **out_region,
                                      dray_error *error);

/// Bytes [offset, offset + bytes) of an open file; `fd` is duplicated, the caller keeps its own.
/// `name` (copied, may be NULL) is used in messages.
DRAY_API dray_status dray_region_wrap_fd(dray_context *context, int fd, const char *name,
                                         uint64_t offset, uint64_t bytes, dray_region **out_region,
                                         dray_error *error);

/// The caller's memory. `release` may be NULL: then the caller keeps it alive longer than the region.
DRAY_API dray_status dray_region_wrap(dray_context *context, dray_storage storage, void *pointer,
                                      uint64_t bytes, dray_release_fn release, void *self,
                                      dray_region **out_region, dray_error *error);

/// [offset, offset + bytes) of `parent`, which stays alive as long as the view does.
DRAY_API dray_status dray_region_view(dray_region *parent, uint64_t offset, uint64_t bytes,
                                      dray_region **out_view, dray_error *error);

DRAY_API dray_region *dray_region_retain(dray_region *region);
/// Gives one reference back; the last one frees. NULL is accepted.
DRAY_API void dray_region_release(dray_region *region);

DRAY_API uint64_t dray_region_bytes(const dray_region *region);
DRAY_API dray_storage dray_region_storage(const dray_region *region);
/// Host address of the first byte; NULL for DISK, NULL and REMOTE regions.
DRAY_API void *dray_region_pointer(const dray_region *region);
/// Path or name as given, or NULL.
DRAY_API const char *dray_region_name(const dray_region *region);

/// A run of bytes inside a region; borrows the region.
typedef struct dray_span {
    dray_region *region;
    uint64_t offset, bytes;
} dray_span;

/// How much of a range is where. UNKNOWN (DRAY_UNKNOWN) when the kernel does not tell.
typedef struct dray_residency {
    uint64_t bytes;        ///< the range that was looked at, rounded outwards to pages
    uint64_t mapped_bytes; ///< in this process's page tables (/proc/self/pagemap)
    uint64_t cached_bytes; ///< in the page cache (files; UNKNOWN to strangers of the file), or resident (memory)
    uint64_t locked_bytes; ///< locked by dray
} dray_residency;

#ifdef __cplusplus
}
#endif
#endif
