/// Reads and writes between two processes: dray's agent beside a raw UCP loop, and ucx_perftest where it is
/// installed.
///
/// Each of ours has a serving process of its own, forked from this one, over the same memory, which we see
/// too: that is how the bytes are checked. Both sleep when nobody asks anything of them. They end when
/// their control pipe does, so also when we are killed.
#include "bench_transfer.h"
#include <dray/agent.h>

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { metadata_most = 1 << 16 };

/// A serving process.
typedef struct server {
    pid_t pid;
    int control_fd, report_fd; // closed: it ends; what it has to say
} server;

struct bench_peer {
    uint8_t *memory; // shared with both
    server dray, raw;
    bench_ucp *ucp;
};

typedef void serve_fn(uint8_t *memory, uint64_t bytes, int control_fd, int report_fd);

// --- the serving processes -----------------------------------------------------------------------------

static bool write_all(int fd, const void *bytes, size_t count)
{
    for (size_t at = 0; at < count;) {
        ssize_t wrote = write(fd, (const char *)bytes + at, count - at);
        if (wrote <= 0)
            return false;
        at += (size_t)wrote;
    }
    return true;
}

static bool read_all(int fd, void *bytes, size_t count)
{
    for (size_t at = 0; at < count;) {
        ssize_t got = read(fd, (char *)bytes + at, count - at);
        if (got <= 0)
            return false;
        at += (size_t)got;
    }
    return true;
}

/// dray's: an agent with one region, progressed through its fd.
static dray_status agent_serve(dray_context *context, uint8_t *memory, uint64_t bytes,
                               int control_fd, int report_fd, dray_error *error)
{
    static const char *const backends[] = {"ucx", NULL};
    static uint8_t metadata[metadata_most];
    dray_agent_options options = {
        .struct_bytes = sizeof(options), .name = "bench server", .backends = backends};
    dray_register_options shared = {.struct_bytes = sizeof(shared), .name = "memory", .writable = 1};
    dray_agent *agent = NULL;
    dray_region *region = NULL;
    uint64_t used = 0;
    dray_status status = dray_agent_create(context, &options, &agent, error);
    if (status == DRAY_OK)
        status = dray_region_wrap(context, DRAY_STORAGE_SYSTEM, memory, bytes, NULL, NULL, &region,
                                  error);
    dray_descriptor descriptor;
    if (status == DRAY_OK)
        status = dray_agent_register(agent, region, &shared, &descriptor, error);
    if (status == DRAY_OK)
        status = dray_agent_export(agent, metadata, sizeof(metadata), &used, error);
    bool told = status == DRAY_OK && write_all(report_fd, &used, sizeof(used)) &&
                write_all(report_fd, metadata, (size_t)used);
    struct pollfd fds[2] = {{.fd = control_fd, .events = POLLIN}, {.events = POLLIN}};
    while (told && !(fds[0].revents & (POLLIN | POLLHUP))) {
        dray_agent_poll(agent);
        if (dray_agent_arm(agent, &fds[1].fd, error) == DRAY_OK)
            poll(fds, 2, -1);
    }
    dray_agent_destroy(agent);
    dray_region_release(region);
    return status;
}

static void dray_serve(uint8_t *memory, uint64_t bytes, int control_fd, int report_fd)
{
    dray_context *context = NULL;
    dray_error error;
    if (dray_context_create(NULL, &context, &error) != DRAY_OK)
        return;
    if (agent_serve(context, memory, bytes, control_fd, report_fd, &error) != DRAY_OK)
        fprintf(stderr, "bench: serving process: %s\n", error.message);
    dray_context_destroy(context);
}

static bool server_start(server *self, serve_fn *serve, uint8_t *memory, const server *other)
{
    int control[2], report[2];
    if (pipe(control) < 0)
        return false;
    if (pipe(report) < 0) {
        close(control[0]);
        close(control[1]);
        return false;
    }
    self->pid = fork();
    if (self->pid == 0) {
        close(control[1]);
        close(report[0]);
        if (other) // or it would keep the other one alive
            close(other->control_fd);
        serve(memory, BENCH_SET_BYTES, control[0], report[1]);
        _exit(0);
    }
    close(control[0]);
    close(report[1]);
    self->control_fd = control[1];
    self->report_fd = report[0];
    return self->pid > 0;
}

