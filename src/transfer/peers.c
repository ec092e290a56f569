/// Other agents, as their metadata describes them.
///
/// Importing builds the new state beside the old one and swaps when nothing can fail any more. A peer
/// holds a reference to each region that it made; a region whose peer is gone keeps existing with a link
/// that leads nowhere, and operations on it fail with a sentence.
#include "base/quote.h"
#include "memory/region.h"
#include "os/os.h"
#include "transfer/agent.h"
#include "transfer/agent_metadata.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/// A link, and what is needed to free it when its region goes: in whatever thread, the agent may be gone.
typedef struct link_holder {
    dray_remote_link link;
    drayi_env *env;
} link_holder;

typedef struct peer_region {
    dray_descriptor descriptor;
    dray_region *region;    // called "peer/name"; NULL: never made
    dray_remote_link *link; // lives as long as the region
    bool named;
} peer_region;

struct dray_peer {
    dray_peer *next;
    dray_agent *agent;
    char name[DRAY_AGENT_NAME_MAX + 1];
    uint64_t epoch;
    uint32_t backend; // of the agent
    dray_remote *remote;
    peer_region *regions; // by rising handle
    uint64_t region_count, region_room;
    uint64_t users; // transfers that will notify it
};

/// What becomes of a peer when an import goes well.
typedef struct peer_state {
    dray_remote *remote;
    bool own_remote; // made for this import
    peer_region *regions;
    bool *kept; // per region: taken over from the old state
    uint64_t region_count;
} peer_state;

static const drayi_agent_backend *backend_of(const dray_peer *peer)
{
    return &peer->agent->backends[peer->backend];
}

// --- one region ----------------------------------------------------------------------------------------------------

/// A REMOTE region's end: nothing but its link.
static void link_free(void *self, void *pointer, uint64_t bytes)
{
    (void)pointer;
    (void)bytes;
    link_holder *holder = self;
    drayi_free(holder->env, holder, sizeof(*holder));
}

static void region_end(const dray_peer *peer, peer_region *region)
{
    if (!region->region)
        return;
    const drayi_agent_backend *backend = backend_of(peer);
    if (region->link->at)
        backend->ops->remote->region_close(backend->self, region->link->at);
    region->link->at = NULL;
    dray_region_release(region->region);
}

static dray_status region_make(const dray_peer *peer, const drayi_metadata_region *from,
                               const char *name, peer_region *out, dray_error *error)
{
    drayi_env *env = peer->agent->env;
    link_holder *holder = drayi_new(env, link_holder, error);
    if (!holder)
        return DRAY_E_NOMEM;
    holder->env = env;
    holder->link = (dray_remote_link){.backend = backend_of(peer)->self, .peer = peer};
    dray_status status = drayi_region_new(env, DRAY_STORAGE_REMOTE, from->descriptor.bytes, name,
                                          &out->region, error);
    if (status != DRAY_OK) {
        drayi_free(env, holder, sizeof(*holder));
        return status;
    }
    out->region->native.file_offset = from->descriptor.address;
    out->region->native.writable = from->descriptor.writable;
    out->region->native.remote = &holder->link;
    out->region->release = link_free;
    out->region->release_self = holder;
    out->link = &holder->link;
    return DRAY_OK;
}

/// "peer/name", or "peer/#handle"
static void region_name(const char *peer, const drayi_metadata_region *from, char *out, size_t room)
{
    if (from->name.length)
        snprintf(out, room, "%s/%.*s", peer, (int)from->name.length, from->name.bytes);
    else
        snprintf(out, room, "%s/#%" PRIu64, peer, from->descriptor.handle);
}

static dray_status region_begin(const dray_peer *peer, dray_remote *remote,
                                const drayi_metadata_region *from, peer_region *out,
                                dray_error *error)
{
    char name[DRAY_AGENT_NAME_MAX + DRAYI_METADATA_NAME_MAX + 2];
    region_name(peer->name, from, name, sizeof(name));
    const drayi_agent_backend *backend = backend_of(peer);
    const dray_remote_key key = {.address = from->descriptor.address,
                                 .bytes = from->descriptor.bytes,
                                 .key = from->key,
                                 .key_bytes = from->key_bytes,
                                 .name = name};
    DRAY_TRY(region_make(peer, from, name, out, error));
    out->descriptor = from->descriptor;
    out->named = from->name.length > 0;
    dray_status status =
        backend->ops->remote->region_open(backend->self, remote, &key, &out->link->at, error);
    if (status != DRAY_OK) {
        region_end(peer, out);
        out->region = NULL;
    }
    return status;
}

