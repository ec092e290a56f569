/// Bytes that only an agent reaches, piece by piece: one is looked at while the next is on its way.
#include "base/checked.h"
#include "dray/spi/region.h"
#include "weights/span_read.h"

#include <inttypes.h>

enum { buffer_count = 2 };
static const uint64_t buffer_bytes = 4 << 20;

/// One buffer, and what fills it.
typedef struct agent_buffer {
    dray_region *memory;
    dray_plan *plan;
    dray_transfer *transfer;
    uint64_t bytes; // that are on their way
} agent_buffer;

static void buffer_settle(agent_buffer *buffer)
{
    dray_transfer_destroy(buffer->transfer); // waits for what is in flight
    dray_plan_destroy(buffer->plan);
    buffer->transfer = NULL;
    buffer->plan = NULL;
}

static dray_status buffer_start(agent_buffer *buffer, dray_agent *agent, const dray_span *span,
                                uint64_t done, dray_error *error)
{
    buffer->bytes = drayi_min(span->bytes - done, buffer_bytes);
    if (buffer->bytes == 0)
        return DRAY_OK;
    const dray_copy copy = {.source = span->region,
                            .target = buffer->memory,
                            .source_offset = span->offset + done,
                            .run_bytes = buffer->bytes};
    DRAY_TRY(dray_plan_create(agent, &copy, 1, NULL, &buffer->plan, error));
    DRAY_TRY(dray_transfer_create(agent, buffer->plan, NULL, &buffer->transfer, error));
    return dray_transfer_submit(buffer->transfer, error);
}

static dray_status read_all(agent_buffer *buffers, dray_agent *agent, const dray_span *span,
                            drayi_take take, void *self, dray_error *error)
{
    DRAY_TRY(buffer_start(&buffers[0], agent, span, 0, error));
    for (uint64_t done = 0, turn = 0; done < span->bytes; turn++) {
        agent_buffer *now = &buffers[turn % buffer_count];
        agent_buffer *next = &buffers[(turn + 1) % buffer_count];
        DRAY_TRY(dray_transfer_wait(now->transfer, -1, error));
        buffer_settle(now);
        done += now->bytes;
        DRAY_TRY(buffer_start(next, agent, span, done, error));
        take(self, dray_region_pointer(now->memory), now->bytes);
    }
    return DRAY_OK;
}

dray_status drayi_agent_read(dray_context *context, dray_agent *agent, const dray_span *span,
                             drayi_take take, void *self, dray_error *error)
{
    dray_region_native native;
    dray_region_get_native(span->region, &native);
    agent_buffer buffers[buffer_count] = {{0}};
    dray_region_options options = {.struct_bytes = sizeof(options),
                                   .bytes = drayi_min(span->bytes, buffer_bytes)};
    dray_status status = DRAY_OK;
    for (int i = 0; i < buffer_count && status == DRAY_OK && span->bytes; i++)
        status = dray_region_create(context, &options, &buffers[i].memory, error);
    if (status == DRAY_OK)
        status = read_all(buffers, agent, span, take, self, error);
    for (int i = 0; i < buffer_count; i++) {
        buffer_settle(&buffers[i]);
        dray_region_release(buffers[i].memory);
    }
    return status == DRAY_OK ? DRAY_OK
                             : dray_fail_within(error, status, "read %" PRIu64 " bytes of %s",
                                                span->bytes, native.name);
}
