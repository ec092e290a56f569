/// Policies as files: strict JSON, one object, nothing that is not known.
#include "base/arena.h"
#include "base/checked.h"
#include "base/json_reader.h"
#include "base/quote.h"
#include "dray/trust.h"
#include "os/os.h"

#include <fcntl.h>
#include <inttypes.h>

enum { file_bytes_max = 1 << 20, text_bytes_max = 255 };

struct dray_policy_file {
    drayi_env *env;
    drayi_arena arena; // everything that the policy points to
    dray_policy policy;
};

/// Where the reading stands.
typedef struct policy_reader {
    dray_policy_file *file;
    drayi_json_reader json;
    drayi_json_token token; // read last
} policy_reader;

static dray_status next(policy_reader *reader, dray_error *error)
{
    return drayi_json_next(&reader->json, &reader->token, error);
}

static dray_status wrong(const policy_reader *reader, const char *key, const char *wanted,
                         dray_error *error)
{
    return dray_fail_rule(error, DRAY_E_FORMAT, "policy.value", reader->token.offset,
                          "\"%s\" takes %s, here is %s", key, wanted,
                          drayi_json_kind_name(reader->token.kind));
}

// --- lists -------------------------------------------------------------------------------------------

/// Reads one element, which is a text, into the list's entry.
typedef dray_status (*read_element)(policy_reader *reader, const char *key, void *entry,
                                    dray_error *error);

/// An array of texts; one zeroed entry stands behind the last.
static dray_status read_list(policy_reader *reader, const char *key, size_t entry_bytes,
                             read_element element, void **out, uint64_t *out_count,
                             dray_error *error)
{
    uint64_t count;
    if (reader->token.kind != DRAYI_JSON_ARRAY)
        return wrong(reader, key, "an array of strings", error);
    DRAY_TRY(drayi_json_count(&reader->json, &count, error));
    char *entries = drayi_arena_alloc(&reader->file->arena, (count + 1) * entry_bytes, error);
    if (!entries)
        return DRAY_E_NOMEM;
    for (uint64_t i = 0; i < count; i++) {
        DRAY_TRY(next(reader, error));
        if (reader->token.kind != DRAYI_JSON_STRING)
            return wrong(reader, key, "strings", error);
        DRAY_TRY(element(reader, key, entries + i * entry_bytes, error));
    }
    *out = entries;
    *out_count = count;
    return next(reader, error); // its end
}

static dray_status read_name(policy_reader *reader, const char *key, void *entry, dray_error *error)
{
    const drayi_json_token *token = &reader->token;
    if (token->has_nul || token->text.length == 0 || token->text.length > text_bytes_max)
        return dray_fail_rule(error, DRAY_E_FORMAT, "policy.name", token->offset,
                              "\"%s\" takes names of 1 to %d bytes", key, text_bytes_max);
    char *name = drayi_arena_alloc(&reader->file->arena, token->text.length + 1, error);
    if (!name)
        return DRAY_E_NOMEM;
    name[drayi_json_unescape(token, name)] = '\0';
    *(const char **)entry = name;
    return DRAY_OK;
}

static int digit_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

static dray_status read_digest(policy_reader *reader, const char *key, void *entry,
                               dray_error *error)
{
    const dray_text text = reader->token.text;
    bool good = text.length == 64;
    for (size_t i = 0; good && i < 32; i++) {
        int high = digit_value(text.bytes[2 * i]), low = digit_value(text.bytes[2 * i + 1]);
        good = high >= 0 && low >= 0;
        if (good)
            ((uint8_t *)entry)[i] = (uint8_t)(high * 16 + low);
    }
    return good ? DRAY_OK
                : dray_fail_rule(error, DRAY_E_FORMAT, "policy.digits", reader->token.offset,
                                 "\"%s\" takes strings of 64 digits of 0-9 and a-f", key);
}

