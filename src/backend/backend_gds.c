/// GDS_MT: between files and CUDA devices without the host's memory, by cuFile and the pool's threads.
///
/// cuFile's calls block, so each operation is a job of the pool (without a pool: of the caller, one at each
/// poll). Whole pages of the file go by cuFile on the descriptor opened with O_DIRECT. Heads and tails that
/// are no whole pages go through the page cache and a small host buffer: cuFile would read, change and
/// write their page behind our back, and two operations that share a page would lose bytes.
///
/// A file that cuFile refuses is refused at planning time already (accepts), so the plan goes by two hops
/// through staging memory and says so. What cuFile refuses later, in the middle, goes through the host
/// buffer, too, and describe counts it.
#include "backend/completions.h"
#include "backend/cufile.h"
#include "base/checked.h"
#include "base/env.h"
#include "dray/spi/backend.h"
#include "dray/spi/device.h"
#include "os/os.h"
#include "os/pool.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { GDS_SLOTS = 16, FRUITLESS_MAX = 1000, BOUNCE_BYTES = 256 << 10 };
#define BEST_BYTES (4u << 20)
#define MAX_BYTES (16u << 20)

enum { EDGE_WRITE = 1, EDGE_DIRECT = 2, EDGE_PINNED = 4 }; // bits of dray_edge.id

/// A file descriptor that cuFile knows; regions and views of one file share it.
typedef struct gds_file {
    int fd;
    uint32_t users;
    CUfileHandle_t handle;
} gds_file;

/// Memory that cuFile knows, or would not register: then it copies through buffers of its own.
typedef struct gds_buffer {
    const dray_region *region;
    void *base;
    bool registered;
} gds_buffer;

/// A device in use: its context, and a stream with a host buffer for heads and tails.
typedef struct gds_link {
    struct gds_link *next;
    dray_device *device; // retained
    void *context;
    uint32_t users;
    pthread_mutex_t lock; // guards stream and bounce
    dray_stream *stream;
    uint8_t *bounce; // BOUNCE_BYTES
} gds_link;

/// One operation on its way; belongs to one job until that has ended.
typedef struct gds_slot {
    drayi_job job;
    dray_backend *backend;
    struct gds_slot *next; // in the list of free ones or in the queue
    dray_op *op;
    atomic_bool cancelled;
    bool write, direct;
    CUfileHandle_t handle;
    gds_link *link;
    const char *name;        // of the file
    int fd;                  // through the page cache
    uint32_t align;          // of file offsets past it
    uint64_t offset;         // in the file
    void *base;              // of the region, for cuFile
    uint64_t at;             // in the region
    dray_device_side memory; // the operation's first byte
    uint64_t bytes, done;
    uint32_t fruitless;
} gds_slot;

struct dray_backend {
    drayi_env *env;
    const drayi_os *os;
    const dray_device_ops *family;
    drayi_cufile cufile;
    drayi_completions completions;
    gds_file *files;
    uint64_t file_count, file_capacity;
    gds_buffer *buffers;
    uint64_t buffer_count, buffer_capacity;
    gds_link *links;
    gds_slot *free_slots;
    gds_slot *queued, *last_queued; // without a pool
    atomic_uint_fast64_t by_host;   // direct operations that cuFile refused in the middle
    uint64_t unregistered;          // buffers that it did not register
    gds_slot slots[GDS_SLOTS];
};

// --- opening and closing -----------------------------------------------------------------------------

static dray_status family_find(dray_backend *backend, dray_error *error)
{
    for (const dray_device_ops *const *each = backend->env->devices; *each; each++) {
        if (strcmp((*each)->family, "cuda") == 0)
            backend->family = *each;
    }
    if (!backend->family || !backend->family->copy)
        return dray_fail(error, DRAY_E_UNSUPPORTED, "CUDA devices are not in this build");
    return DRAY_OK;
}

/// cuFileDriverOpen without a GPU was seen to wait for ever, so it is not called without one.
static dray_status gpu_find(const dray_backend *backend, dray_error *error)
{
    dray_driver *driver;
    DRAY_TRY(backend->family->load(backend->env, &driver, error));
    uint32_t count = backend->family->count(driver);
    backend->family->unload(driver);
    return count ? DRAY_OK : dray_fail(error, DRAY_E_UNSUPPORTED, "there is no CUDA device");
}

