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
    &command_inspect,
    &command_load,
    &command_copy,
    &command_verify,
    &command_manifest,
    &command_info,
    &command_devices,
    &command_layout,
    &command_module,
    &command_hints,
    &command_bench,
    &command_agent,
    NULL,
};
#define VERBS_MAX 32 // of these, and of the second words of one

static void print_overview(FILE *stream)
{
    fprintf(
        stream,
        "dray %s puts the bytes of model files where they are needed, and checks them on the way.\n\n"
        "usage: dray VERB [FILE] [OPTIONS]\n\n",
        dray_version());
    for (const command *const *each = commands; *each; each++)
        fprintf(stream, "  %-10s%s\n", (*each)->name, (*each)->summary);
    fputs("\n  dray VERB --help    says more of one of them\n"
          "  dray --version      prints the version\n",
          stream);
}

/// The word that a verb is called by: of "layout plan" the second one.
static const char *last_word(const command *verb)
{
    const char *space = strrchr(verb->name, ' ');
    return space ? space + 1 : verb->name;
}

/// What `dray layout` says: the verbs that begin with this word.
static void print_parts(const command *verb, FILE *stream)
{
    fprintf(stream, "usage: dray %s VERB [OPTIONS]\n\n", verb->name);
    for (const command *const *each = verb->parts; *each; each++)
        fprintf(stream, "  %-20s%s\n", (*each)->name, (*each)->summary);
    fprintf(stream, "\n  dray %s VERB --help    says more of one of them\n", verb->name);
}

/// The usage, broken between options before it gets wider than a page.
static void print_usage(const command *verb)
{
    int indent = printf("usage: dray %s", verb->name), used = indent;
    for (const option_operand *each = &verb->operand; each && each->name; each = each->next)
        used += printf(each->many ? " [%s...]" : " %s", each->name);
    for (const option *each = verb->options; each->name; each++) {
        char text[128];
        int length = snprintf(text, sizeof(text), each->required ? " --%s%s%s%s" : " [--%s%s%s%s]",
                              each->name, each->value ? " " : "", each->value ? each->value : "",
                              each->many ? " ..." : "");
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

/// `group`: whose second word is unknown, or NULL.
static int unknown_verb(const command *group, const command *const *verbs, const char *given,
                        bool json)
{
    const char *names[VERBS_MAX + 1] = {NULL};
    for (size_t i = 0; i < VERBS_MAX && verbs[i]; i++)
        names[i] = last_word(verbs[i]);
    option_problem problem = {{0}};
    char *safe = text_safe_start(given, strlen(given), 64);
    char dashes[64];
    snprintf(dashes, sizeof(dashes), "dray %s%s", group ? group->name : "", group ? " " : "");
    option_wrong(&problem,
                 given[0] == '-' ? "there is no option %s; a verb comes first"
                                 : "there is no verb \"%s\"",
                 safe);
    option_suggest(&problem, given, dashes, names);
    free(safe);
    return wrong_usage(group, json, &problem);
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
    if (values && verb->drop)
        verb->drop(values);
    free(values);
    return code;
}

static const command *find_verb(const command *const *verbs, const char *word)
{
    for (; *verbs; verbs++) {
        if (strcmp(last_word(*verbs), word) == 0)
            return *verbs;
    }
    return NULL;
}

static bool asks_for_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0;
}

/// `arguments` begin behind the word of `group`.
static int run_part(const command *group, int count, char *const *arguments)
{
    if (count == 0 || asks_for_help(arguments[0])) {
        print_parts(group, count ? stdout : stderr);
        return count ? EXIT_DONE : EXIT_USAGE;
    }
    const command *verb = find_verb(group->parts, arguments[0]);
    return verb ? run_command(verb, count - 1, arguments + 1)
                : unknown_verb(group, group->parts, arguments[0], wants_json(count, arguments));
}

static int run(int count, char *const *arguments)
{
    if (count == 0 || asks_for_help(arguments[0])) {
        print_overview(count ? stdout : stderr);
        return count ? EXIT_DONE : EXIT_USAGE;
    }
    if (strcmp(arguments[0], "--version") == 0) {
        printf("dray %s\n", dray_version());
        return EXIT_DONE;
    }
    const command *verb = find_verb(commands, arguments[0]);
    if (!verb)
        return unknown_verb(NULL, commands, arguments[0], wants_json(count, arguments));
    return verb->parts ? run_part(verb, count - 1, arguments + 1)
                       : run_command(verb, count - 1, arguments + 1);
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
