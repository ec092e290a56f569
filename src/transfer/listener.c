/// The serving end of conversations: a socket, a few connections, a deadline for each.
///
/// Everything that comes in is hostile until its proof was right. So a connection costs one fixed-size
/// entry until then, each has one deadline for all of it, and one more than there is room for puts out
/// the oldest that has not proven itself: whoever only takes up room cannot keep others out for longer than they
/// keep coming. Connections of those that got the metadata stay open, silently: their end tells that this
/// process has ended. Nothing waits here; the epoll fd, the sockets and a timer behind it, tells when to come.
#include "base/env.h"
#include "os/os.h"
#include "transfer/agent.h"
#include "transfer/conversation.h"
#include "transfer/host_port.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum {
    connections_default = 16,
    connections_most = 1024,
    peers_default = 256,
    peers_most = 65536,
    backlog = 64,
    accept_again_ns = 100000000, // after it failed for want of descriptors or memory
};
static const int64_t timeout_default_ns = INT64_C(5000000000);

typedef struct connection {
    int fd;        // -1: free
    bool writable; // what epoll was told to wait for
    int64_t until_ns;
    drayi_conversation talk;
} connection;

struct dray_listener {
    dray_agent *agent;
    drayi_env *env;
    const drayi_os *os;
    drayi_boot_secret secret;
    int64_t timeout_ns;
    int fd, watch_fd, timer_fd;
    int64_t accept_at_ns; // 0: the socket is watched; otherwise when it will be again
    char address[DRAYI_ADDRESS_TEXT];
    connection *connections;
    uint32_t connection_count;
    int *kept; // those who have the metadata
    uint32_t kept_count, kept_room;
    dray_listener_counts counts;
};

// --- conversations -------------------------------------------------------------------------------------------------

static void connection_close(dray_listener *listener, connection *at, uint64_t *counter)
{
    drayi_conversation_end(&at->talk, listener->env);
    drayi_close_file(listener->os, at->fd); // epoll forgets it with that
    *at = (connection){.fd = -1};
    listener->counts.open--;
    ++*counter;
}

/// The metadata is out. The socket stays, and is closed when the other side closes it, or says anything.
static void connection_keep(dray_listener *listener, connection *at)
{
    int fd = at->fd;
    bool keep = at->talk.stays && listener->kept_count < listener->kept_room &&
                listener->os->watch_change(listener->watch_fd, fd, true, false) >= 0;
    if (keep) {
        listener->kept[listener->kept_count++] = fd;
        at->fd = -1;
    }
    connection_close(listener, at, &listener->counts.granted);
}

static void kept_look(dray_listener *listener)
{
    for (uint32_t i = 0; i < listener->kept_count;) {
        uint8_t any;
        ssize_t got = listener->os->receive(listener->kept[i], &any, 1);
        if (got == -EAGAIN || got == -EINTR) {
            i++;
            continue;
        }
        drayi_close_file(listener->os, listener->kept[i]);
        listener->kept[i] = listener->kept[--listener->kept_count];
    }
}

/// Tells epoll what the connection waits for.
static bool connection_watch(dray_listener *listener, connection *at)
{
    bool writable = drayi_conversation_sends(&at->talk);
    if (at->writable == writable)
        return true;
    at->writable = writable;
    return listener->os->watch_change(listener->watch_fd, at->fd, !writable, writable) >= 0;
}

static void connection_work(dray_listener *listener, connection *at, int64_t now_ns)
{
    dray_error why;
    dray_listener_counts *counts = &listener->counts;
    switch (drayi_conversation_work(&at->talk, listener->agent, &listener->secret, at->fd, &why)) {
    case DRAYI_CONVERSATION_GRANTED:
        connection_keep(listener, at);
        return;
    case DRAYI_CONVERSATION_REFUSED:
        drayi_log(listener->env, DRAY_LOG_INFO, "listener %s: refused: %s", listener->address,
                  why.message);
        connection_close(listener, at, &counts->refused);
        return;
    case DRAYI_CONVERSATION_BROKEN:
        connection_close(listener, at, &counts->expired);
        return;
    default:
        if (now_ns >= at->until_ns || !connection_watch(listener, at))
            connection_close(listener, at, &counts->expired);
    }
}

// --- the socket ----------------------------------------------------------------------------------------------------

/// A free entry; the oldest, put out, when there is none.
static connection *entry_take(dray_listener *listener)
{
    connection *oldest = &listener->connections[0];
    for (uint32_t i = 0; i < listener->connection_count; i++) {
        connection *each = &listener->connections[i];
        if (each->fd < 0)
            return each;
        bool proven = drayi_conversation_is_proven(&each->talk);
        if (proven != drayi_conversation_is_proven(&oldest->talk)
                ? !proven
                : each->until_ns < oldest->until_ns)
            oldest = each;
    }
    connection_close(listener, oldest, &listener->counts.expired);
    return oldest;
}

