/// What every backend must do, checked for each one of this build and for the simulated one: over every
/// edge it offers, with and without the pool's threads, with and without io_uring.
///
/// A promise that does not apply to a backend stands in `exceptions` with its reason: NEVER, because of
/// what the backend is, or NOT_YET, because nobody has done it.
#include "core/components.h"
#include "support/backend_rig.h"
#include "support/backend_sim.h"
#include "support/device_rig.h"
#include "support/fault_os.h"
#include "support/loopback_remote.h"
#include "support/testing.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { room = 3 << 19, page = 4096, ops_max = 150 };

typedef enum how_long { NEVER, NOT_YET } how_long;

typedef struct exception {
    const char *backend, *promise;
    how_long how_long;
    const char *reason;
} exception;

/// promise, backend: why it is left out.
static const exception exceptions[] = {
    {"sim", "a file that ends early is an error with exact bytes", NEVER,
     "it counts whole runs only"},
    {"nixl", "a file that ends early is an error with exact bytes", NEVER,
     "NIXL does not say how many bytes arrived"},
};

/// One backend in one surrounding, and one edge of it.
typedef struct edge_stage {
    backend_rig rig;
    dray_edge edge;
    dray_device *device; // of the edge's family; NULL: an edge without devices
    dray_region *source, *target;
    uint8_t *source_memory, *target_memory;  // where the region is memory
    char source_path[256], target_path[256]; // where it is a file
    uint8_t *before, *after;                 // of the target
} edge_stage;

static uint8_t pattern[room + (1 << 20)]; // byte i of a source is pattern[i]
static char current[256];                 // backend, edge and promise, for the message of a failure

// --- both ends of an edge -------------------------------------------------------------------------------------

static bool is_memory(dray_storage storage)
{
    return storage == DRAY_STORAGE_SYSTEM || storage == DRAY_STORAGE_PINNED;
}

static bool is_on_device(dray_storage storage)
{
    return storage == DRAY_STORAGE_DEVICE || storage == DRAY_STORAGE_MANAGED;
}

/// The first device of the family that has both kinds of memory.
static dray_device *device_open(edge_stage *self)
{
    char name[48];
    snprintf(name, sizeof(name), "%s:0", self->edge.family->family);
    dray_device *device = NULL;
    dray_error error = {0};
    if (dray_device_open(self->rig.context, name, &device, &error) != DRAY_OK)
        fail_msg("%s", error.message);
    return device;
}

/// Between the host's memory and a region on a device, by the device itself.
static void device_move(const edge_stage *self, dray_region *to, dray_region *from)
{
    dray_error error = {0};
    if (device_rig_copy(self->device, to, 0, from, 0, room, &error) != DRAY_OK)
        fail_msg("%s", error.message);
}

static dray_region *region_around(const edge_stage *self, uint8_t *bytes)
{
    dray_region *region = NULL;
    dray_error error;
    assert_int_equal(dray_region_wrap(self->rig.context, DRAY_STORAGE_SYSTEM, bytes, room, NULL,
                                      NULL, &region, &error),
                     DRAY_OK);
    return region;
}

/// Pinned memory that the edge's device made, for backends that take no other; NULL: any will do.
static dray_region *pinned_by_device(const edge_stage *self, dray_storage storage,
                                     const dray_region *plain, uint64_t position)
{
    const dray_backend_ops *ops = self->rig.ops;
    if (storage != DRAY_STORAGE_PINNED || !self->device || !ops->accepts ||
        ops->accepts(self->rig.backend, plain, NULL) == DRAY_OK)
        return NULL;
    dray_region *region = device_rig_region(self->rig.context, self->device, storage, room);
    memcpy(dray_region_pointer(region), pattern + position, room);
    return region;
}

static void file_make(char *path, const uint8_t *bytes)
{
    const char *folder = getenv("TMPDIR");
    snprintf(path, 256, "%s/contract-XXXXXX", folder ? folder : "/tmp");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, room), room);
    close(fd);
}

