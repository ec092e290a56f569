/// The fault guard. Reading a mapping whose file was truncated, or whose disk fails, raises SIGBUS at
/// the very load instruction. A guarded section says beforehand which addresses it may fault on; the
/// handler walks the thread's chain of sections, innermost first, and jumps out of the one that owns the
/// address. Every other fault goes to the handler that was there before ours, as if we did not exist.
///
/// The handler leaves the signal mask alone (SA_NODEFER, empty sa_mask), so a section costs no system
/// call to save it; only SIGBUS itself is unblocked at the outermost section, because a blocked
/// synchronous signal kills the process. Signal dispositions belong to the process, which is why this
/// file calls sigaction itself: no table of system calls could stand in for it.
#include "memory/fault_guard.h"

#include "dray/model_data.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <ucontext.h>

// the smallest page there is; vector loads may begin before the first byte
#define PAGE_MASK ((uintptr_t)4095)

typedef struct guard_section {
    sigjmp_buf jump;
    uintptr_t first, end; // the guarded addresses, whole pages
    struct guard_section *outer;
    volatile uintptr_t fault_at; // written by the handler
} guard_section;

// initial-exec: the handler must reach it without the allocation that lazy thread-local storage may do
static _Thread_local guard_section *volatile fault_guard_innermost
    __attribute__((tls_model("initial-exec")));

static struct {
    pthread_mutex_t lock;
    uint32_t count; // guarded by lock
    bool left;      // guarded by lock: count is 0, but somebody stands on top of our handler
    struct sigaction previous; // written under lock before our handler is reachable
    atomic_bool installed;     // count > 0, for readers without the lock
} fault_guard_process = {.lock = PTHREAD_MUTEX_INITIALIZER};

/// A fault raised by an instruction, as opposed to kill() and friends.
static bool is_from_instruction(const siginfo_t *info)
{
    return info->si_code > 0;
}

static void default_action(int signal_number, const siginfo_t *info)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigemptyset(&action.sa_mask);
    sigaction(signal_number, &action, NULL);
    if (!is_from_instruction(info))
        raise(signal_number); // an instruction faults again by itself, with its own address in the core file
}

