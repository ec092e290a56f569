/// Open addressing with linear probing, at most three quarters full.
#include "weights/names.h"

#include "base/checked.h"
#include "os/os.h"

#include <inttypes.h>
#include <xxhash.h>

enum { slots_first = 64 };

static uint32_t name_hash(const drayi_names *names, dray_text name)
{
    return (uint32_t)XXH3_64bits_withSeed(name.bytes, (size_t)name.length, names->seed);
}

/// The table's address is random enough beside the clock; nobody gets to see either.
static uint64_t fresh_seed(const drayi_names *names, const void *slots)
{
    uint64_t words[3] = {(uint64_t)names->env->os->now_ns(), (uintptr_t)slots, (uintptr_t)&words};
    return XXH3_64bits(words, sizeof(words));
}

static void slot_put(drayi_name_slot *slots, uint64_t slot_count, drayi_name_slot entry)
{
    uint64_t at = entry.hash & (slot_count - 1);
    while (slots[at].position != 0)
        at = (at + 1) & (slot_count - 1);
    slots[at] = entry;
}

static dray_status names_grow(drayi_names *names, dray_error *error)
{
    uint64_t grown = names->slot_count ? names->slot_count * 2 : slots_first;
    drayi_name_slot *slots = drayi_alloc_array(names->env, grown, sizeof(*slots), error);
    if (!slots)
        return DRAY_E_NOMEM;
    if (names->slot_count == 0)
        names->seed = fresh_seed(names, slots);
    for (uint64_t i = 0; i < names->slot_count; i++) {
        if (names->slots[i].position != 0)
            slot_put(slots, grown, names->slots[i]);
    }
    drayi_free(names->env, names->slots, (size_t)names->slot_count * sizeof(*slots));
    names->slots = slots;
    names->slot_count = grown;
    return DRAY_OK;
}

uint64_t drayi_names_find(const drayi_names *names, const void *entries, size_t stride,
                          dray_text name)
{
    if (names->slot_count == 0)
        return UINT64_MAX;
    uint32_t hash = name_hash(names, name);
    for (uint64_t at = hash & (names->slot_count - 1);; at = (at + 1) & (names->slot_count - 1)) {
        drayi_name_slot slot = names->slots[at];
        if (slot.position == 0)
            return UINT64_MAX;
        if (slot.hash != hash)
            continue;
        dray_text found;
        memcpy(&found, (const char *)entries + (slot.position - 1) * stride, sizeof(found));
        if (drayi_text_equal(found, name))
            return slot.position - 1;
    }
}

dray_status drayi_names_add(drayi_names *names, dray_text name, uint64_t position, dray_error *error)
{
    if (position >= UINT32_MAX)
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "%" PRIu64 " names: an index holds at most %" PRIu32, position, UINT32_MAX);
    if (names->used >= names->slot_count / 4 * 3)
        DRAY_TRY(names_grow(names, error));
    slot_put(names->slots, names->slot_count,
             (drayi_name_slot){.hash = name_hash(names, name), .position = (uint32_t)position + 1});
    names->used++;
    return DRAY_OK;
}

void drayi_names_renumber(drayi_names *names, const uint32_t *moved)
{
    for (uint64_t i = 0; i < names->slot_count; i++) {
        if (names->slots[i].position != 0)
            names->slots[i].position = moved[names->slots[i].position - 1] + 1;
    }
}

void drayi_names_free(drayi_names *names)
{
    drayi_free(names->env, names->slots, (size_t)names->slot_count * sizeof(*names->slots));
    names->slots = NULL;
    names->slot_count = names->used = 0;
}
