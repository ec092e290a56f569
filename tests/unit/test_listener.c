/// Listeners and those who connect, over real sockets: the metadata goes across, strangers do not get it, and
/// nobody can keep a listener busy or a client waiting.
#include "fake_remote.h"
#include "support/listener_rig.h"
#include "support/testing.h"
#include "transfer/bootstrap.h"
#include "transfer/hmac.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const char secret[] = "0123456789abcdef", another[] = "0123456789abcdeg";

typedef struct two {
    listener_rig server, client;
    dray_peer *peer;
} two;

static void good(dray_status status, const dray_error *error)
{
    if (status != DRAY_OK)
        fail_msg("%s: %s", dray_status_name(status), error->message);
}

static void two_open(two *at, dray_listener_options options)
{
    options.struct_bytes = sizeof(options);
    at->peer = NULL;
    good(listener_rig_agent(&at->server, "server", NULL, 0), &at->server.error);
    good(listener_rig_agent(&at->client, "client", NULL, 0), &at->client.error);
    good(listener_rig_listen(&at->server, &options), &at->server.error);
}

static void two_close(two *at)
{
    listener_rig_close(&at->client);
    listener_rig_close(&at->server);
}

static dray_status ask_at(two *at, const char *address, const char *word)
{
    dray_connect_options options = {.struct_bytes = sizeof(options),
                                    .secret = word,
                                    .secret_bytes = word ? (uint32_t)strlen(word) : 0};
    return dray_agent_connect(at->client.agent, address, &options, &at->peer, &at->client.error);
}

static dray_status ask(two *at, const char *word)
{
    return ask_at(at, dray_listener_address(at->server.listener), word);
}

/// A client that is none of ours.
static int stranger(const char *address)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)atoi(strchr(address, ':') + 1)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

/// Is it closed from the other side within so many milliseconds?
static bool closes(int fd, int milliseconds)
{
    uint8_t bytes[256];
    struct pollfd wanted = {.fd = fd, .events = POLLIN};
    while (poll(&wanted, 1, milliseconds) > 0) {
        if (recv(fd, bytes, sizeof(bytes), 0) <= 0)
            return true;
    }
    return false;
}

// --- what is meant to work -------------------------------------------------------------------------

static void metadata_goes_across(void **state)
{
    (void)state;
    two at;
    two_open(&at, (dray_listener_options){.secret = NULL});
    assert_true(strncmp(dray_listener_address(at.server.listener), "127.0.0.1:", 10) == 0);
    good(ask(&at, NULL), &at.client.error);
    assert_string_equal(dray_peer_name(at.peer), "server");
    assert_true(dray_peer_epoch(at.peer) == dray_agent_epoch(at.server.agent));
    dray_region *remote;
    good(dray_peer_open(at.peer, "memory", &remote, &at.client.error), &at.client.error);
    assert_int_equal(dray_region_bytes(remote), 4096);
    dray_region_release(remote);
    good(ask(&at, NULL), &at.client.error); // once more is no restart
    assert_int_equal(listener_rig_silence(&at.server).granted, 2);
    two_close(&at);
}

static void the_end_of_the_listener_is_seen_by_its_peers(void **state)
{
    (void)state;
    two at;
    two_open(&at, (dray_listener_options){.secret = NULL});
    good(ask(&at, NULL), &at.client.error);
    int guard = fake_remote_guard();
    assert_true(guard >= 0);
    assert_false(closes(guard, 100));
    assert_int_equal(listener_rig_silence(&at.server).kept, 1);
    assert_true(closes(guard, 5000));
    two_close(&at);
}

static void peers_beyond_the_most_find_out_by_themselves(void **state)
{
    (void)state;
    two at;
    two_open(&at, (dray_listener_options){.peers_max = 1});
    good(ask(&at, NULL), &at.client.error);
    int first = fake_remote_guard();
    listener_rig other;
    good(listener_rig_agent(&other, "other", NULL, 0), &other.error);
    dray_peer *peer;
    good(dray_agent_connect(other.agent, dray_listener_address(at.server.listener), NULL, &peer,
                            &other.error),
         &other.error);
    assert_int_equal(fake_remote_guard(), first); // the second one got none
    listener_rig_close(&other);
    assert_int_equal(listener_rig_silence(&at.server).granted, 2);
    two_close(&at);
}

static void names_are_looked_up(void **state)
{
    (void)state;
    two at;
    two_open(&at, (dray_listener_options){.address = "localhost:0"});
    char address[64];
    snprintf(address, sizeof(address), "localhost:%s",
             strrchr(dray_listener_address(at.server.listener), ':') + 1);
    good(ask_at(&at, address, NULL), &at.client.error);
    assert_int_equal(ask_at(&at, "no.such.host.invalid:1", NULL), DRAY_E_NOTFOUND);
    two_close(&at);
}