static void gds_close(dray_backend *backend)
{
    drayi_env *env = backend->env;
    drayi_completions_close(&backend->completions);
    drayi_cufile_close(&backend->cufile);
    drayi_free(env, backend->files, backend->file_capacity * sizeof(*backend->files));
    drayi_free(env, backend->buffers, backend->buffer_capacity * sizeof(*backend->buffers));
    drayi_free(env, backend, sizeof(*backend));
}

static dray_status gds_build(dray_backend *backend, dray_error *error)
{
    DRAY_TRY(family_find(backend, error));
    DRAY_TRY(gpu_find(backend, error));
    DRAY_TRY(drayi_cufile_open(&backend->cufile, backend->env, error));
    DRAY_TRY(drayi_completions_open(&backend->completions, backend->os, error));
    for (uint32_t i = 0; i < GDS_SLOTS; i++) {
        backend->slots[i].backend = backend;
        backend->slots[i].next = backend->free_slots;
        backend->free_slots = &backend->slots[i];
    }
    return DRAY_OK;
}

static dray_status gds_open(drayi_env *env, dray_backend **out_backend, dray_error *error)
{
    dray_backend *backend = drayi_new(env, dray_backend, error);
    if (!backend)
        return DRAY_E_NOMEM;
    backend->env = env;
    backend->os = env->os;
    dray_status status = gds_build(backend, error);
    if (status != DRAY_OK)
        gds_close(backend);
    else
        *out_backend = backend;
    return status;
}

static uint32_t gds_edges(dray_backend *backend, dray_edge *out_edges, uint32_t capacity)
{
    for (uint32_t id = 0; id < 8 && id < capacity; id++) {
        dray_storage memory = id & EDGE_PINNED ? DRAY_STORAGE_PINNED : DRAY_STORAGE_DEVICE;
        out_edges[id] = (dray_edge){
            .from = id & EDGE_WRITE ? memory : DRAY_STORAGE_DISK,
            .to = id & EDGE_WRITE ? DRAY_STORAGE_DISK : memory,
            .flags = id & EDGE_DIRECT ? DRAY_EDGE_DIRECT : 0u,
            .id = id,
            .max_bytes = MAX_BYTES,
            .max_segments = 1,
            .best_bytes = BEST_BYTES,
            .best_depth = 8,
            .cost = id & EDGE_PINNED ? 200 : 100, // host memory is what posix is for
            .family = backend->family,
        };
    }
    return 8;
}

// --- files --------------------------------------------------------------------------------------------

static gds_file *file_find(const dray_backend *backend, int fd)
{
    for (uint64_t i = 0; i < backend->file_count; i++) {
        if (backend->files[i].fd == fd)
            return &backend->files[i];
    }
    return NULL;
}

static dray_status handle_register(const dray_backend *backend, const dray_region_native *file,
                                   CUfileHandle_t *out_handle, dray_error *error)
{
    if (file->direct_fd < 0)
        return dray_fail(error, DRAY_E_UNSUPPORTED, "the file system of %s takes no direct I/O",
                         file->name);
    CUfileDescr_t description = {.type = DRAYI_CUFILE_FD, .handle.fd = file->direct_fd};
    CUfileHandle_t handle = NULL;
    CUfileError_t code = backend->cufile.calls.handle_register(&handle, &description);
    if (code.err != 0)
        return drayi_cufile_fail(error, code, "cuFileHandleRegister", file->name);
    if (!handle)
        return dray_fail(error, DRAY_E_DEVICE,
                         "cuFileHandleRegister %s: success is said, but no handle given",
                         file->name);
    *out_handle = handle;
    return DRAY_OK;
}

static dray_status file_attach(dray_backend *backend, const dray_region_native *native,
                               dray_error *error)
{
    gds_file *file = native->direct_fd >= 0 ? file_find(backend, native->direct_fd) : NULL;
    if (file) {
        file->users++;
        return DRAY_OK;
    }
    DRAY_TRY(drayi_grow(backend->env, (void **)&backend->files, &backend->file_capacity,
                        backend->file_count + 1, sizeof(*backend->files), error));
    CUfileHandle_t handle = NULL;
    DRAY_TRY(handle_register(backend, native, &handle, error));
    backend->files[backend->file_count++] =
        (gds_file){.fd = native->direct_fd, .users = 1, .handle = handle};
    return DRAY_OK;
}

