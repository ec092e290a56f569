/// The posix backend when the kernel fails it: the Nth call, for every N until the case comes through,
/// on each engine. Whatever happens every operation comes back once, never claims bytes that did not
/// arrive, and the backend works when the fault is over.
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

enum { OPS = 12, EACH = 16384, BYTES = OPS * EACH, FOREVER = 1 << 30 };

typedef struct engine_choice {
    const char *name;
    unsigned absent;
    uint32_t threads;
} engine_choice;

static const engine_choice engines[] = {
    {"ring with threads", FAULT_NO_SHORT_CUT, 2},
    {"ring without threads", FAULT_NO_SHORT_CUT, 0},
    {"threads", FAULT_NO_URING | FAULT_NO_SHORT_CUT, 2},
    {"caller", FAULT_NO_URING | FAULT_NO_SHORT_CUT, 0},
    {"ring and short cuts", 0, 2},
    {"threads and short cuts", FAULT_NO_URING, 2},
    {"file in memory, threads", FAULT_NO_URING | FAULT_NO_DISK, 2},
    {"file in memory, caller", FAULT_NO_URING | FAULT_NO_DISK, 0},
};
#define ENGINE_COUNT (sizeof(engines) / sizeof(engines[0]))

/// An open backend, a file of BYTES and memory of BYTES.
typedef struct fault_scene {
    backend_rig rig;
    dray_region *file, *memory;
    char path[256];
    const char *what; // for messages
    dray_segment segments[OPS];
    dray_op ops[OPS];
} fault_scene;

static void scene_open(fault_scene *scene, const engine_choice *choice)
{
    dray_error error;
    scene->what = choice->name;
    fault_os_reset();
    fault_os_make_absent(choice->absent);
    backend_rig_file(NULL, BYTES, scene->path);
    if (backend_rig_open(&scene->rig, &drayi_backend_posix, fault_os(), NULL, choice->threads,
                         &error) != DRAY_OK)
        fail_msg("%s", error.message);
    dray_file_options writable = {.struct_bytes = sizeof(writable), .writable = 1};
    dray_region_options plain = {.struct_bytes = sizeof(plain), .bytes = BYTES};
    if (dray_region_open(scene->rig.context, scene->path, &writable, &scene->file, &error) !=
            DRAY_OK ||
        dray_region_create(scene->rig.context, &plain, &scene->memory, &error) != DRAY_OK)
        fail_msg("%s", error.message);
}

static void scene_close(fault_scene *scene)
{
    fault_os_reset();
    dray_region_release(scene->file);
    dray_region_release(scene->memory);
    backend_rig_close(&scene->rig);
    unlink(scene->path);
}

static void run(fault_scene *scene, bool write, uint32_t flags)
{
    dray_edge edge =
        write ? backend_rig_edge(&scene->rig, DRAY_STORAGE_SYSTEM, DRAY_STORAGE_DISK, flags)
              : backend_rig_edge(&scene->rig, DRAY_STORAGE_DISK, DRAY_STORAGE_SYSTEM, flags);
    for (uint32_t i = 0; i < OPS; i++) {
        scene->segments[i] = (dray_segment){.source = write ? scene->memory : scene->file,
                                            .target = write ? scene->file : scene->memory,
                                            .source_offset = i * EACH,
                                            .target_offset = i * EACH,
                                            .run_bytes = EACH};
        scene->ops[i] = (dray_op){
            .segments = &scene->segments[i], .segment_count = 1, .edge = edge.id, .status = 77};
    }
    backend_rig_run(&scene->rig, scene->ops, OPS);
}

