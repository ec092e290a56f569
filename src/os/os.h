/// Every direct system call of dray, behind one table that tests can replace.
///
/// Convention: the kernel's. A call returns >= 0, or the negative errno; `errno` itself is never read
/// outside src/os. EINTR is returned like any other code; drayi_pread_all and its like continue.
/// A table is a plain struct: a test copies drayi_os_linux, replaces members and puts the copy into
/// the context (drayi_context_create_with in src/core/context.h).
///
/// Threads: every member may be called from any thread.
#ifndef DRAY_OS_OS_H
#define DRAY_OS_OS_H

#include "dray/base.h"

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

struct io_uring; // liburing, when the build has it

/// What statx says of a file beyond stat: where direct I/O may start and how long it must be.
typedef struct drayi_file_facts {
    uint64_t bytes;
    uint64_t device, inode;
    int64_t modified_ns;
    uint32_t mode;                // st_mode
    uint32_t block_bytes;         // st_blksize
    bool direct_known;            // kernel >= 6.1 and the file system answers STATX_DIOALIGN
    uint32_t direct_memory_align; // 0 with direct_known: direct I/O is not supported on this file
    uint32_t direct_offset_align;
} drayi_file_facts;

typedef struct drayi_cachestat {
    uint64_t cached_pages, dirty_pages, writeback_pages, evicted_pages, recently_evicted_pages;
} drayi_cachestat;

typedef struct drayi_memory_facts {
    uint64_t total_bytes;
    uint64_t available_bytes; // MemAvailable, or the cgroup's room when that is smaller
    bool limited_by_cgroup;
} drayi_memory_facts;

/// Where a TCP socket is, or leads to: a sockaddr of IPv4 or IPv6.
typedef struct drayi_address {
    uint8_t bytes[32];
    uint32_t count;
} drayi_address;

/// How work in a child process ended.
typedef struct drayi_trial {
    int code;       // what the work returned, when it returned
    int signal;     // that ended it; 0: none
    bool timed_out; // it was ended after its time
    char why[256];  // as the work wrote it
} drayi_trial;

/// One completion of the ring, already taken off its queue.
typedef struct drayi_uring_event {
    uint64_t user_data;
    int32_t result; // bytes, or the negative errno
} drayi_uring_event;