static dray_region *end_open(edge_stage *self, dray_storage storage, uint64_t position,
                             uint8_t **memory, char *path)
{
    dray_region *region = NULL;
    dray_error error;
    dray_status status = DRAY_E_UNSUPPORTED;
    if (is_memory(storage) || storage == DRAY_STORAGE_REMOTE) {
        *memory = aligned_alloc(page, room);
        assert_non_null(*memory);
        memcpy(*memory, pattern + position, room);
    }
    if (storage == DRAY_STORAGE_REMOTE) {
        region = loopback_remote_open(&self->rig, *memory, room);
        status = DRAY_OK;
    } else if (is_memory(storage)) {
        status = dray_region_wrap(self->rig.context, storage, *memory, room, NULL, NULL, &region,
                                  &error);
        dray_region *other = pinned_by_device(self, storage, region, position);
        if (other) {
            dray_region_release(region);
            free(*memory);
            *memory = NULL;
            return other;
        }
    } else if (storage == DRAY_STORAGE_DISK) {
        file_make(path, pattern + position);
        dray_file_options options = {.struct_bytes = sizeof(options), .writable = 1};
        status = dray_region_open(self->rig.context, path, &options, &region, &error);
    } else {
        dray_region_options options = {.struct_bytes = sizeof(options),
                                       .storage = storage,
                                       .bytes = room,
                                       .device = is_on_device(storage) ? self->device : NULL};
        status = dray_region_create(self->rig.context, &options, &region, &error);
    }
    if (status == DRAY_OK && is_on_device(storage)) {
        dray_region *bytes = region_around(self, pattern + position);
        device_move(self, region, bytes);
        dray_region_release(bytes);
    }
    if (status != DRAY_OK)
        fail_msg("no region of kind %s", dray_storage_name(storage));
    return region;
}

static void end_close(dray_region *region, uint8_t *memory, char *path)
{
    dray_region_release(region);
    free(memory);
    if (path[0])
        unlink(path);
}

/// The bytes that a region holds now.
static void end_read(const edge_stage *self, const dray_region *region, const uint8_t *memory,
                     uint8_t *out)
{
    dray_region_native native;
    dray_region_get_native(region, &native);
    if (memory || native.storage == DRAY_STORAGE_PINNED)
        memcpy(out, memory ? memory : native.pointer, room);
    else if (native.storage == DRAY_STORAGE_DISK)
        assert_int_equal(
            drayi_pread_all(&drayi_os_linux, native.fd, native.name, out, room, 0, NULL, NULL),
            DRAY_OK);
    else if (is_on_device(native.storage)) {
        dray_region *bytes = region_around(self, out);
        device_move(self, bytes, (dray_region *)(uintptr_t)region);
        dray_region_release(bytes);
    }
}

static void end_attach(edge_stage *self, dray_region *region)
{
    dray_error error;
    if (self->rig.ops->attach)
        assert_int_equal(self->rig.ops->attach(self->rig.backend, region, &error), DRAY_OK);
}

static void end_detach(edge_stage *self, dray_region *region)
{
    if (self->rig.ops->detach)
        self->rig.ops->detach(self->rig.backend, region);
}

static void stage_open(edge_stage *self)
{
    self->source_memory = self->target_memory = NULL;
    self->source_path[0] = self->target_path[0] = '\0';
    self->device = self->edge.family ? device_open(self) : NULL;
    self->source = end_open(self, self->edge.from, 0, &self->source_memory, self->source_path);
    self->target = end_open(self, self->edge.to, 1 << 20, &self->target_memory, self->target_path);
    self->before = calloc(1, room);
    self->after = calloc(1, room);
    assert_true(self->before && self->after);
    end_read(self, self->target, self->target_memory, self->before);
    end_attach(self, self->source);
    end_attach(self, self->target);
}

static void stage_close(edge_stage *self)
{
    end_detach(self, self->source);
    end_detach(self, self->target);
    end_close(self->source, self->source_memory, self->source_path);
    end_close(self->target, self->target_memory, self->target_path);
    dray_device_release(self->device);
    free(self->before);
    free(self->after);
}

// --- operations --------------------------------------------------------------------------------------------------