static void server_stop(server *self)
{
    if (self->pid <= 0)
        return;
    close(self->control_fd);
    close(self->report_fd);
    while (waitpid(self->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
}

// --- our side ------------------------------------------------------------------------------------------

static bool case_ucp(bench_transfer_state *state)
{
    return state->peer->ucp && bench_ucp_io(state->peer->ucp, &state->batch,
                                            dray_region_pointer(state->memory), state->now->write);
}

static bool case_perftest(bench_transfer_state *state)
{
    double seconds = bench_perftest(&state->batch, state->now->write);
    state->own_seconds = seconds * state->batch.repeats;
    return seconds > 0;
}

static dray_status agent_connect(bench_transfer_state *state, const server *from, dray_error *error)
{
    static const char *const backends[] = {"ucx", NULL};
    static uint8_t metadata[metadata_most];
    dray_agent_options options = {
        .struct_bytes = sizeof(options), .name = "bench client", .backends = backends};
    dray_status status = dray_agent_create(state->context, &options, &state->agent, error);
    uint64_t used = 0;
    if (status != DRAY_OK)
        return status;
    if (!read_all(from->report_fd, &used, sizeof(used)) || used > sizeof(metadata) ||
        !read_all(from->report_fd, metadata, (size_t)used))
        return dray_fail(error, DRAY_E_IO, "bench: the serving process ended before it served");
    dray_peer *peer;
    status = dray_agent_import(state->agent, metadata, used, &peer, error);
    return status == DRAY_OK ? dray_peer_open(peer, "memory", &state->other, error) : status;
}

static dray_status ways_run(bench_transfer_state *state, dray_error *error)
{
    static const bench_way ways[] = {{.name = "peer read", .remote = true},
                                     {.name = "peer write", .write = true, .remote = true}};
    static const bench_case cases[] = {{.name = "dray", .run = bench_case_dray},
                                       {.name = "raw UCP loop", .run = case_ucp},
                                       {.name = "ucx_perftest", .run = case_perftest}};
    dray_status status = DRAY_OK;
    for (int i = 0; status == DRAY_OK && i < 2; i++) {
        state->now = &ways[i];
        status = bench_way_run(state, cases, 3, error);
    }
    return status;
}

static dray_status peer_measure(bench_transfer_state *state, bench_peer *peer, dray_error *error)
{
    if (!server_start(&peer->dray, dray_serve, peer->memory, NULL) ||
        !server_start(&peer->raw, bench_ucp_serve, peer->memory, &peer->dray))
        return dray_fail_os(error, errno, "fork", "bench: serving process");
    dray_agent *agent = state->agent;
    state->agent = NULL;
    dray_status status = agent_connect(state, &peer->dray, error);
    peer->ucp = bench_ucp_connect(peer->raw.report_fd);
    state->peer = peer;
    state->other_bytes = peer->memory;
    if (status == DRAY_OK)
        status = ways_run(state, error);
    bench_ucp_close(peer->ucp);
    dray_region_release(state->other);
    dray_agent_destroy(state->agent);
    state->agent = agent;
    state->other = NULL;
    state->other_bytes = NULL;
    return status;
}

dray_status bench_ucx(bench_transfer_state *state, dray_error *error)
{
    bench_peer peer = {0};
    peer.memory = mmap(NULL, BENCH_SET_BYTES, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (peer.memory == MAP_FAILED)
        return dray_fail_os(error, errno, "mmap", "bench: memory of the peer");
    for (uint64_t i = 0; i < BENCH_SET_BYTES; i++)
        peer.memory[i] = (uint8_t)(i * 7 + i / 251);
    dray_status status = peer_measure(state, &peer, error);
    server_stop(&peer.raw);
    server_stop(&peer.dray);
    munmap(peer.memory, BENCH_SET_BYTES);
    return status;
}
