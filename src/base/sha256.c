#include "base/sha256.h"

#if defined(DRAY_HAVE_LIBCRYPTO)
#include <openssl/err.h>
#include <openssl/evp.h>

bool drayi_has_crypto(void)
{
    return true;
}

dray_status drayi_sha256(const void *bytes, uint64_t count, uint8_t out[32], dray_error *error)
{
    unsigned written = 0;
    if (EVP_Digest(bytes, (size_t)count, out, &written, EVP_sha256(), NULL) != 1 || written != 32)
        return dray_fail(error, DRAY_E_UNSUPPORTED, "this libcrypto refuses SHA-256");
    return DRAY_OK;
}

dray_status drayi_ed25519_verify(const uint8_t public_key[32], const uint8_t signature[64],
                                 const void *bytes, uint64_t count, bool *out_valid,
                                 dray_error *error)
{
    EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public_key, 32);
    EVP_MD_CTX *state = EVP_MD_CTX_new();
    bool ready = key && state && EVP_DigestVerifyInit(state, NULL, NULL, NULL, key) == 1;
    *out_valid = ready && EVP_DigestVerify(state, signature, 64, bytes, (size_t)count) == 1;
    EVP_MD_CTX_free(state);
    EVP_PKEY_free(key);
    ERR_clear_error(); // a signature that is not valid leaves entries in the thread's queue
    return ready ? DRAY_OK : dray_fail(error, DRAY_E_UNSUPPORTED, "this libcrypto refuses Ed25519");
}
#else
bool drayi_has_crypto(void)
{
    return false;
}

dray_status drayi_sha256(const void *bytes, uint64_t count, uint8_t out[32], dray_error *error)
{
    (void)bytes, (void)count, (void)out;
    return dray_fail(error, DRAY_E_UNSUPPORTED,
                     "this build was made without libcrypto, so without SHA-256");
}

dray_status drayi_ed25519_verify(const uint8_t public_key[32], const uint8_t signature[64],
                                 const void *bytes, uint64_t count, bool *out_valid,
                                 dray_error *error)
{
    (void)public_key, (void)signature, (void)bytes, (void)count, (void)out_valid;
    return dray_fail(error, DRAY_E_UNSUPPORTED,
                     "this build was made without libcrypto, so without Ed25519");
}
#endif

void drayi_sha256_print(const uint8_t digest[32], char out[drayi_sha256_text])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < 32; i++) {
        out[2 * i] = digits[digest[i] >> 4];
        out[2 * i + 1] = digits[digest[i] & 15];
    }
    out[64] = '\0';
}