static bool is_direct(const edge_stage *self)
{
    return self->edge.flags & DRAY_EDGE_DIRECT;
}

static uint64_t at_most(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/// A size that this edge takes, near the one wanted.
static uint64_t fit(const edge_stage *self, uint64_t bytes)
{
    if (self->edge.max_bytes)
        bytes = at_most(bytes, self->edge.max_bytes);
    return is_direct(self) ? (bytes + page - 1) / page * page : bytes;
}

static dray_segment segment_of(const edge_stage *self, uint64_t source_offset,
                               uint64_t target_offset, uint64_t bytes)
{
    return (dray_segment){.source = self->source,
                          .target = self->target,
                          .source_offset = source_offset,
                          .target_offset = target_offset,
                          .run_bytes = bytes};
}

static dray_op op_of(const edge_stage *self, const dray_segment *segments, uint32_t count)
{
    return (dray_op){.segments = segments, .segment_count = count, .edge = self->edge.id};
}

/// The run arrived, in what `after` holds; and is booked as expected there.
static void check_run(edge_stage *self, const dray_segment *segment, uint64_t source_offset,
                      uint64_t target_offset)
{
    if (self->edge.to == DRAY_STORAGE_NULL)
        return;
    if (memcmp(self->after + target_offset, pattern + source_offset, segment->run_bytes) != 0)
        fail_msg("a run of %" PRIu64 " bytes from %" PRIu64 " to %" PRIu64 " is wrong",
                 segment->run_bytes, source_offset, target_offset);
    memcpy(self->before + target_offset, self->after + target_offset, segment->run_bytes);
}

/// Nothing but the checked runs changed.
static void check_rest(edge_stage *self)
{
    if (self->edge.to != DRAY_STORAGE_NULL)
        assert_int_equal(memcmp(self->before, self->after, room), 0);
}

static void look(edge_stage *self)
{
    if (self->edge.to != DRAY_STORAGE_NULL)
        end_read(self, self->target, self->target_memory, self->after);
}

static void run_ok(edge_stage *self, dray_op *op, uint64_t bytes)
{
    backend_rig_run(&self->rig, op, 1);
    if (op->status != DRAY_OK)
        fail_msg("%s", op->error.message);
    assert_true(op->bytes_done == bytes);
}

// --- promises ------------------------------------------------------------------------------------------------------

static void moves_any_size_at_any_offset(edge_stage *self)
{
    static const uint64_t sizes[] = {1, 7, 512, page, page + 1, 65536 + 3, (1 << 20) + 5};
    static const uint64_t offsets[][2] = {{0, 0}, {page, 3 * page}, {1, 2}, {4095, 8191}};
    for (uint32_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (uint32_t k = 0; k < (is_direct(self) ? 2 : 4); k++) {
            dray_segment segment =
                segment_of(self, offsets[k][0], offsets[k][1], fit(self, sizes[i]));
            dray_op op = op_of(self, &segment, 1);
            run_ok(self, &op, segment.run_bytes);
            look(self);
            check_run(self, &segment, segment.source_offset, segment.target_offset);
            check_rest(self);
        }
    }
}

static void a_small_operation_that_is_waited_for_is_moved_too(edge_stage *self)
{
    dray_segment segment = segment_of(self, 0, page, fit(self, 100));
    dray_op op = op_of(self, &segment, 1);
    op.flags = DRAY_OP_SMALL_SYNC;
    run_ok(self, &op, segment.run_bytes);
    look(self);
    check_run(self, &segment, 0, page);
    check_rest(self);
}

/// Declining is allowed; doing a part and declining, too.
static void work_at_once_is_whole_or_can_still_be_submitted(edge_stage *self)
{
    const dray_backend_ops *ops = self->rig.ops;
    for (uint32_t flags = 0; ops->at_once && flags <= DRAY_OP_SMALL_SYNC; flags++) {
        dray_segment segment = segment_of(self, 0, (1 + flags) * page, fit(self, 5000));
        dray_op op = op_of(self, &segment, 1);
        op.flags = flags;
        if (ops->at_once(self->rig.backend, &op)) {
            if (op.status != DRAY_OK)
                fail_msg("%s", op.error.message);
            assert_true(op.bytes_done == segment.run_bytes);
        } else {
            run_ok(self, &op, segment.run_bytes);
        }
        look(self);
        check_run(self, &segment, 0, segment.target_offset);
        check_rest(self);
    }
}

static void whoever_awaits_is_woken(edge_stage *self)
{
    const dray_backend_ops *ops = self->rig.ops;
    if (!ops->await)
        return;
    dray_segment segment = segment_of(self, 0, 0, fit(self, 1 << 20));
    dray_op op = op_of(self, &segment, 1), *given = &op, *back = NULL;
    while (ops->submit(self->rig.backend, &given, 1) == 0)
        continue;
    while (ops->poll(self->rig.backend, &back, 1) == 0)
        ops->await(self->rig.backend, -1); // declining is allowed: then this spins
    assert_ptr_equal(back, &op);
    assert_int_equal(op.status, DRAY_OK);
    look(self);
    check_run(self, &segment, 0, 0);
    check_rest(self);
}

static void moves_every_segment_of_an_operation(edge_stage *self)
{
    enum { most = 1024 };
    static dray_segment segments[most];
    uint32_t count = self->edge.max_segments < most ? self->edge.max_segments : most;
    bool scatter = self->edge.flags & DRAY_EDGE_SCATTER,
         reads = self->edge.from == DRAY_STORAGE_DISK;
    uint64_t bytes = is_direct(self) ? page : 37, stride = is_direct(self) ? 2 * page : 50;
    if (count > room / stride - 2)
        count = (uint32_t)(room / stride - 2);
    if (self->edge.max_bytes && count > self->edge.max_bytes / bytes)
        count = (uint32_t)(self->edge.max_bytes / bytes);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t near = i * bytes, far = i * stride;
        segments[i] =
            segment_of(self, scatter && reads ? near : far, scatter && !reads ? near : far, bytes);
    }
    dray_op op = op_of(self, segments, count);
    run_ok(self, &op, count * bytes);
    look(self);
    for (uint32_t i = 0; i < count; i++)
        check_run(self, &segments[i], segments[i].source_offset, segments[i].target_offset);
    check_rest(self);
}

