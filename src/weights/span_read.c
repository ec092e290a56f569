/// See span_read.h. Reading back from a device is a job in a stream of its own, without an agent: two
/// buffers take turns, so that one is looked at while the other is being filled.
#include "weights/span_read.h"

#include "base/checked.h"
#include "dray/spi/device.h"
#include "dray/spi/region.h"
#include "os/os.h"

#include <inttypes.h>

enum { file_buffer_bytes = 256 << 10 };
static const uint64_t device_buffer_bytes = 4 << 20;

// --- files -----------------------------------------------------------------------------------------

static dray_status file_read(drayi_env *env, const dray_region_native *native, uint64_t offset,
                             uint64_t bytes, drayi_take take, void *self, dray_error *error)
{
    void *buffer = drayi_alloc(env, file_buffer_bytes, error);
    if (!buffer)
        return DRAY_E_NOMEM;
    dray_status status = DRAY_OK;
    for (uint64_t done = 0, piece; done < bytes && status == DRAY_OK; done += piece) {
        piece = drayi_min(bytes - done, file_buffer_bytes);
        status = drayi_pread_all(env->os, native->fd, native->name, buffer, piece,
                                 native->file_offset + offset + done, NULL, error);
        if (status == DRAY_OK)
            take(self, buffer, piece);
    }
    drayi_free(env, buffer, file_buffer_bytes);
    return status;
}

// --- devices ---------------------------------------------------------------------------------------

typedef struct device_reader {
    dray_device_native device;
    dray_device_side source; // of the region's first byte
    dray_region *memory;     // both buffers
    dray_device_side target; // of the first buffer's first byte
    uint64_t buffer_bytes;
    dray_stream *stream;
    dray_device_run run; // of the job under way
} device_reader;

static dray_device_side side_of(const dray_region_native *native)
{
    dray_device_side side = {.storage = native->storage,
                             .pointer = native->pointer,
                             .memory = native->device_memory,
                             .address = native->device_address};
    if (native->device) {
        dray_device_native device;
        dray_device_get_native(native->device, &device);
        side.device = device.self;
    }
    return side;
}

static dray_device_side side_at(dray_device_side side, uint64_t offset)
{
    side.address += offset;
    if (side.pointer)
        side.pointer = (char *)side.pointer + offset;
    return side;
}

/// Memory that the driver has locked if it does such things, ordinary memory otherwise.
static dray_status buffers_make(device_reader *reader, dray_context *context,
                                struct dray_device *device, dray_error *error)
{
    dray_region_options options = {.struct_bytes = sizeof(options),
                                   .storage = DRAY_STORAGE_PINNED,
                                   .bytes = 2 * reader->buffer_bytes,
                                   .device = device};
    if (dray_region_create(context, &options, &reader->memory, NULL) == DRAY_OK)
        return DRAY_OK;
    options.storage = DRAY_STORAGE_SYSTEM;
    options.device = NULL;
    return dray_region_create(context, &options, &reader->memory, error);
}

static dray_status reader_open(device_reader *reader, dray_context *context,
                               const dray_region_native *region, uint64_t bytes, dray_error *error)
{
    dray_device_get_native(region->device, &reader->device);
    const dray_device_copy_ops *copy = reader->device.ops->copy;
    if (!copy)
        return dray_fail(error, DRAY_E_UNSUPPORTED, "%s devices do not copy",
                         reader->device.ops->family);
    reader->source = side_of(region);
    reader->buffer_bytes = drayi_min(bytes, device_buffer_bytes);
    DRAY_TRY(buffers_make(reader, context, region->device, error));
    dray_region_native memory;
    dray_region_get_native(reader->memory, &memory);
    reader->target = side_of(&memory);
    return copy->stream_open(reader->device.self, &reader->stream, error);
}

static void reader_close(device_reader *reader)
{
    if (reader->stream)
        reader->device.ops->copy->stream_close(reader->stream); // waits for what still runs
    dray_region_release(reader->memory);
}

static dray_status reader_start(device_reader *reader, uint64_t offset, uint64_t bytes,
                                uint32_t buffer, dray_error *error)
{
    reader->run = (dray_device_run){.from = side_at(reader->source, offset),
                                    .to = side_at(reader->target, buffer * reader->buffer_bytes),
                                    .bytes = bytes};
    return reader->device.ops->copy->start(reader->stream, &reader->run, 1, error);
}

static dray_status reader_run(device_reader *reader, uint64_t offset, uint64_t bytes,
                              drayi_take take, void *self, dray_error *error)
{
    const char *memory = dray_region_pointer(reader->memory);
    uint64_t piece = drayi_min(bytes, reader->buffer_bytes);
    uint32_t buffer = 0;
    DRAY_TRY(reader_start(reader, offset, piece, buffer, error));
    for (uint64_t done = 0; done < bytes;) {
        DRAY_TRY(reader->device.ops->copy->wait(reader->stream, error));
        uint64_t got = piece;
        const char *at = memory + buffer * reader->buffer_bytes;
        done += got;
        piece = drayi_min(bytes - done, reader->buffer_bytes);
        buffer ^= 1;
        if (piece > 0)
            DRAY_TRY(reader_start(reader, offset + done, piece, buffer, error));
        take(self, at, got);
    }
    return DRAY_OK;
}

static dray_status device_read(dray_context *context, const dray_region_native *region,
                               uint64_t offset, uint64_t bytes, drayi_take take, void *self,
                               dray_error *error)
{
    device_reader reader = {.stream = NULL};
    dray_status status = reader_open(&reader, context, region, bytes, error);
    if (status == DRAY_OK)
        status = reader_run(&reader, offset, bytes, take, self, error);
    reader_close(&reader);
    return status == DRAY_OK ? DRAY_OK
                             : dray_fail_within(error, status, "read back from %s", region->name);
}

// --- any -------------------------------------------------------------------------------------------

dray_status drayi_span_read(dray_context *context, const dray_span *span, drayi_take take,
                            void *self, dray_error *error)
{
    dray_region_native native;
    uint64_t end;
    dray_region_get_native(span->region, &native);
    if (!drayi_add(span->offset, span->bytes, &end) || end > native.bytes)
        return dray_fail(error, DRAY_E_INVALID,
                         "read %s: %" PRIu64 " bytes at %" PRIu64 ", it has %" PRIu64, native.name,
                         span->bytes, span->offset, native.bytes);
    if (native.storage == DRAY_STORAGE_NULL)
        return dray_fail(error, DRAY_E_UNSUPPORTED, "a null destination holds no bytes");
    if (span->bytes == 0)
        return DRAY_OK;
    if (native.storage == DRAY_STORAGE_DEVICE || native.storage == DRAY_STORAGE_MANAGED)
        return device_read(context, &native, span->offset, span->bytes, take, self, error);
    if (native.storage == DRAY_STORAGE_DISK)
        return file_read(drayi_env_of(context), &native, span->offset, span->bytes, take, self,
                         error);
    if (!native.pointer)
        return dray_fail(error, DRAY_E_UNSUPPORTED, "read %s: bytes of %s storage are not read here",
                         native.name, dray_storage_name(native.storage));
    take(self, (const char *)native.pointer + span->offset, span->bytes);
    return DRAY_OK;
}
