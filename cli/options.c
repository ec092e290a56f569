/// The one parser of every command line. See options.h.
#include "options.h"

#include "text.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define OPTIONS_MAX 32

bool option_wrong(option_problem *problem, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(problem->sentence, sizeof(problem->sentence), format, args);
    va_end(args);
    return false;
}

// --- suggestions ---------------------------------------------------------------------------------

void option_suggest(option_problem *problem, const char *word, const char *dashes,
                    const char *const *names)
{
    const char *nearest = NULL;
    unsigned least = 1 + (unsigned)strlen(word) / 3; // as many slips of the finger as we believe in
    for (; *names; names++) {
        unsigned distance = text_distance(word, *names);
        if (distance <= least && distance < strlen(*names)) {
            least = distance;
            nearest = *names;
        }
    }
    size_t used = strlen(problem->sentence);
    if (nearest)
        snprintf(problem->sentence + used, sizeof(problem->sentence) - used, "; did you mean %s%s?",
                 dashes, nearest);
}

static bool unknown_option(const option *options, const char *given, size_t name_length,
                           option_problem *problem)
{
    const char *names[OPTIONS_MAX + 2] = {"help"};
    size_t count = 1;
    for (; options->name && count < OPTIONS_MAX; options++)
        names[count++] = options->name;
    char word[64];
    snprintf(word, sizeof(word), "%.*s", (int)name_length, given);
    char *safe = text_safe(word, strlen(word));
    option_wrong(problem, "there is no option --%s", safe);
    option_suggest(problem, word, "--", names);
    free(safe);
    return false;
}

// --- the command line ----------------------------------------------------------------------------

/// One reading of one command line.
typedef struct reading {
    const option *options;
    char *const *next, *const *end;
    char *values;
    bool seen[OPTIONS_MAX];
    option_problem *problem;
} reading;

static const option *option_find(const option *options, const char *name, size_t length)
{
    for (; options->name; options++) {
        if (strlen(options->name) == length && memcmp(options->name, name, length) == 0)
            return options;
    }
    return NULL;
}

/// The value after "=", or the next argument; NULL: there is none.
static const char *take_value(reading *line, const char *after_name)
{
    if (*after_name == '=')
        return after_name + 1;
    if (line->next == line->end || strncmp(*line->next, "--", 2) == 0)
        return NULL;
    return *line->next++;
}

/// `given` stands behind the two dashes.
static bool read_option(reading *line, const char *given)
{
    size_t length = strcspn(given, "=");
    const option *found = option_find(line->options, given, length);
    if (!found)
        return unknown_option(line->options, given, length, line->problem);
    bool *seen = &line->seen[found - line->options];
    if (*seen && !found->many)
        return option_wrong(line->problem, "--%s is given twice", found->name);
    *seen = true;
    if (!found->value) {
        if (given[length] == '=')
            return option_wrong(line->problem, "--%s takes no value", found->name);
        *(bool *)(line->values + found->at) = true;
        return true;
    }
    const char *value = take_value(line, given + length);
    if (!value)
        return option_wrong(line->problem, "--%s needs a value: --%s %s", found->name, found->name,
                            found->value);
    option_problem why = {{0}};
    if (found->parse(value, line->values + found->at, &why))
        return true;
    char *safe = text_safe_start(value, strlen(value), 64);
    option_wrong(line->problem, "--%s %s: %s", found->name, safe, why.sentence);
    free(safe);
    return false;
}

static bool read_operand(reading *line, option_operand operand, const char *given)
{
    for (const option_operand *each = &operand; each && each->name; each = each->next) {
        if (each->many)
            return option_word(given, line->values + each->at, line->problem);
        const char **field = (const char **)(void *)(line->values + each->at);
        if (!*field) {
            *field = given;
            return true;
        }
    }
    char *safe = text_safe_start(given, strlen(given), 64);
    option_wrong(line->problem,
                 operand.next   ? "one %s and one %s: \"%s\" is one too many"
                 : operand.name ? "one %s%s at a time: \"%s\" is one too many"
                                : "%s%s\"%s\" is not wanted here",
                 operand.name ? operand.name : "", operand.next ? operand.next->name : "", safe);
    free(safe);
    return false;
}