static void carries_out_as_many_loops_as_it_says(edge_stage *self)
{
    static const dray_loop loops[DRAY_LOOPS_MAX] = {
        {2, 1000, 100000}, {3, 500, 20000}, {4, 60, 2000}, {5, 9, 40}};
    uint32_t count = self->edge.max_loops;
    if (count == 0)
        return;
    dray_segment segment = segment_of(self, 3, 5, 11);
    segment.loops = loops + DRAY_LOOPS_MAX - count;
    segment.loop_count = count;
    uint64_t runs = 1;
    for (uint32_t i = 0; i < count; i++)
        runs *= segment.loops[i].count;
    dray_op op = op_of(self, &segment, 1);
    run_ok(self, &op, runs * segment.run_bytes);
    look(self);
    for (uint64_t run = 0; run < runs; run++) {
        uint64_t rest = run, source = 3, target = 5;
        for (uint32_t i = count; i-- > 0; rest /= segment.loops[i].count) {
            source += rest % segment.loops[i].count * segment.loops[i].source_stride;
            target += rest % segment.loops[i].count * segment.loops[i].target_stride;
        }
        check_run(self, &segment, source, target);
    }
    check_rest(self);
}

/// `ops_max` operations side by side.
static void ops_make(const edge_stage *self, dray_segment *segments, dray_op *ops)
{
    uint64_t bytes = is_direct(self) ? page : 1000, stride = is_direct(self) ? 2 * page : 3000;
    for (uint32_t i = 0; i < ops_max; i++) {
        segments[i] = segment_of(self, i * stride, i * stride, bytes);
        ops[i] = op_of(self, &segments[i], 1);
    }
}

