/// HMAC-SHA256 (RFC 2104) of a few parts, where the build has libcrypto.
#ifndef DRAY_TRANSFER_HMAC_H
#define DRAY_TRANSFER_HMAC_H

#include "dray/base.h"

#include <stdbool.h>

enum { DRAYI_HMAC_BYTES = 32 };

typedef struct drayi_hmac_part {
    const void *bytes;
    uint64_t count;
} drayi_hmac_part;

bool drayi_hmac_is_built(void);
/// Of the parts one behind the other. DRAY_E_UNSUPPORTED: not in this build. DRAY_E_NOMEM.
dray_status drayi_hmac(const void *key, uint64_t key_bytes, const drayi_hmac_part *parts,
                       uint32_t part_count, uint8_t out[DRAYI_HMAC_BYTES], dray_error *error);
/// Takes as long for those that differ early as for those that do late.
bool drayi_hmac_equal(const uint8_t a[DRAYI_HMAC_BYTES], const uint8_t b[DRAYI_HMAC_BYTES]);
/// Zeros that no compiler leaves out.
void drayi_hmac_wipe(void *bytes, size_t count);

#endif
