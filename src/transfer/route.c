/// Which edges carry a copy: the cheapest from its source's kind to its target's, or, where there is
/// none, two hops through staging: ordinary memory, or memory that a device's driver has locked.
#include "base/checked.h"
#include "transfer/planner.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    staged_step_default = 4 << 20, // a unit in staging, when no edge has a preference
    staged_step_least = 256 << 10, // below this, fewer lanes are better than smaller steps
    staged_lanes_default = 4,
};
#define STAGING_DEFAULT (UINT64_C(32) << 20)

static bool on_device(const dray_region_native *native)
{
    return native->storage == DRAY_STORAGE_DEVICE || native->storage == DRAY_STORAGE_MANAGED;
}

/// A driver moves bytes of its own devices only, and some of them only on one device at a time.
static bool serves_devices(const dray_edge *edge, const dray_region_native *from,
                           const dray_region_native *to)
{
    if (!edge->family)
        return true;
    if ((on_device(from) && from->family != edge->family) ||
        (on_device(to) && to->family != edge->family))
        return false;
    bool both = on_device(from) && on_device(to);
    return !both || !(edge->flags & DRAY_EDGE_ONE_DEVICE) || from->device == to->device;
}

/// `refused`: bit per backend that does not take one of the ends.
static drayi_hop hop_find(const dray_plan *plan, const dray_region_native *from,
                          const dray_region_native *to, uint64_t refused)
{
    drayi_hop hop = {DRAYI_NO_EDGE, DRAYI_NO_EDGE};
    for (uint32_t i = 0; i < plan->edge_count; i++) {
        const dray_edge *edge = &plan->edges[i].edge;
        if (edge->from != from->storage || edge->to != to->storage ||
            !serves_devices(edge, from, to) || refused >> plan->edges[i].backend & 1)
            continue;
        uint32_t *best = edge->flags & DRAY_EDGE_DIRECT ? &hop.direct : &hop.plain;
        if (*best == DRAYI_NO_EDGE || edge->cost < plan->edges[*best].edge.cost)
            *best = i;
    }
    return hop;
}

static bool hop_exists(const drayi_hop *hop)
{
    return hop->plain != DRAYI_NO_EDGE || hop->direct != DRAYI_NO_EDGE;
}

static bool is_host(const dray_region_native *native)
{
    return native->storage == DRAY_STORAGE_SYSTEM || native->storage == DRAY_STORAGE_PINNED;
}

static void route_find(const dray_plan *plan, const dray_region_native *from,
                       const dray_region_native *to, const uint64_t refused[2], drayi_route *route)
{
    const dray_region_native staging = {.storage = plan->staging_device ? DRAY_STORAGE_PINNED
                                                                        : DRAY_STORAGE_SYSTEM};
    route->known = true;
    route->hops[0] = hop_find(plan, from, to, refused[0] | refused[1]);
    route->hop_count = hop_exists(&route->hops[0]) ? 1 : 0;
    if (route->hop_count && is_host(from) != is_host(to)) {
        route->gather[0] = hop_find(plan, from, &staging, refused[0]);
        route->gather[1] = hop_find(plan, &staging, to, refused[1]);
        route->gathers = hop_exists(&route->gather[0]) && hop_exists(&route->gather[1]);
    }
    if (route->hop_count || from->storage == DRAY_STORAGE_SYSTEM ||
        to->storage == DRAY_STORAGE_SYSTEM)
        return;
    route->hops[0] = hop_find(plan, from, &staging, refused[0]);
    route->hops[1] = hop_find(plan, &staging, to, refused[1]);
    route->hop_count = hop_exists(&route->hops[0]) && hop_exists(&route->hops[1]) ? 2 : 0;
}

static bool serves_kind(const dray_plan *plan, uint32_t backend, dray_storage storage)
{
    for (uint32_t i = 0; i < plan->edge_count; i++) {
        const dray_edge *edge = &plan->edges[i].edge;
        if (plan->edges[i].backend == backend && (edge->from == storage || edge->to == storage))
            return true;
    }
    return false;
}

