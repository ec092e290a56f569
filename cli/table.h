/// cli/table: rows and columns for people: numbers to the right, text to the left, as wide as the
/// terminal and no wider.
///
///     table *tensors = table_create(columns, 3);
///     table_cell(tensors, "%s", name); table_cell(...); table_cell(...);
///     table_print(tensors, stdout, 2);
///     table_destroy(tensors);
#ifndef DRAY_CLI_TABLE_H
#define DRAY_CLI_TABLE_H

#include <stdint.h>
#include <stdio.h>

typedef struct table_column {
    const char *title; ///< NULL in all columns: a table without a head
    enum { TABLE_LEFT = 0, TABLE_RIGHT = 1 } align;
    /// When the terminal is narrow: columns that may go are left out first, the last one before the
    /// others; then those that may be cut are.
    enum { TABLE_WHOLE = 0, TABLE_CUT_MIDDLE = 1, TABLE_CUT_END = 2, TABLE_MAY_GO = 3 } cut;
} table_column;

/// Borrows `columns`. Cells are filled row by row.
typedef struct table table;
table *table_create(const table_column *columns, unsigned column_count);
/// The text must be safe to print (text.h) and is copied.
void table_cell(table *rows, const char *format, ...) __attribute__((format(printf, 2, 3)));
uint64_t table_row_count(const table *rows);
/// Every line begins with `indent` blanks. Nothing is cut when `stream` is no terminal.
void table_print(const table *rows, FILE *stream, unsigned indent);
/// The same for a given width; 0: no limit.
void table_print_within(const table *rows, FILE *stream, unsigned indent, unsigned width);
/// NULL is accepted.
void table_destroy(table *rows);

#endif
