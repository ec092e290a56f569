/// A plan in words: what will run, over which edges, in which order. For people and for --explain.
#include "dray/spi/device.h"
#include "transfer/plan.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct plan_printer {
    void (*write)(void *self, const char *text, size_t bytes);
    void *self;
    char line[512];
    size_t used;
} plan_printer;

/// Adds to the line; what does not fit is cut, the line still ends.
static void DRAY_PRINTF(2, 3) put(plan_printer *printer, const char *format, ...)
{
    size_t room = sizeof(printer->line) - 1 - printer->used; // one byte stays for '\n'
    va_list args;
    va_start(args, format);
    int wrote = vsnprintf(printer->line + printer->used, room, format, args);
    va_end(args);
    if (wrote > 0)
        printer->used += (size_t)wrote < room ? (size_t)wrote : room - 1;
}

static void end_line(plan_printer *printer)
{
    printer->line[printer->used++] = '\n';
    printer->write(printer->self, printer->line, printer->used);
    printer->used = 0;
}

static const char *plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}

static void put_count(plan_printer *printer, uint64_t count, const char *what)
{
    put(printer, "%" PRIu64 " %s%s", count, what, plural(count));
}

static void put_edge(plan_printer *printer, const drayi_plan_edge *edge)
{
    put(printer, "%s -> %s by %s%s", dray_storage_name(edge->edge.from),
        dray_storage_name(edge->edge.to), edge->backend_name,
        edge->edge.flags & DRAY_EDGE_DIRECT ? ", past the page cache" : "");
}

static void print_summary(plan_printer *printer, const dray_plan *plan)
{
    put(printer, "plan: ");
    put_count(printer, plan->bytes, "byte");
    put(printer, " in %" PRIu64 " cop%s: ", plan->copy_count, plan->copy_count == 1 ? "y" : "ies");
    put_count(printer, plan->step_count, "step");
    put(printer, " of ");
    put_count(printer, plan->segment_count, "segment");
    put(printer, " on ");
    put_count(printer, plan->lanes, "lane");
    end_line(printer);
}

static void print_edges(plan_printer *printer, const dray_plan *plan)
{
    for (uint32_t i = 0; i < plan->edge_count; i++) {
        const drayi_plan_edge *edge = &plan->edges[i];
        if (edge->steps == 0)
            continue;
        put(printer, "route: ");
        put_edge(printer, edge);
        put(printer, ": ");
        put_count(printer, edge->bytes, "byte");
        put(printer, " in ");
        put_count(printer, edge->steps, "step");
        put(printer, ", ");
        put_count(printer, edge->segments, "segment");
        put(printer, edge->must_poll ? " (must be polled)" : "");
        end_line(printer);
    }
    if (plan->slot_bytes && plan->lanes) {
        put(printer, "staging: ");
        put_count(printer, plan->lanes, "slot");
        put(printer, " of %" PRIu64 " bytes of ", plan->slot_bytes);
        if (plan->staging_device)
            put(printer, "memory locked for %s", dray_device_name(plan->staging_device));
        else
            put(printer, "system memory");
        put(printer, ", one for each lane");
        end_line(printer);
    }
}

static void print_refusals(plan_printer *printer, const dray_plan *plan)
{
    for (const drayi_refusal *each = plan->refusals; each; each = each->next) {
        put(printer, "passed over: %s: %s", each->backend_name, each->why);
        end_line(printer);
    }
}

static void put_side(plan_printer *printer, const dray_region *region, uint64_t offset)
{
    enum { shown = 120 }; // of a long path, the end tells more
    const char *name = region ? region->native.name : "staging";
    size_t length = strlen(name);
    put(printer, "%s%s+%" PRIu64, length > shown ? "..." : "",
        length > shown ? name + length - shown : name, offset);
}

static void print_segment(plan_printer *printer, const dray_segment *segment)
{
    put(printer, "  copy %u: ", segment->copy_index);
    put_side(printer, segment->source, segment->source_offset);
    put(printer, " -> ");
    put_side(printer, segment->target, segment->target_offset);
    put(printer, ": ");
    put_count(printer, segment->run_bytes, "byte");
    for (uint32_t i = 0; i < segment->loop_count; i++)
        put(printer, ", %" PRIu64 " times (+%" PRIu64 " -> +%" PRIu64 ")", segment->loops[i].count,
            segment->loops[i].source_stride, segment->loops[i].target_stride);
    end_line(printer);
}

static void print_steps(plan_printer *printer, const dray_plan *plan)
{
    for (uint64_t unit = 0; unit < plan->unit_count; unit++) {
        for (uint64_t i = plan->units[unit]; i < drayi_plan_unit_end(plan, unit); i++) {
            const drayi_step *step = &plan->steps[i];
            put(printer, "lane %" PRIu64 ", step %" PRIu64 ": ", unit % plan->lanes, i);
            put_edge(printer, &plan->edges[step->edge]);
            put(printer, ": ");
            put_count(printer, step->bytes, "byte");
            end_line(printer);
            for (uint32_t k = 0; k < step->segment_count; k++)
                print_segment(printer, &plan->segments[step->first_segment + k]);
        }
    }
}

void dray_plan_print(const dray_plan *plan, uint32_t detail,
                     void (*write)(void *self, const char *text, size_t bytes), void *self)
{
    plan_printer printer = {.write = write, .self = self};
    print_summary(&printer, plan);
    print_edges(&printer, plan);
    print_refusals(&printer, plan);
    if (detail > 0)
        print_steps(&printer, plan);
}
