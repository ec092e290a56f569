/// SHA-256 and Ed25519, by libcrypto where the build has it.
#ifndef DRAY_BASE_SHA256_H
#define DRAY_BASE_SHA256_H

#include "dray/base.h"

#include <stdbool.h>

/// Has this build libcrypto?
bool drayi_has_crypto(void);

/// DRAY_E_UNSUPPORTED: no libcrypto, or one that refuses.
dray_status drayi_sha256(const void *bytes, uint64_t count, uint8_t out[32], dray_error *error);

/// *out_valid: is it the signature of these bytes by that key? DRAY_E_UNSUPPORTED as above.
dray_status drayi_ed25519_verify(const uint8_t public_key[32], const uint8_t signature[64],
                                 const void *bytes, uint64_t count, bool *out_valid,
                                 dray_error *error);

enum { drayi_sha256_text = 65 }; // lower-case hex and a NUL
void drayi_sha256_print(const uint8_t digest[32], char out[drayi_sha256_text]);

#endif
