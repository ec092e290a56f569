/// Digests over the bytes as they are at their place, never over what was meant to arrive there.
#include "base/hash.h"
#include "weights/loaded.h"

#include <inttypes.h>

#if defined(DRAY_HAVE_LIBCRYPTO)
#include <openssl/evp.h>
#endif

/// Where the bytes come from: a loaded tensor, or any span.
typedef struct digest_subject {
    const dray_loaded *loaded; // NULL: a span
    const drayi_loaded_tensor *entry;
    dray_context *context;
    dray_agent *agent; // that fetches the span's bytes, or NULL
    dray_span span;
} digest_subject;

static dray_status subject_read(const digest_subject *subject, drayi_take take, void *self,
                                dray_error *error)
{
    if (subject->loaded)
        return drayi_loaded_read(subject->loaded, subject->entry, 0, subject->span.bytes, take,
                                 self, error);
    if (subject->agent)
        return drayi_agent_read(subject->context, subject->agent, &subject->span, take, self, error);
    return drayi_span_read(subject->context, &subject->span, take, self, error);
}

static void xxh3_take(void *self, const void *piece, uint64_t bytes)
{
    drayi_hash_add(self, piece, bytes);
}

static dray_status xxh3_digest(const digest_subject *subject, char out_hex[65], dray_error *error)
{
    drayi_hash_state state;
    drayi_hash_start(&state);
    DRAY_TRY(subject_read(subject, xxh3_take, &state, error));
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

static dray_status sha_digest(const digest_subject *subject, char out_hex[65], dray_error *error)
{
    sha_state state = {.context = EVP_MD_CTX_new()};
    if (!state.context)
        return dray_fail(error, DRAY_E_NOMEM, "digest: no memory for SHA-256's state");
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned count = 0;
    state.failed = EVP_DigestInit_ex(state.context, EVP_sha256(), NULL) != 1;
    dray_status status = subject_read(subject, sha_take, &state, error);
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
static dray_status sha_digest(const digest_subject *subject, char out_hex[65], dray_error *error)
{
    (void)subject, (void)out_hex;
    return dray_fail(error, DRAY_E_UNSUPPORTED,
                     "digest: this build was made without libcrypto, so without SHA-256");
}
#endif

static dray_status subject_digest(const digest_subject *subject, dray_digest kind, char out_hex[65],
                                  dray_error *error)
{
    if (kind == DRAY_DIGEST_SHA256)
        return sha_digest(subject, out_hex, error);
    if (kind == DRAY_DIGEST_XXH3_128)
        return xxh3_digest(subject, out_hex, error);
    return dray_fail(error, DRAY_E_INVALID, "digest: kind %d is not known", (int)kind);
}

dray_status dray_span_digest(dray_context *context, const dray_span *span, dray_digest kind,
                             char out_hex[65], dray_error *error)
{
    const digest_subject subject = {.context = context, .span = *span};
    return subject_digest(&subject, kind, out_hex, error);
}

dray_status dray_agent_digest(dray_context *context, dray_agent *agent, const dray_span *span,
                              dray_digest kind, char out_hex[65], dray_error *error)
{
    const digest_subject subject = {.context = context, .agent = agent, .span = *span};
    return subject_digest(&subject, kind, out_hex, error);
}

dray_status dray_loaded_digest(const dray_loaded *loaded, uint64_t index, dray_digest kind,
                               char out_hex[65], dray_error *error)
{
    if (index >= loaded->count)
        return dray_fail(error, DRAY_E_INVALID,
                         "digest: tensor %" PRIu64 " of %" PRIu64 " loaded ones", index,
                         loaded->count);
    const drayi_loaded_tensor *entry = &loaded->tensors[index];
    const dray_tensor *tensor = &loaded->weights->index.tensors[entry->index];
    const digest_subject subject = {
        .loaded = loaded, .entry = entry, .span = {.bytes = tensor->bytes}};
    dray_status status = subject_digest(&subject, kind, out_hex, error);
    return status == DRAY_OK
               ? DRAY_OK
               : dray_fail_within(error, status, "tensor %s", drayi_show(tensor->name).text);
}
