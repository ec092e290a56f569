/// The physical builder: every source of memory, what it refuses, and that nothing stays behind.
#include "core/context.h"
#include "counting_allocator.h"
#include "dray/device.h"
#include "dray/layout.h"
#include "dray/spi/region.h"
#include "fault_os.h"
#include "test_file.h"
#include "testing.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct rig {
    counting_allocator counter;
    dray_context *context;
    dray_agent *agent;
    dray_error error;
    int fds;
} rig;

static void rig_open(rig *r)
{
    memset(r, 0, sizeof(*r));
    fault_os_reset();
    counting_allocator_init(&r->counter, 0);
    r->fds = fault_os_open_fds();
    dray_context_options options = {.struct_bytes = sizeof(options),
                                    .allocator = counting_allocator_interface(&r->counter)};
    assert_int_equal(drayi_context_create_with(&options, fault_os(), &r->context, &r->error),
                     DRAY_OK);
    dray_agent_options agent = {.struct_bytes = sizeof(agent), .name = "tester"};
    assert_int_equal(dray_agent_create(r->context, &agent, &r->agent, &r->error), DRAY_OK);
}

static void rig_close(rig *r)
{
    dray_agent_destroy(r->agent);
    dray_context_destroy(r->context);
    assert_int_equal(counting_allocator_live_bytes(&r->counter), 0);
    assert_int_equal(fault_os_open_fds(), r->fds);
}

/// The shape of the field's own two tests.
static dray_layout_config small(dray_layout_kind kind)
{
    return (dray_layout_config){
        .struct_bytes = sizeof(dray_layout_config),
        .kind = kind,
        .num_blocks = 2,
        .num_layers = 3,
        .outer_dim = 2,
        .page_size = 4,
        .inner_dim = 8,
        .dtype_width_bytes = 2,
    };
}

static dray_region *memory(rig *r, uint64_t bytes)
{
    dray_region *region = NULL;
    dray_region_options options = {.struct_bytes = sizeof(options), .bytes = bytes};
    assert_int_equal(dray_region_create(r->context, &options, &region, &r->error), DRAY_OK);
    return region;
}

static dray_layout *built(rig *r, const dray_layout_options *options)
{
    dray_layout *layout = NULL;
    if (dray_layout_build(r->agent, options, &layout, &r->error) != DRAY_OK)
        fail_msg("%s", r->error.message);
    return layout;
}

static void refused(rig *r, const dray_layout_options *options, dray_status status,
                    const char *message)
{
    dray_layout *layout = NULL;
    uint64_t live = counting_allocator_live_bytes(&r->counter);
    int fds = fault_os_open_fds();
    assert_int_equal(dray_layout_build(r->agent, options, &layout, &r->error), status);
    if (message)
        assert_string_equal(r->error.message, message);
    assert_null(layout);
    assert_int_equal(counting_allocator_live_bytes(&r->counter), live);
    assert_int_equal(fault_os_open_fds(), fds);
}

// --- the field's own two tests -----------------------------------------------------------------------------------

static void a_contiguous_layout_over_a_registered_region(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    dray_layout_config config = small(DRAY_LAYOUT_CONTIGUOUS);
    dray_region *region = memory(&r, 768);
    dray_descriptor descriptor;
    assert_int_equal(dray_agent_register(r.agent, region, NULL, &descriptor, &r.error), DRAY_OK);
    dray_layout_registered registered = {.struct_bytes = sizeof(registered),
                                         .regions = &region,
                                         .handles = &descriptor.handle,
                                         .region_count = 1};
    dray_layout_options options = {
        .struct_bytes = sizeof(options), .config = &config, .registered = &registered};
    dray_layout *layout = built(&r, &options);
    dray_layout_location location;
    dray_layout_get_location(layout, &location);
    assert_int_equal(location.storage, DRAY_STORAGE_SYSTEM);
    assert_null(location.device);
    dray_layout_metadata metadata;
    dray_layout_get_metadata(layout, &metadata);
    assert_string_equal(metadata.agent, "tester");
    assert_int_equal(metadata.memory, DRAY_MEMORY_DRAM);
    assert_int_equal(metadata.device_id, 0);
    assert_int_equal(metadata.registered, 1);
    dray_descriptor again;
    assert_int_equal(dray_layout_descriptor(layout, 0, &again, &r.error), DRAY_OK);
    assert_memory_equal(&again, &descriptor, sizeof(again));
    dray_span span;
    assert_int_equal(dray_layout_span(layout, 1, 2, 1, &span, &r.error), DRAY_OK);
    assert_ptr_equal(span.region, region);
    assert_int_equal(span.offset, 384 + 256 + 64);
    assert_int_equal(span.bytes, 64);
    dray_layout_destroy(layout);
    // the registration is the caller's
    assert_int_equal(dray_agent_deregister(r.agent, descriptor.handle, &r.error), DRAY_OK);
    dray_region_release(region);
    rig_close(&r);
}

static void a_block_first_layout_over_registered_regions(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    dray_layout_config config = small(DRAY_LAYOUT_LAYER_SEPARATE_FIRST);
    dray_region *regions[3];
    uint64_t handles[3];
    dray_descriptor descriptors[3];
    for (int i = 0; i < 3; i++) {
        regions[i] = memory(&r, 256);
        assert_int_equal(dray_agent_register(r.agent, regions[i], NULL, &descriptors[i], &r.error),
                         DRAY_OK);
        handles[i] = descriptors[i].handle;
    }
    dray_layout_registered registered = {.struct_bytes = sizeof(registered),
                                         .regions = regions,
                                         .handles = handles,
                                         .region_count = 3};
    dray_layout_options options = {
        .struct_bytes = sizeof(options), .config = &config, .registered = &registered};
    dray_layout *layout = built(&r, &options);
    for (uint64_t i = 0; i < 3; i++) {
        dray_span span;
        dray_descriptor again;
        assert_int_equal(dray_layout_span(layout, 1, i, 1, &span, &r.error), DRAY_OK);
        assert_ptr_equal(span.region, regions[i]);
        assert_int_equal(span.offset, 128 + 64);
        assert_int_equal(dray_layout_descriptor(layout, i, &again, &r.error), DRAY_OK);
        assert_memory_equal(&again, &descriptors[i], sizeof(again));
    }
    dray_layout_destroy(layout);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(dray_agent_deregister(r.agent, handles[i], &r.error), DRAY_OK);
        dray_region_release(regions[i]);
    }
    rig_close(&r);
}

