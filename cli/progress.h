/// cli/progress: one line on a terminal with a bar, the rate and the time that is left.
///
/// Only when standard error is a terminal; otherwise nothing at all is written. It also carries Ctrl-C:
/// the first one makes progress_update() return false, so that the library stops in order (and
/// removes a half-written file); the second one ends the program.
#ifndef DRAY_CLI_PROGRESS_H
#define DRAY_CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct progress {
    const char *what;  // "loading"
    bool shown;        // a terminal is there
    bool drawn;        // a line stands on it
    double started_at; // seconds of the monotonic clock
    double drawn_at;
} progress;

/// `what` is borrowed.
void progress_begin(progress *bar, const char *what);
/// dray_load_events.progress, with the bar as `self`. Draws ten times a second at most.
bool progress_update(void *self, uint64_t bytes_done, uint64_t bytes_total);
/// Takes the line off the terminal. May be called twice.
void progress_end(progress *bar);

/// The line itself: pure. `width` columns at most.
void progress_line(char *out, size_t out_bytes, const char *what, uint64_t done, uint64_t total,
                   double seconds, unsigned width, bool utf8);

/// Seconds of the monotonic clock.
double progress_now(void);

#endif
