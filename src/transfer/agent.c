/// The agent opens backends and keeps what it learnt of them: their edges, and which regions they know.
#include "transfer/agent.h"

#include "os/os.h"
#include "transfer/agent_metadata.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { backends_max = 64 }; // what one wait can watch

static const dray_backend_ops *find_ops(const drayi_env *env, const char *name)
{
    for (const dray_backend_ops *const *each = env->backends; *each; each++) {
        if (strcasecmp((*each)->name, name) == 0)
            return *each;
    }
    return NULL;
}

bool dray_agent_has_backend(const dray_agent *agent, const char *name)
{
    for (uint64_t i = 0; i < agent->backend_count; i++) {
        if (strcasecmp(agent->backends[i].ops->name, name) == 0)
            return true;
    }
    return false;
}

static dray_status not_found(const drayi_env *env, const char *name, dray_error *error)
{
    char list[256] = "";
    size_t used = 0;
    for (const dray_backend_ops *const *each = env->backends; *each && used < sizeof(list); each++) {
        int wrote =
            snprintf(list + used, sizeof(list) - used, "%s%s", used ? ", " : "", (*each)->name);
        used += wrote > 0 ? (size_t)wrote : 0;
    }
    return dray_fail(error, DRAY_E_NOTFOUND, "backend %s: there is none of that name; there are: %s",
                     name, used ? list : "none");
}

// --- opening -------------------------------------------------------------------------------------------------

static dray_status edge_check(const dray_backend_ops *ops, const dray_edge *edge, uint32_t index,
                              dray_error *error)
{
    bool kinds = edge->from > 0 && edge->from < DRAY_STORAGE_COUNT && edge->to > 0 &&
                 edge->to < DRAY_STORAGE_COUNT;
    if (kinds && edge->max_segments > 0 && edge->max_loops <= DRAY_LOOPS_MAX)
        return DRAY_OK;
    return dray_fail(
        error, DRAY_E_INTERNAL,
        "backend %s: edge %u makes no sense: from %d to %d, %u segments, %u loops at most",
        ops->name, index, (int)edge->from, (int)edge->to, edge->max_segments, edge->max_loops);
}

static dray_status edges_read(dray_agent *agent, const drayi_agent_backend *backend, uint32_t index,
                              dray_error *error)
{
    uint32_t count = backend->ops->edges(backend->self, NULL, 0);
    dray_edge *edges = drayi_alloc_array(agent->env, count, sizeof(*edges), error);
    if (!edges)
        return DRAY_E_NOMEM;
    dray_status status = DRAY_OK;
    if (backend->ops->edges(backend->self, edges, count) != count)
        status = dray_fail(error, DRAY_E_INTERNAL, "backend %s: its edges change from call to call",
                           backend->ops->name);
    if (status == DRAY_OK)
        status = drayi_grow(agent->env, (void **)&agent->edges, &agent->edge_capacity,
                            agent->edge_count + count, sizeof(*agent->edges), error);
    for (uint32_t i = 0; status == DRAY_OK && i < count; i++) {
        status = edge_check(backend->ops, &edges[i], i, error);
        if (status == DRAY_OK)
            agent->edges[agent->edge_count++] =
                (drayi_agent_edge){.edge = edges[i], .backend = index};
    }
    drayi_free(agent->env, edges, count * sizeof(*edges));
    return status;
}

static dray_status backend_open(dray_agent *agent, const dray_backend_ops *ops, dray_error *error)
{
    if (ops->abi != DRAY_BACKEND_ABI)
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "backend %s: its table is of version %u, this library speaks %u",
                         ops->name, ops->abi, DRAY_BACKEND_ABI);
    if (agent->backend_count == backends_max)
        return dray_fail(error, DRAY_E_UNSUPPORTED, "backend %s: an agent has at most %d backends",
                         ops->name, backends_max);
    DRAY_TRY(drayi_grow(agent->env, (void **)&agent->backends, &agent->backend_capacity,
                        agent->backend_count + 1, sizeof(*agent->backends), error));
    dray_backend *self = NULL;
    dray_status status = ops->open(agent->env, &self, error);
    if (status != DRAY_OK)
        return dray_fail_within(error, status, "backend %s", ops->name);
    uint32_t index = (uint32_t)agent->backend_count++;
    agent->backends[index] = (drayi_agent_backend){.ops = ops, .self = self};
    if (ops->remote) {
        agent->has_remote = true;
        const dray_remote_setup setup = {
            .agent = agent->name, .epoch = agent->epoch, .reach = agent->options.reach};
        status = ops->remote->start(self, &setup, error);
        if (status != DRAY_OK)
            return dray_fail_within(error, status, "backend %s", ops->name);
    }
    return edges_read(agent, &agent->backends[index], index, error);
}

/// Everything of the context that opens here and has been proven; what cannot open is left out and logged.
static dray_status open_all(dray_agent *agent, dray_error *error)
{
    for (const dray_backend_ops *const *each = agent->env->backends; *each; each++) {
        if ((*each)->unproven || (*each)->flags & DRAY_BACKEND_ON_DEMAND ||
            dray_agent_has_backend(agent, (*each)->name))
            continue; // of two with one name the first counts: the caller's own stand first
        dray_error why;
        dray_status status = backend_open(agent, *each, &why);
        if (status == DRAY_E_UNSUPPORTED || status == DRAY_E_DEVICE) {
            drayi_log(agent->env, DRAY_LOG_INFO, "agent %s: left out: %s", agent->name, why.message);
            continue;
        }
        if (status != DRAY_OK) {
            if (error)
                *error = why;
            return status;
        }
    }
    return DRAY_OK;
}