/// Every operation is right or says why not. Returns how many are not.
static uint32_t check(const fault_scene *scene, uint64_t n, dray_status may_be)
{
    uint32_t failed = 0;
    for (uint32_t i = 0; i < OPS; i++) {
        const dray_op *op = &scene->ops[i];
        if (op->status == DRAY_OK) {
            assert_int_equal(op->bytes_done, EACH);
            const uint8_t *at = (uint8_t *)dray_region_pointer(scene->memory) + i * EACH;
            if (backend_rig_first_wrong(at, EACH, i * EACH) != DRAY_UNKNOWN)
                fail_msg("%s, call %d (%s): operation %u is wrong", scene->what, (int)n,
                         fault_os_last_hit(), i);
            continue;
        }
        failed++;
        if (op->status != may_be || op->bytes_done >= EACH || !op->error.message[0])
            fail_msg("%s, call %d (%s): operation %u ended as %s: %s", scene->what, (int)n,
                     fault_os_last_hit(), i, dray_status_name(op->status), op->error.message);
    }
    return failed;
}

static void usable_again(fault_scene *scene)
{
    fault_os_inject(&(fault_plan){0});
    memset(dray_region_pointer(scene->memory), 0, BYTES);
    run(scene, false, DRAY_EDGE_SCATTER);
    assert_int_equal(check(scene, 0, DRAY_OK), 0);
}

/// Reads with the Nth call of `groups` failing, N = 1, 2, ... Returns how many operations failed in all.
static uint32_t fail_each_call(const engine_choice *choice, unsigned groups, int code,
                               uint64_t repeat, uint32_t flags, dray_status may_be)
{
    uint32_t failed = 0;
    for (uint64_t n = 1;; n++) {
        fault_scene scene;
        scene_open(&scene, choice);
        fault_os_inject(&(fault_plan){.at = n, .code = code, .groups = groups, .repeat = repeat});
        run(&scene, false, flags);
        uint64_t hits = fault_os_hits();
        failed += check(&scene, n, may_be);
        usable_again(&scene);
        scene_close(&scene);
        if (hits == 0)
            return failed;
        assert_true(n < 1000);
    }
}

static const unsigned transfers = FAULT_READ | FAULT_WRITE | FAULT_COMPLETION;

static void an_io_error_fails_one_operation_and_no_other(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < ENGINE_COUNT; i++) {
        fault_scene scene;
        scene_open(&scene, &engines[i]);
        unsigned group = engines[i].absent & FAULT_NO_URING ? FAULT_READ : FAULT_COMPLETION;
        for (uint64_t n = 1; n <= OPS; n++) {
            fault_os_inject(&(fault_plan){.at = n, .code = -EIO, .groups = group});
            run(&scene, false, DRAY_EDGE_SCATTER);
            if (check(&scene, n, DRAY_E_IO) == 0) // an event's read was hit, or there is no ring
                continue;
            for (uint32_t o = 0; o < OPS; o++) {
                if (scene.ops[o].status == DRAY_OK)
                    continue;
                assert_int_equal(scene.ops[o].error.native_code, EIO);
                assert_string_equal(scene.ops[o].error.origin, "pread");
                assert_int_equal(scene.ops[o].error.offset, o * EACH);
            }
        }
        usable_again(&scene);
        scene_close(&scene);
    }
}

static void every_failing_call_is_an_error_or_does_not_matter(void **unused)
{
    (void)unused;
    int open_before = fault_os_open_fds();
    for (size_t i = 0; i < ENGINE_COUNT; i++) {
        uint32_t failed =
            fail_each_call(&engines[i], transfers, -EIO, 1, DRAY_EDGE_SCATTER, DRAY_E_IO);
        if (engines[i].absent &
            FAULT_NO_SHORT_CUT) // else the page cache failed, and the engine did it
            assert_true(failed > 0);
        fail_each_call(&engines[i], transfers, -EIO, 1, DRAY_EDGE_SCATTER | DRAY_EDGE_DIRECT,
                       DRAY_E_IO);
    }
    assert_int_equal(fault_os_open_fds(), open_before);
}

static void interrupted_and_short_transfers_are_continued(void **unused)
{
    (void)unused;
    static const int codes[] = {-EINTR, -EAGAIN, 0};
    for (size_t i = 0; i < ENGINE_COUNT; i++) {
        for (size_t c = 0; c < 3; c++) {
            for (uint32_t direct = 0; direct < 2; direct++) {
                uint32_t flags = DRAY_EDGE_SCATTER | (direct ? DRAY_EDGE_DIRECT : 0u);
                assert_int_equal(
                    fail_each_call(&engines[i], transfers, codes[c], 3, flags, DRAY_OK), 0);
            }
        }
    }
}