// --- secrets -----------------------------------------------------------------------------------------

static void the_secret_decides(void **state)
{
    (void)state;
    two at;
    two_open(&at, (dray_listener_options){.secret = secret, .secret_bytes = 16});
    good(ask(&at, secret), &at.client.error);
    assert_int_equal(ask(&at, another), DRAY_E_INVALID);
    assert_non_null(strstr(at.client.error.message, "it wants another secret"));
    assert_int_equal(ask(&at, NULL), DRAY_E_INVALID);
    assert_non_null(strstr(at.client.error.message, "it wants a secret, and none was given"));
    dray_listener_counts counts = listener_rig_silence(&at.server);
    assert_int_equal(counts.granted, 1);
    assert_int_equal(counts.refused, 2);
    two_close(&at);
}

static void other_machines_need_a_secret(void **state)
{
    (void)state;
    two at;
    two_open(&at, (dray_listener_options){.secret = NULL});
    listener_rig_silence(&at.server);
    dray_listener_options open = {.struct_bytes = sizeof(open), .address = "0.0.0.0:0"};
    assert_int_equal(listener_rig_listen(&at.server, &open), DRAY_E_INVALID);
    assert_string_equal(at.server.error.message,
                        "agent server: listen at 0.0.0.0:0: other machines reach this address: a "
                        "shared secret is needed");
    assert_int_equal(ask_at(&at, "192.0.2.1:1", NULL), DRAY_E_INVALID); // nothing is sent there
    assert_non_null(strstr(at.client.error.message, "a shared secret is needed"));
    open.secret = secret;
    open.secret_bytes = 16;
    if (drayi_hmac_is_built()) {
        assert_int_equal(listener_rig_listen(&at.server, &open), DRAY_E_INVALID);
        assert_non_null(strstr(at.server.error.message, "DRAY_REACH_NETWORK"));
        assert_int_equal(ask_at(&at, "192.0.2.1:1", secret), DRAY_E_INVALID);
        assert_non_null(strstr(at.client.error.message, "DRAY_REACH_NETWORK"));
    } else {
        assert_int_equal(listener_rig_listen(&at.server, &open), DRAY_E_UNSUPPORTED);
    }
    two_close(&at);
}

static void an_agent_that_nobody_reaches_has_no_listener(void **state)
{
    (void)state;
    static const char *const none[] = {NULL};
    two at;
    two_open(&at, (dray_listener_options){.secret = NULL});
    dray_agent *alone;
    dray_agent_options options = {.struct_bytes = sizeof(options), .backends = none};
    good(dray_agent_create(at.server.context, &options, &alone, &at.server.error), &at.server.error);
    dray_listener *listener = NULL;
    assert_int_equal(dray_listener_create(alone, NULL, &listener, &at.server.error),
                     DRAY_E_UNSUPPORTED);
    assert_null(listener);
    dray_agent_destroy(alone);
    two_close(&at);
}

// --- strangers ---------------------------------------------------------------------------------------

static void strangers_hear_nothing(void **state)
{
    (void)state;
    two at;
    two_open(&at, (dray_listener_options){.secret = NULL});
    int fd = stranger(dray_listener_address(at.server.listener));
    static const char http[] = "GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: browser\r\n\r\n";
    assert_int_equal(send(fd, http, sizeof(http), MSG_NOSIGNAL), sizeof(http));
    uint8_t byte;
    assert_true(recv(fd, &byte, 1, 0) <= 0); // not a byte
    close(fd);
    good(ask(&at, NULL), &at.client.error);
    dray_listener_counts counts = listener_rig_silence(&at.server);
    assert_int_equal(counts.refused, 1);
    two_close(&at);
}

static void a_silent_one_is_hung_up_on(void **state)
{
    (void)state;
    two at;
    two_open(&at, (dray_listener_options){.timeout_ns = 100000000});
    int fd = stranger(dray_listener_address(at.server.listener));
    assert_int_equal(send(fd, "DRAYB", 5, MSG_NOSIGNAL), 5);
    assert_true(closes(fd, 5000));
    close(fd);
    good(ask(&at, NULL), &at.client.error);
    assert_int_equal(listener_rig_silence(&at.server).expired, 1);
    two_close(&at);
}

static void a_crowd_keeps_nobody_out(void **state)
{
    (void)state;
    two at;
    two_open(&at, (dray_listener_options){.connections_max = 4, .timeout_ns = INT64_C(60000000000)});
    int crowd[40];
    for (int i = 0; i < 40; i++)
        crowd[i] = stranger(dray_listener_address(at.server.listener));
    good(ask(&at, NULL), &at.client.error);
    for (int i = 0; i < 40; i++)
        close(crowd[i]);
    dray_listener_counts counts = listener_rig_silence(&at.server);
    assert_int_equal(counts.granted, 1);
    assert_true(counts.expired >= 36);
    two_close(&at);
}

