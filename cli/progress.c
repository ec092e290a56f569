/// One line on a terminal with a bar, the rate and the time that is left. See progress.h.
#include "progress.h"

#include "terminal.h"
#include "text.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define DRAW_EVERY_SECONDS 0.1
#define LINE_BYTES 1024
#define BAR_COLUMNS_MAX 40

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

double progress_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void progress_begin(progress *bar, const char *what)
{
    *bar = (progress){.what = what, .shown = terminal_is(stderr), .started_at = progress_now()};
    struct sigaction action = {.sa_handler = on_interrupt,
                               .sa_flags = (int)(SA_RESETHAND | SA_RESTART)};
    struct sigaction old;
    if (sigaction(SIGINT, NULL, &old) == 0 && old.sa_handler != SIG_IGN)
        sigaction(SIGINT, &action, NULL);
}

/// "0:07", "12:40", "3:02:05".
static void clock_text(char out[TEXT_NUMBER_BYTES], double seconds)
{
    if (seconds > 359999)
        seconds = 359999;
    unsigned whole = (unsigned)(seconds + 0.5);
    if (whole >= 3600)
        snprintf(out, TEXT_NUMBER_BYTES, "%u:%02u:%02u", whole / 3600, whole / 60 % 60, whole % 60);
    else
        snprintf(out, TEXT_NUMBER_BYTES, "%u:%02u", whole / 60, whole % 60);
}

static void bar_text(char *out, size_t out_bytes, unsigned columns, double part, bool utf8)
{
    unsigned filled = (unsigned)(part * columns + 0.5);
    size_t used = 0;
    for (unsigned i = 0; i < columns; i++) {
        const char *cell = utf8 ? (i < filled ? "\u2501" : "\u2500") : (i < filled ? "=" : "-");
        if (used + strlen(cell) + 1 > out_bytes)
            break;
        memcpy(out + used, cell, strlen(cell));
        used += strlen(cell);
    }
    out[used] = '\0';
}

void progress_line(char *out, size_t out_bytes, const char *what, uint64_t done, uint64_t total,
                   double seconds, unsigned width, bool utf8)
{
    double part = total ? (double)(done < total ? done : total) / (double)total : 0;
    double rate = seconds > 0 ? (double)done / seconds : 0;
    char done_text[TEXT_NUMBER_BYTES], total_text[TEXT_NUMBER_BYTES],
        left[TEXT_NUMBER_BYTES] = "-:--";
    if (rate > 0 && done <= total)
        clock_text(left, (double)(total - done) / rate);
    char tail[160], bar[LINE_BYTES / 2] = "";
    int tail_columns =
        snprintf(tail, sizeof(tail), "%3.0f%%  %s of %s  %.2f GB/s  %s left", part * 100,
                 text_bytes(done_text, done), text_bytes(total_text, total), rate / 1e9, left);
    unsigned taken = (unsigned)tail_columns + text_width(what) + 4;
    unsigned columns = width > taken ? width - taken : 0;
    if (columns > BAR_COLUMNS_MAX)
        columns = BAR_COLUMNS_MAX;
    if (columns >= 5)
        bar_text(bar, sizeof(bar), columns, part, utf8);
    char line[LINE_BYTES];
    snprintf(line, sizeof(line), "%s  %s%s%s", what, bar, *bar ? "  " : "", tail);
    if (text_width(line) > width)
        snprintf(line, sizeof(line), "%3.0f%%", part * 100);
    snprintf(out, out_bytes, "%s", line);
}

static void draw(progress *bar, uint64_t done, uint64_t total, double now)
{
    char line[LINE_BYTES];
    progress_line(line, sizeof(line), bar->what, done, total, now - bar->started_at,
                  terminal_width(stderr) - 1, terminal_shows_utf8());
    fprintf(stderr, "\r%s\033[K", line);
    fflush(stderr);
    bar->drawn = true;
    bar->drawn_at = now;
}

bool progress_update(void *self, uint64_t bytes_done, uint64_t bytes_total)
{
    progress *bar = self;
    double now = progress_now();
    if (bar->shown && now - bar->drawn_at >= DRAW_EVERY_SECONDS)
        draw(bar, bytes_done, bytes_total, now);
    return !interrupted;
}

void progress_end(progress *bar)
{
    if (bar->drawn)
        fputs("\r\033[K", stderr);
    bar->drawn = false;
}
