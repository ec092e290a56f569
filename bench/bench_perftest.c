/// UCX's own benchmark as installed, in a client and a server process: reads or writes of the block's size,
/// as many outstanding as the batch has blocks, in peer-error mode, over memory that is not UCX's own, as
/// dray's is not.
#include "bench_transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { port_first = 18700, port_last = 18900, server_starts_ms = 150 };

/// argv[] of both; the client's ends with what it is to do.
static pid_t perftest_start(char *const *arguments, int out_fd)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(out_fd >= 0 ? out_fd : nothing, STDOUT_FILENO);
    dup2(nothing, STDERR_FILENO);
    setenv("UCX_MM_ERROR_HANDLING", "y", 1);
    setenv("UCX_NET_DEVICES", "lo", 1);
    setenv("UCX_ALLOC_PRIO", "heap", 1);
    execvp(arguments[0], arguments);
    _exit(127);
}

static bool ended_well(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return false;
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/// Microseconds per block: the fourth number of the last line of `-v`, the average over the whole run.
static double result_read(FILE *from)
{
    char line[512];
    double micros = -1;
    while (fgets(line, sizeof(line), from)) {
        double overall;
        if (sscanf(line, " %*[0-9],%*[0-9.],%*[0-9.],%lf", &overall) == 1)
            micros = overall;
    }
    return micros;
}

double bench_perftest(const bench_batch *batch, bool write)
{
    static int port = port_first;
    char ports[16], bytes[32], count[16], outstanding[16];
    uint64_t runs = (uint64_t)batch->repeats * batch->count;
    port = port < port_last ? port + 1 : port_first;
    snprintf(ports, sizeof(ports), "%d", port);
    snprintf(bytes, sizeof(bytes), "%llu", (unsigned long long)batch->block_bytes);
    snprintf(count, sizeof(count), "%llu", (unsigned long long)(runs < 16 ? 16 : runs));
    snprintf(outstanding, sizeof(outstanding), "%u", batch->count);
    char *serve[] = {"ucx_perftest", "-e", "-p", ports, NULL};
    char *call[] = {
        "ucx_perftest", "127.0.0.1", "-e", "-p",  ports, "-t", write ? "ucp_put_bw" : "ucp_get",
        "-s",           bytes,       "-n", count, "-w",  "16", "-O",
        outstanding,    "-f",        "-v", NULL};
    int ends[2];
    if (pipe(ends) < 0)
        return -1;
    pid_t server = perftest_start(serve, -1);
    nanosleep(&(struct timespec){.tv_nsec = server_starts_ms * 1000000L}, NULL);
    pid_t client = perftest_start(call, ends[1]);
    close(ends[1]);
    FILE *from = fdopen(ends[0], "r");
    double micros = from ? result_read(from) : -1;
    if (from)
        fclose(from);
    bool well = client > 0 && ended_well(client);
    if (server > 0) {
        kill(server, SIGTERM); // it has ended, unless the client never came
        ended_well(server);
    }
    return well && micros > 0 ? micros * 1e-6 * batch->count : -1;
}