// --- allocated -----------------------------------------------------------------------------------------------------

static dray_layout_options allocating(const dray_layout_config *config,
                                      const dray_layout_allocation *wanted)
{
    return (dray_layout_options){
        .struct_bytes = sizeof(dray_layout_options), .config = config, .allocate = wanted};
}

/// Writes every slice with a byte of its own and reads it back through the regions.
static void slices_do_not_touch_each_other(const dray_layout *layout)
{
    dray_span span;
    for (int write = 1; write >= 0; write--) {
        uint8_t tag = 1;
        for (uint64_t b = 0; b < 2; b++)
            for (uint64_t l = 0; l < 3; l++)
                for (uint64_t o = 0; o < 2; o++, tag++) {
                    assert_int_equal(dray_layout_span(layout, b, l, o, &span, NULL), DRAY_OK);
                    uint8_t *at = (uint8_t *)dray_region_pointer(span.region) + span.offset;
                    if (write)
                        memset(at, tag, span.bytes);
                    for (uint64_t i = 0; i < span.bytes; i++)
                        assert_int_equal(at[i], tag);
                }
    }
}

static void system_and_pinned_memory_is_cut_into_aligned_regions(void **state)
{
    (void)state;
    static const dray_layout_kind kinds[] = {DRAY_LAYOUT_CONTIGUOUS,
                                             DRAY_LAYOUT_LAYER_SEPARATE_FIRST,
                                             DRAY_LAYOUT_LAYER_SEPARATE_SECOND};
    static const dray_storage storages[] = {DRAY_STORAGE_SYSTEM, DRAY_STORAGE_PINNED};
    for (int i = 0; i < 12; i++) {
        rig r;
        rig_open(&r);
        dray_layout_config config = small(kinds[i % 3]);
        config.alignment = 1024;
        dray_layout_allocation wanted = {
            .struct_bytes = sizeof(wanted), .storage = storages[i / 3 % 2], .numa_aware = i >= 6};
        dray_layout_options options = allocating(&config, &wanted);
        dray_layout *layout = built(&r, &options);
        const dray_layout_geometry *geometry = dray_layout_get_geometry(layout);
        uintptr_t base = (uintptr_t)dray_region_pointer(dray_layout_region(layout, 0));
        for (uint64_t n = 0; n < geometry->region_count; n++) {
            dray_region *region = dray_layout_region(layout, n);
            dray_descriptor descriptor;
            uintptr_t at = (uintptr_t)dray_region_pointer(region);
            assert_int_equal(at % 1024, 0);
            assert_int_equal(at - base, dray_layout_region_offset(geometry, n));
            assert_int_equal(dray_region_bytes(region), geometry->region_bytes);
            assert_int_equal(dray_layout_descriptor(layout, n, &descriptor, &r.error), DRAY_OK);
            assert_int_equal(descriptor.address, at);
            assert_int_equal(descriptor.bytes, geometry->region_bytes);
            assert_int_equal(descriptor.writable, 0);
        }
        slices_do_not_touch_each_other(layout);
        dray_layout_location location;
        dray_layout_get_location(layout, &location);
        assert_int_equal(location.storage, wanted.storage);
        dray_layout_destroy(layout);
        rig_close(&r);
    }
}

/// The field's builder leaves every layer of a file at offset 0.
static void descriptors_of_a_file_carry_the_offset_of_each_layer(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    dray_layout_config config = small(DRAY_LAYOUT_LAYER_SEPARATE_FIRST);
    const char *path = test_file_path("layout-offsets");
    unlink(path);
    dray_layout_allocation wanted = {
        .struct_bytes = sizeof(wanted), .storage = DRAY_STORAGE_DISK, .path = path};
    dray_layout_options options = allocating(&config, &wanted);
    options.peers_may_write = 1;
    dray_layout *layout = built(&r, &options);
    for (uint64_t i = 0; i < 3; i++) {
        dray_descriptor descriptor;
        dray_region_native native;
        dray_region_get_native(dray_layout_region(layout, i), &native);
        assert_int_equal(dray_layout_descriptor(layout, i, &descriptor, &r.error), DRAY_OK);
        assert_int_equal(descriptor.memory, DRAY_MEMORY_FILE);
        assert_int_equal(descriptor.address, i * 4096);
        assert_int_equal(descriptor.bytes, 256);
        assert_int_equal(descriptor.writable, 1);
        assert_int_equal(native.file_offset, i * 4096);
    }
    dray_layout_destroy(layout);
    struct stat facts;
    assert_int_equal(stat(path, &facts), 0); // the caller's path stays
    assert_int_equal(facts.st_size, 12288);
    unlink(path);
    rig_close(&r);
}

static void an_existing_file_is_never_taken_over(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    dray_layout_config config = small(DRAY_LAYOUT_CONTIGUOUS);
    const char *path = test_file_write("layout-existing", "mine", 4);
    dray_layout_allocation wanted = {
        .struct_bytes = sizeof(wanted), .storage = DRAY_STORAGE_DISK, .path = path};
    dray_layout_options options = allocating(&config, &wanted);
    char message[384];
    snprintf(message, sizeof(message),
             "layout: failed to allocate disk memory (4096 bytes) on %s: open %s: File exists",
             path, path);
    refused(&r, &options, DRAY_E_IO, message);
    struct stat facts;
    assert_int_equal(stat(path, &facts), 0);
    assert_int_equal(facts.st_size, 4);
    unlink(path);
    rig_close(&r);
}

