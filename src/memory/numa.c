/// See numa.h. Preferred and then checked, not bound: a bound range on a full node wakes the OOM killer, and a
/// preferred one overflows to other nodes, which the check reports.
#include "memory/numa.h"

#include "base/checked.h"
#include "os/os.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum {
    preferred = 1, // MPOL_PREFERRED
    node_bits = 1024,
    pages_at_once = 512,
};
static const uint64_t pages_most = 65536;

static bool only_one(const drayi_os *os)
{
    return os->node_count() <= 1;
}

static dray_status refused(int code, const char *call, int32_t node, dray_error *error)
{
    dray_status status = dray_fail(error, DRAY_E_UNSUPPORTED,
                                   "memory on NUMA node %d: the kernel does not let this process "
                                   "choose or see nodes: %s: %s",
                                   node, call, strerror(-code));
    if (error) {
        error->native_code = -code;
        error->origin = call;
    }
    return status;
}

dray_status drayi_numa_ask(drayi_env *env, void *at, uint64_t bytes, int32_t node, dray_error *error)
{
    const drayi_os *os = env->os;
    uint64_t nodes[node_bits / 64] = {0};
    unsigned count = os->node_count();
    if (node < 0 || (unsigned)node >= count || node >= node_bits)
        return dray_fail(error, DRAY_E_INVALID,
                         "memory on NUMA node %d: this machine has nodes 0 to %u", node,
                         count ? count - 1 : 0);
    if (only_one(os))
        return DRAY_OK;
    nodes[node / 64] = UINT64_C(1) << (node % 64);
    int code = os->node_bind(at, (size_t)bytes, preferred, nodes, node_bits, 0);
    return code < 0 ? refused(code, "mbind", node, error) : DRAY_OK;
}

/// What a look at some pages found.
typedef struct page_tally {
    uint64_t there, elsewhere; // pages that are not there at all count as neither
    int other;                 // one of the nodes that were not meant
} page_tally;

static int look(const drayi_os *os, void *const *pages, uint64_t count, int32_t node,
                page_tally *tally)
{
    int status[pages_at_once];
    int code = os->page_nodes(pages, count, NULL, status);
    for (uint64_t i = 0; code >= 0 && i < count; i++) {
        if (status[i] == node) {
            tally->there++;
        } else if (status[i] >= 0) {
            tally->elsewhere++;
            tally->other = status[i];
        }
    }
    return code;
}

dray_status drayi_numa_check(drayi_env *env, void *at, uint64_t bytes, int32_t node,
                             dray_error *error)
{
    const drayi_os *os = env->os;
    uint64_t page = os->page_bytes(), pages = bytes / page;
    uint64_t stride = pages > pages_most ? pages / pages_most : 1;
    void *batch[pages_at_once];
    page_tally tally = {.there = 0};
    if (only_one(os))
        return DRAY_OK;
    for (uint64_t next = 0; next < pages;) {
        uint64_t count = 0;
        for (; count < pages_at_once && next < pages; next += stride)
            batch[count++] = (char *)at + next * page;
        int code = look(os, batch, count, node, &tally);
        if (code < 0)
            return refused(code, "move_pages", node, error);
    }
    if (tally.elsewhere == 0)
        return DRAY_OK;
    return dray_fail(
        error, DRAY_E_NOMEM,
        "memory on NUMA node %d: %" PRIu64 " of %" PRIu64
        " pages that were looked at lie elsewhere (node %d): it has no room for %" PRIu64 " bytes",
        node, tally.elsewhere, tally.there + tally.elsewhere, tally.other, bytes);
}
