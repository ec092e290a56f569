/// Draws simulations of one trace below each other, as SVG: faults, bytes moved, bytes over the link.
///
/// One scale for all of them, so that bars may be compared by eye. Coordinates are tenths of a pixel in
/// whole numbers: no locale, no rounding of a floating point unit, the same bytes everywhere.
#include "base/checked.h"
#include "base/reader.h"
#include "hints/simulation.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    plot_count_max = 8,
    page_width = 980,
    plot_left = 96,
    plot_width = 860,
    head_height = 64,
    panel_height = 216,
    faults_top = 30, // inside the panel
    faults_height = 56,
    moved_top = 100,
    moved_height = 40, // each way
    remote_top = 186,
    remote_height = 20,
    foot_height = 62
};

typedef struct plot {
    dray_hint_write_fn write;
    void *self;
    dray_simulation *const *simulations;
    uint32_t count;
    uint64_t faults_max, moved_max, remote_max; // of one point, at least 1
} plot;

static void put(const plot *out, const char *format, ...) DRAY_PRINTF(2, 3);
static void put(const plot *out, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (length > 0)
        out->write(out->self, text, drayi_min((uint64_t)length, sizeof(text) - 1));
}

/// Anybody's text inside an element: markup escaped, what XML forbids shown as '?'.
static void put_text(const plot *out, const char *text)
{
    const uint8_t *at = (const uint8_t *)text;
    uint64_t left = strlen(text);
    while (left > 0) {
        unsigned length = drayi_utf8_sequence(at, left);
        bool xml = length > 0 && (length > 1 || (*at >= 0x20 && *at != 0x7f));
        if (length == 3 && at[0] == 0xef && at[1] == 0xbf && at[2] >= 0xbe)
            xml = false; // U+FFFE, U+FFFF
        if (!xml)
            put(out, "?");
        else if (*at == '&')
            put(out, "&amp;");
        else if (*at == '<')
            put(out, "&lt;");
        else if (*at == '>')
            put(out, "&gt;");
        else
            out->write(out->self, (const char *)at, length);
        unsigned step = length ? length : 1;
        at += step;
        left -= step;
    }
}

/// "3.2 GiB", "17 KiB": one decimal below 100.
static void print_bytes(char *out, size_t room, uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    unsigned unit = 0;
    while (unit < 6 && bytes >> (10 * (unit + 1)))
        unit++;
    const uint64_t one = UINT64_C(1) << (10 * unit);
    const uint64_t whole = bytes / one, tenths = (bytes % one * 10 + one / 2) / one;
    const uint64_t rounded = whole * 10 + tenths; // in tenths of the unit
    if (unit && rounded < 1000)
        snprintf(out, room, "%" PRIu64 ".%" PRIu64 " %s", rounded / 10, rounded % 10, units[unit]);
    else
        snprintf(out, room, "%" PRIu64 " %s", (rounded + 5) / 10, units[unit]);
}

/// "12.5 ms": the unit is that of `scale_ns`, so that all labels of an axis have one.
static void print_time(char *out, size_t room, uint64_t ns, uint64_t scale_ns)
{
    static const struct {
        uint64_t ns;
        const char *name;
    } units[] = {{1000000000, "s"}, {1000000, "ms"}, {1000, "us"}, {1, "ns"}};
    unsigned unit = 0;
    while (unit < 3 && scale_ns < units[unit].ns)
        unit++;
    uint64_t step = units[unit].ns;
    snprintf(out, room, "%" PRIu64 ".%" PRIu64 " %s", ns / step, ns % step * 10 / step,
             units[unit].name);
}

// --- scales ----------------------------------------------------------------------------------------

static uint64_t moved_up(const dray_simulation_point *point)
{
    return point->to_devices_bytes + point->between_devices_bytes;
}

static void scales_find(plot *out)
{
    out->faults_max = out->moved_max = out->remote_max = 1;
    for (uint32_t i = 0; i < out->count; i++) {
        for (uint32_t k = 0; k < out->simulations[i]->point_count; k++) {
            const dray_simulation_point *point = &out->simulations[i]->points[k];
            out->faults_max = drayi_max(out->faults_max, point->faults);
            out->moved_max = drayi_max(out->moved_max, moved_up(point));
            out->moved_max = drayi_max(out->moved_max, point->to_host_bytes);
            out->remote_max = drayi_max(out->remote_max, point->remote_bytes);
        }
    }
}

/// Tenths of a pixel; what is not zero is seen.
static uint64_t scaled(uint64_t value, uint64_t value_max, unsigned pixels)
{
    const uint64_t full = pixels * UINT64_C(10);
    const uint64_t tenths = (uint64_t)((double)value / (double)value_max * (double)full);
    return value ? drayi_max(drayi_min(tenths, full), 4) : 0;
}

// --- bars ------------------------------------------------------------------------------------------

typedef enum series { FAULTS, THRASHING, TO_DEVICES, BETWEEN, TO_HOST, REMOTE } series;

