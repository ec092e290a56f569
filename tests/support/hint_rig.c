/// See hint_rig.h.
#include "support/hint_rig.h"

#include "device/device.h"
#include "os/os.h"
#include "support/testing.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

struct dray_device_self {
    hint_rig *rig;
};

// --- the table ---------------------------------------------------------------------------------------

static dray_status rig_probe(dray_device_self *self, dray_hint_abilities *out, dray_error *error)
{
    const hint_rig *rig = self->rig;
    (void)error;
    out->family = "cuda";
    out->features = rig->features;
    out->driver_version = 13000;
    out->device_count = rig->device_count;
    for (uint32_t i = 0; i < rig->device_count; i++) {
        out->devices[i] = (dray_hint_device){.managed = 1,
                                             .concurrent_managed = rig->concurrent[i],
                                             .pageable = rig->pageable[i],
                                             .numa_node = -1,
                                             .total_bytes = DRAY_UNKNOWN,
                                             .free_bytes = rig->free_bytes[i]};
        if (rig->no_effect)
            strncpy(out->devices[i].no_effect, rig->no_effect,
                    sizeof(out->devices[i].no_effect) - 1);
    }
    return DRAY_OK;
}

static bool is_inside(const hint_rig *rig, const dray_hint_range *range)
{
    uintptr_t first = (uintptr_t)rig->memory, at = (uintptr_t)range->pointer;
    uint64_t bytes = HINT_RIG_PAGES * rig->page_bytes;
    return at >= first && at - first < bytes && range->bytes <= bytes - (at - first);
}

static dray_status rig_look(dray_device_self *self, const dray_hint_range *range,
                            dray_hint_memory *out, dray_error *error)
{
    (void)error;
    *out = (dray_hint_memory){0};
    if (is_inside(self->rig, range))
        *out = (dray_hint_memory){.kind = DRAY_HINT_MEMORY_MANAGED,
                                  .first = (uintptr_t)self->rig->memory,
                                  .bytes = HINT_RIG_PAGES * self->rig->page_bytes};
    return DRAY_OK;
}

/// The pages that hold a byte of the range.
static void pages_of(const hint_rig *rig, const dray_hint_range *range, unsigned *first,
                     unsigned *end)
{
    uint64_t offset = (uint64_t)((const uint8_t *)range->pointer - rig->memory);
    *first = (unsigned)(offset / rig->page_bytes);
    *end = (unsigned)((offset + range->bytes + rig->page_bytes - 1) / rig->page_bytes);
}

static bool same(dray_hint_location left, dray_hint_location right)
{
    return left.place == right.place && left.index == right.index;
}

static dray_status rig_state(dray_device_self *self, const dray_hint_range *range,
                             dray_hint_state *out, dray_error *error)
{
    hint_rig *rig = self->rig;
    unsigned first, end;
    if (!is_inside(rig, range))
        return dray_fail(error, DRAY_E_DEVICE, "cuMemRangeGetAttributes: CUDA_ERROR_INVALID_VALUE");
    pages_of(rig, range, &first, &end);
    const hint_rig_page *all = &rig->pages[first];
    *out = (dray_hint_state){.known = 15,
                             .read_mostly = 1,
                             .preferred = all->preferred,
                             .accessed_by = all->accessed_by,
                             .last_prefetch = all->last_prefetch};
    for (unsigned i = first; i < end; i++) {
        const hint_rig_page *page = &rig->pages[i];
        out->read_mostly &= page->read_mostly;
        if (!same(page->preferred, out->preferred))
            out->preferred = (dray_hint_location){0};
        if (!same(page->last_prefetch, out->last_prefetch))
            out->last_prefetch = (dray_hint_location){0};
        out->accessed_by.devices &= page->accessed_by.devices;
        out->accessed_by.host &= page->accessed_by.host;
    }
    out->may_be_mixed = !out->read_mostly || !out->preferred.place;
    return DRAY_OK;
}

static dray_status rig_queue_open(dray_device_self *self, dray_hint_queue **out, dray_error *error)
{
    (void)error;
    self->rig->queues++;
    *out = (dray_hint_queue *)(void *)self;
    return DRAY_OK;
}

static hint_rig *rig_of(dray_hint_queue *queue)
{
    return ((dray_device_self *)(void *)queue)->rig;
}

static void rig_queue_close(dray_hint_queue *queue)
{
    rig_of(queue)->queues--;
}

