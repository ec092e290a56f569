/// Operations that ended, on their way from whoever ended them to poll, and the eventfd that tells.
///
/// Pushing is allowed from any thread; taking and arming belong to the backend's caller. The eventfd is
/// written only while somebody armed it, so work that nobody sleeps on costs no system call.
#ifndef DRAY_BACKEND_COMPLETIONS_H
#define DRAY_BACKEND_COMPLETIONS_H

#include "backend/op_list.h"
#include "dray/spi/backend.h"
#include "os/os.h"

#include <pthread.h>

typedef struct drayi_completions {
    const drayi_os *os; // NULL: never opened
    pthread_mutex_t lock;
    drayi_op_list ended; // guarded by lock
    bool armed;          // guarded by lock
    int event_fd;
} drayi_completions;

dray_status drayi_completions_open(drayi_completions *completions, const drayi_os *os,
                                   dray_error *error);
/// Accepts zeroed memory that was never opened. Nothing may be left inside.
void drayi_completions_close(drayi_completions *completions);

/// `op` carries its final result and may be gone as soon as this is called.
void drayi_completions_push(drayi_completions *completions, dray_op *op);
uint32_t drayi_completions_take(drayi_completions *completions, dray_op **out_ops,
                                uint32_t capacity);

/// After DRAY_OK the fd becomes readable with the next push. DRAY_E_BUSY: something is there already.
dray_status drayi_completions_arm(drayi_completions *completions, int *out_fd, dray_error *error);

#endif
