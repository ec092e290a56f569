/// Messages of the conversation. See bootstrap.h.
#include "transfer/bootstrap.h"

#include "base/env.h"
#include "base/reader.h"
#include "transfer/hmac.h"

#include <inttypes.h>
#include <string.h>

static const char magic[8] = {'D', 'R', 'A', 'Y', 'B', 'O', 'O', 'T'};
static const char client_label[32] = "dray bootstrap 1: client", // padded with zeros
    server_label[32] = "dray bootstrap 1: server";

// --- secret --------------------------------------------------------------------------------------------------------

dray_status drayi_boot_secret_set(drayi_boot_secret *out, const void *bytes, uint32_t count,
                                  dray_error *error)
{
    out->count = 0;
    if (!bytes)
        return DRAY_OK;
    if (count < DRAY_SECRET_BYTES_MIN || count > DRAY_SECRET_BYTES_MAX)
        return dray_fail(error, DRAY_E_INVALID, "the secret has %u bytes; %u to %u are wanted",
                         count, DRAY_SECRET_BYTES_MIN, DRAY_SECRET_BYTES_MAX);
    if (!drayi_hmac_is_built())
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "a secret needs HMAC-SHA256, and this build was made without libcrypto");
    memcpy(out->bytes, bytes, count);
    out->count = count;
    return DRAY_OK;
}

void drayi_boot_secret_wipe(drayi_boot_secret *secret)
{
    drayi_hmac_wipe(secret, sizeof(*secret));
}

// --- proofs --------------------------------------------------------------------------------------------------------

static dray_status client_proof(const drayi_boot_talk *talk, const drayi_boot_secret *secret,
                                uint8_t out[DRAYI_BOOT_PROOF], dray_error *error)
{
    memset(out, 0, DRAYI_BOOT_PROOF);
    if (!secret->count)
        return DRAY_OK;
    const drayi_hmac_part parts[] = {{client_label, sizeof(client_label)},
                                     {talk->hello, sizeof(talk->hello)},
                                     {talk->answer, sizeof(talk->answer)}};
    return drayi_hmac(secret->bytes, secret->count, parts, 3, out, error);
}

static dray_status server_proof(const drayi_boot_talk *talk, const drayi_boot_secret *secret,
                                const void *blob, uint64_t bytes, uint8_t out[DRAYI_BOOT_PROOF],
                                dray_error *error)
{
    memset(out, 0, DRAYI_BOOT_PROOF);
    if (!secret->count)
        return DRAY_OK;
    const drayi_hmac_part parts[] = {{server_label, sizeof(server_label)},
                                     {talk->hello, sizeof(talk->hello)},
                                     {talk->answer, sizeof(talk->answer)},
                                     {talk->proof, sizeof(talk->proof)},
                                     {talk->grant, 16},
                                     {blob, bytes}};
    return drayi_hmac(secret->bytes, secret->count, parts, 6, out, error);
}

// --- messages ------------------------------------------------------------------------------------------------------