static void accessed_by_set(hint_rig_page *page, dray_hint_location who, bool on)
{
    if (who.place == DRAY_HINT_HOST)
        page->accessed_by.host = on;
    else if (on)
        page->accessed_by.devices |= UINT64_C(1) << who.index;
    else
        page->accessed_by.devices &= ~(UINT64_C(1) << who.index);
}

static void page_change(hint_rig_page *page, const dray_hint_call *call, dray_hint_location to)
{
    if (call->function == DRAY_HINT_CU_PREFETCH_BATCH ||
        call->function == DRAY_HINT_CU_PREFETCH_V2 || call->function == DRAY_HINT_CU_PREFETCH)
        page->last_prefetch = to;
    if (call->function != DRAY_HINT_CU_ADVISE && call->function != DRAY_HINT_CU_ADVISE_V2)
        return;
    switch (call->advice) {
    case DRAY_HINT_SET_READ_MOSTLY:
        page->read_mostly = true;
        return;
    case DRAY_HINT_UNSET_READ_MOSTLY:
        page->read_mostly = false;
        page->read_mostly_forbidden = true;
        return;
    case DRAY_HINT_SET_PREFERRED:
        page->preferred = to;
        return;
    case DRAY_HINT_UNSET_PREFERRED:
        page->preferred = (dray_hint_location){0};
        return;
    default:
        accessed_by_set(page, to, call->advice == DRAY_HINT_SET_ACCESSED_BY);
    }
}

static dray_status rig_call(dray_hint_queue *queue, const dray_hint_call *call,
                            const dray_hint_call_range *ranges, dray_hint_answer *answer,
                            dray_error *error)
{
    hint_rig *rig = rig_of(queue);
    (void)answer;
    int number = rig->calls++;
    assert_true(number < HINT_RIG_LOG);
    rig->log[number] = *call;
    rig->first_ranges[number] = ranges[0];
    if (rig->fail_at >= 0 && number >= rig->fail_at && number < rig->fail_at + rig->fail_count) {
        dray_fail(error, DRAY_E_DEVICE, "%s: CUDA_ERROR_%d",
                  dray_hint_function_name(call->function), rig->fail_code);
        error->native_code = rig->fail_code;
        error->origin = dray_hint_function_name(call->function);
        return DRAY_E_DEVICE;
    }
    for (uint64_t i = 0; i < call->range_count && number != rig->lie_at; i++) {
        unsigned first, end;
        assert_true(is_inside(rig, &ranges[i].range));
        pages_of(rig, &ranges[i].range, &first, &end);
        for (unsigned page = first; page < end; page++)
            page_change(&rig->pages[page], call, ranges[i].location);
    }
    return DRAY_OK;
}

static dray_status rig_mark(dray_hint_queue *queue, dray_error *error)
{
    (void)error;
    rig_of(queue)->marks++;
    return DRAY_OK;
}

static dray_status rig_wait(dray_hint_queue *queue, dray_error *error)
{
    hint_rig *rig = rig_of(queue);
    rig->waits++;
    if (rig->wait_code == 0)
        return DRAY_OK;
    dray_fail(error, DRAY_E_DEVICE, "cuEventSynchronize: CUDA_ERROR_%d", rig->wait_code);
    error->native_code = rig->wait_code;
    error->origin = "cuEventSynchronize";
    return DRAY_E_DEVICE;
}

static dray_status rig_query(dray_hint_queue *queue, bool *out_done, dray_error *error)
{
    hint_rig *rig = rig_of(queue);
    *out_done = !rig->slow;
    rig->slow = false;
    return *out_done ? rig_wait(queue, error) : DRAY_OK;
}

static const char *rig_code_name(int32_t code)
{
    return code == 101 ? "CUDA_ERROR_INVALID_DEVICE" : "CUDA_ERROR_OTHER";
}

static const dray_device_hints_ops rig_hints = {
    .abi = DRAY_HINTS_ABI,
    .probe = rig_probe,
    .look = rig_look,
    .state = rig_state,
    .queue_open = rig_queue_open,
    .queue_close = rig_queue_close,
    .call = rig_call,
    .mark = rig_mark,
    .query = rig_query,
    .wait = rig_wait,
    .code_name = rig_code_name,
};

static const dray_device_hints_ops rig_hints_blind = {
    .abi = DRAY_HINTS_ABI,
    .probe = rig_probe,
    .look = rig_look,
    .queue_open = rig_queue_open,
    .queue_close = rig_queue_close,
    .call = rig_call,
    .mark = rig_mark,
    .query = rig_query,
    .wait = rig_wait,
    .code_name = rig_code_name,
};

