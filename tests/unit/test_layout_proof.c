/// Fill patterns and digests: the same logical contents give the same digests, whatever holds them.
#include "core/context.h"
#include "counting_allocator.h"
#include "dray/device.h"
#include "dray/layout.h"
#include "fault_os.h"
#include "test_file.h"
#include "testing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct rig {
    counting_allocator counter;
    dray_context *context;
    dray_agent *agent;
    dray_device *device;
    dray_error error;
} rig;

static void rig_open(rig *r)
{
    static const char *const backends[] = {"posix", "sim_device", NULL};
    memset(r, 0, sizeof(*r));
    fault_os_reset();
    counting_allocator_init(&r->counter, 0);
    dray_context_options options = {.struct_bytes = sizeof(options),
                                    .allocator = counting_allocator_interface(&r->counter)};
    assert_int_equal(drayi_context_create_with(&options, fault_os(), &r->context, &r->error),
                     DRAY_OK);
    dray_agent_options agent = {.struct_bytes = sizeof(agent), .backends = backends};
    assert_int_equal(dray_agent_create(r->context, &agent, &r->agent, &r->error), DRAY_OK);
    assert_int_equal(dray_device_open(r->context, "sim:0", &r->device, &r->error), DRAY_OK);
}

static void rig_close(rig *r)
{
    dray_agent_destroy(r->agent);
    dray_device_release(r->device);
    dray_context_destroy(r->context);
    assert_int_equal(counting_allocator_live_bytes(&r->counter), 0);
}

static dray_layout_config shape(dray_layout_kind kind, dray_block_format format)
{
    return (dray_layout_config){
        .struct_bytes = sizeof(dray_layout_config),
        .kind = kind,
        .format = format,
        .num_blocks = 5,
        .num_layers = 3,
        .outer_dim = 2,
        .page_size = 4,
        .inner_dim = 12,
        .dtype_width_bytes = 2,
        .num_heads = 3,
    };
}

static dray_layout *built(rig *r, const dray_layout_config *config, dray_storage storage)
{
    dray_layout *layout = NULL;
    dray_layout_allocation wanted = {
        .struct_bytes = sizeof(wanted),
        .storage = storage,
        .folder = storage == DRAY_STORAGE_DISK ? test_file_folder() : NULL,
        .device =
            storage == DRAY_STORAGE_DEVICE || storage == DRAY_STORAGE_MANAGED ? r->device : NULL};
    dray_layout_options options = {
        .struct_bytes = sizeof(options), .config = config, .allocate = &wanted};
    if (dray_layout_build(r->agent, &options, &layout, &r->error) != DRAY_OK)
        fail_msg("%s", r->error.message);
    return layout;
}

static void filled(rig *r, dray_layout *layout, const dray_layout_pattern *pattern)
{
    if (dray_layout_fill(r->agent, layout, pattern, &r->error) != DRAY_OK)
        fail_msg("%s", r->error.message);
}

/// The pattern as the header says it, byte by byte.
static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static uint8_t wanted_byte(uint64_t seed, uint64_t token, uint64_t i)
{
    const uint64_t g = UINT64_C(0x9e3779b97f4a7c15);
    return (uint8_t)(mix(mix(seed + g) + token + i / 8 * g) >> 8 * (i % 8));
}

