/// Traces as text, and their replay: what is read, what is refused and where, and numbers worked out on paper.
#include "core/context.h"
#include "dray/simulate.h"
#include "support/counting_allocator.h"
#include "support/fault_os.h"
#include "support/test_file.h"
#include "support/testing.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK DRAY_SIMULATED_BLOCK_BYTES

static dray_context *context;

static dray_trace *trace_of(const char *text)
{
    dray_trace *trace = NULL;
    dray_error error = {.message = ""};
    if (dray_trace_parse(context, text, strlen(text), &trace, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    return trace;
}

static dray_simulation *simulation_of(const dray_trace *trace, const char *policy_text,
                                      const dray_simulate_options *options)
{
    dray_hint_policy policy;
    dray_simulation *simulation = NULL;
    dray_error error = {.message = ""};
    assert_int_equal(dray_hint_policy_parse(policy_text, &policy, NULL), DRAY_OK);
    if (dray_simulate(trace, &policy, options, &simulation, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    return simulation;
}

// --- text ------------------------------------------------------------------------------------------

static void a_trace_is_read_as_it_stands(void **state)
{
    (void)state;
    dray_trace *trace = trace_of("# a comment\n\n"
                                 "0 host 0 4096 w\n"
                                 "  15\t0 0x200000   0x10 r # behind it\r\n"
                                 "15 7 4398046511103 1 w\r\n"
                                 "18446744073709551615 host 0 1073741824 r");
    const dray_access *accesses;
    assert_int_equal(dray_trace_accesses(trace, &accesses), 4);
    const dray_access wanted[] = {
        {0, 0, 4096, DRAY_ACCESS_HOST, 1},
        {15, 0x200000, 16, 0, 0},
        {15, (UINT64_C(4) << 40) - 1, 1, 7, 1},
        {UINT64_MAX, 0, 1 << 30, DRAY_ACCESS_HOST, 0},
    };
    assert_memory_equal(accesses, wanted, sizeof(wanted));
    assert_int_equal(dray_trace_end(trace), UINT64_C(4) << 40);
    assert_int_equal(dray_trace_devices(trace), 8);
    dray_trace_destroy(trace);
}

static void an_empty_trace_is_a_trace(void **state)
{
    (void)state;
    dray_trace *trace = trace_of("# nothing\n");
    const dray_access *accesses;
    assert_int_equal(dray_trace_accesses(trace, &accesses), 0);
    assert_int_equal(dray_trace_end(trace), 0);
    dray_trace_destroy(trace);
}

static void what_is_no_access_is_refused_where_it_stands(void **state)
{
    (void)state;
    static const struct {
        const char *text, *rule;
        uint64_t offset;
    } wrong[] = {
        {"x host 0 1 r\n", "trace.time", 0},
        {"1 host 0 1 r\n-2 host 0 1 r\n", "trace.time", 13},
        {"18446744073709551616 host 0 1 r\n", "trace.time", 0},
        {"0x host 0 1 r\n", "trace.time", 0},
        {"1.5 host 0 1 r\n", "trace.time", 0},
        {"1\n", "trace.processor", 1},
        {"1 hosts 0 1 r\n", "trace.processor", 2},
        {"1 HOST 0 1 r\n", "trace.processor", 2},
        {"1 8 0 1 r\n", "trace.processor", 2},
        {"1 9 0 1 r\n", "trace.processor", 2},
        {"1 17 0 1 r\n", "trace.processor", 2},
        {"1 -1 0 1 r\n", "trace.processor", 2},
        {"1 host 4398046511104 1 r\n", "trace.offset", 7},
        {"1 host 0x1g 1 r\n", "trace.offset", 7},
        {"1 host 0 0 r\n", "trace.bytes", 9},
        {"1 host 0 1073741825 r\n", "trace.bytes", 9},
        {"1 host 4398046511103 2 r\n", "trace.bytes", 21},
        {"1 host 0 1\n", "trace.kind", 10},
        {"1 host 0 1 x\n", "trace.kind", 11},
        {"1 host 0 1 rw\n", "trace.kind", 11},
        {"1 host 0 1 r 2\n", "trace.more", 13},
        {"2 host 0 1 r\n1 host 0 1 r\n", "trace.order", 13},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        dray_trace *trace = NULL;
        dray_error error = {0};
        dray_status status =
            dray_trace_parse(context, wrong[i].text, strlen(wrong[i].text), &trace, &error);
        if (status != DRAY_E_FORMAT || strcmp(error.rule, wrong[i].rule) != 0 ||
            error.offset != wrong[i].offset)
            fail_msg("%s: status %d, rule %s at %d", wrong[i].text, status,
                     error.rule ? error.rule : "none", (int)error.offset);
        assert_null(trace);
    }
}

static void the_message_says_line_and_what_is_wanted(void **state)
{
    (void)state;
    const char *text = "# one\n1 host 0 4K r\n";
    dray_trace *trace;
    dray_error error;
    assert_int_equal(dray_trace_parse(context, text, strlen(text), &trace, &error), DRAY_E_FORMAT);
    assert_string_equal(error.message, "line 2: 1 byte to 1 GiB is wanted, found \"4K r\"");
}

static void lines_longer_than_a_page_of_text_are_refused(void **state)
{
    (void)state;
    char text[1100];
    memset(text, '#', sizeof(text));
    text[1024] = '\n';
    dray_trace *trace;
    assert_int_equal(dray_trace_parse(context, text, 1025, &trace, NULL), DRAY_OK);
    dray_trace_destroy(trace);
    dray_error error;
    text[1024] = '#';
    assert_int_equal(dray_trace_parse(context, text, 1025, &trace, &error), DRAY_E_FORMAT);
    assert_string_equal(error.rule, "trace.line");
}

static void what_a_program_adds_is_checked_like_text(void **state)
{
    (void)state;
    dray_trace *trace;
    assert_int_equal(dray_trace_create(context, &trace, NULL), DRAY_OK);
    const dray_access good = {.time_ns = 5, .bytes = 1, .processor = DRAY_ACCESS_HOST};
    assert_int_equal(dray_trace_add(trace, &good, NULL), DRAY_OK);
    const dray_access wrong[] = {
        {.time_ns = 5, .bytes = 0},
        {.time_ns = 5, .bytes = DRAY_ACCESS_BYTES_MAX + 1},
        {.time_ns = 5, .bytes = 2, .offset = DRAY_ACCESS_END_MAX - 1},
        {.time_ns = 5, .bytes = 1, .offset = UINT64_MAX},
        {.time_ns = 5, .bytes = 1, .processor = 8},
        {.time_ns = 5, .bytes = 1, .write = 2},
        {.time_ns = 4, .bytes = 1},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        dray_error error = {.message = ""};
        assert_int_equal(dray_trace_add(trace, &wrong[i], &error), DRAY_E_INVALID);
        assert_true(error.message[0] != '\0');
    }
    const dray_access *accesses;
    assert_int_equal(dray_trace_accesses(trace, &accesses), 1);
    dray_trace_destroy(trace);
}

/// A file of several parts, whose lines cross the borders of the parts.
static void a_file_is_read_as_its_text(void **state)
{
    (void)state;
    enum { lines = 40000 };
    char *text = malloc(lines * 32);
    assert_non_null(text);
    size_t used = 0;
    for (unsigned i = 0; i < lines; i++)
        used += (size_t)sprintf(text + used, "%u %u %u %u r\n", i * 7, i % 3, i * 4096, 1 + i);
    assert_true(used > 3u * (256 << 10) / 2);
    const char *path = test_file_write("simulate.trace", text, used);
    dray_trace *from_text, *from_file;
    assert_int_equal(dray_trace_parse(context, text, used, &from_text, NULL), DRAY_OK);
    assert_int_equal(dray_trace_read(context, path, &from_file, NULL), DRAY_OK);
    const dray_access *wanted, *got;
    assert_int_equal(dray_trace_accesses(from_text, &wanted), lines);
    assert_int_equal(dray_trace_accesses(from_file, &got), lines);
    assert_memory_equal(got, wanted, lines * sizeof(*got));
    dray_trace_destroy(from_text);
    dray_trace_destroy(from_file);
    free(text);
}

static void a_file_of_one_endless_line_is_refused_early(void **state)
{
    (void)state;
    const char *path = test_file_make("endless.trace", 1 << 20);
    dray_trace *trace;
    dray_error error;
    assert_int_equal(dray_trace_read(context, "/dev/zero", &trace, &error), DRAY_E_FORMAT);
    assert_string_equal(error.rule, "trace.line");
    assert_int_equal(dray_trace_read(context, path, &trace, &error), DRAY_E_FORMAT);
    assert_int_equal(dray_trace_read(context, "nowhere.trace", &trace, &error), DRAY_E_NOTFOUND);
}

static void a_file_that_cannot_be_read_leaves_nothing(void **state)
{
    (void)state;
    const char *path = test_file_write("faults.trace", "1 0 0 9 r\n2 0 0 9 w\n", 20);
    const int fds = fault_os_open_fds();
    for (uint64_t n = 1;; n++) {
        counting_allocator counter;
        counting_allocator_init(&counter, 0);
        dray_context_options options = {.struct_bytes = sizeof(options),
                                        .allocator = counting_allocator_interface(&counter)};
        dray_context *own;
        fault_os_reset();
        assert_int_equal(drayi_context_create_with(&options, fault_os(), &own, NULL), DRAY_OK);
        fault_os_inject(&(fault_plan){.at = n, .code = -EIO, .groups = FAULT_OPEN | FAULT_READ});
        dray_trace *trace = NULL;
        dray_error error = {.message = ""};
        dray_status status = dray_trace_read(own, path, &trace, &error);
        const bool hit = fault_os_hits() > 0 && strcmp(fault_os_last_hit(), "close") != 0;
        assert_int_equal(status, hit ? DRAY_E_IO : DRAY_OK);
        assert_true(!hit || strstr(error.message, "faults.trace"));
        dray_trace_destroy(trace);
        dray_context_destroy(own);
        assert_int_equal(counting_allocator_live_bytes(&counter), 0);
        assert_int_equal(fault_os_open_fds(), fds);
        if (fault_os_hits() == 0)
            break;
    }
    fault_os_reset();
}

// --- replay ----------------------------------------------------------------------------------------

static const char swap_trace[] = "0 host 0 4194304 w\n"     // makes two blocks
                                 "1000000 0 0 2097152 r\n"  // 0 comes
                                 "2000000 0 2097152 1 r\n"  // 0 goes, a piece of 1 comes
                                 "3000000 0 0 2097152 w\n"; // that goes, 0 comes

/// A device of one block: the numbers of the paper in the comments above.
static void a_replay_counts_faults_moves_and_evictions(void **state)
{
    (void)state;
    dray_trace *trace = trace_of(swap_trace);
    dray_simulate_options options = {.struct_bytes = sizeof(options), .capacity_bytes = BLOCK};
    dray_simulation *simulation = simulation_of(trace, "default", &options);
    const dray_simulation_report *report = dray_simulation_report_of(simulation);
    assert_int_equal(report->accesses, 4);
    assert_int_equal(report->managed_bytes, 2 * BLOCK);
    assert_int_equal(report->devices, 1);
    assert_int_equal(report->host_faults, 2);
    assert_int_equal(report->device_faults, 3);
    assert_int_equal(report->write_faults, 3);
    assert_int_equal(report->populated_bytes, 2 * BLOCK);
    assert_int_equal(report->to_devices_bytes, 2 * BLOCK + 65536);
    assert_int_equal(report->to_host_bytes, BLOCK + 65536);
    assert_int_equal(report->evictions, 2);
    assert_int_equal(report->evicted_bytes, BLOCK + 65536);
    assert_int_equal(report->peak_device_bytes, BLOCK);
    assert_null(report->note);
    dray_simulation_destroy(simulation);
    dray_trace_destroy(trace);
}

static void policies_change_what_happens(void **state)
{
    (void)state;
    dray_trace *trace = trace_of(swap_trace);
    dray_simulate_options options = {.struct_bytes = sizeof(options), .capacity_bytes = BLOCK};
    dray_simulation *host = simulation_of(trace, "prefer-host", &options);
    assert_int_equal(dray_simulation_report_of(host)->to_devices_bytes, 0);
    assert_int_equal(dray_simulation_report_of(host)->remote_bytes, 2 * BLOCK + 1);
    assert_int_equal(dray_simulation_report_of(host)->device_faults,
                     2); // written where it is mapped
    dray_simulation *mapped = simulation_of(trace, "accessed-by:0", &options);
    assert_int_equal(dray_simulation_report_of(mapped)->device_faults, 0);
    dray_simulation *copied = simulation_of(trace, "read-mostly", &options);
    assert_int_equal(dray_simulation_report_of(copied)->duplicated_bytes, BLOCK + 65536);
    assert_int_equal(dray_simulation_report_of(copied)->to_host_bytes, 0); // the originals are there
    dray_simulation *numa = simulation_of(trace, "prefer-numa:0", &options);
    assert_non_null(dray_simulation_report_of(numa)->note);
    assert_int_equal(dray_simulation_report_of(numa)->remote_bytes, 2 * BLOCK + 1);
    dray_simulation_destroy(host);
    dray_simulation_destroy(mapped);
    dray_simulation_destroy(copied);
    dray_simulation_destroy(numa);
    dray_trace_destroy(trace);
}

/// Every byte and fault of the report is in one point of the timeline, and no point is too many.
static void the_timeline_adds_up_to_the_report(void **state)
{
    (void)state;
    static const uint32_t wanted_points[] = {1, 2, 3, 7, 240, 4096};
    dray_trace *trace = trace_of(swap_trace);
    for (size_t k = 0; k < sizeof(wanted_points) / sizeof(wanted_points[0]); k++) {
        dray_simulate_options options = {.struct_bytes = sizeof(options),
                                         .capacity_bytes = BLOCK,
                                         .timeline_points = wanted_points[k]};
        dray_simulation *simulation = simulation_of(trace, "default", &options);
        const dray_simulation_report *report = dray_simulation_report_of(simulation);
        const dray_simulation_point *points;
        uint32_t count = dray_simulation_timeline(simulation, &points);
        assert_true(count <= wanted_points[k] && count + 4 > wanted_points[k]);
        uint64_t faults = 0, up = 0, down = 0;
        for (uint32_t i = 0; i < count; i++) {
            faults += points[i].faults;
            up += points[i].to_devices_bytes;
            down += points[i].to_host_bytes;
            assert_true(i == 0 || points[i].begin_ns > points[i - 1].begin_ns);
        }
        assert_int_equal(faults, report->host_faults + report->device_faults);
        assert_int_equal(up, report->to_devices_bytes);
        assert_int_equal(down, report->to_host_bytes);
        assert_int_equal(points[count - 1].device_bytes, BLOCK);
        dray_simulation_destroy(simulation);
    }
    dray_trace_destroy(trace);
}

static void the_longest_trace_has_a_timeline(void **state)
{
    (void)state;
    dray_trace *trace = trace_of("0 host 0 1 w\n18446744073709551615 0 0 1 r\n");
    dray_simulation *simulation = simulation_of(trace, "default", NULL);
    const dray_simulation_point *points;
    uint32_t count = dray_simulation_timeline(simulation, &points);
    assert_int_equal(count, 240);
    assert_int_equal(points[0].faults, 1);
    assert_int_equal(points[239].faults, 1);
    dray_simulation_destroy(simulation);
    dray_trace_destroy(trace);
}

static void wrong_wishes_are_refused(void **state)
{
    (void)state;
    dray_trace *trace = trace_of("0 2 0 1 w\n"), *empty = trace_of("");
    dray_hint_policy policy = dray_hint_default(), third = dray_hint_prefer_device(3);
    dray_simulation *simulation = NULL;
    dray_error error;
    const dray_simulate_options wrong[] = {
        {.struct_bytes = sizeof(wrong[0]), .capacity_bytes = BLOCK - 1},
        {.struct_bytes = sizeof(wrong[0]), .devices = 2}, // device 2 is named
        {.struct_bytes = sizeof(wrong[0]), .devices = 9},
        {.struct_bytes = sizeof(wrong[0]), .timeline_points = 4097},
        {.struct_bytes = 0},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(dray_simulate(trace, &policy, &wrong[i], &simulation, &error),
                         DRAY_E_INVALID);
    assert_int_equal(dray_simulate(empty, &policy, NULL, &simulation, &error), DRAY_E_INVALID);
    assert_string_equal(error.message, "simulate: the trace has no access");
    const dray_simulate_options three = {.struct_bytes = sizeof(three), .devices = 3};
    assert_int_equal(dray_simulate(trace, &third, &three, &simulation, &error), DRAY_E_INVALID);
    assert_string_equal(error.message, "simulate: device 3 is named, there are 3, numbered from 0");
    third.preferred.index = 8;
    assert_int_equal(dray_simulate(trace, &third, NULL, &simulation, &error), DRAY_E_INVALID);
    assert_null(simulation);
    dray_trace_destroy(trace);
    dray_trace_destroy(empty);
}

// --- the drawing -----------------------------------------------------------------------------------

typedef struct drawing {
    char *text;
    size_t bytes;
} drawing;

static void drawing_write(void *self, const char *text, size_t bytes)
{
    drawing *out = self;
    out->text = realloc(out->text, out->bytes + bytes + 1);
    assert_non_null(out->text);
    memcpy(out->text + out->bytes, text, bytes);
    out->bytes += bytes;
    out->text[out->bytes] = '\0';
}

static void a_drawing_is_the_same_every_time_and_says_simulated(void **state)
{
    (void)state;
    dray_trace *trace = trace_of(swap_trace);
    dray_simulation *two[] = {simulation_of(trace, "default", NULL),
                              simulation_of(trace, "prefer-host", NULL)};
    drawing first = {0}, second = {0};
    assert_int_equal(dray_simulation_plot(two, 2, "<a & b>\x1b\xff", drawing_write, &first, NULL),
                     DRAY_OK);
    assert_int_equal(dray_simulation_plot(two, 2, "<a & b>\x1b\xff", drawing_write, &second, NULL),
                     DRAY_OK);
    assert_string_equal(first.text, second.text);
    assert_non_null(strstr(first.text, "Simulated: &lt;a &amp; b&gt;?\?<"));
    assert_non_null(strstr(first.text, "not measured on any device"));
    assert_non_null(strstr(first.text, ">prefer-host</tspan>  simulated: "));
    assert_non_null(strstr(first.text, "</svg>\n"));
    free(first.text);
    free(second.text);
    dray_simulation_destroy(two[0]);
    dray_simulation_destroy(two[1]);
    dray_trace_destroy(trace);
}

static void what_cannot_stand_in_one_drawing_is_refused(void **state)
{
    (void)state;
    dray_trace *trace = trace_of(swap_trace), *other = trace_of("5 0 0 1 r\n");
    dray_simulation *two[] = {simulation_of(trace, "default", NULL),
                              simulation_of(other, "default", NULL)};
    dray_simulation *nine[9];
    for (int i = 0; i < 9; i++)
        nine[i] = two[0];
    drawing out = {0};
    dray_error error;
    assert_int_equal(dray_simulation_plot(two, 0, "", drawing_write, &out, &error), DRAY_E_INVALID);
    assert_int_equal(dray_simulation_plot(two, 2, "", drawing_write, &out, &error), DRAY_E_INVALID);
    assert_int_equal(dray_simulation_plot(nine, 9, "", drawing_write, &out, &error), DRAY_E_INVALID);
    assert_null(out.text);
    dray_simulation_destroy(two[0]);
    dray_simulation_destroy(two[1]);
    dray_trace_destroy(trace);
    dray_trace_destroy(other);
}

static void running_out_of_memory_leaves_nothing(void **state)
{
    (void)state;
    dray_hint_policy policy = dray_hint_read_mostly();
    for (uint64_t n = 1;; n++) {
        counting_allocator counter;
        counting_allocator_init(&counter, 0);
        dray_context_options options = {.struct_bytes = sizeof(options),
                                        .allocator = counting_allocator_interface(&counter)};
        dray_context *own;
        assert_int_equal(dray_context_create(&options, &own, NULL), DRAY_OK);
        counter.fail_at = counting_allocator_calls(&counter) + n;
        dray_trace *trace = NULL;
        dray_simulation *simulation = NULL;
        dray_error error = {.message = ""};
        dray_status status =
            dray_trace_parse(own, swap_trace, sizeof(swap_trace) - 1, &trace, &error);
        if (status == DRAY_OK)
            status = dray_simulate(trace, &policy, NULL, &simulation, &error);
        const bool failed = counting_allocator_failed(&counter);
        assert_int_equal(status, failed ? DRAY_E_NOMEM : DRAY_OK);
        assert_true(!failed || error.message[0] != '\0');
        dray_simulation_destroy(simulation);
        dray_trace_destroy(trace);
        dray_context_destroy(own);
        assert_int_equal(counting_allocator_live_bytes(&counter), 0);
        if (!failed)
            break;
    }
}

static int setup(void **state)
{
    (void)state;
    return dray_context_create(NULL, &context, NULL) != DRAY_OK;
}

static int teardown(void **state)
{
    (void)state;
    dray_context_destroy(context);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_trace_is_read_as_it_stands),
        cmocka_unit_test(an_empty_trace_is_a_trace),
        cmocka_unit_test(what_is_no_access_is_refused_where_it_stands),
        cmocka_unit_test(the_message_says_line_and_what_is_wanted),
        cmocka_unit_test(lines_longer_than_a_page_of_text_are_refused),
        cmocka_unit_test(what_a_program_adds_is_checked_like_text),
        cmocka_unit_test(a_file_is_read_as_its_text),
        cmocka_unit_test(a_file_of_one_endless_line_is_refused_early),
        cmocka_unit_test(a_file_that_cannot_be_read_leaves_nothing),
        cmocka_unit_test(a_replay_counts_faults_moves_and_evictions),
        cmocka_unit_test(policies_change_what_happens),
        cmocka_unit_test(the_timeline_adds_up_to_the_report),
        cmocka_unit_test(the_longest_trace_has_a_timeline),
        cmocka_unit_test(wrong_wishes_are_refused),
        cmocka_unit_test(a_drawing_is_the_same_every_time_and_says_simulated),
        cmocka_unit_test(what_cannot_stand_in_one_drawing_is_refused),
        cmocka_unit_test(running_out_of_memory_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
