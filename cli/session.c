/// What all verbs share: a context, an opened model, and the way a failure is told. See command.h.
#include "command.h"
#include "json_out.h"
#include "progress.h"
#include "text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define THREADS_MAX 16

static double cpu_now(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

session session_begin(const char *verb, bool json)
{
    return (session){
        .verb = verb, .json = json, .started_at = progress_now(), .cpu_started_at = cpu_now()};
}

double session_seconds(const session *job)
{
    return progress_now() - job->started_at;
}

double session_cpu_seconds(const session *job)
{
    return cpu_now() - job->cpu_started_at;
}

void session_complain(const char *verb, const char *message)
{
    size_t length = strlen(verb);
    if (strncmp(message, verb, length) == 0 && strncmp(message + length, ": ", 2) == 0)
        message += length + 2; // the library says "verify: ", and so do we
    char *safe = text_safe(message, strlen(message));
    fprintf(stderr, "dray %s: %s\n", verb, safe);
    free(safe);
}

static void on_log(void *self, dray_log_level level, const char *message)
{
    if (level <= DRAY_LOG_WARNING)
        session_complain(self, message);
}

static uint32_t thread_count(option_number threads)
{
    if (threads.given)
        return threads.value;
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online < 1 ? 1 : online > THREADS_MAX ? THREADS_MAX : (uint32_t)online;
}

dray_status session_context(session *job, option_number threads)
{
    dray_context_options options = {
        .struct_bytes = sizeof(options),
        .log = {.write = on_log, .self = (void *)(uintptr_t)job->verb},
        .thread_count = thread_count(threads),
    };
    return dray_context_create(&options, &job->context, &job->error);
}

static void print_warnings(const session *job)
{
    const dray_warning *warning;
    for (uint32_t i = 0; (warning = dray_weights_warning_at(job->weights, i)); i++) {
        char *safe = text_safe(warning->message, strlen(warning->message));
        fprintf(stderr, "dray %s: warning: %s\n", job->verb, safe);
        free(safe);
    }
}

dray_status session_open(session *job, const char *path, bool lenient, option_number threads,
                         uint64_t memory_limit)
{
    dray_weights_options options = {
        .struct_bytes = sizeof(options), .lenient = lenient, .decoded_bytes_max = memory_limit};
    dray_status status = session_context(job, threads);
    if (status == DRAY_OK)
        status = dray_weights_open(job->context, path, &options, &job->weights, &job->error);
    if (status == DRAY_OK)
        print_warnings(job);
    return status;
}

uint64_t session_held_bytes(const session *job)
{
    dray_span first;
    if (dray_weights_tensor_span(job->weights, 0, &first, NULL) != DRAY_OK ||
        dray_region_storage(first.region) != DRAY_STORAGE_SYSTEM)
        return 0;
    return dray_region_bytes(first.region); // a model in memory is a single file
}

void session_error_out(json_out *json, const dray_error *error)
{
    json_object(json, "error");
    json_string(json, "status", dray_status_name(error->status));
    json_string(json, "message", error->message);
    json_string(json, "rule", error->rule);
    json_u64_or_null(json, "offset", error->offset, DRAY_UNKNOWN);
    json_end(json);
}

void session_warnings_out(json_out *json, const dray_weights *weights)
{
    const dray_warning *warning = dray_weights_warning_at(weights, 0);
    if (!warning)
        return;
    json_array(json, "warnings");
    for (uint32_t i = 0; (warning = dray_weights_warning_at(weights, i)); i++) {
        json_object_flat(json, NULL);
        json_string(json, "rule", warning->rule);
        json_u64_or_null(json, "offset", warning->offset, DRAY_UNKNOWN);
        json_string(json, "message", warning->message);
        json_end(json);
    }
    json_end(json);
}

/// The sentence for everybody, and what a developer looks up: "(rule gguf.kv.type, byte 812)".
static void print_error(const session *job)
{
    char line[sizeof(job->error.message) + 128], where[48] = "";
    if (job->error.offset != DRAY_UNKNOWN)
        snprintf(where, sizeof(where), ", byte %" PRIu64, job->error.offset);
    if (job->error.rule)
        snprintf(line, sizeof(line), "%s (rule %s%s)", job->error.message, job->error.rule, where);
    session_complain(job->verb, job->error.rule ? line : job->error.message);
}

int session_end(session *job, dray_status status, bool printed)
{
    dray_weights_close(job->weights);
    dray_context_destroy(job->context);
    if (status != DRAY_OK && job->json && !printed) {
        json_out json = json_begin(stdout);
        json_object(&json, NULL);
        session_error_out(&json, &job->error);
        json_end(&json);
        json_finish(&json);
    }
    if (status != DRAY_OK)
        print_error(job);
    return status == DRAY_OK ? EXIT_DONE : EXIT_REFUSED;
}
