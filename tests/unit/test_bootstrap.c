/// The conversation without sockets: proofs are what RFC 2104 says, both sides prove themselves, and no byte of
/// any message can be changed on its way.
#include "support/testing.h"
#include "transfer/bootstrap.h"
#include "transfer/hmac.h"
#include "transfer/host_port.h"

#include <stdio.h>
#include <string.h>

static const uint8_t client_nonce[DRAYI_BOOT_NONCE] = "client's nonce, 32 bytes of them";
static const uint8_t server_nonce[DRAYI_BOOT_NONCE] = "server's nonce, 32 bytes of them";
static const char blob[] = "the metadata";

// --- hmac ----------------------------------------------------------------------------------------

static void assert_hmac(const void *key, uint64_t key_bytes, const char *text, const char *wanted)
{
    // in two parts, wherever they are cut
    for (uint64_t cut = 0; cut <= strlen(text); cut++) {
        const drayi_hmac_part parts[] = {{text, cut}, {text + cut, strlen(text) - cut}};
        uint8_t got[DRAYI_HMAC_BYTES];
        char hex[2 * DRAYI_HMAC_BYTES + 1];
        assert_int_equal(drayi_hmac(key, key_bytes, parts, 2, got, NULL), DRAY_OK);
        for (int i = 0; i < DRAYI_HMAC_BYTES; i++)
            snprintf(hex + 2 * i, 3, "%02x", got[i]);
        assert_string_equal(hex, wanted);
    }
}

