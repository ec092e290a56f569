#include "ucx_rig.h"

#include "testing.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *const ucx_only[] = {"UCX", NULL};

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

const char *ucx_unavailable(void)
{
    static char why[384];
    dray_context *context;
    dray_agent *agent = NULL;
    dray_error error;
    if (dray_context_create(NULL, &context, &error) != DRAY_OK)
        return "there is no context";
    dray_agent_options options = {.struct_bytes = sizeof(options), .backends = ucx_only};
    dray_status status = dray_agent_create(context, &options, &agent, &error);
    if (status != DRAY_OK)
        snprintf(why, sizeof(why), "%s", error.message);
    dray_agent_destroy(agent);
    dray_context_destroy(context);
    return status == DRAY_OK ? NULL : why;
}

// --- an end --------------------------------------------------------------------------------------------------------

static void notified(void *self, const char *agent, const void *notice, uint32_t bytes)
{
    ucx_end *end = self;
    end->notices++;
    snprintf(end->notice_from, sizeof(end->notice_from), "%s", agent);
    snprintf(end->notice, sizeof(end->notice), "%.*s", (int)bytes, (const char *)notice);
}

uint8_t ucx_byte(uint8_t seed, uint64_t position)
{
    return (uint8_t)(seed + position * 7 + position / 251 + position / 65521);
}

void ucx_fill(dray_region *region, uint8_t seed)
{
    uint8_t *bytes = dray_region_pointer(region);
    for (uint64_t i = 0; i < dray_region_bytes(region); i++)
        bytes[i] = ucx_byte(seed, i);
}

bool ucx_same(const dray_region *region, uint8_t seed)
{
    const uint8_t *bytes = dray_region_pointer(region);
    for (uint64_t i = 0; i < dray_region_bytes(region); i++) {
        if (bytes[i] != ucx_byte(seed, i))
            return false;
    }
    return true;
}

static dray_status end_build(ucx_end *end, const char *name, uint64_t bytes, uint8_t seed,
                             uint32_t threads, dray_reach reach)
{
    dray_context_options options = {.struct_bytes = sizeof(options),
                                    .allocator = counting_allocator_interface(&end->counter),
                                    .thread_count = threads};
    dray_agent_options wanted = {.struct_bytes = sizeof(wanted),
                                 .name = name,
                                 .backends = ucx_only,
                                 .reach = reach,
                                 .notified = notified,
                                 .self = end};
    dray_region_options plain = {.struct_bytes = sizeof(plain), .bytes = bytes};
    dray_register_options shared = {.struct_bytes = sizeof(shared), .name = "memory", .writable = 1};
    dray_status status = dray_context_create(&options, &end->context, &end->error);
    if (status == DRAY_OK)
        status = dray_agent_create(end->context, &wanted, &end->agent, &end->error);
    if (status == DRAY_OK)
        status = dray_region_create(end->context, &plain, &end->region, &end->error);
    if (status == DRAY_OK) {
        ucx_fill(end->region, seed);
        status =
            dray_agent_register(end->agent, end->region, &shared, &end->descriptor, &end->error);
    }
    return status;
}

void ucx_end_export(ucx_end *end)
{
    if (dray_agent_export(end->agent, end->blob, UCX_BLOB, &end->blob_bytes, &end->error) != DRAY_OK)
        fail_msg("%s", end->error.message);
}

void ucx_end_open_reach(ucx_end *end, const char *name, uint64_t bytes, uint8_t seed,
                        uint32_t threads, dray_reach reach)
{
    memset(end, 0, sizeof(*end));
    counting_allocator_init(&end->counter, 0);
    if (end_build(end, name, bytes, seed, threads, reach) != DRAY_OK)
        fail_msg("%s", end->error.message);
    ucx_end_export(end);
}

void ucx_end_open(ucx_end *end, const char *name, uint64_t bytes, uint8_t seed, uint32_t threads)
{
    ucx_end_open_reach(end, name, bytes, seed, threads, DRAY_REACH_HOST);
}

