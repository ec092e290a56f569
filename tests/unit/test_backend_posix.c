/// The posix backend through its table: three engines, direct and buffered, short files, odd offsets.
#include "backend_rig.h"
#include "counting_allocator.h"
#include "fault_os.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

extern const dray_backend_ops drayi_backend_posix;

#define FILE_BYTES (4u << 20)
#define BUFFERED DRAY_EDGE_SCATTER
#define DIRECT (DRAY_EDGE_SCATTER | DRAY_EDGE_DIRECT)

/// Which engine the rig gets: ring, threads or the caller.
typedef struct engine_choice {
    const char *name, *describes;
    unsigned absent;
    uint32_t threads;
} engine_choice;

static const engine_choice engines[] = {
    {"ring", "io_uring, depth 64; cached bytes in the caller", FAULT_NO_SHORT_CUT, 2},
    {"threads", "threads and pread (io_uring: Operation not permitted)",
     FAULT_NO_URING | FAULT_NO_SHORT_CUT, 2},
    {"caller", "pread in the caller (io_uring: Operation not permitted)",
     FAULT_NO_URING | FAULT_NO_SHORT_CUT, 0},
    {"short cuts", "io_uring, depth 64; cached bytes in the caller", 0, 2},
    {"memory, threads", "threads and pread (io_uring: Operation not permitted)",
     FAULT_NO_URING | FAULT_NO_DISK, 2},
    {"memory, caller", "pread in the caller (io_uring: Operation not permitted)",
     FAULT_NO_URING | FAULT_NO_DISK, 0},
};
#define ENGINE_COUNT (sizeof(engines) / sizeof(engines[0]))

static void open_rig(backend_rig *rig, const engine_choice *choice)
{
    fault_os_reset();
    fault_os_make_absent(choice->absent);
    dray_error error;
    dray_status status =
        backend_rig_open(rig, &drayi_backend_posix, fault_os(), NULL, choice->threads, &error);
    if (status != DRAY_OK)
        fail_msg("%s: %s", choice->name, error.message);
}

static bool ring_is_there(void)
{
    struct io_uring *ring;
    if (drayi_os_linux.uring_open(&ring, 4) < 0)
        return false;
    drayi_os_linux.uring_close(ring);
    return true;
}

/// A backend with one engine, an open file, and memory to go with it.
typedef struct scene {
    backend_rig rig;
    dray_region *file, *memory;
    uint8_t *bytes; // of the memory
} scene;

