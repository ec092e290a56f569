/// Both forms in which layouts are given to peers, as bytes: what was written is read, everything else is refused.
#include "base/reader.h"
#include "core/context.h"
#include "counting_allocator.h"
#include "layout/wire.h"
#include "testing.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

typedef struct rig {
    counting_allocator counter;
    dray_context *context;
    drayi_arena arena;
    dray_error error;
} rig;

static void rig_open(rig *r)
{
    memset(r, 0, sizeof(*r));
    counting_allocator_init(&r->counter, 0);
    dray_context_options options = {.struct_bytes = sizeof(options),
                                    .allocator = counting_allocator_interface(&r->counter)};
    assert_int_equal(dray_context_create(&options, &r->context, &r->error), DRAY_OK);
    r->arena.env = drayi_env_of(r->context);
}

static void rig_close(rig *r)
{
    drayi_arena_free(&r->arena);
    dray_context_destroy(r->context);
    assert_int_equal(counting_allocator_live_bytes(&r->counter), 0);
}

static dray_descriptor regions[3] = {
    {.handle = 4, .address = 65536, .bytes = 256, .memory = DRAY_MEMORY_DRAM, .writable = 1},
    {.handle = 4, .address = 65792, .bytes = 256, .memory = DRAY_MEMORY_DRAM, .writable = 1},
    {.handle = 9, .address = 4096, .bytes = 300, .memory = DRAY_MEMORY_DRAM, .writable = 0},
};

static drayi_layout_wire example(void)
{
    return (drayi_layout_wire){
        .agent = {.bytes = "node-7", .length = 6},
        .epoch = UINT64_C(0xfedcba9876543210),
        .storage = DRAY_STORAGE_SYSTEM,
        .device = {.bytes = "", .length = 0},
        .config = {.struct_bytes = sizeof(dray_layout_config),
                   .kind = DRAY_LAYOUT_LAYER_SEPARATE_FIRST,
                   .num_blocks = 2,
                   .page_size = 4,
                   .inner_dim = 8,
                   .alignment = 1,
                   .num_layers = 3,
                   .outer_dim = 2,
                   .dtype_width_bytes = 2},
        .regions = regions,
        .region_count = 3,
    };
}

static void same(const drayi_layout_wire *a, const drayi_layout_wire *b)
{
    assert_int_equal(a->agent.length, b->agent.length);
    assert_memory_equal(a->agent.bytes, b->agent.bytes, a->agent.length);
    assert_int_equal(a->device.length, b->device.length);
    assert_true(a->epoch == b->epoch);
    assert_int_equal(a->storage, b->storage);
    assert_memory_equal(&a->config, &b->config, sizeof(a->config));
    assert_int_equal(a->region_count, b->region_count);
    for (uint32_t i = 0; i < a->region_count; i++)
        assert_memory_equal(&a->regions[i], &b->regions[i], sizeof(a->regions[i]));
}

static dray_status read_back(rig *r, const void *bytes, uint64_t count, drayi_layout_wire *out)
{
    dray_layout_geometry geometry;
    dray_status status = drayi_layout_wire_read(bytes, count, &r->arena, out, &r->error);
    return status == DRAY_OK ? drayi_layout_wire_settle(out, &geometry, &r->error) : status;
}

static uint64_t as_json(rig *r, const drayi_layout_wire *wire, char *out, uint64_t capacity)
{
    uint64_t sum;
    assert_true(drayi_layout_wire_sum(wire, &r->arena, &sum, &r->error));
    uint64_t bytes = drayi_layout_wire_write_json(wire, sum, out, capacity);
    assert_true(bytes < capacity);
    out[bytes] = 0;
    return bytes;
}

/// After a change the checksum is made right again: what is refused is refused for what it says.
static void seal(uint8_t *bytes, uint64_t count)
{
    uint64_t sum = XXH3_64bits(bytes, count - 8);
    for (int i = 0; i < 8; i++)
        bytes[count - 8 + (uint64_t)i] = (uint8_t)(sum >> 8 * i);
}