static void hands_back_every_operation_once_however_many_wait(edge_stage *self)
{
    static dray_segment segments[ops_max];
    static dray_op ops[ops_max];
    ops_make(self, segments, ops);
    backend_rig_run(&self->rig, ops, ops_max); // checks that each comes back once
    look(self);
    for (uint32_t i = 0; i < ops_max; i++) {
        assert_int_equal(ops[i].status, DRAY_OK);
        assert_true(ops[i].bytes_done == segments[i].run_bytes);
        check_run(self, &segments[i], segments[i].source_offset, segments[i].target_offset);
    }
    check_rest(self);
}

/// Cancelled operations come back too, as cancelled or as done; what they call done is there.
static void a_cancelled_operation_still_comes_back(edge_stage *self)
{
    static dray_segment segments[ops_max];
    static dray_op ops[ops_max];
    static dray_op *pending[ops_max];
    if (!self->rig.ops->cancel)
        return;
    ops_make(self, segments, ops);
    for (uint32_t i = 0; i < ops_max; i++)
        pending[i] = &ops[i];
    uint32_t taken = self->rig.ops->submit(self->rig.backend, pending, ops_max);
    assert_in_range(taken, 1, ops_max);
    for (uint32_t i = 0; i < taken; i++)
        self->rig.ops->cancel(self->rig.backend, &ops[i]);
    bool back[ops_max] = {false};
    int64_t deadline = drayi_os_linux.now_ns() + INT64_C(10000000000);
    for (uint32_t returned = 0; returned < taken;) {
        dray_op *some[16];
        uint32_t count = self->rig.ops->poll(self->rig.backend, some, 16);
        for (uint32_t i = 0; i < count; i++) {
            assert_in_range((uintptr_t)some[i], (uintptr_t)ops, (uintptr_t)(ops + taken - 1));
            assert_false(back[some[i] - ops]);
            back[some[i] - ops] = true;
        }
        returned += count;
        assert_true(drayi_os_linux.now_ns() < deadline);
    }
    look(self);
    for (uint32_t i = 0; i < taken; i++) {
        assert_true(ops[i].status == DRAY_OK || ops[i].status == DRAY_E_CANCELLED);
        if (ops[i].status == DRAY_OK)
            check_run(self, &segments[i], segments[i].source_offset, segments[i].target_offset);
        else
            assert_true(ops[i].error.status == DRAY_E_CANCELLED && ops[i].error.message[0]);
    }
}

static void an_armed_descriptor_wakes_its_sleeper(edge_stage *self)
{
    if (!self->rig.ops->arm) {
        assert_true(self->rig.ops->flags & DRAY_BACKEND_MUST_POLL);
        return;
    }
    assert_false(self->rig.ops->flags & DRAY_BACKEND_MUST_POLL);
    dray_segment segment = segment_of(self, 0, 0, fit(self, 1 << 20));
    dray_op op = op_of(self, &segment, 1);
    dray_op *one = &op;
    while (self->rig.ops->submit(self->rig.backend, &one, 1) == 0)
        continue;
    dray_op *back = NULL;
    int64_t deadline = drayi_os_linux.now_ns() + INT64_C(10000000000);
    while (self->rig.ops->poll(self->rig.backend, &back, 1) == 0) {
        int fd = -1;
        dray_error error;
        dray_status status = self->rig.ops->arm(self->rig.backend, &fd, &error);
        assert_true(status == DRAY_OK || status == DRAY_E_BUSY || status == DRAY_E_UNSUPPORTED);
        if (status == DRAY_OK)
            assert_int_equal(drayi_os_linux.wait_fd(fd, INT64_C(10000000000)), 1);
        assert_true(drayi_os_linux.now_ns() < deadline);
    }
    assert_ptr_equal(back, &op);
    assert_int_equal(op.status, DRAY_OK);
}

