/// dray: puts the bytes of AI inference where they are needed.
///
/// The tool stands on the public headers only. This file knows the verbs and nothing of what they do.
#include "command.h"
#include "json_out.h"
#include "terminal.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const command *const commands[] = {
    &command_inspect,  &command_load, &command_copy,    &command_verify,
    &command_manifest, &command_info, &command_devices, &command_bench,
};
#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static void print_overview(FILE *stream)
{
    fprintf(
        stream,
        "dray %s puts the bytes of model files where they are needed, and checks them on the way.\n\n"
        "usage: dray VERB [FILE] [OPTIONS]\n\n",
        dray_version());
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(stream, "  %-10s%s\n", commands[i]->name, commands[i]->summary);
    fputs("\n  dray VERB --help    says more of one of them\n"
          "  dray --version      prints the version\n",
          stream);
}

/// The usage, broken between options before it gets wider than a page.
static void print_usage(const command *verb)
{
    int indent = printf("usage: dray %s", verb->name), used = indent;
    for (const option_operand *each = &verb->operand; each && each->name; each = each->next)
        used += printf(" %s", each->name);
    for (const option *each = verb->options; each->name; each++) {
        char text[128];
        int length = snprintf(text, sizeof(text), each->required ? " --%s%s%s" : " [--%s%s%s]",
                              each->name, each->value ? " " : "", each->value ? each->value : "");
        if (used + length > 80) {
            printf("\n%*s", indent, "");
            used = indent;
        }
        used += printf("%s", text);
    }
    putchar('\n');
}

static void print_help(const command *verb)
{
    print_usage(verb);
    printf("\n%s\n", verb->description);
    options_print(verb->options, stdout);
}

/// Whether the answer is expected as JSON, even if the rest of the line makes no sense.
static bool wants_json(int count, char *const *arguments)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(arguments[i], "--") == 0)
            return false;
        if (strcmp(arguments[i], "--json") == 0)
            return true;
    }
    return false;
}

static int wrong_usage(const command *verb, bool json, const option_problem *problem)
{
    const char *name = verb ? verb->name : "";
    if (json) {
        dray_error error;
        dray_fail(&error, DRAY_E_INVALID, "%s", problem->sentence);
        json_out out = json_begin(stdout);
        json_object(&out, NULL);
        session_error_out(&out, &error);
        json_end(&out);
        json_finish(&out);
    }
    fprintf(stderr, "dray%s%s: %s\n", verb ? " " : "", name, problem->sentence);
    fprintf(stderr, "dray%s%s: see dray%s%s --help\n", verb ? " " : "", name, verb ? " " : "", name);
    return EXIT_USAGE;
}

static int unknown_verb(const char *given, bool json)
{
    const char *names[COMMAND_COUNT + 1] = {NULL};
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        names[i] = commands[i]->name;
    option_problem problem = {{0}};
    char *safe = text_safe_start(given, strlen(given), 64);
    option_wrong(&problem, "there is no verb \"%s\"", safe);
    option_suggest(&problem, given, "dray ", names);
    free(safe);
    return wrong_usage(NULL, json, &problem);
}

static int run_command(const command *verb, int count, char *const *arguments)
{
    void *values = calloc(1, verb->values_bytes);
    option_problem problem = {{0}};
    int code = EXIT_DONE;
    if (!values)
        option_wrong(&problem, "out of memory");
    option_result result =
        values ? options_parse(verb->options, verb->operand, count, arguments, values, &problem)
               : OPTIONS_WRONG;
    if (result == OPTIONS_OK && verb->check && !verb->check(values, &problem))
        result = OPTIONS_WRONG;
    if (result == OPTIONS_HELP)
        print_help(verb);
    else if (result == OPTIONS_WRONG)
        code = wrong_usage(verb, wants_json(count, arguments), &problem);
    else
        code = verb->run(values);
    free(values);
    return code;
}

static int run(int count, char *const *arguments)
{
    if (count == 0) {
        print_overview(stderr);
        return EXIT_USAGE;
    }
    const char *first = arguments[0];
    if (strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0 || strcmp(first, "help") == 0) {
        print_overview(stdout);
        return EXIT_DONE;
    }
    if (strcmp(first, "--version") == 0) {
        printf("dray %s\n", dray_version());
        return EXIT_DONE;
    }
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i]->name, first) == 0)
            return run_command(commands[i], count - 1, arguments + 1);
    }
    return unknown_verb(first, wants_json(count, arguments));
}

/// A standard stream that the caller closed would lend its number to the next file that is opened, and
/// what we print would land in there. A reader of /dev/null keeps the place: writing to it still fails.
static void streams_keep_places(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) != fd)
            abort(); // without it, nothing that follows is safe
    }
}

int main(int count, char **arguments)
{
    streams_keep_places();
    terminal_begin();
    int code = run(count - 1, arguments + 1);
    errno = 0;
    if (fflush(stdout) != 0 || ferror(stdout)) { // a full disk must not look like success
        fprintf(stderr, "dray: cannot write to standard output%s%s\n", errno ? ": " : "",
                errno ? strerror(errno) : "");
        return code == EXIT_DONE ? EXIT_REFUSED : code;
    }
    return code;
}
