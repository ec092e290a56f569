/// Traces of accesses: made by a program, or read from text of which nothing is believed.
///
/// A file is read in parts: whole lines are parsed where they lie, the rest of a line waits in front of
/// the next part. Numbers are read digit by digit against their limit, so none overflows.
#include "hints/access_trace.h"

#include "base/checked.h"
#include "base/quote.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

_Static_assert(sizeof(dray_access) == 24, "a trace of 100 million accesses takes 2.4 GB");

enum { line_bytes_max = 1024, part_bytes = 256 << 10 };

dray_status dray_trace_create(dray_context *context, dray_trace **out_trace, dray_error *error)
{
    drayi_env *env = drayi_env_of(context);
    dray_trace *trace = drayi_new(env, dray_trace, error);
    if (!trace)
        return DRAY_E_NOMEM;
    trace->env = env;
    *out_trace = trace;
    return DRAY_OK;
}

void dray_trace_destroy(dray_trace *trace)
{
    if (!trace)
        return;
    drayi_free(trace->env, trace->accesses, trace->capacity * sizeof(*trace->accesses));
    drayi_free(trace->env, trace, sizeof(*trace));
}

uint64_t dray_trace_accesses(const dray_trace *trace, const dray_access **out_accesses)
{
    *out_accesses = trace->accesses;
    return trace->count;
}

uint64_t dray_trace_end(const dray_trace *trace)
{
    return trace->end_bytes;
}

uint32_t dray_trace_devices(const dray_trace *trace)
{
    return trace->devices;
}

// --- adding ----------------------------------------------------------------------------------------

/// Room and nothing else: the access has been checked.
static dray_status append(dray_trace *trace, const dray_access *access, dray_error *error)
{
    if (trace->count == trace->capacity)
        DRAY_TRY(drayi_grow(trace->env, (void **)&trace->accesses, &trace->capacity,
                            trace->count + 1, sizeof(*trace->accesses), error));
    trace->accesses[trace->count++] = *access;
    trace->end_bytes = drayi_max(trace->end_bytes, access->offset + access->bytes);
    if (access->processor != DRAY_ACCESS_HOST && access->processor >= trace->devices)
        trace->devices = access->processor + 1u;
    return DRAY_OK;
}

static uint64_t time_of_last(const dray_trace *trace)
{
    return trace->count ? trace->accesses[trace->count - 1].time_ns : 0;
}

dray_status dray_trace_add(dray_trace *trace, const dray_access *access, dray_error *error)
{
    if (access->bytes == 0 || access->bytes > DRAY_ACCESS_BYTES_MAX)
        return dray_fail(error, DRAY_E_INVALID,
                         "access of %" PRIu32 " bytes, 1 to %" PRIu32 " can be", access->bytes,
                         DRAY_ACCESS_BYTES_MAX);
    if (!drayi_inside(access->offset, access->bytes, DRAY_ACCESS_END_MAX))
        return dray_fail(error, DRAY_E_INVALID,
                         "access of %" PRIu32 " bytes at %" PRIu64 " ends beyond %" PRIu64,
                         access->bytes, access->offset, DRAY_ACCESS_END_MAX);
    if (access->processor != DRAY_ACCESS_HOST && access->processor >= DRAY_SIMULATED_DEVICES_MAX)
        return dray_fail(error, DRAY_E_INVALID, "access by device %u, devices are 0 to %u",
                         access->processor, DRAY_SIMULATED_DEVICES_MAX - 1);
    if (access->write > 1)
        return dray_fail(error, DRAY_E_INVALID, "access: write is %u, 0 or 1 can be", access->write);
    if (access->time_ns < time_of_last(trace))
        return dray_fail(error, DRAY_E_INVALID,
                         "access at %" PRIu64 " ns, the one before was at %" PRIu64 " ns",
                         access->time_ns, time_of_last(trace));
    return append(trace, access, error);
}

// --- reading a line --------------------------------------------------------------------------------

/// Where we are in the text.
typedef struct line_reader {
    const char *at, *end;  // of the line
    const char *begin;     // of the line
    uint64_t line, offset; // its number, from 1; of its first byte in the text
} line_reader;