static void the_pattern_is_what_the_header_says(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    dray_layout_config config = shape(DRAY_LAYOUT_LAYER_SEPARATE_SECOND, DRAY_BLOCK_HND);
    config.alignment = 256;
    dray_layout *layout = built(&r, &config, DRAY_STORAGE_SYSTEM);
    const dray_layout_geometry *g = dray_layout_get_geometry(layout);
    for (uint64_t l = 0; l < 3; l++) // to see padding untouched
        memset(dray_region_pointer(dray_layout_region(layout, l)), 0xee, g->region_bytes);
    dray_layout_pattern pattern = {.struct_bytes = sizeof(pattern), .seed = 7};
    filled(&r, layout, &pattern);
    uint64_t contents = 0, all = 0;
    for (uint64_t b = 0; b < 5; b++)
        for (uint64_t l = 0; l < 3; l++)
            for (uint64_t o = 0; o < 2; o++)
                for (uint64_t t = 0; t < 4; t++)
                    for (uint64_t i = 0; i < 24; i++, contents++) {
                        const uint8_t *region = dray_region_pointer(dray_layout_region(layout, l));
                        uint64_t at = b * g->block_stride + o * g->outer_stride +
                                      t * g->token_stride + i / 8 * g->head_stride + i % 8;
                        uint64_t token = ((b * 3 + l) * 2 + o) * 4 + t;
                        assert_int_equal(region[at], wanted_byte(7, token, i));
                    }
    for (uint64_t l = 0; l < 3; l++) {
        const uint8_t *region = dray_region_pointer(dray_layout_region(layout, l));
        for (uint64_t i = 0; i < g->region_bytes; i++)
            all += region[i] == 0xee;
    }
    assert_true(all >= 3 * g->region_bytes - contents);
    dray_layout_destroy(layout);
    rig_close(&r);
}

/// The field's pattern ignores the outer index: a K swapped with a V goes unnoticed.
static void every_token_of_every_outer_is_distinct(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    dray_layout_config config = shape(DRAY_LAYOUT_CONTIGUOUS, DRAY_BLOCK_NHD);
    dray_layout *layout = built(&r, &config, DRAY_STORAGE_SYSTEM);
    filled(&r, layout, NULL);
    const uint8_t *bytes = dray_region_pointer(dray_layout_region(layout, 0));
    enum { tokens = 5 * 3 * 2 * 4 };
    for (int i = 0; i < tokens; i++)
        for (int j = 0; j < i; j++)
            assert_memory_not_equal(bytes + i * 24, bytes + j * 24, 8);
    dray_layout_destroy(layout);
    rig_close(&r);
}

static const struct {
    dray_layout_kind kind;
    dray_block_format format;
} forms[] = {
    {DRAY_LAYOUT_CONTIGUOUS, DRAY_BLOCK_NHD},
    {DRAY_LAYOUT_CONTIGUOUS, DRAY_BLOCK_HND},
    {DRAY_LAYOUT_CONTIGUOUS, DRAY_BLOCK_UNIVERSAL_TP},
    {DRAY_LAYOUT_CONTIGUOUS, DRAY_BLOCK_UNIVERSAL_PP},
    {DRAY_LAYOUT_LAYER_SEPARATE_FIRST, DRAY_BLOCK_NHD},
    {DRAY_LAYOUT_LAYER_SEPARATE_FIRST, DRAY_BLOCK_HND},
    {DRAY_LAYOUT_LAYER_SEPARATE_SECOND, DRAY_BLOCK_NHD},
    {DRAY_LAYOUT_LAYER_SEPARATE_SECOND, DRAY_BLOCK_HND},
};
enum { form_count = sizeof(forms) / sizeof(forms[0]) };

/// The field's helper writes through the address of a region, which a file or a device does not have.
static void the_same_contents_have_the_same_digests_everywhere(void **state)
{
    (void)state;
    static const dray_storage storages[] = {DRAY_STORAGE_SYSTEM, DRAY_STORAGE_PINNED,
                                            DRAY_STORAGE_DISK, DRAY_STORAGE_DEVICE,
                                            DRAY_STORAGE_MANAGED};
    rig r;
    rig_open(&r);
    dray_layout_digest blocks[5], layers[3];
    for (size_t i = 0; i < form_count * 5; i++) {
        dray_layout_config config = shape(forms[i % form_count].kind, forms[i % form_count].format);
        config.alignment = i % 2 ? 128 : 1;
        dray_layout *layout = built(&r, &config, storages[i / form_count]);
        dray_layout_digest of_blocks[5], of_layers[3];
        filled(&r, layout, NULL);
        assert_int_equal(dray_layout_digest_blocks(r.agent, layout, NULL, 5, of_blocks, &r.error),
                         DRAY_OK);
        assert_int_equal(dray_layout_digest_layers(r.agent, layout, NULL, 5, of_layers, &r.error),
                         DRAY_OK);
        if (i == 0) {
            memcpy(blocks, of_blocks, sizeof(blocks));
            memcpy(layers, of_layers, sizeof(layers));
        }
        assert_memory_equal(of_blocks, blocks, sizeof(blocks));
        assert_memory_equal(of_layers, layers, sizeof(layers));
        dray_layout_destroy(layout);
    }
    for (int i = 0; i < 5; i++)
        for (int j = 0; j < i; j++)
            assert_memory_not_equal(&blocks[i], &blocks[j], sizeof(blocks[0]));
    rig_close(&r);
}

