/// Placement hints for the simulated device, so that everything about hints can be tried without a GPU.
///
/// It is handed the calls that CUDA would be handed. What is set is kept page by page; where the pieces of a
/// managed allocation "are" is the business of the model of migration, one per allocation, for the host and
/// the family's devices. The bytes themselves never move: they lie in the host's memory. Every answer says
/// that it is simulated.
#include "base/checked.h"
#include "device/sim/sim_inside.h"
#include "dray/spi/hints.h"
#include "memory/migration.h"
#include "os/os.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

/// What is set on one page.
typedef struct page_settings {
    dray_hint_location preferred, last;
    uint16_t accessed_by; // bit 0: the host, bit n + 1: device n
    uint16_t read_mostly;
} page_settings;

typedef struct drayi_sim_hinted {
    uint64_t page_count;
    page_settings *pages;
    drayi_migration *model;
} drayi_sim_hinted;

struct dray_hint_queue {
    dray_device_self *device;
};

static const char simulated[] = "simulated";
static const char full[] =
    "simulated: the device is full, a part of the bytes went to the host again";

// --- the settings of an allocation -----------------------------------------------------------------

void drayi_sim_hinted_destroy(drayi_env *env, drayi_sim_hinted *hinted)
{
    if (!hinted)
        return;
    drayi_free(env, hinted->pages, (size_t)hinted->page_count * sizeof(*hinted->pages));
    drayi_migration_destroy(hinted->model);
    drayi_free(env, hinted, sizeof(*hinted));
}

static uint64_t capacity_of(const dray_device_self *device)
{
    return device->faults.capacity_bytes ? device->faults.capacity_bytes : DRAYI_SIM_CAPACITY;
}

static dray_status hinted_build(const dray_device_self *device, const sim_block *block,
                                drayi_sim_hinted *hinted, dray_error *error)
{
    drayi_migration_options options = {
        .bytes = block->size,
        .capacity_bytes = drayi_max(capacity_of(device), DRAYI_MIGRATION_BLOCK_BYTES),
        .devices = DRAYI_SIM_DEVICES,
    };
    hinted->page_count = block->mapped / device->env->os->page_bytes();
    hinted->pages =
        drayi_alloc_array(device->env, hinted->page_count, sizeof(*hinted->pages), error);
    if (!hinted->pages)
        return DRAY_E_NOMEM;
    return drayi_migration_create(device->env, &options, &hinted->model, error);
}

/// The device's lock is held.
static dray_status hinted_need(dray_device_self *device, sim_block *block, dray_error *error)
{
    if (block->hinted)
        return DRAY_OK;
    drayi_sim_hinted *hinted = drayi_new(device->env, drayi_sim_hinted, error);
    if (!hinted)
        return DRAY_E_NOMEM;
    dray_status status = hinted_build(device, block, hinted, error);
    if (status != DRAY_OK)
        drayi_sim_hinted_destroy(device->env, hinted);
    else
        block->hinted = hinted;
    return status;
}

/// The block that holds all of the range, and where in it; the device's lock is held. NULL: none.
static sim_block *block_find(const dray_device_self *device, const dray_hint_range *range,
                             uint64_t *out_offset)
{
    const uintptr_t at = (uintptr_t)range->pointer;
    for (sim_block *each = device->managed; each; each = each->next) {
        const uintptr_t first = (uintptr_t)each->bytes;
        if (at < first || !drayi_inside(at - first, range->bytes, each->size))
            continue;
        *out_offset = at - first;
        return each;
    }
    return NULL;
}

static dray_status range_unknown(const dray_device_self *device, const dray_hint_range *range,
                                 dray_error *error)
{
    dray_fail(error, DRAY_E_DEVICE,
              "%" PRIu64 " bytes at %p are not inside one managed allocation of sim:%u: "
              "SIM_INVALID (%d)",
              range->bytes, range->pointer, device->ordinal, DRAYI_SIM_INVALID);
    if (error) {
        error->native_code = DRAYI_SIM_INVALID;
        error->origin = "sim_hint";
    }
    return DRAY_E_DEVICE;
}

// --- what it can do, what a range is ---------------------------------------------------------------

