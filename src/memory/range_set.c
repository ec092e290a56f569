/// A sorted array. An object has a handful of locked ranges, so moving the tail is nothing; and either
/// change makes the array longer by at most one, so one free entry is all that a change can need.
#include "memory/range_set.h"

#include "base/checked.h"

#include <assert.h>
#include <string.h>

dray_status drayi_range_set_reserve(drayi_env *env, drayi_range_set *set, dray_error *error)
{
    void *array = set->ranges;
    dray_status status =
        drayi_grow(env, &array, &set->capacity, set->count + 1, sizeof(drayi_range), error);
    set->ranges = array;
    return status;
}

/// Replaces `old_count` entries at `at` by `fresh`.
static void replace(drayi_range_set *set, uint64_t at, uint64_t old_count, const drayi_range *fresh,
                    uint64_t fresh_count)
{
    uint64_t tail = set->count - at - old_count;
    assert(set->count - old_count + fresh_count <= set->capacity);
    memmove(set->ranges + at + fresh_count, set->ranges + at + old_count,
            (size_t)tail * sizeof(drayi_range));
    memcpy(set->ranges + at, fresh, (size_t)fresh_count * sizeof(drayi_range));
    set->count = set->count - old_count + fresh_count;
}

void drayi_range_set_add(drayi_range_set *set, uint64_t first, uint64_t end)
{
    if (first >= end)
        return;
    uint64_t at = 0;
    while (at < set->count && set->ranges[at].end < first)
        at++;
    drayi_range merged = {first, end};
    uint64_t touched = 0;
    for (; at + touched < set->count && set->ranges[at + touched].first <= end; touched++) {
        merged.first = drayi_min(merged.first, set->ranges[at + touched].first);
        merged.end = drayi_max(merged.end, set->ranges[at + touched].end);
    }
    replace(set, at, touched, &merged, 1);
}

void drayi_range_set_remove(drayi_range_set *set, uint64_t first, uint64_t end)
{
    if (first >= end)
        return;
    uint64_t at = 0;
    while (at < set->count && set->ranges[at].end <= first)
        at++;
    drayi_range kept[2];
    uint64_t touched = 0, kept_count = 0;
    for (; at + touched < set->count && set->ranges[at + touched].first < end; touched++) {
        drayi_range old = set->ranges[at + touched];
        if (old.first < first)
            kept[kept_count++] = (drayi_range){old.first, first};
        if (old.end > end)
            kept[kept_count++] = (drayi_range){end, old.end};
    }
    if (touched > 0)
        replace(set, at, touched, kept, kept_count);
}

uint64_t drayi_range_set_bytes(const drayi_range_set *set, uint64_t first, uint64_t end)
{
    uint64_t bytes = 0;
    for (uint64_t i = 0; i < set->count; i++) {
        uint64_t from = drayi_max(first, set->ranges[i].first),
                 to = drayi_min(end, set->ranges[i].end);
        bytes += to > from ? to - from : 0;
    }
    return bytes;
}

void drayi_range_set_free(drayi_env *env, drayi_range_set *set)
{
    drayi_free(env, set->ranges, (size_t)set->capacity * sizeof(drayi_range));
    *set = (drayi_range_set){0};
}
