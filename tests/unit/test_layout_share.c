/// Layouts across agents: what one has exported, another reads and writes through UCX, in one process and in two.
#include "dray/layout.h"
#include "testing.h"
#include "ucx_rig.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { room = 1 << 16 };

typedef struct two_agents {
    ucx_end home, away; // home has the memory and answers with a thread
    dray_layout *layout;
    dray_peer *peer;
    uint8_t bytes[room]; // the exported layout
    uint64_t count;
} two_agents;

static void good(dray_status status, const ucx_end *end)
{
    if (status != DRAY_OK)
        fail_msg("%s", end->error.message);
}

static dray_layout_config shape(dray_layout_kind kind, dray_block_format format)
{
    return (dray_layout_config){
        .struct_bytes = sizeof(dray_layout_config),
        .kind = kind,
        .format = format,
        .num_blocks = 6,
        .num_layers = 3,
        .outer_dim = 2,
        .page_size = 4,
        .inner_dim = 32,
        .dtype_width_bytes = 2,
        .num_heads = 4,
        .alignment = 64,
    };
}

static dray_storage kind_built = DRAY_STORAGE_SYSTEM;

static dray_layout *build(ucx_end *end, const dray_layout_config *config, bool writable)
{
    dray_layout *layout = NULL;
    dray_layout_allocation memory = {.struct_bytes = sizeof(memory), .storage = kind_built};
    dray_layout_options options = {.struct_bytes = sizeof(options),
                                   .config = config,
                                   .allocate = &memory,
                                   .peers_may_write = writable};
    good(dray_layout_build(end->agent, &options, &layout, &end->error), end);
    good(dray_layout_fill(end->agent, layout, NULL, &end->error), end);
    return layout;
}

static void agents_open(two_agents *both, const dray_layout_config *config, bool writable)
{
    memset(both, 0, sizeof(*both));
    ucx_end_open(&both->home, "home", 64, 1, 1);
    ucx_end_open(&both->away, "away", 64, 2, 0);
    both->layout = build(&both->home, config, writable);
    ucx_end_export(&both->home);
    good(dray_agent_serve(both->home.agent, &both->home.error), &both->home);
    good(dray_agent_import(both->away.agent, both->home.blob, both->home.blob_bytes, &both->peer,
                           &both->away.error),
         &both->away);
}

static void export_as(two_agents *both, dray_layout_form form)
{
    good(dray_layout_export(both->layout, form, both->bytes, room, &both->count, &both->home.error),
         &both->home);
}

static dray_layout *imported(two_agents *both)
{
    dray_layout *layout = NULL;
    good(dray_layout_import(both->away.agent, both->peer, both->bytes, both->count, &layout,
                            &both->away.error),
         &both->away);
    return layout;
}

static void agents_close(two_agents *both)
{
    ucx_end_close(&both->away);
    dray_layout_destroy(both->layout);
    ucx_end_close(&both->home);
}

static void digests(ucx_end *end, dray_layout *layout, dray_layout_digest out[6])
{
    good(dray_layout_digest_blocks(end->agent, layout, NULL, 6, out, &end->error), end);
}

static const struct {
    dray_layout_kind kind;
    dray_block_format format;
} forms[] = {
    {DRAY_LAYOUT_CONTIGUOUS, DRAY_BLOCK_NHD},
    {DRAY_LAYOUT_CONTIGUOUS, DRAY_BLOCK_UNIVERSAL_TP},
    {DRAY_LAYOUT_LAYER_SEPARATE_FIRST, DRAY_BLOCK_HND},
    {DRAY_LAYOUT_LAYER_SEPARATE_SECOND, DRAY_BLOCK_NHD},
};

