/// Listener and client when every allocation and every call of the network fails in turn, on either side. Whoever
/// fails says so; nothing leaks; the next conversation goes well.
#include "fault_os.h"
#include "listener_rig.h"
#include "testing.h"
#include "transfer/hmac.h"

#include <errno.h>
#include <string.h>

static const char secret[] = "0123456789abcdef";

static const void *secret_or_none(void)
{
    return drayi_hmac_is_built() ? secret : NULL;
}

static dray_status ask(listener_rig *client, const char *address)
{
    dray_connect_options options = {.struct_bytes = sizeof(options),
                                    .secret = secret_or_none(),
                                    .secret_bytes = 16,
                                    .timeout_ns = INT64_C(2000000000)};
    dray_peer *peer;
    return dray_agent_connect(client->agent, address, &options, &peer, &client->error);
}

static dray_status listen_with_secret(listener_rig *server)
{
    dray_listener_options options = {.struct_bytes = sizeof(options),
                                     .secret = secret_or_none(),
                                     .secret_bytes = 16,
                                     .timeout_ns = INT64_C(2000000000)};
    return listener_rig_listen(server, &options);
}

static void good(dray_status status, const dray_error *error)
{
    if (status != DRAY_OK)
        fail_msg("%s: %s", dray_status_name(status), error->message);
}

// --- the client's ------------------------------------------------------------------------------------

static void a_clients_allocations_may_fail(void **state)
{
    (void)state;
    listener_rig server;
    good(listener_rig_agent(&server, "server", NULL, 0), &server.error);
    good(listen_with_secret(&server), &server.error);
    bool failed = true;
    for (uint64_t n = 1; failed; n++) {
        listener_rig client;
        dray_status status = listener_rig_agent(&client, "client", NULL, n);
        if (status == DRAY_OK)
            status = ask(&client, dray_listener_address(server.listener));
        failed = counting_allocator_failed(&client.counter);
        assert_int_equal(status, failed ? DRAY_E_NOMEM : DRAY_OK);
        if (client.agent && failed)
            good(ask(&client, dray_listener_address(server.listener)), &client.error);
        listener_rig_close(&client);
    }
    listener_rig_close(&server);
}

/// `code` 0: a short transfer.
static void client_under_fault(listener_rig *server, int code)
{
    uint64_t hits = 1;
    for (uint64_t n = 1; hits; n++) {
        listener_rig client;
        fault_os_reset();
        good(listener_rig_agent(&client, "client", fault_os(), 0), &client.error);
        fault_os_inject(&(fault_plan){.at = n, .groups = FAULT_NET, .code = code});
        dray_status status = ask(&client, dray_listener_address(server->listener));
        hits = fault_os_hits();
        bool passes = code == 0 || code == -EINTR; // and is tried again
        bool final = strncmp(fault_os_last_hit(), "tcp_", 4) == 0 ||
                     strcmp(fault_os_last_hit(), "resolve") == 0; // calls that are made once
        if ((!hits || (passes && !final)) && status != DRAY_OK)
            fail_msg("call %d (%s, %d): %s", (int)n, fault_os_last_hit(), code,
                     client.error.message);
        assert_true(status == DRAY_OK || client.error.message[0]);
        fault_os_reset();
        good(ask(&client, dray_listener_address(server->listener)), &client.error);
        listener_rig_close(&client);
    }
}

static void a_clients_calls_may_fail(void **state)
{
    (void)state;
    static const int codes[] = {-ECONNRESET, -EIO, -EINTR, -EAGAIN, 0};
    listener_rig server;
    good(listener_rig_agent(&server, "server", NULL, 0), &server.error);
    good(listen_with_secret(&server), &server.error);
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        client_under_fault(&server, codes[i]);
    listener_rig_close(&server);
}

// --- the listener's ----------------------------------------------------------------------------------

static void a_listeners_allocations_may_fail(void **state)
{
    (void)state;
    listener_rig client;
    good(listener_rig_agent(&client, "client", NULL, 0), &client.error);
    bool failed = true;
    for (uint64_t n = 1; failed; n++) {
        listener_rig server;
        dray_status status = listener_rig_agent(&server, "server", NULL, n);
        if (status == DRAY_OK)
            status = listen_with_secret(&server);
        if (status == DRAY_OK) { // a listener without memory for its metadata says so, and lives
            status = ask(&client, dray_listener_address(server.listener));
            failed = counting_allocator_failed(&server.counter);
            assert_int_equal(status, failed ? DRAY_E_IO : DRAY_OK);
            if (failed)
                good(ask(&client, dray_listener_address(server.listener)), &client.error);
        } else {
            assert_int_equal(status, DRAY_E_NOMEM);
        }
        listener_rig_close(&server);
    }
    listener_rig_close(&client);
}

static void listener_under_fault(listener_rig *client, int code)
{
    uint64_t hits = 1;
    for (uint64_t n = 1; hits; n++) {
        listener_rig server;
        fault_os_reset();
        int before = fault_os_open_fds();
        good(listener_rig_agent(&server, "server", fault_os(), 0), &server.error);
        fault_os_inject(&(fault_plan){.at = n, .groups = FAULT_NET, .code = code});
        dray_status status = listen_with_secret(&server);
        if (status == DRAY_OK) {
            status = ask(client, dray_listener_address(server.listener));
            hits = fault_os_hits();
            assert_true(hits || status == DRAY_OK);
            fault_os_reset();
            good(ask(client, dray_listener_address(server.listener)), &client->error);
        } else {
            hits = fault_os_hits();
            assert_true(hits && server.error.message[0]);
        }
        listener_rig_close(&server);
        assert_true(fault_os_open_fds() <= before + 1); // the guard that the client holds
    }
    fault_os_reset();
}

static void a_listeners_calls_may_fail(void **state)
{
    (void)state;
    static const int codes[] = {-ECONNRESET, -EMFILE, -EINTR, -EAGAIN, 0};
    listener_rig client;
    good(listener_rig_agent(&client, "client", NULL, 0), &client.error);
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        listener_under_fault(&client, codes[i]);
    listener_rig_close(&client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_clients_allocations_may_fail),
        cmocka_unit_test(a_clients_calls_may_fail),
        cmocka_unit_test(a_listeners_allocations_may_fail),
        cmocka_unit_test(a_listeners_calls_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
