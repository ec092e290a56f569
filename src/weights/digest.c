/// Digests over the bytes as they are at their destination, never over what was meant to arrive there.
#include "weights/hash.h"
#include "weights/loaded.h"

#include <inttypes.h>

#if defined(DRAY_HAVE_LIBCRYPTO)
#include <openssl/evp.h>
#endif

static void xxh3_take(void *self, const void *piece, uint64_t bytes)
{
    drayi_hash_add(self, piece, bytes);
}

static dray_status xxh3_digest(const dray_loaded *loaded, const drayi_loaded_tensor *tensor,
                               uint64_t bytes, char out_hex[65], dray_error *error)
{
    drayi_hash_state state;
    drayi_hash_start(&state);
    DRAY_TRY(drayi_loaded_read(loaded, tensor, 0, bytes, xxh3_take, &state, error));
    drayi_hash_print(drayi_hash_end(&state), out_hex);
    return DRAY_OK;
}

#if defined(DRAY_HAVE_LIBCRYPTO)
typedef struct sha_state {
    EVP_MD_CTX *context;
    bool failed;
} sha_state;

static void sha_take(void *self, const void *piece, uint64_t bytes)
{
    sha_state *state = self;
    state->failed = state->failed || EVP_DigestUpdate(state->context, piece, (size_t)bytes) != 1;
}

static dray_status sha_digest(const dray_loaded *loaded, const drayi_loaded_tensor *tensor,
                              uint64_t bytes, char out_hex[65], dray_error *error)
{
    sha_state state = {.context = EVP_MD_CTX_new()};
    if (!state.context)
        return dray_fail(error, DRAY_E_NOMEM, "digest: no memory for SHA-256's state");
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned count = 0;
    state.failed = EVP_DigestInit_ex(state.context, EVP_sha256(), NULL) != 1;
    dray_status status = drayi_loaded_read(loaded, tensor, 0, bytes, sha_take, &state, error);
    bool finished =
        !state.failed && EVP_DigestFinal_ex(state.context, digest, &count) == 1 && count == 32;
    EVP_MD_CTX_free(state.context);
    if (status == DRAY_OK && !finished)
        return dray_fail(error, DRAY_E_UNSUPPORTED, "digest: this libcrypto refuses SHA-256");
    if (status == DRAY_OK)
        drayi_hex_print(digest, count, out_hex);
    return status;
}
#else
static dray_status sha_digest(const dray_loaded *loaded, const drayi_loaded_tensor *tensor,
                              uint64_t bytes, char out_hex[65], dray_error *error)
{
    (void)loaded, (void)tensor, (void)bytes, (void)out_hex;
    return dray_fail(error, DRAY_E_UNSUPPORTED,
                     "digest: this build was made without libcrypto, so without SHA-256");
}
#endif

dray_status dray_loaded_digest(const dray_loaded *loaded, uint64_t index, dray_digest kind,
                               char out_hex[65], dray_error *error)
{
    if (index >= loaded->count)
        return dray_fail(error, DRAY_E_INVALID,
                         "digest: tensor %" PRIu64 " of %" PRIu64 " loaded ones", index,
                         loaded->count);
    const drayi_loaded_tensor *entry = &loaded->tensors[index];
    const dray_tensor *tensor = &loaded->weights->index.tensors[entry->index];
    dray_status status;
    if (kind == DRAY_DIGEST_SHA256)
        status = sha_digest(loaded, entry, tensor->bytes, out_hex, error);
    else if (kind == DRAY_DIGEST_XXH3_128)
        status = xxh3_digest(loaded, entry, tensor->bytes, out_hex, error);
    else
        return dray_fail(error, DRAY_E_INVALID, "digest: kind %d is not known", (int)kind);
    return status == DRAY_OK
               ? DRAY_OK
               : dray_fail_within(error, status, "tensor %s", drayi_show(tensor->name).text);
}