static void an_imported_layout_is_read_and_written(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        two_agents both;
        kind_built = i % 4 < 2 ? DRAY_STORAGE_SYSTEM : DRAY_STORAGE_PINNED;
        dray_layout_config config = shape(forms[i / 2].kind, forms[i / 2].format);
        agents_open(&both, &config, true);
        export_as(&both, i % 2 ? DRAY_LAYOUT_JSON : DRAY_LAYOUT_BINARY);
        dray_layout *remote = imported(&both);
        dray_layout_location location;
        dray_layout_metadata metadata;
        dray_layout_get_location(remote, &location);
        dray_layout_get_metadata(remote, &metadata);
        assert_int_equal(location.storage, DRAY_STORAGE_REMOTE);
        assert_string_equal(metadata.agent, "home");
        assert_int_equal(metadata.registered, 1);
        assert_memory_equal(&dray_layout_get_geometry(remote)->config,
                            &dray_layout_get_geometry(both.layout)->config, sizeof(config));
        dray_layout_digest here[6], there[6];
        digests(&both.home, both.layout, here);
        digests(&both.away, remote, there);
        assert_memory_equal(here, there, sizeof(here));
        static const uint64_t two[] = {4, 1};
        dray_layout_pattern other = {
            .struct_bytes = sizeof(other), .seed = 99, .blocks = two, .block_count = 2};
        good(dray_layout_fill(both.away.agent, remote, &other, &both.away.error), &both.away);
        dray_agent_poll(both.home.agent); // what its thread wrote is ours to see from here on
        digests(&both.home, both.layout, there);
        for (int b = 0; b < 6; b++)
            assert_int_equal(memcmp(&here[b], &there[b], sizeof(here[b])) != 0, b == 4 || b == 1);
        dray_layout_destroy(remote);
        agents_close(&both);
    }
    kind_built = DRAY_STORAGE_SYSTEM;
}

static void a_layout_registered_to_be_read_is_not_written(void **state)
{
    (void)state;
    two_agents both;
    dray_layout_config config = shape(DRAY_LAYOUT_CONTIGUOUS, DRAY_BLOCK_NHD);
    agents_open(&both, &config, false);
    export_as(&both, DRAY_LAYOUT_BINARY);
    dray_layout *remote = imported(&both);
    dray_layout_digest here[6], there[6];
    digests(&both.home, both.layout, here);
    assert_int_equal(dray_layout_fill(both.away.agent, remote, NULL, &both.away.error),
                     DRAY_E_INVALID);
    digests(&both.away, remote, there);
    assert_memory_equal(here, there, sizeof(here));
    dray_layout_destroy(remote);
    agents_close(&both);
}

static void what_does_not_fit_the_peer_is_refused(void **state)
{
    (void)state;
    two_agents both;
    dray_layout_config config = shape(DRAY_LAYOUT_LAYER_SEPARATE_FIRST, DRAY_BLOCK_NHD);
    dray_layout *none = NULL;
    agents_open(&both, &config, true);
    export_as(&both, DRAY_LAYOUT_BINARY);
    // another agent's layout
    dray_layout *own = build(&both.away, &config, true);
    uint8_t theirs[room];
    uint64_t count;
    good(dray_layout_export(own, DRAY_LAYOUT_BINARY, theirs, room, &count, &both.away.error),
         &both.away);
    assert_int_equal(
        dray_layout_import(both.away.agent, both.peer, theirs, count, &none, &both.away.error),
        DRAY_E_INVALID);
    assert_string_equal(both.away.error.message,
                        "import layout of home: agent name mismatch: expected 'home', got 'away'");
    dray_layout_destroy(own);
    // a layout that the peer has deregistered since
    dray_layout_destroy(both.layout);
    both.layout = NULL;
    ucx_end_export(&both.home);
    good(dray_agent_import(both.away.agent, both.home.blob, both.home.blob_bytes, &both.peer,
                           &both.away.error),
         &both.away);
    assert_int_equal(dray_layout_import(both.away.agent, both.peer, both.bytes, both.count, &none,
                                        &both.away.error),
                     DRAY_E_NOTFOUND);
    assert_string_equal(both.away.error.message,
                        "import layout of home: region 0: the peer has no handle 2, at least in the "
                        "metadata that was imported");
    // the peer has restarted
    ucx_end_close(&both.home);
    ucx_end_open(&both.home, "home", 64, 1, 0);
    good(dray_agent_import(both.away.agent, both.home.blob, both.home.blob_bytes, &both.peer,
                           &both.away.error),
         &both.away);
    assert_int_equal(dray_layout_import(both.away.agent, both.peer, both.bytes, both.count, &none,
                                        &both.away.error),
                     DRAY_E_INVALID);
    assert_non_null(strstr(both.away.error.message,
                           "import layout of home: agent home has restarted since: the layout is of "
                           "its life "));
    assert_null(none);
    agents_close(&both);
}

