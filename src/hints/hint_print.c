/// A lowering in words and as JSON: the calls exactly as they are made, and why others are not.
#include "hints/lower.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

typedef struct printer {
    dray_hint_write_fn write;
    void *self;
    char line[768];
    size_t used;
} printer;

static void DRAY_PRINTF(2, 3) put(printer *out, const char *format, ...)
{
    size_t room = sizeof(out->line) - 1 - out->used; // one byte stays for '\n'
    va_list args;
    va_start(args, format);
    int wrote = vsnprintf(out->line + out->used, room, format, args);
    va_end(args);
    if (wrote > 0)
        out->used += (size_t)wrote < room ? (size_t)wrote : room - 1;
}

static void end_line(printer *out)
{
    out->line[out->used++] = '\n';
    out->write(out->self, out->line, out->used);
    out->used = 0;
}

int64_t dray_hint_call_location_id(const dray_hint_call *call)
{
    bool by_number =
        call->function == DRAY_HINT_CU_ADVISE || call->function == DRAY_HINT_CU_PREFETCH;
    return by_number && call->location.place == DRAY_HINT_HOST ? -1 : (int64_t)call->location.index;
}

static void put_entries(printer *out, uint64_t first, uint64_t count)
{
    if (count == 1)
        put(out, "hint %" PRIu64, first);
    else
        put(out, "hints %" PRIu64 " to %" PRIu64, first, first + count - 1);
}

static void print_call(printer *out, const dray_hint_lowering *lowering, const dray_hint_call *call)
{
    char place[DRAY_HINT_TEXT_BYTES];
    const dray_hint_call_range *first = &lowering->ranges[call->first_range],
                               *last = first + call->range_count - 1;
    const char *advice = dray_hint_advice_name(call->function, call->advice);
    put(out, "%s", dray_hint_function_name(call->function));
    if (advice)
        put(out, " %s", advice);
    if (call->location.place != DRAY_HINT_NOWHERE && call->range_count == 1)
        put(out, " %s", dray_hint_location_print(call->location, place));
    put(out, ": %" PRIu64 " bytes", call->bytes);
    if (call->range_count > 1)
        put(out, " in %" PRIu64 " ranges", call->range_count);
    if (call->step_bytes)
        put(out, " in steps of %" PRIu64, call->step_bytes);
    put(out, " (");
    put_entries(out, first->entry, last->entry + last->entry_count - first->entry);
    put(out, ")");
    end_line(out);
}

void dray_hint_lowering_print(const dray_hint_lowering *lowering, dray_hint_write_fn write,
                              void *self)
{
    printer out = {.write = write, .self = self};
    for (uint64_t i = 0; i < lowering->call_count; i++)
        print_call(&out, lowering, &lowering->calls[i]);
    for (uint64_t i = 0; i < lowering->remark_count; i++) {
        const dray_hint_remark *remark = &lowering->remarks[i];
        put(&out, "%s (",
            remark->is_skip        ? "skipped"
            : remark->is_no_effect ? "no effect"
                                   : "degraded");
        put_entries(&out, remark->entry, remark->entry_count);
        put(&out, "): %s", remark->text);
        end_line(&out);
    }
    if (lowering->call_count == 0 && lowering->remark_count == 0) {
        put(&out, "nothing to do");
        end_line(&out);
    }
}

// --- JSON --------------------------------------------------------------------------------------------

/// Our own words hold no byte that JSON minds, and a driver's might.
static void put_quoted(printer *out, const char *text)
{
    put(out, "\"");
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte == '"' || byte == '\\')
            put(out, "\\%c", byte);
        else if (byte < 0x20 || byte > 0x7E)
            put(out, "?");
        else
            put(out, "%c", byte);
    }
    put(out, "\"");
}

static void json_call(printer *out, const dray_hint_call *call, bool is_last)
{
    const char *advice = dray_hint_advice_name(call->function, call->advice);
    put(out, "  {\"function\": \"%s\", \"bytes\": %" PRIu64 ", \"advice\": ",
        dray_hint_function_name(call->function), call->bytes);
    if (advice)
        put(out, "\"%s\"", advice);
    else
        put(out, "null");
    put(out, ", \"location\": {\"type\": \"%s\", \"id\": %" PRId64 "}",
        dray_hint_place_name(call->location.place), dray_hint_call_location_id(call));
    if (call->range_count > 1)
        put(out, ", \"ranges\": %" PRIu64, call->range_count);
    if (call->step_bytes)
        put(out, ", \"step_bytes\": %" PRIu64, call->step_bytes);
    put(out, is_last ? "}" : "},");
    end_line(out);
}

static void json_remark(printer *out, const dray_hint_remark *remark, bool is_last)
{
    put(out, "  {\"outcome\": \"%s\", \"hint\": %" PRIu64 ", \"count\": %" PRIu64 ", \"why\": ",
        dray_hint_outcome_name(remark->is_skip        ? DRAY_HINT_SKIPPED
                               : remark->is_no_effect ? DRAY_HINT_NO_EFFECT
                                                      : DRAY_HINT_DEGRADED),
        remark->entry, remark->entry_count);
    put_quoted(out, remark->text);
    put(out, is_last ? "}" : "},");
    end_line(out);
}

void dray_hint_lowering_print_json(const dray_hint_lowering *lowering, dray_hint_write_fn write,
                                   void *self)
{
    printer out = {.write = write, .self = self};
    put(&out, "{\"calls\": [");
    end_line(&out);
    for (uint64_t i = 0; i < lowering->call_count; i++)
        json_call(&out, &lowering->calls[i], i + 1 == lowering->call_count);
    put(&out, "], \"remarks\": [");
    end_line(&out);
    for (uint64_t i = 0; i < lowering->remark_count; i++)
        json_remark(&out, &lowering->remarks[i], i + 1 == lowering->remark_count);
    put(&out, "]}");
    end_line(&out);
}
