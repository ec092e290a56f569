/// Rows and columns for people. See table.h.
///
/// All cells are kept, because the width of a column is that of its widest cell. When the sum is wider
/// than the terminal, the columns that may shrink share what is missing.
#include "table.h"

#include "terminal.h"
#include "text.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define GAP 2u
#define SHRUNK_MIN 12u // a name cut further says nothing any more

struct table {
    const table_column *columns;
    unsigned column_count;
    char **cells; // row by row
    uint64_t cell_count, cell_capacity;
};

table *table_create(const table_column *columns, unsigned column_count)
{
    table *rows = text_memory(NULL, sizeof(*rows));
    *rows = (table){.columns = columns, .column_count = column_count};
    return rows;
}

void table_cell(table *rows, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *cell = NULL;
    if (vasprintf(&cell, format, args) < 0)
        cell = text_memory(NULL, SIZE_MAX); // says what is wrong and ends
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
    for (unsigned column = 0; column < rows->column_count; column++)
        widths[column] = rows->columns[column].title ? text_width(rows->columns[column].title) : 0;
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

/// Takes columns off the widest cell that may shrink, until the line fits or nothing can.
static void widths_shrink(const table *rows, unsigned *widths, unsigned line, unsigned width)
{
    while (line > width) {
        unsigned *widest = NULL;
        for (unsigned column = 0; column < rows->column_count; column++) {
            if (rows->columns[column].cut && widths[column] > SHRUNK_MIN &&
                (!widest || widths[column] > *widest))
                widest = &widths[column];
        }
        if (!widest)
            return;
        --*widest;
        line--;
    }
}

static void print_blanks(FILE *stream, unsigned count)
{
    fprintf(stream, "%*s", (int)count, "");
}

static void print_cell(const table *rows, FILE *stream, unsigned column, const char *text,
                       unsigned width)
{
    bool middle = rows->columns[column].cut == TABLE_CUT_MIDDLE;
    char *cut = rows->columns[column].cut ? text_elide(text, width, middle) : NULL;
    const char *shown = cut ? cut : text;
    unsigned taken = text_width(shown), missing = taken < width ? width - taken : 0;
    bool last = column + 1 == rows->column_count;
    if (column > 0)
        print_blanks(stream, GAP);
    if (rows->columns[column].align == TABLE_RIGHT)
        print_blanks(stream, missing);
    fputs(shown, stream);
    if (rows->columns[column].align == TABLE_LEFT && !last)
        print_blanks(stream, missing);
    free(cut);
}

void table_print_within(const table *rows, FILE *stream, unsigned indent, unsigned width)
{
    unsigned *widths = text_memory(NULL, rows->column_count * sizeof(*widths));
    unsigned line = widths_wanted(rows, widths);
    if (width > 0)
        widths_shrink(rows, widths, line, width > indent ? width - indent : 0);
    if (rows->columns[0].title) {
        print_blanks(stream, indent);
        fputs(terminal_bold(stream), stream);
        for (unsigned column = 0; column < rows->column_count; column++)
            print_cell(rows, stream, column, rows->columns[column].title, widths[column]);
        fprintf(stream, "%s\n", terminal_plain(stream));
    }
    for (uint64_t i = 0; i < rows->cell_count; i++) {
        unsigned column = (unsigned)(i % rows->column_count);
        if (column == 0)
            print_blanks(stream, indent);
        print_cell(rows, stream, column, rows->cells[i], widths[column]);
        if (column + 1 == rows->column_count)
            fputc('\n', stream);
    }
    free(widths);
}

void table_print(const table *rows, FILE *stream, unsigned indent)
{
    table_print_within(rows, stream, indent, terminal_width(stream));
}