/// Every call after the Nth is short: halves of halves, and still all bytes.
static void ever_shorter_transfers_come_to_an_end(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < ENGINE_COUNT; i++) {
        for (uint32_t direct = 0; direct < 2; direct++) {
            fault_scene scene;
            scene_open(&scene, &engines[i]);
            fault_os_inject(
                &(fault_plan){.at = 1, .repeat = FOREVER, .groups = FAULT_READ | FAULT_COMPLETION});
            run(&scene, false, DRAY_EDGE_SCATTER | (direct ? DRAY_EDGE_DIRECT : 0u));
            assert_int_equal(check(&scene, 1, DRAY_OK), 0);
            assert_true(fault_os_hits() > OPS);
            usable_again(&scene);
            scene_close(&scene);
        }
    }
}

/// Half of three blocks ends inside the second one: it is read again, directly, from its start. On a
/// ring only: there the result is cut, elsewhere the request would be, and direct I/O refuses that.
static void a_short_direct_transfer_goes_on_at_the_last_whole_block(void **unused)
{
    (void)unused;
    fault_scene scene;
    scene_open(&scene, &engines[0]);
    dray_region_native file;
    dray_region_get_native(scene.file, &file);
    uint64_t bytes = 3 * (uint64_t)file.direct_offset_align;
    dray_segment segment = {.source = scene.file, .target = scene.memory, .run_bytes = bytes};
    dray_edge edge = backend_rig_edge(&scene.rig, DRAY_STORAGE_DISK, DRAY_STORAGE_SYSTEM,
                                      DRAY_EDGE_SCATTER | DRAY_EDGE_DIRECT);
    dray_op op = {.segments = &segment, .segment_count = 1, .edge = edge.id};
    char text[256];
    if (file.direct_fd >= 0 && bytes > 0 && bytes <= BYTES) {
        fault_os_inject(&(fault_plan){.at = 1, .groups = FAULT_COMPLETION});
        backend_rig_run(&scene.rig, &op, 1);
        scene.rig.ops->describe(scene.rig.backend, text, sizeof(text));
        assert_int_equal(op.status, DRAY_OK);
        assert_int_equal(op.bytes_done, bytes);
        assert_int_equal(backend_rig_first_wrong(dray_region_pointer(scene.memory), bytes, 0),
                         DRAY_UNKNOWN);
        assert_null(strstr(text, "page cache"));
    }
    scene_close(&scene);
}

static void endless_interruption_is_an_error(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < ENGINE_COUNT; i++) {
        fault_scene scene;
        scene_open(&scene, &engines[i]);
        fault_os_inject(&(fault_plan){
            .at = 1, .repeat = FOREVER, .code = -EINTR, .groups = FAULT_READ | FAULT_COMPLETION});
        run(&scene, false, DRAY_EDGE_SCATTER);
        assert_int_equal(check(&scene, 1, DRAY_E_IO), OPS);
        assert_int_equal(scene.ops[0].error.native_code, EINTR);
        usable_again(&scene);
        scene_close(&scene);
    }
}

/// The ring's own calls fail once, or from the Nth on for ever, with a passing or a final code.
static void a_dying_ring_loses_no_operation(void **unused)
{
    (void)unused;
    static const int codes[] = {-EINTR, -EAGAIN, -EBADF};
    static const uint64_t repeats[] = {1, FOREVER};
    for (size_t i = 0; i < 2; i++) {
        for (size_t c = 0; c < 3; c++) {
            for (size_t r = 0; r < 2; r++)
                fail_each_call(&engines[i], FAULT_RING, codes[c], repeats[r], DRAY_EDGE_SCATTER,
                               DRAY_E_IO);
        }
    }
}

