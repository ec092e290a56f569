/// cli/layout_drawing: a KV-cache layout for people: its numbers, and a block as a picture of boxes.
#ifndef DRAY_CLI_LAYOUT_DRAWING_H
#define DRAY_CLI_LAYOUT_DRAWING_H

#include <dray/dray.h>

#include <stdio.h>

void layout_draw(const dray_layout_geometry *geometry, FILE *stream);

#endif
