/// Layouts on every kind of memory: each form is built, filled, and read back with the digests that ordinary memory
/// gives. Peers' memory is in test_layout_share.c, moves between pairs in the tests of moves.
#include "counting_allocator.h"
#include "device_rig.h"
#include "dray/layout.h"
#include "test_file.h"
#include "testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { block_count = 5, layer_count = 3 };

typedef struct place {
    const char *name;
    dray_storage storage;
    const char *device; // or NULL
    uint32_t numa_aware;
} place;

static const place places[] = {
    {"system", DRAY_STORAGE_SYSTEM, NULL, 0},
    {"system, bound", DRAY_STORAGE_SYSTEM, NULL, 1},
    {"pinned", DRAY_STORAGE_PINNED, NULL, 0},
    {"pinned, bound", DRAY_STORAGE_PINNED, NULL, 1},
    {"disk", DRAY_STORAGE_DISK, NULL, 0},
    {"sim:0", DRAY_STORAGE_DEVICE, "sim:0", 0},
    {"managed by sim:0", DRAY_STORAGE_MANAGED, "sim:0", 0},
    {"pinned by sim:0", DRAY_STORAGE_PINNED, "sim:0", 0},
    {"opencl:0", DRAY_STORAGE_DEVICE, "opencl:0", 0},
    {"managed by opencl:0", DRAY_STORAGE_MANAGED, "opencl:0", 0},
    {"pinned by opencl:0", DRAY_STORAGE_PINNED, "opencl:0", 0},
    {"cuda:0", DRAY_STORAGE_DEVICE, "cuda:0", 0},
    {"managed by cuda:0", DRAY_STORAGE_MANAGED, "cuda:0", 0},
    {"pinned by cuda:0", DRAY_STORAGE_PINNED, "cuda:0", 0},
    {"bound, pinned by cuda:0", DRAY_STORAGE_PINNED, "cuda:0", 1},
};
enum { place_count = sizeof(places) / sizeof(places[0]) };

static const struct {
    dray_layout_kind kind;
    dray_block_format format;
} forms[] = {
    {DRAY_LAYOUT_CONTIGUOUS, DRAY_BLOCK_NHD},
    {DRAY_LAYOUT_CONTIGUOUS, DRAY_BLOCK_HND},
    {DRAY_LAYOUT_CONTIGUOUS, DRAY_BLOCK_UNIVERSAL_TP},
    {DRAY_LAYOUT_CONTIGUOUS, DRAY_BLOCK_UNIVERSAL_PP},
    {DRAY_LAYOUT_CONTIGUOUS, DRAY_BLOCK_CUSTOM},
    {DRAY_LAYOUT_LAYER_SEPARATE_FIRST, DRAY_BLOCK_NHD},
    {DRAY_LAYOUT_LAYER_SEPARATE_FIRST, DRAY_BLOCK_HND},
    {DRAY_LAYOUT_LAYER_SEPARATE_SECOND, DRAY_BLOCK_NHD},
    {DRAY_LAYOUT_LAYER_SEPARATE_SECOND, DRAY_BLOCK_HND},
};
enum { form_count = sizeof(forms) / sizeof(forms[0]) };

typedef struct rig {
    counting_allocator counter;
    dray_context *context;
    dray_agent *agent;
    dray_device *device;
    dray_error error;
} rig;

static void good(dray_status status, const rig *r)
{
    if (status != DRAY_OK)
        fail_msg("%s", r->error.message);
}