static void scene_fill(scene *it, const char *path, uint64_t bytes, bool writable)
{
    dray_file_options file = {.struct_bytes = sizeof(file), .writable = writable};
    dray_region_options memory = {
        .struct_bytes = sizeof(memory), .storage = DRAY_STORAGE_SYSTEM, .bytes = bytes};
    dray_error error;
    if (dray_region_open(it->rig.context, path, &file, &it->file, &error) != DRAY_OK ||
        dray_region_create(it->rig.context, &memory, &it->memory, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    it->bytes = dray_region_pointer(it->memory);
}

static void scene_open(scene *it, const engine_choice *choice, const char *path, uint64_t bytes)
{
    open_rig(&it->rig, choice);
    scene_fill(it, path, bytes, false);
}

static void scene_open_to_write(scene *it, const engine_choice *choice, const char *path,
                                uint64_t bytes)
{
    open_rig(&it->rig, choice);
    scene_fill(it, path, bytes, true);
}

static void scene_close(scene *it)
{
    dray_region_release(it->memory);
    dray_region_release(it->file);
    backend_rig_close(&it->rig);
}

static dray_op read_op(backend_rig *rig, uint32_t flags, const dray_segment *segments,
                       uint32_t count)
{
    dray_edge edge = backend_rig_edge(rig, DRAY_STORAGE_DISK, DRAY_STORAGE_SYSTEM, flags);
    return (dray_op){.segments = segments, .segment_count = count, .edge = edge.id};
}

static void assert_mentions(backend_rig *rig, const char *wanted)
{
    char text[256];
    rig->ops->describe(rig->backend, text, sizeof(text));
    if (!strstr(text, wanted))
        fail_msg("wanted \"%s\" in \"%s\"", wanted, text);
}

static void describe_names_the_engine(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < ENGINE_COUNT; i++) {
        if (!ring_is_there() && !(engines[i].absent & FAULT_NO_URING))
            continue;
        backend_rig rig;
        open_rig(&rig, &engines[i]);
        char text[256];
        rig.ops->describe(rig.backend, text, sizeof(text));
        assert_string_equal(text, engines[i].describes);
        backend_rig_close(&rig);
    }
}

/// 64 operations of odd sizes at odd offsets, more than there are slots in a batch.
static void read_in_pieces(scene *it, uint32_t flags, uint64_t piece)
{
    enum { MOST = 200 };
    static dray_segment segments[MOST];
    static dray_op ops[MOST];
    uint32_t count = 0;
    for (uint64_t at = 0; at < FILE_BYTES; at += piece, count++) {
        assert_true(count < MOST);
        uint64_t bytes = FILE_BYTES - at < piece ? FILE_BYTES - at : piece;
        segments[count] = (dray_segment){.source = it->file,
                                         .target = it->memory,
                                         .source_offset = at,
                                         .target_offset = at,
                                         .run_bytes = bytes};
        ops[count] = read_op(&it->rig, flags, &segments[count], 1);
    }
    memset(it->bytes, 0, FILE_BYTES);
    backend_rig_run(&it->rig, ops, count);
    for (uint32_t i = 0; i < count; i++) {
        if (ops[i].status != DRAY_OK)
            fail_msg("operation %u: %s", i, ops[i].error.message);
        assert_int_equal(ops[i].bytes_done, segments[i].run_bytes);
    }
    assert_int_equal(backend_rig_first_wrong(it->bytes, FILE_BYTES, 0), DRAY_UNKNOWN);
}

static void every_engine_reads_the_file_buffered_and_direct(void **unused)
{
    (void)unused;
    static const char *const folders[] = {NULL, "/dev/shm"};
    for (size_t f = 0; f < 2; f++) {
        char path[256];
        backend_rig_file(folders[f], FILE_BYTES, path);
        for (size_t i = 0; i < ENGINE_COUNT; i++) {
            scene it;
            scene_open(&it, &engines[i], path, FILE_BYTES);
            read_in_pieces(&it, BUFFERED, 30011);
            read_in_pieces(&it, DIRECT, 65536);
            scene_close(&it);
        }
        unlink(path);
    }
}

static void segments_scatter_over_memory(void **unused)
{
    (void)unused;
    char path[256];
    backend_rig_file(NULL, FILE_BYTES, path);
    for (size_t i = 0; i < ENGINE_COUNT; i++) {
        scene it;
        scene_open(&it, &engines[i], path, FILE_BYTES);
        dray_segment segments[64];
        uint64_t at = 777;
        for (uint32_t s = 0; s < 64; s++) { // file order 0..63, memory order 63..0
            segments[s] = (dray_segment){.source = it.file,
                                         .target = it.memory,
                                         .source_offset = at,
                                         .target_offset = (uint64_t)(63 - s) * 8192,
                                         .run_bytes = 100 + s};
            at += 100 + s;
        }
        dray_op op = read_op(&it.rig, BUFFERED, segments, 64);
        backend_rig_run(&it.rig, &op, 1);
        assert_int_equal(op.status, DRAY_OK);
        assert_int_equal(op.bytes_done, at - 777);
        for (uint32_t s = 0; s < 64; s++) {
            const uint8_t *piece = it.bytes + segments[s].target_offset;
            assert_int_equal(
                backend_rig_first_wrong(piece, segments[s].run_bytes, segments[s].source_offset),
                DRAY_UNKNOWN);
            assert_int_equal(piece[segments[s].run_bytes], 0); // and not a byte more
        }
        scene_close(&it);
    }
    unlink(path);
}

static void segments_that_are_no_neighbours_are_refused(void **unused)
{
    (void)unused;
    char path[256];
    backend_rig_file(NULL, 8192, path);
    scene it;
    scene_open(&it, &engines[0], path, 8192);
    dray_segment segments[2] = {
        {.source = it.file, .target = it.memory, .run_bytes = 10},
        {.source = it.file,
         .target = it.memory,
         .source_offset = 11,
         .target_offset = 11,
         .run_bytes = 10},
    };
    dray_op op = read_op(&it.rig, BUFFERED, segments, 2);
    backend_rig_run(&it.rig, &op, 1);
    assert_int_equal(op.status, DRAY_E_INVALID);
    assert_int_equal(op.bytes_done, 0);
    assert_non_null(strstr(op.error.message, "at 11 does not follow the one that ends at 10"));
    scene_close(&it);
    unlink(path);
}

/// The file loses its tail after it was opened: what is left arrives, and the error has the numbers.
static void a_file_that_ends_early_is_corrupt_with_numbers(void **unused)
{
    (void)unused;
    static const uint32_t ways[] = {BUFFERED, DIRECT};
    for (size_t i = 0; i < ENGINE_COUNT; i++) {
        for (size_t w = 0; w < 2; w++) {
            char path[256], wanted[512];
            backend_rig_file(NULL, 65536, path);
            scene it;
            scene_open(&it, &engines[i], path, 65536);
            assert_int_equal(truncate(path, 33000), 0);
            dray_segment segment = {.source = it.file,
                                    .target = it.memory,
                                    .source_offset = 32768,
                                    .target_offset = 32768,
                                    .run_bytes = 16384};
            dray_op op = read_op(&it.rig, ways[w], &segment, 1);
            backend_rig_run(&it.rig, &op, 1);
            snprintf(wanted, sizeof(wanted), "pread %s: wanted 16384 at 32768, file ends at 33000",
                     path);
            assert_int_equal(op.status, DRAY_E_CORRUPT);
            assert_string_equal(op.error.message, wanted);
            assert_string_equal(op.error.origin, "pread");
            assert_int_equal(op.error.offset, 33000);
            assert_int_equal(op.bytes_done, 232);

            segment.source_offset = 49152; // altogether behind the end
            op = read_op(&it.rig, ways[w], &segment, 1);
            backend_rig_run(&it.rig, &op, 1);
            snprintf(wanted, sizeof(wanted), "pread %s: wanted 16384 at 49152, file ends at 33000",
                     path);
            assert_string_equal(op.error.message, wanted);
            assert_int_equal(op.bytes_done, 0);
            scene_close(&it);
            unlink(path);
        }
    }
}

static void unaligned_direct_operations_go_through_the_page_cache(void **unused)
{
    (void)unused;
    char path[256];
    backend_rig_file(NULL, FILE_BYTES, path);
    scene it;
    scene_open(&it, &engines[0], path, FILE_BYTES);
    dray_segment segments[3] = {
        {.source = it.file, .target = it.memory, .source_offset = 1, .run_bytes = 4096},
        {.source = it.file, .target = it.memory, .target_offset = 8193, .run_bytes = 4096},
        {.source = it.file, .target = it.memory, .target_offset = 16384, .run_bytes = 4095},
    };
    dray_op ops[3];
    for (int i = 0; i < 3; i++)
        ops[i] = read_op(&it.rig, DIRECT, &segments[i], 1);
    backend_rig_run(&it.rig, ops, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ops[i].status, DRAY_OK);
        const uint8_t *at = it.bytes + segments[i].target_offset;
        assert_int_equal(
            backend_rig_first_wrong(at, segments[i].run_bytes, segments[i].source_offset),
            DRAY_UNKNOWN);
    }
    assert_mentions(&it.rig, "3 direct operations went through the page cache");
    scene_close(&it);
    unlink(path);
}

