/// CUDA's facet of hints against the stand-in for its driver: that the calls it is handed are made as they are,
/// what it reads back, and what it says of refusals. Nothing here says how a GPU behaves.
#include "counting_allocator.h"
#include "device_rig.h"
#include "dray/spi/hints.h"
#include "testing.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { page = 4096, region_bytes = 64 * page };

/// A managed region of cuda:0, and the facet's own objects.
typedef struct cuda_case {
    dray_context *context;
    dray_device *device;
    dray_region *region;
    char *bytes;
    dray_device_native native;
    const dray_device_hints_ops *ops;
    dray_hint_queue *queue;
} cuda_case;

static cuda_case case_open(const standin_config *config)
{
    device_rig_reset();
    if (config)
        device_rig_standin(config);
    cuda_case out = {.context = device_rig_context(NULL, 0)};
    assert_int_equal(dray_device_open(out.context, "cuda:0", &out.device, NULL), DRAY_OK);
    out.region = device_rig_region(out.context, out.device, DRAY_STORAGE_MANAGED, region_bytes);
    out.bytes = dray_region_pointer(out.region);
    dray_device_get_native(out.device, &out.native);
    out.ops = out.native.ops->hints;
    assert_non_null(out.ops);
    assert_int_equal(out.ops->abi, DRAY_HINTS_ABI);
    assert_int_equal(out.ops->queue_open(out.native.self, &out.queue, NULL), DRAY_OK);
    return out;
}

static void case_close(cuda_case *self)
{
    self->ops->queue_close(self->queue);
    dray_region_release(self->region);
    dray_device_release(self->device);
    dray_context_destroy(self->context);
    standin_counts counts = device_rig_standin_counts();
    assert_string_equal(counts.last_misuse, "");
    assert_int_equal(counts.streams + counts.events + counts.contexts + counts.allocations, 0);
    assert_int_equal(device_rig_standin_depth(), 0);
}

static dray_hint_range range_of(const cuda_case *self, uint64_t offset, uint64_t bytes)
{
    dray_hint_range range;
    assert_int_equal(dray_hint_range_raw(self->bytes + offset, bytes, &range, NULL), DRAY_OK);
    return range;
}

/// One call for one range.
static dray_status call(const cuda_case *self, dray_hint_function function, unsigned advice,
                        dray_hint_location location, dray_hint_range range, dray_error *error)
{
    dray_hint_call wanted = {.function = function,
                             .advice = advice,
                             .location = location,
                             .range_count = 1,
                             .bytes = range.bytes};
    dray_hint_call_range one = {.range = range, .location = location};
    dray_hint_answer answer = {0};
    dray_status status = self->ops->call(self->queue, &wanted, &one, &answer, error);
    assert_int_equal(answer.outcome, 0); // it claims nothing
    return status;
}