/// False, with the reason printed: the device is not here, or lacks this kind of memory.
static bool device_open(rig *r, const place *where)
{
    dray_device_info info;
    if (dray_device_open(r->context, where->device, &r->device, &r->error) != DRAY_OK) {
        print_message("skipped: %s: %s\n", where->name, r->error.message);
        return false;
    }
    good(dray_device_get_info(r->device, &info, &r->error), r);
    uint32_t needed = where->storage == DRAY_STORAGE_DEVICE    ? DRAY_DEVICE_MEMORY
                      : where->storage == DRAY_STORAGE_MANAGED ? DRAY_DEVICE_MANAGED
                      : where->numa_aware                      ? DRAY_DEVICE_REGISTER
                                                               : DRAY_DEVICE_PINNED;
    if (!(info.capabilities & needed)) {
        print_message("skipped: %s: no %s memory\n", where->name,
                      dray_device_capability_name(needed));
        return false;
    }
    const char *const backends[] = {"copy", info.backend, NULL};
    dray_agent_options options = {.struct_bytes = sizeof(options), .backends = backends};
    good(dray_agent_create(r->context, &options, &r->agent, &r->error), r);
    return true;
}

static bool rig_open(rig *r, const place *where)
{
    memset(r, 0, sizeof(*r));
    device_rig_reset();
    counting_allocator_init(&r->counter, 0);
    dray_allocator allocator = counting_allocator_interface(&r->counter);
    r->context = device_rig_context(&allocator, 0);
    if (where->device)
        return device_open(r, where);
    good(dray_agent_create(r->context, NULL, &r->agent, &r->error), r);
    return true;
}

static void rig_close(rig *r)
{
    dray_agent_destroy(r->agent);
    dray_device_release(r->device);
    dray_context_destroy(r->context);
    assert_int_equal(counting_allocator_live_bytes(&r->counter), 0);
}

static dray_layout_config shape(size_t form)
{
    dray_layout_config config = {
        .struct_bytes = sizeof(config),
        .kind = forms[form].kind,
        .format = forms[form].format,
        .num_blocks = block_count,
        .num_layers = layer_count,
        .outer_dim = 2,
        .page_size = 8,
        .inner_dim = 24,
        .dtype_width_bytes = 2,
        .num_heads = 3,
        .alignment = form % 2 ? 64 : 1,
    };
    static const dray_block_dim order[] = {DRAY_DIM_TOKEN, DRAY_DIM_HEAD, DRAY_DIM_OUTER,
                                           DRAY_DIM_LAYER};
    if (config.format == DRAY_BLOCK_CUSTOM)
        memcpy(config.order, order, sizeof(order));
    return config;
}

static dray_layout *built(rig *r, const place *where, const dray_layout_config *config)
{
    dray_layout *layout = NULL;
    dray_layout_allocation wanted = {
        .struct_bytes = sizeof(wanted),
        .storage = where->storage,
        .numa_aware = where->numa_aware,
        .device = r->device,
        .folder = where->storage == DRAY_STORAGE_DISK ? test_file_folder() : NULL,
    };
    dray_layout_options options = {
        .struct_bytes = sizeof(options), .config = config, .allocate = &wanted};
    dray_status status = dray_layout_build(r->agent, &options, &layout, &r->error);
    if (status != DRAY_OK)
        fail_msg("%s: %s", where->name, r->error.message);
    return layout;
}

static void describes_itself(const place *where, const dray_layout *layout)
{
    dray_layout_location location;
    dray_layout_metadata metadata;
    dray_layout_get_location(layout, &location);
    dray_layout_get_metadata(layout, &metadata);
    assert_int_equal(location.storage, where->storage);
    if (where->device)
        assert_string_equal(location.device, where->device);
    else
        assert_null(location.device);
    assert_int_equal(metadata.memory, where->storage == DRAY_STORAGE_DEVICE ? DRAY_MEMORY_VRAM
                                      : where->storage == DRAY_STORAGE_DISK ? DRAY_MEMORY_FILE
                                                                            : DRAY_MEMORY_DRAM);
    assert_int_equal(metadata.registered, 1);
    for (uint64_t i = 1; i < dray_layout_get_geometry(layout)->region_count; i++) {
        dray_descriptor a, b;
        assert_int_equal(dray_layout_descriptor(layout, i - 1, &a, NULL), DRAY_OK);
        assert_int_equal(dray_layout_descriptor(layout, i, &b, NULL), DRAY_OK);
        assert_int_equal(b.address - a.address, dray_layout_get_geometry(layout)->region_pitch);
    }
}

