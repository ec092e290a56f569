/// cli/module_options: what all verbs on modules share: where a file's bytes go, and whom the user trusts.
#ifndef DRAY_CLI_MODULE_OPTIONS_H
#define DRAY_CLI_MODULE_OPTIONS_H

#include "command.h"

#define MODULE_DIGESTS_MAX OPTION_WORDS_MAX

/// What the user gave. Without any of it, the file that was named is trusted: naming it was the decision.
typedef struct module_trust {
    option_words allowed;  ///< --allow-sha256
    const char *policy;    ///< --policy
    const char *signature; ///< --signature
} module_trust;

// NOLINTBEGIN(bugprone-macro-parentheses): a type and the name of a member
/// Lines for a verb's table of options; `type` is its struct of values, `member` its module_trust.
#define MODULE_TRUST_OPTIONS(type, member)                                                     \
    {"allow-sha256",                                                                           \
     "HEX",                                                                                    \
     "load it only if this is its SHA-256",                                                    \
     .parse = module_parse_digest,                                                             \
     .at = offsetof(type, member.allowed),                                                     \
     .many = true},                                                                            \
        {"policy", "FILE", "load it only if this policy (JSON) lets it", .parse = option_text, \
         .at = offsetof(type, member.policy)},                                                 \
    {                                                                                          \
        "signature", "FILE", "64 bytes: an Ed25519 signature over the module, for --policy",   \
            .parse = option_text, .at = offsetof(type, member.signature)                       \
    }
// NOLINTEND(bugprone-macro-parentheses)

bool module_parse_digest(const char *text, void *field, option_problem *problem);
/// Options that contradict each other.
bool module_trust_check(const module_trust *given, option_problem *problem);

/// The policy that they mean, and what it points to.
typedef struct module_policy {
    dray_policy policy;
    dray_policy_file *file;
    uint8_t digests[MODULE_DIGESTS_MAX][32];
    uint8_t signature[64];
} module_policy;

dray_status module_policy_make(dray_context *context, const module_trust *given, module_policy *out,
                               dray_error *error);
void module_policy_end(module_policy *policy);

static inline dray_module_source module_file(const char *path)
{
    return (dray_module_source){.struct_bytes = sizeof(dray_module_source), .path = path};
}

/// 64 lower-case hex digits and a NUL.
void module_digest_text(const uint8_t digest[32], char out[65]);

/// All bytes of a regular file; the caller frees.
dray_status module_read_file(const char *path, char **out, uint64_t *out_bytes, dray_error *error);
/// Into a file that must not exist.
dray_status module_write_file(const char *path, const void *bytes, uint64_t count,
                              dray_error *error);

#endif