/// Test cases 1, 2 and 6 of RFC 4231.
static void hmac_is_that_of_the_rfc(void **state)
{
    (void)state;
    uint8_t key[131];
    memset(key, 0x0b, sizeof(key));
    assert_hmac(key, 20, "Hi There",
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    assert_hmac("Jefe", 4, "what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof(key));
    assert_hmac(key, 131, "Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

// --- a whole conversation --------------------------------------------------------------------------

/// Which byte of which message is changed on its way.
typedef enum message { NONE, HELLO, ANSWER, PROOF, GRANT, BLOB } message;

typedef struct flip {
    message what;
    uint64_t at;
} flip;

typedef struct scene {
    drayi_boot_secret client_secret, server_secret;
    drayi_boot_talk client, server;
    uint64_t bytes;
    bool stays;
    dray_error error;
} scene;

static void carry(void *to, const void *from, uint64_t count, const flip *flipped, message what)
{
    memcpy(to, from, count);
    if (flipped->what == what)
        ((uint8_t *)to)[flipped->at] ^= 0x01;
}

/// What the client makes of it in the end. `server_status`: what the server makes of the client.
static dray_status converse(scene *at, const flip *flipped, dray_status *out_server)
{
    char arrived[sizeof(blob)];
    drayi_boot_hello(&at->client, at->client_secret.count > 0, client_nonce);
    carry(at->server.hello, at->client.hello, DRAYI_BOOT_HEAD, flipped, HELLO);
    *out_server = drayi_boot_answer(&at->server, &at->server_secret, server_nonce, &at->error);
    if (*out_server == DRAY_E_FORMAT)
        return DRAY_E_IO; // it hangs up
    carry(at->client.answer, at->server.answer, DRAYI_BOOT_HEAD, flipped, ANSWER);
    dray_status status = drayi_boot_prove(&at->client, &at->client_secret, &at->error);
    if (status != DRAY_OK || *out_server != DRAY_OK)
        return status == DRAY_OK ? DRAY_E_IO : status;
    carry(at->server.proof, at->client.proof, DRAYI_BOOT_PROOF, flipped, PROOF);
    *out_server = drayi_boot_proof_check(&at->server, &at->server_secret, &at->error);
    if (*out_server == DRAY_OK)
        *out_server =
            drayi_boot_grant(&at->server, &at->server_secret, blob, sizeof(blob), true, &at->error);
    carry(at->client.grant, at->server.grant, DRAYI_BOOT_HEAD, flipped, GRANT);
    status = drayi_boot_grant_bytes(&at->client, &at->bytes, &at->stays, &at->error);
    if (status != DRAY_OK || at->bytes != sizeof(blob))
        return status == DRAY_OK ? DRAY_E_CORRUPT : status; // the rest never comes, or is too much
    carry(arrived, blob, sizeof(blob), flipped, BLOB);
    return drayi_boot_grant_check(&at->client, &at->client_secret, arrived, sizeof(blob),
                                  &at->error);
}

static scene scene_of(const char *client, const char *server)
{
    scene at = {.bytes = 0};
    assert_int_equal(drayi_boot_secret_set(&at.client_secret, client,
                                           client ? (uint32_t)strlen(client) : 0, &at.error),
                     DRAY_OK);
    assert_int_equal(drayi_boot_secret_set(&at.server_secret, server,
                                           server ? (uint32_t)strlen(server) : 0, &at.error),
                     DRAY_OK);
    return at;
}

static const char good_secret[] = "sixteen bytes and more",
                  other_secret[] = "sixteen bytes or more!";
static const flip unchanged = {NONE, 0};

static void both_sides_prove_themselves(void **state)
{
    (void)state;
    dray_status server;
    scene at = scene_of(good_secret, good_secret);
    assert_int_equal(converse(&at, &unchanged, &server), DRAY_OK);
    assert_int_equal(server, DRAY_OK);
    assert_true(at.stays);
    at = scene_of(NULL, NULL);
    assert_int_equal(converse(&at, &unchanged, &server), DRAY_OK);
}

static void assert_refused(const char *client, const char *server, const char *why,
                           dray_status server_status)
{
    scene at = scene_of(client, server);
    dray_status got;
    assert_int_equal(converse(&at, &unchanged, &got), DRAY_E_INVALID);
    assert_string_equal(at.error.message, why);
    assert_int_equal(got, server_status);
}

static void a_side_without_the_secret_is_refused(void **state)
{
    (void)state;
    assert_refused(other_secret, good_secret, "it wants another secret", DRAY_E_INVALID);
    assert_refused(NULL, good_secret, "it wants a secret, and none was given", DRAY_E_INVALID);
    assert_refused(good_secret, NULL,
                   "it has no secret, so it cannot prove that it is the one that is meant", DRAY_OK);
}

static void no_byte_of_any_message_can_be_changed(void **state)
{
    (void)state;
    const uint64_t bytes[] = {
        0, DRAYI_BOOT_HEAD, DRAYI_BOOT_HEAD, DRAYI_BOOT_PROOF, DRAYI_BOOT_HEAD, sizeof(blob)};
    for (message what = HELLO; what <= BLOB; what++) {
        for (uint64_t i = 0; i < bytes[what]; i++) {
            scene at = scene_of(good_secret, good_secret);
            dray_status server;
            if (converse(&at, &(flip){what, i}, &server) == DRAY_OK)
                fail_msg("byte %d of message %d was changed, and nobody noticed", (int)i, (int)what);
        }
    }
}

static void what_was_overheard_opens_nothing(void **state)
{
    (void)state;
    dray_status server;
    scene at = scene_of(good_secret, good_secret);
    assert_int_equal(converse(&at, &unchanged, &server), DRAY_OK);
    drayi_boot_talk replay = {.hello = {0}};
    memcpy(replay.hello, at.client.hello, sizeof(replay.hello));
    assert_int_equal(drayi_boot_answer(&replay, &at.server_secret,
                                       (const uint8_t *)"another nonce, 32 bytes of them.",
                                       &at.error),
                     DRAY_OK);
    memcpy(replay.proof, at.client.proof, sizeof(replay.proof));
    assert_int_equal(drayi_boot_proof_check(&replay, &at.server_secret, &at.error), DRAY_E_INVALID);
}

/// Who does not know the secret has only the client's proof to give back.
static void a_proof_that_comes_back_proves_nothing(void **state)
{
    (void)state;
    dray_status server;
    scene at = scene_of(good_secret, good_secret);
    assert_int_equal(converse(&at, &unchanged, &server), DRAY_OK);
    memcpy(at.client.grant + 16, at.client.proof, DRAYI_BOOT_PROOF);
    assert_int_equal(
        drayi_boot_grant_check(&at.client, &at.client_secret, blob, sizeof(blob), &at.error),
        DRAY_E_CORRUPT);
}

static void another_version_is_told_so(void **state)
{
    (void)state;
    dray_error error;
    const drayi_boot_secret none = {.count = 0};
    drayi_boot_talk talk = {.hello = {0}};
    drayi_boot_hello(&talk, false, client_nonce);
    talk.hello[8] = 9;
    assert_int_equal(drayi_boot_answer(&talk, &none, server_nonce, &error), DRAY_E_UNSUPPORTED);
    assert_string_equal(error.message, "the other side speaks version 9, this library version 1");
    assert_int_equal(drayi_boot_prove(&talk, &none, &error), DRAY_E_UNSUPPORTED);
}

static void a_size_beyond_all_bounds_is_refused(void **state)
{
    (void)state;
    dray_error error;
    uint64_t bytes;
    bool stays;
    drayi_boot_talk talk = {.hello = {0}};
    memset(talk.grant + 8, 0xff, 8);
    assert_int_equal(drayi_boot_grant_bytes(&talk, &bytes, &stays, &error), DRAY_E_FORMAT);
    assert_string_equal(error.rule, "bootstrap.size");
    memset(talk.grant + 8, 0, 8);
    assert_int_equal(drayi_boot_grant_bytes(&talk, &bytes, &stays, &error), DRAY_E_FORMAT);
}

static void a_secret_has_its_length(void **state)
{
    (void)state;
    static const uint8_t bytes[DRAY_SECRET_BYTES_MAX + 1] = {1};
    drayi_boot_secret secret;
    dray_error error;
    assert_int_equal(drayi_boot_secret_set(&secret, bytes, 15, &error), DRAY_E_INVALID);
    assert_string_equal(error.message, "the secret has 15 bytes; 16 to 1024 are wanted");
    assert_int_equal(drayi_boot_secret_set(&secret, bytes, 1025, &error), DRAY_E_INVALID);
    assert_int_equal(secret.count, 0);
    if (drayi_hmac_is_built())
        assert_int_equal(drayi_boot_secret_set(&secret, bytes, 1024, &error), DRAY_OK);
}

// --- addresses -------------------------------------------------------------------------------------

static void an_address_is_a_host_and_a_port(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host; // NULL: none
        uint16_t port;
    } cases[] = {
        {"127.0.0.1:4470", "127.0.0.1", 4470},
        {"[::1]:0", "::1", 0},
        {"a:65535", "a", 65535},
        {"a:65536", NULL, 0},
        {"a", NULL, 0},
        {"a:", NULL, 0},
        {":1", NULL, 0},
        {"a:1x", NULL, 0},
        {"a:-1", NULL, 0},
        {"::1:1", NULL, 0},
        {"[::1]", NULL, 0},
        {"[::1", NULL, 0},
        {"[]:1", NULL, 0},
        {"", NULL, 0},
        {"a:000001", NULL, 0},
        {"[::1]x:1", NULL, 0},
        {"a: 1", NULL, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        drayi_host_port got;
        dray_error error;
        dray_status status = drayi_host_port_read(cases[i].text, &got, &error);
        assert_int_equal(status, cases[i].host ? DRAY_OK : DRAY_E_INVALID);
        if (cases[i].host) {
            assert_string_equal(got.host, cases[i].host);
            assert_int_equal(got.port, cases[i].port);
        }
    }
    char longer[400];
    memset(longer, 'a', sizeof(longer));
    memcpy(longer + 390, ":1", 3);
    drayi_host_port got;
    assert_int_equal(drayi_host_port_read(longer, &got, NULL), DRAY_E_INVALID);
}

int main(void)
{
    const struct CMUnitTest always[] = {
        cmocka_unit_test(another_version_is_told_so),
        cmocka_unit_test(a_size_beyond_all_bounds_is_refused),
        cmocka_unit_test(a_secret_has_its_length),
        cmocka_unit_test(an_address_is_a_host_and_a_port),
    };
    const struct CMUnitTest with_libcrypto[] = {
        cmocka_unit_test(hmac_is_that_of_the_rfc),
        cmocka_unit_test(both_sides_prove_themselves),
        cmocka_unit_test(a_side_without_the_secret_is_refused),
        cmocka_unit_test(no_byte_of_any_message_can_be_changed),
        cmocka_unit_test(what_was_overheard_opens_nothing),
        cmocka_unit_test(a_proof_that_comes_back_proves_nothing),
    };
    int failed = cmocka_run_group_tests(always, NULL, NULL);
    return drayi_hmac_is_built() ? failed + cmocka_run_group_tests(with_libcrypto, NULL, NULL)
                                 : failed;
}