static dray_hint_state state_of(const cuda_case *self, dray_hint_range range)
{
    dray_hint_state state;
    dray_error error = {.message = ""};
    if (self->ops->state(self->native.self, &range, &state, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    return state;
}

static const dray_hint_location host = {.place = DRAY_HINT_HOST};

// --- what there is ---------------------------------------------------------------------------------

static void each_driver_has_the_calls_of_its_time(void **state)
{
    (void)state;
    const uint32_t old = DRAY_HINT_HAS_ADVISE | DRAY_HINT_HAS_PREFETCH | DRAY_HINT_HAS_RANGE_STATE;
    const uint32_t newer =
        old | DRAY_HINT_HAS_ADVISE_V2 | DRAY_HINT_HAS_PREFETCH_V2 | DRAY_HINT_HAS_RANGE_NODES;
    const struct {
        int version;
        uint32_t features;
    } drivers[] = {
        {11080, old},
        {12020, newer},
        {12080, newer},
        {13000, newer | DRAY_HINT_HAS_PREFETCH_BATCH | DRAY_HINT_HAS_DISCARD_BATCH},
    };
    for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++) {
        cuda_case self = case_open(&(standin_config){.version = drivers[i].version,
                                                     .symbols = drivers[i].version,
                                                     .no_concurrent = 2,
                                                     .pageable = 1,
                                                     .capacity_bytes = 4 << 20});
        dray_hint_abilities abilities = {0};
        assert_int_equal(self.ops->probe(self.native.self, &abilities, NULL), DRAY_OK);
        assert_int_equal(abilities.features, drivers[i].features);
        assert_int_equal(abilities.driver_version, drivers[i].version);
        assert_string_equal(abilities.family, "cuda");
        assert_int_equal(abilities.device_count, 2);
        assert_int_equal(abilities.ordinal, 0);
        assert_int_equal(abilities.devices[0].concurrent_managed, 1);
        assert_int_equal(abilities.devices[1].concurrent_managed, 0);
        assert_int_equal(abilities.devices[0].pageable, 1);
        assert_int_equal(abilities.devices[1].pageable, 0);
        assert_int_equal(abilities.devices[0].managed, 1);
        assert_int_equal(abilities.devices[1].total_bytes, 4 << 20);
        assert_int_equal(abilities.devices[1].free_bytes, 4 << 20);
        assert_true(abilities.devices[0].free_bytes <= (4 << 20) - region_bytes);
        assert_int_equal(abilities.devices[0].numa_node, -1);
        case_close(&self);
    }
}

static void a_driver_without_the_calls_has_no_hints(void **state)
{
    (void)state;
    static const char *const missing[] = {"cuPointerGetAttributes", "cuEventRecord"};
    for (size_t i = 0; i < 2; i++) {
        device_rig_reset();
        device_rig_hide_symbol(missing[i]);
        dray_context *context = device_rig_context(NULL, 0);
        dray_device *device;
        assert_int_equal(dray_device_open(context, "cuda:0", &device, NULL), DRAY_OK);
        dray_device_native native;
        dray_device_get_native(device, &native);
        dray_hint_abilities abilities;
        dray_error error;
        assert_int_equal(native.ops->hints->probe(native.self, &abilities, &error),
                         DRAY_E_UNSUPPORTED);
        device_rig_says(error.message, missing[i]);
        dray_device_release(device);
        dray_context_destroy(context);
    }
}

static void memory_is_recognised(void **state)
{
    (void)state;
    cuda_case self = case_open(NULL);
    dray_hint_memory memory;
    dray_hint_range range = range_of(&self, 5000, 100);
    assert_int_equal(self.ops->look(self.native.self, &range, &memory, NULL), DRAY_OK);
    assert_int_equal(memory.kind, DRAY_HINT_MEMORY_MANAGED);
    assert_true(memory.first <= (uintptr_t)self.bytes);
    assert_true(memory.first + memory.bytes >= (uintptr_t)self.bytes + region_bytes);

    int on_stack = 0;
    assert_int_equal(dray_hint_range_raw(&on_stack, sizeof(on_stack), &range, NULL), DRAY_OK);
    assert_int_equal(self.ops->look(self.native.self, &range, &memory, NULL), DRAY_OK);
    assert_int_equal(memory.kind, DRAY_HINT_MEMORY_UNKNOWN);
    assert_int_equal(memory.bytes, 0);

    dray_region *pinned =
        device_rig_region(self.context, self.device, DRAY_STORAGE_PINNED, 2 * page);
    range.pointer = dray_region_pointer(pinned);
    assert_int_equal(self.ops->look(self.native.self, &range, &memory, NULL), DRAY_OK);
    assert_int_equal(memory.kind, DRAY_HINT_MEMORY_PINNED);
    dray_region_release(pinned);

    dray_region *own = device_rig_region(self.context, self.device, DRAY_STORAGE_DEVICE, page);
    dray_region_native native;
    dray_region_get_native(own, &native);
    range.pointer = (void *)(uintptr_t)native.device_address;
    assert_int_equal(self.ops->look(self.native.self, &range, &memory, NULL), DRAY_OK);
    assert_int_equal(memory.kind, DRAY_HINT_MEMORY_DEVICE);
    dray_region_release(own);
    case_close(&self);
}

// --- advice ----------------------------------------------------------------------------------------

static void advice_is_read_back_page_by_page(void **state)
{
    (void)state;
    cuda_case self = case_open(NULL);
    dray_hint_range part = range_of(&self, 5000, 100); // inside page 1
    assert_int_equal(call(&self, DRAY_HINT_CU_ADVISE_V2, DRAY_HINT_SET_READ_MOSTLY,
                          dray_hint_at_device(0), part, NULL),
                     DRAY_OK);
    dray_hint_state set = state_of(&self, part);
    assert_int_equal(set.known, 15);
    assert_int_equal(set.read_mostly, 1);
    assert_int_equal(set.may_be_mixed, 0);
    assert_int_equal(device_rig_standin_page(self.bytes).read_mostly, 0);
    assert_int_equal(device_rig_standin_page(self.bytes + page).read_mostly, 1);
    set = state_of(&self, range_of(&self, 0, region_bytes));
    assert_int_equal(set.read_mostly, 0); // not all of it
    assert_int_equal(set.may_be_mixed, 1);

    dray_hint_range all = range_of(&self, 0, region_bytes);
    assert_int_equal(call(&self, DRAY_HINT_CU_ADVISE_V2, DRAY_HINT_SET_PREFERRED,
                          dray_hint_at_device(1), all, NULL),
                     DRAY_OK);
    assert_int_equal(call(&self, DRAY_HINT_CU_ADVISE_V2, DRAY_HINT_SET_ACCESSED_BY,
                          dray_hint_at_device(1), all, NULL),
                     DRAY_OK);
    assert_int_equal(
        call(&self, DRAY_HINT_CU_ADVISE_V2, DRAY_HINT_SET_ACCESSED_BY, host, all, NULL), DRAY_OK);
    set = state_of(&self, all);
    assert_int_equal(set.preferred.place, DRAY_HINT_DEVICE);
    assert_int_equal(set.preferred.index, 1);
    assert_int_equal(set.accessed_by.devices, 2);
    assert_int_equal(set.accessed_by.host, 1);
    assert_int_equal(call(&self, DRAY_HINT_CU_ADVISE_V2, DRAY_HINT_UNSET_PREFERRED,
                          dray_hint_at_device(0), part, NULL),
                     DRAY_OK);
    assert_int_equal(state_of(&self, all).preferred.place, DRAY_HINT_NOWHERE); // mixed
    assert_int_equal(state_of(&self, range_of(&self, 2 * page, page)).preferred.index, 1);
    assert_int_equal(device_rig_standin_counts().advises, 5);
    case_close(&self);
}

static void nodes_are_read_back_where_the_driver_knows_them(void **state)
{
    (void)state;
    cuda_case self = case_open(&(standin_config){.nodes = 2});
    dray_hint_range all = range_of(&self, 0, region_bytes);
    assert_int_equal(call(&self, DRAY_HINT_CU_ADVISE_V2, DRAY_HINT_SET_PREFERRED,
                          dray_hint_at_numa(1), all, NULL),
                     DRAY_OK);
    dray_hint_state set = state_of(&self, all);
    assert_int_equal(set.preferred.place, DRAY_HINT_HOST_NUMA);
    assert_int_equal(set.preferred.index, 1);
    assert_int_equal(call(&self, DRAY_HINT_CU_ADVISE_V2, DRAY_HINT_SET_PREFERRED, host, all, NULL),
                     DRAY_OK);
    assert_int_equal(state_of(&self, all).preferred.place, DRAY_HINT_HOST);
    case_close(&self);
}

/// The oldest forms take handles; the stand-in's are not the numbers of the devices.
static void the_oldest_forms_say_the_same(void **state)
{
    (void)state;
    cuda_case self = case_open(&(standin_config){.version = 11080, .symbols = 11080});
    dray_hint_range all = range_of(&self, 0, region_bytes);
    assert_int_equal(call(&self, DRAY_HINT_CU_ADVISE, DRAY_HINT_SET_PREFERRED,
                          dray_hint_at_device(1), all, NULL),
                     DRAY_OK);
    assert_int_equal(state_of(&self, all).preferred.place, DRAY_HINT_DEVICE);
    assert_int_equal(state_of(&self, all).preferred.index, 1);
    assert_int_equal(call(&self, DRAY_HINT_CU_ADVISE, DRAY_HINT_SET_PREFERRED, host, all, NULL),
                     DRAY_OK);
    assert_int_equal(state_of(&self, all).preferred.place, DRAY_HINT_HOST);
    assert_int_equal(call(&self, DRAY_HINT_CU_PREFETCH, 0, dray_hint_at_device(1), all, NULL),
                     DRAY_OK);
    assert_int_equal(self.ops->mark(self.queue, NULL), DRAY_OK);
    assert_int_equal(self.ops->wait(self.queue, NULL), DRAY_OK);
    assert_int_equal(device_rig_standin_page(self.bytes).at, 1);
    assert_int_equal(state_of(&self, all).last_prefetch.index, 1);
    dray_error error;
    assert_int_equal(call(&self, DRAY_HINT_CU_ADVISE_V2, 1, dray_hint_at_device(0), all, &error),
                     DRAY_E_UNSUPPORTED);
    assert_string_equal(error.message, "cuMemAdvise_v2: this driver does not have it");
    case_close(&self);
}

static void what_said_success_and_did_nothing_is_seen(void **state)
{
    (void)state;
    cuda_case self = case_open(NULL);
    dray_hint_range all = range_of(&self, 0, region_bytes);
    // the driver's own surprise: read-mostly at no location
    assert_int_equal(call(&self, DRAY_HINT_CU_ADVISE_V2, DRAY_HINT_SET_READ_MOSTLY,
                          (dray_hint_location){0}, all, NULL),
                     DRAY_OK);
    assert_int_equal(state_of(&self, all).read_mostly, 0);
    device_rig_standin(
        &(standin_config){.fault = {.call = "cuMemAdvise_v2", .at = 1, .code = 0}, .keep = true});
    assert_int_equal(call(&self, DRAY_HINT_CU_ADVISE_V2, DRAY_HINT_SET_READ_MOSTLY,
                          dray_hint_at_device(0), all, NULL),
                     DRAY_OK);
    assert_int_equal(device_rig_standin_counts().hits, 1);
    assert_int_equal(state_of(&self, all).read_mostly, 0);
    case_close(&self);
}

// --- moving ----------------------------------------------------------------------------------------

static void a_prefetch_is_done_when_its_end_is_seen(void **state)
{
    (void)state;
    cuda_case self = case_open(&(standin_config){.queries_not_ready = 2});
    dray_hint_range all = range_of(&self, 0, region_bytes);
    assert_int_equal(call(&self, DRAY_HINT_CU_PREFETCH_V2, 0, dray_hint_at_device(1), all, NULL),
                     DRAY_OK);
    assert_int_equal(self.ops->mark(self.queue, NULL), DRAY_OK);
    assert_int_equal(state_of(&self, all).last_prefetch.place, DRAY_HINT_DEVICE); // asked for ...
    assert_int_equal(device_rig_standin_page(self.bytes).at, -2);                 // ... not done
    for (int i = 0; i < 3; i++) {
        bool done;
        assert_int_equal(self.ops->query(self.queue, &done, NULL), DRAY_OK);
        assert_int_equal(done, i == 2);
    }
    assert_int_equal(device_rig_standin_page(self.bytes + region_bytes - 1).at, 1);
    case_close(&self);
}

static void a_batch_goes_to_several_places_in_one_call(void **state)
{
    (void)state;
    cuda_case self = case_open(NULL);
    enum { count = 6 };
    static const int to[count] = {0, 0, 1, -1, -1, 0};
    dray_hint_call_range ranges[count];
    for (unsigned i = 0; i < count; i++) {
        ranges[i] = (dray_hint_call_range){
            .range = range_of(&self, (uint64_t)i * 4 * page, 2 * page),
            .location = to[i] < 0 ? host : dray_hint_at_device((uint32_t)to[i])};
    }
    dray_hint_call wanted = {.function = DRAY_HINT_CU_PREFETCH_BATCH,
                             .location = ranges[0].location,
                             .range_count = count};
    dray_hint_answer answer = {0};
    assert_int_equal(self.ops->call(self.queue, &wanted, ranges, &answer, NULL), DRAY_OK);
    assert_int_equal(self.ops->mark(self.queue, NULL), DRAY_OK);
    assert_int_equal(self.ops->wait(self.queue, NULL), DRAY_OK);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(device_rig_standin_page(self.bytes + i * 4 * page + page).at, to[i]);
        assert_int_equal(device_rig_standin_page(self.bytes + i * 4 * page + 2 * page).at, -2);
    }
    assert_int_equal(device_rig_standin_counts().prefetch_batches, 1);

    wanted.function = DRAY_HINT_CU_DISCARD_BATCH;
    wanted.range_count = 2;
    memset(self.bytes, 7, region_bytes);
    assert_int_equal(self.ops->call(self.queue, &wanted, ranges, &answer, NULL), DRAY_OK);
    assert_int_equal(self.ops->mark(self.queue, NULL), DRAY_OK);
    assert_int_equal(self.ops->wait(self.queue, NULL), DRAY_OK);
    assert_int_equal(device_rig_standin_page(self.bytes).at, -2);
    assert_int_not_equal(self.bytes[4 * page], 7);
    assert_int_equal(self.bytes[2 * page], 7);
    assert_int_equal(device_rig_standin_counts().discard_batches, 1);
    case_close(&self);
}

