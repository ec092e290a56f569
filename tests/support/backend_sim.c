#include "backend_sim.h"

#include "base/env.h"
#include "os/os.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

backend_sim backend_sims[2];

static backend_sim *sim_of(dray_backend *self)
{
    return (backend_sim *)(void *)self;
}

void backend_sim_reset(backend_sim *sim, uint64_t seed)
{
    memset(sim, 0, sizeof(*sim));
    sim->random.state = seed;
    sim->fail_status = DRAY_E_IO;
    sim->event_fd = -1;
}

dray_edge *backend_sim_edge(backend_sim *sim, dray_storage from, dray_storage to)
{
    if (sim->edge_count == BACKEND_SIM_EDGES)
        abort();
    dray_edge *edge = &sim->edges[sim->edge_count];
    *edge = (dray_edge){.from = from, .to = to, .id = 100 + sim->edge_count, .max_segments = 1};
    sim->edge_count++;
    return edge;
}

static void DRAY_PRINTF(2, 3) violated(backend_sim *sim, const char *format, ...)
{
    if (sim->violation[0])
        return; // the first one tells
    va_list args;
    va_start(args, format);
    vsnprintf(sim->violation, sizeof(sim->violation), format, args);
    va_end(args);
}

static dray_status sim_open(backend_sim *sim, drayi_env *env, dray_backend **out_backend,
                            dray_error *error)
{
    if (sim->open_status != DRAY_OK)
        return dray_fail(error, sim->open_status, "the simulated machine has no such device");
    sim->event_fd = env->os->event_fd();
    if (sim->event_fd < 0)
        return dray_fail_os(error, -sim->event_fd, "eventfd", "open");
    uint64_t one = 1;
    env->os->write(sim->event_fd, &one,
                   sizeof(one)); // time is counted in polls: there is always news
    sim->env = env;
    sim->is_open = true;
    *out_backend = (dray_backend *)(void *)sim;
    return DRAY_OK;
}

static dray_status sim_open_first(drayi_env *env, dray_backend **out_backend, dray_error *error)
{
    return sim_open(&backend_sims[0], env, out_backend, error);
}

static dray_status sim_open_second(drayi_env *env, dray_backend **out_backend, dray_error *error)
{
    return sim_open(&backend_sims[1], env, out_backend, error);
}

static void sim_close(dray_backend *self)
{
    backend_sim *sim = sim_of(self);
    if (sim->pending_count)
        violated(sim, "closed with %u operations in flight", sim->pending_count);
    drayi_close_file(sim->env->os, sim->event_fd);
    sim->event_fd = -1;
    sim->is_open = false;
}

static uint32_t sim_edges(dray_backend *self, dray_edge *out_edges, uint32_t capacity)
{
    backend_sim *sim = sim_of(self);
    for (uint32_t i = 0; i < sim->edge_count && i < capacity; i++)
        out_edges[i] = sim->edges[i];
    return sim->edge_count;
}

// --- the caller's side of the contract ----------------------------------------------------------------------

static const dray_edge *edge_of(backend_sim *sim, uint32_t id)
{
    for (uint32_t i = 0; i < sim->edge_count; i++) {
        if (sim->edges[i].id == id)
            return &sim->edges[i];
    }
    violated(sim, "edge %u is not one of its own", id);
    return NULL;
}

static uint64_t segment_bytes(const dray_segment *segment)
{
    uint64_t bytes = segment->run_bytes;
    for (uint32_t i = 0; i < segment->loop_count; i++)
        bytes *= segment->loops[i].count;
    return bytes;
}

static uint64_t op_bytes(const dray_op *op)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < op->segment_count; i++)
        bytes += segment_bytes(&op->segments[i]);
    return bytes;
}

static void check_inside(backend_sim *sim, const dray_segment *segment, bool target)
{
    dray_region_native native;
    dray_region_get_native(target ? segment->target : segment->source, &native);
    uint64_t end = (target ? segment->target_offset : segment->source_offset) + segment->run_bytes;
    for (uint32_t i = 0; i < segment->loop_count; i++) {
        const dray_loop *loop = &segment->loops[i];
        end += (loop->count - 1) * (target ? loop->target_stride : loop->source_stride);
    }
    if (end > native.bytes)
        violated(sim, "a segment ends at %" PRIu64 " of %s, which has %" PRIu64 " bytes", end,
                 native.name, native.bytes);
}

