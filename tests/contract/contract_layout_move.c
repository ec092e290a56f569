/// Moves of blocks between every two kinds of memory, proven by the digests of what is in the blocks, which know
/// nothing of copies; and what becomes of a move when its peer dies or its file cannot take direct I/O.
#include "device_rig.h"
#include "dray/layout.h"
#include "sequence.h"
#include "test_file.h"
#include "testing.h"
#include "ucx_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { block_count = 7, moved = 4, wire_room = 1 << 16 };

typedef struct place {
    dray_storage storage;
    const char *device; // or NULL
} place;

static const place places[] = {
    {DRAY_STORAGE_SYSTEM, NULL},        {DRAY_STORAGE_PINNED, NULL},
    {DRAY_STORAGE_DISK, NULL},          {DRAY_STORAGE_DEVICE, "sim:0"},
    {DRAY_STORAGE_MANAGED, "sim:0"},    {DRAY_STORAGE_DEVICE, "opencl:0"},
    {DRAY_STORAGE_MANAGED, "opencl:0"}, {DRAY_STORAGE_DEVICE, "cuda:0"},
    {DRAY_STORAGE_MANAGED, "cuda:0"},   {DRAY_STORAGE_REMOTE, NULL},
};
enum { place_count = sizeof(places) / sizeof(places[0]) };

static const struct {
    dray_layout_kind kind;
    dray_block_format format;
} forms[] = {
    {DRAY_LAYOUT_CONTIGUOUS, DRAY_BLOCK_NHD},
    {DRAY_LAYOUT_LAYER_SEPARATE_SECOND, DRAY_BLOCK_HND},
    {DRAY_LAYOUT_CONTIGUOUS, DRAY_BLOCK_UNIVERSAL_TP},
    {DRAY_LAYOUT_LAYER_SEPARATE_FIRST, DRAY_BLOCK_NHD},
    {DRAY_LAYOUT_CONTIGUOUS, DRAY_BLOCK_UNIVERSAL_PP},
};
enum { form_count = sizeof(forms) / sizeof(forms[0]) };

typedef struct world {
    dray_context *context, *far_context;
    dray_agent *agent, *far; // far answers with a thread of its own
    dray_device *devices[place_count];
    dray_error error;
} world;

static void good(const world *all, dray_status status)
{
    if (status != DRAY_OK)
        fail_msg("%s", all->error.message);
}

static dray_layout_config shape(size_t form)
{
    return (dray_layout_config){.struct_bytes = sizeof(dray_layout_config),
                                .kind = forms[form % form_count].kind,
                                .format = forms[form % form_count].format,
                                .num_blocks = block_count,
                                .num_layers = 3,
                                .outer_dim = 2,
                                .page_size = 4,
                                .inner_dim = 96,
                                .num_heads = 3,
                                .alignment = 128,
                                .dtype_width_bytes = 2};
}

static void world_open(world *all)
{
    memset(all, 0, sizeof(*all));
    device_rig_reset();
    all->context = device_rig_context(NULL, 1);
    const char *names[] = {"copy", "posix", "sim_device", "opencl", "cuda", "ucx", NULL};
    if (ucx_unavailable())
        names[5] = NULL;
    const dray_agent_options options = {
        .struct_bytes = sizeof(options), .name = "near", .backends = names};
    good(all, dray_agent_create(all->context, &options, &all->agent, &all->error));
    for (int i = 0; i < place_count; i++) {
        for (int k = 0; k < i && places[i].device; k++) { // one device is opened once
            if (places[k].device && strcmp(places[k].device, places[i].device) == 0)
                all->devices[i] = all->devices[k];
        }
        if (places[i].device && !all->devices[i])
            good(all,
                 dray_device_open(all->context, places[i].device, &all->devices[i], &all->error));
    }
    if (!names[5])
        return;
    const dray_context_options far_options = {.struct_bytes = sizeof(far_options),
                                              .thread_count = 1};
    static const char *const far_names[] = {"copy", "ucx", NULL};
    const dray_agent_options far_agent = {
        .struct_bytes = sizeof(far_agent), .name = "far", .backends = far_names};
    good(all, dray_context_create(&far_options, &all->far_context, &all->error));
    good(all, dray_agent_create(all->far_context, &far_agent, &all->far, &all->error));
    good(all, dray_agent_serve(all->far, &all->error));
}

static void world_close(world *all)
{
    dray_agent_destroy(all->agent);
    dray_agent_destroy(all->far);
    for (int i = 0; i < place_count; i++) {
        bool first = true;
        for (int k = 0; k < i; k++)
            first = first && all->devices[k] != all->devices[i];
        if (first)
            dray_device_release(all->devices[i]);
    }
    dray_context_destroy(all->context);
    dray_context_destroy(all->far_context);
}

// --- layouts -----------------------------------------------------------------------------------------