// --- refusals --------------------------------------------------------------------------------------

static void refusals_have_the_drivers_code_and_the_calls_name(void **state)
{
    (void)state;
    cuda_case self = case_open(&(standin_config){.no_concurrent = 2});
    dray_hint_range all = range_of(&self, 0, region_bytes);
    dray_error error;
    assert_int_equal(call(&self, DRAY_HINT_CU_ADVISE_V2, DRAY_HINT_SET_PREFERRED,
                          dray_hint_at_device(1), all, &error),
                     DRAY_E_DEVICE);
    assert_int_equal(error.native_code, 101);
    assert_string_equal(error.origin, "cuMemAdvise_v2");
    assert_string_equal(self.ops->code_name(101), "CUDA_ERROR_INVALID_DEVICE");
    assert_null(self.ops->code_name(123456));
    assert_int_equal(call(&self, DRAY_HINT_CU_PREFETCH_V2, 0, dray_hint_at_device(1), all, &error),
                     DRAY_E_DEVICE);
    assert_string_equal(error.origin, "cuMemPrefetchAsync_v2");

    dray_hint_range past = all; // beyond the allocation
    past.bytes += 64 * page;
    assert_int_equal(call(&self, DRAY_HINT_CU_ADVISE_V2, 1, dray_hint_at_device(0), past, &error),
                     DRAY_E_DEVICE);
    assert_int_equal(error.native_code, 1);
    dray_hint_state set;
    assert_int_equal(self.ops->state(self.native.self, &past, &set, &error), DRAY_E_DEVICE);
    assert_string_equal(error.origin, "cuMemRangeGetAttributes");
    assert_int_equal(call(&self, DRAY_HINT_CU_ADVISE_V2, 3, dray_hint_at_device(64), all, &error),
                     DRAY_E_INVALID); // never asked
    assert_string_equal(error.message, "device 64 of 2");
    case_close(&self);
}