// --- import --------------------------------------------------------------------------------------------------------

static dray_peer *peer_find(const dray_agent *agent, const char *name)
{
    dray_peer *peer = agent->peers;
    while (peer && strcmp(peer->name, name) != 0)
        peer = peer->next;
    return peer;
}

static const peer_region *region_find(const dray_peer *peer, uint64_t handle)
{
    uint64_t low = 0, high = peer->region_count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (peer->regions[middle].descriptor.handle < handle)
            low = middle + 1;
        else
            high = middle;
    }
    bool found = low < peer->region_count && peer->regions[low].descriptor.handle == handle;
    return found ? &peer->regions[low] : NULL;
}

/// The first of the peer's backends that we have, too.
static dray_status way_find(const dray_agent *agent, const drayi_metadata *metadata,
                            uint32_t *out_section, uint32_t *out_backend, dray_error *error)
{
    for (uint32_t i = 0; i < metadata->backend_count; i++) {
        const dray_text *name = &metadata->backends[i].name;
        for (uint32_t k = 0; k < agent->backend_count; k++) {
            const dray_backend_ops *ops = agent->backends[k].ops;
            if (ops->remote && strlen(ops->name) == name->length &&
                memcmp(ops->name, name->bytes, name->length) == 0) {
                *out_section = i;
                *out_backend = k;
                return DRAY_OK;
            }
        }
    }
    if (metadata->backend_count == 0)
        return dray_fail(error, DRAY_E_UNSUPPORTED, "it says of no backend how to reach it");
    return dray_fail(error, DRAY_E_UNSUPPORTED,
                     "it is reached by %s, which this agent does not have",
                     drayi_quote(metadata->backends[0].name).text);
}

static dray_status state_fill(const dray_peer *peer, const dray_peer *old, peer_state *state,
                              const drayi_metadata *metadata, uint32_t section, dray_error *error)
{
    for (uint32_t i = 0; i < metadata->region_count; i++) {
        const drayi_metadata_region *from = &metadata->regions[i];
        if (from->backend != section)
            continue;
        const peer_region *known = old ? region_find(old, from->descriptor.handle) : NULL;
        if (known) {
            state->kept[state->region_count] = true;
            state->regions[state->region_count++] = *known;
            continue;
        }
        dray_status status =
            region_begin(peer, state->remote, from, &state->regions[state->region_count], error);
        if (status != DRAY_OK)
            return status;
        state->region_count++;
    }
    return DRAY_OK;
}

/// Undoes a state that will not be used.
static void state_drop(const dray_peer *peer, peer_state *state, uint64_t room)
{
    const drayi_agent_backend *backend = backend_of(peer);
    drayi_env *env = peer->agent->env;
    for (uint64_t i = 0; i < state->region_count; i++) {
        if (!state->kept[i])
            region_end(peer, &state->regions[i]);
    }
    if (state->own_remote)
        backend->ops->remote->disconnect(backend->self, state->remote);
    drayi_free(env, state->regions, room * sizeof(*state->regions));
}

/// Closes what the old state had and the new one does not take over.
static void regions_replace(dray_peer *peer, peer_state *state)
{
    uint64_t at = 0;
    for (uint64_t i = 0; i < peer->region_count; i++) {
        while (at < state->region_count &&
               state->regions[at].descriptor.handle < peer->regions[i].descriptor.handle)
            at++;
        bool kept = at < state->region_count && state->kept[at] &&
                    state->regions[at].region == peer->regions[i].region;
        if (!kept)
            region_end(peer, &peer->regions[i]);
    }
    drayi_free(peer->agent->env, peer->regions, peer->region_room * sizeof(*peer->regions));
}

