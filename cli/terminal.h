/// cli/terminal: what is known of the place that text goes to.
///
/// A pipe or a file gets plain text of any width; a terminal gets its own width and bold headings
/// (unless NO_COLOR is set). Nothing else of the tool asks what kind of stream it writes to.
#ifndef DRAY_CLI_TERMINAL_H
#define DRAY_CLI_TERMINAL_H

#include <stdbool.h>
#include <stdio.h>

bool terminal_is(FILE *stream);
/// Columns of the terminal; 0: no limit, because it is none.
unsigned terminal_width(FILE *stream);
/// Escape sequences around a heading, or "".
const char *terminal_bold(FILE *stream);
const char *terminal_plain(FILE *stream);
/// Whether the user's locale shows more than ASCII. Call terminal_begin() first.
bool terminal_shows_utf8(void);
/// Once, at the start of main: reads the locale.
void terminal_begin(void);

#endif
