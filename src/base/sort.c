/// Runs of one, two, four, ... entries are merged from one block of memory into the other and back.
#include "base/sort.h"

#include "base/checked.h"

#include <string.h>

typedef struct sorting {
    size_t entry_bytes;
    drayi_compare *compare;
    const void *self;
} sorting;

bool drayi_in_order(const void *entries, uint64_t count, size_t entry_bytes, drayi_compare *compare,
                    const void *self)
{
    const char *at = entries;
    for (uint64_t i = 1; i < count; i++, at += entry_bytes) {
        if (compare(at, at + entry_bytes, self) > 0)
            return false;
    }
    return true;
}

/// Merges the neighbouring runs [left, right) and [right, end) into `to`; on a tie the left comes first.
static void merge(const sorting *sort, const char *left, const char *right, const char *end,
                  char *to)
{
    const char *left_end = right;
    while (left < left_end && right < end) {
        const char **from = sort->compare(left, right, sort->self) <= 0 ? &left : &right;
        memcpy(to, *from, sort->entry_bytes);
        *from += sort->entry_bytes;
        to += sort->entry_bytes;
    }
    memcpy(to, left, (size_t)(left_end - left));
    memcpy(to + (left_end - left), right, (size_t)(end - right));
}

void drayi_sort(void *entries, void *scratch, uint64_t count, size_t entry_bytes,
                drayi_compare *compare, const void *self)
{
    const sorting sort = {entry_bytes, compare, self};
    if (drayi_in_order(entries, count, entry_bytes, compare, self))
        return;
    char *from = entries, *to = scratch;
    for (uint64_t run = 1; run < count; run *= 2) {
        for (uint64_t at = 0; at < count; at += 2 * run) {
            uint64_t middle = drayi_min(at + run, count), end = drayi_min(at + 2 * run, count);
            merge(&sort, from + at * entry_bytes, from + middle * entry_bytes,
                  from + end * entry_bytes, to + at * entry_bytes);
        }
        char *swapped = from;
        from = to;
        to = swapped;
    }
    if (from != entries)
        memcpy(entries, from, count * entry_bytes);
}
