/// The conversation in which a client gets an agent's metadata: four messages of fixed size, made and
/// checked here without a socket in sight.
///
///     hello    client   "DRAYBOOT" | version u32 | has a secret u32 (0, 1) | nonce of 32 bytes
///     answer   server   "DRAYBOOT" | version u32 | verdict u32             | nonce of 32 bytes
///     proof    client   32 bytes
///     grant    server   verdict u32 | stays u32 (0, 1) | blob's bytes u64 | proof of 32 bytes, then the blob
///
/// Little-endian. A proof is the HMAC-SHA256, under the secret, of a label that names the side and of all
/// that was said before, byte by byte; the server's covers the head of the grant and the blob. Without a
/// secret proofs are zeros. A verdict that is not "go on" is the server's last word.
///
/// `stays`: the server keeps the connection open for as long as it lives, silently, so that its end is seen
/// at once: UCX misses a peer that dies while a connection to it is being made.
///
/// The client proves itself first: a server says nothing that depends on the secret to somebody who does
/// not know it. Both nonces are in both proofs, so nothing can be used twice; the labels differ, so no
/// proof can be sent back to where it came from.
#ifndef DRAY_TRANSFER_BOOTSTRAP_H
#define DRAY_TRANSFER_BOOTSTRAP_H

#include "dray/listener.h"

#include <stdbool.h>

#define DRAYI_BOOT_VERSION 1u
#define DRAYI_BOOT_BLOB_MAX (UINT64_C(16) << 20)

enum {
    DRAYI_BOOT_NONCE = 32,
    DRAYI_BOOT_PROOF = 32,
    DRAYI_BOOT_HEAD = 48, // of hello, answer and grant
};

typedef enum drayi_boot_verdict {
    DRAYI_BOOT_OPEN = 0,       // answer: go on, no secret is asked for; grant: here it is
    DRAYI_BOOT_PROVE = 1,      // answer: go on, prove that you know the secret
    DRAYI_BOOT_VERSION_NO = 2, // of the hello is none that the server speaks
    DRAYI_BOOT_SECRET_NO = 3,  // answer: the client has none and needs one; grant: it is another
    DRAYI_BOOT_NOTHING = 4     // the server cannot say its metadata now
} drayi_boot_verdict;

typedef struct drayi_boot_secret {
    uint32_t count; // 0: none
    uint8_t bytes[DRAY_SECRET_BYTES_MAX];
} drayi_boot_secret;

/// All that was said: what proofs are taken of.
typedef struct drayi_boot_talk {
    uint8_t hello[DRAYI_BOOT_HEAD];
    uint8_t answer[DRAYI_BOOT_HEAD];
    uint8_t proof[DRAYI_BOOT_PROOF];
    uint8_t grant[DRAYI_BOOT_HEAD];
} drayi_boot_talk;

/// DRAY_E_INVALID: too short or too long. DRAY_E_UNSUPPORTED: a build without libcrypto. None is fine.
dray_status drayi_boot_secret_set(drayi_boot_secret *out, const void *bytes, uint32_t count,
                                  dray_error *error);
void drayi_boot_secret_wipe(drayi_boot_secret *secret);

// Each writes the next message into the talk, or checks the one that came. Where the server's check fails
// (DRAY_E_FORMAT: these bytes are no hello, say nothing; otherwise the message with the verdict is
// written) the conversation ends when that has been sent.

void drayi_boot_hello(drayi_boot_talk *talk, bool has_secret, const uint8_t nonce[DRAYI_BOOT_NONCE]);
/// Checks hello, writes answer.
dray_status drayi_boot_answer(drayi_boot_talk *talk, const drayi_boot_secret *secret,
                              const uint8_t nonce[DRAYI_BOOT_NONCE], dray_error *error);
/// Checks answer, writes proof.
dray_status drayi_boot_prove(drayi_boot_talk *talk, const drayi_boot_secret *secret,
                             dray_error *error);
/// Checks proof; writes a grant only where it refuses.
dray_status drayi_boot_proof_check(drayi_boot_talk *talk, const drayi_boot_secret *secret,
                                   dray_error *error);
/// Writes the grant of this blob. NULL: there is none to be had.
dray_status drayi_boot_grant(drayi_boot_talk *talk, const drayi_boot_secret *secret,
                             const void *blob, uint64_t bytes, bool stays, dray_error *error);
/// Checks the head of a grant: how much follows, and whether the connection stays.
dray_status drayi_boot_grant_bytes(const drayi_boot_talk *talk, uint64_t *out_bytes,
                                   bool *out_stays, dray_error *error);
/// Checks the server's proof over the blob.
dray_status drayi_boot_grant_check(const drayi_boot_talk *talk, const drayi_boot_secret *secret,
                                   const void *blob, uint64_t bytes, dray_error *error);

#endif