static dray_status refusal_add(drayi_planner *planner, uint32_t backend, uint32_t region,
                               const dray_error *why, dray_error *error)
{
    drayi_refusal *refusal = drayi_new(planner->env, drayi_refusal, error);
    if (!refusal)
        return DRAY_E_NOMEM;
    refusal->backend_name = planner->agent->backends[backend].ops->name;
    snprintf(refusal->why, sizeof(refusal->why), "%s", why->message);
    drayi_refusal **at = &planner->plan->refusals;
    while (*at)
        at = &(*at)->next;
    *at = refusal;
    planner->plan->regions[region].refused_by |= UINT64_C(1) << backend;
    return DRAY_OK;
}

/// Which backends do not take this region? Only those are asked who may say no, once per plan.
static dray_status region_ask(drayi_planner *planner, uint32_t index, dray_error *error)
{
    drayi_plan_region *region = &planner->plan->regions[index];
    if (region->asked)
        return DRAY_OK;
    region->asked = true;
    for (uint32_t i = 0; i < planner->agent->backend_count; i++) {
        const drayi_agent_backend *backend = &planner->agent->backends[i];
        dray_error why = {0};
        if (backend->ops->accepts && serves_kind(planner->plan, i, region->native->storage) &&
            backend->ops->accepts(backend->self, region->region, &why) != DRAY_OK)
            DRAY_TRY(refusal_add(planner, i, index, &why, error));
    }
    return DRAY_OK;
}

/// Routes between kinds are kept in a table; those of devices, and those that some backend refuses to
/// serve, in a list.
static dray_status route_of(drayi_planner *planner, const dray_region_native *from,
                            const dray_region_native *to, const uint64_t refused[2],
                            drayi_route **out_route, dray_error *error)
{
    if (!on_device(from) && !on_device(to) && !refused[0] && !refused[1]) {
        *out_route = &planner->routes[from->storage][to->storage];
        return DRAY_OK;
    }
    const struct dray_device *source = on_device(from) ? from->device : NULL,
                             *target = on_device(to) ? to->device : NULL;
    drayi_device_route *route = planner->device_routes;
    while (route && (route->from != from->storage || route->to != to->storage ||
                     route->source != source || route->target != target ||
                     route->refused[0] != refused[0] || route->refused[1] != refused[1]))
        route = route->next;
    if (!route) {
        route = drayi_new(planner->env, drayi_device_route, error);
        if (!route)
            return DRAY_E_NOMEM;
        *route = (drayi_device_route){.from = from->storage,
                                      .to = to->storage,
                                      .source = source,
                                      .target = target,
                                      .refused = {refused[0], refused[1]},
                                      .next = planner->device_routes};
        planner->device_routes = route;
    }
    *out_route = &route->route;
    return DRAY_OK;
}

/// "system", or "device memory of cuda:0".
static const char *kind_text(const dray_region_native *native, char *out, size_t room)
{
    if (!on_device(native) || !native->device)
        return dray_storage_name(native->storage);
    snprintf(out, room, "%s memory of %s", dray_storage_name(native->storage), native->name);
    return out;
}