typedef struct drayi_os {
    // files
    int (*open)(const char *path, int flags, mode_t mode);
    int (*close)(int fd);
    int (*dup)(int fd);               // with O_CLOEXEC
    int (*reopen)(int fd, int flags); // a second open file of the same inode (/proc/self/fd)
    int (*is_writable)(int fd);       // 1: opened for writing
    int (*facts)(int fd, drayi_file_facts *out);
    int (*fstatfs_magic)(int fd, uint64_t *out_magic); // f_type, e.g. 0x01021994 tmpfs
    int (*set_direct)(int fd, bool on);                // O_DIRECT by fcntl
    ssize_t (*read)(int fd, void *buffer, size_t bytes);
    ssize_t (*pread)(int fd, void *buffer, size_t bytes, uint64_t offset);
    ssize_t (*preadv)(int fd, const struct iovec *parts, int count, uint64_t offset);
    ssize_t (*preadv_cached)(int fd, const struct iovec *parts, int count,
                             uint64_t offset); // only what needs no I/O (RWF_NOWAIT), else -EAGAIN
    ssize_t (*write)(int fd, const void *buffer, size_t bytes);
    ssize_t (*pwrite)(int fd, const void *buffer, size_t bytes, uint64_t offset);
    ssize_t (*pwritev)(int fd, const struct iovec *parts, int count, uint64_t offset);
    int (*allocate)(int fd, uint64_t offset, uint64_t bytes); // fallocate, mode 0
    int (*truncate)(int fd, uint64_t bytes);
    int (*sync)(int fd);                                        // fdatasync
    int (*sync_range)(int fd, uint64_t offset, uint64_t bytes); // starts and waits for write-back
    int (*advise_file)(int fd, uint64_t offset, uint64_t bytes, int advice); // posix_fadvise
    int (*cachestat)(int fd, uint64_t offset, uint64_t bytes,
                     drayi_cachestat *out); // -ENOSYS before 6.5
    int (*sees_cache)(int fd); // 1: mincore tells us the truth of this file; 0: strangers hear "all"
    int (*rename)(const char *from, const char *to);
    int (*unlink)(const char *path);
    int (*read_dir)(const char *path, void (*each)(void *self, const char *name), void *self);
    int (*is_terminal)(int fd);

    // memory
    void *(*map)(void *where, size_t bytes, int protection, int flags, int fd, uint64_t offset,
                 int *out_code); // NULL and *out_code = -errno on failure
    int (*unmap)(void *at, size_t bytes);
    int (*protect)(void *at, size_t bytes, int protection);
    int (*advise)(void *at, size_t bytes, int advice);                 // madvise
    int (*resident)(void *at, size_t bytes, unsigned char *out_pages); // mincore
    int (*lock)(void *at, size_t bytes, bool on_fault); // mlock / mlock2(MLOCK_ONFAULT)
    int (*unlock)(void *at, size_t bytes);
    int (*lock_limit)(uint64_t *out_soft, uint64_t *out_hard,
                      bool *out_privileged); // RLIMIT_MEMLOCK, CAP_IPC_LOCK
    // NUMA; nodes as a mask of `bits` bits in words of 64
    int (*node_bind)(void *at, size_t bytes, int mode, const uint64_t *nodes, unsigned bits,
                     unsigned flags); // mbind
    int (*node_policy)(const void *at, int *out_mode, uint64_t *out_nodes,
                       unsigned bits); // get_mempolicy of one address
    int (*page_nodes)(void *const *pages, uint64_t count, const int *nodes,
                      int *out_status);   // move_pages; nodes NULL: only asks
    int (*node_here)(unsigned *out_node); // of the processor that runs this
    unsigned (*node_count)(void); // the highest that is online, and one; 1: none that is known
    int (*memfd)(const char *name,
                 unsigned flags);   // memfd_create; MFD_NOEXEC_SEAL is -EINVAL before 6.3
    int (*seal)(int fd, int seals); // F_ADD_SEALS
    int (*seals)(int fd);           // F_GET_SEALS; -EINVAL: a file that cannot be sealed
    int (*memory_facts)(drayi_memory_facts *out);
    int (*process_memory)(uint64_t *out_resident, uint64_t *out_peak); // VmRSS, VmHWM in bytes
    uint64_t (*page_bytes)(void);
    uint64_t (*huge_page_bytes)(void); // 0: transparent huge pages are off

    // shared libraries, loaded for good: vendors' drivers start threads and do not survive unloading.
    // Handlers that the library's own start-up puts over the program's signals are taken off again.
    void *(*library_open)(const char *name, char *out_why, size_t why_bytes); // NULL: out_why tells
    void *(*library_symbol)(void *library, const char *name);                 // NULL: not there
    int (*library_close)(void *library);
    // One that is loaded already, by soname or by the path it was loaded from; NULL: none is. `global`:
    // what it exports is found by libraries that are opened from now on.
    void *(*library_find)(const char *name, bool global);
    // Shared objects that may go again: RTLD_NOW | RTLD_LOCAL, and library_close() ends them.
    void *(*module_open)(const char *path, char *out_why, size_t why_bytes); // NULL: out_why tells
    int (*path_is_loaded)(const char *path); // 1: some library of the process came by exactly this path
    // 1: it came by this path; 0: it was loaded before, by another. *out_base is added to the file's addresses
    int (*module_base)(void *library, const char *path, uint64_t *out_base);
    int (*same_mapping)(const void *one, const void *other); // 1: of the same file, 0: of two
    // 1: a library of the process (but not one opened through a descriptor) or of the system is called that
    int (*soname_taken)(const char *soname, char *out_by, size_t by_bytes);
    // Runs `work` in a child process and waits for it, at most so long. 0: *out tells how it went.
    int (*trial)(int (*work)(void *self, char *out_why, size_t why_bytes), void *self,
                 int64_t timeout_ns, drayi_trial *out);

    // events and time
    int (*event_fd)(void);                      // non-blocking, close-on-exec
    int (*wait_fd)(int fd, int64_t timeout_ns); // 1 readable, 0 timeout; < 0: no limit
    int (*wait_fds)(const int *fds, unsigned count,
                    int64_t timeout_ns); // the same, any of at most 64
    int (*watch_open)(void); // an fd that is readable when one of those added is (epoll)
    int (*watch_add)(int watch_fd, int fd); // adding one twice is fine
    // readable and writable as wanted; neither: it is watched no more
    int (*watch_change)(int watch_fd, int fd, bool readable, bool writable);
    int (*timer_open)(void);                 // readable when the time that was set has come
    int (*timer_set)(int fd, int64_t in_ns); // from now on, once; 0: not at all
    int (*random)(void *out, size_t bytes);  // at most 256 bytes, fit for keys
    int64_t (*now_ns)(void);                 // CLOCK_MONOTONIC
    int64_t (*cpu_ns)(void);                 // CPU time of the process
    void (*sleep_ns)(int64_t ns);
    uint32_t (*cpu_count)(void);

    // TCP: every socket is non-blocking and close-on-exec, and sending raises no signal
    int (*resolve)(const char *host, uint16_t port, drayi_address *out, unsigned capacity,
                   char *out_why, size_t why_bytes); // how many; 0: out_why tells. May ask a server
    int (*tcp_listen)(const drayi_address *at, int backlog);
    int (*tcp_accept)(int fd);                    // -EAGAIN: nobody waits
    int (*tcp_connect)(const drayi_address *to);  // on its way until it is writable, and then
    int (*tcp_connected)(int fd);                 // 0, or what became of it
    int (*tcp_where)(int fd, drayi_address *out); // its own end
    ssize_t (*send)(int fd, const void *bytes, size_t count);
    ssize_t (*receive)(int fd, void *out, size_t count); // 0: the other side sends no more
    int (*wait_writable)(int fd, int64_t timeout_ns);    // 1 writable or failed, 0 timeout

    // io_uring (each -ENOSYS when built without liburing)
    int (*uring_open)(struct io_uring **out,
                      unsigned entries); // allocates; -ENOSYS, -EPERM: refused
    void (*uring_close)(struct io_uring *ring);
    // `background`: a kernel worker does it, instead of submit trying first; with bytes in the page
    // cache that try is the whole copy, in the caller's thread
    int (*uring_read)(struct io_uring *ring, int fd, const struct iovec *parts, unsigned count,
                      uint64_t offset, bool background,
                      uint64_t user_data); // queues; -EAGAIN: the queue is full
    int (*uring_write)(struct io_uring *ring, int fd, const struct iovec *parts, unsigned count,
                       uint64_t offset, bool background, uint64_t user_data);
    int (*uring_cancel)(struct io_uring *ring, uint64_t user_data);
    int (*uring_submit)(struct io_uring *ring); // number submitted
    int (*uring_reap)(struct io_uring *ring, drayi_uring_event *out,
                      unsigned capacity);                         // never blocks
    int (*uring_event_fd)(struct io_uring *ring, int fd);         // registers an eventfd
    int (*uring_wait)(struct io_uring *ring, int64_t timeout_ns); // 1 something to reap, 0 timeout
} drayi_os;