static void what_peers_do_not_reach_is_not_exported(void **state)
{
    (void)state;
    two_agents both;
    dray_layout_config config = shape(DRAY_LAYOUT_CONTIGUOUS, DRAY_BLOCK_NHD);
    agents_open(&both, &config, true);
    export_as(&both, DRAY_LAYOUT_BINARY);
    ucx_end *home = &both.home, *away = &both.away;
    uint64_t count = both.count;
    assert_int_equal(dray_layout_export(both.layout, DRAY_LAYOUT_BINARY, both.bytes, count - 1,
                                        &both.count, &home->error),
                     DRAY_E_NOSPACE);
    assert_int_equal(both.count, count);
    dray_layout *remote = NULL;
    both.count = count;
    export_as(&both, DRAY_LAYOUT_BINARY);
    remote = imported(&both);
    assert_int_equal(
        dray_layout_export(remote, DRAY_LAYOUT_BINARY, both.bytes, room, &count, &away->error),
        DRAY_E_UNSUPPORTED);
    assert_string_equal(away->error.message, "export layout: its regions are those of agent home, "
                                             "which has to export it itself");
    dray_layout_destroy(remote);
    dray_layout_allocation memory = {.struct_bytes = sizeof(memory), .storage = DRAY_STORAGE_SYSTEM};
    dray_layout_options options = {
        .struct_bytes = sizeof(options), .config = &config, .allocate = &memory, .unregistered = 1};
    dray_layout *plain = NULL;
    good(dray_layout_build(away->agent, &options, &plain, &away->error), away);
    assert_int_equal(
        dray_layout_export(plain, DRAY_LAYOUT_JSON, both.bytes, room, &count, &away->error),
        DRAY_E_UNSUPPORTED);
    assert_string_equal(away->error.message, "export layout: its memory regions are not registered");
    assert_int_equal(
        dray_layout_export(plain, (dray_layout_form)3, both.bytes, room, &count, &away->error),
        DRAY_E_INVALID);
    dray_layout_destroy(plain);
    agents_close(&both);
}

/// Any one byte changed, and the checksum left as it was or the head cut: nothing is imported, nothing leaks.
static void a_blob_with_any_byte_flipped_is_refused(void **state)
{
    (void)state;
    two_agents both;
    dray_layout_config config = shape(DRAY_LAYOUT_LAYER_SEPARATE_SECOND, DRAY_BLOCK_HND);
    agents_open(&both, &config, true);
    for (int json = 0; json < 2; json++) {
        export_as(&both, json ? DRAY_LAYOUT_JSON : DRAY_LAYOUT_BINARY);
        uint64_t live = counting_allocator_live_bytes(&both.away.counter);
        for (uint64_t i = 0; i < both.count; i++) {
            dray_layout *layout = NULL;
            both.bytes[i] ^= 0x11;
            dray_status status = dray_layout_import(both.away.agent, both.peer, both.bytes,
                                                    both.count, &layout, &both.away.error);
            if (json && status == DRAY_OK) // white space, changed into other white space
                dray_layout_destroy(layout);
            else
                assert_int_not_equal(status, DRAY_OK);
            both.bytes[i] ^= 0x11;
            assert_int_equal(counting_allocator_live_bytes(&both.away.counter), live);
        }
    }
    agents_close(&both);
}

