/// cli/options: a command's options as a table, and the one parser that reads every command line.
///
/// Options stand in any order, before and after the file; `--name VALUE` and `--name=VALUE` are the
/// same; `--` ends them. An option given twice is refused: the last one would win in silence.
///
///     static const option options[] = {
///         {"to", "KIND", "where the bytes go", .parse = parse_kind, .at = offsetof(values, to)},
///         {"json", NULL, "one JSON document on stdout", .at = offsetof(values, json)},
///         {0},
///     };
#ifndef DRAY_CLI_OPTIONS_H
#define DRAY_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/// A sentence that says what is wrong with a command line.
typedef struct option_problem {
    char sentence[512];
} option_problem;

/// Reads `text` into the field. False, with the sentence written: what is accepted instead.
typedef bool (*option_parse)(const char *text, void *field, option_problem *problem);

typedef struct option {
    const char *name;  ///< without the dashes; NULL ends the table
    const char *value; ///< what the value is called in the help; NULL: a flag, whose field is a bool
    const char *help;  ///< one line or several
    option_parse parse; ///< required when there is a value
    size_t at;          ///< offset of the field in the command's struct of values
    bool required;
    bool many; ///< may be given more than once: `parse` adds to its field (option_word)
} option;

/// What stands on a command line besides the options.
typedef struct option_operand {
    const char *name;                  ///< "FILE"; NULL: the command takes none
    size_t at;                         ///< a const char * in the struct of values
    const struct option_operand *next; ///< another one behind it, or NULL
    bool many;                         ///< the last one only: none or more, an option_words
} option_operand;

typedef enum option_result { OPTIONS_OK = 0, OPTIONS_HELP = 1, OPTIONS_WRONG = 2 } option_result;

/// `values` is zeroed by the caller and keeps pointers into `arguments`. --help and -h end the reading.
option_result options_parse(const option *options, option_operand operand, int count,
                            char *const *arguments, void *values, option_problem *problem);
/// A line or more per option, for --help.
void options_print(const option *options, FILE *stream);

/// Writes the sentence and returns false.
bool option_wrong(option_problem *problem, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

// Parsers for the usual kinds of value.
bool option_text(const char *text, void *field, option_problem *problem);  ///< const char *
bool option_count(const char *text, void *field, option_problem *problem); ///< option_number
bool option_bytes(const char *text, void *field,
                  option_problem *problem); ///< uint64_t: "512M", "1.5GiB"

/// Several words, as they were given.
#define OPTION_WORDS_MAX 64
typedef struct option_words {
    const char *words[OPTION_WORDS_MAX];
    uint32_t count;
} option_words;
bool option_word(const char *text, void *field,
                 option_problem *problem); ///< adds to an option_words

/// A number that may be absent.
typedef struct option_number {
    bool given;
    uint32_t value;
} option_number;

/// Adds "did you mean ...?" when one of `names` (NULL-terminated) is near `word`. `dashes`: "--" or "".
void option_suggest(option_problem *problem, const char *word, const char *dashes,
                    const char *const *names);

#endif