static void a_file_without_a_name_goes_with_its_layout(void **state)
{
    (void)state;
    for (int without = 0; without < 2; without++) { // 1: a file system without O_TMPFILE
        rig r;
        rig_open(&r);
        const char *folder = test_file_path("layout-folder");
        assert_int_equal(mkdir(folder, 0700), 0);
        dray_layout_config config = small(DRAY_LAYOUT_LAYER_SEPARATE_SECOND);
        dray_layout_allocation wanted = {
            .struct_bytes = sizeof(wanted), .storage = DRAY_STORAGE_DISK, .folder = folder};
        dray_layout_options options = allocating(&config, &wanted);
        if (without)
            fault_os_inject(&(fault_plan){.at = 1, .groups = FAULT_OPEN, .code = -EOPNOTSUPP});
        dray_layout *layout = built(&r, &options);
        assert_int_equal(fault_os_hits(), without);
        assert_int_equal(dray_region_storage(dray_layout_region(layout, 2)), DRAY_STORAGE_DISK);
        assert_int_equal(rmdir(folder), 0); // there is no name in it
        dray_layout_destroy(layout);
        rig_close(&r);
    }
}

static void an_unregistered_layout_tells_what_it_would_be(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    dray_layout_config config = small(DRAY_LAYOUT_CONTIGUOUS);
    static const dray_storage storages[] = {DRAY_STORAGE_SYSTEM, DRAY_STORAGE_PINNED,
                                            DRAY_STORAGE_DISK};
    for (int i = 0; i < 3; i++) {
        dray_layout_allocation wanted = {.struct_bytes = sizeof(wanted),
                                         .storage = storages[i],
                                         .folder = i == 2 ? test_file_folder() : NULL};
        dray_layout_options options = allocating(&config, &wanted);
        options.unregistered = 1;
        dray_layout *layout = built(&r, &options);
        dray_layout_metadata metadata;
        dray_layout_get_metadata(layout, &metadata);
        assert_int_equal(metadata.registered, 0);
        assert_int_equal(metadata.memory, i == 2 ? DRAY_MEMORY_FILE : DRAY_MEMORY_DRAM);
        if (i < 2)
            assert_int_equal(metadata.device_id, 0);
        dray_descriptor descriptor;
        assert_int_equal(dray_layout_descriptor(layout, 0, &descriptor, &r.error), DRAY_E_NOTFOUND);
        assert_string_equal(r.error.message,
                            "layout: its memory regions are not registered with agent tester");
        dray_layout_destroy(layout);
    }
    rig_close(&r);
}

/// Over each of a device's kinds of memory; a device that is not there is passed over.
static void devices_and_managed_memory(void **state)
{
    (void)state;
    static const char *const names[] = {"sim:0", "opencl:0"};
    static const char *const backends[] = {"sim_device", "opencl"};
    for (int i = 0; i < 4; i++) {
        rig r;
        rig_open(&r);
        dray_device *device = NULL;
        if (dray_device_open(r.context, names[i % 2], &device, &r.error) != DRAY_OK) {
            print_message("%s\n", r.error.message);
            rig_close(&r);
            continue;
        }
        dray_device_info info;
        assert_int_equal(dray_device_get_info(device, &info, &r.error), DRAY_OK);
        dray_agent_destroy(r.agent);
        const char *const named[] = {backends[i % 2], NULL};
        dray_agent_options agent = {
            .struct_bytes = sizeof(agent), .name = "tester", .backends = named};
        assert_int_equal(dray_agent_create(r.context, &agent, &r.agent, &r.error), DRAY_OK);
        bool managed = i >= 2;
        dray_layout_config config = small(DRAY_LAYOUT_LAYER_SEPARATE_FIRST);
        dray_layout_allocation wanted = {.struct_bytes = sizeof(wanted),
                                         .storage =
                                             managed ? DRAY_STORAGE_MANAGED : DRAY_STORAGE_DEVICE,
                                         .device = device};
        dray_layout_options options = allocating(&config, &wanted);
        if (!managed || (info.capabilities & DRAY_DEVICE_MANAGED)) {
            dray_layout *layout = built(&r, &options);
            dray_layout_location location;
            dray_layout_metadata metadata;
            dray_layout_get_location(layout, &location);
            dray_layout_get_metadata(layout, &metadata);
            assert_int_equal(location.storage, wanted.storage);
            assert_string_equal(location.device, names[i % 2]);
            assert_int_equal(metadata.memory, managed ? DRAY_MEMORY_DRAM : DRAY_MEMORY_VRAM);
            assert_int_equal(metadata.device_id, managed ? metadata.device_id : info.ordinal);
            dray_descriptor first, last;
            assert_int_equal(dray_layout_descriptor(layout, 0, &first, &r.error), DRAY_OK);
            assert_int_equal(dray_layout_descriptor(layout, 2, &last, &r.error), DRAY_OK);
            assert_int_equal(last.address - first.address, 512);
            dray_layout_destroy(layout);
        }
        dray_device_release(device);
        rig_close(&r);
    }
}

static void numa_aware_memory_is_bound_before_it_exists(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        rig r;
        rig_open(&r);
        dray_layout_config config = small(DRAY_LAYOUT_CONTIGUOUS);
        dray_layout_allocation wanted = {.struct_bytes = sizeof(wanted),
                                         .storage = i ? DRAY_STORAGE_PINNED : DRAY_STORAGE_SYSTEM,
                                         .numa_aware = 1};
        dray_layout_options options = allocating(&config, &wanted);
        options.unregistered = 1;
        dray_layout *layout = built(&r, &options);
        int mode = 0;
        uint64_t nodes[16] = {0};
        const void *at = dray_region_pointer(dray_layout_region(layout, 0));
        if (drayi_os_linux.node_policy(at, &mode, nodes, 1024) == 0) // else: a kernel without NUMA
            assert_int_equal(mode, 2);                               // MPOL_BIND
        assert_int_equal(dray_region_storage(dray_layout_region(layout, 0)), wanted.storage);
        dray_layout_destroy(layout);
        rig_close(&r);
    }
}

static unsigned two_nodes(void)
{
    return 2;
}

