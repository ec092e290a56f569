/// share_memory: one process shares a few words, another one reads them and writes its own behind them.
///
///     share_memory serve          prints an address like 127.0.0.1:41234, and ends when it was answered
///     share_memory ADDRESS
#include <dray/dray.h>

#include <poll.h>
#include <stdio.h>
#include <string.h>

enum { half = 64, whole = 2 * half };

typedef struct side {
    dray_context *context;
    dray_agent *agent;
    dray_region *memory;
    dray_listener *listener;
    bool answered;
    dray_error error;
} side;

static void on_notice(void *self, const char *agent, const void *notice, uint32_t bytes)
{
    side *me = self;
    printf("%s says: %.*s\n", agent, (int)bytes, (const char *)notice);
    me->answered = true;
}

/// An agent that reaches others needs "ucx" by name, and somebody who works for it: here, poll and wait.
static dray_status side_open(side *me, const char *name)
{
    static const char *const backends[] = {"ucx", NULL};
    dray_agent_options agent = {.struct_bytes = sizeof(agent),
                                .name = name,
                                .backends = backends,
                                .notified = on_notice,
                                .self = me};
    dray_region_options memory = {.struct_bytes = sizeof(memory), .bytes = whole};
    dray_status status = dray_context_create(NULL, &me->context, &me->error);
    if (status == DRAY_OK)
        status = dray_agent_create(me->context, &agent, &me->agent, &me->error);
    if (status == DRAY_OK)
        status = dray_region_create(me->context, &memory, &me->memory, &me->error);
    return status;
}

static void side_close(side *me)
{
    dray_listener_destroy(me->listener);
    dray_agent_destroy(me->agent);
    dray_region_release(me->memory);
    dray_context_destroy(me->context);
}

// --- one side ----------------------------------------------------------------------------------------

/// Sleeps until the agent or the listener has something to do.
static dray_status serve_until_answered(side *me)
{
    while (!me->answered) {
        int fd = -1;
        dray_listener_poll(me->listener);
        dray_agent_poll(me->agent);
        dray_status status = dray_agent_arm(me->agent, &fd, &me->error);
        if (status != DRAY_OK && status != DRAY_E_BUSY)
            return status;
        struct pollfd fds[] = {{.fd = fd, .events = POLLIN},
                               {.fd = dray_listener_fd(me->listener), .events = POLLIN}};
        poll(fds, 2, status == DRAY_OK && !me->answered ? -1 : 0);
    }
    printf("behind them stands now: %s\n", (const char *)dray_region_pointer(me->memory) + half);
    return DRAY_OK;
}

static dray_status serve(side *me)
{
    dray_register_options words = {.struct_bytes = sizeof(words), .name = "words", .writable = 1};
    dray_descriptor descriptor;
    dray_status status = side_open(me, "server");
    if (status != DRAY_OK)
        return status;
    snprintf(dray_region_pointer(me->memory), half, "a few words");
    status = dray_agent_register(me->agent, me->memory, &words, &descriptor, &me->error);
    if (status == DRAY_OK)
        status = dray_listener_create(me->agent, NULL, &me->listener, &me->error);
    if (status != DRAY_OK)
        return status;
    printf("%s\n", dray_listener_address(me->listener));
    fflush(stdout);
    return serve_until_answered(me);
}

// --- the other ---------------------------------------------------------------------------------------

static dray_status run(side *me, const dray_copy *copy, dray_peer *peer, const char *notice)
{
    dray_transfer_options options = {.struct_bytes = sizeof(options),
                                     .notice_peer = peer,
                                     .notice = notice,
                                     .notice_bytes = notice ? (uint32_t)strlen(notice) : 0};
    dray_plan *plan = NULL;
    dray_transfer *transfer = NULL;
    dray_status status = dray_plan_create(me->agent, copy, 1, NULL, &plan, &me->error);
    if (status == DRAY_OK)
        status = dray_transfer_create(me->agent, plan, &options, &transfer, &me->error);
    if (status == DRAY_OK)
        status = dray_transfer_submit(transfer, &me->error);
    if (status == DRAY_OK)
        status = dray_transfer_wait(transfer, -1, &me->error);
    dray_transfer_destroy(transfer);
    dray_plan_destroy(plan);
    return status;
}

/// Reads the first half, and writes the second.
static dray_status exchange(side *me, dray_peer *peer, dray_region *remote)
{
    char *words = dray_region_pointer(me->memory);
    dray_copy in = {.source = remote, .target = me->memory, .run_bytes = half};
    dray_copy out = {.source = me->memory,
                     .target = remote,
                     .source_offset = half,
                     .target_offset = half,
                     .run_bytes = half};
    dray_status status = run(me, &in, NULL, NULL);
    if (status != DRAY_OK)
        return status;
    printf("there stood: %.*s\n", half, words);
    snprintf(words + half, half, "words of the client");
    return run(me, &out, peer, "there is something for you");
}

static dray_status fetch(side *me, const char *address)
{
    dray_peer *peer;
    dray_region *remote;
    dray_status status = side_open(me, "client");
    if (status == DRAY_OK)
        status = dray_agent_connect(me->agent, address, NULL, &peer, &me->error);
    if (status == DRAY_OK)
        status = dray_peer_open(peer, "words", &remote, &me->error);
    if (status != DRAY_OK)
        return status;
    status = exchange(me, peer, remote);
    dray_region_release(remote);
    return status;
}

int main(int count, char **arguments)
{
    side me = {.context = NULL};
    if (count != 2) {
        fputs("usage: share_memory serve|ADDRESS\n", stderr);
        return 2;
    }
    dray_status status = strcmp(arguments[1], "serve") == 0 ? serve(&me) : fetch(&me, arguments[1]);
    side_close(&me);
    if (status != DRAY_OK)
        fprintf(stderr, "share_memory: %s\n", me.error.message);
    return status != DRAY_OK;
}