static void file_detach(dray_backend *backend, const dray_region_native *native)
{
    gds_file *file = file_find(backend, native->direct_fd);
    if (!file || --file->users > 0)
        return;
    backend->cufile.calls.handle_deregister(file->handle);
    *file = backend->files[--backend->file_count];
}

// --- memory ---------------------------------------------------------------------------------------------

static gds_link *link_find(const dray_backend *backend, const dray_device *device)
{
    gds_link *link = backend->links;
    while (link && link->device != device)
        link = link->next;
    return link;
}

static void link_destroy(dray_backend *backend, gds_link *link)
{
    if (link->stream)
        backend->family->copy->stream_close(link->stream);
    drayi_free(backend->env, link->bounce, BOUNCE_BYTES);
    pthread_mutex_destroy(&link->lock);
    dray_device_release(link->device);
    drayi_free(backend->env, link, sizeof(*link));
}

static dray_status link_build(const dray_backend *backend, gds_link *link, dray_error *error)
{
    dray_device_native native;
    dray_device_get_native(link->device, &native);
    link->bounce = drayi_alloc(backend->env, BOUNCE_BYTES, error);
    if (!link->bounce)
        return DRAY_E_NOMEM;
    DRAY_TRY(backend->family->copy->stream_open(native.self, &link->stream, error));
    link->context = dray_device_handle(link->device);
    return link->context ? DRAY_OK
                         : dray_fail(error, DRAY_E_DEVICE, "%s has no context",
                                     dray_device_name(link->device));
}

static dray_status link_add(dray_backend *backend, dray_device *device, gds_link **out_link,
                            dray_error *error)
{
    gds_link *link = drayi_new(backend->env, gds_link, error);
    if (!link)
        return DRAY_E_NOMEM;
    link->device = dray_device_retain(device);
    pthread_mutex_init(&link->lock, NULL);
    dray_status status = link_build(backend, link, error);
    if (status != DRAY_OK) {
        link_destroy(backend, link);
        return status;
    }
    link->next = backend->links;
    backend->links = link;
    *out_link = link;
    return DRAY_OK;
}

static void link_drop(dray_backend *backend, gds_link *link)
{
    if (--link->users > 0)
        return;
    gds_link **at = &backend->links;
    while (*at != link)
        at = &(*at)->next;
    *at = link->next;
    link_destroy(backend, link);
}

static gds_buffer *buffer_find(const dray_backend *backend, const dray_region *region)
{
    for (uint64_t i = 0; i < backend->buffer_count; i++) {
        if (backend->buffers[i].region == region)
            return &backend->buffers[i];
    }
    return NULL;
}

static void *base_of(const dray_region_native *native)
{
    return native->pointer ? native->pointer : (void *)(uintptr_t)native->device_address;
}

/// Memory that cuFile will not register is no error: it then copies through buffers of its own.
static void buffer_register(dray_backend *backend, const gds_link *link, gds_buffer *buffer,
                            uint64_t bytes)
{
    void *popped;
    if (backend->cufile.context_push(link->context) != 0)
        return;
    buffer->registered = backend->cufile.calls.buffer_register(buffer->base, bytes, 0).err == 0;
    backend->cufile.context_pop(&popped);
    backend->unregistered += !buffer->registered;
}

static dray_status memory_attach(dray_backend *backend, const dray_region *region,
                                 const dray_region_native *native, dray_error *error)
{
    DRAY_TRY(drayi_grow(backend->env, (void **)&backend->buffers, &backend->buffer_capacity,
                        backend->buffer_count + 1, sizeof(*backend->buffers), error));
    gds_link *link = link_find(backend, native->device);
    if (!link)
        DRAY_TRY(link_add(backend, native->device, &link, error));
    link->users++;
    gds_buffer *buffer = &backend->buffers[backend->buffer_count++];
    *buffer = (gds_buffer){.region = region, .base = base_of(native)};
    buffer_register(backend, link, buffer, native->bytes);
    return DRAY_OK;
}