static void a_kernel_that_refuses_direct_io_costs_speed_and_no_bytes(void **unused)
{
    (void)unused;
    char path[256];
    backend_rig_file(NULL, FILE_BYTES, path);
    for (size_t i = 0; i < ENGINE_COUNT; i++) {
        scene it;
        scene_open(&it, &engines[i], path, FILE_BYTES);
        fault_os_make_absent(engines[i].absent | FAULT_DIRECT_REFUSED);
        read_in_pieces(&it, DIRECT, 65536);
        assert_mentions(&it.rig, "64 direct operations went through the page cache");
        scene_close(&it);
    }
    unlink(path);
}

static void writes_arrive_buffered_and_direct(void **unused)
{
    (void)unused;
    static const uint32_t ways[] = {BUFFERED, DIRECT};
    for (size_t i = 0; i < ENGINE_COUNT; i++) {
        for (size_t w = 0; w < 2; w++) {
            char path[256];
            backend_rig_file(NULL, 0, path);
            assert_int_equal(truncate(path, FILE_BYTES), 0);
            scene it;
            scene_open_to_write(&it, &engines[i], path, FILE_BYTES);
            backend_rig_fill(it.bytes, FILE_BYTES, 0);
            dray_edge edge =
                backend_rig_edge(&it.rig, DRAY_STORAGE_SYSTEM, DRAY_STORAGE_DISK, ways[w]);
            dray_segment segments[16];
            dray_op ops[16];
            for (uint32_t s = 0; s < 16; s++) {
                uint64_t at = s * (FILE_BYTES / 16);
                segments[s] = (dray_segment){.source = it.memory,
                                             .target = it.file,
                                             .source_offset = at,
                                             .target_offset = at,
                                             .run_bytes = FILE_BYTES / 16};
                ops[s] = (dray_op){.segments = &segments[s], .segment_count = 1, .edge = edge.id};
            }
            backend_rig_run(&it.rig, ops, 16);
            for (uint32_t s = 0; s < 16; s++)
                assert_int_equal(ops[s].status, DRAY_OK);
            memset(it.bytes, 0, FILE_BYTES);
            read_in_pieces(&it, BUFFERED, 65536);
            scene_close(&it);
            unlink(path);
        }
    }
}

