/// In words, for reports: which backends carry a plan out, and how they work on this machine.
#include "transfer/agent.h"
#include "transfer/plan.h"

#include <stdio.h>

static bool plan_uses(const dray_plan *plan, uint32_t backend)
{
    for (uint32_t i = 0; i < plan->edge_count; i++) {
        if (plan->edges[i].backend == backend && plan->edges[i].steps > 0)
            return true;
    }
    return false;
}

void dray_plan_describe(const dray_agent *agent, const dray_plan *plan, char *out, size_t capacity)
{
    size_t used = 0;
    snprintf(out, capacity, "nothing");
    for (uint32_t i = 0; i < agent->backend_count; i++) {
        const drayi_agent_backend *backend = &agent->backends[i];
        char how[128] = "";
        if (!plan_uses(plan, i))
            continue;
        if (backend->ops->describe)
            backend->ops->describe(backend->self, how, sizeof(how));
        int length = snprintf(out + used, capacity - used, "%s%s%s%s%s", used ? " + " : "",
                              backend->ops->name, how[0] ? " (" : "", how, how[0] ? ")" : "");
        used += length > 0 ? (size_t)length : 0;
        if (used >= capacity)
            return; // cut, and terminated
    }
}