/// The field's builder accepts numa_aware and drops it.
static void memory_that_cannot_be_bound_is_refused(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    drayi_os os = *fault_os();
    os.node_count = two_nodes;
    dray_context *context;
    dray_agent *agent;
    dray_device *device;
    dray_layout *layout = NULL;
    assert_int_equal(drayi_context_create_with(NULL, &os, &context, &r.error), DRAY_OK);
    assert_int_equal(dray_agent_create(context, NULL, &agent, &r.error), DRAY_OK);
    assert_int_equal(dray_device_open(context, "sim:0", &device, &r.error), DRAY_OK);
    dray_layout_config config = small(DRAY_LAYOUT_CONTIGUOUS);
    dray_layout_allocation wanted = {.struct_bytes = sizeof(wanted),
                                     .storage = DRAY_STORAGE_SYSTEM,
                                     .numa_aware = 1,
                                     .device = device};
    dray_layout_options options = allocating(&config, &wanted);
    dray_device_info info;
    assert_int_equal(dray_device_get_info(device, &info, &r.error), DRAY_OK);
    if (info.numa_node < 0) {
        assert_int_equal(dray_layout_build(agent, &options, &layout, &r.error), DRAY_E_UNSUPPORTED);
        assert_string_equal(r.error.message,
                            "layout: failed to allocate system memory (768 bytes) on sim:0: "
                            "numa_aware: which of the 2 nodes sim:0 is at is not known");
    }
    wanted.device = NULL;
    fault_os_inject(&(fault_plan){.at = 2, .groups = FAULT_MEMORY, .code = -EPERM}); // map, bind
    assert_int_equal(dray_layout_build(agent, &options, &layout, &r.error), DRAY_E_UNSUPPORTED);
    assert_string_equal(r.error.message, "layout: failed to allocate system memory (768 bytes): "
                                         "numa_aware: 768 bytes to node 0: Operation not permitted");
    fault_os_inject(&(fault_plan){0});
    dray_device_release(device);
    dray_agent_destroy(agent);
    dray_context_destroy(context);
    rig_close(&r);
}

static void direct_io_asks_for_blocks_that_take_it(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    dray_layout_config config = small(DRAY_LAYOUT_CONTIGUOUS);
    const char *path = test_file_path("layout-direct");
    dray_layout_allocation wanted = {
        .struct_bytes = sizeof(wanted), .storage = DRAY_STORAGE_DISK, .path = path, .direct = 1};
    dray_layout_options options = allocating(&config, &wanted);
    dray_layout *layout = NULL;
    fault_os_make_absent(FAULT_NO_DIRECT);
    assert_int_equal(dray_layout_build(r.agent, &options, &layout, &r.error), DRAY_E_UNSUPPORTED);
    assert_non_null(strstr(r.error.message, "refuses direct I/O"));
    assert_int_equal(access(path, F_OK), -1);
    fault_os_make_absent(FAULT_NO_DIRECT_ALIGN); // then it is 4096
    dray_status status = dray_layout_build(r.agent, &options, &layout, &r.error);
    if (status == DRAY_E_UNSUPPORTED) {
        print_message("%s\n", r.error.message); // TMPDIR is on a file system without it
    } else {
        assert_int_equal(status, DRAY_E_INVALID);
        assert_non_null(
            strstr(r.error.message, "direct: blocks are aligned to 1 bytes, direct I/O on "));
        assert_non_null(
            strstr(r.error.message, " wants multiples of 4096: set the alignment to that"));
        assert_int_equal(access(path, F_OK), -1);
        config.alignment = 4096;
        layout = built(&r, &options);
        dray_layout_destroy(layout);
        unlink(path);
    }
    wanted = (dray_layout_allocation){
        .struct_bytes = sizeof(wanted), .storage = DRAY_STORAGE_SYSTEM, .direct = 1};
    refused(&r, &options, DRAY_E_INVALID,
            "layout: allocate system: direct is given, which is for disk");
    rig_close(&r);
}

// --- requests that say too little or too much ----------------------------------------------------------------------

static void every_missing_part_of_a_request_is_named(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    dray_layout_config config = small(DRAY_LAYOUT_CONTIGUOUS);
    dray_layout_options options = {.struct_bytes = sizeof(options)};
    refused(&r, NULL, DRAY_E_INVALID, "layout: the options are missing");
    refused(&r, &options, DRAY_E_INVALID, "layout: the configuration is missing");
    options.config = &config;
    refused(&r, &options, DRAY_E_INVALID,
            "layout: the memory is missing: one of allocate, provided and registered is wanted");
    dray_layout_allocation wanted = {.struct_bytes = sizeof(wanted)};
    options.allocate = &wanted;
    refused(
        &r, &options, DRAY_E_INVALID,
        "layout: allocate: the storage kind is missing: system, pinned, device, managed or disk");
    wanted.storage = DRAY_STORAGE_DEVICE;
    refused(&r, &options, DRAY_E_INVALID, "layout: allocate device: the device is missing");
    wanted.storage = DRAY_STORAGE_MANAGED;
    refused(&r, &options, DRAY_E_INVALID, "layout: allocate managed: the device is missing");
    wanted.storage = DRAY_STORAGE_DISK;
    refused(&r, &options, DRAY_E_INVALID,
            "layout: allocate disk: a path is missing, or a folder for a file without a name");
    config.kind = 0;
    refused(&r, &options, DRAY_E_INVALID,
            "layout: the kind is missing: contiguous, layer-separate:block-first or "
            "layer-separate:block-second");
    config.kind = DRAY_LAYOUT_CONTIGUOUS;
    dray_region *region = memory(&r, 768);
    dray_layout_registered registered = {
        .struct_bytes = sizeof(registered), .regions = &region, .region_count = 1};
    options.allocate = NULL;
    options.registered = &registered;
    refused(&r, &options, DRAY_E_INVALID,
            "layout: registered: the handles are missing: memory regions without registration "
            "metadata go into provided");
    dray_layout *layout = NULL;
    assert_int_equal(dray_layout_build(NULL, &options, &layout, &r.error), DRAY_E_INVALID);
    assert_string_equal(r.error.message, "layout: the agent is missing");
    dray_region_release(region);
    rig_close(&r);
}