static void check_direct(backend_sim *sim, const dray_segment *segment)
{
    dray_region_native source, target;
    dray_region_get_native(segment->source, &source);
    dray_region_get_native(segment->target, &target);
    bool reads = source.storage == DRAY_STORAGE_DISK;
    const dray_region_native *file = reads ? &source : &target, *memory = reads ? &target : &source;
    uint64_t position =
        file->file_offset + (reads ? segment->source_offset : segment->target_offset);
    uint64_t address = (uint64_t)(uintptr_t)memory->pointer +
                       (reads ? segment->target_offset : segment->source_offset);
    if (file->direct_fd < 0)
        violated(sim, "direct I/O on %s, which has no such descriptor", file->name);
    else if (position % file->direct_offset_align ||
             segment->run_bytes % file->direct_offset_align || address % file->direct_memory_align)
        violated(sim,
                 "direct I/O of %" PRIu64 " bytes at %" PRIu64 " of %s and address %" PRIx64
                 " is not aligned",
                 segment->run_bytes, position, file->name, address);
}

static void check_op(backend_sim *sim, const dray_op *op)
{
    const dray_edge *edge = edge_of(sim, op->edge);
    if (!edge)
        return;
    if (op->segment_count == 0 || op->segment_count > edge->max_segments)
        violated(sim, "%u segments, the edge takes 1 to %u", op->segment_count, edge->max_segments);
    if (edge->max_bytes && op_bytes(op) > edge->max_bytes)
        violated(sim, "%" PRIu64 " bytes, the edge takes %" PRIu64, op_bytes(op), edge->max_bytes);
    for (uint32_t i = 0; i < op->segment_count; i++) {
        const dray_segment *segment = &op->segments[i], *before = i ? segment - 1 : NULL;
        if (!segment->source || !segment->target)
            violated(sim, "a segment without regions");
        if (dray_region_storage(segment->source) != edge->from ||
            dray_region_storage(segment->target) != edge->to)
            violated(sim, "a segment of other kinds than the edge");
        if (segment->loop_count > edge->max_loops || segment_bytes(segment) == 0)
            violated(sim, "%u loops, %" PRIu64 " bytes", segment->loop_count,
                     segment_bytes(segment));
        check_inside(sim, segment, false);
        check_inside(sim, segment, true);
        if (edge->flags & DRAY_EDGE_DIRECT)
            check_direct(sim, segment);
        bool reads = edge->from == DRAY_STORAGE_DISK;
        if ((edge->flags & DRAY_EDGE_SCATTER) && before &&
            (reads ? before->source_offset + before->run_bytes != segment->source_offset
                   : before->target_offset + before->run_bytes != segment->target_offset))
            violated(sim, "segments that are no neighbours in the file");
    }
}

// --- moving bytes ---------------------------------------------------------------------------------------------

static dray_status side_move(backend_sim *sim, const dray_region *region, uint64_t offset,
                             void *buffer, uint64_t bytes, bool write, bool direct,
                             dray_error *error)
{
    const drayi_os *os = sim->env->os;
    dray_region_native native;
    dray_region_get_native(region, &native);
    if (native.storage == DRAY_STORAGE_NULL)
        return DRAY_OK;
    if (native.storage != DRAY_STORAGE_DISK) {
        char *at = (char *)native.pointer + offset;
        memcpy(write ? at : buffer, write ? buffer : at, bytes);
        return DRAY_OK;
    }
    int fd = direct ? native.direct_fd : native.fd;
    if (write)
        return drayi_pwrite_all(os, fd, native.name, buffer, bytes, native.file_offset + offset,
                                error);
    return drayi_pread_all(os, fd, native.name, buffer, bytes, native.file_offset + offset, NULL,
                           error);
}

static dray_status run_move(backend_sim *sim, const dray_segment *segment, uint64_t source_offset,
                            uint64_t target_offset, bool direct, dray_error *error)
{
    dray_region_native target;
    dray_region_get_native(segment->target, &target);
    if (target.pointer) // read straight into place, as a real backend would
        return side_move(sim, segment->source, source_offset, (char *)target.pointer + target_offset,
                         segment->run_bytes, false, direct, error);
    dray_region_native source;
    dray_region_get_native(segment->source, &source);
    if (source.pointer)
        return side_move(sim, segment->target, target_offset, (char *)source.pointer + source_offset,
                         segment->run_bytes, true, direct, error);
    char *buffer = aligned_alloc(4096, (segment->run_bytes + 4095) / 4096 * 4096);
    if (!buffer)
        abort();
    dray_status status = side_move(sim, segment->source, source_offset, buffer, segment->run_bytes,
                                   false, direct, error);
    if (status == DRAY_OK)
        status = side_move(sim, segment->target, target_offset, buffer, segment->run_bytes, true,
                           direct, error);
    free(buffer);
    return status;
}