static void memory_detach(dray_backend *backend, const dray_region *region,
                          const dray_region_native *native)
{
    gds_buffer *buffer = buffer_find(backend, region);
    gds_link *link = link_find(backend, native->device);
    if (!buffer || !link)
        return;
    void *popped;
    if (buffer->registered && backend->cufile.context_push(link->context) == 0) {
        backend->cufile.calls.buffer_deregister(buffer->base);
        backend->cufile.context_pop(&popped);
    }
    *buffer = backend->buffers[--backend->buffer_count];
    link_drop(backend, link);
}

static dray_status memory_check(const dray_backend *backend, const dray_region_native *native,
                                dray_error *error)
{
    if (native->device && native->family == backend->family)
        return DRAY_OK;
    return dray_fail(error, DRAY_E_UNSUPPORTED, "%s: its %s memory is no CUDA device's",
                     native->name, dray_storage_name(native->storage));
}

static dray_status gds_accepts(dray_backend *backend, const dray_region *region, dray_error *error)
{
    dray_region_native native;
    dray_region_get_native(region, &native);
    if (native.storage != DRAY_STORAGE_DISK)
        return memory_check(backend, &native, error);
    if (native.direct_fd >= 0 && file_find(backend, native.direct_fd))
        return DRAY_OK;
    CUfileHandle_t handle = NULL;
    DRAY_TRY(handle_register(backend, &native, &handle, error));
    backend->cufile.calls.handle_deregister(handle);
    return DRAY_OK;
}

static dray_status gds_attach(dray_backend *backend, dray_region *region, dray_error *error)
{
    dray_region_native native;
    dray_region_get_native(region, &native);
    if (native.storage == DRAY_STORAGE_DISK)
        return file_attach(backend, &native, error);
    DRAY_TRY(memory_check(backend, &native, error));
    return memory_attach(backend, region, &native, error);
}

static void gds_detach(dray_backend *backend, dray_region *region)
{
    dray_region_native native;
    dray_region_get_native(region, &native);
    if (native.storage == DRAY_STORAGE_DISK)
        file_detach(backend, &native);
    else
        memory_detach(backend, region, &native);
}

// --- carrying out ---------------------------------------------------------------------------------------

static const char *call_name(const gds_slot *slot)
{
    return slot->write ? "cuFileWrite" : "cuFileRead";
}

static bool end(gds_slot *slot, dray_status status)
{
    slot->op->status = status;
    slot->op->bytes_done = slot->done;
    return true;
}

/// Puts what was wanted behind an error that says what happened.
static bool fail_with(gds_slot *slot, dray_status status)
{
    dray_error *error = &slot->op->error;
    error->offset = slot->offset + slot->done;
    return end(slot, dray_fail_within(
                         error, status, "%s of %" PRIu64 " at %" PRIu64 ", %" PRIu64 " done",
                         slot->write ? "write" : "read", slot->bytes, slot->offset, slot->done));
}

static bool fail_os(gds_slot *slot, int code, const char *call)
{
    return fail_with(slot, dray_fail_os(&slot->op->error, code, call, "%s %s", call, slot->name));
}

static bool end_cancelled(gds_slot *slot)
{
    return end(slot, dray_fail(&slot->op->error, DRAY_E_CANCELLED,
                               "%s %s: cancelled with %" PRIu64 " of %" PRIu64 " bytes done",
                               call_name(slot), slot->name, slot->done, slot->bytes));
}

static bool end_of_file(gds_slot *slot)
{
    drayi_file_facts facts;
    uint64_t file_end = slot->offset + slot->done;
    if (slot->backend->os->facts(slot->fd, &facts) >= 0)
        file_end = drayi_min(file_end, facts.bytes);
    dray_error *error = &slot->op->error;
    dray_status status = dray_fail(
        error, DRAY_E_CORRUPT, "%s %s: wanted %" PRIu64 " at %" PRIu64 ", file ends at %" PRIu64,
        call_name(slot), slot->name, slot->bytes, slot->offset, file_end);
    error->offset = slot->offset + slot->done;
    return end(slot, status);
}