static void digests(rig *r, dray_layout *layout, dray_layout_digest out[block_count + layer_count])
{
    good(dray_layout_digest_blocks(r->agent, layout, NULL, block_count, out, &r->error), r);
    good(dray_layout_digest_layers(r->agent, layout, NULL, block_count, out + block_count,
                                   &r->error),
         r);
}

static void contents_come_back_from_every_kind_of_memory(void **state)
{
    (void)state;
    dray_layout_digest wanted[block_count + layer_count], found[block_count + layer_count];
    for (size_t p = 0; p < place_count; p++) {
        rig r;
        if (!rig_open(&r, &places[p])) {
            rig_close(&r);
            continue;
        }
        for (size_t form = 0; form < form_count; form++) {
            dray_layout_config config = shape(form);
            dray_layout *layout = built(&r, &places[p], &config);
            describes_itself(&places[p], layout);
            good(dray_layout_fill(r.agent, layout, NULL, &r.error), &r);
            digests(&r, layout, p + form ? found : wanted);
            if (p + form)
                assert_memory_equal(found, wanted, sizeof(wanted));
            // one block changed is one digest changed
            static const uint64_t one[] = {3};
            dray_layout_pattern other = {
                .struct_bytes = sizeof(other), .seed = 5, .blocks = one, .block_count = 1};
            good(dray_layout_fill(r.agent, layout, &other, &r.error), &r);
            digests(&r, layout, found);
            for (int b = 0; b < block_count; b++)
                assert_int_equal(memcmp(&found[b], &wanted[b], sizeof(found[b])) != 0, b == 3);
            dray_layout_destroy(layout);
        }
        rig_close(&r);
    }
}

/// What an agent cannot move it does not register either, and says which backend it lacks.
static void an_agent_without_the_backend_refuses_the_device(void **state)
{
    (void)state;
    static const place where = {"sim:0", DRAY_STORAGE_DEVICE, "sim:0", 0};
    rig r;
    assert_true(rig_open(&r, &where));
    dray_agent_destroy(r.agent);
    good(dray_agent_create(r.context, NULL, &r.agent, &r.error), &r);
    dray_layout_config config = shape(0);
    dray_layout *layout = NULL;
    dray_layout_allocation wanted = {
        .struct_bytes = sizeof(wanted), .storage = DRAY_STORAGE_DEVICE, .device = r.device};
    dray_layout_options options = {
        .struct_bytes = sizeof(options), .config = &config, .allocate = &wanted};
    assert_int_equal(dray_layout_build(r.agent, &options, &layout, &r.error), DRAY_E_UNSUPPORTED);
    assert_non_null(
        strstr(r.error.message, "no backend of the agent serves regions of kind device"));
    rig_close(&r);
}

/// Memory that a driver gives is aligned as the driver says; more is refused with both numbers.
static void an_alignment_that_a_device_does_not_have_is_refused(void **state)
{
    (void)state;
    static const place where = {"sim:0", DRAY_STORAGE_DEVICE, "sim:0", 0};
    rig r;
    assert_true(rig_open(&r, &where));
    dray_layout_config config = shape(0);
    config.alignment = 1 << 24;
    dray_layout *layout = NULL;
    dray_layout_allocation wanted = {
        .struct_bytes = sizeof(wanted), .storage = DRAY_STORAGE_DEVICE, .device = r.device};
    dray_layout_options options = {
        .struct_bytes = sizeof(options), .config = &config, .allocate = &wanted};
    assert_int_equal(dray_layout_build(r.agent, &options, &layout, &r.error), DRAY_E_UNSUPPORTED);
    assert_non_null(strstr(r.error.message, "alignment 16777216 wanted, its device memory has "));
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contents_come_back_from_every_kind_of_memory),
        cmocka_unit_test(an_agent_without_the_backend_refuses_the_device),
        cmocka_unit_test(an_alignment_that_a_device_does_not_have_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