static void blocks_that_are_named_are_filled_and_no_others(void **state)
{
    (void)state;
    static const dray_storage storages[] = {DRAY_STORAGE_SYSTEM, DRAY_STORAGE_DISK};
    for (int i = 0; i < 2; i++) {
        rig r;
        rig_open(&r);
        dray_layout_config config = shape(DRAY_LAYOUT_LAYER_SEPARATE_FIRST, DRAY_BLOCK_NHD);
        dray_layout *layout = built(&r, &config, storages[i]);
        dray_layout_pattern zero = {.struct_bytes = sizeof(zero), .constant = 1, .value = 0};
        filled(&r, layout, &zero);
        static const uint64_t two[] = {3, 1};
        dray_layout_pattern some = {
            .struct_bytes = sizeof(some), .seed = 1, .blocks = two, .block_count = 2};
        filled(&r, layout, &some);
        dray_layout_digest digests[5], named[2];
        assert_int_equal(dray_layout_digest_blocks(r.agent, layout, NULL, 5, digests, &r.error),
                         DRAY_OK);
        assert_int_equal(dray_layout_digest_blocks(r.agent, layout, two, 2, named, &r.error),
                         DRAY_OK);
        assert_memory_equal(&digests[0], &digests[2], 16);
        assert_memory_equal(&digests[0], &digests[4], 16);
        assert_memory_not_equal(&digests[0], &digests[1], 16);
        assert_memory_not_equal(&digests[1], &digests[3], 16);
        assert_memory_equal(&named[0], &digests[3], 16);
        assert_memory_equal(&named[1], &digests[1], 16);
        dray_layout_destroy(layout);
        rig_close(&r);
    }
}

static void requests_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    dray_layout_config config = shape(DRAY_LAYOUT_CONTIGUOUS, DRAY_BLOCK_NHD);
    dray_layout *layout = built(&r, &config, DRAY_STORAGE_SYSTEM);
    static const uint64_t far[] = {0, 5};
    dray_layout_digest digests[6];
    assert_int_equal(dray_layout_digest_blocks(r.agent, layout, far, 2, digests, &r.error),
                     DRAY_E_INVALID);
    assert_string_equal(r.error.message, "digest of blocks: block ID 5 out of range (max: 4)");
    assert_int_equal(r.error.index, 1);
    assert_int_equal(dray_layout_digest_layers(r.agent, layout, NULL, 6, digests, &r.error),
                     DRAY_E_INVALID);
    dray_layout_pattern pattern = {.struct_bytes = sizeof(pattern), .blocks = far, .block_count = 2};
    assert_int_equal(dray_layout_fill(r.agent, layout, &pattern, &r.error), DRAY_E_INVALID);
    assert_string_equal(r.error.message, "fill: block ID 5 out of range (max: 4)");
    pattern = (dray_layout_pattern){.struct_bytes = sizeof(pattern), .constant = 1, .value = 256};
    assert_int_equal(dray_layout_fill(r.agent, layout, &pattern, &r.error), DRAY_E_INVALID);
    pattern = (dray_layout_pattern){.struct_bytes = sizeof(pattern), .value = 1};
    assert_int_equal(dray_layout_fill(r.agent, layout, &pattern, &r.error), DRAY_E_INVALID);
    assert_string_equal(r.error.message, "fill: value 1: with constant it is a byte, otherwise 0");
    dray_layout_destroy(layout);
    rig_close(&r);
}