static dray_status segment_move(backend_sim *sim, const dray_segment *segment, uint32_t level,
                                uint64_t source_offset, uint64_t target_offset, bool direct,
                                uint64_t *bytes_done, dray_error *error)
{
    if (level == segment->loop_count) {
        dray_status status = run_move(sim, segment, source_offset, target_offset, direct, error);
        if (status == DRAY_OK)
            *bytes_done += segment->run_bytes;
        return status;
    }
    for (uint64_t i = 0; i < segment->loops[level].count; i++) {
        dray_status status = segment_move(sim, segment, level + 1, source_offset, target_offset,
                                          direct, bytes_done, error);
        if (status != DRAY_OK)
            return status;
        source_offset += segment->loops[level].source_stride;
        target_offset += segment->loops[level].target_stride;
    }
    return DRAY_OK;
}

/// The first `count` segments, in order.
static void op_move(backend_sim *sim, dray_op *op, uint32_t count)
{
    const dray_edge *edge = edge_of(sim, op->edge);
    bool direct = edge && (edge->flags & DRAY_EDGE_DIRECT);
    op->status = DRAY_OK;
    for (uint32_t i = 0; op->status == DRAY_OK && i < count; i++) {
        const dray_segment *segment = &op->segments[i];
        op->status = segment_move(sim, segment, 0, segment->source_offset, segment->target_offset,
                                  direct, &op->bytes_done, &op->error);
    }
}

// --- submit and poll ---------------------------------------------------------------------------------------------

static uint32_t sim_submit(dray_backend *self, dray_op **ops, uint32_t count)
{
    backend_sim *sim = sim_of(self);
    uint32_t capacity = sim->capacity ? sim->capacity : BACKEND_SIM_OPS, taken = count;
    if (sim->pending_count + taken > capacity)
        taken = capacity > sim->pending_count ? capacity - sim->pending_count : 0;
    if (taken && sequence_percent(&sim->random, sim->refuse_percent))
        taken = (uint32_t)sequence_below(&sim->random, taken);
    sim->refused += count - taken;
    for (uint32_t i = 0; i < taken; i++) {
        for (uint32_t k = 0; k < sim->pending_count; k++) {
            if (sim->pending[k].op == ops[i])
                violated(sim, "an operation was submitted while it is in flight");
        }
        check_op(sim, ops[i]);
        sim->small_sync += (ops[i]->flags & DRAY_OP_SMALL_SYNC) != 0;
        sim->pending[sim->pending_count++] = (struct backend_sim_pending){
            .op = ops[i],
            .due = sim->polls + 1 + sequence_below(&sim->random, (uint64_t)sim->delay_polls + 1)};
        sim->submitted++;
    }
    if (sim->pending_count > sim->most_in_flight)
        sim->most_in_flight = sim->pending_count;
    return taken;
}

static void op_finish(backend_sim *sim, dray_op *op, bool cancelled)
{
    op->bytes_done = 0;
    sim->completed++;
    if (cancelled) {
        op->status = dray_fail(&op->error, DRAY_E_CANCELLED, "simulated: cancelled in flight");
        return;
    }
    bool fails = sim->fail_at && --sim->fail_at == 0;
    if (!fails) {
        op_move(sim, op, op->segment_count);
        return;
    }
    op_move(sim, op,
            (uint32_t)sequence_below(&sim->random, op->segment_count)); // a part of it did arrive
    op->status = sim->fail_status;
    if (!sim->fail_silently)
        dray_fail(&op->error, sim->fail_status, "simulated: it broke after %" PRIu64 " bytes",
                  op->bytes_done);
}

/// Due operations to the front, in any order or in that of submission. Returns how many.
static uint32_t due_first(backend_sim *sim)
{
    uint32_t due = 0;
    for (uint32_t i = 0; i < sim->pending_count; i++) {
        if (sim->pending[i].due > sim->polls) {
            if (sim->reorders)
                continue;
            break;
        }
        struct backend_sim_pending found = sim->pending[i];
        memmove(&sim->pending[due + 1], &sim->pending[due], (i - due) * sizeof(found));
        sim->pending[due++] = found;
    }
    for (uint32_t i = due; sim->reorders && i > 1; i--) {
        uint32_t other = (uint32_t)sequence_below(&sim->random, i);
        struct backend_sim_pending swap = sim->pending[i - 1];
        sim->pending[i - 1] = sim->pending[other];
        sim->pending[other] = swap;
    }
    return due;
}