static void small_synchronous_reads_are_done_in_submit(void **unused)
{
    (void)unused;
    char path[256];
    backend_rig_file(NULL, 8192, path);
    scene it;
    scene_open(&it, &engines[0], path, 8192);
    fault_os_inject(&(fault_plan){.groups = FAULT_RING}); // only counts
    dray_segment segment = {
        .source = it.file, .target = it.memory, .source_offset = 5, .run_bytes = 100};
    dray_op op = read_op(&it.rig, BUFFERED, &segment, 1), *given = &op, *back = NULL;
    op.flags = DRAY_OP_SMALL_SYNC;
    assert_int_equal(it.rig.ops->submit(it.rig.backend, &given, 1), 1);
    assert_int_equal(backend_rig_first_wrong(it.bytes, 100, 5), DRAY_UNKNOWN);
    int fd;
    assert_int_equal(it.rig.ops->arm(it.rig.backend, &fd, NULL), DRAY_E_BUSY);
    assert_int_equal(it.rig.ops->poll(it.rig.backend, &back, 1), 1);
    assert_ptr_equal(back, &op);
    assert_int_equal(op.status, DRAY_OK);
    assert_int_equal(fault_os_calls(), 0);
    scene_close(&it);
    unlink(path);
}

static void nothing_allocates_after_open(void **unused)
{
    (void)unused;
    char path[256];
    backend_rig_file(NULL, FILE_BYTES, path);
    for (size_t i = 0; i < ENGINE_COUNT; i++) {
        counting_allocator counter;
        counting_allocator_init(&counter, 0);
        dray_allocator allocator = counting_allocator_interface(&counter);
        fault_os_reset();
        fault_os_make_absent(engines[i].absent);
        scene it;
        dray_error error;
        assert_int_equal(backend_rig_open(&it.rig, &drayi_backend_posix, fault_os(), &allocator,
                                          engines[i].threads, &error),
                         DRAY_OK);
        scene_fill(&it, path, FILE_BYTES, false);
        uint64_t before = counting_allocator_calls(&counter);
        read_in_pieces(&it, BUFFERED, 65536);
        assert_int_equal(counting_allocator_calls(&counter), before);
        scene_close(&it);
        assert_int_equal(counting_allocator_live_bytes(&counter), 0);
    }
    unlink(path);
}

/// Whatever cancel achieves, the operation comes back once and tells the truth.
static void cancelled_operations_come_back_once(void **unused)
{
    (void)unused;
    char path[256];
    backend_rig_file(NULL, FILE_BYTES, path);
    for (size_t i = 0; i < ENGINE_COUNT; i++) {
        scene it;
        scene_open(&it, &engines[i], path, FILE_BYTES);
        dray_segment segments[16];
        dray_op ops[16], *given[16], *back[16];
        for (uint32_t s = 0; s < 16; s++) {
            uint64_t at = s * (FILE_BYTES / 16);
            segments[s] = (dray_segment){.source = it.file,
                                         .target = it.memory,
                                         .source_offset = at,
                                         .target_offset = at,
                                         .run_bytes = FILE_BYTES / 16};
            ops[s] = read_op(&it.rig, DIRECT, &segments[s], 1);
            given[s] = &ops[s];
        }
        assert_int_equal(it.rig.ops->submit(it.rig.backend, given, 16), 16);
        for (uint32_t s = 0; s < 16; s++)
            it.rig.ops->cancel(it.rig.backend, &ops[s]);
        uint32_t ended = 0, cancelled = 0;
        while (ended < 16)
            ended += it.rig.ops->poll(it.rig.backend, back, 16);
        assert_int_equal(ended, 16);
        for (uint32_t s = 0; s < 16; s++) {
            if (ops[s].status == DRAY_OK) {
                assert_int_equal(ops[s].bytes_done, FILE_BYTES / 16);
                continue;
            }
            assert_int_equal(ops[s].status, DRAY_E_CANCELLED);
            assert_non_null(strstr(ops[s].error.message, "cancelled"));
            cancelled++;
        }
        if (strcmp(engines[i].name, "caller") == 0) // nothing ran before poll
            assert_int_equal(cancelled, 16);
        read_in_pieces(&it, BUFFERED, 65536); // still usable
        scene_close(&it);
    }
    unlink(path);
}