static dray_status read_rule(policy_reader *reader, const char *key, void *entry, dray_error *error)
{
    static const struct {
        const char *word;
        uint32_t bit;
    } rules[] = {
        {"allow-rpath", DRAY_POLICY_ALLOW_RPATH},     {"allow-textrel", DRAY_POLICY_ALLOW_TEXTREL},
        {"allow-wx", DRAY_POLICY_ALLOW_WX},           {"allow-soname", DRAY_POLICY_ALLOW_SONAME},
        {"require-seals", DRAY_POLICY_REQUIRE_SEALS}, {"trial", DRAY_POLICY_TRIAL},
    };
    (void)entry;
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        if (drayi_json_is(&reader->token, rules[i].word)) {
            reader->file->policy.rules |= rules[i].bit;
            return DRAY_OK;
        }
    }
    return dray_fail_rule(error, DRAY_E_FORMAT, "policy.rule", reader->token.offset,
                          "\"%s\" knows no \"%s\"; there are: allow-rpath, allow-textrel, allow-wx, "
                          "allow-soname, require-seals, trial",
                          key, drayi_quote(reader->token.text).text);
}

// --- members -----------------------------------------------------------------------------------------

static dray_status read_trust(policy_reader *reader, const char *key, dray_error *error)
{
    dray_policy *policy = &reader->file->policy;
    if (reader->token.kind == DRAYI_JSON_STRING && drayi_json_is(&reader->token, "allow"))
        policy->trust = DRAY_TRUST_ALLOW;
    else if (reader->token.kind == DRAYI_JSON_STRING && drayi_json_is(&reader->token, "listed"))
        policy->trust = DRAY_TRUST_LISTED;
    else
        return dray_fail_rule(error, DRAY_E_FORMAT, "policy.trust", reader->token.offset,
                              "\"%s\" takes \"allow\" or \"listed\"", key);
    return DRAY_OK;
}

static dray_status read_size(policy_reader *reader, const char *key, dray_error *error)
{
    if (reader->token.kind != DRAYI_JSON_NUMBER || !reader->token.is_u64 || reader->token.u64 == 0)
        return wrong(reader, key, "a whole number above 0", error);
    reader->file->policy.bytes_max = reader->token.u64;
    return DRAY_OK;
}

static dray_status read_kinds(policy_reader *reader, const char *key, dray_error *error)
{
    uint64_t count;
    void *list = NULL;
    DRAY_TRY(read_list(reader, key, sizeof(char *), read_name, &list, &count, error));
    reader->file->policy.kinds = list;
    return DRAY_OK;
}

static dray_status read_needed(policy_reader *reader, const char *key, dray_error *error)
{
    uint64_t count;
    void *list = NULL;
    DRAY_TRY(read_list(reader, key, sizeof(char *), read_name, &list, &count, error));
    reader->file->policy.needed = list;
    return DRAY_OK;
}

static dray_status read_digests(policy_reader *reader, const char *key, dray_error *error)
{
    void *list = NULL;
    DRAY_TRY(
        read_list(reader, key, 32, read_digest, &list, &reader->file->policy.sha256_count, error));
    reader->file->policy.sha256 = list;
    return DRAY_OK;
}

static dray_status read_keys(policy_reader *reader, const char *key, dray_error *error)
{
    void *list = NULL;
    DRAY_TRY(read_list(reader, key, 32, read_digest, &list, &reader->file->policy.public_key_count,
                       error));
    reader->file->policy.public_keys = list;
    return DRAY_OK;
}

static dray_status read_rules(policy_reader *reader, const char *key, dray_error *error)
{
    uint64_t count;
    void *list = NULL;
    return read_list(reader, key, 1, read_rule, &list, &count, error);
}

static const struct policy_member {
    const char *key;
    dray_status (*read)(policy_reader *reader, const char *key, dray_error *error);
} members[] = {
    {"trust", read_trust},    {"kinds", read_kinds},      {"bytes_max", read_size},
    {"sha256", read_digests}, {"public_keys", read_keys}, {"needed", read_needed},
    {"rules", read_rules},
};
enum { member_count = sizeof(members) / sizeof(members[0]) };

static dray_status find_member(const policy_reader *reader, size_t *out, dray_error *error)
{
    for (size_t i = 0; i < member_count; i++) {
        if (drayi_json_is(&reader->token, members[i].key)) {
            *out = i;
            return DRAY_OK;
        }
    }
    return dray_fail_rule(error, DRAY_E_FORMAT, "policy.key", reader->token.offset,
                          "there is no \"%s\"; there are: trust, kinds, bytes_max, sha256, "
                          "public_keys, needed, rules",
                          drayi_quote(reader->token.text).text);
}