static void put(uint8_t *at, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static void head_write(uint8_t out[DRAYI_BOOT_HEAD], uint32_t word,
                       const uint8_t nonce[DRAYI_BOOT_NONCE])
{
    memcpy(out, magic, sizeof(magic));
    put(out + 8, DRAYI_BOOT_VERSION, 4);
    put(out + 12, word, 4);
    memcpy(out + 16, nonce, DRAYI_BOOT_NONCE);
}

void drayi_boot_hello(drayi_boot_talk *talk, bool has_secret, const uint8_t nonce[DRAYI_BOOT_NONCE])
{
    head_write(talk->hello, has_secret, nonce);
}

/// Is it one of the two messages that begin with a magic word? *out_version is only set when it is.
static dray_status head_check(const uint8_t head[DRAYI_BOOT_HEAD], uint32_t *out_version,
                              dray_error *error)
{
    if (memcmp(head, magic, sizeof(magic)) != 0)
        return dray_fail_rule(error, DRAY_E_FORMAT, "bootstrap.magic", 0,
                              "the other side is no agent of dray");
    *out_version = drayi_load_u32(head + 8, false);
    return DRAY_OK;
}

static dray_status version_fail(uint32_t version, dray_error *error)
{
    return dray_fail_rule(error, DRAY_E_UNSUPPORTED, "bootstrap.version", 8,
                          "the other side speaks version %u, this library version %u", version,
                          DRAYI_BOOT_VERSION);
}

dray_status drayi_boot_answer(drayi_boot_talk *talk, const drayi_boot_secret *secret,
                              const uint8_t nonce[DRAYI_BOOT_NONCE], dray_error *error)
{
    uint32_t version, has = drayi_load_u32(talk->hello + 12, false);
    DRAY_TRY(head_check(talk->hello, &version, error));
    if (version != DRAYI_BOOT_VERSION) {
        head_write(talk->answer, DRAYI_BOOT_VERSION_NO, nonce);
        return version_fail(version, error);
    }
    if (has > 1)
        return dray_fail_rule(error, DRAY_E_FORMAT, "bootstrap.hello", 12,
                              "a hello with %u instead of 0 or 1", has);
    if (secret->count && !has) {
        head_write(talk->answer, DRAYI_BOOT_SECRET_NO, nonce);
        return dray_fail(error, DRAY_E_INVALID, "the other side has no secret");
    }
    head_write(talk->answer, secret->count ? DRAYI_BOOT_PROVE : DRAYI_BOOT_OPEN, nonce);
    return DRAY_OK;
}

dray_status drayi_boot_prove(drayi_boot_talk *talk, const drayi_boot_secret *secret,
                             dray_error *error)
{
    uint32_t version, verdict = drayi_load_u32(talk->answer + 12, false);
    DRAY_TRY(head_check(talk->answer, &version, error));
    if (version != DRAYI_BOOT_VERSION || verdict == DRAYI_BOOT_VERSION_NO)
        return version_fail(version, error);
    if (verdict == DRAYI_BOOT_SECRET_NO)
        return dray_fail(error, DRAY_E_INVALID, "it wants a secret, and none was given");
    if (verdict == DRAYI_BOOT_OPEN && secret->count)
        return dray_fail(error, DRAY_E_INVALID,
                         "it has no secret, so it cannot prove that it is the one that is meant");
    if (verdict > DRAYI_BOOT_PROVE || (verdict == DRAYI_BOOT_PROVE && !secret->count))
        return dray_fail_rule(error, DRAY_E_FORMAT, "bootstrap.answer", 12,
                              "an answer with verdict %u", verdict);
    return client_proof(talk, secret, talk->proof, error);
}

static void grant_write(drayi_boot_talk *talk, drayi_boot_verdict verdict, bool stays,
                        uint64_t bytes)
{
    memset(talk->grant, 0, sizeof(talk->grant));
    put(talk->grant, (uint64_t)verdict, 4);
    put(talk->grant + 4, stays, 4);
    put(talk->grant + 8, bytes, 8);
}

dray_status drayi_boot_proof_check(drayi_boot_talk *talk, const drayi_boot_secret *secret,
                                   dray_error *error)
{
    uint8_t wanted[DRAYI_BOOT_PROOF];
    dray_status status = client_proof(talk, secret, wanted, error);
    if (status == DRAY_OK && drayi_hmac_equal(wanted, talk->proof))
        return DRAY_OK;
    grant_write(talk, status == DRAY_OK ? DRAYI_BOOT_SECRET_NO : DRAYI_BOOT_NOTHING, false, 0);
    if (status == DRAY_OK)
        status = dray_fail(error, DRAY_E_INVALID, "the other side knows another secret");
    return status;
}

dray_status drayi_boot_grant(drayi_boot_talk *talk, const drayi_boot_secret *secret,
                             const void *blob, uint64_t bytes, bool stays, dray_error *error)
{
    dray_status status = DRAY_OK;
    grant_write(talk, DRAYI_BOOT_OPEN, stays, bytes);
    if (!blob || bytes > DRAYI_BOOT_BLOB_MAX)
        status = dray_fail(error, DRAY_E_NOSPACE,
                           "metadata of %" PRIu64 " bytes, at most %" PRIu64 " can be sent", bytes,
                           DRAYI_BOOT_BLOB_MAX);
    else
        status = server_proof(talk, secret, blob, bytes, talk->grant + 16, error);
    if (status != DRAY_OK)
        grant_write(talk, DRAYI_BOOT_NOTHING, false, 0);
    return status;
}

dray_status drayi_boot_grant_bytes(const drayi_boot_talk *talk, uint64_t *out_bytes,
                                   bool *out_stays, dray_error *error)
{
    uint32_t verdict = drayi_load_u32(talk->grant, false);
    uint32_t stays = drayi_load_u32(talk->grant + 4, false);
    *out_stays = stays == 1;
    *out_bytes = drayi_load_u64(talk->grant + 8, false);
    if (verdict == DRAYI_BOOT_SECRET_NO)
        return dray_fail(error, DRAY_E_INVALID, "it wants another secret");
    if (verdict == DRAYI_BOOT_NOTHING)
        return dray_fail(error, DRAY_E_IO, "it cannot hand out its metadata; its own log says why");
    if (verdict != DRAYI_BOOT_OPEN || stays > 1)
        return dray_fail_rule(error, DRAY_E_FORMAT, "bootstrap.grant", 0,
                              "a grant with verdict %u and %u instead of 0 or 1", verdict, stays);
    if (*out_bytes == 0 || *out_bytes > DRAYI_BOOT_BLOB_MAX)
        return dray_fail_rule(error, DRAY_E_FORMAT, "bootstrap.size", 8,
                              "metadata of %" PRIu64 " bytes, 1 to %" PRIu64 " are possible",
                              *out_bytes, DRAYI_BOOT_BLOB_MAX);
    return DRAY_OK;
}

dray_status drayi_boot_grant_check(const drayi_boot_talk *talk, const drayi_boot_secret *secret,
                                   const void *blob, uint64_t bytes, dray_error *error)
{
    uint8_t wanted[DRAYI_BOOT_PROOF];
    DRAY_TRY(server_proof(talk, secret, blob, bytes, wanted, error));
    if (drayi_hmac_equal(wanted, talk->grant + 16))
        return DRAY_OK;
    return dray_fail_rule(error, DRAY_E_CORRUPT, "bootstrap.proof", 16,
                          "the metadata comes from somebody without the secret, or was changed on "
                          "its way");
}
