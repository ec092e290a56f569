/// Metadata as bytes: what is written is read back, and nothing else is believed.
#include "support/counting_allocator.h"
#include "support/testing.h"
#include "transfer/agent_metadata.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

enum { room = 1024 };

typedef struct blob {
    drayi_env env;
    counting_allocator counter;
    drayi_arena arena;
    dray_error error;
    drayi_metadata metadata;
    uint8_t bytes[room];
    uint64_t count;
} blob;

static dray_text text(const char *of)
{
    return (dray_text){.bytes = of, .length = strlen(of)};
}

/// Agent "left", epoch 7, one backend, a named region that may be written and one without a name.
static void blob_make(blob *made)
{
    memset(made, 0, sizeof(*made));
    counting_allocator_init(&made->counter, 0);
    made->env.allocator = counting_allocator_interface(&made->counter);
    made->arena.env = &made->env;
    drayi_metadata_backend backend = {.name = text("ucx"), .address = "address", .address_bytes = 7};
    drayi_metadata_region regions[2] = {
        {.descriptor = {.handle = 3, .address = 4096, .bytes = 100, .writable = 1},
         .name = text("kv"),
         .key = "key",
         .key_bytes = 3},
        {.descriptor =
             {.handle = 9, .address = 1, .bytes = 2, .memory = DRAY_MEMORY_VRAM, .device_id = 5}},
    };
    drayi_metadata metadata = {.agent = text("left"),
                               .epoch = 7,
                               .backends = &backend,
                               .backend_count = 1,
                               .regions = regions,
                               .region_count = 2};
    made->count = drayi_metadata_write(&metadata, made->bytes, room);
    assert_true(made->count <= room);
}

static dray_status blob_read(blob *made, uint64_t count)
{
    dray_status status =
        drayi_metadata_read(made->bytes, count, &made->arena, &made->metadata, &made->error);
    drayi_arena_free(&made->arena);
    assert_int_equal(counting_allocator_live_bytes(&made->counter), 0);
    return status;
}

/// A forger's blob: changed, with the right checksum.
static void blob_seal(blob *made)
{
    uint64_t sum = XXH3_64bits(made->bytes, made->count - 8);
    memcpy(made->bytes + made->count - 8, &sum, 8);
}

static void refused(blob *made, dray_status status, const char *rule)
{
    blob_seal(made);
    assert_int_equal(blob_read(made, made->count), status);
    assert_string_equal(made->error.rule, rule);
    assert_true(made->error.message[0]);
}

static bool text_is(dray_text given, const char *wanted)
{
    return given.length == strlen(wanted) && memcmp(given.bytes, wanted, given.length) == 0;
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    blob made;
    blob_make(&made);
    assert_int_equal(
        drayi_metadata_read(made.bytes, made.count, &made.arena, &made.metadata, &made.error),
        DRAY_OK);
    const drayi_metadata *read = &made.metadata;
    assert_true(text_is(read->agent, "left"));
    assert_int_equal(read->epoch, 7);
    assert_int_equal(read->backend_count, 1);
    assert_true(text_is(read->backends[0].name, "ucx"));
    assert_int_equal(read->backends[0].address_bytes, 7);
    assert_memory_equal(read->backends[0].address, "address", 7);
    assert_int_equal(read->region_count, 2);
    assert_int_equal(read->regions[0].descriptor.handle, 3);
    assert_int_equal(read->regions[0].descriptor.address, 4096);
    assert_int_equal(read->regions[0].descriptor.bytes, 100);
    assert_int_equal(read->regions[0].descriptor.writable, 1);
    assert_true(text_is(read->regions[0].name, "kv"));
    assert_int_equal(read->regions[0].key_bytes, 3);
    assert_int_equal(read->regions[1].descriptor.memory, DRAY_MEMORY_VRAM);
    assert_int_equal(read->regions[1].descriptor.device_id, 5);
    assert_int_equal(read->regions[1].descriptor.writable, 0);
    assert_int_equal(read->regions[1].name.length, 0);
    uint8_t again[room];
    assert_int_equal(drayi_metadata_write(read, again, room), made.count);
    assert_memory_equal(again, made.bytes, made.count);
    drayi_arena_free(&made.arena);
}