static void a_file_that_was_opened_to_be_read_is_not_filled(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    dray_layout_config config = shape(DRAY_LAYOUT_CONTIGUOUS, DRAY_BLOCK_NHD);
    const char *path = test_file_make("layout-read-only", 4096);
    dray_region *file;
    dray_layout *layout = NULL;
    assert_int_equal(dray_region_open(r.context, path, NULL, &file, &r.error), DRAY_OK);
    dray_layout_provided provided = {
        .struct_bytes = sizeof(provided), .regions = &file, .region_count = 1};
    dray_layout_options options = {.struct_bytes = sizeof(options),
                                   .config = &config,
                                   .provided = &provided,
                                   .peers_may_write = 1};
    assert_int_equal(dray_layout_build(r.agent, &options, &layout, &r.error), DRAY_E_INVALID);
    assert_non_null(strstr(r.error.message, "it is read only, peers cannot be let write"));
    options.peers_may_write = 0;
    assert_int_equal(dray_layout_build(r.agent, &options, &layout, &r.error), DRAY_OK);
    assert_int_equal(dray_layout_fill(r.agent, layout, NULL, &r.error), DRAY_E_INVALID);
    assert_non_null(strstr(r.error.message, "fill: memory region 0 ("));
    assert_non_null(strstr(r.error.message, ") is read only"));
    dray_layout_digest digests[5];
    assert_int_equal(dray_layout_digest_blocks(r.agent, layout, NULL, 5, digests, &r.error),
                     DRAY_OK);
    dray_layout_destroy(layout);
    dray_region_release(file);
    unlink(path);
    rig_close(&r);
}

static void every_allocation_and_system_call_of_a_digest_may_fail(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    dray_layout_config config = shape(DRAY_LAYOUT_LAYER_SEPARATE_SECOND, DRAY_BLOCK_HND);
    dray_layout *layout = built(&r, &config, DRAY_STORAGE_DISK);
    filled(&r, layout, NULL);
    dray_layout_digest wanted[3], found[3];
    assert_int_equal(dray_layout_digest_layers(r.agent, layout, NULL, 5, wanted, &r.error), DRAY_OK);
    for (int calls = 0; calls < 2; calls++) {
        for (uint64_t n = 1;; n++) {
            uint64_t live = counting_allocator_live_bytes(&r.counter);
            r.counter.calls = r.counter.failures = 0;
            if (calls)
                fault_os_inject(&(fault_plan){.at = n, .code = -EIO});
            else
                r.counter.fail_at = n;
            dray_status status =
                dray_layout_digest_layers(r.agent, layout, NULL, 5, found, &r.error);
            bool hit = calls ? fault_os_hits() > 0 : counting_allocator_failed(&r.counter);
            fault_os_inject(&(fault_plan){0});
            r.counter.fail_at = 0;
            assert_int_equal(counting_allocator_live_bytes(&r.counter), live);
            if (status == DRAY_OK)
                assert_memory_equal(found, wanted, sizeof(wanted));
            else
                assert_true(r.error.message[0]);
            if (!hit)
                break;
        }
    }
    dray_layout_destroy(layout);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_pattern_is_what_the_header_says),
        cmocka_unit_test(every_token_of_every_outer_is_distinct),
        cmocka_unit_test(the_same_contents_have_the_same_digests_everywhere),
        cmocka_unit_test(blocks_that_are_named_are_filled_and_no_others),
        cmocka_unit_test(requests_that_make_no_sense_are_refused),
        cmocka_unit_test(a_file_that_was_opened_to_be_read_is_not_filled),
        cmocka_unit_test(every_allocation_and_system_call_of_a_digest_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