static dray_status sim_hints_probe(dray_device_self *device, dray_hint_abilities *out_abilities,
                                   dray_error *error)
{
    (void)error;
    pthread_mutex_lock(&device->lock);
    const uint64_t capacity = capacity_of(device);
    // managed memory takes a device's own only when it comes there
    const uint64_t taken = device->counters.used_bytes - device->managed_bytes;
    pthread_mutex_unlock(&device->lock);
    out_abilities->family = "sim";
    out_abilities->features = DRAY_HINT_HAS_ADVISE_V2 | DRAY_HINT_HAS_PREFETCH_V2 |
                              DRAY_HINT_HAS_PREFETCH_BATCH | DRAY_HINT_HAS_DISCARD_BATCH |
                              DRAY_HINT_HAS_RANGE_STATE | DRAY_HINT_HAS_RANGE_NODES;
    out_abilities->ordinal = device->ordinal;
    out_abilities->device_count = DRAYI_SIM_DEVICES;
    for (uint32_t i = 0; i < DRAYI_SIM_DEVICES; i++)
        out_abilities->devices[i] = (dray_hint_device){
            .managed = 1,
            .concurrent_managed = 1,
            .numa_node = -1,
            .total_bytes = capacity,
            .free_bytes = i == device->ordinal ? capacity - drayi_min(capacity, taken) : capacity,
        };
    return DRAY_OK;
}

static dray_status sim_hints_look(dray_device_self *device, const dray_hint_range *range,
                                  dray_hint_memory *out_memory, dray_error *error)
{
    (void)error;
    *out_memory = (dray_hint_memory){0};
    dray_hint_range first = *range; // a range past the end is told by the size of what it begins in
    first.bytes = 1;
    uint64_t offset;
    pthread_mutex_lock(&device->lock);
    const sim_block *block = block_find(device, &first, &offset);
    if (block) {
        out_memory->kind = DRAY_HINT_MEMORY_MANAGED;
        out_memory->first = (uintptr_t)block->bytes;
        out_memory->bytes = block->size;
    }
    pthread_mutex_unlock(&device->lock);
    return DRAY_OK;
}

// --- reading back ----------------------------------------------------------------------------------

static bool same_place(dray_hint_location left, dray_hint_location right)
{
    return left.place == right.place && left.index == right.index;
}

static void state_of(const page_settings *pages, uint64_t count, dray_hint_state *out)
{
    const dray_hint_location nowhere = {.place = DRAY_HINT_NOWHERE};
    page_settings all = pages[0];
    for (uint64_t i = 1; i < count; i++) {
        all.read_mostly &= pages[i].read_mostly;
        all.accessed_by &= pages[i].accessed_by;
        if (!same_place(all.preferred, pages[i].preferred))
            all.preferred = nowhere;
        if (!same_place(all.last, pages[i].last))
            all.last = nowhere;
    }
    *out = (dray_hint_state){
        .known = DRAY_HINT_KNOWS_READ_MOSTLY | DRAY_HINT_KNOWS_PREFERRED |
                 DRAY_HINT_KNOWS_ACCESSED_BY | DRAY_HINT_KNOWS_LAST_PREFETCH,
        .read_mostly = all.read_mostly,
        .preferred = all.preferred,
        .accessed_by = {.devices = all.accessed_by >> 1, .host = all.accessed_by & 1},
        .last_prefetch = all.last,
        .may_be_mixed = count > 1,
    };
}

/// The pages that a range of the block touches.
static page_settings *pages_of(const dray_device_self *device, const sim_block *block,
                               uint64_t offset, uint64_t bytes, uint64_t *out_count)
{
    const uint64_t page = device->env->os->page_bytes();
    const uint64_t first = offset / page;
    *out_count = (offset + bytes - 1) / page - first + 1;
    return block->hinted->pages + first;
}

static dray_status sim_hints_state(dray_device_self *device, const dray_hint_range *range,
                                   dray_hint_state *out_state, dray_error *error)
{
    uint64_t offset, count;
    pthread_mutex_lock(&device->lock);
    sim_block *block = block_find(device, range, &offset);
    dray_status status =
        block ? hinted_need(device, block, error) : range_unknown(device, range, error);
    if (status == DRAY_OK) {
        const page_settings *pages = pages_of(device, block, offset, range->bytes, &count);
        state_of(pages, count, out_state);
    }
    pthread_mutex_unlock(&device->lock);
    return status;
}