/// A layout, and the one behind it when it is a peer's.
typedef struct side {
    dray_layout *layout, *behind;
} side;

static dray_layout *allocated(world *all, dray_agent *agent, const dray_layout_config *config,
                              dray_storage storage, dray_device *device)
{
    const char *folder = getenv("TMPDIR");
    const dray_layout_allocation memory = {.struct_bytes = sizeof(memory),
                                           .storage = storage,
                                           .device = device,
                                           .folder = storage != DRAY_STORAGE_DISK ? NULL
                                                     : folder                     ? folder
                                                                                  : "/tmp"};
    const dray_layout_options options = {.struct_bytes = sizeof(options),
                                         .config = config,
                                         .allocate = &memory,
                                         .peers_may_write = agent == all->far,
                                         .unregistered = agent != all->far};
    dray_layout *layout = NULL;
    good(all, dray_layout_build(agent, &options, &layout, &all->error));
    return layout;
}

static side side_open(world *all, int at, size_t form)
{
    const dray_layout_config config = shape(form);
    side made = {0};
    if (places[at].storage != DRAY_STORAGE_REMOTE) {
        made.layout = allocated(all, all->agent, &config, places[at].storage, all->devices[at]);
        return made;
    }
    static uint8_t blob[wire_room], wire[wire_room];
    uint64_t blob_bytes, wire_bytes;
    dray_peer *peer;
    made.behind = allocated(all, all->far, &config, DRAY_STORAGE_SYSTEM, NULL);
    good(all, dray_agent_export(all->far, blob, wire_room, &blob_bytes, &all->error));
    good(all, dray_layout_export(made.behind, DRAY_LAYOUT_BINARY, wire, wire_room, &wire_bytes,
                                 &all->error));
    good(all, dray_agent_import(all->agent, blob, blob_bytes, &peer, &all->error));
    good(all, dray_layout_import(all->agent, peer, wire, wire_bytes, &made.layout, &all->error));
    return made;
}

static void side_close(const side *made)
{
    dray_layout_destroy(made->layout);
    dray_layout_destroy(made->behind);
}

static void fill(world *all, const side *made, uint64_t seed)
{
    const dray_layout_pattern pattern = {.struct_bytes = sizeof(pattern), .seed = seed};
    good(all, dray_layout_fill(all->agent, made->layout, &pattern, &all->error));
}

static void digests(world *all, const side *made, dray_layout_digest *out)
{
    good(all,
         dray_layout_digest_blocks(all->agent, made->layout, NULL, block_count, out, &all->error));
}

// --- moves -------------------------------------------------------------------------------------------

static const uint64_t from_blocks[moved] = {6, 1, 2, 4}, to_blocks[moved] = {0, 5, 2, 3};

static dray_layout_move move_of(const side *from, const side *to)
{
    return (dray_layout_move){.struct_bytes = sizeof(dray_layout_move),
                              .sources = &from->layout,
                              .targets = &to->layout,
                              .source_count = 1,
                              .target_count = 1,
                              .source_blocks = from_blocks,
                              .target_blocks = to_blocks,
                              .source_block_count = moved,
                              .target_block_count = moved};
}

static dray_status run(world *all, const dray_layout_move *move, const dray_plan_options *options)
{
    dray_plan *plan = NULL;
    dray_transfer *transfer = NULL;
    dray_status status = dray_layout_plan_move(all->agent, move, options, &plan, &all->error);
    if (status == DRAY_OK)
        status = dray_transfer_create(all->agent, plan, NULL, &transfer, &all->error);
    if (status == DRAY_OK)
        status = dray_transfer_submit(transfer, &all->error);
    if (status == DRAY_OK)
        status = dray_transfer_wait(transfer, -1, &all->error);
    dray_transfer_destroy(transfer);
    dray_plan_destroy(plan);
    return status;
}

/// The blocks that moved are those of the source, all others what they were.
static void check(const dray_layout_digest *source, const dray_layout_digest *before,
                  const dray_layout_digest *after, const char *from, const char *to)
{
    for (uint64_t block = 0; block < block_count; block++) {
        const dray_layout_digest *wanted = &before[block];
        for (int i = 0; i < moved; i++) {
            if (to_blocks[i] == block)
                wanted = &source[from_blocks[i]];
        }
        if (memcmp(&after[block], wanted, sizeof(*wanted)) != 0)
            fail_msg("%s to %s: block %d is not what it should be", from, to, (int)block);
    }
}

static const char *name_of(int at)
{
    static char names[2][64];
    static int turn;
    char *name = names[turn++ % 2];
    snprintf(name, sizeof(names[0]), "%s %s", dray_storage_name(places[at].storage),
             places[at].device ? places[at].device : "");
    return name;
}