static void refused(rig *r, const void *bytes, uint64_t count, dray_status status, const char *rule,
                    const char *message)
{
    drayi_layout_wire wire;
    assert_int_equal(read_back(r, bytes, count, &wire), status);
    assert_string_equal(r->error.message, message);
    assert_string_equal(r->error.rule, rule);
}

// --- both forms ----------------------------------------------------------------------------------------------------

static void what_is_written_is_read(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    uint8_t binary[1024];
    char json[4096];
    drayi_layout_wire wire = example(), again;
    for (int custom = 0; custom < 2; custom++) {
        if (custom) {
            wire.config.kind = DRAY_LAYOUT_CONTIGUOUS;
            wire.config.format = DRAY_BLOCK_CUSTOM;
            wire.config.num_heads = 4;
            wire.config.num_blocks = 1;
            wire.config.num_layers = 1;
            static const dray_block_dim order[] = {DRAY_DIM_HEAD, DRAY_DIM_TOKEN, DRAY_DIM_OUTER,
                                                   DRAY_DIM_LAYER};
            memcpy(wire.config.order, order, sizeof(order));
            wire.region_count = 1;
            wire.agent = (dray_text){.bytes = "a \"quoted\\ name", .length = 15};
            wire.storage = DRAY_STORAGE_DEVICE;
            wire.device = (dray_text){.bytes = "cuda:1", .length = 6};
        }
        uint64_t bytes = drayi_layout_wire_write(&wire, binary, sizeof(binary));
        assert_int_equal(read_back(&r, binary, bytes, &again), DRAY_OK);
        same(&wire, &again);
        assert_int_equal(drayi_layout_wire_write(&wire, binary, bytes - 1), bytes); // too small
        bytes = as_json(&r, &wire, json, sizeof(json));
        if (read_back(&r, json, bytes, &again) != DRAY_OK)
            fail_msg("%s\n%s", r.error.message, json);
        same(&wire, &again);
    }
    rig_close(&r);
}

/// The bytes are the documented ones: another version of this library, or another program, reads them.
static void the_binary_form_is_the_documented_one(void **state)
{
    (void)state;
    uint8_t bytes[1024];
    drayi_layout_wire wire = example();
    uint64_t count = drayi_layout_wire_write(&wire, bytes, sizeof(bytes));
    assert_int_equal(count, 24 + 8 + 8 + 4 + 2 + 72 + 4 + 3 * 40 + 8);
    assert_memory_equal(bytes, "DRAYKVLT", 8);
    assert_int_equal(drayi_load_u32(bytes + 8, false), 1);
    assert_int_equal(drayi_load_u64(bytes + 16, false), count);
    assert_true(drayi_load_u64(bytes + 24, false) == UINT64_C(0xfedcba9876543210));
    assert_memory_equal(bytes + 32, "\x06\x00node-7", 8);
    assert_int_equal(drayi_load_u32(bytes + 46, false), 2);  // the kind
    assert_int_equal(drayi_load_u64(bytes + 54, false), 2);  // blocks
    assert_int_equal(drayi_load_u64(bytes + 122, false), 4); // the first handle
    assert_true(drayi_load_u64(bytes + count - 8, false) == XXH3_64bits(bytes, count - 8));
}

