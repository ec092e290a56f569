/// Lines. See lines.h.
#include "base/lines.h"

#include <stdarg.h>
#include <stdio.h>

void drayi_lines_add(drayi_lines *lines, const char *format, ...)
{
    size_t room = sizeof(lines->line) - 1 - lines->used; // one byte stays for '\n'
    va_list args;
    va_start(args, format);
    int wrote = vsnprintf(lines->line + lines->used, room, format, args);
    va_end(args);
    if (wrote > 0)
        lines->used += (size_t)wrote < room ? (size_t)wrote : room - 1;
}

void drayi_lines_end(drayi_lines *lines)
{
    lines->line[lines->used++] = '\n';
    lines->write(lines->self, lines->line, lines->used);
    lines->used = 0;
}
