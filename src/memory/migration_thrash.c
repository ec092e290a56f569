/// Blocks that go back and forth between processors: noticed, slowed down, and pinned for a while.
///
/// An event is a move that a fault causes, by another processor than the last: a scan by one processor is
/// none, and neither is a full device that evicts and fetches again. A preferred location switches the protection off, as NVIDIA's header warns: then moves
/// are counted and nothing is done about them.
#include "memory/migration_model.h"

/// A second without an event and it is over; but only so many times.
static void epoch_end(drayi_migration *model, drayi_migration_block *block, uint64_t time_ns)
{
    if (!block->thrashing || time_ns - block->event_at_ns < DRAYI_THRASH_EPOCH_NS ||
        block->resets == DRAYI_THRASH_RESETS)
        return;
    block->thrashing = false;
    block->events = block->throttles = 0;
    block->thrashers = 0;
    block->resets++;
    model->counts.resets++;
}

/// To who faulted when all that take part reach it there, else to the host, which everybody reaches.
static unsigned pin_place(const drayi_migration *model, const drayi_migration_block *block,
                          unsigned processor)
{
    for (unsigned p = 0; p < model->processors; p++) {
        if ((block->thrashers >> p & 1) && !drayi_reaches(model, p, processor))
            return DRAYI_MIGRATION_HOST;
    }
    return processor;
}

unsigned drayi_thrash_target(drayi_migration *model, uint32_t index, uint64_t time_ns,
                             unsigned processor)
{
    drayi_migration_block *block = &model->blocks[index];
    epoch_end(model, block, time_ns);
    if (!block->thrashing)
        return processor;
    block->thrashers |= (uint16_t)(1u << processor);
    if (block->pinned_until_ns != UINT64_MAX) {
        if (drayi_reaches(model, processor, block->pinned_at))
            return block->pinned_at;
        drayi_thrash_unpin(model, index);
    }
    if (block->mover == processor)
        return processor; // it has the block: the others nap
    if (block->throttles < DRAYI_THRASH_THROTTLES) {
        block->throttles++;
        model->counts.throttles++;
        model->counts.throttled_ns += DRAYI_THRASH_NAP_NS;
        return processor;
    }
    block->pinned_at = (uint8_t)pin_place(model, block, processor);
    block->pinned_until_ns = time_ns + DRAYI_THRASH_PIN_NS;
    model->counts.pins++;
    return block->pinned_at;
}

void drayi_thrash_event(drayi_migration *model, uint32_t index, uint64_t time_ns, unsigned processor)
{
    drayi_migration_block *block = &model->blocks[index];
    if (block->mover == processor)
        return;
    block->mover = (uint8_t)processor;
    epoch_end(model, block, time_ns);
    bool follows = block->events > 0 && time_ns - block->event_at_ns < DRAYI_THRASH_LAPSE_NS;
    if (!follows)
        block->events = 1;
    else if (block->events < DRAYI_THRASH_EVENTS)
        block->events++;
    block->event_at_ns = time_ns;
    block->thrashers |= (uint16_t)(1u << processor);
    if (block->events == DRAYI_THRASH_EVENTS && !block->thrashing) {
        block->thrashing = true;
        if (!block->has_thrashed)
            model->counts.thrashing_blocks++;
        block->has_thrashed = true;
    }
    if (block->thrashing)
        model->counts.thrash_events++;
}

void drayi_thrash_unpin(drayi_migration *model, uint32_t index)
{
    model->blocks[index].pinned_until_ns = UINT64_MAX;
    model->blocks[index].throttles = 0;
    drayi_rights_renew(model, index);
}