static void pair_check(world *all, int from_place, int to_place)
{
    dray_layout_digest source[block_count], before[block_count], after[block_count];
    side from = side_open(all, from_place, (size_t)from_place + (size_t)to_place),
         to = side_open(all, to_place, (size_t)from_place * 2 + 1);
    fill(all, &from, 1);
    fill(all, &to, 2);
    digests(all, &from, source);
    digests(all, &to, before);
    dray_layout_move move = move_of(&from, &to);
    const char *names[2] = {name_of(from_place), name_of(to_place)};
    if (run(all, &move, NULL) != DRAY_OK)
        fail_msg("%s to %s: %s", names[0], names[1], all->error.message);
    digests(all, &to, after);
    check(source, before, after, names[0], names[1]);
    digests(all, &from, after);
    assert_memory_equal(after, source, sizeof(source));
    side_close(&from);
    side_close(&to);
}

static void blocks_move_between_every_two_kinds(void **state)
{
    (void)state;
    world all;
    world_open(&all);
    int count = all.far ? place_count : place_count - 1;
    for (int from = 0; from < count; from++) {
        for (int to = 0; to < count; to++)
            pair_check(&all, from, to);
    }
    world_close(&all);
}

/// 2304 bytes a block, aligned to 128: no page of the file is a whole number of anything.
static void what_direct_io_cannot_carry_goes_another_way_or_is_refused(void **state)
{
    (void)state;
    world all;
    world_open(&all);
    dray_layout_digest source[block_count], before[block_count], after[block_count];
    side memory = side_open(&all, 0, 0), file = side_open(&all, 2, 0);
    dray_layout_move move = move_of(&memory, &file);
    const dray_plan_options only = {.struct_bytes = sizeof(only), .direct = DRAY_DIRECT_ONLY};
    fill(&all, &memory, 1);
    fill(&all, &file, 2);
    digests(&all, &memory, source);
    digests(&all, &file, before);
    dray_status status = run(&all, &move, &only);
    assert_true(status == DRAY_OK ||
                status == DRAY_E_UNSUPPORTED); // no whole page: nothing is direct
    assert_int_equal(run(&all, &move, NULL), DRAY_OK);
    digests(&all, &file, after);
    check(source, before, after, "memory", "file");
    side_close(&memory);
    side_close(&file);
    world_close(&all);
}

static void a_peer_that_dies_fails_the_move_and_nothing_else(void **state)
{
    (void)state;
    world all;
    ucx_peer peer;
    if (ucx_unavailable())
        skip();
    ucx_peer_start(&peer, "doomed", 1 << 20, 3);
    world_open(&all);
    dray_peer *known;
    dray_region *memory;
    good(&all, dray_agent_import(all.agent, peer.blob, peer.blob_bytes, &known, &all.error));
    good(&all, dray_peer_open(known, "memory", &memory, &all.error));
    dray_descriptor descriptor;
    dray_peer_describe(known, 0, &descriptor, NULL);
    const dray_layout_config config = shape(0);
    dray_layout_geometry geometry;
    good(&all, dray_layout_measure(&config, DRAY_STORAGE_REMOTE, &geometry, &all.error));
    dray_region *view;
    good(&all, dray_region_view(memory, 0, geometry.region_bytes, &view, &all.error));
    const dray_layout_registered registered = {.struct_bytes = sizeof(registered),
                                               .regions = &view,
                                               .handles = &descriptor.handle,
                                               .region_count = 1,
                                               .peer = known};
    const dray_layout_options options = {
        .struct_bytes = sizeof(options), .config = &config, .registered = &registered};
    side away = {0}, here = side_open(&all, 0, 2), other = side_open(&all, 1, 3);
    good(&all, dray_layout_build(all.agent, &options, &away.layout, &all.error));
    fill(&all, &here, 1);
    dray_layout_move there = move_of(&here, &away), local = move_of(&here, &other);
    good(&all, run(&all, &there, NULL));
    ucx_peer_kill(&peer);
    // bytes that are in shared memory already are there; the death is seen by and by
    dray_status status = DRAY_OK;
    for (int i = 0; i < 2000 && status == DRAY_OK; i++) {
        usleep(5000);
        status = run(&all, &there, NULL);
    }
    assert_int_not_equal(status, DRAY_OK);
    assert_true(all.error.message[0] != '\0');
    good(&all, run(&all, &local, NULL));
    side_close(&away);
    side_close(&here);
    side_close(&other);
    dray_region_release(view);
    dray_region_release(memory);
    world_close(&all);
}

int main(int count, char **arguments)
{
    int peer = ucx_peer_main(count, arguments);
    if (peer >= 0)
        return peer;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_move_between_every_two_kinds),
        cmocka_unit_test(what_direct_io_cannot_carry_goes_another_way_or_is_refused),
        cmocka_unit_test(a_peer_that_dies_fails_the_move_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
