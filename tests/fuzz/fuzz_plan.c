/// Bytes become a list of copies over memory and two files. Whatever they say, the planner either refuses,
/// or gives a plan that, carried out on labels instead of bytes, does exactly what plain loops do: in
/// bounds, within the edges' limits, no target written twice.
///
/// It refuses for overlap exactly when there is some.
#include "core/context.h"
#include "dray/transfer.h"
#include "support/backend_sim.h"
#include "support/fake_files.h"
#include "transfer/plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    space_bytes = 1 << 16,
    spaces = 3, // memory, file 0, file 1
    copies_max = 32,
    region_count = 8,
    slot_max = 1 << 20,
};
#define WALKED_MAX (UINT64_C(1) << 18) // bytes that are worth carrying out
#define ALLOCATED_MAX (UINT64_C(8) << 20)

static _Alignas(4096) uint8_t memory[space_bytes], files[2][space_bytes];
static uint64_t allocated;
static dray_context *context;
static dray_agent *agent;
static dray_region *regions[region_count];

/// Who wrote a byte: 1 + space * space_bytes + position of its source; 0: nobody.
static uint32_t wanted[spaces][space_bytes], got[spaces][space_bytes], slot[slot_max];
static uint8_t is_source[spaces][space_bytes];

#define MUST(condition)                                                     \
    do {                                                                    \
        if (!(condition)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                        \
        }                                                                   \
    } while (0)

static void *capped_alloc(void *self, size_t bytes)
{
    (void)self;
    if (allocated + bytes > ALLOCATED_MAX)
        return NULL;
    allocated += bytes;
    return malloc(bytes);
}

static void capped_free(void *self, void *pointer, size_t bytes)
{
    (void)self;
    allocated -= bytes;
    free(pointer);
}

// --- the world, made once -----------------------------------------------------------------------------------------

static void edges_make(backend_sim *sim)
{
    backend_sim_reset(sim, 1);
    dray_edge *copy = backend_sim_edge(sim, DRAY_STORAGE_SYSTEM, DRAY_STORAGE_SYSTEM);
    copy->max_segments = 3;
    copy->max_loops = 2;
    copy->max_bytes = 5000;
    for (uint32_t i = 0; i < 4; i++) {
        bool reads = i < 2, direct = i & 1;
        dray_edge *edge = backend_sim_edge(sim, reads ? DRAY_STORAGE_DISK : DRAY_STORAGE_SYSTEM,
                                           reads ? DRAY_STORAGE_SYSTEM : DRAY_STORAGE_DISK);
        edge->flags = DRAY_EDGE_SCATTER | (direct ? DRAY_EDGE_DIRECT : 0u);
        edge->max_bytes = reads ? 16384 : 0;
        edge->max_segments = 4;
        edge->best_depth = 3;
    }
    dray_edge *drop = backend_sim_edge(sim, DRAY_STORAGE_SYSTEM, DRAY_STORAGE_NULL);
    drop->max_loops = 4;
}

static dray_region *file_open(const char *path)
{
    dray_file_options options = {.struct_bytes = sizeof(options), .writable = 1};
    dray_region *region;
    MUST(dray_region_open(context, path, &options, &region, NULL) == DRAY_OK);
    return region;
}

static void world_make(void)
{
    static const dray_backend_ops *const backends[] = {&backend_sim_ops[0], NULL};
    static drayi_os os;
    os = fake_files_os();
    edges_make(&backend_sims[0]);
    fake_files[0] = (fake_file){files[0], space_bytes, 512, 512, 0, 0};
    fake_files[1] = (fake_file){files[1], space_bytes, 0, 0, 0, 0};
    dray_context_options options = {.struct_bytes = sizeof(options),
                                    .allocator = {.alloc = capped_alloc, .free = capped_free},
                                    .backends = backends};
    MUST(drayi_context_create_with(&options, &os, &context, NULL) == DRAY_OK);
    dray_agent_options named = {.struct_bytes = sizeof(named),
                                .backends = (const char *const[]){"sim", NULL}};
    MUST(dray_agent_create(context, &named, &agent, NULL) == DRAY_OK);
    MUST(dray_region_wrap(context, DRAY_STORAGE_SYSTEM, memory, space_bytes, NULL, NULL,
                          &regions[0], NULL) == DRAY_OK);
    MUST(dray_region_view(regions[0], 1000, 30000, &regions[1], NULL) == DRAY_OK);
    MUST(dray_region_wrap(context, DRAY_STORAGE_SYSTEM, memory + 32768, 20000, NULL, NULL,
                          &regions[2], NULL) == DRAY_OK);
    regions[3] = file_open("fake:0");
    regions[4] = file_open("fake:0");
    MUST(dray_region_view(regions[4], 5000, 50000, &regions[5], NULL) == DRAY_OK);
    regions[6] = file_open("fake:1");
    dray_region_options null = {
        .struct_bytes = sizeof(null), .storage = DRAY_STORAGE_NULL, .bytes = UINT64_MAX};
    MUST(dray_region_create(context, &null, &regions[7], NULL) == DRAY_OK);
}

