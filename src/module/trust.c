#include "module/trust.h"

#include "base/sha256.h"

#include <inttypes.h>
#include <string.h>

static const char rule[] = "module.trust";

static dray_status check_decision(const dray_policy *policy, dray_error *error)
{
    switch (policy->trust) {
    case DRAY_TRUST_ALLOW:
        return DRAY_OK;
    case DRAY_TRUST_LISTED:
        if (policy->sha256_count > 0 || policy->public_key_count > 0)
            return DRAY_OK;
        return dray_fail_rule(
            error, DRAY_E_INVALID, rule, DRAY_UNKNOWN,
            "the policy loads what it lists, and lists neither a digest nor a key");
    case DRAY_TRUST_UNDECIDED:
        return dray_fail_rule(
            error, DRAY_E_INVALID, rule, DRAY_UNKNOWN,
            "code from bytes can do all that this process can, and nobody decided to trust it; "
            "decide with a dray_policy (DRAY_TRUST_ALLOW, or DRAY_TRUST_LISTED and its SHA-256)");
    default:
        return dray_fail_rule(error, DRAY_E_INVALID, rule, DRAY_UNKNOWN,
                              "trust %d of the policy is not known", (int)policy->trust);
    }
}

static dray_status check_kind(const dray_policy *policy, const char *kind, dray_error *error)
{
    if (!policy->kinds)
        return DRAY_OK;
    for (const char *const *each = policy->kinds; *each; each++) {
        if (strcmp(*each, kind) == 0)
            return DRAY_OK;
    }
    return dray_fail_rule(error, DRAY_E_INVALID, rule, DRAY_UNKNOWN,
                          "the policy does not allow modules of kind %s", kind);
}

static dray_status check_size(const dray_policy *policy, const dray_module_options *options,
                              const dray_image *image, dray_error *error)
{
    if (policy->bytes_max > 0 && image->byte_count > policy->bytes_max)
        return dray_fail_rule(error, DRAY_E_INVALID, rule, DRAY_UNKNOWN,
                              "%" PRIu64 " bytes, the policy allows %" PRIu64, image->byte_count,
                              policy->bytes_max);
    if (options->expected_bytes > 0 && image->byte_count != options->expected_bytes)
        return dray_fail(error, DRAY_E_CORRUPT, "%" PRIu64 " bytes, expected were %" PRIu64,
                         image->byte_count, options->expected_bytes);
    return DRAY_OK;
}

/// The seals that count are the caller's own: with them nobody could change the bytes before we had them.
static dray_status check_seals(const dray_policy *policy, const dray_image *image, dray_error *error)
{
    if (!(policy->rules & DRAY_POLICY_REQUIRE_SEALS) ||
        ((image->flags & DRAY_IMAGE_SEALED) && image->fd >= 0))
        return DRAY_OK;
    return dray_fail_rule(error, DRAY_E_INVALID, rule, DRAY_UNKNOWN,
                          "the policy wants a memfd with all seals (F_SEAL_SEAL, _SHRINK, _GROW, "
                          "_WRITE); this is %s",
                          image->fd >= 0 ? "a file without them" : "memory");
}

dray_status drayi_trust_hash(dray_image *image, dray_error *error)
{
    if (image->flags & DRAY_IMAGE_HASHED)
        return DRAY_OK;
    DRAY_TRY(image->seal(image, error));
    DRAY_TRY(image->map(image, error));
    DRAY_TRY(drayi_sha256(image->bytes, image->byte_count, image->sha256, error));
    image->flags |= DRAY_IMAGE_HASHED;
    return DRAY_OK;
}

static dray_status check_expected(const uint8_t expected[32], const dray_image *image,
                                  dray_error *error)
{
    char is[drayi_sha256_text], wanted[drayi_sha256_text];
    if (memcmp(expected, image->sha256, 32) == 0)
        return DRAY_OK;
    drayi_sha256_print(image->sha256, is);
    drayi_sha256_print(expected, wanted);
    return dray_fail(error, DRAY_E_CORRUPT, "SHA-256 is %s, expected was %s", is, wanted);
}

static bool is_listed(const dray_policy *policy, const dray_image *image)
{
    for (uint64_t i = 0; i < policy->sha256_count; i++) {
        if (memcmp(policy->sha256[i], image->sha256, 32) == 0)
            return true;
    }
    return false;
}

static dray_status find_signer(const dray_policy *policy, const dray_image *image, bool *out_signed,
                               dray_error *error)
{
    *out_signed = false;
    for (uint64_t i = 0; policy->signature && i < policy->public_key_count && !*out_signed; i++)
        DRAY_TRY(drayi_ed25519_verify(policy->public_keys[i], policy->signature, image->bytes,
                                      image->byte_count, out_signed, error));
    return DRAY_OK;
}

static dray_status check_vouched(const dray_policy *policy, dray_image *image, dray_error *error)
{
    bool is_signed = false;
    char digest[drayi_sha256_text];
    bool listed = is_listed(policy, image);
    if (!listed)
        DRAY_TRY(find_signer(policy, image, &is_signed, error));
    if (listed || is_signed) {
        image->flags |= DRAY_IMAGE_TRUSTED;
        return DRAY_OK;
    }
    drayi_sha256_print(image->sha256, digest);
    return dray_fail_rule(error, DRAY_E_INVALID, rule, DRAY_UNKNOWN,
                          "SHA-256 %s is none of the %" PRIu64 " that the policy lists, and %s",
                          digest, policy->sha256_count,
                          !policy->signature && policy->public_key_count == 0 ? "it has no keys"
                          : !policy->signature            ? "no signature was given"
                          : policy->public_key_count == 0 ? "it has no key for the signature"
                                                          : "no key of its made the signature");
}

dray_status drayi_trust_admit(drayi_env *env, const dray_policy *policy,
                              const dray_module_options *options, const char *kind, bool native,
                              dray_image *image, dray_error *error)
{
    (void)env;
    bool vouched = policy->sha256_count > 0 || policy->public_key_count > 0;
    if (native || policy->trust != DRAY_TRUST_UNDECIDED)
        DRAY_TRY(check_decision(policy, error));
    DRAY_TRY(check_kind(policy, kind, error));
    DRAY_TRY(check_size(policy, options, image, error));
    DRAY_TRY(check_seals(policy, image, error));
    if (!options->expected_sha256 && !vouched)
        return DRAY_OK;
    DRAY_TRY(drayi_trust_hash(image, error));
    if (options->expected_sha256)
        DRAY_TRY(check_expected(options->expected_sha256, image, error));
    return vouched ? check_vouched(policy, image, error) : DRAY_OK;
}