void ucx_end_close(ucx_end *end)
{
    dray_agent_destroy(end->agent);
    dray_region_release(end->region);
    dray_context_destroy(end->context);
    assert_int_equal(counting_allocator_live_bytes(&end->counter), 0);
}

static dray_status run_until(ucx_end *end, ucx_end *other, dray_transfer *transfer)
{
    int64_t until = now_ns() + INT64_C(10000000000);
    bool done = false;
    while (!done) {
        dray_status status = DRAY_OK;
        if (other) {
            dray_agent_poll(other->agent);
            status = dray_transfer_poll(transfer, &done, &end->error);
        } else {
            status = dray_transfer_wait(transfer, until, &end->error);
            done = true;
        }
        if (status != DRAY_OK)
            return status;
        if (now_ns() > until)
            return dray_fail(&end->error, DRAY_E_TIMEOUT, "ten seconds are over");
    }
    return DRAY_OK;
}

dray_status ucx_run(ucx_end *end, ucx_end *other, dray_region *source, dray_region *target,
                    dray_peer *peer, const char *notice)
{
    dray_copy copy = {.source = source, .target = target, .run_bytes = dray_region_bytes(source)};
    dray_transfer_options options = {.struct_bytes = sizeof(options),
                                     .notice_peer = peer,
                                     .notice = notice,
                                     .notice_bytes = notice ? (uint32_t)strlen(notice) : 0};
    dray_plan *plan = NULL;
    dray_transfer *transfer = NULL;
    dray_status status = dray_plan_create(end->agent, &copy, 1, NULL, &plan, &end->error);
    if (status == DRAY_OK)
        status = dray_transfer_create(end->agent, plan, &options, &transfer, &end->error);
    if (status == DRAY_OK)
        status = dray_transfer_submit(transfer, &end->error);
    if (status == DRAY_OK)
        status = run_until(end, other, transfer);
    dray_transfer_destroy(transfer);
    dray_plan_destroy(plan);
    return status;
}

void ucx_settle(ucx_end *end, ucx_end *other)
{
    for (int i = 0; i < 200; i++) {
        dray_agent_poll(end->agent);
        if (other)
            dray_agent_poll(other->agent);
        usleep(100);
    }
}

// --- the peer's side -----------------------------------------------------------------------------------------------

