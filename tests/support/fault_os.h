/// A table of system calls for tests: the real one, with faults at the Nth call and with parts of the
/// kernel made absent.
///
/// There is one of it per process (a table's members have no `self`), guarded by a lock. A fault loop
/// fails the 1st, 2nd, ... call until the case comes through without reaching the Nth:
///
///     for (uint64_t n = 1;; n++) {
///         fault_os_reset();
///         fault_os_inject(&(fault_plan){.at = n, .code = -EIO});
///         drayi_context_create_with(&options, fault_os(), &context, &error);
///         ... the case ...
///         if (fault_os_hits() == 0)
///             break;
///     }
///
/// A close or an unlock is carried out before it fails, so that an injected fault is never itself the
/// leak. An unmap that fails has unmapped nothing, as in the kernel.
/// Threads: any.
#ifndef DRAY_TESTS_FAULT_OS_H
#define DRAY_TESTS_FAULT_OS_H

#include "os/os.h"

/// Groups of calls, as a mask. Only calls of the plan's groups are counted.
enum {
    FAULT_OPEN = 1 << 0, // open, dup, reopen, set_direct, close
    FAULT_FACTS =
        1 << 1, // is_writable, facts, fstatfs_magic, cachestat, memory_facts, process_memory, lock_limit
    FAULT_READ = 1 << 2,  // read, pread, preadv
    FAULT_WRITE = 1 << 3, // write, pwrite, pwritev
    FAULT_FILE =
        1 << 4, // allocate, truncate, sync, sync_range, advise_file, rename, unlink, read_dir
    FAULT_MEMORY =
        1 << 5, // map, unmap, protect, advise, resident, lock, unlock, node_..., page_nodes, memfd, seal
    FAULT_EVENT = 1 << 6, // event_fd, wait_fd
    FAULT_RING = 1 << 7,  // uring_open, _read, _write, _cancel, _submit, _reap, _event_fd, _wait
    FAULT_COMPLETION = 1 << 8, // each completion that uring_reap hands out counts as one call
    FAULT_NET = 1 << 9,        // resolve, tcp_..., send, receive, wait_writable, watch_change
    FAULT_LIBRARY = 1 << 10,   // module_open, module_base, same_mapping, soname_taken, trial
    FAULT_ANY = (1 << 11) - 1
};

typedef struct fault_plan {
    uint64_t at;     // the Nth call of the groups fails, 1 is the first; 0: none
    uint64_t repeat; // how many calls in a row fail; 0: one
    unsigned groups; // mask of FAULT_...; 0: FAULT_ANY
    int code; // the negative errno; 0: a short transfer instead (half the bytes, at least one)
} fault_plan;

/// Parts of the kernel that can be made absent, as a mask.
enum {
    FAULT_NO_URING = 1 << 0,        // uring_open: -EPERM
    FAULT_NO_CACHESTAT = 1 << 1,    // cachestat: -ENOSYS
    FAULT_NO_NOEXEC_SEAL = 1 << 2,  // memfd with MFD_NOEXEC_SEAL: -EINVAL
    FAULT_NO_DIRECT_ALIGN = 1 << 3, // facts: direct_known = false
    FAULT_NO_DIRECT = 1 << 4,       // open, reopen and set_direct with O_DIRECT: -EINVAL
    FAULT_DIRECT_REFUSED =
        1 << 5, // reads and writes on descriptors with O_DIRECT: -EINVAL (ring: as result)
    FAULT_STRANGER = 1 << 6, // sees_cache: 0, so mincore is not to be believed; cachestat: -EPERM
    FAULT_NO_NUMA = 1 << 7,  // node_bind, node_policy, page_nodes: -ENOSYS
    FAULT_NO_POPULATE = 1 << 8,   // advise with MADV_POPULATE_...: -EINVAL (before 5.14)
    FAULT_NO_COLD = 1 << 9,       // advise with MADV_COLD, MADV_PAGEOUT: -EINVAL (before 5.4)
    FAULT_NO_COLLAPSE = 1 << 10,  // advise with MADV_COLLAPSE: -EINVAL (before 6.1)
    FAULT_NO_SHORT_CUT = 1 << 11, // no file is known to be in memory, preadv_cached: -EOPNOTSUPP
    FAULT_NO_DISK = 1 << 12       // every file says that it is on a tmpfs
};

/// No faults, nothing absent, no lock limit, counters at zero.
void fault_os_reset(void);
/// A test's setup and teardown: the reset, and a context over the table in *test_state.
int fault_os_context(void **test_state);
int fault_os_context_end(void **test_state);
/// Counting starts here. The plan is copied.
void fault_os_inject(const fault_plan *plan);
void fault_os_make_absent(unsigned parts);
/// Lockable memory ends at `bytes`: further lock calls give -ENOMEM, lock_limit reports it.
void fault_os_limit_lock(uint64_t bytes);
/// Clock of the table: adds to every now_ns() from here on.
void fault_os_advance_clock(int64_t ns);

uint64_t fault_os_calls(void); // calls of the plan's groups since fault_os_inject() or _reset()
uint64_t fault_os_hits(void);  // how many of them were made to fail
const char *fault_os_last_hit(void); // name of the last call that was made to fail, or ""

/// The table. Never changes its address.
const drayi_os *fault_os(void);

/// Open descriptors of this process, for "no leak" checks.
int fault_os_open_fds(void);

#endif