static void parts_that_contradict_each_other_are_named(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    dray_layout_config config = small(DRAY_LAYOUT_CONTIGUOUS);
    dray_layout_allocation wanted = {.struct_bytes = sizeof(wanted), .storage = DRAY_STORAGE_SYSTEM};
    dray_layout_provided provided = {.struct_bytes = sizeof(provided)};
    dray_layout_options options = allocating(&config, &wanted);
    options.provided = &provided;
    refused(&r, &options, DRAY_E_INVALID,
            "layout: memory comes from one source, given are allocate and provided");
    options.provided = NULL;
    options.unregistered = options.peers_may_write = 1;
    refused(&r, &options, DRAY_E_INVALID,
            "layout: unregistered and peers_may_write: peers reach registered memory only");
    options.unregistered = options.peers_may_write = 0;
    wanted.path = "/tmp/x";
    refused(&r, &options, DRAY_E_INVALID,
            "layout: allocate system: a path is given, which is for disk");
    wanted.path = NULL;
    wanted.storage = DRAY_STORAGE_REMOTE;
    refused(&r, &options, DRAY_E_INVALID,
            "layout: allocate: remote memory is not made here (system, pinned, device, managed and "
            "disk are)");
    wanted.storage = DRAY_STORAGE_DISK;
    wanted.path = wanted.folder = test_file_folder();
    refused(&r, &options, DRAY_E_INVALID,
            "layout: allocate disk: both a path and a folder are given; a path is for a file that "
            "stays, a folder for one without a name");
    wanted.folder = NULL;
    wanted.numa_aware = 1;
    refused(&r, &options, DRAY_E_INVALID, "layout: allocate disk: numa_aware means nothing there");
    rig_close(&r);
}

/// The field's builder has sized, allocated and registered before it looks at the configuration.
static void a_bad_configuration_is_refused_before_anything_is_made(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    dray_layout_config config = small(DRAY_LAYOUT_CONTIGUOUS);
    config.page_size = 3;
    const char *path = test_file_path("layout-never");
    dray_layout_allocation wanted = {
        .struct_bytes = sizeof(wanted), .storage = DRAY_STORAGE_DISK, .path = path};
    dray_layout_options options = allocating(&config, &wanted);
    fault_os_inject(&(fault_plan){0});
    refused(&r, &options, DRAY_E_INVALID,
            "layout: page_size must be a positive power of 2, it is 3");
    assert_int_equal(fault_os_calls(), 0);
    assert_int_equal(access(path, F_OK), -1);
    rig_close(&r);
}

// --- provided ------------------------------------------------------------------------------------------------------

static void provided_regions_are_registered_and_given_back(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    dray_layout_config config = small(DRAY_LAYOUT_LAYER_SEPARATE_SECOND);
    dray_region *regions[3] = {memory(&r, 256), memory(&r, 300), memory(&r, 256)};
    dray_layout_provided provided = {
        .struct_bytes = sizeof(provided), .regions = regions, .region_count = 3};
    dray_layout_options options = {.struct_bytes = sizeof(options),
                                   .config = &config,
                                   .provided = &provided,
                                   .peers_may_write = 1};
    dray_layout *layout = built(&r, &options);
    dray_descriptor descriptors[3], found;
    for (uint64_t i = 0; i < 3; i++) {
        dray_region *region;
        assert_int_equal(dray_layout_descriptor(layout, i, &descriptors[i], &r.error), DRAY_OK);
        assert_int_equal(dray_agent_find(r.agent, descriptors[i].handle, &found, &region, &r.error),
                         DRAY_OK);
        assert_ptr_equal(region, regions[i]);
        assert_int_equal(found.writable, 1);
        dray_region_release(regions[i]); // the layout keeps it
    }
    slices_do_not_touch_each_other(layout);
    dray_layout_destroy(layout);
    assert_int_equal(dray_agent_find(r.agent, descriptors[1].handle, &found, NULL, &r.error),
                     DRAY_E_NOTFOUND);
    rig_close(&r);
}

static void provided_regions_must_be_enough_large_aligned_and_apart(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    dray_layout_config config = small(DRAY_LAYOUT_LAYER_SEPARATE_FIRST);
    dray_region *page = memory(&r, 4096), *views[4];
    static const uint64_t at[4] = {0, 256, 512, 600};
    for (int i = 0; i < 4; i++)
        assert_int_equal(dray_region_view(page, at[i], 256, &views[i], &r.error), DRAY_OK);
    dray_region *list[3] = {views[0], views[1], views[2]};
    dray_layout_provided provided = {
        .struct_bytes = sizeof(provided), .regions = list, .region_count = 2};
    dray_layout_options options = {
        .struct_bytes = sizeof(options), .config = &config, .provided = &provided};
    refused(&r, &options, DRAY_E_INVALID,
            "layout: provided: memory region count (2) does not match required allocations (3), one "
            "per layer");
    provided.region_count = 0;
    refused(&r, &options, DRAY_E_INVALID, "layout: provided: no memory regions are given");
    provided.region_count = 3;
    dray_layout_destroy(built(&r, &options));
    list[1] = views[3];
    refused(&r, &options, DRAY_E_INVALID, NULL);
    assert_non_null(strstr(r.error.message, "layout: provided memory regions 2 and 1 overlap"));
    list[1] = NULL;
    refused(&r, &options, DRAY_E_INVALID, "layout: provided: region 1 is NULL");
    list[1] = views[1];
    config.alignment = 512;
    refused(&r, &options, DRAY_E_INVALID,
            "layout: provided memory region 0 too small for layout: required 1024 bytes, system has "
            "256");
    config.alignment = 1;
    config.num_blocks = 3;
    refused(&r, &options, DRAY_E_INVALID,
            "layout: provided memory region 0 too small for layout: required 384 bytes, system has "
            "256");
    config = small(DRAY_LAYOUT_CONTIGUOUS);
    refused(&r, &options, DRAY_E_INVALID,
            "layout: provided: fully contiguous layout requires a single memory region, got 3");
    provided.region_count = 1;
    refused(
        &r, &options, DRAY_E_INVALID,
        "layout: provided memory region too small for layout: required 768 bytes, system has 256");
    provided.is_base = 1;
    refused(&r, &options, DRAY_E_INVALID,
            "layout: base region (256 bytes) is insufficient for 768 bytes with padding");
    for (int i = 0; i < 4; i++)
        dray_region_release(views[i]);
    dray_region_release(page);
    rig_close(&r);
}

