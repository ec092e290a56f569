#include "transfer_rig.h"

#include "testing.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static void keep_line(void *self, dray_log_level level, const char *message)
{
    (void)level;
    transfer_rig *rig = self;
    size_t used = strlen(rig->log);
    snprintf(rig->log + used, sizeof(rig->log) - used, "%s\n", message);
}

void transfer_rig_open(transfer_rig *rig, bool agent, bool both)
{
    static const dray_backend_ops *const backends[] = {&backend_sim_ops[0], &backend_sim_ops[1],
                                                       NULL};
    memset(rig, 0, sizeof(*rig));
    memset(fake_files, 0, sizeof(fake_files));
    fake_files_open = 0;
    counting_allocator_init(&rig->counter, 0);
    rig->os = fake_files_os();
    dray_context_options options = {.struct_bytes = sizeof(options),
                                    .allocator = counting_allocator_interface(&rig->counter),
                                    .log = {.write = keep_line, .self = rig},
                                    .backends = backends};
    assert_int_equal(drayi_context_create_with(&options, &rig->os, &rig->context, &rig->error),
                     DRAY_OK);
    const char *const names[] = {"sim", both ? "sim2" : NULL, NULL};
    dray_agent_options wanted = {.struct_bytes = sizeof(wanted), .backends = names};
    if (agent)
        assert_int_equal(dray_agent_create(rig->context, &wanted, &rig->agent, &rig->error),
                         DRAY_OK);
}

void transfer_rig_close(transfer_rig *rig)
{
    dray_agent_destroy(rig->agent);
    dray_context_destroy(rig->context);
    assert_int_equal(counting_allocator_live_bytes(&rig->counter), 0);
    assert_int_equal(fake_files_open, 0);
    assert_string_equal(backend_sims[0].violation, "");
    assert_string_equal(backend_sims[1].violation, "");
}

dray_region *transfer_rig_wrap(transfer_rig *rig, void *bytes, uint64_t count)
{
    dray_region *region;
    assert_int_equal(dray_region_wrap(rig->context, DRAY_STORAGE_SYSTEM, bytes, count, NULL, NULL,
                                      &region, &rig->error),
                     DRAY_OK);
    return region;
}

dray_region *transfer_rig_file(transfer_rig *rig, uint32_t index, void *bytes, uint64_t count,
                               uint32_t align)
{
    fake_files[index] = (fake_file){
        .bytes = bytes, .count = count, .direct_memory_align = align, .direct_offset_align = align};
    char path[16];
    snprintf(path, sizeof(path), "fake:%u", index);
    dray_file_options options = {.struct_bytes = sizeof(options), .writable = 1};
    dray_region *region;
    assert_int_equal(dray_region_open(rig->context, path, &options, &region, &rig->error), DRAY_OK);
    return region;
}

dray_region *transfer_rig_null(transfer_rig *rig, uint64_t count)
{
    dray_region_options options = {
        .struct_bytes = sizeof(options), .storage = DRAY_STORAGE_NULL, .bytes = count};
    dray_region *region;
    assert_int_equal(dray_region_create(rig->context, &options, &region, &rig->error), DRAY_OK);
    return region;
}

dray_status transfer_rig_run(transfer_rig *rig, const dray_copy *copies, uint64_t count,
                             const dray_plan_options *options)
{
    dray_plan *plan = NULL;
    dray_transfer *transfer = NULL;
    dray_status status = dray_plan_create(rig->agent, copies, count, options, &plan, &rig->error);
    if (status == DRAY_OK)
        status = dray_transfer_create(rig->agent, plan, NULL, &transfer, &rig->error);
    if (status == DRAY_OK)
        status = dray_transfer_submit(transfer, &rig->error);
    if (status == DRAY_OK)
        status = dray_transfer_wait(transfer, -1, &rig->error);
    dray_transfer_destroy(transfer);
    dray_plan_destroy(plan);
    return status;
}

static void expect_level(const dray_copy *copy, uint32_t level, const uint8_t *source,
                         uint8_t *target)
{
    if (level == copy->loop_count) {
        memcpy(target, source, copy->run_bytes);
        return;
    }
    assert(level < DRAY_LOOPS_MAX);
    const dray_loop *loop = &copy->loops[level];
    for (uint64_t i = 0; i < loop->count; i++)
        expect_level(copy, level + 1, source + i * loop->source_stride,
                     target + i * loop->target_stride);
}

void transfer_rig_expect(const dray_copy *copy, const uint8_t *source, uint8_t *target)
{
    expect_level(copy, 0, source + copy->source_offset, target + copy->target_offset);
}