static dray_status state_build(const dray_peer *peer, const dray_peer *old, peer_state *state,
                               const drayi_metadata *metadata, uint32_t section, dray_error *error)
{
    drayi_env *env = peer->agent->env;
    const drayi_agent_backend *backend = backend_of(peer);
    const drayi_metadata_backend *way = &metadata->backends[section];
    state->regions = drayi_alloc_array(env, metadata->region_count, sizeof(*state->regions), error);
    state->kept = drayi_alloc_array(env, metadata->region_count, sizeof(bool), error);
    if (!state->regions || !state->kept)
        return DRAY_E_NOMEM;
    if (old) {
        state->remote = old->remote;
    } else {
        DRAY_TRY(backend->ops->remote->connect(backend->self, peer->name, way->address,
                                               way->address_bytes, &state->remote, error));
        state->own_remote = true;
    }
    return state_fill(peer, old, state, metadata, section, error);
}

/// From here on nothing fails.
static void state_adopt(dray_peer *peer, peer_state *state, const drayi_metadata *metadata)
{
    const drayi_agent_backend *backend = backend_of(peer);
    regions_replace(peer, state);
    if (peer->remote && peer->remote != state->remote)
        backend->ops->remote->disconnect(backend->self, peer->remote);
    peer->remote = state->remote;
    peer->regions = state->regions;
    peer->region_room = metadata->region_count;
    peer->region_count = state->region_count;
    peer->epoch = metadata->epoch;
}

static dray_status peer_update(dray_peer *peer, const drayi_metadata *metadata, uint32_t section,
                               dray_error *error)
{
    bool same = peer->remote && peer->epoch == metadata->epoch && !dray_peer_broken(peer);
    peer_state state = {0};
    dray_status status = state_build(peer, same ? peer : NULL, &state, metadata, section, error);
    if (status == DRAY_OK)
        state_adopt(peer, &state, metadata);
    else
        state_drop(peer, &state, metadata->region_count);
    drayi_free(peer->agent->env, state.kept, metadata->region_count * sizeof(bool));
    return status;
}

static dray_status import_checked(dray_agent *agent, const drayi_metadata *metadata,
                                  dray_peer **out_peer, dray_error *error)
{
    uint32_t section, backend;
    DRAY_TRY(way_find(agent, metadata, &section, &backend, error));
    char name[DRAY_AGENT_NAME_MAX + 1] = "";
    memcpy(name, metadata->agent.bytes, metadata->agent.length);
    dray_peer *peer = peer_find(agent, name), *fresh = NULL;
    if (!peer) {
        peer = fresh = drayi_new(agent->env, dray_peer, error);
        if (!fresh)
            return DRAY_E_NOMEM;
        fresh->agent = agent;
        memcpy(fresh->name, name, sizeof(name));
        fresh->backend = backend;
    }
    dray_status status = peer_update(peer, metadata, section, error);
    if (status != DRAY_OK) {
        drayi_free(agent->env, fresh, sizeof(*fresh));
        return status;
    }
    if (fresh) {
        fresh->next = agent->peers;
        agent->peers = fresh;
    }
    *out_peer = peer;
    return DRAY_OK;
}

dray_status dray_agent_import(dray_agent *agent, const void *metadata, uint64_t bytes,
                              dray_peer **out_peer, dray_error *error)
{
    drayi_arena arena = {.env = agent->env};
    drayi_metadata read;
    dray_status status = drayi_metadata_read(metadata, bytes, &arena, &read, error);
    if (status != DRAY_OK)
        dray_fail_within(error, status, "agent %s: import metadata", agent->name);
    else if ((status = import_checked(agent, &read, out_peer, error)) != DRAY_OK)
        dray_fail_within(error, status, "agent %s: import peer %s", agent->name,
                         drayi_quote(read.agent).text);
    drayi_arena_free(&arena);
    return status;
}

// --- what is known -------------------------------------------------------------------------------------------------

static void peer_end(dray_peer *peer)
{
    const drayi_agent_backend *backend = backend_of(peer);
    for (uint64_t i = 0; i < peer->region_count; i++)
        region_end(peer, &peer->regions[i]);
    backend->ops->remote->disconnect(backend->self, peer->remote);
    drayi_free(peer->agent->env, peer->regions, peer->region_room * sizeof(*peer->regions));
    drayi_free(peer->agent->env, peer, sizeof(*peer));
}