// --- the calls ---------------------------------------------------------------------------------------

static unsigned processor_of(dray_hint_location location)
{
    return location.place == DRAY_HINT_DEVICE ? location.index + 1 : DRAYI_MIGRATION_HOST;
}

static void page_advise(page_settings *page, const dray_hint_call *call)
{
    const uint16_t who = (uint16_t)(1u << processor_of(call->location));
    switch ((dray_hint_advice_kind)call->advice) {
    case DRAY_HINT_SET_READ_MOSTLY:
    case DRAY_HINT_UNSET_READ_MOSTLY:
        page->read_mostly = call->advice == DRAY_HINT_SET_READ_MOSTLY;
        break;
    case DRAY_HINT_SET_PREFERRED:
        page->preferred = call->location;
        break;
    case DRAY_HINT_UNSET_PREFERRED:
        page->preferred = (dray_hint_location){.place = DRAY_HINT_NOWHERE};
        break;
    case DRAY_HINT_SET_ACCESSED_BY:
        page->accessed_by |= who;
        break;
    case DRAY_HINT_UNSET_ACCESSED_BY:
        page->accessed_by &= (uint16_t)~who;
        break;
    }
}

/// The model knows blocks: one is read-mostly when any of its pages is, and so on.
static void model_follow(const dray_device_self *device, const sim_block *block, uint64_t offset)
{
    const uint64_t first = drayi_round_down(offset, DRAYI_MIGRATION_BLOCK_BYTES);
    const uint64_t bytes = drayi_min(DRAYI_MIGRATION_BLOCK_BYTES, block->size - first);
    drayi_migration_policy policy = DRAYI_MIGRATION_NO_POLICY;
    uint64_t count;
    const page_settings *pages = pages_of(device, block, first, bytes, &count);
    for (uint64_t i = 0; i < count; i++) {
        policy.read_mostly |= pages[i].read_mostly != 0;
        policy.accessed_by |= pages[i].accessed_by;
        if (pages[i].preferred.place != DRAY_HINT_NOWHERE)
            policy.preferred = (uint8_t)processor_of(pages[i].preferred);
    }
    drayi_migration_set_policy(block->hinted->model, first, bytes, policy);
}

static void range_advise(const dray_device_self *device, const sim_block *block, uint64_t offset,
                         uint64_t bytes, const dray_hint_call *call)
{
    uint64_t count;
    page_settings *pages = pages_of(device, block, offset, bytes, &count);
    for (uint64_t i = 0; i < count; i++)
        page_advise(&pages[i], call);
    for (uint64_t at = drayi_round_down(offset, DRAYI_MIGRATION_BLOCK_BYTES); at < offset + bytes;
         at += DRAYI_MIGRATION_BLOCK_BYTES)
        model_follow(device, block, at);
}

static void range_prefetch(const dray_device_self *device, const sim_block *block, uint64_t offset,
                           uint64_t bytes, dray_hint_location location, uint64_t *bytes_done)
{
    uint64_t count;
    page_settings *pages = pages_of(device, block, offset, bytes, &count);
    for (uint64_t i = 0; i < count; i++)
        pages[i].last = location;
    const unsigned to = processor_of(location);
    drayi_migration_prefetch(block->hinted->model, to, offset, bytes);
    *bytes_done +=
        drayi_min(bytes, drayi_migration_resident(block->hinted->model, to, offset, bytes));
}

/// What a device does with discarded bytes is its own business; here they read as zeros.
static void range_discard(const sim_block *block, uint64_t offset, uint64_t bytes)
{
    drayi_migration_discard(block->hinted->model, offset, bytes);
    memset(block->bytes + offset, 0, (size_t)bytes);
}