/// What the kernel would have done, were our handler not there.
static void chain_previous(int signal_number, siginfo_t *info, void *machine)
{
    const struct sigaction previous = fault_guard_process.previous;
    bool has_info = (previous.sa_flags & SA_SIGINFO) != 0;
    if (!has_info && previous.sa_handler == SIG_IGN && !is_from_instruction(info))
        return;
    if (!has_info && (previous.sa_handler == SIG_DFL || previous.sa_handler == SIG_IGN)) {
        default_action(signal_number, info);
        return;
    }
    if ((unsigned)previous.sa_flags & SA_RESETHAND) { // it counts on the default action next time
        struct sigaction action = {.sa_handler = SIG_DFL};
        sigemptyset(&action.sa_mask);
        sigaction(signal_number, &action, NULL);
    }
    sigset_t mask = previous.sa_mask, before;
    if (!(previous.sa_flags & SA_NODEFER))
        sigaddset(&mask, signal_number);
    pthread_sigmask(SIG_BLOCK, &mask, &before);
    if (has_info)
        previous.sa_sigaction(signal_number, info, machine);
    else
        previous.sa_handler(signal_number);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void on_fault(int signal_number, siginfo_t *info, void *machine)
{
    int saved_errno = errno;
    uintptr_t at = (uintptr_t)info->si_addr;
    guard_section *section = is_from_instruction(info) ? fault_guard_innermost : NULL;
    while (section && (at < section->first || at >= section->end))
        section = section->outer;
    if (section) {
        section->fault_at = at;
        fault_guard_innermost = section->outer;
        // ours changes no mask, but a handler that wraps ours may (ThreadSanitizer blocks everything)
        pthread_sigmask(SIG_SETMASK, &((const ucontext_t *)machine)->uc_sigmask, NULL);
        siglongjmp(section->jump, 1);
    }
    chain_previous(signal_number, info, machine);
    errno = saved_errno;
}

static bool is_ours(const struct sigaction *action)
{
    return (action->sa_flags & SA_SIGINFO) && action->sa_sigaction == on_fault;
}

static dray_status handler_install(dray_error *error)
{
    struct sigaction current,
        ours = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
    sigemptyset(&ours.sa_mask);
    if (sigaction(SIGBUS, NULL, &current) != 0)
        return dray_fail_os(error, errno, "sigaction", "fault guard: reading the SIGBUS handler");
    if (is_ours(&current))
        return DRAY_OK;
    if (fault_guard_process.count > 0 || fault_guard_process.left)
        return dray_fail(
            error, DRAY_E_BUSY,
            "fault guard: another SIGBUS handler was installed over dray's; remove it first, or install "
            "dray's guard after it");
    fault_guard_process.previous = current;
    if (sigaction(SIGBUS, &ours, NULL) != 0)
        return dray_fail_os(error, errno, "sigaction", "fault guard: installing the SIGBUS handler");
    return DRAY_OK;
}

dray_status dray_fault_guard_install(dray_error *error)
{
    pthread_mutex_lock(&fault_guard_process.lock);
    dray_status status = handler_install(error);
    if (status == DRAY_OK) {
        fault_guard_process.count++;
        fault_guard_process.left = false;
        atomic_store(&fault_guard_process.installed, true);
    }
    pthread_mutex_unlock(&fault_guard_process.lock);
    return status;
}

void dray_fault_guard_remove(void)
{
    pthread_mutex_lock(&fault_guard_process.lock);
    if (fault_guard_process.count > 0 && --fault_guard_process.count == 0) {
        atomic_store(&fault_guard_process.installed, false);
        struct sigaction current;
        // Whoever stands on top of us chains to us: then our handler stays, and passes everything on.
        fault_guard_process.left = sigaction(SIGBUS, NULL, &current) != 0 || !is_ours(&current) ||
                                   sigaction(SIGBUS, &fault_guard_process.previous, NULL) != 0;
    }
    pthread_mutex_unlock(&fault_guard_process.lock);
}

bool drayi_guard_installed(void)
{
    return atomic_load(&fault_guard_process.installed);
}

/// Lets SIGBUS through in this thread, or blocks it again. Was it blocked before?
static bool fault_mask(int how)
{
    sigset_t fault, before;
    sigemptyset(&fault);
    sigaddset(&fault, SIGBUS);
    pthread_sigmask(how, &fault, &before);
    return sigismember(&before, SIGBUS) == 1;
}

/// The section itself. Apart, so that nothing but the section lives across sigsetjmp.
static dray_status section_run(guard_section *section,
                               dray_status (*body)(void *self, dray_error *error), void *self,
                               dray_error *error)
{
    if (sigsetjmp(section->jump, 0) != 0)
        return DRAY_E_IO; // the handler has already taken the section off the chain
    fault_guard_innermost = section;
    dray_status status = body(self, error);
    fault_guard_innermost = section->outer;
    return status;
}

dray_status drayi_guard_run(const void *at, uint64_t bytes,
                            dray_status (*body)(void *self, dray_error *error), void *self,
                            uint64_t *out_fault_offset, dray_error *error)
{
    *out_fault_offset = DRAY_UNKNOWN;
    if (!drayi_guard_installed())
        return dray_fail(error, DRAY_E_INVALID,
                         "the fault guard is not installed: call dray_fault_guard_install() first");
    uintptr_t from = (uintptr_t)at, to = from + (uintptr_t)bytes;
    guard_section section = {.first = from & ~PAGE_MASK,
                             .end = (to + PAGE_MASK) & ~PAGE_MASK,
                             .outer = fault_guard_innermost};
    bool was_blocked = !section.outer && fault_mask(SIG_UNBLOCK);
    dray_status status = section_run(&section, body, self, error);
    if (was_blocked)
        fault_mask(SIG_BLOCK);
    if (section.fault_at != 0)
        *out_fault_offset = section.fault_at > from ? section.fault_at - from : 0;
    return status;
}