static dray_status line_wrong(const line_reader *reader, const char *rule, const char *at,
                              dray_error *error, const char *what)
{
    dray_text rest = {.bytes = at, .length = (uint64_t)(reader->end - at)};
    if (rest.length > 24)
        rest.length = 24;
    return dray_fail_rule(
        error, DRAY_E_FORMAT, rule, reader->offset + (uint64_t)(at - reader->begin),
        "line %" PRIu64 ": %s, found \"%s\"", reader->line, what, drayi_quote(rest).text);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static void blanks_skip(line_reader *reader)
{
    while (reader->at < reader->end && is_blank(*reader->at))
        reader->at++;
}

/// Is a word at its end here?
static bool is_word_end(const line_reader *reader)
{
    return reader->at == reader->end || is_blank(*reader->at);
}

static unsigned digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    if (c >= 'a' && c <= 'f')
        return (unsigned)(c - 'a') + 10;
    return c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10 : 16;
}

/// Digits up to the word's end; false: none, something else, or more than `limit`.
static bool number_read(line_reader *reader, uint64_t limit, uint64_t *out)
{
    unsigned base = 10;
    if (reader->end - reader->at > 2 && reader->at[0] == '0' && reader->at[1] == 'x') {
        base = 16;
        reader->at += 2;
    }
    const char *first = reader->at;
    uint64_t value = 0;
    for (; reader->at < reader->end; reader->at++) {
        unsigned digit = digit_of(*reader->at);
        if (digit >= base)
            break;
        if (!drayi_mul(value, base, &value) || !drayi_add(value, digit, &value) || value > limit)
            return false;
    }
    *out = value;
    return reader->at > first && is_word_end(reader);
}

static bool processor_read(line_reader *reader, uint16_t *out)
{
    static const char host[] = "host";
    const size_t length = sizeof(host) - 1;
    if ((size_t)(reader->end - reader->at) >= length && memcmp(reader->at, host, length) == 0) {
        reader->at += length;
        *out = DRAY_ACCESS_HOST;
        return is_word_end(reader);
    }
    uint64_t number;
    if (!number_read(reader, DRAY_SIMULATED_DEVICES_MAX - 1, &number))
        return false;
    *out = (uint16_t)number;
    return true;
}

static dray_status access_read(line_reader *reader, dray_access *out, dray_error *error)
{
    uint64_t bytes;
    const char *word = reader->at;
    if (!number_read(reader, UINT64_MAX, &out->time_ns))
        return line_wrong(reader, "trace.time", word, error, "a time in nanoseconds is wanted");
    blanks_skip(reader);
    word = reader->at;
    if (!processor_read(reader, &out->processor))
        return line_wrong(reader, "trace.processor", word, error,
                          "a processor is wanted, host or a device from 0 to 7");
    blanks_skip(reader);
    word = reader->at;
    if (!number_read(reader, DRAY_ACCESS_END_MAX - 1, &out->offset))
        return line_wrong(reader, "trace.offset", word, error, "an offset below 4 TiB is wanted");
    blanks_skip(reader);
    word = reader->at;
    if (!number_read(reader, DRAY_ACCESS_BYTES_MAX, &bytes) || bytes == 0)
        return line_wrong(reader, "trace.bytes", word, error, "1 byte to 1 GiB is wanted");
    if (!drayi_inside(out->offset, bytes, DRAY_ACCESS_END_MAX))
        return line_wrong(reader, "trace.bytes", word, error, "the access ends beyond 4 TiB");
    out->bytes = (uint32_t)bytes;
    blanks_skip(reader);
    word = reader->at;
    bool is_kind = reader->at < reader->end && (*reader->at == 'r' || *reader->at == 'w');
    if (!is_kind || (reader->at++, !is_word_end(reader)))
        return line_wrong(reader, "trace.kind", word, error, "r or w is wanted");
    out->write = *word == 'w';
    blanks_skip(reader);
    if (reader->at < reader->end)
        return line_wrong(reader, "trace.more", reader->at, error, "the line should end here");
    return DRAY_OK;
}

