/// HMAC by hand over libcrypto's SHA-256: the library's own HMAC calls differ from version to version.
#include "transfer/hmac.h"

#include <string.h>

#if defined(DRAY_HAVE_LIBCRYPTO)
#include <openssl/evp.h>

enum { block_bytes = 64 };

bool drayi_hmac_is_built(void)
{
    return true;
}

/// SHA-256 of a block and what follows it.
static bool hash(EVP_MD_CTX *state, const uint8_t block[block_bytes], const drayi_hmac_part *parts,
                 uint32_t part_count, uint8_t out[DRAYI_HMAC_BYTES])
{
    unsigned count = 0;
    bool good = EVP_DigestInit_ex(state, EVP_sha256(), NULL) == 1 &&
                EVP_DigestUpdate(state, block, block_bytes) == 1;
    for (uint32_t i = 0; good && i < part_count; i++)
        good = EVP_DigestUpdate(state, parts[i].bytes, parts[i].count) == 1;
    return good && EVP_DigestFinal_ex(state, out, &count) == 1 && count == DRAYI_HMAC_BYTES;
}

static bool hmac(EVP_MD_CTX *state, const void *key, uint64_t key_bytes,
                 const drayi_hmac_part *parts, uint32_t part_count, uint8_t out[DRAYI_HMAC_BYTES])
{
    uint8_t inner[block_bytes] = {0}, outer[block_bytes], first[DRAYI_HMAC_BYTES];
    unsigned count = 0;
    bool good = true;
    if (key_bytes <= block_bytes)
        memcpy(inner, key, key_bytes);
    else
        good = EVP_Digest(key, key_bytes, inner, &count, EVP_sha256(), NULL) == 1;
    for (int i = 0; i < block_bytes; i++) {
        outer[i] = inner[i] ^ 0x5c;
        inner[i] ^= 0x36;
    }
    const drayi_hmac_part second = {first, sizeof(first)};
    good =
        good && hash(state, inner, parts, part_count, first) && hash(state, outer, &second, 1, out);
    drayi_hmac_wipe(inner, sizeof(inner));
    drayi_hmac_wipe(outer, sizeof(outer));
    return good;
}

dray_status drayi_hmac(const void *key, uint64_t key_bytes, const drayi_hmac_part *parts,
                       uint32_t part_count, uint8_t out[DRAYI_HMAC_BYTES], dray_error *error)
{
    EVP_MD_CTX *state = EVP_MD_CTX_new();
    if (!state)
        return dray_fail(error, DRAY_E_NOMEM, "no memory for SHA-256's state");
    bool good = hmac(state, key, key_bytes, parts, part_count, out);
    EVP_MD_CTX_free(state);
    return good ? DRAY_OK : dray_fail(error, DRAY_E_UNSUPPORTED, "this libcrypto refuses SHA-256");
}

#else

bool drayi_hmac_is_built(void)
{
    return false;
}

dray_status drayi_hmac(const void *key, uint64_t key_bytes, const drayi_hmac_part *parts,
                       uint32_t part_count, uint8_t out[DRAYI_HMAC_BYTES], dray_error *error)
{
    (void)key, (void)key_bytes, (void)parts, (void)part_count, (void)out;
    return dray_fail(error, DRAY_E_UNSUPPORTED,
                     "this build was made without libcrypto, so without HMAC-SHA256");
}

#endif

bool drayi_hmac_equal(const uint8_t a[DRAYI_HMAC_BYTES], const uint8_t b[DRAYI_HMAC_BYTES])
{
    const volatile uint8_t *left = a, *right = b;
    unsigned differs = 0;
    for (int i = 0; i < DRAYI_HMAC_BYTES; i++)
        differs |= (unsigned)(left[i] ^ right[i]);
    return differs == 0;
}

void drayi_hmac_wipe(void *bytes, size_t count)
{
    volatile uint8_t *at = bytes;
    while (count-- > 0)
        *at++ = 0;
}