/// A bar's begin and length, in tenths of a pixel from the chart's zero line; length up or down.
static uint64_t bar_of(const plot *out, const dray_simulation_point *point, series what,
                       uint64_t *out_base)
{
    *out_base = 0;
    switch (what) {
    case FAULTS:
        return scaled(point->faults, out->faults_max, faults_height);
    case THRASHING:
        return scaled(point->thrash_events, out->faults_max, faults_height);
    case TO_DEVICES:
        return scaled(point->to_devices_bytes, out->moved_max, moved_height);
    case BETWEEN:
        *out_base = scaled(point->to_devices_bytes, out->moved_max, moved_height);
        return scaled(point->between_devices_bytes, out->moved_max, moved_height);
    case TO_HOST:
        return scaled(point->to_host_bytes, out->moved_max, moved_height);
    default:
        return scaled(point->remote_bytes, out->remote_max, remote_height);
    }
}

/// All bars of a series as one path. `zero`: y of the zero line, in pixels.
static void put_bars(const plot *out, const dray_simulation *simulation, series what, unsigned zero,
                     const char *colour)
{
    const bool down = what == TO_HOST;
    bool any = false;
    for (uint32_t i = 0; i < simulation->point_count; i++) {
        uint64_t base, length = bar_of(out, &simulation->points[i], what, &base);
        if (!length)
            continue;
        const uint64_t x = (uint64_t)i * plot_width * 10 / simulation->point_count;
        const uint64_t next = (uint64_t)(i + 1) * plot_width * 10 / simulation->point_count;
        const uint64_t left = plot_left * UINT64_C(10) + x, wide = drayi_max(next - x, 4);
        const uint64_t y = zero * UINT64_C(10) - (down ? 0 : base);
        if (!any)
            put(out, "<path fill=\"%s\" d=\"", colour);
        any = true;
        put(out, "M%" PRIu64 ".%" PRIu64 " %" PRIu64 ".%" PRIu64, left / 10, left % 10, y / 10,
            y % 10);
        put(out, "v%s%" PRIu64 ".%" PRIu64 "h%" PRIu64 ".%" PRIu64 "V%" PRIu64 ".%" PRIu64 "z",
            down ? "" : "-", length / 10, length % 10, wide / 10, wide % 10, y / 10, y % 10);
    }
    if (any)
        put(out, "\"/>\n");
}

static void put_line(const plot *out, unsigned y, const char *colour)
{
    put(out, "<path stroke=\"%s\" d=\"M%d %u.5h%d\"/>\n", colour, plot_left, y, plot_width);
}

/// To the left of a chart: its name and what its full height means.
static void put_scale(const plot *out, unsigned y, const char *name, const char *value)
{
    put(out, "<text x=\"%d\" y=\"%u\" text-anchor=\"end\">%s</text>\n", plot_left - 8, y + 10, name);
    put(out, "<text x=\"%d\" y=\"%u\" text-anchor=\"end\" fill=\"#767676\">max %s</text>\n",
        plot_left - 8, y + 23, value);
}

// --- panels ----------------------------------------------------------------------------------------

static void put_panel_title(const plot *out, const dray_simulation *simulation, unsigned top)
{
    const dray_simulation_report *report = &simulation->report;
    char policy[DRAY_HINT_TEXT_BYTES], up[32], down[32], remote[32];
    dray_hint_policy_print(&report->policy, policy);
    print_bytes(up, sizeof(up), report->to_devices_bytes + report->between_devices_bytes);
    print_bytes(down, sizeof(down), report->to_host_bytes);
    print_bytes(remote, sizeof(remote), report->remote_bytes);
    put(out, "<text x=\"%d\" y=\"%u\"><tspan font-weight=\"bold\" font-size=\"13\">", plot_left,
        top + 20);
    put_text(out, policy);
    put(out,
        "</tspan>  simulated: %" PRIu64 " faults, %s to devices, %s to the host, %s over the link, "
        "%" PRIu64 " thrashing block%s</text>\n",
        report->host_faults + report->device_faults, up, down, remote, report->thrashing_blocks,
        report->thrashing_blocks == 1 ? "" : "s");
}