static void connection_begin(dray_listener *listener, int fd, int64_t now_ns)
{
    connection *at = entry_take(listener);
    *at = (connection){.fd = fd, .until_ns = now_ns + listener->timeout_ns};
    at->talk.stays = listener->kept_count + listener->counts.open < listener->kept_room;
    listener->counts.open++;
    if (listener->os->watch_change(listener->watch_fd, fd, true, false) < 0)
        connection_close(listener, at, &listener->counts.expired);
}

/// Nothing to take one with: the socket stays readable, so it is not looked at for a moment.
static void accept_pause(dray_listener *listener, int code, int64_t now_ns)
{
    drayi_log(listener->env, DRAY_LOG_WARNING, "listener %s: cannot accept a connection: %s",
              listener->address, strerror(-code));
    if (listener->os->watch_change(listener->watch_fd, listener->fd, false, false) >= 0)
        listener->accept_at_ns = now_ns + accept_again_ns;
}

static void accept_all(dray_listener *listener, int64_t now_ns)
{
    if (listener->accept_at_ns && now_ns < listener->accept_at_ns)
        return;
    if (listener->accept_at_ns &&
        listener->os->watch_change(listener->watch_fd, listener->fd, true, false) < 0)
        listener->accept_at_ns = now_ns + accept_again_ns;
    else
        listener->accept_at_ns = 0;
    for (uint32_t i = 0; i < listener->connection_count; i++) { // more come with the next poll
        int fd = listener->os->tcp_accept(listener->fd);
        if (fd >= 0)
            connection_begin(listener, fd, now_ns);
        else if (fd == -EMFILE || fd == -ENFILE || fd == -ENOBUFS || fd == -ENOMEM)
            accept_pause(listener, fd, now_ns);
        if (fd == -EAGAIN || listener->accept_at_ns)
            return; // anything else is the trouble of one connection that never was
    }
}

/// The timer stands at what comes first.
static void timer_set(dray_listener *listener, int64_t now_ns)
{
    int64_t first = listener->accept_at_ns ? listener->accept_at_ns : INT64_MAX;
    for (uint32_t i = 0; i < listener->connection_count; i++) {
        const connection *each = &listener->connections[i];
        if (each->fd >= 0 && each->until_ns < first)
            first = each->until_ns;
    }
    int64_t in_ns = first == INT64_MAX ? 0 : first <= now_ns ? 1 : first - now_ns;
    (void)listener->os->timer_set(listener->timer_fd, in_ns);
}

void dray_listener_poll(dray_listener *listener)
{
    uint64_t stale;
    if (listener->os->wait_fd(listener->watch_fd, 0) == 0)
        return;
    (void)listener->os->read(listener->timer_fd, &stale, sizeof(stale));
    int64_t now_ns = listener->os->now_ns();
    accept_all(listener, now_ns);
    for (uint32_t i = 0; i < listener->connection_count; i++) {
        if (listener->connections[i].fd >= 0)
            connection_work(listener, &listener->connections[i], now_ns);
    }
    kept_look(listener);
    timer_set(listener, now_ns);
}

int dray_listener_fd(const dray_listener *listener)
{
    return listener->watch_fd;
}

const char *dray_listener_address(const dray_listener *listener)
{
    return listener->address;
}

void dray_listener_count(const dray_listener *listener, dray_listener_counts *out_counts)
{
    *out_counts = listener->counts;
    out_counts->kept = listener->kept_count;
}

// --- life ----------------------------------------------------------------------------------------------------------

/// Who may be let in from where.
static dray_status address_check(const dray_listener *listener, const drayi_address *address,
                                 dray_error *error)
{
    if (drayi_address_is_loopback(address))
        return DRAY_OK;
    if (!listener->secret.count)
        return dray_fail(error, DRAY_E_INVALID,
                         "other machines reach this address: a shared secret is needed");
    if (listener->agent->options.reach == DRAY_REACH_HOST)
        return dray_fail(error, DRAY_E_INVALID,
                         "other machines reach this address, but not the agent: create it with "
                         "DRAY_REACH_NETWORK");
    return DRAY_OK;
}