static dray_status line_read(dray_trace *trace, line_reader *reader, dray_error *error)
{
    const size_t length = (size_t)(reader->end - reader->begin);
    if (length > line_bytes_max)
        return dray_fail_rule(error, DRAY_E_FORMAT, "trace.line", reader->offset,
                              "line %" PRIu64 " is longer than %d bytes", reader->line,
                              line_bytes_max);
    const char *comment = memchr(reader->begin, '#', length);
    if (comment)
        reader->end = comment;
    if (reader->end > reader->begin && !comment && reader->end[-1] == '\r')
        reader->end--;
    blanks_skip(reader);
    if (reader->at == reader->end)
        return DRAY_OK;
    dray_access access = {0};
    const char *word = reader->at;
    DRAY_TRY(access_read(reader, &access, error));
    if (access.time_ns < time_of_last(trace))
        return line_wrong(reader, "trace.order", word, error, "times must not go back");
    return append(trace, &access, error);
}

// --- reading text ----------------------------------------------------------------------------------

/// Reads the lines of [text, text + bytes) and returns how many bytes they took: without `last`, a line
/// that has no end yet is left.
static dray_status lines_read(dray_trace *trace, line_reader *reader, const char *text,
                              uint64_t bytes, bool last, uint64_t *out_taken, dray_error *error)
{
    const char *at = text, *end = text + bytes;
    while (at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        if (!line_end && !last)
            break;
        const char *stop = line_end ? line_end : end;
        reader->begin = reader->at = at;
        reader->end = stop;
        reader->line++;
        DRAY_TRY(line_read(trace, reader, error));
        const char *next = line_end ? stop + 1 : stop;
        reader->offset += (uint64_t)(next - at);
        at = next;
    }
    *out_taken = (uint64_t)(at - text);
    return DRAY_OK;
}

dray_status dray_trace_parse(dray_context *context, const char *text, uint64_t bytes,
                             dray_trace **out_trace, dray_error *error)
{
    dray_trace *trace;
    DRAY_TRY(dray_trace_create(context, &trace, error));
    line_reader reader = {0};
    uint64_t taken;
    dray_status status = lines_read(trace, &reader, text, bytes, true, &taken, error);
    if (status != DRAY_OK)
        dray_trace_destroy(trace);
    else
        *out_trace = trace;
    return status;
}

/// Reads the file to its end; `part` has room for part_bytes.
static dray_status file_read(dray_trace *trace, int fd, char *part, dray_error *error)
{
    line_reader reader = {0};
    uint64_t held = 0, taken = 0;
    for (;;) {
        ssize_t got = trace->env->os->read(fd, part + held, (size_t)(part_bytes - held));
        if (got == -EINTR)
            continue;
        if (got < 0)
            return dray_fail_os(error, (int)-got, "read", "%s", "read");
        held += (uint64_t)got;
        DRAY_TRY(lines_read(trace, &reader, part, held, got == 0, &taken, error));
        if (got == 0)
            return DRAY_OK;
        held -= taken;
        if (held > line_bytes_max)
            return dray_fail_rule(error, DRAY_E_FORMAT, "trace.line", reader.offset,
                                  "line %" PRIu64 " is longer than %d bytes", reader.line + 1,
                                  line_bytes_max);
        memmove(part, part + taken, (size_t)held);
    }
}

static dray_status path_read(dray_trace *trace, const char *path, dray_error *error)
{
    drayi_env *env = trace->env;
    int fd;
    DRAY_TRY(drayi_open_file(env->os, path, O_RDONLY, 0, &fd, error));
    char *part = drayi_alloc(env, part_bytes, error);
    dray_status status = part ? file_read(trace, fd, part, error) : DRAY_E_NOMEM;
    drayi_free(env, part, part_bytes);
    drayi_close_file(env->os, fd);
    return status == DRAY_OK ? DRAY_OK : dray_fail_within(error, status, "trace %s", path);
}

dray_status dray_trace_read(dray_context *context, const char *path, dray_trace **out_trace,
                            dray_error *error)
{
    dray_trace *trace;
    DRAY_TRY(dray_trace_create(context, &trace, error));
    dray_status status = path_read(trace, path, error);
    if (status != DRAY_OK)
        dray_trace_destroy(trace);
    else
        *out_trace = trace;
    return status;
}