/// The field's builder checks no alignment of what it is given.
static void provided_regions_must_be_aligned(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    dray_layout_config config = small(DRAY_LAYOUT_CONTIGUOUS);
    config.alignment = 512;
    dray_region *page = memory(&r, 8192), *view;
    assert_int_equal(dray_region_view(page, 64, 4096, &view, &r.error), DRAY_OK);
    dray_layout_provided provided = {
        .struct_bytes = sizeof(provided), .regions = &view, .region_count = 1};
    dray_layout_options options = {
        .struct_bytes = sizeof(options), .config = &config, .provided = &provided};
    char message[384];
    snprintf(message, sizeof(message),
             "layout: provided memory region 0 is misaligned: system begins at %#" PRIxPTR
             ", wanted is a multiple of 512",
             (uintptr_t)dray_region_pointer(view));
    refused(&r, &options, DRAY_E_INVALID, message);
    dray_region_release(view);
    dray_region_release(page);
    rig_close(&r);
}

/// The field's builder compares descriptors and refuses every layout of more than one file.
static void one_layout_spans_several_files(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    dray_layout_config config = small(DRAY_LAYOUT_LAYER_SEPARATE_FIRST);
    dray_region *regions[3];
    for (int i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof(name), "layout-file-%d", i);
        const char *path = test_file_make(name, 8192);
        dray_file_options file = {.struct_bytes = sizeof(file), .writable = 1};
        assert_int_equal(dray_region_open(r.context, path, &file, &regions[i], &r.error), DRAY_OK);
        unlink(path);
    }
    dray_layout_provided provided = {
        .struct_bytes = sizeof(provided), .regions = regions, .region_count = 3};
    dray_layout_options options = {
        .struct_bytes = sizeof(options), .config = &config, .provided = &provided};
    dray_layout *layout = built(&r, &options);
    dray_descriptor a, b;
    assert_int_equal(dray_layout_descriptor(layout, 0, &a, &r.error), DRAY_OK);
    assert_int_equal(dray_layout_descriptor(layout, 1, &b, &r.error), DRAY_OK);
    assert_int_not_equal(a.device_id, b.device_id);
    dray_layout_destroy(layout);
    // the same file twice is the same bytes twice
    dray_region *twice = regions[1];
    regions[1] = regions[0];
    refused(&r, &options, DRAY_E_INVALID,
            "layout: provided memory regions 0 and 1 overlap: they begin at 0 and 0 and have 256 "
            "bytes each");
    regions[1] = twice;
    // memory and files are two places
    dray_region *file = regions[2];
    regions[2] = memory(&r, 256);
    dray_layout *none = NULL;
    assert_int_equal(dray_layout_build(r.agent, &options, &none, &r.error), DRAY_E_INVALID);
    assert_non_null(strstr(r.error.message, "layout: all provided memory regions must share the same "
                                            "storage location (found disk "));
    assert_non_null(strstr(r.error.message, " and system system)"));
    dray_region_release(regions[2]);
    regions[2] = file;
    for (int i = 0; i < 3; i++)
        dray_region_release(regions[i]);
    rig_close(&r);
}

static void ordinary_and_locked_memory_may_be_mixed(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    dray_layout_config config = small(DRAY_LAYOUT_LAYER_SEPARATE_FIRST);
    dray_region *regions[3] = {NULL, memory(&r, 256), NULL};
    dray_region_options locked = {
        .struct_bytes = sizeof(locked), .storage = DRAY_STORAGE_PINNED, .bytes = 256};
    assert_int_equal(dray_region_create(r.context, &locked, &regions[0], &r.error), DRAY_OK);
    assert_int_equal(dray_region_create(r.context, &locked, &regions[2], &r.error), DRAY_OK);
    dray_layout_provided provided = {
        .struct_bytes = sizeof(provided), .regions = regions, .region_count = 3};
    dray_layout_options options = {
        .struct_bytes = sizeof(options), .config = &config, .provided = &provided};
    dray_layout *layout = built(&r, &options);
    dray_layout_location location;
    dray_layout_get_location(layout, &location);
    assert_int_equal(location.storage, DRAY_STORAGE_SYSTEM);
    dray_layout_destroy(layout);
    for (int i = 0; i < 3; i++)
        dray_region_release(regions[i]);
    rig_close(&r);
}

// --- registered ----------------------------------------------------------------------------------------------------

/// The field's builder never looks whose descriptor a region carries.
static void a_descriptor_of_another_agent_is_refused(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    dray_agent *other;
    dray_agent_options named = {.struct_bytes = sizeof(named), .name = "other"};
    assert_int_equal(dray_agent_create(r.context, &named, &other, &r.error), DRAY_OK);
    dray_layout_config config = small(DRAY_LAYOUT_CONTIGUOUS);
    dray_region *region = memory(&r, 768), *mine = memory(&r, 4096);
    dray_descriptor theirs, ours;
    assert_int_equal(dray_agent_register(other, region, NULL, &theirs, &r.error), DRAY_OK);
    dray_layout_registered registered = {.struct_bytes = sizeof(registered),
                                         .regions = &region,
                                         .handles = &theirs.handle,
                                         .region_count = 1};
    dray_layout_options options = {
        .struct_bytes = sizeof(options), .config = &config, .registered = &registered};
    refused(
        &r, &options, DRAY_E_INVALID,
        "layout: provided memory region at index 0 is not registered with agent tester: it has no "
        "handle 1");
    assert_int_equal(dray_agent_register(r.agent, mine, NULL, &ours, &r.error), DRAY_OK);
    assert_int_equal(ours.handle, theirs.handle); // the same number, another region
    refused(
        &r, &options, DRAY_E_INVALID,
        "layout: memory region 0 (system) does not carry a descriptor of agent tester: its handle "
        "1 means system there; a region of another agent is accepted only as remote");
    assert_int_equal(dray_agent_deregister(r.agent, ours.handle, &r.error), DRAY_OK);
    dray_region_release(region);
    dray_region_release(mine);
    dray_agent_destroy(other);
    rig_close(&r);
}