extern const drayi_os drayi_os_linux;

/// All `bytes` at `offset`, continuing after short reads and EINTR. DRAY_E_CORRUPT: the file ends
/// before, with numbers. `name` is the path for messages. out_got (may be NULL): bytes that arrived.
dray_status drayi_pread_all(const drayi_os *os, int fd, const char *name, void *buffer,
                            uint64_t bytes, uint64_t offset, uint64_t *out_got, dray_error *error);
dray_status drayi_pwrite_all(const drayi_os *os, int fd, const char *name, const void *buffer,
                             uint64_t bytes, uint64_t offset, dray_error *error);
/// Opens with O_CLOEXEC and continues after EINTR; the error names operation and path.
dray_status drayi_open_file(const drayi_os *os, const char *path, int flags, mode_t mode,
                            int *out_fd, dray_error *error);
/// Does it lead back to this machine (127.0.0.0/8, ::1)?
bool drayi_address_is_loopback(const drayi_address *address);
uint16_t drayi_address_port(const drayi_address *address);
#define DRAYI_ADDRESS_TEXT 64
/// "127.0.0.1:4470", "[::1]:4470". Writes and returns `out`.
const char *drayi_address_text(const drayi_address *address, char out[DRAYI_ADDRESS_TEXT]);
/// Closes when fd >= 0.
void drayi_close_file(const drayi_os *os, int fd);

#endif