dray_status drayi_planner_route(drayi_planner *planner, const drayi_move *move,
                                const drayi_route **out_route, dray_error *error)
{
    const dray_plan *plan = planner->plan;
    const dray_region_native *from = plan->regions[move->source].native,
                             *to = plan->regions[move->target].native;
    DRAY_TRY(region_ask(planner, move->source, error));
    DRAY_TRY(region_ask(planner, move->target, error));
    const uint64_t refused[2] = {plan->regions[move->source].refused_by,
                                 plan->regions[move->target].refused_by};
    drayi_route *route;
    DRAY_TRY(route_of(planner, from, to, refused, &route, error));
    if (!route->known)
        route_find(plan, from, to, refused, route);
    if (route->hop_count == 0) {
        char texts[2][96];
        dray_status status = dray_fail(
            error, DRAY_E_UNSUPPORTED,
            "copy %u: no backend of the agent moves bytes from %s to %s, in one hop or two",
            move->copy_index, kind_text(from, texts[0], sizeof(texts[0])),
            kind_text(to, texts[1], sizeof(texts[1])));
        if (error)
            error->index = move->copy_index;
        return status;
    }
    if (route->hop_count == 2 && planner->staged_lanes == 0)
        DRAY_TRY(drayi_planner_size_staging(planner, route, error));
    *out_route = route;
    return DRAY_OK;
}

uint64_t drayi_planner_step_bytes(const drayi_planner *planner, const dray_edge *edge)
{
    uint64_t wanted = planner->options.step_bytes ? planner->options.step_bytes : edge->best_bytes;
    if (wanted == 0)
        wanted = UINT64_MAX;
    return edge->max_bytes ? drayi_min(wanted, edge->max_bytes) : wanted;
}

/// What the edges of a route like: the smallest step, the most lanes.
static void route_wishes(const drayi_planner *planner, const drayi_route *route, uint64_t *step,
                         uint32_t *lanes)
{
    for (uint32_t i = 0; i < route->hop_count; i++) {
        const uint32_t both[2] = {route->hops[i].plain, route->hops[i].direct};
        for (uint32_t k = 0; k < 2; k++) {
            if (both[k] == DRAYI_NO_EDGE)
                continue;
            const dray_edge *edge = &planner->plan->edges[both[k]].edge;
            *step = drayi_min(*step, drayi_planner_step_bytes(planner, edge));
            *lanes = edge->best_depth > *lanes ? edge->best_depth : *lanes;
        }
    }
}

dray_status drayi_planner_size_staging(drayi_planner *planner, const drayi_route *route,
                                       dray_error *error)
{
    uint64_t budget =
        planner->options.staging_bytes ? planner->options.staging_bytes : STAGING_DEFAULT;
    uint64_t alignment = planner->page_bytes, step = UINT64_MAX;
    for (uint64_t i = 0; i < planner->plan->region_count; i++) {
        const dray_region_native *native = planner->plan->regions[i].native;
        if (native->storage == DRAY_STORAGE_DISK && native->direct_fd >= 0)
            alignment = drayi_max(
                alignment, drayi_max(native->direct_memory_align, native->direct_offset_align));
    }
    uint32_t lanes = 0;
    route_wishes(planner, route, &step, &lanes);
    if (planner->options.lanes)
        lanes = planner->options.lanes;
    else if (lanes == 0)
        lanes = staged_lanes_default;
    if (step == UINT64_MAX)
        step = staged_step_default;
    uint64_t least = 2 * alignment; // one aligned block at any phase
    step = drayi_max(drayi_round_down(step, alignment), least);
    if (budget / lanes < step) { // smaller slots first, then fewer
        uint64_t small = drayi_max(drayi_min(step, staged_step_least), least);
        if (budget / lanes < small)
            lanes = budget / small ? (uint32_t)(budget / small) : 1;
        step = drayi_min(step, drayi_round_down(budget / lanes, alignment));
    }
    if (step < least)
        return dray_fail(error, DRAY_E_NOSPACE,
                         "staging of %" PRIu64 " bytes is too small: one slot of %" PRIu64
                         " bytes is the least",
                         budget, least);
    planner->staged =
        drayi_alloc_array(planner->env, DRAYI_STAGED_RUNS_MAX, sizeof(*planner->staged), error);
    if (!planner->staged)
        return DRAY_E_NOMEM;
    planner->staged_max = step;
    planner->staged_alignment = alignment;
    planner->staged_lanes = lanes;
    return DRAY_OK;
}