/// The field's builder throws the cause of a refused registration away.
static void the_cause_of_a_refused_registration_is_kept(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    dray_layout_config config = small(DRAY_LAYOUT_CONTIGUOUS);
    dray_device *device;
    assert_int_equal(dray_device_open(r.context, "sim:0", &device, &r.error), DRAY_OK);
    dray_layout_allocation wanted = {
        .struct_bytes = sizeof(wanted), .storage = DRAY_STORAGE_DEVICE, .device = device};
    dray_layout_options options = allocating(&config, &wanted);
    dray_layout *layout = NULL;
    assert_int_equal(dray_layout_build(r.agent, &options, &layout, &r.error), DRAY_E_UNSUPPORTED);
    assert_non_null(
        strstr(r.error.message, "layout: base region of 768 bytes: agent tester: register"));
    assert_non_null(
        strstr(r.error.message, "no backend of the agent serves regions of kind device"));
    dray_device_release(device);
    rig_close(&r);
}

// --- faults --------------------------------------------------------------------------------------------------------

typedef struct request {
    dray_layout_config config;
    dray_layout_allocation wanted;
    dray_layout_options options;
} request;

static void request_fill(request *out, int index)
{
    static const dray_layout_kind kinds[] = {DRAY_LAYOUT_CONTIGUOUS,
                                             DRAY_LAYOUT_LAYER_SEPARATE_SECOND};
    static const dray_storage storages[] = {DRAY_STORAGE_SYSTEM, DRAY_STORAGE_PINNED,
                                            DRAY_STORAGE_DISK, DRAY_STORAGE_DISK};
    out->config = small(kinds[index % 2]);
    out->wanted = (dray_layout_allocation){.struct_bytes = sizeof(out->wanted),
                                           .storage = storages[index / 2]};
    out->wanted.numa_aware = index / 2 == 1;
    if (index / 2 == 2)
        out->wanted.path = test_file_path("layout-fault");
    if (index / 2 == 3)
        out->wanted.folder = test_file_folder();
    out->options = allocating(&out->config, &out->wanted);
}
enum { request_count = 8 };

static void a_failed_build_says_why_and_leaves_nothing(rig *r, const request *each,
                                                       dray_status status, uint64_t live, int fds)
{
    assert_int_not_equal(status, DRAY_OK);
    assert_int_equal(r->error.status, status);
    assert_true(r->error.message[0]);
    assert_int_equal(counting_allocator_live_bytes(&r->counter), live);
    assert_int_equal(fault_os_open_fds(), fds);
    if (each->wanted.path)
        assert_int_equal(access(each->wanted.path, F_OK), -1);
}

static void every_allocation_of_a_build_may_fail(void **state)
{
    (void)state;
    for (int index = 0; index < request_count; index++) {
        rig r;
        rig_open(&r);
        request each;
        request_fill(&each, index);
        uint64_t tries = 0;
        for (;; tries++) {
            dray_layout *layout = NULL;
            uint64_t live = counting_allocator_live_bytes(&r.counter);
            int fds = fault_os_open_fds();
            r.counter.calls = r.counter.failures = 0;
            r.counter.fail_at = tries + 1;
            dray_status status = dray_layout_build(r.agent, &each.options, &layout, &r.error);
            r.counter.fail_at = 0;
            if (status == DRAY_OK) {
                dray_layout_destroy(layout);
                break;
            }
            assert_int_equal(status, DRAY_E_NOMEM);
            a_failed_build_says_why_and_leaves_nothing(&r, &each, status, live, fds);
        }
        assert_true(tries >= 4);
        if (each.wanted.path)
            unlink(each.wanted.path);
        rig_close(&r);
    }
}

static void every_system_call_of_a_build_may_fail(void **state)
{
    (void)state;
    static const int codes[] = {-EIO, -ENOSPC, -ENOMEM};
    for (int index = 0; index < request_count * 3; index++) {
        rig r;
        rig_open(&r);
        request each;
        request_fill(&each, index / 3);
        for (uint64_t n = 1;; n++) {
            dray_layout *layout = NULL;
            uint64_t live = counting_allocator_live_bytes(&r.counter);
            int fds = fault_os_open_fds();
            fault_os_inject(&(fault_plan){.at = n, .code = codes[index % 3]});
            dray_status status = dray_layout_build(r.agent, &each.options, &layout, &r.error);
            uint64_t hits = fault_os_hits();
            fault_os_inject(&(fault_plan){0});
            if (status == DRAY_OK) { // advice that is refused is no failure
                dray_layout_destroy(layout);
                if (each.wanted.path)
                    unlink(each.wanted.path);
            } else {
                a_failed_build_says_why_and_leaves_nothing(&r, &each, status, live, fds);
            }
            if (hits == 0)
                break;
        }
        rig_close(&r);
    }
}