// --- copies from bytes ------------------------------------------------------------------------------------------------

typedef struct input {
    const uint8_t *bytes;
    size_t count;
} input;

static uint64_t take(input *from, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes && from->count > 0; i++, from->bytes++, from->count--)
        value |= (uint64_t)*from->bytes << (8 * i);
    return value;
}

/// Mostly small; the top two bits of the third byte lift it to where sums overflow.
static uint64_t take_number(input *from)
{
    uint64_t value = take(from, 2), lift = take(from, 1);
    return lift >= 0xc0 ? value << (lift & 63) : value;
}

static uint64_t copies_read(input *from, dray_copy *copies)
{
    uint64_t count = 0;
    while (from->count > 0 && count < copies_max) {
        dray_copy *copy = &copies[count++];
        *copy = (dray_copy){.source = regions[take(from, 1) % region_count],
                            .target = regions[take(from, 1) % region_count]};
        copy->source_offset = take_number(from);
        copy->target_offset = take_number(from);
        copy->run_bytes = take_number(from);
        copy->loop_count = (uint32_t)take(from, 1) % (DRAY_LOOPS_MAX + 2);
        for (uint32_t i = 0; i < copy->loop_count && i < DRAY_LOOPS_MAX; i++) {
            copy->loops[i].count = take_number(from);
            copy->loops[i].source_stride = take_number(from);
            copy->loops[i].target_stride = take_number(from);
        }
    }
    return count;
}

// --- the two ways to do it -----------------------------------------------------------------------------------------------

typedef struct walker {
    bool plan;     // carries out segments: bounds and single writes are checked on the way
    bool overlaps; // a target was met twice, or is a source
    uint32_t (*out)[space_bytes];
} walker;

/// Index of the space and position of the region's first byte; false: nobody keeps these bytes.
static bool locate(const dray_region *region, uint32_t *space, uint64_t *base)
{
    const dray_region_native *native = &region->native;
    if (native->storage == DRAY_STORAGE_NULL)
        return false;
    *space = native->storage != DRAY_STORAGE_DISK ? 0 : native->name[5] == '0' ? 1 : 2;
    *base = *space ? native->file_offset : (uint64_t)((uint8_t *)native->pointer - memory);
    return true;
}

static void run_walk(walker *self, const dray_region *source, uint64_t source_at,
                     const dray_region *target, uint64_t target_at, uint64_t bytes)
{
    uint32_t from = 0, to = 0;
    uint64_t from_base = 0, to_base = 0;
    bool has = source && locate(source, &from, &from_base),
         keeps = target && locate(target, &to, &to_base);
    MUST(has || !source || !self->plan); // no plan reads from nowhere
    MUST(source_at + bytes <= (source ? source->native.bytes : slot_max));
    MUST(target_at + bytes <= (target ? target->native.bytes : slot_max));
    for (uint64_t i = 0; i < bytes; i++) {
        uint32_t label =
            has ? (uint32_t)(1 + from * space_bytes + from_base + source_at + i) : UINT32_MAX;
        if (!source)
            label = slot[source_at + i];
        if (has && !self->plan)
            is_source[from][from_base + source_at + i] = 1;
        if (!target)
            slot[target_at + i] = label;
        if (keeps) {
            uint32_t *cell = &self->out[to][to_base + target_at + i];
            self->overlaps = self->overlaps || *cell != 0;
            *cell = label;
        }
    }
}

static void loops_walk(walker *self, const dray_loop *loops, uint32_t loop_count,
                       const dray_region *source, uint64_t source_at, const dray_region *target,
                       uint64_t target_at, uint64_t bytes)
{
    if (loop_count == 0) {
        run_walk(self, source, source_at, target, target_at, bytes);
        return;
    }
    for (uint64_t i = 0; i < loops->count; i++)
        loops_walk(self, loops + 1, loop_count - 1, source, source_at + i * loops->source_stride,
                   target, target_at + i * loops->target_stride, bytes);
}

static bool is_empty(const dray_copy *copy)
{
    bool empty = copy->run_bytes == 0;
    for (uint32_t i = 0; i < copy->loop_count && i < DRAY_LOOPS_MAX; i++)
        empty = empty || copy->loops[i].count == 0;
    return empty;
}

static void copies_walk(walker *self, const dray_copy *copies, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        const dray_copy *copy = &copies[i];
        if (!is_empty(copy))
            loops_walk(self, copy->loops, copy->loop_count, copy->source, copy->source_offset,
                       copy->target, copy->target_offset, copy->run_bytes);
    }
    for (uint32_t space = 0; space < spaces; space++) {
        for (uint32_t at = 0; at < space_bytes; at++)
            self->overlaps = self->overlaps || (is_source[space][at] && self->out[space][at]);
    }
}

