/// The io_uring members of the system-call table (os.h says what each does), in their own file because
/// they are all that liburing is needed for. Without it every one of them answers -ENOSYS.
///
/// user_data UINT64_MAX - 1 is reserved: it marks the answers to cancellations, which
/// drayi_uring_reap() swallows. `parts` must stay readable until drayi_uring_submit() took the entry.
/// Threads: one at a time per ring.
#ifndef DRAY_OS_OS_URING_H
#define DRAY_OS_OS_URING_H

#include "os/os.h"

int drayi_uring_open(struct io_uring **out, unsigned entries);
void drayi_uring_close(struct io_uring *ring); // NULL is accepted
int drayi_uring_read(struct io_uring *ring, int fd, const struct iovec *parts, unsigned count,
                     uint64_t offset, bool background, uint64_t user_data);
int drayi_uring_write(struct io_uring *ring, int fd, const struct iovec *parts, unsigned count,
                      uint64_t offset, bool background, uint64_t user_data);
int drayi_uring_cancel(struct io_uring *ring, uint64_t user_data);
int drayi_uring_submit(struct io_uring *ring);
int drayi_uring_reap(struct io_uring *ring, drayi_uring_event *out, unsigned capacity);
int drayi_uring_event_fd(struct io_uring *ring, int fd);
int drayi_uring_wait(struct io_uring *ring, int64_t timeout_ns);

#endif
