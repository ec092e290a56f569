/// Text that goes out line by line through a callback. What does not fit into a line is cut; the line still
/// ends, and nothing is allocated.
#ifndef DRAY_BASE_LINES_H
#define DRAY_BASE_LINES_H

#include "dray/base.h"

#include <stddef.h>

typedef struct drayi_lines {
    void (*write)(void *self, const char *text, size_t bytes); // gets whole lines, '\n' included
    void *self;
    char line[768];
    size_t used;
} drayi_lines;

void drayi_lines_add(drayi_lines *lines, const char *format, ...) DRAY_PRINTF(2, 3);
void drayi_lines_end(drayi_lines *lines);

#endif