/// Those that were named, and `copy`: local memory is always served.
static dray_status open_named(dray_agent *agent, const char *const *names, dray_error *error)
{
    for (; *names; names++) {
        if (dray_agent_has_backend(agent, *names))
            continue;
        const dray_backend_ops *ops = find_ops(agent->env, *names);
        if (!ops)
            return not_found(agent->env, *names, error);
        DRAY_TRY(backend_open(agent, ops, error));
    }
    const dray_backend_ops *copy = find_ops(agent->env, "copy");
    return copy && !dray_agent_has_backend(agent, "copy") ? backend_open(agent, copy, error)
                                                          : DRAY_OK;
}

static dray_status agent_build(dray_agent *agent, const dray_agent_options *options,
                               dray_error *error)
{
    const char *name = options->name ? options->name : "dray";
    if (!drayi_metadata_name_fits(name, strlen(name), DRAY_AGENT_NAME_MAX))
        return dray_fail(error, DRAY_E_INVALID,
                         "its name has %zu bytes; 1 to %u of UTF-8 without control characters are "
                         "wanted",
                         strlen(name), DRAY_AGENT_NAME_MAX);
    snprintf(agent->name, sizeof(agent->name), "%s", name);
    if (options->reach != DRAY_REACH_HOST && options->reach != DRAY_REACH_NETWORK)
        return dray_fail(error, DRAY_E_INVALID, "reach is %d, one of 0, 1 is wanted",
                         (int)options->reach);
    int code = agent->env->os->random(&agent->epoch, sizeof(agent->epoch));
    if (code < 0)
        return dray_fail_os(error, -code, "getrandom", "choose an epoch");
    if (options->backends)
        DRAY_TRY(open_named(agent, options->backends, error));
    else
        DRAY_TRY(open_all(agent, error));
    agent->wait_fds = drayi_alloc_array(agent->env, agent->backend_count, sizeof(int), error);
    return agent->wait_fds ? DRAY_OK : DRAY_E_NOMEM;
}

dray_status dray_agent_create(dray_context *context, const dray_agent_options *given,
                              dray_agent **out_agent, dray_error *error)
{
    dray_agent_options options;
    DRAY_TRY(drayi_options(&options, sizeof(options), given, "dray_agent_options", error));
    drayi_env *env = drayi_env_of(context);
    dray_agent *agent = drayi_new(env, dray_agent, error);
    if (!agent)
        return DRAY_E_NOMEM;
    agent->context = context;
    agent->env = env;
    agent->page_bytes = env->os->page_bytes();
    agent->options = options;
    agent->watch_fd = -1;
    dray_status status = agent_build(agent, &options, error);
    if (status != DRAY_OK) {
        dray_fail_within(error, status, "agent %s", agent->name[0] ? agent->name : "without a name");
        dray_agent_destroy(agent);
    } else {
        *out_agent = agent;
    }
    return status;
}

void dray_agent_destroy(dray_agent *agent)
{
    if (!agent)
        return;
    drayi_env *env = agent->env;
    drayi_agent_forget_all(agent);
    drayi_agent_deregister_all(agent);
    drayi_close_file(env->os, agent->watch_fd);
    for (uint64_t i = 0; i < agent->backend_count; i++)
        agent->backends[i].ops->close(agent->backends[i].self);
    drayi_free(env, agent->wait_fds, agent->backend_count * sizeof(int));
    drayi_free(env, agent->backends, agent->backend_capacity * sizeof(*agent->backends));
    drayi_free(env, agent->edges, agent->edge_capacity * sizeof(*agent->edges));
    drayi_free(env, agent->attachments, agent->attachment_capacity * sizeof(*agent->attachments));
    drayi_free(env, agent, sizeof(*agent));
}

// --- regions ---------------------------------------------------------------------------------------------------

static drayi_attachment *attachment_find(dray_agent *agent, uint32_t backend,
                                         const dray_region *region)
{
    for (uint64_t i = 0; i < agent->attachment_count; i++) {
        if (agent->attachments[i].region == region && agent->attachments[i].backend == backend)
            return &agent->attachments[i];
    }
    return NULL;
}

dray_status drayi_agent_attach(dray_agent *agent, uint32_t backend, dray_region *region,
                               dray_error *error)
{
    const drayi_agent_backend *opened = &agent->backends[backend];
    if (!opened->ops->attach)
        return DRAY_OK;
    drayi_attachment *known = attachment_find(agent, backend, region);
    if (known) {
        known->users++;
        return DRAY_OK;
    }
    DRAY_TRY(drayi_grow(agent->env, (void **)&agent->attachments, &agent->attachment_capacity,
                        agent->attachment_count + 1, sizeof(*agent->attachments), error));
    dray_status status = opened->ops->attach(opened->self, region, error);
    if (status != DRAY_OK)
        return dray_fail_within(error, status, "backend %s", opened->ops->name);
    agent->attachments[agent->attachment_count++] =
        (drayi_attachment){.region = region, .backend = backend, .users = 1};
    return DRAY_OK;
}

void drayi_agent_detach(dray_agent *agent, uint32_t backend, dray_region *region)
{
    drayi_attachment *known = attachment_find(agent, backend, region);
    if (!known || --known->users > 0)
        return;
    const drayi_agent_backend *opened = &agent->backends[backend];
    *known = agent->attachments[--agent->attachment_count];
    if (opened->ops->detach)
        opened->ops->detach(opened->self, region);
}
