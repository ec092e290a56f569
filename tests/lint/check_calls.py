#!/usr/bin/env python3
"""Checks that the library reaches the system only through its own doors: system calls through src/os
(so that tests can make each of them fail), memory through drayi_env's allocator, and no output, no
environment, no signals at all. Usage: check_calls.py <repository>
"""
import pathlib
import re
import sys

# What a call belongs to: the folders of src/ that may make it, and what to use instead.
RULES = [
    (
        {"os"},
        "system calls belong into src/os, behind drayi_os",
        """open openat open64 creat close read pread pread64 preadv preadv2 readv write pwrite pwrite64
        pwritev pwritev2 writev lseek stat fstat lstat fstatat statx statfs fstatfs access faccessat
        ftruncate truncate fallocate posix_fallocate fsync fdatasync sync_file_range syncfs
        posix_fadvise readahead sendfile splice copy_file_range unlink unlinkat rename renameat
        renameat2 link linkat symlink readlink mkdir mkdirat mkdtemp mkstemp rmdir opendir fdopendir
        readdir closedir scandir realpath getcwd chdir flock fcntl ioctl dup dup2 dup3 pipe pipe2
        mmap mmap64 munmap mremap mprotect madvise posix_madvise process_madvise mlock mlock2 munlock
        mlockall munlockall msync mincore memfd_create shm_open userfaultfd mbind get_mempolicy
        set_mempolicy move_pages eventfd eventfd_read eventfd_write epoll_create1 epoll_ctl epoll_wait
        poll ppoll select timerfd_create socket connect bind listen accept accept4 send sendto sendmsg
        recv recvfrom recvmsg fork vfork execve execv execvp posix_spawn waitpid kill syscall sysconf
        getpagesize getrlimit setrlimit prctl sched_getaffinity sched_setaffinity sched_getcpu getcpu
        dlopen dlsym dlclose dlerror clock_gettime gettimeofday time nanosleep clock_nanosleep usleep
        sleep sched_yield pthread_create pthread_join pthread_detach getrandom fopen fopen64 fdopen
        fclose fread fwrite fgets fseek fseeko ftell ftello rewind getline""",
    ),
    (
        {"base", "os", "shim"},
        "bookkeeping memory comes from drayi_alloc",
        """malloc calloc realloc reallocarray aligned_alloc posix_memalign memalign free strdup strndup
        asprintf vasprintf alloca""",
    ),
    (
        set(),
        "the library prints nothing, reads no environment and ends no process",
        """printf fprintf vprintf vfprintf dprintf puts fputs putchar fputc perror getenv secure_getenv
        setenv putenv exit _exit _Exit abort atexit""",
    ),
    (
        {"os"},  # its threads leave the signals to the program
        "signal masks belong into src/os",
        "sigprocmask pthread_sigmask",
    ),
    (
        set(),
        "the library installs no signal handler",
        "signal sigaction sigaltstack",
    ),
]

# File name, calls, and why they may stand there.
EXCEPTIONS = {
    "core/context.c": {
        "malloc": "the default allocator",
        "free": "the default allocator",
    },
    "os/os_linux.c": {
        "sigaction": "puts back what a library replaced while it was loaded",
    },
    "os/os_trial.c": {
        "_exit": "ends the child process of a trial",
        "signal": "gives the child process of a trial the signals' own actions",
    },
    "memory/fault_guard.c": {
        "sigaction": "the guard is a signal handler, and opt-in",
        "pthread_sigmask": "the guard is a signal handler, and opt-in",
    },
}

NOT_CODE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def code_of(file):
    """The text with comments and literals blanked, lines kept."""
    return NOT_CODE.sub(lambda match: "\n" * match[0].count("\n") or " ", file.read_text())


def check(root):
    for file in sorted((root / "src").rglob("*.[ch]")):
        name = str(file.relative_to(root / "src"))
        code = code_of(file)
        for folders, reason, calls in RULES:
            if name.split("/")[0] in folders:
                continue
            # not a member (ops->read, os.read), not the end of a longer name (format_read)
            pattern = rf"(?<![\w.>])({'|'.join(calls.split())})\s*\("
            for match in re.finditer(pattern, code):
                if match[1] not in EXCEPTIONS.get(name, {}):
                    line = code.count("\n", 0, match.start()) + 1
                    yield f"src/{name}:{line}: {match[1]}(): {reason}"


def main():
    problems = list(check(pathlib.Path(sys.argv[1]).resolve()))
    for problem in problems:
        print(problem)
    print(f"{len(problems)} problems")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
