/// Rows and columns for people. See table.h.
///
/// All cells are kept, because the width of a column is that of its widest cell. When the sum is wider
/// than the terminal, columns that may go are left out, and those that may be cut share what is missing.
#include "table.h"

#include "terminal.h"
#include "text.h"

#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define GAP 2u
#define SHRUNK_MIN 16u // a name cut further says nothing any more

struct table {
    const table_column *columns;
    unsigned column_count;
    char **cells; // row by row
    uint64_t cell_count, cell_capacity;
};

table *table_create(const table_column *columns, unsigned column_count)
{
    assert(column_count > 0);
    table *rows = text_memory(NULL, sizeof(*rows));
    *rows = (table){.columns = columns, .column_count = column_count};
    return rows;
}

void table_cell(table *rows, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *cell = text_format_args(format, args);
    va_end(args);
    if (rows->cell_count == rows->cell_capacity) {
        rows->cell_capacity = rows->cell_capacity ? 2 * rows->cell_capacity : 64;
        rows->cells = text_memory(rows->cells, rows->cell_capacity * sizeof(*rows->cells));
    }
    rows->cells[rows->cell_count++] = cell;
}

uint64_t table_row_count(const table *rows)
{
    return rows->cell_count / rows->column_count;
}

void table_destroy(table *rows)
{
    if (!rows)
        return;
    for (uint64_t i = 0; i < rows->cell_count; i++)
        free(rows->cells[i]);
    free(rows->cells);
    free(rows);
}

/// Widths as the cells want them; returns the width of a line.
static unsigned widths_wanted(const table *rows, unsigned *widths)
{
    assert(rows->column_count > 0);
    for (unsigned column = 0; column < rows->column_count; column++)
        widths[column] = rows->columns[column].title ? text_width(rows->columns[column].title) : 1;
    for (uint64_t i = 0; i < rows->cell_count; i++) {
        unsigned width = text_width(rows->cells[i]), column = (unsigned)(i % rows->column_count);
        if (width > widths[column])
            widths[column] = width;
    }
    unsigned line = GAP * (rows->column_count - 1);
    for (unsigned column = 0; column < rows->column_count; column++)
        line += widths[column];
    return line;
}

static bool may_be_cut(const table_column *column)
{
    return column->cut == TABLE_CUT_MIDDLE || column->cut == TABLE_CUT_END;
}

/// Leaves out columns that may go (their width becomes 0) until the line fits; returns its width then.
static unsigned columns_drop(const table *rows, unsigned *widths, unsigned line, unsigned width)
{
    for (unsigned column = rows->column_count; column-- > 0 && line > width;) {
        if (rows->columns[column].cut == TABLE_MAY_GO) {
            line -= widths[column] + GAP;
            widths[column] = 0;
        }
    }
    return line;
}

/// Takes columns off the widest cell that may be cut, until the line fits or nothing can.
static void widths_shrink(const table *rows, unsigned *widths, unsigned line, unsigned width)
{
    while (line > width) {
        unsigned *widest = NULL;
        for (unsigned column = 0; column < rows->column_count; column++) {
            if (may_be_cut(&rows->columns[column]) && widths[column] > SHRUNK_MIN &&
                (!widest || widths[column] > *widest))
                widest = &widths[column];
        }
        if (!widest)
            return;
        --*widest;
        line--;
    }
}

/// Blanks are owed until text follows them, so that no line ends in one.
typedef struct table_line {
    FILE *stream;
    unsigned owed;
} table_line;

static void line_text(table_line *line, const char *text)
{
    if (*text) {
        fprintf(line->stream, "%*s%s", (int)line->owed, "", text);
        line->owed = 0;
    }
}

static void line_end(table_line *line)
{
    fputc('\n', line->stream);
    line->owed = 0;
}

static void line_cell(table_line *line, const table_column *column, const char *text, unsigned width)
{
    if (width == 0)
        return; // left out
    char *cut = may_be_cut(column) ? text_elide(text, width, column->cut == TABLE_CUT_MIDDLE) : NULL;
    const char *shown = cut ? cut : text;
    unsigned taken = text_width(shown), missing = taken < width ? width - taken : 0;
    line->owed += column->align == TABLE_RIGHT ? missing : 0;
    line_text(line, shown);
    line->owed += (column->align == TABLE_LEFT ? missing : 0) + GAP;
    free(cut);
}

static void print_head(const table *rows, table_line *line, const unsigned *widths)
{
    line_text(line, terminal_bold(line->stream));
    for (unsigned column = 0; column < rows->column_count; column++)
        line_cell(line, &rows->columns[column], rows->columns[column].title, widths[column]);
    fputs(terminal_plain(line->stream), line->stream);
    line_end(line);
}

void table_print_within(const table *rows, FILE *stream, unsigned indent, unsigned width)
{
    unsigned *widths = text_memory(NULL, rows->column_count * sizeof(*widths));
    unsigned wanted = widths_wanted(rows, widths);
    if (width > 0) {
        unsigned room = width > indent ? width - indent : 0;
        wanted = columns_drop(rows, widths, wanted, room);
        widths_shrink(rows, widths, wanted, room);
    }
    table_line line = {.stream = stream, .owed = indent};
    if (rows->columns[0].title)
        print_head(rows, &line, widths);
    for (uint64_t i = 0; i < rows->cell_count; i++) {
        unsigned column = (unsigned)(i % rows->column_count);
        if (column == 0)
            line.owed = indent;
        line_cell(&line, &rows->columns[column], rows->cells[i], widths[column]);
        if (column + 1 == rows->column_count)
            line_end(&line);
    }
    free(widths);
}

void table_print(const table *rows, FILE *stream, unsigned indent)
{
    table_print_within(rows, stream, indent, terminal_width(stream));
}