static void every_allocation_of_an_import_may_fail(void **state)
{
    (void)state;
    two_agents both;
    dray_layout_config config = shape(DRAY_LAYOUT_LAYER_SEPARATE_FIRST, DRAY_BLOCK_NHD);
    agents_open(&both, &config, true);
    export_as(&both, DRAY_LAYOUT_JSON);
    counting_allocator *counter = &both.away.counter;
    for (uint64_t n = 1;; n++) {
        dray_layout *layout = NULL;
        uint64_t live = counting_allocator_live_bytes(counter);
        counter->calls = counter->failures = 0;
        counter->fail_at = n;
        dray_status status = dray_layout_import(both.away.agent, both.peer, both.bytes, both.count,
                                                &layout, &both.away.error);
        counter->fail_at = 0;
        if (status == DRAY_OK) {
            dray_layout_destroy(layout);
            break;
        }
        assert_int_equal(status, DRAY_E_NOMEM);
        assert_int_equal(counting_allocator_live_bytes(counter), live);
    }
    agents_close(&both);
}

// --- two processes -------------------------------------------------------------------------------------------------

/// The peer has one region of bytes that the test knows; a layout over it is registered with the peer's handle.
static void blocks_of_another_process_are_read_and_written(void **state)
{
    (void)state;
    static ucx_end end;
    static ucx_peer process;
    dray_layout_config config = shape(DRAY_LAYOUT_CONTIGUOUS, DRAY_BLOCK_HND);
    dray_layout_geometry geometry;
    assert_int_equal(dray_layout_measure(&config, DRAY_STORAGE_SYSTEM, &geometry, NULL), DRAY_OK);
    ucx_peer_start(&process, "other", geometry.region_bytes, 5);
    ucx_end_open(&end, "here", geometry.region_bytes, 5, 0);
    dray_peer *peer;
    dray_region *region;
    dray_descriptor descriptor;
    good(dray_agent_import(end.agent, process.blob, process.blob_bytes, &peer, &end.error), &end);
    good(dray_peer_open(peer, "memory", &region, &end.error), &end);
    dray_peer_describe(peer, 0, &descriptor, NULL);
    dray_layout_registered there = {.struct_bytes = sizeof(there),
                                    .regions = &region,
                                    .handles = &descriptor.handle,
                                    .region_count = 1,
                                    .peer = peer};
    dray_layout_provided here = {
        .struct_bytes = sizeof(here), .regions = &end.region, .region_count = 1};
    dray_layout_options of_peer = {
        .struct_bytes = sizeof(of_peer), .config = &config, .registered = &there};
    dray_layout_options ours = {.struct_bytes = sizeof(ours), .config = &config, .provided = &here};
    dray_layout *remote = NULL, *local = NULL;
    good(dray_layout_build(end.agent, &of_peer, &remote, &end.error), &end);
    good(dray_layout_build(end.agent, &ours, &local, &end.error), &end);
    dray_layout_digest a[6], b[6];
    digests(&end, remote, a);
    digests(&end, local, b);
    assert_memory_equal(a, b, sizeof(a));
    // all blocks written by a move; the padding behind each of them stays as it was
    ucx_fill(end.region, 77);
    static const uint64_t ids[] = {0, 1, 2, 3, 4, 5};
    dray_layout_move move = {.struct_bytes = sizeof(move),
                             .sources = &local,
                             .targets = &remote,
                             .source_count = 1,
                             .target_count = 1,
                             .source_blocks = ids,
                             .target_blocks = ids,
                             .source_block_count = 6,
                             .target_block_count = 6};
    dray_plan *plan;
    dray_transfer *transfer;
    good(dray_layout_plan_move(end.agent, &move, NULL, &plan, &end.error), &end);
    good(dray_transfer_create(end.agent, plan, NULL, &transfer, &end.error), &end);
    good(dray_transfer_submit(transfer, &end.error), &end);
    good(dray_transfer_wait(transfer, -1, &end.error), &end);
    dray_transfer_destroy(transfer);
    dray_plan_destroy(plan);
    assert_int_equal(geometry.padding_bytes, 0);
    assert_true(ucx_peer_holds(&process, 77));
    dray_layout_destroy(local);
    dray_layout_destroy(remote);
    dray_region_release(region);
    ucx_end_close(&end);
    ucx_peer_stop(&process);
}

