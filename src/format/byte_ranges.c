#include "format/byte_ranges.h"

#include "base/checked.h"
#include "base/sort.h"

static int compare(const void *left, const void *right, const void *self)
{
    const drayi_byte_range *a = left, *b = right;
    (void)self;
    if (a->begin != b->begin)
        return a->begin < b->begin ? -1 : 1;
    return (a->end > b->end) - (a->end < b->end);
}

bool drayi_ranges_overlap(drayi_byte_range *ranges, drayi_byte_range *scratch, uint64_t count,
                          drayi_byte_range *out)
{
    drayi_sort(ranges, scratch, count, sizeof(*ranges), compare, NULL);
    uint64_t end = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (ranges[i].begin < end && ranges[i].begin < ranges[i].end) {
            *out = (drayi_byte_range){.begin = ranges[i].begin, .end = end};
            return true;
        }
        end = drayi_max(end, ranges[i].end);
    }
    return false;
}