static dray_status call_check(dray_device_self *device, const dray_hint_call *call,
                              const dray_hint_call_range *ranges, dray_error *error)
{
    const bool known = call->function == DRAY_HINT_CU_ADVISE_V2 ||
                       call->function == DRAY_HINT_CU_PREFETCH_V2 ||
                       call->function == DRAY_HINT_CU_PREFETCH_BATCH ||
                       call->function == DRAY_HINT_CU_DISCARD_BATCH;
    if (!known)
        return dray_fail(error, DRAY_E_UNSUPPORTED, "a simulated device has no %s",
                         dray_hint_function_name(call->function));
    if (++device->hints_made == device->faults.hint_at)
        return drayi_sim_fail(error, DRAY_E_DEVICE, DRAYI_SIM_FAILED, "sim_hint", "refused");
    if (device->lost)
        return drayi_sim_fail(error, DRAY_E_DEVICE, DRAYI_SIM_LOST, "sim_hint",
                              "the device was lost");
    for (uint64_t i = 0; i < call->range_count; i++) {
        uint64_t offset;
        sim_block *block = block_find(device, &ranges[i].range, &offset);
        const dray_hint_location at =
            call->function == DRAY_HINT_CU_PREFETCH_BATCH ? ranges[i].location : call->location;
        if (at.place == DRAY_HINT_DEVICE && at.index >= DRAYI_SIM_DEVICES)
            return drayi_sim_fail(error, DRAY_E_DEVICE, DRAYI_SIM_INVALID, "sim_hint",
                                  "there is no such device");
        if (!block)
            return range_unknown(device, &ranges[i].range, error);
        DRAY_TRY(hinted_need(device, block, error));
    }
    return DRAY_OK;
}

static void call_make(const dray_device_self *device, const dray_hint_call *call,
                      const dray_hint_call_range *range, dray_hint_answer *answer)
{
    uint64_t offset = 0;
    const sim_block *block = block_find(device, &range->range, &offset);
    assert(block); // ranges_check() has seen it
    const uint64_t bytes = range->range.bytes;
    switch (call->function) {
    case DRAY_HINT_CU_ADVISE_V2:
        range_advise(device, block, offset, bytes, call);
        return; // read back by who asked
    case DRAY_HINT_CU_DISCARD_BATCH:
        range_discard(block, offset, bytes);
        break;
    default:
        range_prefetch(device, block, offset, bytes,
                       call->function == DRAY_HINT_CU_PREFETCH_V2 ? call->location : range->location,
                       &answer->bytes_done);
    }
    const bool short_of =
        call->function != DRAY_HINT_CU_DISCARD_BATCH && answer->bytes_done < call->bytes;
    answer->outcome = short_of ? DRAY_HINT_DEGRADED : DRAY_HINT_VERIFIED;
    answer->note = short_of ? full : simulated;
}

/// All of it is checked before any of it is done.
static dray_status sim_hints_call(dray_hint_queue *queue, const dray_hint_call *call,
                                  const dray_hint_call_range *ranges, dray_hint_answer *out_answer,
                                  dray_error *error)
{
    dray_device_self *device = queue->device;
    const bool moves = call->function != DRAY_HINT_CU_ADVISE_V2;
    pthread_mutex_lock(&device->lock);
    dray_status status = call_check(device, call, ranges, error);
    out_answer->bytes_done =
        moves && call->function != DRAY_HINT_CU_DISCARD_BATCH ? 0 : DRAY_UNKNOWN;
    for (uint64_t i = 0; i < call->range_count && status == DRAY_OK; i++)
        call_make(device, call, &ranges[i], out_answer);
    pthread_mutex_unlock(&device->lock);
    return status;
}

// --- the queue ---------------------------------------------------------------------------------------

static dray_status sim_queue_open(dray_device_self *device, dray_hint_queue **out_queue,
                                  dray_error *error)
{
    dray_hint_queue *queue = drayi_new(device->env, dray_hint_queue, error);
    if (!queue)
        return DRAY_E_NOMEM;
    queue->device = device;
    *out_queue = queue;
    return DRAY_OK;
}

static void sim_queue_close(dray_hint_queue *queue)
{
    drayi_free(queue->device->env, queue, sizeof(*queue));
}

static const char *sim_code_name(int32_t code)
{
    static const char *const names[] = {"SIM_INVALID", "SIM_OUT_OF_MEMORY", "SIM_FAILED",
                                        "SIM_LOST"};
    return code >= 1 && code <= 4 ? names[code - 1] : NULL;
}

const dray_device_hints_ops drayi_sim_hints = {
    .abi = DRAY_HINTS_ABI,
    .probe = sim_hints_probe,
    .look = sim_hints_look,
    .state = sim_hints_state,
    .queue_open = sim_queue_open,
    .queue_close = sim_queue_close,
    .call = sim_hints_call,
    .code_name = sim_code_name,
};