/// A listener that stops talking after `say` bytes, or closes there.
typedef struct liar {
    int fd, accepted;
    const void *bytes;
    size_t count;
    bool closes;
    char address[32];
    pthread_t thread;
} liar;

static void *lie(void *argument)
{
    liar *at = argument;
    at->accepted = accept(at->fd, NULL, NULL);
    if (at->count)
        (void)send(at->accepted, at->bytes, at->count, MSG_NOSIGNAL);
    if (at->closes)
        shutdown(at->accepted, SHUT_RDWR);
    return NULL;
}

static void assert_lie_is_refused(const void *bytes, size_t count, bool close_then,
                                  dray_status wanted)
{
    two at;
    two_open(&at, (dray_listener_options){.secret = NULL});
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(here);
    liar it = {.bytes = bytes, .count = count, .closes = close_then};
    it.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(it.fd, (struct sockaddr *)&here, size), 0);
    assert_int_equal(listen(it.fd, 1), 0);
    assert_int_equal(getsockname(it.fd, (struct sockaddr *)&here, &size), 0);
    snprintf(it.address, sizeof(it.address), "127.0.0.1:%u", ntohs(here.sin_port));
    assert_int_equal(pthread_create(&it.thread, NULL, lie, &it), 0);
    dray_connect_options options = {.struct_bytes = sizeof(options), .timeout_ns = 200000000};
    dray_status status =
        dray_agent_connect(at.client.agent, it.address, &options, &at.peer, &at.client.error);
    if (status != wanted)
        fail_msg("%s: %s", dray_status_name(status), at.client.error.message);
    pthread_join(it.thread, NULL);
    close(it.accepted);
    close(it.fd);
    two_close(&at);
}

static void a_listener_that_lies_is_seen_through(void **state)
{
    (void)state;
    uint8_t bytes[100] = "DRAYBOOT\1";
    assert_lie_is_refused(NULL, 0, false, DRAY_E_TIMEOUT);
    assert_lie_is_refused(NULL, 0, true, DRAY_E_IO);
    assert_lie_is_refused("HTTP/1.1 400 Bad Request\r\n\r\nand some more bytes", 48, false,
                          DRAY_E_FORMAT);
    assert_lie_is_refused(bytes, 20, true, DRAY_E_IO);
    assert_lie_is_refused(bytes, 48, false, DRAY_E_TIMEOUT);
    bytes[48 + 8] = 4; // a grant of four bytes that are no metadata
    assert_lie_is_refused(bytes, 100, false, DRAY_E_FORMAT);
    bytes[48 + 15] = 0x80; // of very many
    assert_lie_is_refused(bytes, 100, false, DRAY_E_FORMAT);
    bytes[12] = DRAYI_BOOT_PROVE;
    assert_lie_is_refused(bytes, 100, false, DRAY_E_FORMAT); // we have no secret
}

static void nobody_there_is_an_error_with_words(void **state)
{
    (void)state;
    two at;
    two_open(&at, (dray_listener_options){.secret = NULL});
    char address[64];
    snprintf(address, sizeof(address), "%s", dray_listener_address(at.server.listener));
    listener_rig_silence(&at.server);
    assert_int_equal(ask_at(&at, address, NULL), DRAY_E_IO);
    assert_int_equal(at.client.error.native_code, ECONNREFUSED);
    assert_int_equal(ask_at(&at, "nonsense", NULL), DRAY_E_INVALID);
    two_close(&at);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metadata_goes_across),
        cmocka_unit_test(the_end_of_the_listener_is_seen_by_its_peers),
        cmocka_unit_test(peers_beyond_the_most_find_out_by_themselves),
        cmocka_unit_test(names_are_looked_up),
        cmocka_unit_test(other_machines_need_a_secret),
        cmocka_unit_test(an_agent_that_nobody_reaches_has_no_listener),
        cmocka_unit_test(strangers_hear_nothing),
        cmocka_unit_test(a_silent_one_is_hung_up_on),
        cmocka_unit_test(a_crowd_keeps_nobody_out),
        cmocka_unit_test(a_listener_that_lies_is_seen_through),
        cmocka_unit_test(nobody_there_is_an_error_with_words),
    };
    const struct CMUnitTest with_libcrypto[] = {cmocka_unit_test(the_secret_decides)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return drayi_hmac_is_built() ? failed + cmocka_run_group_tests(with_libcrypto, NULL, NULL)
                                 : failed;
}