static void submit_takes_as_many_as_it_has_slots(void **unused)
{
    (void)unused;
    char path[256];
    backend_rig_file(NULL, 65536, path);
    scene it;
    scene_open(&it, &engines[2], path, 65536);
    static dray_op ops[70];
    dray_op *given[70], *back[70];
    dray_segment segment = {.source = it.file, .target = it.memory, .run_bytes = 512};
    for (int i = 0; i < 70; i++) {
        ops[i] = read_op(&it.rig, BUFFERED, &segment, 1);
        given[i] = &ops[i];
    }
    assert_int_equal(it.rig.ops->submit(it.rig.backend, given, 70), 64);
    assert_int_equal(it.rig.ops->poll(it.rig.backend, back, 70), 1); // one operation per poll
    assert_ptr_equal(back[0], &ops[0]);
    assert_int_equal(it.rig.ops->submit(it.rig.backend, given + 64, 6), 1);
    for (uint32_t left = 64; left > 0;)
        left -= it.rig.ops->poll(it.rig.backend, back, 70);
    scene_close(&it);
    unlink(path);
}

static void a_full_disk_is_nospace(void **unused)
{
    (void)unused;
    char path[256];
    backend_rig_file(NULL, 8192, path);
    for (size_t i = 0; i < ENGINE_COUNT; i++) {
        scene it;
        scene_open_to_write(&it, &engines[i], path, 8192);
        dray_edge edge = backend_rig_edge(&it.rig, DRAY_STORAGE_SYSTEM, DRAY_STORAGE_DISK, BUFFERED);
        dray_segment segment = {.source = it.memory, .target = it.file, .run_bytes = 4096};
        dray_op op = {.segments = &segment, .segment_count = 1, .edge = edge.id};
        // an event's write is a write, too: only the ring's completion or the first pwritev is meant
        fault_os_inject(&(fault_plan){
            .at = 1,
            .code = -ENOSPC,
            .groups = engines[i].absent & FAULT_NO_URING ? FAULT_WRITE : FAULT_COMPLETION,
        });
        if (engines[i].absent & FAULT_NO_URING || ring_is_there()) {
            backend_rig_run(&it.rig, &op, 1);
            assert_int_equal(op.status, DRAY_E_NOSPACE);
            assert_int_equal(op.error.native_code, ENOSPC);
            assert_string_equal(op.error.origin, "pwrite");
            assert_non_null(strstr(op.error.message, "wanted 4096 at 0, 0 done: No space left"));
            assert_int_equal(op.bytes_done, 0);
        }
        scene_close(&it);
    }
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(describe_names_the_engine),
        cmocka_unit_test(every_engine_reads_the_file_buffered_and_direct),
        cmocka_unit_test(segments_scatter_over_memory),
        cmocka_unit_test(segments_that_are_no_neighbours_are_refused),
        cmocka_unit_test(a_file_that_ends_early_is_corrupt_with_numbers),
        cmocka_unit_test(unaligned_direct_operations_go_through_the_page_cache),
        cmocka_unit_test(a_kernel_that_refuses_direct_io_costs_speed_and_no_bytes),
        cmocka_unit_test(writes_arrive_buffered_and_direct),
        cmocka_unit_test(small_synchronous_reads_are_done_in_submit),
        cmocka_unit_test(nothing_allocates_after_open),
        cmocka_unit_test(cancelled_operations_come_back_once),
        cmocka_unit_test(submit_takes_as_many_as_it_has_slots),
        cmocka_unit_test(a_full_disk_is_nospace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