static uint64_t segment_bytes(const dray_segment *segment)
{
    uint64_t bytes = segment->run_bytes;
    for (uint32_t i = 0; i < segment->loop_count; i++)
        bytes *= segment->loops[i].count;
    return bytes;
}

static void step_check(const dray_plan *plan, const drayi_step *step)
{
    const dray_edge *edge = &plan->edges[step->edge].edge;
    uint64_t bytes = 0;
    MUST(step->segment_count >= 1 && step->segment_count <= edge->max_segments);
    for (uint32_t i = 0; i < step->segment_count; i++) {
        const dray_segment *segment = &plan->segments[step->first_segment + i];
        MUST(segment->loop_count <= edge->max_loops && segment_bytes(segment) > 0);
        bytes += segment_bytes(segment);
    }
    MUST(bytes == step->bytes && (edge->max_bytes == 0 || bytes <= edge->max_bytes));
}

static void plan_walk(walker *self, const dray_plan *plan)
{
    for (uint64_t i = 0; i < plan->step_count; i++) {
        const drayi_step *step = &plan->steps[i];
        step_check(plan, step);
        for (uint32_t k = 0; k < step->segment_count; k++) {
            const dray_segment *segment = &plan->segments[step->first_segment + k];
            loops_walk(self, segment->loops, segment->loop_count, segment->source,
                       segment->source_offset, segment->target, segment->target_offset,
                       segment->run_bytes);
        }
    }
}

/// Bytes in all; UINT64_MAX when they are too many to count.
static uint64_t copies_bytes(const dray_copy *copies, uint64_t count)
{
    uint64_t total = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t bytes = is_empty(&copies[i]) ? 0 : copies[i].run_bytes;
        for (uint32_t k = 0; bytes > 0 && k < copies[i].loop_count; k++) {
            if (__builtin_mul_overflow(bytes, copies[i].loops[k].count, &bytes))
                return UINT64_MAX;
        }
        if (__builtin_add_overflow(total, bytes, &total))
            return UINT64_MAX;
    }
    return total;
}

static void plan_check(const dray_plan *plan, const dray_copy *copies, uint64_t count, bool trusted)
{
    dray_plan_summary summary;
    dray_plan_summarize(plan, &summary);
    uint64_t bytes = copies_bytes(copies, count);
    MUST(summary.bytes == bytes);
    if (bytes > WALKED_MAX)
        return;
    memset(wanted, 0, sizeof(wanted));
    memset(got, 0, sizeof(got));
    memset(is_source, 0, sizeof(is_source));
    walker plainly = {.out = wanted}, planned = {.plan = true, .out = got};
    copies_walk(&plainly, copies, count);
    plan_walk(&planned, plan);
    MUST(trusted || !plainly.overlaps);
    MUST(plainly.overlaps || (!planned.overlaps && memcmp(wanted, got, sizeof(got)) == 0));
}

/// The planner says that copies overlap: they must. Only called when all are inside their regions.
static void overlap_check(const dray_copy *copies, uint64_t count)
{
    if (copies_bytes(copies, count) > WALKED_MAX)
        return;
    memset(wanted, 0, sizeof(wanted));
    memset(is_source, 0, sizeof(is_source));
    walker plainly = {.out = wanted};
    copies_walk(&plainly, copies, count);
    MUST(plainly.overlaps);
}

static void print_nothing(void *self, const char *text, size_t bytes)
{
    (void)self;
    MUST(bytes > 0 && text[bytes - 1] == '\n');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!context)
        world_make();
    input from = {data, size};
    dray_plan_options options = {.struct_bytes = sizeof(options),
                                 .direct = (dray_direct)(take(&from, 1) % 3),
                                 .lanes = (uint32_t)take(&from, 1) % 20,
                                 .step_bytes = take(&from, 2),
                                 .staging_bytes = take(&from, 2) * 64,
                                 .targets_disjoint = take(&from, 1) % 8 == 0};
    static dray_copy copies[copies_max];
    uint64_t count = copies_read(&from, copies);
    dray_plan *plan = NULL;
    dray_error error;
    uint64_t before = allocated;
    dray_status status = dray_plan_create(agent, copies, count, &options, &plan, &error);
    if (status == DRAY_OK) {
        plan_check(plan, copies, count, options.targets_disjoint != 0);
        dray_plan_print(plan, 1, print_nothing, NULL);
    } else {
        MUST(error.status == status && error.message[0]);
        if (strstr(error.message, "its target overlaps"))
            overlap_check(copies, count);
    }
    dray_plan_destroy(plan);
    MUST(allocated == before);
    return 0;
}