static void a_retired_ring_is_named_and_the_threads_take_over(void **unused)
{
    (void)unused;
    char text[256];
    fault_scene scene;
    scene_open(&scene, &engines[0]);
    scene.rig.ops->describe(scene.rig.backend, text, sizeof(text));
    if (strncmp(text, "io_uring", 8) == 0) {
        fault_os_inject(&(fault_plan){.at = 13, .repeat = 1, .code = -EBADF, .groups = FAULT_RING});
        run(&scene, false, DRAY_EDGE_SCATTER); // 12 requests are queued, the 13th call submits them
        assert_int_equal(check(&scene, 13, DRAY_E_IO), 0);
        scene.rig.ops->describe(scene.rig.backend, text, sizeof(text));
        assert_string_equal(text, "threads and pread (io_uring: Bad file descriptor)");
    }
    scene_close(&scene);
}

static void a_disk_that_fills_up_is_nospace_and_the_written_part_is_counted(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < ENGINE_COUNT; i++) {
        unsigned group = engines[i].absent & FAULT_NO_URING ? FAULT_WRITE : FAULT_COMPLETION;
        for (uint64_t n = 1;; n++) {
            fault_scene scene;
            scene_open(&scene, &engines[i]);
            backend_rig_fill(dray_region_pointer(scene.memory), BYTES, 0);
            fault_os_inject(&(fault_plan){.at = n, .code = -ENOSPC, .groups = group});
            run(&scene, true, DRAY_EDGE_SCATTER);
            uint64_t hits = fault_os_hits();
            check(&scene, n, DRAY_E_NOSPACE);
            usable_again(&scene);
            scene_close(&scene);
            if (hits == 0)
                break;
        }
    }
}

/// Opening while the Nth allocation or call fails: an error with a message, or a backend that works.
static void opening_fails_cleanly_or_does_without(void **unused)
{
    (void)unused;
    int open_before = fault_os_open_fds();
    for (uint64_t n = 1;; n++) {
        fault_os_reset();
        fault_os_inject(&(fault_plan){
            .at = n, .code = -EMFILE, .groups = FAULT_EVENT | FAULT_RING | FAULT_OPEN});
        backend_rig rig;
        dray_error error = {0};
        dray_status status =
            backend_rig_open(&rig, &drayi_backend_posix, fault_os(), NULL, 2, &error);
        uint64_t hits = fault_os_hits();
        if (status == DRAY_OK)
            backend_rig_close(&rig);
        else
            assert_string_equal(error.message,
                                "open an eventfd for completions: Too many open files");
        if (hits == 0)
            break;
    }
    assert_int_equal(fault_os_open_fds(), open_before);
    for (uint64_t n = 1;; n++) {
        fault_os_reset();
        counting_allocator counter;
        counting_allocator_init(&counter, n);
        dray_allocator allocator = counting_allocator_interface(&counter);
        backend_rig rig;
        dray_error error = {0};
        dray_status status =
            backend_rig_open(&rig, &drayi_backend_posix, fault_os(), &allocator, 2, &error);
        if (status == DRAY_OK)
            backend_rig_close(&rig);
        else
            assert_int_equal(status, DRAY_E_NOMEM);
        assert_true(status == DRAY_OK || error.message[0]);
        assert_int_equal(counting_allocator_live_bytes(&counter), 0);
        if (!counting_allocator_failed(&counter))
            break;
    }
    assert_int_equal(fault_os_open_fds(), open_before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_io_error_fails_one_operation_and_no_other),
        cmocka_unit_test(every_failing_call_is_an_error_or_does_not_matter),
        cmocka_unit_test(interrupted_and_short_transfers_are_continued),
        cmocka_unit_test(ever_shorter_transfers_come_to_an_end),
        cmocka_unit_test(a_short_direct_transfer_goes_on_at_the_last_whole_block),
        cmocka_unit_test(endless_interruption_is_an_error),
        cmocka_unit_test(a_dying_ring_loses_no_operation),
        cmocka_unit_test(a_retired_ring_is_named_and_the_threads_take_over),
        cmocka_unit_test(a_disk_that_fills_up_is_nospace_and_the_written_part_is_counted),
        cmocka_unit_test(opening_fails_cleanly_or_does_without),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
