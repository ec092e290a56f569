/// Every message of the conversation as an attacker would write it, to both sides. Who does not know the secret
/// gets no grant and gives none that is taken; nothing is read outside, and every refusal has words.
///
///     input   one byte: which side, whether it has a secret; then the messages one behind the other
#include "transfer/bootstrap.h"
#include "transfer/hmac.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t nonce[DRAYI_BOOT_NONCE] = "chosen at random, 32 bytes long.";

typedef struct stream {
    const uint8_t *at;
    size_t left;
} stream;

static bool take(stream *from, uint8_t *to, size_t count)
{
    if (count > from->left)
        return false;
    memcpy(to, from->at, count);
    from->at += count;
    from->left -= count;
    return true;
}

static void must_say(dray_status status, const dray_error *error)
{
    if (status != DRAY_OK && (error->status != status || !error->message[0]))
        abort();
}

static void server(stream *in, const drayi_boot_secret *secret)
{
    drayi_boot_talk talk = {.hello = {0}};
    dray_error error = {0};
    if (!take(in, talk.hello, sizeof(talk.hello)))
        return;
    dray_status status = drayi_boot_answer(&talk, secret, nonce, &error);
    must_say(status, &error);
    if (status != DRAY_OK || !take(in, talk.proof, sizeof(talk.proof)))
        return;
    status = drayi_boot_proof_check(&talk, secret, &error);
    must_say(status, &error);
    if (status == DRAY_OK && secret->count)
        abort(); // a proof was forged
}

static void client(stream *in, const drayi_boot_secret *secret)
{
    drayi_boot_talk talk = {.hello = {0}};
    dray_error error = {0};
    uint64_t bytes;
    bool stays;
    drayi_boot_hello(&talk, secret->count > 0, nonce);
    if (!take(in, talk.answer, sizeof(talk.answer)))
        return;
    dray_status status = drayi_boot_prove(&talk, secret, &error);
    must_say(status, &error);
    if (status != DRAY_OK || !take(in, talk.grant, sizeof(talk.grant)))
        return;
    status = drayi_boot_grant_bytes(&talk, &bytes, &stays, &error);
    must_say(status, &error);
    if (status != DRAY_OK || bytes > in->left)
        return;
    status = drayi_boot_grant_check(&talk, secret, in->at, bytes, &error);
    must_say(status, &error);
    if (status == DRAY_OK && secret->count)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    drayi_boot_secret secret = {.count = 0};
    if (size == 0)
        return 0;
    if (data[0] & 2 && drayi_hmac_is_built())
        (void)drayi_boot_secret_set(&secret, "a secret of the test", 20, NULL);
    stream in = {data + 1, size - 1};
    if (data[0] & 1)
        server(&in, &secret);
    else
        client(&in, &secret);
    return 0;
}
