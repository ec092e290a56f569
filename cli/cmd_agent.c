/// dray agent serve: shares named regions with other processes until it is told to stop.
///
/// One thread does everything: it sleeps on the agent's fd, the listener's, and one for signals.
#include "command.h"
#include "json_out.h"
#include "location.h"
#include "secret.h"
#include "served.h"
#include "table.h"
#include "text.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

typedef struct agent_values {
    const char *listen, *name, *secret_file;
    share_list shares;
    bool json;
} agent_values;

typedef struct serve_job {
    session base;
    const agent_values *given;
    share_list shares;
    secret secret;
    dray_agent *agent;
    dray_listener *listener;
    int signals; // fd; -1: none
    int ended_by;
    bool printed;
} serve_job;

static bool agent_check(const void *values, option_problem *problem)
{
    const agent_values *given = values;
    if (given->shares.count == 0)
        return option_wrong(problem, "nothing is shared: --share NAME=disk:PATH, or "
                                     "--share-writable NAME=system:SIZE");
    return true;
}

// --- life ------------------------------------------------------------------------------------------

/// A mapped file that is cut leaves pages without bytes: better no server than one with wrong bytes.
static void on_bus_error(int number)
{
    static const char why[] =
        "dray agent serve: a shared file was cut while it was served: stopped\n";
    (void)number;
    (void)!write(STDERR_FILENO, why, sizeof(why) - 1);
    _exit(EXIT_REFUSED);
}

/// Before UCX starts its thread, which inherits what is blocked.
static dray_status signals_open(serve_job *job)
{
    const struct sigaction bus = {.sa_handler = on_bus_error};
    sigset_t wanted;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGINT);
    sigaddset(&wanted, SIGTERM);
    if (sigaction(SIGBUS, &bus, NULL) != 0 || sigprocmask(SIG_BLOCK, &wanted, NULL) != 0)
        return dray_fail_os(&job->base.error, errno, "sigaction", "wait for signals");
    job->signals = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
    if (job->signals < 0)
        return dray_fail_os(&job->base.error, errno, "signalfd", "wait for signals");
    return DRAY_OK;
}

/// "HOST-PID": a client that meets several servers tells them apart by their names.
static const char *default_name(char out[DRAY_AGENT_NAME_MAX + 1])
{
    char host[48] = "";
    if (gethostname(host, sizeof(host) - 1) != 0 || !host[0])
        snprintf(host, sizeof(host), "dray");
    snprintf(out, DRAY_AGENT_NAME_MAX + 1, "%s-%ld", host, (long)getpid());
    return out;
}

static dray_status agent_open(serve_job *job)
{
    static const char *const backends[] = {"ucx", NULL};
    const agent_values *given = job->given;
    char name[DRAY_AGENT_NAME_MAX + 1];
    dray_agent_options agent = {.struct_bytes = sizeof(agent),
                                .name = given->name ? given->name : default_name(name),
                                .backends = backends,
                                .reach = given->listen && !location_is_here(given->listen)
                                             ? DRAY_REACH_NETWORK
                                             : DRAY_REACH_HOST};
    dray_status status = DRAY_OK;
    if (agent.reach == DRAY_REACH_NETWORK && !job->secret.count) // before any port is open
        return dray_fail(&job->base.error, DRAY_E_INVALID,
                         "other machines may reach %s: a shared secret is needed: --secret-file FILE "
                         "or " SECRET_VARIABLE,
                         given->listen);
    status = dray_agent_create(job->base.context, &agent, &job->agent, &job->base.error);
    if (status == DRAY_OK)
        status = shares_register(&job->shares, job->agent, &job->base.error);
    if (status != DRAY_OK)
        return status;
    dray_listener_options listener = {.struct_bytes = sizeof(listener),
                                      .address = given->listen,
                                      .secret = secret_bytes(&job->secret),
                                      .secret_bytes = job->secret.count};
    return dray_listener_create(job->agent, &listener, &job->listener, &job->base.error);
}

static dray_status serve_begin(serve_job *job)
{
    dray_status status = secret_read(job->given->secret_file, &job->secret, &job->base.error);
    if (status == DRAY_OK)
        status = signals_open(job);
    if (status == DRAY_OK)
        status = session_context(&job->base, (option_number){.given = true, .value = 0});
    if (status == DRAY_OK)
        status = shares_open(&job->shares, job->base.context, &job->base.error);
    return status == DRAY_OK ? agent_open(job) : status;
}

static void serve_end(serve_job *job)
{
    dray_listener_destroy(job->listener);
    dray_agent_destroy(job->agent);
    shares_close(&job->shares);
    secret_wipe(&job->secret);
    if (job->signals >= 0)
        close(job->signals);
}

// --- what is told ----------------------------------------------------------------------------------

static void document_out(const serve_job *job)
{
    char address[96];
    snprintf(address, sizeof(address), "agent://%s", dray_listener_address(job->listener));
    json_out json = json_begin(stdout);
    json_object(&json, NULL);
    json_string(&json, "ready", address);
    json_string(&json, "name", dray_agent_name(job->agent));
    json_bool(&json, "secret", job->secret.count > 0);
    json_array(&json, "regions");
    for (uint32_t i = 0; i < job->shares.count; i++) {
        const share *each = &job->shares.items[i];
        json_object_flat(&json, NULL);
        json_string(&json, "name", each->name);
        json_string(&json, "kind", dray_storage_name(each->storage));
        json_string(&json, "path", each->path);
        json_u64(&json, "bytes", each->bytes);
        json_bool(&json, "writable", each->writable);
        json_end(&json);
    }
    json_end(&json);
    json_end(&json);
    json_finish(&json);
}