static bool try_again(gds_slot *slot, int code)
{
    return ++slot->fruitless > FRUITLESS_MAX ? fail_os(slot, code, call_name(slot)) : false;
}

/// From the middle on it goes through host memory; operations never share a page, so this is safe.
static bool go_by_host(gds_slot *slot)
{
    slot->direct = false;
    atomic_fetch_add(&slot->backend->by_host, 1);
    return false;
}

static bool moved(gds_slot *slot, uint64_t bytes)
{
    uint64_t left = slot->bytes - slot->done;
    if (bytes > left)
        return fail_with(slot,
                         dray_fail(&slot->op->error, DRAY_E_DEVICE,
                                   "%s %s: %" PRIu64 " bytes wanted, it says it moved %" PRIu64,
                                   call_name(slot), slot->name, left, bytes));
    uint64_t reached = slot->done + bytes;
    if (reached < slot->bytes)
        reached -= reached % slot->align; // direct I/O cannot go on in the middle of a block
    if (reached == slot->done)
        return go_by_host(slot);
    slot->fruitless = 0;
    slot->done = reached;
    return slot->done == slot->bytes && end(slot, DRAY_OK);
}

/// One call of cuFile. `result` -1: see `code`, an errno; below: a code of cuFile, negated.
static bool direct_result(gds_slot *slot, int64_t result, int code)
{
    if (result > 0)
        return moved(slot, (uint64_t)result);
    if (result == 0)
        return slot->write ? try_again(slot, EIO) : end_of_file(slot);
    if (result == -1 && (code == EINTR || code == EAGAIN))
        return try_again(slot, code);
    if (result == -1 && (code == EINVAL || code == EOPNOTSUPP))
        return go_by_host(slot);
    if (result == -1)
        return fail_os(slot, code > 0 ? code : EIO, call_name(slot));
    int refusal = result < -INT32_MAX ? INT32_MAX : (int)-result;
    if (drayi_cufile_code_is_refusal(refusal))
        return go_by_host(slot);
    CUfileError_t failed = {0};
    memcpy(&failed.err, &refusal, sizeof(failed.err));
    return fail_with(slot, drayi_cufile_fail(&slot->op->error, failed, call_name(slot), slot->name));
}

static bool direct_once(gds_slot *slot)
{
    const drayi_cufile *cufile = &slot->backend->cufile;
    unsigned pushed = cufile->context_push(slot->link->context);
    if (pushed != 0)
        return fail_with(slot, dray_fail(&slot->op->error, DRAY_E_DEVICE,
                                         "cuCtxPushCurrent: CUDA driver code %u", pushed));
    off_t file_at = (off_t)(slot->offset + slot->done), at = (off_t)(slot->at + slot->done);
    uint64_t left = slot->bytes - slot->done;
    errno = 0;
    int64_t result = slot->write ? cufile->calls.write(slot->handle, slot->base, left, file_at, at)
                                 : cufile->calls.read(slot->handle, slot->base, left, file_at, at);
    int code = errno;
    void *popped;
    cufile->context_pop(&popped);
    return direct_result(slot, result, code);
}

/// `bytes` between the link's host buffer and the device.
static dray_status bounce_copy(const gds_slot *slot, uint64_t bytes, dray_error *error)
{
    const dray_device_copy_ops *copy = slot->backend->family->copy;
    dray_device_side host = {.storage = DRAY_STORAGE_SYSTEM, .pointer = slot->link->bounce};
    dray_device_side device = slot->memory;
    device.address += slot->done;
    dray_device_run run = {
        .from = slot->write ? device : host, .to = slot->write ? host : device, .bytes = bytes};
    DRAY_TRY(copy->start(slot->link->stream, &run, 1, error));
    return copy->wait(slot->link->stream, error);
}