static void a_sticky_error_loses_the_device_and_says_so(void **state)
{
    (void)state;
    cuda_case self = case_open(&(standin_config){
        .fault = {.call = "(job)", .at = 2, .code = 700, .sticky = true}}); // 1: zeroing
    dray_hint_range all = range_of(&self, 0, region_bytes);
    dray_error error;
    assert_int_equal(call(&self, DRAY_HINT_CU_PREFETCH_V2, 0, host, all, NULL), DRAY_OK);
    assert_int_equal(self.ops->mark(self.queue, NULL), DRAY_OK);
    assert_int_equal(self.ops->wait(self.queue, &error), DRAY_E_DEVICE);
    assert_int_equal(error.native_code, 700);
    assert_int_equal(call(&self, DRAY_HINT_CU_ADVISE_V2, 1, dray_hint_at_device(0), all, &error),
                     DRAY_E_DEVICE);
    device_rig_says(error.message, "gave cuda:0 up at an earlier error");
    self.ops->queue_close(self.queue);
    dray_region_release(self.region);
    dray_device_release(self.device);
    dray_context_destroy(self.context);
    assert_int_equal(device_rig_standin_depth(), 0);
}

/// Every call of the driver fails once, with each of the codes that come from nowhere.
static void any_call_may_fail(void **state)
{
    (void)state;
    static const unsigned codes[] = {1, 2, 34, 101, 999};
    for (size_t c = 0; c < sizeof(codes) / sizeof(codes[0]); c++) {
        for (uint64_t n = 1;; n++) {
            cuda_case self = case_open(NULL);
            self.ops->queue_close(self.queue);
            standin_config config = {.fault = {.call = "", .at = n, .code = codes[c]}, .keep = true};
            device_rig_standin(&config);
            dray_error error = {.message = ""};
            dray_hint_range all = range_of(&self, 0, region_bytes);
            dray_hint_state set;
            dray_hint_memory memory;
            dray_status status = self.ops->queue_open(self.native.self, &self.queue, &error);
            const bool opened = status == DRAY_OK;
            if (status == DRAY_OK)
                status = self.ops->look(self.native.self, &all, &memory, &error);
            if (status == DRAY_OK)
                status = call(&self, DRAY_HINT_CU_ADVISE_V2, 1, dray_hint_at_device(0), all, &error);
            if (status == DRAY_OK)
                status = self.ops->state(self.native.self, &all, &set, &error);
            if (status == DRAY_OK)
                status = call(&self, DRAY_HINT_CU_PREFETCH_V2, 0, host, all, &error);
            if (status == DRAY_OK)
                status = self.ops->mark(self.queue, &error);
            if (status == DRAY_OK)
                status = self.ops->wait(self.queue, &error);
            const standin_counts counts = device_rig_standin_counts();
            const bool hit = counts.hits > 0;
            assert_int_equal(status != DRAY_OK, hit);
            const bool job =
                strcmp(counts.last_hit, "(job)") == 0; // told by the call that awaits it
            assert_true(!hit || strstr(error.message, job ? "cuEventSynchronize" : counts.last_hit));
            assert_true(!hit || error.native_code == (int32_t)codes[c]);
            device_rig_standin(&(standin_config){.keep = true});
            if (opened)
                self.ops->queue_close(self.queue);
            assert_int_equal(self.ops->queue_open(self.native.self, &self.queue, NULL), DRAY_OK);
            case_close(&self); // nothing was left, and everything works again
            if (!hit)
                break;
        }
    }
}

int main(void)
{
    if (!device_rig_has_standin()) {
        printf("skipped: the stand-in was not built\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_driver_has_the_calls_of_its_time),
        cmocka_unit_test(a_driver_without_the_calls_has_no_hints),
        cmocka_unit_test(memory_is_recognised),
        cmocka_unit_test(advice_is_read_back_page_by_page),
        cmocka_unit_test(nodes_are_read_back_where_the_driver_knows_them),
        cmocka_unit_test(the_oldest_forms_say_the_same),
        cmocka_unit_test(what_said_success_and_did_nothing_is_seen),
        cmocka_unit_test(a_prefetch_is_done_when_its_end_is_seen),
        cmocka_unit_test(a_batch_goes_to_several_places_in_one_call),
        cmocka_unit_test(refusals_have_the_drivers_code_and_the_calls_name),
        cmocka_unit_test(a_sticky_error_loses_the_device_and_says_so),
        cmocka_unit_test(any_call_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