// The other process of the next test is this program again. It builds a layout, writes what it has exported to its
// standard output, answers until its standard input ends, and then writes the digests of what its blocks hold.

static void send_bytes(const void *bytes, uint64_t count)
{
    fwrite(&count, sizeof(count), 1, stdout);
    fwrite(bytes, 1, count, stdout);
    fflush(stdout);
}

static int exporter_main(void)
{
    static ucx_end end;
    static uint8_t bytes[room];
    uint64_t count;
    dray_layout_digest found[6];
    dray_layout_config config = shape(DRAY_LAYOUT_LAYER_SEPARATE_SECOND, DRAY_BLOCK_HND);
    ucx_end_open(&end, "exporter", 64, 1, 0);
    dray_layout *layout = build(&end, &config, true);
    ucx_end_export(&end);
    send_bytes(end.blob, end.blob_bytes);
    good(dray_layout_export(layout, DRAY_LAYOUT_JSON, bytes, room, &count, &end.error), &end);
    send_bytes(bytes, count);
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    while (poll(&input, 1, 0) == 0)
        dray_agent_poll(end.agent);
    digests(&end, layout, found);
    send_bytes(found, sizeof(found));
    dray_layout_destroy(layout);
    ucx_end_close(&end);
    return 0;
}

typedef struct exporter {
    pid_t pid;
    int to;
    FILE *from;
} exporter;

static void exporter_start(exporter *other)
{
    int to[2], from[2];
    assert_int_equal(pipe2(to, O_CLOEXEC), 0);
    assert_int_equal(pipe2(from, O_CLOEXEC), 0);
    other->pid = fork();
    assert_true(other->pid >= 0);
    if (other->pid == 0) {
        dup2(to[0], STDIN_FILENO);
        dup2(from[1], STDOUT_FILENO);
        execl("/proc/self/exe", "test_layout_share", "exporter", (char *)NULL);
        _exit(127);
    }
    close(to[0]);
    close(from[1]);
    other->to = to[1];
    other->from = fdopen(from[0], "r");
}

static uint64_t receive_bytes(exporter *other, void *out)
{
    uint64_t count = 0;
    assert_int_equal(fread(&count, sizeof(count), 1, other->from), 1);
    assert_true(count <= room);
    assert_int_equal(fread(out, 1, count, other->from), count);
    return count;
}

static void a_layout_that_another_process_has_exported_is_read_and_written(void **state)
{
    (void)state;
    static ucx_end end;
    static uint8_t metadata[room], exported[room];
    exporter other;
    exporter_start(&other);
    uint64_t metadata_bytes = receive_bytes(&other, metadata);
    uint64_t exported_bytes = receive_bytes(&other, exported);
    ucx_end_open(&end, "importer", 64, 2, 0);
    dray_peer *peer;
    dray_layout *remote = NULL;
    good(dray_agent_import(end.agent, metadata, metadata_bytes, &peer, &end.error), &end);
    good(dray_layout_import(end.agent, peer, exported, exported_bytes, &remote, &end.error), &end);
    // what is there is what the same pattern gives here
    dray_layout_config config = shape(DRAY_LAYOUT_CONTIGUOUS, DRAY_BLOCK_UNIVERSAL_PP);
    dray_layout *here = build(&end, &config, false);
    dray_layout_digest ours[6], theirs[6];
    digests(&end, here, ours);
    digests(&end, remote, theirs);
    assert_memory_equal(ours, theirs, sizeof(ours));
    // what is written from here is there
    dray_layout_pattern second = {.struct_bytes = sizeof(second), .seed = 2};
    good(dray_layout_fill(end.agent, remote, &second, &end.error), &end);
    good(dray_layout_fill(end.agent, here, &second, &end.error), &end);
    digests(&end, here, ours);
    close(other.to);
    assert_int_equal(receive_bytes(&other, theirs), sizeof(theirs));
    assert_memory_equal(ours, theirs, sizeof(ours));
    int status;
    assert_int_equal(waitpid(other.pid, &status, 0), other.pid);
    assert_int_equal(status, 0);
    fclose(other.from);
    dray_layout_destroy(here);
    dray_layout_destroy(remote);
    ucx_end_close(&end);
}