dray_status dray_agent_forget(dray_agent *agent, dray_peer *peer, dray_error *error)
{
    if (peer->users)
        return dray_fail(error, DRAY_E_BUSY,
                         "agent %s: forget peer %s: %" PRIu64 " transfers will notify it",
                         agent->name, peer->name, peer->users);
    for (dray_peer **at = &agent->peers; *at; at = &(*at)->next) {
        if (*at == peer) {
            *at = peer->next;
            peer_end(peer);
            return DRAY_OK;
        }
    }
    return dray_fail(error, DRAY_E_INVALID, "agent %s: forget: it is no peer of this agent",
                     agent->name);
}

void drayi_agent_forget_all(dray_agent *agent)
{
    while (agent->peers) {
        dray_peer *peer = agent->peers;
        agent->peers = peer->next;
        peer_end(peer);
    }
}

const char *dray_peer_name(const dray_peer *peer)
{
    return peer->name;
}

uint64_t dray_peer_epoch(const dray_peer *peer)
{
    return peer->epoch;
}

const char *dray_peer_broken(const dray_peer *peer)
{
    const drayi_agent_backend *backend = backend_of(peer);
    return backend->ops->remote->broken(backend->self, peer->remote);
}

uint64_t dray_peer_region_count(const dray_peer *peer)
{
    return peer->region_count;
}

/// What the peer calls it: behind "peer/".
static const char *name_at_peer(const dray_peer *peer, const peer_region *region)
{
    return region->named ? dray_region_name(region->region) + strlen(peer->name) + 1 : "";
}

void dray_peer_describe(const dray_peer *peer, uint64_t index, dray_descriptor *out_descriptor,
                        const char **out_name)
{
    *out_descriptor = peer->regions[index].descriptor;
    if (out_name)
        *out_name = name_at_peer(peer, &peer->regions[index]);
}

dray_status dray_peer_open(dray_peer *peer, const char *name, dray_region **out_region,
                           dray_error *error)
{
    for (uint64_t i = 0; i < peer->region_count; i++) {
        const peer_region *each = &peer->regions[i];
        if (each->named && strcmp(name_at_peer(peer, each), name) == 0) {
            *out_region = dray_region_retain(each->region);
            return DRAY_OK;
        }
    }
    return dray_fail(error, DRAY_E_NOTFOUND,
                     "peer %s: it has no region of the name %s; %" PRIu64 " are known", peer->name,
                     drayi_quote((dray_text){name, strlen(name)}).text, peer->region_count);
}

dray_status dray_peer_open_handle(dray_peer *peer, uint64_t handle, dray_region **out_region,
                                  dray_error *error)
{
    const peer_region *region = region_find(peer, handle);
    if (!region)
        return dray_fail(error, DRAY_E_NOTFOUND,
                         "peer %s: it has no region with handle %" PRIu64 "; %" PRIu64 " are known",
                         peer->name, handle, peer->region_count);
    *out_region = dray_region_retain(region->region);
    return DRAY_OK;
}

// --- for transfers -------------------------------------------------------------------------------------------------

dray_status drayi_peer_use(dray_agent *agent, dray_peer *peer, uint32_t *out_backend,
                           dray_error *error)
{
    if (peer->agent != agent)
        return dray_fail(error, DRAY_E_INVALID, "peer %s is known to agent %s, not to %s",
                         peer->name, peer->agent->name, agent->name);
    peer->users++;
    *out_backend = peer->backend;
    return DRAY_OK;
}

void drayi_peer_unuse(dray_peer *peer)
{
    peer->users--;
}

dray_remote *drayi_peer_remote(const dray_peer *peer)
{
    return peer->remote;
}

void drayi_peer_guard(dray_peer *peer, int fd)
{
    const drayi_agent_backend *backend = backend_of(peer);
    if (backend->ops->remote->guard)
        backend->ops->remote->guard(backend->self, peer->remote, fd);
    else
        drayi_close_file(peer->agent->env->os, fd);
}

dray_status dray_agent_serve(dray_agent *agent, dray_error *error)
{
    for (uint64_t i = 0; i < agent->backend_count; i++) {
        const drayi_agent_backend *backend = &agent->backends[i];
        if (!backend->ops->remote)
            continue;
        dray_status status = backend->ops->remote->serve(backend->self, error);
        return status == DRAY_OK ? DRAY_OK
                                 : dray_fail_within(error, status, "agent %s: serve", agent->name);
    }
    return dray_fail(error, DRAY_E_UNSUPPORTED,
                     "agent %s: serve: none of its backends reaches other agents", agent->name);
}
