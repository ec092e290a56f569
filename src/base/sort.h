/// Sorting of entries that somebody else chose the order of.
///
/// The C library's qsort() allocates behind the allocator's back and may turn quadratic when it cannot;
/// this one is a merge sort in the caller's memory: stable, no recursion, n log n comparisons at most,
/// and n when the entries are in order already, as those of most files are.
#ifndef DRAY_BASE_SORT_H
#define DRAY_BASE_SORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// < 0, 0, > 0 as in qsort(); `self` is the caller's.
typedef int drayi_compare(const void *left, const void *right, const void *self);

bool drayi_in_order(const void *entries, uint64_t count, size_t entry_bytes, drayi_compare *compare,
                    const void *self);

/// `scratch` has room for `count` entries too; its contents afterwards are of no use.
void drayi_sort(void *entries, void *scratch, uint64_t count, size_t entry_bytes,
                drayi_compare *compare, const void *self);

#endif
