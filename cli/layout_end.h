/// cli/layout_end: one side of `dray layout move`, from its line "LAYOUT@PLACE" to a layout with memory.
///
/// A file that exists is used as it is, when it has the size that the layout wants; one that does not
/// exist is made. A peer's region must be large enough.
#ifndef DRAY_CLI_LAYOUT_END_H
#define DRAY_CLI_LAYOUT_END_H

#include "location.h"
#include "options.h"
#include "secret.h"

typedef struct layout_end {
    const char *name; ///< "source" or "target"
    dray_layout_config config;
    dray_layout_geometry geometry;
    location at;
    dray_device *device; // or NULL
    dray_region *base;   // file or peer's region; NULL: the layout has allocated
    dray_layout *layout;
    bool made; ///< a file that has to go again when the move fails
} layout_end;

/// Only reads the line. False, with the sentence.
bool layout_end_parse(const char *name, const char *text, layout_end *out, option_problem *problem);
/// Is it memory of ours, which holds nothing yet?
bool layout_end_is_fresh(const layout_end *end);
/// `make`: a file that does not exist may be made.
dray_status layout_end_open(layout_end *end, dray_agent *agent, const secret *shared, bool make,
                            dray_error *error);
/// What was written into a file is on the disk afterwards.
dray_status layout_end_sync(const layout_end *end, dray_error *error);
/// Before its agent goes. `failed`: files that were made go, too.
void layout_end_close(layout_end *end, bool failed);

#endif