static dray_status socket_open(dray_listener *listener, const char *text, dray_error *error)
{
    drayi_host_port at;
    drayi_address address;
    char why[128];
    DRAY_TRY(drayi_host_port_read(text, &at, error));
    if (listener->os->resolve(at.host, at.port, &address, 1, why, sizeof(why)) < 1)
        return dray_fail(error, DRAY_E_NOTFOUND, "no such host: %s", why);
    DRAY_TRY(address_check(listener, &address, error));
    listener->fd = listener->os->tcp_listen(&address, backlog);
    if (listener->fd < 0)
        return dray_fail_os(error, -listener->fd, "listen", "open the socket");
    int code = listener->os->tcp_where(listener->fd, &address);
    if (code < 0)
        return dray_fail_os(error, -code, "getsockname", "ask for the port");
    drayi_address_text(&address, listener->address);
    return DRAY_OK;
}

static dray_status watch_open(dray_listener *listener, dray_error *error)
{
    const drayi_os *os = listener->os;
    if ((listener->watch_fd = os->watch_open()) < 0)
        return dray_fail_os(error, -listener->watch_fd, "epoll_create1", "open an epoll fd");
    if ((listener->timer_fd = os->timer_open()) < 0)
        return dray_fail_os(error, -listener->timer_fd, "timerfd_create", "open a timer");
    int code = os->watch_change(listener->watch_fd, listener->timer_fd, true, false);
    if (code >= 0)
        code = os->watch_change(listener->watch_fd, listener->fd, true, false);
    return code < 0 ? dray_fail_os(error, -code, "epoll_ctl", "watch the socket") : DRAY_OK;
}

static dray_status listener_build(dray_listener *listener, const dray_listener_options *options,
                                  dray_error *error)
{
    const char *address = options->address ? options->address : "127.0.0.1:0";
    uint32_t most = options->connections_max ? options->connections_max : connections_default;
    uint32_t peers = options->peers_max ? options->peers_max : peers_default;
    if (most > connections_most || peers > peers_most || options->timeout_ns < 0)
        return dray_fail(error, DRAY_E_INVALID,
                         "%u conversations at a time and %u peers, each in %" PRId64
                         " ns; at most %d, %d, and a time to come",
                         most, peers, options->timeout_ns, connections_most, peers_most);
    listener->timeout_ns = options->timeout_ns ? options->timeout_ns : timeout_default_ns;
    DRAY_TRY(
        drayi_boot_secret_set(&listener->secret, options->secret, options->secret_bytes, error));
    listener->connections = drayi_alloc_array(listener->env, most, sizeof(connection), error);
    if (!listener->connections)
        return DRAY_E_NOMEM;
    listener->connection_count = most;
    for (uint32_t i = 0; i < most; i++)
        listener->connections[i].fd = -1;
    listener->kept = drayi_alloc_array(listener->env, peers, sizeof(int), error);
    if (!listener->kept)
        return DRAY_E_NOMEM;
    listener->kept_room = peers;
    uint64_t bytes; // is there anything to hand out?
    dray_status status = dray_agent_export(listener->agent, NULL, 0, &bytes, error);
    if (status != DRAY_E_NOSPACE)
        return status;
    status = socket_open(listener, address, error);
    if (status != DRAY_OK)
        return dray_fail_within(error, status, "listen at %s", address);
    return watch_open(listener, error);
}

dray_status dray_listener_create(dray_agent *agent, const dray_listener_options *given,
                                 dray_listener **out_listener, dray_error *error)
{
    dray_listener_options options;
    DRAY_TRY(drayi_options(&options, sizeof(options), given, "dray_listener_options", error));
    dray_listener *listener = drayi_new(agent->env, dray_listener, error);
    if (!listener)
        return DRAY_E_NOMEM;
    listener->agent = agent;
    listener->env = agent->env;
    listener->os = agent->env->os;
    listener->fd = listener->watch_fd = listener->timer_fd = -1;
    dray_status status = listener_build(listener, &options, error);
    if (status != DRAY_OK) {
        dray_listener_destroy(listener);
        return dray_fail_within(error, status, "agent %s", agent->name);
    }
    *out_listener = listener;
    return DRAY_OK;
}

void dray_listener_destroy(dray_listener *listener)
{
    if (!listener)
        return;
    drayi_env *env = listener->env;
    for (uint32_t i = 0; i < listener->connection_count; i++) {
        if (listener->connections[i].fd >= 0)
            connection_close(listener, &listener->connections[i], &listener->counts.expired);
    }
    for (uint32_t i = 0; i < listener->kept_count; i++)
        drayi_close_file(env->os, listener->kept[i]);
    drayi_free(env, listener->kept, listener->kept_room * sizeof(int));
    drayi_free(env, listener->connections, listener->connection_count * sizeof(connection));
    drayi_close_file(env->os, listener->fd);
    drayi_close_file(env->os, listener->timer_fd);
    drayi_close_file(env->os, listener->watch_fd);
    drayi_boot_secret_wipe(&listener->secret);
    drayi_free(env, listener, sizeof(*listener));
}
