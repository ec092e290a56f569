/// mlock fails for a limit far more often than for want of memory, and errno does not tell which. So the
/// limit is looked up when it failed, and the message says what to type.
#include "memory/lock.h"

#include "os/os.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

/// How the limit is raised: the hard limit decides whether the user's own shell may do it.
static void advice_write(char *out, size_t room, uint64_t wanted, uint64_t soft, uint64_t hard)
{
    uint64_t total = soft > UINT64_MAX - wanted
                         ? UINT64_MAX
                         : wanted + soft; // what may be locked already, and this
    uint64_t total_kib = total / 1024 + 1;
    if (hard >= total)
        snprintf(out, room, "raise it with `ulimit -l %" PRIu64 "` and run again", total_kib);
    else
        snprintf(out, room,
                 "raise it as root with `prlimit --memlock=%" PRIu64 ":%" PRIu64
                 " --pid $$`, or for good with a memlock line in /etc/security/limits.conf",
                 total_kib * 1024, total_kib * 1024);
}

static dray_status lock_refused(const drayi_os *os, uint64_t bytes, int code, const char *what,
                                dray_error *error)
{
    uint64_t soft = 0, hard = 0;
    bool privileged = false, may_be_limit = code == -ENOMEM || code == -EPERM || code == -EAGAIN;
    bool known = os->lock_limit(&soft, &hard, &privileged) == 0;
    if (!known || privileged || !may_be_limit || soft == UINT64_MAX)
        return dray_fail_os(error, -code, "mlock", "lock %s: %" PRIu64 " bytes", what, bytes);
    char advice[192];
    advice_write(advice, sizeof(advice), bytes, soft, hard);
    dray_fail(error, DRAY_E_NOMEM,
              "lock %s: %" PRIu64 " bytes wanted, the limit of lockable memory is %" PRIu64
              " (hard limit %" PRIu64 "); %s",
              what, bytes, soft, hard, advice);
    if (error) {
        error->native_code = -code;
        error->origin = "mlock";
    }
    return DRAY_E_NOMEM;
}

dray_status drayi_lock(drayi_env *env, void *at, uint64_t bytes, bool on_fault, const char *what,
                       dray_error *error)
{
    if (bytes == 0)
        return DRAY_OK;
    int code;
    do
        code = env->os->lock(at, (size_t)bytes, on_fault);
    while (code == -EINTR);
    return code == 0 ? DRAY_OK : lock_refused(env->os, bytes, code, what, error);
}