static dray_status read_policy(policy_reader *reader, dray_error *error)
{
    uint32_t seen = 0;
    DRAY_TRY(next(reader, error));
    if (reader->token.kind != DRAYI_JSON_OBJECT)
        return dray_fail_rule(error, DRAY_E_FORMAT, "policy.object", reader->token.offset,
                              "a policy is one object, here is %s",
                              drayi_json_kind_name(reader->token.kind));
    for (;;) {
        size_t member = 0;
        DRAY_TRY(next(reader, error));
        if (reader->token.kind == DRAYI_JSON_OBJECT_END)
            return next(reader, error); // nothing may follow
        DRAY_TRY(find_member(reader, &member, error));
        if (seen >> member & 1)
            return dray_fail_rule(error, DRAY_E_FORMAT, "policy.twice", reader->token.offset,
                                  "\"%s\" stands twice", members[member].key);
        seen |= 1u << member;
        DRAY_TRY(next(reader, error));
        DRAY_TRY(members[member].read(reader, members[member].key, error));
    }
}

dray_status dray_policy_file_parse(dray_context *context, const char *name, const char *text,
                                   uint64_t text_bytes, dray_policy_file **out_file,
                                   dray_error *error)
{
    drayi_env *env = drayi_env_of(context);
    if (text_bytes > file_bytes_max)
        return dray_fail_rule(error, DRAY_E_FORMAT, "policy.size", DRAY_UNKNOWN,
                              "policy %s: %" PRIu64 " bytes, at most %d are read", name, text_bytes,
                              file_bytes_max);
    dray_policy_file *file = drayi_new(env, dray_policy_file, error);
    if (!file)
        return DRAY_E_NOMEM;
    file->env = env;
    file->arena.env = env;
    file->policy.struct_bytes = sizeof(file->policy);
    policy_reader reader = {.file = file,
                            .json = drayi_json_reader_of((const uint8_t *)text, text_bytes, 0)};
    dray_status status = read_policy(&reader, error);
    if (status != DRAY_OK) {
        dray_policy_file_destroy(file);
        return dray_fail_within(error, status, "policy %s", name);
    }
    *out_file = file;
    return DRAY_OK;
}

static dray_status read_file(drayi_env *env, int fd, const char *path, char **out,
                             uint64_t *out_bytes, dray_error *error)
{
    drayi_file_facts facts;
    int code = env->os->facts(fd, &facts);
    if (code < 0)
        return dray_fail_os(error, -code, "statx", "policy %s", path);
    if (!S_ISREG(facts.mode) || facts.bytes > file_bytes_max)
        return dray_fail_rule(error, DRAY_E_FORMAT, "policy.size", DRAY_UNKNOWN,
                              "policy %s: wanted a regular file of at most %d bytes", path,
                              file_bytes_max);
    char *text = drayi_alloc(env, facts.bytes, error);
    if (!text)
        return DRAY_E_NOMEM;
    dray_status status = drayi_pread_all(env->os, fd, path, text, facts.bytes, 0, NULL, error);
    if (status != DRAY_OK) {
        drayi_free(env, text, facts.bytes);
        return status;
    }
    *out = text;
    *out_bytes = facts.bytes;
    return DRAY_OK;
}

dray_status dray_policy_file_open(dray_context *context, const char *path,
                                  dray_policy_file **out_file, dray_error *error)
{
    drayi_env *env = drayi_env_of(context);
    int fd;
    char *text = NULL;
    uint64_t bytes = 0;
    DRAY_TRY(drayi_open_file(env->os, path, O_RDONLY | O_NONBLOCK, 0, &fd, error));
    dray_status status = read_file(env, fd, path, &text, &bytes, error);
    drayi_close_file(env->os, fd);
    if (status == DRAY_OK)
        status = dray_policy_file_parse(context, path, text, bytes, out_file, error);
    drayi_free(env, text, bytes);
    return status;
}

const dray_policy *dray_policy_file_get(const dray_policy_file *file)
{
    return &file->policy;
}

void dray_policy_file_destroy(dray_policy_file *file)
{
    if (!file)
        return;
    drayi_arena_free(&file->arena);
    drayi_free(file->env, file, sizeof(*file));
}
