/// cli/command: what a verb is: one table per cmd_<verb>.c, and what all verbs share.
///
/// A verb reads its options into a struct of its own (options.h), does its work in a session, and
/// returns an exit code: 0 done, 1 refused or failed, 2 wrong usage. Results go to standard output,
/// messages to standard error.
#ifndef DRAY_CLI_COMMAND_H
#define DRAY_CLI_COMMAND_H

#include "options.h"
#include <dray/dray.h>

enum { EXIT_DONE = 0, EXIT_REFUSED = 1, EXIT_USAGE = 2 };

typedef struct command {
    const char *name;    // "inspect"; of a verb with two words: "layout plan"
    const char *summary; // half a line, for the list of verbs
    /// Ends in NULL: this is only the first word of these ("layout"), and has nothing else but a summary.
    const struct command *const *parts;
    const char *description; // paragraphs for --help, ending in a newline
    option_operand operand;
    const option *options;
    size_t values_bytes;
    /// Options that contradict each other; may be NULL.
    bool (*check)(const void *values, option_problem *problem);
    int (*run)(const void *values);
    void (*drop)(void *values); // frees what reading the options allocated, used or not; may be NULL
} command;

extern const command command_inspect, command_load, command_copy, command_verify, command_manifest,
    command_info, command_devices, command_bench, command_bench_weights, command_bench_transfer,
    command_bench_layout, command_agent, command_agent_serve;
extern const command command_bench_hints, command_hints, command_hints_explain, command_hints_apply,
    command_hints_probe, command_hints_simulate;
extern const command command_module, command_module_kinds, command_module_inspect,
    command_module_call, command_module_tree, command_module_bundle, command_module_unbundle,
    command_bench_module;
extern const command command_layout, command_layout_plan, command_layout_move;

/// What every benchmark says of its --rounds.
bool bench_rounds_fit(option_number rounds, option_problem *problem);

// --- session: a context and an opened model, from the verb's begin to its exit code ----------------

typedef struct session {
    const char *verb;
    bool json;
    double started_at; ///< seconds of the monotonic clock, before anything was opened
    double cpu_started_at;
    dray_context *context;
    dray_weights *weights;
    dray_error error;
} session;

session session_begin(const char *verb, bool json);
/// Makes the context; `threads` absent: as many as there are processors, 16 at most.
dray_status session_context(session *job, option_number threads);
/// Makes the context and opens `path`; prints the warnings to standard error. `memory_limit`: the most that
/// a packed file or a pipe may become in memory; 0: the library's own limit.
dray_status session_open(session *job, const char *path, bool lenient, option_number threads,
                         uint64_t memory_limit);
/// What the opened model holds in memory: 0 for plain files.
uint64_t session_held_bytes(const session *job);
/// Prints job->error when `status` is not DRAY_OK (with json: also as the document on standard output,
/// unless `printed`), closes everything, and returns the exit code.
int session_end(session *job, dray_status status, bool printed);

/// Seconds since the session began.
double session_seconds(const session *job);
double session_cpu_seconds(const session *job);

/// The member "error" of a document: {status, message, rule, offset}.
struct json_out;
void session_error_out(struct json_out *json, const dray_error *error);
/// The member "warnings", when there are any.
void session_warnings_out(struct json_out *json, const dray_weights *weights);

/// "<verb>: <message>" on standard error, made safe to print.
void session_complain(const char *verb, const char *message);

#endif