/// The region promises more than the file still has.
static void a_file_that_ends_early_is_an_error_with_exact_bytes(edge_stage *self)
{
    if (self->edge.from != DRAY_STORAGE_DISK)
        return;
    uint64_t bytes = fit(self, 1 << 20), left = is_direct(self) ? 40 * page : 40 * page + 123;
    dray_segment segment = segment_of(self, page, page, bytes);
    dray_op op = op_of(self, &segment, 1);
    assert_int_equal(truncate(self->source_path, (off_t)(page + left)), 0);
    backend_rig_run(&self->rig, &op, 1);
    assert_true(op.status == DRAY_E_CORRUPT || op.status == DRAY_E_IO);
    assert_int_equal(op.error.status, op.status);
    if (op.bytes_done > left)
        fail_msg("%" PRIu64 " bytes done, %" PRIu64 " were there", op.bytes_done, left);
    look(self);
    if (self->edge.to != DRAY_STORAGE_NULL && op.bytes_done)
        assert_int_equal(memcmp(self->after + page, pattern + page, op.bytes_done), 0);
    assert_true(op.bytes_done == left);
}

static const struct promise {
    const char *text;
    void (*check)(edge_stage *self);
} promises[] = {
    {"any size at any offset", moves_any_size_at_any_offset},
    {"a small operation that is waited for", a_small_operation_that_is_waited_for_is_moved_too},
    {"work at once is whole, or left to submit", work_at_once_is_whole_or_can_still_be_submitted},
    {"whoever awaits is woken", whoever_awaits_is_woken},
    {"every segment of an operation", moves_every_segment_of_an_operation},
    {"as many loops as it says", carries_out_as_many_loops_as_it_says},
    {"every operation comes back once", hands_back_every_operation_once_however_many_wait},
    {"a cancelled operation comes back", a_cancelled_operation_still_comes_back},
    {"an armed descriptor wakes its sleeper", an_armed_descriptor_wakes_its_sleeper},
    {"a file that ends early is an error with exact bytes",
     a_file_that_ends_early_is_an_error_with_exact_bytes},
};

// --- every backend, every surrounding, every edge ------------------------------------------------------------------

static const exception *exception_of(const char *backend, const char *promise)
{
    for (size_t i = 0; i < sizeof(exceptions) / sizeof(exceptions[0]); i++) {
        if (strcmp(exceptions[i].backend, backend) == 0 &&
            strcmp(exceptions[i].promise, promise) == 0)
            return &exceptions[i];
    }
    return NULL;
}

static bool can_direct(const edge_stage *self)
{
    dray_region_native source, target;
    dray_region_get_native(self->source, &source);
    dray_region_get_native(self->target, &target);
    return source.direct_fd >= 0 || target.direct_fd >= 0;
}

static void check_edge(edge_stage *self, const char *surrounding)
{
    for (size_t i = 0; i < sizeof(promises) / sizeof(promises[0]); i++) {
        const char *backend = self->rig.ops->name;
        if (exception_of(backend, promises[i].text))
            continue;
        snprintf(current, sizeof(current), "%s, %s, %s -> %s%s: %s", backend, surrounding,
                 dray_storage_name(self->edge.from), dray_storage_name(self->edge.to),
                 is_direct(self) ? " past the page cache" : "", promises[i].text);
        stage_open(self);
        if (is_direct(self) && !can_direct(self))
            print_message("passed over: the file system here refuses direct I/O: %s\n", current);
        else
            promises[i].check(self);
        stage_close(self);
    }
}

static void check_table(const dray_backend_ops *ops, uint32_t threads, const drayi_os *os,
                        const char *surrounding)
{
    edge_stage stage = {0};
    dray_error error;
    snprintf(current, sizeof(current), "%s, %s: open", ops->name, surrounding);
    assert_int_equal(ops->abi, DRAY_BACKEND_ABI);
    dray_status status = backend_rig_open(&stage.rig, ops, os, NULL, threads, &error);
    if (status == DRAY_E_UNSUPPORTED) {
        print_message("passed over: %s cannot open here: %s\n", ops->name, error.message);
        return;
    }
    assert_int_equal(status, DRAY_OK);
    dray_edge edges[64], again[64];
    uint32_t count = ops->edges(stage.rig.backend, edges, 64);
    assert_in_range(count, 1, 64);
    assert_int_equal(ops->edges(stage.rig.backend, NULL, 0), count);
    assert_int_equal(ops->edges(stage.rig.backend, again, 64), count);
    for (uint32_t i = 0; i < count; i++) {
        assert_true(edges[i].id == again[i].id && edges[i].from == again[i].from &&
                    edges[i].to == again[i].to);
        stage.edge = edges[i];
        check_edge(&stage, surrounding);
    }
    backend_rig_close(&stage.rig);
}