static void rig_device_close(dray_device_self *self)
{
    (void)self; // static
}

static const dray_device_ops rig_family = {
    .abi = DRAY_DEVICE_ABI, .family = "cuda", .close = rig_device_close, .hints = &rig_hints};
static const dray_device_ops rig_family_blind = {
    .abi = DRAY_DEVICE_ABI, .family = "cuda", .close = rig_device_close, .hints = &rig_hints_blind};

// --- the rig -----------------------------------------------------------------------------------------

void hint_rig_reset(hint_rig *rig)
{
    *rig = (hint_rig){
        .features = DRAY_HINT_HAS_ADVISE | DRAY_HINT_HAS_ADVISE_V2 | DRAY_HINT_HAS_PREFETCH |
                    DRAY_HINT_HAS_PREFETCH_V2 | DRAY_HINT_HAS_PREFETCH_BATCH |
                    DRAY_HINT_HAS_DISCARD_BATCH | DRAY_HINT_HAS_RANGE_STATE |
                    DRAY_HINT_HAS_RANGE_NODES,
        .device_count = 2,
        .concurrent = {true, true, true, true},
        .fail_at = HINT_RIG_NEVER,
        .fail_count = 1,
        .lie_at = HINT_RIG_NEVER,
    };
    for (int i = 0; i < 4; i++)
        rig->free_bytes[i] = DRAY_UNKNOWN;
}

static bool device_open(hint_rig *rig, dray_device_self *self, dray_error *error)
{
    drayi_env *env = drayi_env_of(rig->context);
    dray_device *device = drayi_new(env, dray_device, error);
    if (!device)
        return false;
    device->env = env;
    device->ops = rig->no_state ? &rig_family_blind : &rig_family;
    device->self = self;
    atomic_init(&device->references, 1);
    dray_status status = dray_hints_open(rig->context, device, &rig->hints, error);
    dray_device_release(device);
    return status == DRAY_OK;
}

bool hint_rig_open(hint_rig *rig, const dray_allocator *allocator, dray_error *error)
{
    static dray_device_self self;
    dray_context_options options = {.struct_bytes = sizeof(options)};
    if (allocator)
        options.allocator = *allocator;
    self.rig = rig;
    rig->page_bytes = drayi_os_linux.page_bytes();
    rig->memory = mmap(NULL, HINT_RIG_PAGES * rig->page_bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(rig->memory != MAP_FAILED);
    return dray_context_create(&options, &rig->context, error) == DRAY_OK &&
           device_open(rig, &self, error);
}

void hint_rig_close(hint_rig *rig)
{
    dray_hints_close(rig->hints);
    dray_context_destroy(rig->context);
    munmap(rig->memory, HINT_RIG_PAGES * rig->page_bytes);
    rig->hints = NULL;
    rig->context = NULL;
    assert_int_equal(rig->queues, 0);
}

dray_hint_range hint_rig_range(hint_rig *rig, unsigned first, unsigned count)
{
    dray_hint_range range;
    dray_error error;
    if (dray_hint_range_raw(rig->memory + first * rig->page_bytes, count * rig->page_bytes, &range,
                            &error) != DRAY_OK)
        fail_msg("%s", error.message);
    return range;
}

dray_hint_plan *hint_rig_plan(hint_rig *rig)
{
    dray_hint_plan *plan;
    assert_int_equal(dray_hint_plan_create(rig->context, &plan, NULL), DRAY_OK);
    return plan;
}

dray_hint_run *hint_rig_run(hint_rig *rig, dray_hint_plan *plan,
                            const dray_hint_run_options *options)
{
    dray_hint_run *run;
    dray_error error;
    if (dray_hint_run_create(rig->hints, plan, options, &run, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    dray_hint_plan_destroy(plan);
    return run;
}

void hint_rig_logged(const hint_rig *rig, int count, ...)
{
    va_list args;
    va_start(args, count);
    assert_int_equal(rig->calls, count);
    for (int i = 0; i < count; i++) {
        char text[DRAY_HINT_TEXT_BYTES * 2], place[DRAY_HINT_TEXT_BYTES];
        const char *advice = dray_hint_advice_name(rig->log[i].function, rig->log[i].advice);
        snprintf(text, sizeof(text), "%s%s%s %s", dray_hint_function_name(rig->log[i].function),
                 advice ? " " : "", advice ? advice + strlen("CU_MEM_ADVISE_") : "",
                 dray_hint_location_print(rig->log[i].location, place));
        assert_string_equal(text, va_arg(args, const char *));
    }
    va_end(args);
}