static void put_panel(const plot *out, const dray_simulation *simulation, unsigned top)
{
    char text[32];
    put_panel_title(out, simulation, top);
    snprintf(text, sizeof(text), "%" PRIu64, out->faults_max);
    put_scale(out, top + faults_top, "faults", text);
    const unsigned faults_zero = top + faults_top + faults_height;
    put_bars(out, simulation, FAULTS, faults_zero, "#8c8c8c");
    put_bars(out, simulation, THRASHING, faults_zero, "#b2182b");
    put_line(out, faults_zero, "#4d4d4d");

    print_bytes(text, sizeof(text), out->moved_max);
    const unsigned moved_zero = top + moved_top + moved_height;
    put_scale(out, top + moved_top, "to devices", text);
    put(out, "<text x=\"%d\" y=\"%u\" text-anchor=\"end\">to the host</text>\n", plot_left - 8,
        moved_zero + 24);
    put_bars(out, simulation, TO_DEVICES, moved_zero, "#2166ac");
    put_bars(out, simulation, BETWEEN, moved_zero, "#1b7837");
    put_bars(out, simulation, TO_HOST, moved_zero, "#e08214");
    put_line(out, moved_zero, "#4d4d4d");

    print_bytes(text, sizeof(text), out->remote_max);
    put_scale(out, top + remote_top - 3, "over the link", text);
    put_bars(out, simulation, REMOTE, top + remote_top + remote_height, "#762a83");
    put_line(out, top + remote_top + remote_height, "#4d4d4d");
}

// --- the page --------------------------------------------------------------------------------------

static void put_head(const plot *out, const char *title, unsigned height)
{
    const dray_simulation_report *report = &out->simulations[0]->report;
    char managed[32], capacity[32];
    print_bytes(managed, sizeof(managed), report->managed_bytes);
    print_bytes(capacity, sizeof(capacity), report->capacity_bytes);
    put(out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%u\" "
        "viewBox=\"0 0 %d %u\" font-family=\"sans-serif\" font-size=\"11\" fill=\"#1a1a1a\">\n",
        page_width, height, page_width, height);
    put(out, "<rect width=\"%d\" height=\"%u\" fill=\"#ffffff\"/>\n", page_width, height);
    put(out, "<text x=\"%d\" y=\"28\" font-size=\"16\" font-weight=\"bold\">Simulated: ", plot_left);
    put_text(out, title);
    put(out, "</text>\n<text x=\"%d\" y=\"47\" fill=\"#4d4d4d\">", plot_left);
    put(out,
        "%" PRIu64 " accesses to %s of managed memory, %u device%s with %s. Counts of a model, "
        "not measured on any device.</text>\n",
        report->accesses, managed, report->devices, report->devices == 1 ? "" : "s", capacity);
}

static void put_legend(const plot *out, unsigned y)
{
    static const struct {
        const char *colour, *name;
        unsigned wide;
    } keys[] = {{"#8c8c8c", "faults", 70},
                {"#b2182b", "moves that thrash", 130},
                {"#2166ac", "moved to devices", 130},
                {"#1b7837", "between devices", 125},
                {"#e08214", "moved to the host", 130},
                {"#762a83", "accessed over the link", 0}};
    unsigned x = plot_left;
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        put(out, "<rect x=\"%u\" y=\"%u\" width=\"10\" height=\"10\" fill=\"%s\"/>", x, y - 9,
            keys[i].colour);
        put(out, "<text x=\"%u\" y=\"%u\">%s</text>\n", x + 15, y, keys[i].name);
        x += keys[i].wide;
    }
}

/// Times under the last panel, and what the colours mean.
static void put_foot(const plot *out, unsigned top)
{
    enum { ticks = 5 };
    const dray_simulation *first = out->simulations[0];
    const uint64_t span = first->point_ns * first->point_count;
    for (unsigned i = 0; i <= ticks; i++) {
        const char *anchor = i == 0 ? "start" : i == ticks ? "end" : "middle";
        char text[32];
        print_time(text, sizeof(text), span / ticks * i + span % ticks * i / ticks, span);
        put(out, "<text x=\"%u\" y=\"%u\" text-anchor=\"%s\">%s</text>\n",
            plot_left + plot_width * i / ticks, top + 17, anchor, text);
    }
    put_legend(out, top + 46);
}

static dray_status plot_check(dray_simulation *const *simulations, uint32_t count, dray_error *error)
{
    if (count == 0 || count > plot_count_max)
        return dray_fail(error, DRAY_E_INVALID, "plot: %u simulations, 1 to %d can be drawn", count,
                         plot_count_max);
    for (uint32_t i = 1; i < count; i++) {
        const dray_simulation *first = simulations[0], *other = simulations[i];
        if (other->begin_ns != first->begin_ns || other->point_ns != first->point_ns ||
            other->point_count != first->point_count)
            return dray_fail(error, DRAY_E_INVALID,
                             "plot: simulation %u has other times than the first", i);
    }
    return DRAY_OK;
}

dray_status dray_simulation_plot(dray_simulation *const *simulations, uint32_t count,
                                 const char *title, dray_hint_write_fn write, void *self,
                                 dray_error *error)
{
    DRAY_TRY(plot_check(simulations, count, error));
    plot out = {.write = write, .self = self, .simulations = simulations, .count = count};
    scales_find(&out);
    put_head(&out, title, head_height + count * panel_height + foot_height);
    for (uint32_t i = 0; i < count; i++)
        put_panel(&out, simulations[i], head_height + i * panel_height);
    put_foot(&out, head_height + count * panel_height);
    put(&out, "</svg>\n");
    return DRAY_OK;
}
