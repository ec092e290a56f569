/// What is known of the place that text goes to. See terminal.h.
#include "terminal.h"

#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static bool shows_utf8; // written once, before anything is printed

void terminal_begin(void)
{
    setlocale(LC_CTYPE, "");
    shows_utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    setlocale(LC_CTYPE,
              "C.UTF-8"); // names in models are UTF-8 whatever the user's locale: for wcwidth()
}

bool terminal_shows_utf8(void)
{
    return shows_utf8;
}

bool terminal_is(FILE *stream)
{
    return isatty(fileno(stream)) == 1;
}

unsigned terminal_width(FILE *stream)
{
    struct winsize size = {0};
    if (!terminal_is(stream))
        return 0;
    if (ioctl(fileno(stream), TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return 80;
    return size.ws_col;
}

static bool styled(FILE *stream)
{
    const char *no_color = getenv("NO_COLOR");
    const char *kind = getenv("TERM");
    return terminal_is(stream) && !(no_color && *no_color) && kind && strcmp(kind, "dumb") != 0;
}

const char *terminal_bold(FILE *stream)
{
    return styled(stream) ? "\033[1m" : "";
}

const char *terminal_plain(FILE *stream)
{
    return styled(stream) ? "\033[0m" : "";
}