static void print_shares(const serve_job *job)
{
    static const table_column columns[] = {{NULL, TABLE_LEFT, 0},
                                           {NULL, TABLE_RIGHT, 0},
                                           {NULL, TABLE_LEFT, 0},
                                           {NULL, TABLE_LEFT, TABLE_CUT_MIDDLE}};
    table *rows = table_create(columns, 4);
    for (uint32_t i = 0; i < job->shares.count; i++) {
        const share *each = &job->shares.items[i];
        char bytes[TEXT_NUMBER_BYTES];
        const char *from = each->path ? each->path : dray_storage_name(each->storage);
        char *name = text_safe(each->name, strlen(each->name)),
             *safe = text_safe(from, strlen(from));
        table_cell(rows, "%s", name);
        table_cell(rows, "%s", text_bytes(bytes, each->bytes));
        table_cell(rows, "%s", each->writable ? "writable" : "read only");
        table_cell(rows, "%s", safe);
        free(name);
        free(safe);
    }
    table_print(rows, stdout, 0);
    table_destroy(rows);
    printf("ready: agent://%s\n", dray_listener_address(job->listener));
}

/// Scripts wait for it, so it goes out at once. A reader that is gone already is an error.
static dray_status ready_tell(serve_job *job)
{
    job->printed = true;
    if (job->given->json)
        document_out(job);
    else
        print_shares(job);
    if (fflush(stdout) != 0)
        return dray_fail_os(&job->base.error, errno, "write", "say that it is ready");
    return DRAY_OK;
}

static void end_tell(const serve_job *job)
{
    dray_listener_counts counts;
    if (job->given->json)
        return;
    dray_listener_count(job->listener, &counts);
    printf("stopped by %s: %" PRIu64 " let in, %" PRIu64 " refused, %" PRIu64 " broken off\n",
           job->ended_by == SIGINT ? "SIGINT" : "SIGTERM", counts.granted, counts.refused,
           counts.expired);
}

// --- serving ---------------------------------------------------------------------------------------

static void signal_take(serve_job *job)
{
    struct signalfd_siginfo info;
    if (read(job->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
        job->ended_by = (int)info.ssi_signo;
}

static dray_status serve_until_told(serve_job *job)
{
    dray_error *error = &job->base.error;
    while (!job->ended_by) {
        int agent_fd = -1;
        dray_listener_poll(job->listener);
        dray_agent_poll(job->agent);
        dray_status status = dray_agent_arm(job->agent, &agent_fd, error);
        if (status != DRAY_OK && status != DRAY_E_BUSY)
            return status;
        struct pollfd fds[] = {{.fd = job->signals, .events = POLLIN},
                               {.fd = dray_listener_fd(job->listener), .events = POLLIN},
                               {.fd = agent_fd, .events = POLLIN}};
        if (poll(fds, 3, status == DRAY_OK ? -1 : 0) < 0 && errno != EINTR)
            return dray_fail_os(error, errno, "poll", "wait for peers");
        signal_take(job);
    }
    return DRAY_OK;
}

static int agent_run(const void *values)
{
    const agent_values *given = values;
    serve_job job = {.base = session_begin("agent serve", given->json),
                     .given = given,
                     .shares = given->shares,
                     .signals = -1};
    dray_status status = serve_begin(&job);
    if (status == DRAY_OK)
        status = ready_tell(&job);
    if (status == DRAY_OK)
        status = serve_until_told(&job);
    if (status == DRAY_OK)
        end_tell(&job);
    if (job.agent && status == DRAY_OK)
        status = shares_sync(&job.shares, &job.base.error);
    serve_end(&job);
    return session_end(&job.base, status, job.printed);
}

static const option agent_options[] = {
    {"share", "NAME=PLACE", "a file that peers may read: NAME=disk:PATH; may be given again",
     .parse = share_parse, .at = offsetof(agent_values, shares), .many = true},
    {"share-writable", "NAME=PLACE",
     "one that they may write, too: NAME=disk:PATH, or fresh memory:\n"
     "NAME=system:SIZE, NAME=pinned:SIZE",
     .parse = share_parse_writable, .at = offsetof(agent_values, shares), .many = true},
    {"listen", "HOST:PORT",
     "where; port 0: any (default 127.0.0.1:0); an address that other\n"
     "machines reach needs a secret",
     .parse = option_text, .at = offsetof(agent_values, listen)},
    {"secret-file", "FILE",
     "what peers have to know (default: the value of " SECRET_VARIABLE ", if any)",
     .parse = option_text, .at = offsetof(agent_values, secret_file)},
    {"name", "NAME", "what peers know this agent by (default: the host's name and the process)",
     .parse = option_text, .at = offsetof(agent_values, name)},
    {"json", NULL, "say that it is ready as a JSON document", .at = offsetof(agent_values, json)},
    {0},
};

const command command_agent_serve = {
    .name = "agent serve",
    .summary = "share files and memory with other processes and machines",
    .description =
        "`dray agent serve` shares named regions until SIGINT or SIGTERM. The line that begins with\n"
        "\"ready: \" says where; `dray copy` takes it, with /NAME behind it, as SRC or DST. A secret is 16\n"
        "bytes or more from a random source, the same on both sides. It decides who learns of the\n"
        "regions; the transfers themselves are neither encrypted nor authenticated: beyond this machine,\n"
        "use it on networks that you trust, or inside a tunnel.\n",
    .options = agent_options,
    .values_bytes = sizeof(agent_values),
    .check = agent_check,
    .run = agent_run,
};

static const command *const agent_verbs[] = {&command_agent_serve, NULL};

const command command_agent = {
    .name = "agent",
    .summary = "share files and memory with other processes and machines",
    .parts = agent_verbs,
};
