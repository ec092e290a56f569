/// The asking end of a conversation: one call that blocks, with one deadline.
#include "base/env.h"
#include "os/os.h"
#include "transfer/agent.h"
#include "transfer/bootstrap.h"
#include "transfer/host_port.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum { addresses_most = 8 };
static const int64_t timeout_default_ns = INT64_C(5000000000);

typedef struct asking {
    dray_agent *agent;
    drayi_env *env;
    const drayi_os *os;
    drayi_boot_secret secret;
    int64_t until_ns;
    int fd;
    drayi_boot_talk talk;
    uint8_t *blob;
    uint64_t blob_bytes;
    bool stays; // the connection, as long as the other side lives
} asking;

// --- bytes ---------------------------------------------------------------------------------------------------------

/// Waits for the socket, within the deadline.
static dray_status ready(const asking *ask, bool writable, dray_error *error)
{
    int64_t left = ask->until_ns - ask->os->now_ns();
    int code = left <= 0  ? 0
               : writable ? ask->os->wait_writable(ask->fd, left)
                          : ask->os->wait_fd(ask->fd, left);
    if (code == 0)
        return dray_fail(error, DRAY_E_TIMEOUT, "no answer in time");
    return code < 0 && code != -EINTR ? dray_fail_os(error, -code, "poll", "wait for the socket")
                                      : DRAY_OK;
}

static dray_status send_all(const asking *ask, const void *bytes, uint64_t count, dray_error *error)
{
    for (uint64_t done = 0; done < count;) {
        ssize_t sent = ask->os->send(ask->fd, (const uint8_t *)bytes + done, (size_t)(count - done));
        if (sent == -EAGAIN)
            DRAY_TRY(ready(ask, true, error));
        else if (sent < 0 && sent != -EINTR)
            return dray_fail_os(error, (int)-sent, "send", "send %" PRIu64 " bytes", count);
        else if (sent > 0)
            done += (uint64_t)sent;
    }
    return DRAY_OK;
}

static dray_status receive_all(const asking *ask, void *out, uint64_t count, dray_error *error)
{
    for (uint64_t done = 0; done < count;) {
        ssize_t got = ask->os->receive(ask->fd, (uint8_t *)out + done, (size_t)(count - done));
        if (got == -EAGAIN)
            DRAY_TRY(ready(ask, false, error));
        else if (got == 0)
            return dray_fail(error, DRAY_E_IO, "it hung up after %" PRIu64 " of %" PRIu64 " bytes",
                             done, count);
        else if (got < 0 && got != -EINTR)
            return dray_fail_os(error, (int)-got, "recv", "receive %" PRIu64 " bytes", count);
        else if (got > 0)
            done += (uint64_t)got;
    }
    return DRAY_OK;
}

// --- conversation --------------------------------------------------------------------------------------------------

static dray_status hello(asking *ask, dray_error *error)
{
    uint8_t nonce[DRAYI_BOOT_NONCE];
    int code = ask->os->random(nonce, sizeof(nonce));
    if (code < 0)
        return dray_fail_os(error, -code, "getrandom", "choose a nonce");
    drayi_boot_hello(&ask->talk, ask->secret.count > 0, nonce);
    DRAY_TRY(send_all(ask, ask->talk.hello, sizeof(ask->talk.hello), error));
    return receive_all(ask, ask->talk.answer, sizeof(ask->talk.answer), error);
}

static dray_status talk(asking *ask, dray_error *error)
{
    uint64_t bytes;
    DRAY_TRY(hello(ask, error));
    DRAY_TRY(drayi_boot_prove(&ask->talk, &ask->secret, error));
    DRAY_TRY(send_all(ask, ask->talk.proof, sizeof(ask->talk.proof), error));
    DRAY_TRY(receive_all(ask, ask->talk.grant, sizeof(ask->talk.grant), error));
    DRAY_TRY(drayi_boot_grant_bytes(&ask->talk, &bytes, &ask->stays, error));
    ask->blob = drayi_alloc(ask->env, bytes, error);
    if (!ask->blob)
        return DRAY_E_NOMEM;
    ask->blob_bytes = bytes;
    DRAY_TRY(receive_all(ask, ask->blob, bytes, error));
    return drayi_boot_grant_check(&ask->talk, &ask->secret, ask->blob, bytes, error);
}

static dray_status address_check(const asking *ask, const drayi_address *address, dray_error *error)
{
    if (drayi_address_is_loopback(address))
        return DRAY_OK;
    if (!ask->secret.count)
        return dray_fail(
            error, DRAY_E_INVALID,
            "it is another machine: a shared secret is needed, so that metadata is taken "
            "from nobody else");
    if (ask->agent->options.reach == DRAY_REACH_HOST)
        return dray_fail(error, DRAY_E_INVALID,
                         "it is another machine, and this agent keeps to its own: create it with "
                         "DRAY_REACH_NETWORK");
    return DRAY_OK;
}

static dray_status reach(asking *ask, const drayi_address *address, dray_error *error)
{
    DRAY_TRY(address_check(ask, address, error));
    ask->fd = ask->os->tcp_connect(address);
    if (ask->fd < 0)
        return dray_fail_os(error, -ask->fd, "connect", "connect");
    DRAY_TRY(ready(ask, true, error));
    int code = ask->os->tcp_connected(ask->fd);
    return code < 0 ? dray_fail_os(error, -code, "connect", "connect") : DRAY_OK;
}

/// The first of the host's addresses where somebody listens has the word.
static dray_status ask_host(asking *ask, const char *text, dray_error *error)
{
    drayi_host_port to;
    drayi_address addresses[addresses_most];
    char why[128];
    DRAY_TRY(drayi_host_port_read(text, &to, error));
    int count = ask->os->resolve(to.host, to.port, addresses, addresses_most, why, sizeof(why));
    if (count < 1)
        return dray_fail(error, DRAY_E_NOTFOUND, "no such host: %s", why);
    dray_status status = DRAY_E_NOTFOUND;
    for (int i = 0; i < count; i++) {
        status = reach(ask, &addresses[i], error);
        if (status == DRAY_OK)
            return talk(ask, error);
        drayi_close_file(ask->os, ask->fd);
        ask->fd = -1;
    }
    return status;
}

dray_status dray_agent_connect(dray_agent *agent, const char *address,
                               const dray_connect_options *given, dray_peer **out_peer,
                               dray_error *error)
{
    dray_connect_options options;
    DRAY_TRY(drayi_options(&options, sizeof(options), given, "dray_connect_options", error));
    asking ask = {.agent = agent, .env = agent->env, .os = agent->env->os, .fd = -1};
    ask.until_ns =
        ask.os->now_ns() + (options.timeout_ns > 0 ? options.timeout_ns : timeout_default_ns);
    dray_status status =
        drayi_boot_secret_set(&ask.secret, options.secret, options.secret_bytes, error);
    if (status == DRAY_OK)
        status = ask_host(&ask, address, error);
    drayi_boot_secret_wipe(&ask.secret);
    if (status == DRAY_OK)
        status = dray_agent_import(agent, ask.blob, ask.blob_bytes, out_peer, error);
    else
        dray_fail_within(error, status, "agent %s: connect to %s", agent->name, address);
    if (status == DRAY_OK && ask.stays)
        drayi_peer_guard(*out_peer, ask.fd);
    else
        drayi_close_file(ask.os, ask.fd);
    drayi_free(agent->env, ask.blob, ask.blob_bytes);
    return status;
}
