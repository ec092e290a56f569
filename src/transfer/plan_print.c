/// A plan in words: what will run, over which edges, in which order. For people and for --explain.
#include "base/lines.h"
#include "dray/spi/device.h"
#include "transfer/plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}

static void put_count(drayi_lines *printer, uint64_t count, const char *what)
{
    drayi_lines_add(printer, "%" PRIu64 " %s%s", count, what, plural(count));
}

static void put_edge(drayi_lines *printer, const drayi_plan_edge *edge)
{
    drayi_lines_add(printer, "%s -> %s by %s%s", dray_storage_name(edge->edge.from),
                    dray_storage_name(edge->edge.to), edge->backend_name,
                    edge->edge.flags & DRAY_EDGE_DIRECT ? ", past the page cache" : "");
}

static void print_summary(drayi_lines *printer, const dray_plan *plan)
{
    drayi_lines_add(printer, "plan: ");
    put_count(printer, plan->bytes, "byte");
    drayi_lines_add(printer, " in %" PRIu64 " cop%s: ", plan->copy_count,
                    plan->copy_count == 1 ? "y" : "ies");
    put_count(printer, plan->step_count, "step");
    drayi_lines_add(printer, " of ");
    put_count(printer, plan->segment_count, "segment");
    drayi_lines_add(printer, " on ");
    put_count(printer, plan->lanes, "lane");
    drayi_lines_end(printer);
}

static void print_edges(drayi_lines *printer, const dray_plan *plan)
{
    for (uint32_t i = 0; i < plan->edge_count; i++) {
        const drayi_plan_edge *edge = &plan->edges[i];
        if (edge->steps == 0)
            continue;
        drayi_lines_add(printer, "route: ");
        put_edge(printer, edge);
        drayi_lines_add(printer, ": ");
        put_count(printer, edge->bytes, "byte");
        drayi_lines_add(printer, " in ");
        put_count(printer, edge->steps, "step");
        drayi_lines_add(printer, ", ");
        put_count(printer, edge->segments, "segment");
        drayi_lines_add(printer, edge->must_poll ? " (must be polled)" : "");
        drayi_lines_end(printer);
    }
    if (plan->slot_bytes && plan->lanes) {
        drayi_lines_add(printer, "staging: ");
        put_count(printer, plan->lanes, "slot");
        drayi_lines_add(printer, " of %" PRIu64 " bytes of ", plan->slot_bytes);
        if (plan->staging_device)
            drayi_lines_add(printer, "memory locked for %s", dray_device_name(plan->staging_device));
        else
            drayi_lines_add(printer, "system memory");
        drayi_lines_add(printer, ", one for each lane");
        drayi_lines_end(printer);
    }
}

static void print_refusals(drayi_lines *printer, const dray_plan *plan)
{
    for (const drayi_refusal *each = plan->refusals; each; each = each->next) {
        drayi_lines_add(printer, "passed over: %s: %s", each->backend_name, each->why);
        drayi_lines_end(printer);
    }
}

static void put_side(drayi_lines *printer, const dray_region *region, uint64_t offset)
{
    enum { shown = 120 }; // of a long path, the end tells more
    const char *name = region ? region->native.name : "staging";
    size_t length = strlen(name);
    drayi_lines_add(printer, "%s%s+%" PRIu64, length > shown ? "..." : "",
                    length > shown ? name + length - shown : name, offset);
}

static void print_segment(drayi_lines *printer, const dray_segment *segment)
{
    drayi_lines_add(printer, "  copy %u: ", segment->copy_index);
    put_side(printer, segment->source, segment->source_offset);
    drayi_lines_add(printer, " -> ");
    put_side(printer, segment->target, segment->target_offset);
    drayi_lines_add(printer, ": ");
    put_count(printer, segment->run_bytes, "byte");
    for (uint32_t i = 0; i < segment->loop_count; i++)
        drayi_lines_add(printer, ", %" PRIu64 " times (+%" PRIu64 " -> +%" PRIu64 ")",
                        segment->loops[i].count, segment->loops[i].source_stride,
                        segment->loops[i].target_stride);
    drayi_lines_end(printer);
}

static void print_steps(drayi_lines *printer, const dray_plan *plan)
{
    for (uint64_t unit = 0; unit < plan->unit_count; unit++) {
        for (uint64_t i = plan->units[unit]; i < drayi_plan_unit_end(plan, unit); i++) {
            const drayi_step *step = &plan->steps[i];
            drayi_lines_add(printer, "lane %" PRIu64 ", step %" PRIu64 ": ", unit % plan->lanes, i);
            put_edge(printer, &plan->edges[step->edge]);
            drayi_lines_add(printer, ": ");
            put_count(printer, step->bytes, "byte");
            drayi_lines_end(printer);
            for (uint32_t k = 0; k < step->segment_count; k++)
                print_segment(printer, &plan->segments[step->first_segment + k]);
        }
    }
}

void dray_plan_print(const dray_plan *plan, uint32_t detail,
                     void (*write)(void *self, const char *text, size_t bytes), void *self)
{
    drayi_lines printer = {.write = write, .self = self};
    print_summary(&printer, plan);
    print_edges(&printer, plan);
    print_refusals(&printer, plan);
    if (detail > 0)
        print_steps(&printer, plan);
}
