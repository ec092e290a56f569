/// Work that may crash or hang, in a child process that is allowed to.
///
/// The child is a fork: it sees everything that the program sees, and can do all that the program may. So
/// a trial finds code that is broken; it does not hold code that is hostile.
#include "os/os_module.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { classic_signals = 32 };

/// What comes through the pipe when the work came to an end.
typedef struct trial_answer {
    int32_t code;
    char why[sizeof(((drayi_trial *)0)->why)];
} trial_answer;

/// Crashes end the child at once, quietly, and leave no core; nothing it prints is seen.
static void child_prepare(int64_t timeout_ns)
{
    const struct rlimit none = {0, 0};
    rlim_t seconds = (rlim_t)(timeout_ns / 1000000000 + 1);
    const struct rlimit cpu = {seconds, seconds + 1};
    for (int i = 1; i < classic_signals; i++)
        signal(i, SIG_DFL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setrlimit(RLIMIT_CORE, &none);
    setrlimit(RLIMIT_FSIZE, &none);
    setrlimit(RLIMIT_CPU, &cpu);
    int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = STDIN_FILENO; nowhere >= 0 && fd <= STDERR_FILENO; fd++)
        dup2(nowhere, fd);
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/// Reads until the answer is whole, the other end is closed, or time is up. True: whole.
static bool await_answer(int fd, int64_t deadline_ns, trial_answer *answer, bool *out_late)
{
    size_t got = 0;
    *out_late = false;
    while (got < sizeof(*answer)) {
        int64_t left = deadline_ns - now_ns();
        struct pollfd wanted = {.fd = fd, .events = POLLIN};
        const struct timespec timeout = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
        int ready = left > 0 ? ppoll(&wanted, 1, &timeout, NULL) : 0;
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0) {
            *out_late = true;
            return false;
        }
        ssize_t count = read(fd, (char *)answer + got, sizeof(*answer) - got);
        if (count == 0 || (count < 0 && errno != EINTR))
            return false;
        got += count > 0 ? (size_t)count : 0;
    }
    return true;
}

/// Ends the child and tells how it ended. A program that reaps all its children itself leaves us without
/// that; then the answer alone counts.
static void child_end(pid_t child, drayi_trial *out)
{
    int how = 0;
    pid_t ended;
    kill(child, SIGKILL); // its answer is there, or never comes
    do
        ended = waitpid(child, &how, 0);
    while (ended < 0 && errno == EINTR);
    if (ended == child && WIFSIGNALED(how))
        out->signal = WTERMSIG(how);
}

static void parent_wait(pid_t child, int fd, int64_t timeout_ns, drayi_trial *out)
{
    trial_answer answer;
    *out = (drayi_trial){.code = -ECHILD};
    bool whole = await_answer(fd, now_ns() + timeout_ns, &answer, &out->timed_out);
    if (!whole && !out->timed_out) { // the pipe closed: it has ended or is about to
        int how = 0;
        pid_t ended;
        do
            ended = waitpid(child, &how, 0);
        while (ended < 0 && errno == EINTR);
        out->signal = ended == child && WIFSIGNALED(how) ? WTERMSIG(how) : 0;
        return;
    }
    child_end(child, out);
    if (whole) {
        out->signal = 0;
        out->code = answer.code;
        memcpy(out->why, answer.why, sizeof(out->why));
        out->why[sizeof(out->why) - 1] = '\0';
    }
}

int drayi_trial_run(int (*work)(void *self, char *out_why, size_t why_bytes), void *self,
                    int64_t timeout_ns, drayi_trial *out)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    pid_t child = fork();
    if (child < 0) {
        int code = -errno;
        close(ends[0]);
        close(ends[1]);
        return code;
    }
    if (child == 0) {
        trial_answer answer = {.code = 0};
        child_prepare(timeout_ns);
        answer.code = work(self, answer.why, sizeof(answer.why));
        ssize_t count = write(ends[1], &answer, sizeof(answer)); // fits a pipe at once
        _exit(count == (ssize_t)sizeof(answer) ? 0 : 1);
    }
    close(ends[1]);
    parent_wait(child, ends[0], timeout_ns, out);
    close(ends[0]);
    return 0;
}