static void a_changed_bit_is_noticed_wherever_it_is(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    uint8_t bytes[1024];
    drayi_layout_wire wire = example(), again;
    uint64_t count = drayi_layout_wire_write(&wire, bytes, sizeof(bytes));
    for (uint64_t bit = 0; bit < count * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_not_equal(read_back(&r, bytes, count, &again), DRAY_OK);
        assert_true(r.error.message[0]);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (uint64_t shorter = 0; shorter < count; shorter++)
        assert_int_not_equal(read_back(&r, bytes, shorter, &again), DRAY_OK);
    rig_close(&r);
}

static void a_later_version_is_refused_by_its_number(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    uint8_t bytes[1024];
    drayi_layout_wire wire = example();
    uint64_t count = drayi_layout_wire_write(&wire, bytes, sizeof(bytes));
    bytes[8] = 7; // not even its checksum need be of the kind we know
    refused(&r, bytes, count, DRAY_E_UNSUPPORTED, "layout.version",
            "unsupported serialization version 7, the latest that this library reads is 1");
    bytes[8] = 0;
    refused(&r, bytes, count, DRAY_E_FORMAT, "layout.version", "there is no version 0");
    const char *json = "{\"new\": [1, {}], \"dray_layout\": 2, \"unknown\": true}";
    refused(&r, json, strlen(json), DRAY_E_UNSUPPORTED, "layout.version",
            "unsupported serialization version 2, the latest that this library reads is 1");
    rig_close(&r);
}

static void bytes_of_something_else_are_refused(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    refused(&r, "", 0, DRAY_E_FORMAT, "layout.magic", "these bytes are no exported layout");
    refused(&r, "DRAYMETA and so on", 18, DRAY_E_FORMAT, "layout.magic",
            "these bytes are no exported layout");
    refused(&r, "DRAYKVLT", 8, DRAY_E_FORMAT, "layout.size", "8 bytes, the least are 32");
    refused(&r, " {\"a\": 1}", 9, DRAY_E_FORMAT, "layout.magic",
            "this JSON is no exported layout: it has no member dray_layout");
    rig_close(&r);
}

// --- hostile -------------------------------------------------------------------------------------------------------

static void resealed(rig *r, const drayi_layout_wire *wire, dray_status status, const char *rule,
                     const char *message)
{
    uint8_t bytes[1024];
    uint64_t count = drayi_layout_wire_write(wire, bytes, sizeof(bytes));
    refused(r, bytes, count, status, rule, message);
    char json[4096]; // the same in the other form, where it can be said
    drayi_layout_wire again;
    count = as_json(r, wire, json, sizeof(json));
    assert_int_not_equal(read_back(r, json, count, &again), DRAY_OK);
}

static void rules_hold_although_the_checksum_is_right(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    drayi_layout_wire wire = example();
    wire.config.page_size = 3;
    resealed(&r, &wire, DRAY_E_FORMAT, "layout.page_size",
             "page_size must be a positive power of 2, it is 3");
    wire = example();
    wire.config.num_blocks = UINT64_C(1)
                             << 60; // the field's own product wraps and passes the bounds
    wire.config.page_size = 16;
    resealed(&r, &wire, DRAY_E_FORMAT, "layout.overflow",
             "allocation size overflow: the contents of 1152921504606846976 blocks x 3 layers x 2 "
             "outer x 16 tokens x 8 elements x 2 bytes, alignment 1, does not fit into 64 bits");
    wire = example();
    wire.config.num_blocks = 3;
    resealed(&r, &wire, DRAY_E_FORMAT, "layout.region",
             "region 0 too small for layout: required 384 bytes, it has 256");
    wire = example();
    wire.config.num_layers = 4;
    resealed(&r, &wire, DRAY_E_FORMAT, "layout.region_count",
             "a layer-separate layout requires 4 memory regions (one per layer), got 3");
    wire.config.kind = DRAY_LAYOUT_CONTIGUOUS;
    resealed(&r, &wire, DRAY_E_FORMAT, "layout.region_count",
             "a contiguous layout requires exactly 1 memory region, got 3");
    wire = example();
    wire.storage = DRAY_STORAGE_DISK;
    resealed(&r, &wire, DRAY_E_FORMAT, "layout.storage",
             "storage kind 5 is not one that peers reach (system, pinned, device, managed)");
    wire = example();
    wire.agent.length = 0;
    resealed(&r, &wire, DRAY_E_FORMAT, "layout.agent",
             "the agent's name has 0 bytes, wanted are 1 to 63 of UTF-8 without control characters");
    dray_descriptor changed[3];
    wire = example();
    wire.regions = changed;
    memcpy(changed, regions, sizeof(changed));
    changed[1].handle = 0;
    resealed(&r, &wire, DRAY_E_FORMAT, "layout.region", "region 1: handle 0");
    memcpy(changed, regions, sizeof(changed));
    changed[1].address = UINT64_MAX - 100;
    resealed(&r, &wire, DRAY_E_FORMAT, "layout.region",
             "region 1: 256 bytes at 0xffffffffffffff9b overflow 64 bits");
    memcpy(changed, regions, sizeof(changed));
    changed[2].memory = DRAY_MEMORY_FILE;
    resealed(&r, &wire, DRAY_E_FORMAT, "layout.region",
             "region 2: memory type 2 is not one that peers reach (dram, vram)");
    rig_close(&r);
}

static void counts_that_the_bytes_cannot_hold_allocate_nothing(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    uint8_t bytes[1024];
    drayi_layout_wire wire = example();
    uint64_t count = drayi_layout_wire_write(&wire, bytes, sizeof(bytes));
    memset(bytes + 118, 0xff, 4);
    seal(bytes, count);
    refused(&r, bytes, count, DRAY_E_FORMAT, "layout.region_count",
            "4294967295 regions of 40 bytes, but 120 bytes are left");
    assert_true(counting_allocator_peak_bytes(&r.counter) < 1 << 20);
    rig_close(&r);
}

// --- JSON ----------------------------------------------------------------------------------------------------------

/// `text` with the first `from` replaced by `to`.
static const char *replaced(const char *text, const char *from, const char *to, char out[4096])
{
    const char *at = strstr(text, from);
    assert_non_null(at);
    snprintf(out, 4096, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    return out;
}

static void json_may_be_reformatted_but_not_changed(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    char json[4096], other[4096];
    drayi_layout_wire wire = example(), again;
    as_json(&r, &wire, json, sizeof(json));
    replaced(json, "\"node-7\"", "   \"\\u006eode-7\"", other);
    assert_int_equal(read_back(&r, other, strlen(other), &again), DRAY_OK);
    same(&wire, &again);
    replaced(json, "\"address\": 65536", "\"address\": 65280", other);
    assert_int_equal(read_back(&r, other, strlen(other), &again), DRAY_E_CORRUPT);
    assert_string_equal(r.error.rule, "layout.checksum");
    static const char *const changes[][3] = {
        {"\"epoch\"", "\"epoche\"", "the member epoche is not known in version 1"},
        {"\"outer_dim\": 2,\n", "", "config: the member outer_dim is missing"},
        {"\"outer_dim\": 2,\n", "\"outer_dim\": 2, \"outer_dim\": 2,\n",
         "config: the member outer_dim stands twice"},
        {"\"outer_dim\": 2,\n", "\"outer_dim\": 4294967296,\n",
         "config: outer_dim: wanted a whole number of at most 32 bits, found a number"},
        {"\"handle\": 4", "\"handle\": 4.5",
         "regions: region 0: handle: wanted a whole number of at most 64 bits, found a number"},
        {"\"NHD\"", "\"NDH\"", "config: format: \"NDH\" is not known as a block format"},
        {"\"writable\": true", "\"writable\": 1",
         "regions: region 0: writable: wanted true or false, found a number"},
    };
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        replaced(json, changes[i][0], changes[i][1], other);
        refused(&r, other, strlen(other), DRAY_E_FORMAT, "layout.json", changes[i][2]);
    }
    snprintf(other, sizeof(other), "%s x", json);
    assert_int_equal(read_back(&r, other, strlen(other), &again), DRAY_E_FORMAT);
    rig_close(&r);
}

// --- against the peer ----------------------------------------------------------------------------------------------

static void regions_must_lie_inside_what_the_peer_has_registered(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    drayi_layout_wire wire = example();
    dray_layout_geometry geometry;
    drayi_layout_reach reach[3];
    dray_descriptor peers[3] = {
        {.handle = 1, .address = 0, .bytes = UINT64_MAX, .memory = DRAY_MEMORY_DRAM},
        {.handle = 4, .address = 65500, .bytes = 548, .memory = DRAY_MEMORY_DRAM},
        {.handle = 9, .address = 4096, .bytes = 300, .memory = DRAY_MEMORY_DRAM},
    };
    assert_int_equal(drayi_layout_wire_settle(&wire, &geometry, &r.error), DRAY_OK);
    assert_int_equal(drayi_layout_wire_check(&wire, &geometry, peers, 3, reach, &r.error), DRAY_OK);
    assert_int_equal(reach[0].offset, 36);
    assert_int_equal(reach[1].offset, 292);
    assert_int_equal(reach[2].handle, 9);
    peers[1].bytes = 547; // the last byte of region 1 is outside
    assert_int_equal(drayi_layout_wire_check(&wire, &geometry, peers, 3, reach, &r.error),
                     DRAY_E_FORMAT);
    assert_string_equal(r.error.message,
                        "region 1: 256 bytes of dram at 0x10100 are not inside handle "
                        "4, which is 547 bytes of dram at 0xffdc");
    assert_string_equal(r.error.rule, "layout.bounds");
    peers[1] =
        (dray_descriptor){.handle = 4, .address = 65600, .bytes = 4096, .memory = DRAY_MEMORY_DRAM};
    assert_int_equal(drayi_layout_wire_check(&wire, &geometry, peers, 3, reach, &r.error),
                     DRAY_E_FORMAT);
    peers[1] =
        (dray_descriptor){.handle = 4, .address = 65536, .bytes = 4096, .memory = DRAY_MEMORY_VRAM};
    assert_int_equal(drayi_layout_wire_check(&wire, &geometry, peers, 3, reach, &r.error),
                     DRAY_E_FORMAT);
    peers[1].memory = DRAY_MEMORY_DRAM;
    assert_int_equal(drayi_layout_wire_check(&wire, &geometry, peers, 2, reach, &r.error),
                     DRAY_E_NOTFOUND);
    assert_string_equal(
        r.error.message,
        "region 2: the peer has no handle 9, at least in the metadata that was imported");
    wire.config.alignment = 256;
    wire.config.num_blocks = 1;
    assert_int_equal(drayi_layout_wire_settle(&wire, &geometry, &r.error), DRAY_OK);
    dray_descriptor shifted[3];
    memcpy(shifted, regions, sizeof(shifted));
    shifted[2].address += 8;
    shifted[2].bytes -= 8;
    wire.regions = shifted;
    assert_int_equal(drayi_layout_wire_check(&wire, &geometry, peers, 3, reach, &r.error),
                     DRAY_E_FORMAT);
    assert_string_equal(r.error.message, "region 2: 0x1008 is not a multiple of its alignment 256");
    rig_close(&r);
}

static void every_allocation_of_reading_may_fail(void **state)
{
    (void)state;
    char json[4096];
    uint64_t bytes;
    rig first;
    rig_open(&first);
    drayi_layout_wire wire = example(), again;
    bytes = as_json(&first, &wire, json, sizeof(json));
    rig_close(&first);
    for (uint64_t n = 1;; n++) {
        rig r;
        rig_open(&r);
        r.counter.calls = 0;
        r.counter.fail_at = n;
        dray_status status = read_back(&r, json, bytes, &again);
        bool failed = counting_allocator_failed(&r.counter);
        r.counter.fail_at = 0;
        assert_int_equal(status, failed ? DRAY_E_NOMEM : DRAY_OK);
        rig_close(&r);
        if (!failed)
            break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(the_binary_form_is_the_documented_one),
        cmocka_unit_test(a_changed_bit_is_noticed_wherever_it_is),
        cmocka_unit_test(a_later_version_is_refused_by_its_number),
        cmocka_unit_test(bytes_of_something_else_are_refused),
        cmocka_unit_test(rules_hold_although_the_checksum_is_right),
        cmocka_unit_test(counts_that_the_bytes_cannot_hold_allocate_nothing),
        cmocka_unit_test(json_may_be_reformatted_but_not_changed),
        cmocka_unit_test(regions_must_lie_inside_what_the_peer_has_registered),
        cmocka_unit_test(every_allocation_of_reading_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
