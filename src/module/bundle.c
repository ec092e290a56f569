#include "module/bundle.h"

#include "abi/import_tree.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/// One tree on its way.
typedef struct bundle_job {
    drayi_modules *modules;
    const drayi_bundle_ask *ask;
    drayi_tree tree;
    dray_module **loaded; // by number in the tree; each a reference
    dray_policy policy;   // of the modules inside
} bundle_job;

/// What was vouched for as a whole is not asked for by its parts.
static dray_policy policy_inside(const dray_policy *outside)
{
    dray_policy policy = *outside; // whole already (drayi_options)
    policy.struct_bytes = sizeof(policy);
    policy.sha256 = NULL;
    policy.public_keys = NULL;
    policy.signature = NULL;
    policy.sha256_count = policy.public_key_count = 0;
    policy.rules &= ~(uint32_t)DRAY_POLICY_REQUIRE_SEALS; // they are parts of what was sealed
    if (policy.trust == DRAY_TRUST_LISTED)
        policy.trust = DRAY_TRUST_ALLOW;
    return policy;
}

static dray_status load_one(bundle_job *job, uint64_t index, dray_error *error)
{
    const drayi_tree_module *node = &job->tree.modules[index];
    if (node->is_host) {
        if (!job->ask->host)
            return dray_fail_rule(
                error, DRAY_E_FORMAT, "bundle.host", DRAY_UNKNOWN,
                "the tree belongs inside a library: module %" PRIu64 " is that library", index);
        job->loaded[index] = dray_module_retain(job->ask->host);
        return DRAY_OK;
    }
    char kind[DRAYI_TREE_KIND_MAX + 1], name[DRAYI_TREE_KIND_MAX + 32];
    memcpy(kind, node->kind.bytes, node->kind.length);
    kind[node->kind.length] = '\0';
    snprintf(name, sizeof(name), "%s:%" PRIu64, kind, index);
    dray_module_options options = *job->ask->options;
    options.struct_bytes = sizeof(options);
    options.policy = &job->policy;
    options.expected_sha256 = NULL; // of the container
    options.expected_bytes = 0;
    const dray_module_source source = {.struct_bytes = sizeof(source),
                                       .bytes = node->payload,
                                       .byte_count = node->payload_bytes,
                                       .name = name};
    const drayi_load_ask ask = {.kind = kind, .options = &options, .nested = job->ask->nested + 1};
    dray_status status = drayi_load(job->modules, &ask, &source, &job->loaded[index], error);
    return status == DRAY_OK ? DRAY_OK
                             : dray_fail_within(error, status, "module %" PRIu64 " of %" PRIu64,
                                                index, job->tree.count);
}

/// Nobody has imported this module yet, so no import can close a circle, and each costs the same.
static dray_status import_all(bundle_job *job, uint64_t index, dray_error *error)
{
    const drayi_tree_module *node = &job->tree.modules[index];
    for (uint64_t i = 0; i < node->import_count; i++)
        DRAY_TRY(dray_module_import(job->loaded[index], job->loaded[node->imports[i]], error));
    return DRAY_OK;
}

static dray_status load_all(bundle_job *job, dray_error *error)
{
    for (uint64_t i = 0; i < job->tree.count; i++)
        DRAY_TRY(load_one(job, job->tree.leaves_first[i], error));
    for (uint64_t i = 0; i < job->tree.count; i++)
        DRAY_TRY(import_all(job, job->tree.leaves_first[i], error));
    return DRAY_OK;
}

dray_status drayi_bundle_load(drayi_modules *modules, const drayi_bundle_ask *ask,
                              dray_module **out, dray_error *error)
{
    drayi_env *env = modules->env;
    bundle_job job = {.modules = modules, .ask = ask, .policy = policy_inside(ask->policy)};
    if (ask->nested >= DRAYI_BUNDLE_NESTED_MAX)
        return dray_fail_rule(error, DRAY_E_FORMAT, "bundle.nested", DRAY_UNKNOWN,
                              "%d import trees stand inside each other, no more are opened",
                              DRAYI_BUNDLE_NESTED_MAX);
    DRAY_TRY(drayi_tree_read(env, ask->bytes, ask->byte_count, ask->more_follows, &job.tree, error));
    job.loaded = drayi_alloc_array(env, job.tree.count, sizeof(void *), error);
    dray_status status = job.loaded ? load_all(&job, error) : DRAY_E_NOMEM;
    if (status == DRAY_OK)
        *out = dray_module_retain(job.loaded[0]);
    else if (ask->host)
        dray_module_clear_imports(ask->host); // it was new: it had none
    for (uint64_t i = 0; job.loaded && i < job.tree.count; i++)
        dray_module_release(job.loaded[i]);
    drayi_free(env, job.loaded, job.tree.count * sizeof(void *));
    drayi_tree_free(env, &job.tree);
    return status;
}