/// Through the page cache: pinned memory at once, else by the link's buffer, which the caller has locked.
/// *out_moved: bytes at their target, also of a read that failed half-way.
static dray_status host_read(const gds_slot *slot, uint64_t bytes, uint64_t *out_moved,
                             dray_error *error)
{
    uint8_t *pinned = slot->memory.pointer ? (uint8_t *)slot->memory.pointer + slot->done : NULL;
    uint64_t got = 0;
    dray_status status = drayi_pread_all(slot->backend->os, slot->fd, slot->name,
                                         pinned ? pinned : slot->link->bounce, bytes,
                                         slot->offset + slot->done, &got, error);
    if (got > 0 && !pinned) {
        dray_error why;
        dray_status copied = bounce_copy(slot, got, &why);
        if (copied != DRAY_OK) {
            *error = why;
            return copied;
        }
    }
    *out_moved = got;
    return status;
}

static dray_status host_write(const gds_slot *slot, uint64_t bytes, uint64_t *out_moved,
                              dray_error *error)
{
    uint8_t *pinned = slot->memory.pointer ? (uint8_t *)slot->memory.pointer + slot->done : NULL;
    if (!pinned)
        DRAY_TRY(bounce_copy(slot, bytes, error));
    DRAY_TRY(drayi_pwrite_all(slot->backend->os, slot->fd, slot->name,
                              pinned ? pinned : slot->link->bounce, bytes,
                              slot->offset + slot->done, error));
    *out_moved = bytes;
    return DRAY_OK;
}

static bool host_once(gds_slot *slot)
{
    uint64_t bytes = drayi_min(slot->bytes - slot->done, BOUNCE_BYTES), moved_bytes = 0;
    dray_error *error = &slot->op->error;
    dray_status status = slot->write ? host_write(slot, bytes, &moved_bytes, error)
                                     : host_read(slot, bytes, &moved_bytes, error);
    slot->done += moved_bytes;
    if (status != DRAY_OK)
        return fail_with(slot, status);
    return slot->done == slot->bytes && end(slot, DRAY_OK);
}

static void slot_transfer(gds_slot *slot)
{
    bool ended = slot->bytes == 0 && end(slot, DRAY_OK);
    while (!ended) {
        if (atomic_load(&slot->cancelled)) {
            ended = end_cancelled(slot);
        } else if (slot->direct) {
            ended = direct_once(slot);
        } else {
            pthread_mutex_lock(&slot->link->lock);
            ended = host_once(slot);
            pthread_mutex_unlock(&slot->link->lock);
        }
    }
}

static void job_run(drayi_job *job)
{
    gds_slot *slot = (gds_slot *)(void *)((char *)job - offsetof(gds_slot, job));
    slot_transfer(slot);
    drayi_completions_push(&slot->backend->completions, slot->op);
}

// --- submit and poll --------------------------------------------------------------------------------------

static bool is_aligned(const dray_region_native *file, uint64_t offset, uint64_t bytes)
{
    return file->direct_offset_align > 0 && offset % file->direct_offset_align == 0 &&
           bytes % file->direct_offset_align == 0;
}

/// Fills the slot from its operation.
static dray_status slot_begin(gds_slot *slot, dray_error *error)
{
    dray_backend *backend = slot->backend;
    const dray_op *op = slot->op;
    const dray_segment *segment = op->segments;
    dray_region_native file, memory;
    slot->write = op->edge & EDGE_WRITE;
    const dray_region *region = slot->write ? segment->source : segment->target;
    dray_region_get_native(slot->write ? segment->target : segment->source, &file);
    dray_region_get_native(region, &memory);
    const gds_file *known = file_find(backend, file.direct_fd);
    const gds_buffer *buffer = buffer_find(backend, region);
    slot->link = link_find(backend, memory.device);
    if (op->segment_count != 1 || segment->loop_count > 0 || !known || !buffer || !slot->link)
        return dray_fail(error, DRAY_E_INTERNAL,
                         "an operation on %s of no attached regions, or not of one plain run",
                         file.name);
    dray_device_native device;
    dray_device_get_native(memory.device, &device);
    slot->handle = known->handle;
    slot->name = file.name;
    slot->fd = file.fd;
    slot->align = file.direct_offset_align ? file.direct_offset_align : 1;
    slot->base = buffer->base;
    slot->at = slot->write ? segment->source_offset : segment->target_offset;
    slot->offset =
        file.file_offset + (slot->write ? segment->target_offset : segment->source_offset);
    slot->memory = (dray_device_side){
        .storage = memory.storage,
        .pointer = memory.pointer ? (char *)memory.pointer + slot->at : NULL,
        .memory = memory.device_memory,
        .address = memory.device_address + slot->at,
        .device = device.self,
    };
    slot->bytes = segment->run_bytes;
    slot->done = 0;
    slot->fruitless = 0;
    slot->direct = op->edge & EDGE_DIRECT && is_aligned(&file, slot->offset, slot->bytes);
    atomic_store(&slot->cancelled, false);
    return DRAY_OK;
}