static void check_backend(const dray_backend_ops *ops)
{
    fault_os_reset();
    device_rig_reset();
    if (ops->flags & DRAY_BACKEND_ON_DEMAND) { // devices: no file, no ring
        check_table(ops, 0, device_rig_os(), "no threads");
        check_table(ops, 2, device_rig_os(), "two threads");
        standin_counts counts = device_rig_standin_counts();
        if (counts.misuse)
            fail_msg("%s: %s", ops->name, counts.last_misuse);
        assert_int_equal(counts.contexts + counts.allocations + counts.streams + counts.events, 0);
        return;
    }
    check_table(ops, 0, fault_os(), "no threads");
    check_table(ops, 2, fault_os(), "two threads");
    fault_os_make_absent(FAULT_NO_URING);
    check_table(ops, 0, fault_os(), "no threads, no io_uring");
    check_table(ops, 2, fault_os(), "two threads, no io_uring");
    fault_os_reset();
}

static void every_backend_of_this_build_keeps_its_promises(void **state)
{
    (void)state;
    for (const dray_backend_ops *const *each = drayi_components.backends; *each; each++)
        check_backend(*each);
    current[0] = '\0';
}

static void the_simulated_backend_keeps_them_too(void **state)
{
    (void)state;
    backend_sim *sim = &backend_sims[0];
    backend_sim_reset(sim, 1);
    sim->reorders = true;
    sim->delay_polls = 3;
    sim->refuse_percent = 30;
    dray_edge *copy = backend_sim_edge(sim, DRAY_STORAGE_SYSTEM, DRAY_STORAGE_SYSTEM);
    copy->max_loops = 4;
    copy->max_segments = 16;
    backend_sim_edge(sim, DRAY_STORAGE_DISK, DRAY_STORAGE_SYSTEM);
    backend_sim_edge(sim, DRAY_STORAGE_DISK, DRAY_STORAGE_SYSTEM)->flags = DRAY_EDGE_DIRECT;
    backend_sim_edge(sim, DRAY_STORAGE_SYSTEM, DRAY_STORAGE_DISK)->flags = DRAY_EDGE_SCATTER;
    backend_sim_edge(sim, DRAY_STORAGE_SYSTEM, DRAY_STORAGE_NULL);
    check_table(&backend_sim_ops[0], 0, &drayi_os_linux, "seed 1");
    current[0] = '\0';
    assert_string_equal(sim->violation, ""); // so this suite keeps the caller's side
}

static void every_exception_names_a_backend_and_a_promise(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(exceptions) / sizeof(exceptions[0]); i++) {
        bool backend = strcmp(exceptions[i].backend, backend_sim_ops[0].name) == 0, promise = false;
        for (const dray_backend_ops *const *each = drayi_components.backends; *each; each++)
            backend = backend || strcmp((*each)->name, exceptions[i].backend) == 0;
        for (size_t k = 0; k < sizeof(promises) / sizeof(promises[0]); k++)
            promise = promise || strcmp(promises[k].text, exceptions[i].promise) == 0;
        assert_true(backend && promise);
        print_message("%s: %s: %s, %s\n", exceptions[i].backend, exceptions[i].promise,
                      exceptions[i].how_long == NEVER ? "never" : "not yet", exceptions[i].reason);
    }
}

static int print_current(void **state)
{
    (void)state;
    if (current[0])
        print_error("broken: %s\n", current);
    return 0;
}

int main(void)
{
    backend_rig_fill(pattern, sizeof(pattern), 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(every_backend_of_this_build_keeps_its_promises, print_current),
        cmocka_unit_test_teardown(the_simulated_backend_keeps_them_too, print_current),
        cmocka_unit_test(every_exception_names_a_backend_and_a_promise),
    };
    return cmocka_run_group_tests_name("contract of backends", tests, NULL, NULL);
}
