/// A lowering in words and as JSON: the calls exactly as they are made, and why others are not.
#include "base/lines.h"
#include "hints/lower.h"

#include <inttypes.h>
#include <stdio.h>

int64_t dray_hint_call_location_id(const dray_hint_call *call)
{
    bool by_number =
        call->function == DRAY_HINT_CU_ADVISE || call->function == DRAY_HINT_CU_PREFETCH;
    return by_number && call->location.place == DRAY_HINT_HOST ? -1 : (int64_t)call->location.index;
}

static void put_entries(drayi_lines *out, uint64_t first, uint64_t count)
{
    if (count == 1)
        drayi_lines_add(out, "hint %" PRIu64, first);
    else
        drayi_lines_add(out, "hints %" PRIu64 " to %" PRIu64, first, first + count - 1);
}

static void print_call(drayi_lines *out, const dray_hint_lowering *lowering,
                       const dray_hint_call *call)
{
    char place[DRAY_HINT_TEXT_BYTES];
    const dray_hint_call_range *first = &lowering->ranges[call->first_range],
                               *last = first + call->range_count - 1;
    const char *advice = dray_hint_advice_name(call->function, call->advice);
    drayi_lines_add(out, "%s", dray_hint_function_name(call->function));
    if (advice)
        drayi_lines_add(out, " %s", advice);
    if (call->location.place != DRAY_HINT_NOWHERE && call->range_count == 1)
        drayi_lines_add(out, " %s", dray_hint_location_print(call->location, place));
    drayi_lines_add(out, ": %" PRIu64 " bytes", call->bytes);
    if (call->range_count > 1)
        drayi_lines_add(out, " in %" PRIu64 " ranges", call->range_count);
    if (call->step_bytes)
        drayi_lines_add(out, " in steps of %" PRIu64, call->step_bytes);
    drayi_lines_add(out, " (");
    put_entries(out, first->entry, last->entry + last->entry_count - first->entry);
    drayi_lines_add(out, ")");
    drayi_lines_end(out);
}

void dray_hint_lowering_print(const dray_hint_lowering *lowering, dray_hint_write_fn write,
                              void *self)
{
    drayi_lines out = {.write = write, .self = self};
    for (uint64_t i = 0; i < lowering->call_count; i++)
        print_call(&out, lowering, &lowering->calls[i]);
    for (uint64_t i = 0; i < lowering->remark_count; i++) {
        const dray_hint_remark *remark = &lowering->remarks[i];
        drayi_lines_add(&out, "%s (",
                        remark->is_skip        ? "skipped"
                        : remark->is_no_effect ? "no effect"
                                               : "degraded");
        put_entries(&out, remark->entry, remark->entry_count);
        drayi_lines_add(&out, "): %s", remark->text);
        drayi_lines_end(&out);
    }
    if (lowering->call_count == 0 && lowering->remark_count == 0) {
        drayi_lines_add(&out, "nothing to do");
        drayi_lines_end(&out);
    }
}

// --- JSON --------------------------------------------------------------------------------------------

/// Our own words hold no byte that JSON minds, and a driver's might.
static void put_quoted(drayi_lines *out, const char *text)
{
    drayi_lines_add(out, "\"");
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte == '"' || byte == '\\')
            drayi_lines_add(out, "\\%c", byte);
        else if (byte < 0x20 || byte > 0x7E)
            drayi_lines_add(out, "?");
        else
            drayi_lines_add(out, "%c", byte);
    }
    drayi_lines_add(out, "\"");
}

static void json_call(drayi_lines *out, const dray_hint_call *call, bool is_last)
{
    const char *advice = dray_hint_advice_name(call->function, call->advice);
    drayi_lines_add(out, "  {\"function\": \"%s\", \"bytes\": %" PRIu64 ", \"advice\": ",
                    dray_hint_function_name(call->function), call->bytes);
    if (advice)
        drayi_lines_add(out, "\"%s\"", advice);
    else
        drayi_lines_add(out, "null");
    drayi_lines_add(out, ", \"location\": {\"type\": \"%s\", \"id\": %" PRId64 "}",
                    dray_hint_place_name(call->location.place), dray_hint_call_location_id(call));
    if (call->range_count > 1)
        drayi_lines_add(out, ", \"ranges\": %" PRIu64, call->range_count);
    if (call->step_bytes)
        drayi_lines_add(out, ", \"step_bytes\": %" PRIu64, call->step_bytes);
    drayi_lines_add(out, is_last ? "}" : "},");
    drayi_lines_end(out);
}

static void json_remark(drayi_lines *out, const dray_hint_remark *remark, bool is_last)
{
    drayi_lines_add(
        out, "  {\"outcome\": \"%s\", \"hint\": %" PRIu64 ", \"count\": %" PRIu64 ", \"why\": ",
        dray_hint_outcome_name(remark->is_skip        ? DRAY_HINT_SKIPPED
                               : remark->is_no_effect ? DRAY_HINT_NO_EFFECT
                                                      : DRAY_HINT_DEGRADED),
        remark->entry, remark->entry_count);
    put_quoted(out, remark->text);
    drayi_lines_add(out, is_last ? "}" : "},");
    drayi_lines_end(out);
}

void dray_hint_lowering_print_json(const dray_hint_lowering *lowering, dray_hint_write_fn write,
                                   void *self)
{
    drayi_lines out = {.write = write, .self = self};
    drayi_lines_add(&out, "{\"calls\": [");
    drayi_lines_end(&out);
    for (uint64_t i = 0; i < lowering->call_count; i++)
        json_call(&out, &lowering->calls[i], i + 1 == lowering->call_count);
    drayi_lines_add(&out, "], \"remarks\": [");
    drayi_lines_end(&out);
    for (uint64_t i = 0; i < lowering->remark_count; i++)
        json_remark(&out, &lowering->remarks[i], i + 1 == lowering->remark_count);
    drayi_lines_add(&out, "]}");
    drayi_lines_end(&out);
}