static void queue_push(dray_backend *backend, gds_slot *slot)
{
    slot->next = NULL;
    if (backend->last_queued)
        backend->last_queued->next = slot;
    else
        backend->queued = slot;
    backend->last_queued = slot;
}

static void queue_run_one(dray_backend *backend)
{
    gds_slot *slot = backend->queued;
    if (!slot)
        return;
    backend->queued = slot->next;
    if (!backend->queued)
        backend->last_queued = NULL;
    job_run(&slot->job);
}

static void take(dray_backend *backend, dray_op *op)
{
    gds_slot *slot = backend->free_slots;
    backend->free_slots = slot->next;
    slot->op = op;
    op->backend_use[0] = (uintptr_t)slot;
    op->bytes_done = 0;
    op->status = slot_begin(slot, &op->error);
    if (op->status != DRAY_OK) {
        drayi_completions_push(&backend->completions, op);
    } else if (drayi_pool_threads(backend->env->pool) > 0) {
        slot->job.run = job_run;
        drayi_pool_run(backend->env->pool, &slot->job);
    } else {
        queue_push(backend, slot);
    }
}

static uint32_t gds_submit(dray_backend *backend, dray_op **ops, uint32_t count)
{
    uint32_t taken = 0;
    for (; taken < count && backend->free_slots; taken++)
        take(backend, ops[taken]);
    return taken;
}

static uint32_t gds_poll(dray_backend *backend, dray_op **out_ops, uint32_t capacity)
{
    queue_run_one(backend);
    uint32_t count = drayi_completions_take(&backend->completions, out_ops, capacity);
    for (uint32_t i = 0; i < count; i++) {
        gds_slot *slot = (gds_slot *)(uintptr_t)out_ops[i]->backend_use[0];
        slot->next = backend->free_slots;
        backend->free_slots = slot;
    }
    return count;
}

static void gds_cancel(dray_backend *backend, dray_op *op)
{
    (void)backend;
    atomic_store(&((gds_slot *)(uintptr_t)op->backend_use[0])->cancelled, true);
}

static dray_status gds_arm(dray_backend *backend, int *out_fd, dray_error *error)
{
    if (backend->queued)
        return dray_fail(error, DRAY_E_BUSY, "operations wait to be carried out: poll first");
    return drayi_completions_arm(&backend->completions, out_fd, error);
}

static void gds_describe(dray_backend *backend, char *out, size_t capacity)
{
    int used = snprintf(out, capacity, "cuFile, %s",
                        drayi_pool_threads(backend->env->pool) > 0 ? "threads of the pool"
                                                                   : "in the caller");
    uint64_t by_host = atomic_load(&backend->by_host);
    if (by_host && used > 0 && (size_t)used < capacity)
        used += snprintf(out + used, capacity - (size_t)used,
                         "; %" PRIu64 " operations went through host memory", by_host);
    if (backend->unregistered && used > 0 && (size_t)used < capacity)
        snprintf(out + used, capacity - (size_t)used, "; %" PRIu64 " buffers not registered",
                 backend->unregistered);
}

const dray_backend_ops drayi_backend_gds = {
    .abi = DRAY_BACKEND_ABI,
    .flags = DRAY_BACKEND_ON_DEMAND,
    .name = "gds_mt",
    .unproven = "no GPU and no cuFile so far: its tests run on stand-ins for both",
    .open = gds_open,
    .close = gds_close,
    .edges = gds_edges,
    .submit = gds_submit,
    .poll = gds_poll,
    .attach = gds_attach,
    .detach = gds_detach,
    .accepts = gds_accepts,
    .cancel = gds_cancel,
    .arm = gds_arm,
    .describe = gds_describe,
};