static void remote_regions_need_their_peer_and_their_handle(void **state)
{
    (void)state;
    two_agents both;
    dray_layout_config config = shape(DRAY_LAYOUT_CONTIGUOUS, DRAY_BLOCK_NHD);
    agents_open(&both, &config, true);
    dray_descriptor descriptor;
    dray_region *region;
    dray_layout *layout = NULL;
    ucx_end *away = &both.away;
    good(dray_layout_descriptor(both.layout, 0, &descriptor, &both.home.error), &both.home);
    good(dray_peer_open_handle(both.peer, descriptor.handle, &region, &away->error), away);
    dray_layout_registered there = {.struct_bytes = sizeof(there),
                                    .regions = &region,
                                    .handles = &descriptor.handle,
                                    .region_count = 1};
    dray_layout_options options = {
        .struct_bytes = sizeof(options), .config = &config, .registered = &there};
    assert_int_equal(dray_layout_build(away->agent, &options, &layout, &away->error),
                     DRAY_E_INVALID);
    assert_string_equal(away->error.message,
                        "layout: memory region 0 is remote, but the peer is missing");
    there.peer = both.peer;
    uint64_t wrong = 1; // "memory", 64 bytes
    there.handles = &wrong;
    assert_int_equal(dray_layout_build(away->agent, &options, &layout, &away->error),
                     DRAY_E_INVALID);
    assert_string_equal(away->error.message,
                        "layout: peer home has no handle 1 with the bytes of memory region 0");
    there.handles = &descriptor.handle;
    there.regions = &away->region;
    config.num_blocks = 1, config.num_layers = 1, config.page_size = 1, config.inner_dim = 4;
    config.outer_dim = 1;
    assert_int_equal(dray_layout_build(away->agent, &options, &layout, &away->error),
                     DRAY_E_INVALID);
    assert_string_equal(away->error.message,
                        "layout: a peer is given, but memory region 0 is not remote");
    dray_layout_provided provided = {
        .struct_bytes = sizeof(provided), .regions = &region, .region_count = 1};
    options.registered = NULL;
    options.provided = &provided;
    assert_int_equal(dray_layout_build(away->agent, &options, &layout, &away->error),
                     DRAY_E_INVALID);
    assert_string_equal(away->error.message,
                        "layout: provided memory region 0 is remote: it is registered already, with "
                        "its own agent");
    dray_region_release(region);
    agents_close(&both);
}

static int over(const char *transports)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_imported_layout_is_read_and_written),
        cmocka_unit_test(a_layout_registered_to_be_read_is_not_written),
        cmocka_unit_test(what_does_not_fit_the_peer_is_refused),
        cmocka_unit_test(what_peers_do_not_reach_is_not_exported),
        cmocka_unit_test(a_blob_with_any_byte_flipped_is_refused),
        cmocka_unit_test(every_allocation_of_an_import_may_fail),
        cmocka_unit_test(blocks_of_another_process_are_read_and_written),
        cmocka_unit_test(a_layout_that_another_process_has_exported_is_read_and_written),
        cmocka_unit_test(remote_regions_need_their_peer_and_their_handle),
    };
    setenv("UCX_TLS", transports, 1);
    return cmocka_run_group_tests_name(transports, tests, NULL, NULL);
}

int main(int count, char **arguments)
{
    int peer = ucx_peer_main(count, arguments);
    if (peer >= 0)
        return peer;
    if (count == 2 && strcmp(arguments[1], "exporter") == 0)
        return exporter_main();
    const char *why = ucx_unavailable();
    if (why) {
        printf("skipped: %s\n", why);
        return 77;
    }
    return over("shm,self") + over("tcp,self");
}