/// The same over regions of the caller: their registrations are undone, the regions stay the caller's.
static void every_allocation_over_provided_regions_may_fail(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    dray_layout_config config = small(DRAY_LAYOUT_LAYER_SEPARATE_FIRST);
    dray_region *regions[3] = {memory(&r, 256), memory(&r, 256), memory(&r, 256)};
    dray_layout_provided provided = {
        .struct_bytes = sizeof(provided), .regions = regions, .region_count = 3};
    dray_layout_options options = {
        .struct_bytes = sizeof(options), .config = &config, .provided = &provided};
    dray_layout_destroy(built(&r, &options)); // the agent's list of registrations has its room now
    uint64_t live = counting_allocator_live_bytes(&r.counter), tries = 0;
    for (;; tries++) {
        dray_layout *layout = NULL;
        dray_descriptor found;
        r.counter.calls = r.counter.failures = 0;
        r.counter.fail_at = tries + 1;
        dray_status status = dray_layout_build(r.agent, &options, &layout, &r.error);
        r.counter.fail_at = 0;
        if (status == DRAY_OK) {
            dray_layout_destroy(layout);
            break;
        }
        assert_int_equal(status, DRAY_E_NOMEM);
        assert_true(r.error.message[0]);
        assert_int_equal(counting_allocator_live_bytes(&r.counter), live);
        for (uint64_t handle = 1; handle < 64; handle++)
            assert_int_equal(dray_agent_find(r.agent, handle, &found, NULL, NULL), DRAY_E_NOTFOUND);
    }
    assert_true(tries >= 3);
    for (int i = 0; i < 3; i++)
        dray_region_release(regions[i]);
    rig_close(&r);
}

static void memory_that_is_not_there_is_told_with_its_kind_and_size(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    dray_layout_config config = small(DRAY_LAYOUT_CONTIGUOUS);
    dray_layout_allocation wanted = {.struct_bytes = sizeof(wanted), .storage = DRAY_STORAGE_PINNED};
    dray_layout_options options = allocating(&config, &wanted);
    dray_layout *layout = NULL;
    fault_os_limit_lock(0);
    assert_int_equal(dray_layout_build(r.agent, &options, &layout, &r.error), DRAY_E_NOMEM);
    const char *pinned = "layout: failed to allocate pinned memory (768 bytes): ";
    assert_memory_equal(r.error.message, pinned, strlen(pinned));
    fault_os_reset();
    config.num_blocks = UINT64_C(1) << 40;
    config.page_size = 1 << 10; // 2^40 x 98304: more than there is
    wanted.storage = DRAY_STORAGE_SYSTEM;
    assert_int_equal(dray_layout_build(r.agent, &options, &layout, &r.error), DRAY_E_NOMEM);
    const char *ordinary = "layout: failed to allocate system memory (108086391056891904 bytes): ";
    assert_memory_equal(r.error.message, ordinary, strlen(ordinary));
    assert_int_equal(dray_device_open(r.context, "sim:0", &wanted.device, &r.error), DRAY_OK);
    wanted.storage = DRAY_STORAGE_DEVICE;
    assert_int_equal(dray_layout_build(r.agent, &options, &layout, &r.error), DRAY_E_NOMEM);
    const char *device =
        "layout: failed to allocate device memory (108086391056891904 bytes) on sim:0: ";
    assert_memory_equal(r.error.message, device, strlen(device));
    dray_device_release(wanted.device);
    assert_null(layout);
    rig_close(&r);
}

/// The kernel's own limit, not a simulated one.
static void a_file_that_may_not_grow_leaves_nothing_behind(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    request each;
    request_fill(&each, 4);
    struct rlimit before, limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = (struct rlimit){.rlim_cur = 1024, .rlim_max = before.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    dray_layout *layout = NULL;
    dray_status status = dray_layout_build(r.agent, &each.options, &layout, &r.error);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, handler);
    assert_int_not_equal(status, DRAY_OK);
    assert_non_null(strstr(r.error.message, "File too large"));
    assert_int_equal(access(each.wanted.path, F_OK), -1);
    rig_close(&r);
}

static void a_full_disk_is_told_with_numbers_and_leaves_no_file(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    request each;
    request_fill(&each, 4);
    fault_os_inject(&(fault_plan){.at = 1, .groups = FAULT_FILE, .code = -ENOSPC});
    char message[384];
    snprintf(
        message, sizeof(message),
        "layout: failed to allocate disk memory (4096 bytes) on %s: create %s: reserve 4096 bytes: "
        "No space left on device",
        each.wanted.path, each.wanted.path);
    refused(&r, &each.options, DRAY_E_NOSPACE, message);
    assert_int_equal(access(each.wanted.path, F_OK), -1);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_contiguous_layout_over_a_registered_region),
        cmocka_unit_test(a_block_first_layout_over_registered_regions),
        cmocka_unit_test(system_and_pinned_memory_is_cut_into_aligned_regions),
        cmocka_unit_test(descriptors_of_a_file_carry_the_offset_of_each_layer),
        cmocka_unit_test(an_existing_file_is_never_taken_over),
        cmocka_unit_test(a_file_without_a_name_goes_with_its_layout),
        cmocka_unit_test(an_unregistered_layout_tells_what_it_would_be),
        cmocka_unit_test(devices_and_managed_memory),
        cmocka_unit_test(numa_aware_memory_is_bound_before_it_exists),
        cmocka_unit_test(memory_that_cannot_be_bound_is_refused),
        cmocka_unit_test(direct_io_asks_for_blocks_that_take_it),
        cmocka_unit_test(every_missing_part_of_a_request_is_named),
        cmocka_unit_test(parts_that_contradict_each_other_are_named),
        cmocka_unit_test(a_bad_configuration_is_refused_before_anything_is_made),
        cmocka_unit_test(provided_regions_are_registered_and_given_back),
        cmocka_unit_test(provided_regions_must_be_enough_large_aligned_and_apart),
        cmocka_unit_test(provided_regions_must_be_aligned),
        cmocka_unit_test(one_layout_spans_several_files),
        cmocka_unit_test(ordinary_and_locked_memory_may_be_mixed),
        cmocka_unit_test(a_descriptor_of_another_agent_is_refused),
        cmocka_unit_test(the_cause_of_a_refused_registration_is_kept),
        cmocka_unit_test(every_allocation_of_a_build_may_fail),
        cmocka_unit_test(every_system_call_of_a_build_may_fail),
        cmocka_unit_test(every_allocation_over_provided_regions_may_fail),
        cmocka_unit_test(memory_that_is_not_there_is_told_with_its_kind_and_size),
        cmocka_unit_test(a_file_that_may_not_grow_leaves_nothing_behind),
        cmocka_unit_test(a_full_disk_is_told_with_numbers_and_leaves_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