static void without_room_the_size_is_told_and_nothing_written(void **state)
{
    (void)state;
    blob made;
    blob_make(&made);
    assert_int_equal(
        drayi_metadata_read(made.bytes, made.count, &made.arena, &made.metadata, &made.error),
        DRAY_OK);
    uint8_t byte = 0x55;
    assert_int_equal(drayi_metadata_write(&made.metadata, &byte, 1), made.count);
    assert_int_equal(byte, 0x55);
    drayi_arena_free(&made.arena);
}

static void every_flipped_byte_is_noticed(void **state)
{
    (void)state;
    blob made;
    blob_make(&made);
    for (uint64_t i = 0; i < made.count; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            made.bytes[i] ^= (uint8_t)(1u << bit);
            assert_int_not_equal(blob_read(&made, made.count), DRAY_OK);
            assert_true(made.error.message[0]);
            made.bytes[i] ^= (uint8_t)(1u << bit);
        }
    }
    assert_int_equal(blob_read(&made, made.count), DRAY_OK);
}

static void every_cut_is_noticed(void **state)
{
    (void)state;
    blob made;
    blob_make(&made);
    for (uint64_t count = 0; count < made.count; count++)
        assert_int_not_equal(blob_read(&made, count), DRAY_OK);
}

static void a_later_version_is_not_guessed_at(void **state)
{
    (void)state;
    blob made;
    blob_make(&made);
    made.bytes[8] = 2;
    refused(&made, DRAY_E_UNSUPPORTED, "metadata.version");
    assert_string_equal(made.error.message, "version 2, this library reads version 1");
}

enum { at_backends = 32, at_regions = 36, at_name = 40, at_backend = 46, at_region = 62 };

static void a_forged_blob_breaks_a_rule_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *rule;
        uint64_t at;
        uint8_t value, bytes; // how many times the value is written
    } forgeries[] = {
        {"metadata.reserved", 12, 1, 1},
        {"metadata.counts", at_backends, 0xff, 4},
        {"metadata.counts", at_regions, 0xff, 4},
        {"metadata.name", at_name, 0, 2},            // no name
        {"metadata.name", at_name, 0xff, 2},         // 65535 bytes
        {"metadata.name", at_name + 2, 0xff, 1},     // not UTF-8
        {"metadata.name", at_name + 2, '\n', 1},     // a control character
        {"metadata.blob", at_backend + 5, 0xff, 4},  // an address of 4 GiB
        {"metadata.region", at_region, 0, 8},        // handle 0
        {"metadata.region", at_region + 8, 0xff, 8}, // address + bytes overflow
        {"metadata.region", at_region + 32, 3, 1},   // memory type
        {"metadata.region", at_region + 36, 2, 1},   // flags
        {"metadata.region", at_region + 40, 1, 1},   // backend 1 of 1
        {"metadata.handle", at_region, 9, 1},        // 9, then 9
    };
    for (size_t i = 0; i < sizeof(forgeries) / sizeof(forgeries[0]); i++) {
        blob made;
        blob_make(&made);
        memset(made.bytes + forgeries[i].at, forgeries[i].value, forgeries[i].bytes);
        refused(&made, DRAY_E_FORMAT, forgeries[i].rule);
    }
}

static void nothing_may_follow(void **state)
{
    (void)state;
    blob made;
    blob_make(&made);
    made.count += 4;
    memcpy(made.bytes + 16, &made.count, 8);
    refused(&made, DRAY_E_FORMAT, "metadata.size");
}

static void every_allocation_of_reading_may_fail(void **state)
{
    (void)state;
    blob made;
    blob_make(&made);
    for (uint64_t n = 1;; n++) {
        counting_allocator_init(&made.counter, n);
        dray_status status = blob_read(&made, made.count);
        if (!counting_allocator_failed(&made.counter)) {
            assert_int_equal(status, DRAY_OK);
            break;
        }
        assert_int_equal(status, DRAY_E_NOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(without_room_the_size_is_told_and_nothing_written),
        cmocka_unit_test(every_flipped_byte_is_noticed),
        cmocka_unit_test(every_cut_is_noticed),
        cmocka_unit_test(a_later_version_is_not_guessed_at),
        cmocka_unit_test(a_forged_blob_breaks_a_rule_by_name),
        cmocka_unit_test(nothing_may_follow),
        cmocka_unit_test(every_allocation_of_reading_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