static void write_all(int fd, const void *bytes, size_t count)
{
    for (size_t at = 0; at < count;) {
        ssize_t wrote = write(fd, (const char *)bytes + at, count - at);
        if (wrote <= 0)
            exit(3);
        at += (size_t)wrote;
    }
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

/// One order: a letter and a byte. False: it is time to end.
static bool peer_obey(ucx_end *end)
{
    uint8_t order[2];
    if (!read_all(0, order, 2))
        return false;
    if (order[0] == 'h') {
        uint32_t answer = ucx_same(end->region, order[1]);
        write_all(1, &answer, sizeof(answer));
    } else if (order[0] == 'n') {
        write_all(1, &end->notices, sizeof(end->notices));
    } else if (order[0] == 'f') {
        uint32_t answer = 1;
        write_all(1, &answer, sizeof(answer));
        for (;;)
            pause();
    }
    return true;
}

/// Sleeps until the agent's fd or the pipe has something; that fd is the whole event loop.
static void peer_serve(ucx_end *end)
{
    for (;;) {
        struct pollfd fds[2] = {{.fd = 0, .events = POLLIN}, {.fd = -1, .events = POLLIN}};
        dray_status status = dray_agent_arm(end->agent, &fds[1].fd, &end->error);
        if (status != DRAY_OK && status != DRAY_E_BUSY) {
            fprintf(stderr, "peer: %s\n", end->error.message);
            exit(4);
        }
        if (poll(fds, status == DRAY_OK ? 2 : 1, status == DRAY_OK ? -1 : 0) < 0)
            exit(5);
        dray_agent_poll(end->agent);
        if (fds[0].revents && !peer_obey(end))
            return;
    }
}

int ucx_peer_main(int count, char **arguments)
{
    if (count < 6 || strcmp(arguments[1], "peer") != 0)
        return -1;
    static ucx_end end;
    counting_allocator_init(&end.counter, 0);
    if (end_build(&end, arguments[2], strtoull(arguments[3], NULL, 10),
                  (uint8_t)strtoul(arguments[4], NULL, 10), 0,
                  (dray_reach)atoi(arguments[5])) != DRAY_OK ||
        dray_agent_export(end.agent, end.blob, UCX_BLOB, &end.blob_bytes, &end.error) != DRAY_OK) {
        fprintf(stderr, "peer: %s\n", end.error.message);
        return 2;
    }
    write_all(1, &end.blob_bytes, sizeof(end.blob_bytes));
    write_all(1, end.blob, end.blob_bytes);
    peer_serve(&end);
    dray_agent_destroy(end.agent);
    dray_region_release(end.region);
    dray_context_destroy(end.context);
    return counting_allocator_live_bytes(&end.counter) ? 6 : 0;
}

// --- our side ------------------------------------------------------------------------------------------------------

void ucx_peer_start_between(ucx_peer *peer, const char *name, uint64_t bytes, uint8_t seed,
                            dray_reach reach, void (*before)(void), void (*after)(pid_t pid))
{
    int to[2], from[2];
    assert_int_equal(pipe2(to, O_CLOEXEC), 0);
    assert_int_equal(pipe2(from, O_CLOEXEC), 0);
    char count[32], start[8], far[8];
    snprintf(count, sizeof(count), "%llu", (unsigned long long)bytes);
    snprintf(start, sizeof(start), "%u", seed);
    snprintf(far, sizeof(far), "%d", (int)reach);
    peer->pid = fork();
    assert_true(peer->pid >= 0);
    if (peer->pid == 0) {
        dup2(to[0], 0);
        dup2(from[1], 1);
        if (before)
            before();
        execl("/proc/self/exe", "peer", "peer", name, count, start, far, (char *)NULL);
        _exit(127);
    }
    close(to[0]);
    close(from[1]);
    peer->to = to[1];
    peer->from = from[0];
    if (after)
        after(peer->pid);
    assert_true(read_all(peer->from, &peer->blob_bytes, sizeof(peer->blob_bytes)));
    assert_true(peer->blob_bytes <= UCX_BLOB);
    assert_true(read_all(peer->from, peer->blob, peer->blob_bytes));
}

void ucx_peer_start(ucx_peer *peer, const char *name, uint64_t bytes, uint8_t seed)
{
    ucx_peer_start_between(peer, name, bytes, seed, DRAY_REACH_HOST, NULL, NULL);
}

static uint32_t peer_ask(ucx_peer *peer, char order, uint8_t value)
{
    const uint8_t bytes[2] = {(uint8_t)order, value};
    uint32_t answer;
    assert_int_equal(write(peer->to, bytes, 2), 2);
    assert_true(read_all(peer->from, &answer, sizeof(answer)));
    return answer;
}

bool ucx_peer_holds(ucx_peer *peer, uint8_t seed)
{
    return peer_ask(peer, 'h', seed) == 1;
}

uint32_t ucx_peer_notices(ucx_peer *peer)
{
    return peer_ask(peer, 'n', 0);
}

void ucx_peer_freeze(ucx_peer *peer)
{
    assert_int_equal(peer_ask(peer, 'f', 0), 1);
}

static int peer_reap(ucx_peer *peer)
{
    int status = 0;
    close(peer->to);
    waitpid(peer->pid, &status, 0);
    close(peer->from);
    return status;
}

void ucx_peer_kill(ucx_peer *peer)
{
    kill(peer->pid, SIGKILL);
    peer_reap(peer);
}

void ucx_peer_stop(ucx_peer *peer)
{
    int status = peer_reap(peer);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}