/// Returns how many entries of out_ops it wrote.
static uint32_t tell_lie(backend_sim *sim, dray_op *op, dray_op **out_ops, uint32_t room)
{
    backend_sim_lie lie = sim->lie;
    sim->lie = BACKEND_SIM_HONEST;
    if (lie == BACKEND_SIM_SHORT_OK)
        op->bytes_done--;
    if (lie == BACKEND_SIM_NO_STATUS)
        op->status = (dray_status)0x7fffffff; // as the agent left it
    if (lie == BACKEND_SIM_TWICE && room)
        *out_ops = op;
    if (lie == BACKEND_SIM_UNKNOWN && room)
        *out_ops = &sim->unknown_op;
    return room && (lie == BACKEND_SIM_TWICE || lie == BACKEND_SIM_UNKNOWN) ? 1 : 0;
}

static uint32_t sim_poll(dray_backend *self, dray_op **out_ops, uint32_t capacity)
{
    backend_sim *sim = sim_of(self);
    sim->polls++;
    uint32_t count = due_first(sim), given = 0;
    for (uint32_t i = 0; i < count && given < capacity; i++) {
        struct backend_sim_pending *done = &sim->pending[0];
        dray_op *op = done->op;
        op_finish(sim, op, done->cancelled);
        memmove(done, done + 1, --sim->pending_count * sizeof(*done));
        out_ops[given++] = op;
        if (sim->lie != BACKEND_SIM_HONEST)
            given += tell_lie(sim, op, out_ops + given, capacity - given);
    }
    return given;
}

/// Sometimes it does a part and then says no.
static bool sim_at_once(dray_backend *self, dray_op *op)
{
    backend_sim *sim = sim_of(self);
    if (sim->pending_count)
        violated(sim, "asked to work at once with %u operations in flight", sim->pending_count);
    check_op(sim, op);
    if (!sequence_percent(&sim->random, sim->at_once_percent)) {
        op->bytes_done = 0;
        op_move(sim, op, (uint32_t)sequence_below(&sim->random, op->segment_count));
        return false;
    }
    sim->at_once++;
    sim->submitted++;
    op_finish(sim, op, false);
    dray_op *unused;
    if (sim->lie != BACKEND_SIM_HONEST)
        tell_lie(sim, op, &unused, 0);
    return true;
}

static void sim_cancel(dray_backend *self, dray_op *op)
{
    backend_sim *sim = sim_of(self);
    for (uint32_t i = 0; i < sim->pending_count; i++) {
        if (sim->pending[i].op == op &&
            sequence_percent(&sim->random, 50)) { // as real ones: not always in time
            sim->pending[i].cancelled = true;
            sim->cancelled++;
        }
    }
}

static dray_status sim_arm(dray_backend *self, int *out_fd, dray_error *error)
{
    backend_sim *sim = sim_of(self);
    sim->arms++;
    if (sim->cannot_arm)
        return dray_fail(error, DRAY_E_UNSUPPORTED, "simulated: it must be polled");
    if (sequence_percent(&sim->random, 20))
        return dray_fail(error, DRAY_E_BUSY, "simulated: there is news");
    *out_fd = sim->event_fd;
    return DRAY_OK;
}

static dray_status sim_attach(dray_backend *self, dray_region *region, dray_error *error)
{
    (void)region;
    backend_sim *sim = sim_of(self);
    if (sim->attach_fail_at && --sim->attach_fail_at == 0)
        return dray_fail(error, DRAY_E_DEVICE, "simulated: the region cannot be registered");
    sim->attached++;
    return DRAY_OK;
}

static void sim_detach(dray_backend *self, dray_region *region)
{
    (void)region;
    sim_of(self)->detached++;
}

const dray_backend_ops backend_sim_ops[2] = {
    {
        .abi = DRAY_BACKEND_ABI,
        .name = "sim",
        .open = sim_open_first,
        .close = sim_close,
        .edges = sim_edges,
        .submit = sim_submit,
        .poll = sim_poll,
        .attach = sim_attach,
        .detach = sim_detach,
        .cancel = sim_cancel,
        .arm = sim_arm,
    },
    {
        .abi = DRAY_BACKEND_ABI,
        .name = "sim2",
        .open = sim_open_second,
        .close = sim_close,
        .edges = sim_edges,
        .submit = sim_submit,
        .poll = sim_poll,
        .attach = sim_attach,
        .detach = sim_detach,
        .cancel = sim_cancel,
        .arm = sim_arm,
        .at_once = sim_at_once,
    },
};