static bool nothing_missing(const reading *line, option_operand operand)
{
    for (const option_operand *each = &operand; each && each->name; each = each->next) {
        if (!each->many && !*(const char **)(void *)(line->values + each->at))
            return option_wrong(line->problem, "%s is missing", each->name);
    }
    for (const option *each = line->options; each->name; each++) {
        if (each->required && !line->seen[each - line->options])
            return option_wrong(line->problem, "--%s %s is missing: %s", each->name, each->value,
                                each->help);
    }
    return true;
}

/// "-7", "-.5", "-inf": no option begins like that.
static bool is_number(const char *text)
{
    char *end;
    strtod(text, &end);
    return end != text && !*end;
}

option_result options_parse(const option *options, option_operand operand, int count,
                            char *const *arguments, void *values, option_problem *problem)
{
    reading line = {.options = options,
                    .next = arguments,
                    .end = arguments + count,
                    .values = values,
                    .problem = problem};
    bool options_ended = false;
    while (line.next < line.end) {
        const char *given = *line.next++;
        bool fine;
        if (!options_ended && strcmp(given, "--") == 0)
            fine = options_ended = true;
        else if (!options_ended && (strcmp(given, "--help") == 0 || strcmp(given, "-h") == 0))
            return OPTIONS_HELP;
        else if (!options_ended && strncmp(given, "--", 2) == 0)
            fine = read_option(&line, given + 2);
        else if (!options_ended && given[0] == '-' && given[1] && !is_number(given))
            fine = option_wrong(
                problem,
                "there is no option %.40s (options begin with two dashes; a file that begins "
                "with one is written ./%.40s)",
                given, given);
        else
            fine = read_operand(&line, operand, given);
        if (!fine)
            return OPTIONS_WRONG;
    }
    return nothing_missing(&line, operand) ? OPTIONS_OK : OPTIONS_WRONG;
}

// --- help ----------------------------------------------------------------------------------------

#define HELP_COLUMN 24

void options_print(const option *options, FILE *stream)
{
    for (; options->name; options++) {
        int used = fprintf(stream, "  --%s%s%s", options->name, options->value ? " " : "",
                           options->value ? options->value : "");
        if (used >= HELP_COLUMN - 1) {
            fputc('\n', stream);
            used = 0;
        }
        fprintf(stream, "%*s", HELP_COLUMN - used, "");
        for (const char *each = options->help; *each; each++) {
            fputc(*each, stream);
            if (*each == '\n')
                fprintf(stream, "%*s", HELP_COLUMN, "");
        }
        fputc('\n', stream);
    }
}

// --- values --------------------------------------------------------------------------------------

bool option_text(const char *text, void *field, option_problem *problem)
{
    if (!*text)
        return option_wrong(problem, "the value is empty");
    *(const char **)field = text;
    return true;
}

bool option_word(const char *text, void *field, option_problem *problem)
{
    option_words *list = field;
    if (list->count == OPTION_WORDS_MAX)
        return option_wrong(problem, "more than %d are given", OPTION_WORDS_MAX);
    list->words[list->count++] = text;
    return true;
}

bool option_count(const char *text, void *field, option_problem *problem)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)*text) || *end || errno || value > UINT32_MAX)
        return option_wrong(problem, "wanted a whole number");
    *(option_number *)field = (option_number){.given = true, .value = (uint32_t)value};
    return true;
}

/// 2^10, 2^20, ... for "K", "KB", "KiB" and so on, which mean the same here; 0: not a unit.
static double unit_bytes(const char *unit)
{
    static const char letters[] = "KMGT";
    if (!*unit || strcasecmp(unit, "B") == 0)
        return 1;
    const char *letter = strchr(letters, toupper((unsigned char)*unit));
    bool rest_fits = !unit[1] || strcasecmp(unit + 1, "B") == 0 || strcasecmp(unit + 1, "iB") == 0;
    if (!letter || !rest_fits)
        return 0;
    return (double)(1ull << (10 * (letter - letters + 1)));
}

bool option_bytes(const char *text, void *field, option_problem *problem)
{
    size_t digits =
        strspn(text, "0123456789."); // strtod alone would take "0x10", "inf" and "1e9" as well
    char *end;
    double value = strtod(text, &end);
    double unit = end == text + digits ? unit_bytes(end) : 0;
    if (!isdigit((unsigned char)*text) || unit == 0 || value * unit < 1 || value * unit >= 9.2e18)
        return option_wrong(problem, "wanted a size like 4096, 512M or 1.5G (powers of 1024)");
    *(uint64_t *)field = (uint64_t)(value * unit);
    return true;
}
