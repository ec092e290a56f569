/// The stand-in for libcuda.so.1: see standin_cuda.h for what it is and what it is not.
///
/// One lock around everything. A device address is a made-up number; what lies behind it is found in a
/// table of allocations. A stream is a list of jobs that run when its end is asked for, so a host buffer
/// that is reused too early gives wrong bytes here, too.
#include "standin_inside.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

EXPORT int standin_depth(void);
EXPORT void standin_set(const standin_config *wanted);
EXPORT void standin_get(standin_counts *out);
EXPORT bool standin_lacks(const char *symbol);

enum { DEVICES_MAX = 4, ALLOCATIONS_MAX = 1024, DEPTH_MAX = 16 };

struct CUctx_st {
    int device, references;
};

typedef struct allocation {
    enum { FREE, DEVICE, MANAGED, HOST, REGISTERED } kind;
    uint64_t address, bytes;
    char *storage; // what lies behind; REGISTERED: the caller's
    int device;
} allocation;

typedef struct job {
    struct job *next;
    void (*act)(void *self, bool dropped); // NULL: a copy or a fill
    void *self;
    char *to;
    const char *from; // NULL: fill
    size_t bytes;
    unsigned char fill;
} job;

struct CUstream_st {
    struct CUstream_st *next;
    struct CUctx_st *context;
    job *first, *last;
};

struct CUevent_st {
    struct CUevent_st *next;
    struct CUstream_st *stream; // it was recorded in; NULL: never
    uint32_t queries_left;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
// all of these are guarded by lock
standin_config inside_config;
#define config inside_config
standin_counts inside_counts;
#define counts inside_counts
static uint64_t fault_seen;
static CUresult lost; // sticky error
static bool started;
static struct CUctx_st contexts[DEVICES_MAX];
static uint64_t used[DEVICES_MAX];
static allocation allocations[ALLOCATIONS_MAX];
static struct CUstream_st *streams;
static struct CUevent_st *events;
static uint64_t next_address = UINT64_C(0x700000000000);

static _Thread_local struct CUctx_st *stack[DEPTH_MAX];
static _Thread_local int depth;

static uint64_t capacity(void)
{
    return config.capacity_bytes ? config.capacity_bytes : UINT64_C(256) << 20;
}

static int device_count(void)
{
    return config.devices < 0 ? 0 : config.devices ? config.devices : 2;
}

static CUresult misuse(CUresult code, const char *what)
{
    counts.misuse++;
    snprintf(counts.last_misuse, sizeof(counts.last_misuse), "%s", what);
    return code;
}

/// Is this the call that fails? True: return *out_code at once.
static bool fault_hits(const char *name, CUresult *out_code)
{
    const standin_fault *fault = &config.fault;
    bool meant = fault->call && (!fault->call[0] || strcmp(fault->call, name) == 0);
    if (!meant || ++fault_seen != fault->at)
        return false;
    counts.hits++;
    snprintf(counts.last_hit, sizeof(counts.last_hit), "%s", name);
    if (fault->sticky)
        lost = fault->code;
    *out_code = fault->code;
    return true;
}

/// What every call does first; the lock is taken when it returns false.
static bool refused(const char *name, bool needs_context, CUresult *out_code)
{
    pthread_mutex_lock(&lock);
    counts.calls++;
    bool refuses = true;
    if (config.stub)
        *out_code = 34;
    else if (fault_hits(name, out_code))
        ;
    else if (!started && strcmp(name, "cuInit") != 0 && strcmp(name, "cuDriverGetVersion") != 0)
        *out_code = misuse(3, name);
    else if (needs_context && depth == 0)
        *out_code = misuse(201, name);
    else if (needs_context && lost)
        *out_code = lost;
    else
        refuses = false;
    if (refuses)
        pthread_mutex_unlock(&lock);
    return refuses;
}

static CUresult done(CUresult code)
{
    pthread_mutex_unlock(&lock);
    return code;
}

// --- base --------------------------------------------------------------------------------------------

EXPORT CUresult cuInit(unsigned flags)
{
    CUresult code;
    if (refused("cuInit", false, &code))
        return code;
    if (flags)
        return done(misuse(1, "cuInit flags"));
    if (device_count() == 0)
        return done(100);
    started = true;
    return done(0);
}

EXPORT CUresult cuDriverGetVersion(int *version)
{
    CUresult code;
    if (refused("cuDriverGetVersion", false, &code))
        return code;
    *version = config.version ? config.version : 13000;
    return done(0);
}

EXPORT CUresult cuGetErrorName(CUresult code_asked, const char **name)
{
    CUresult code;
    if (refused("cuGetErrorName", false, &code))
        return code;
    *name = code_asked == 777 ? "CUDA_ERROR_OF_THE_STANDIN" : NULL;
    return done(*name ? 0 : 1);
}

EXPORT CUresult cuDeviceGetCount(int *count)
{
    CUresult code;
    if (refused("cuDeviceGetCount", false, &code))
        return code;
    *count = device_count();
    return done(0);
}

EXPORT CUresult cuDeviceGet(CUdevice *device, int ordinal)
{
    CUresult code;
    if (refused("cuDeviceGet", false, &code))
        return code;
    if (ordinal < 0 || ordinal >= device_count())
        return done(misuse(101, "cuDeviceGet ordinal"));
    *device = ordinal + 40; // a handle, not the ordinal
    return done(0);
}

static int ordinal_of(CUdevice device)
{
    return device >= 40 && device < 40 + device_count() ? device - 40 : -1;
}

EXPORT CUresult cuDeviceGetName(char *name, int bytes, CUdevice device)
{
    CUresult code;
    if (refused("cuDeviceGetName", false, &code))
        return code;
    if (ordinal_of(device) < 0)
        return done(misuse(101, "cuDeviceGetName device"));
    snprintf(name, (size_t)bytes, "Stand-in %d", ordinal_of(device));
    return done(0);
}

EXPORT CUresult cuDeviceGetAttribute(int *value, drayi_cuda_attribute attribute, CUdevice device)
{
    CUresult code;
    if (refused("cuDeviceGetAttribute", false, &code))
        return code;
    if (ordinal_of(device) < 0)
        return done(misuse(101, "cuDeviceGetAttribute device"));
    switch (attribute) {
    case 41:
        *value = !config.no_unified;
        break;
    case 83:
        *value = !config.no_managed;
        break;
    case 89:
        *value = !config.no_managed && !(config.no_concurrent >> ordinal_of(device) & 1);
        break;
    case 88:
        *value = config.pageable >> ordinal_of(device) & 1;
        break;
    case 99:
        *value = !config.no_register;
        break;
    case 75:
        *value = 9;
        break;
    case 18:
    case 76:
    case 100:
        *value = 0;
        break;
    default:
        return done(1);
    }
    return done(0);
}

EXPORT CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device)
{
    CUresult code;
    if (refused("cuDeviceTotalMem_v2", false, &code))
        return code;
    if (ordinal_of(device) < 0)
        return done(misuse(101, "cuDeviceTotalMem_v2 device"));
    *bytes = capacity();
    return done(0);
}

// --- contexts ------------------------------------------------------------------------------------------

EXPORT CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device)
{
    CUresult code;
    if (refused("cuDevicePrimaryCtxRetain", false, &code))
        return code;
    int ordinal = ordinal_of(device);
    if (ordinal < 0)
        return done(misuse(101, "cuDevicePrimaryCtxRetain device"));
    contexts[ordinal].device = ordinal;
    contexts[ordinal].references++;
    counts.contexts++;
    *context = &contexts[ordinal];
    return done(0);
}

static CUresult context_release(const char *name, CUdevice device)
{
    CUresult code;
    if (refused(name, false, &code))
        return code;
    int ordinal = ordinal_of(device);
    if (ordinal < 0 || contexts[ordinal].references == 0)
        return done(misuse(201, name));
    contexts[ordinal].references--;
    counts.contexts--;
    return done(0);
}

EXPORT CUresult cuDevicePrimaryCtxRelease(CUdevice device)
{
    return context_release("cuDevicePrimaryCtxRelease", device);
}

EXPORT CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device)
{
    return context_release("cuDevicePrimaryCtxRelease_v2", device);
}

EXPORT CUresult cuCtxPushCurrent_v2(CUcontext context)
{
    CUresult code;
    if (refused("cuCtxPushCurrent_v2", false, &code))
        return code;
    if (context < contexts || context >= contexts + DEVICES_MAX || context->references == 0 ||
        depth == DEPTH_MAX)
        return done(misuse(201, "cuCtxPushCurrent_v2"));
    stack[depth++] = context;
    return done(0);
}

/// Never made to fail: an injected fault must not be itself what leaves a context current.
EXPORT CUresult cuCtxPopCurrent_v2(CUcontext *context)
{
    pthread_mutex_lock(&lock);
    if (depth == 0)
        return done(misuse(201, "cuCtxPopCurrent_v2"));
    *context = stack[--depth];
    return done(0);
}

/// How many contexts this thread has pushed; looked up by tests.
EXPORT int standin_depth(void)
{
    return depth;
}

// --- memory --------------------------------------------------------------------------------------------

static allocation *slot_find(uint64_t address)
{
    for (int i = 0; i < ALLOCATIONS_MAX; i++) {
        allocation *each = &allocations[i];
        if (each->kind != FREE && address >= each->address && address < each->address + each->bytes)
            return each;
    }
    return NULL;
}

static allocation *slot_new(void)
{
    for (int i = 0; i < ALLOCATIONS_MAX; i++) {
        if (allocations[i].kind == FREE)
            return &allocations[i];
    }
    return NULL;
}

EXPORT CUresult cuMemGetInfo_v2(size_t *free_bytes, size_t *total_bytes)
{
    CUresult code;
    if (refused("cuMemGetInfo_v2", true, &code))
        return code;
    *total_bytes = capacity();
    *free_bytes = capacity() - used[stack[depth - 1]->device];
    return done(0);
}

static CUresult memory_new(CUdeviceptr *address, size_t bytes, bool managed)
{
    int device = stack[depth - 1]->device;
    if (bytes == 0)
        return done(misuse(1, "allocation of zero bytes"));
    if (bytes > capacity() - used[device])
        return done(2);
    allocation *slot = slot_new();
    if (!slot)
        return done(2);
    char *storage = managed ? aligned_alloc(512, (bytes + 511) / 512 * 512) : malloc(bytes);
    if (!storage)
        return done(2);
    memset(storage, 0xdb, bytes); // what was there before
    *slot = (allocation){.kind = managed ? MANAGED : DEVICE,
                         .address = managed ? (uintptr_t)storage : next_address,
                         .bytes = bytes,
                         .storage = storage,
                         .device = device};
    next_address += (bytes + 4096 + 255) / 256 * 256;
    used[device] += bytes;
    counts.allocations++;
    *address = slot->address;
    return done(0);
}

EXPORT CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t bytes)
{
    CUresult code;
    if (refused("cuMemAlloc_v2", true, &code))
        return code;
    return memory_new(address, bytes, false);
}

EXPORT CUresult cuMemAllocManaged(CUdeviceptr *address, size_t bytes, unsigned flags)
{
    CUresult code;
    if (refused("cuMemAllocManaged", true, &code))
        return code;
    if (flags != 1 || config.no_managed)
        return done(misuse(1, "cuMemAllocManaged"));
    return memory_new(address, bytes, true);
}

static bool jobs_use(const allocation *slot)
{
    for (const struct CUstream_st *stream = streams; stream; stream = stream->next) {
        for (const job *each = stream->first; each; each = each->next) {
            if (each->act)
                continue;
            if ((each->to >= slot->storage && each->to < slot->storage + slot->bytes) ||
                (each->from && each->from >= slot->storage &&
                 each->from < slot->storage + slot->bytes))
                return true;
        }
    }
    return false;
}

EXPORT CUresult cuMemFree_v2(CUdeviceptr address)
{
    CUresult code;
    if (refused("cuMemFree_v2", true, &code))
        return code;
    allocation *slot = slot_find(address);
    if (!slot || slot->address != address || (slot->kind != DEVICE && slot->kind != MANAGED))
        return done(misuse(1, "cuMemFree_v2 of what was not allocated"));
    if (jobs_use(slot))
        misuse(0, "cuMemFree_v2 of memory that a job uses");
    used[slot->device] -= slot->bytes;
    managed_forget(slot->address);
    free(slot->storage);
    slot->kind = FREE;
    counts.allocations--;
    return done(0);
}

EXPORT CUresult cuMemHostAlloc(void **pointer, size_t bytes, unsigned flags)
{
    CUresult code;
    if (refused("cuMemHostAlloc", true, &code))
        return code;
    if (flags != 3 || bytes == 0)
        return done(misuse(1, "cuMemHostAlloc"));
    allocation *slot = slot_new();
    if (!slot)
        return done(2);
    char *storage = calloc(1, bytes);
    if (!storage)
        return done(2);
    *slot = (allocation){
        .kind = HOST, .address = (uintptr_t)storage, .bytes = bytes, .storage = storage};
    counts.host_allocations++;
    *pointer = storage;
    return done(0);
}

EXPORT CUresult cuMemFreeHost(void *pointer)
{
    CUresult code;
    if (refused("cuMemFreeHost", true, &code))
        return code;
    allocation *slot = slot_find((uintptr_t)pointer);
    if (!slot || slot->storage != pointer || slot->kind != HOST)
        return done(misuse(1, "cuMemFreeHost of what was not allocated"));
    free(slot->storage);
    slot->kind = FREE;
    counts.host_allocations--;
    return done(0);
}

EXPORT CUresult cuMemHostRegister_v2(void *pointer, size_t bytes, unsigned flags)
{
    CUresult code;
    if (refused("cuMemHostRegister_v2", true, &code))
        return code;
    if (slot_find((uintptr_t)pointer))
        return done(712);
    allocation *slot = slot_new();
    if (!slot || flags != 3 || bytes == 0)
        return done(misuse(1, "cuMemHostRegister_v2"));
    *slot = (allocation){
        .kind = REGISTERED, .address = (uintptr_t)pointer, .bytes = bytes, .storage = pointer};
    counts.registrations++;
    return done(0);
}

EXPORT CUresult cuMemHostUnregister(void *pointer)
{
    CUresult code;
    if (refused("cuMemHostUnregister", true, &code))
        return code;
    allocation *slot = slot_find((uintptr_t)pointer);
    if (!slot || slot->storage != pointer || slot->kind != REGISTERED)
        return done(713);
    slot->kind = FREE;
    counts.registrations--;
    return done(0);
}

// --- streams and events ----------------------------------------------------------------------------------

static bool stream_known(const struct CUstream_st *stream)
{
    for (const struct CUstream_st *each = streams; each; each = each->next) {
        if (each == stream)
            return true;
    }
    return false;
}

static bool event_known(const struct CUevent_st *event)
{
    for (const struct CUevent_st *each = events; each; each = each->next) {
        if (each == event)
            return true;
    }
    return false;
}

/// Carries out everything in the stream; the first fault ends it.
static CUresult stream_run(struct CUstream_st *stream)
{
    CUresult code = lost;
    while (stream->first) {
        job *each = stream->first;
        stream->first = each->next;
        bool runs = code == 0 && !fault_hits("(job)", &code);
        if (each->act) {
            each->act(each->self, !runs);
        } else if (runs) {
            if (each->from)
                memcpy(each->to, each->from, each->bytes);
            else
                memset(each->to, each->fill, each->bytes);
        }
        free(each);
    }
    stream->last = NULL;
    return code;
}

EXPORT CUresult cuStreamCreate(CUstream *stream, unsigned flags)
{
    CUresult code;
    if (refused("cuStreamCreate", true, &code))
        return code;
    struct CUstream_st *fresh = calloc(1, sizeof(*fresh));
    if (flags != 1 || !fresh) {
        free(fresh);
        return done(misuse(1, "cuStreamCreate flags"));
    }
    fresh->context = stack[depth - 1];
    fresh->next = streams;
    streams = fresh;
    counts.streams++;
    *stream = fresh;
    return done(0);
}

EXPORT CUresult cuStreamDestroy_v2(CUstream stream)
{
    CUresult code;
    if (refused("cuStreamDestroy_v2", true, &code))
        return code;
    if (!stream_known(stream))
        return done(misuse(400, "cuStreamDestroy_v2"));
    stream_run(stream);
    struct CUstream_st **at = &streams;
    while (*at != stream)
        at = &(*at)->next;
    *at = stream->next;
    for (struct CUevent_st *each = events; each; each = each->next) {
        if (each->stream == stream)
            each->stream = NULL;
    }
    free(stream);
    counts.streams--;
    return done(0);
}

EXPORT CUresult cuStreamSynchronize(CUstream stream)
{
    CUresult code;
    if (refused("cuStreamSynchronize", true, &code))
        return code;
    if (!stream_known(stream))
        return done(misuse(400, "cuStreamSynchronize"));
    return done(stream_run(stream));
}

EXPORT CUresult cuEventCreate(CUevent *event, unsigned flags)
{
    CUresult code;
    if (refused("cuEventCreate", true, &code))
        return code;
    struct CUevent_st *fresh = calloc(1, sizeof(*fresh));
    if (flags != 3 || !fresh) {
        free(fresh);
        return done(misuse(1, "cuEventCreate flags"));
    }
    fresh->next = events;
    events = fresh;
    counts.events++;
    *event = fresh;
    return done(0);
}

EXPORT CUresult cuEventDestroy_v2(CUevent event)
{
    CUresult code;
    if (refused("cuEventDestroy_v2", true, &code))
        return code;
    if (!event_known(event))
        return done(misuse(400, "cuEventDestroy_v2"));
    struct CUevent_st **at = &events;
    while (*at != event)
        at = &(*at)->next;
    *at = event->next;
    free(event);
    counts.events--;
    return done(0);
}

EXPORT CUresult cuEventRecord(CUevent event, CUstream stream)
{
    CUresult code;
    if (refused("cuEventRecord", true, &code))
        return code;
    if (!event_known(event) || !stream_known(stream))
        return done(misuse(400, "cuEventRecord"));
    event->stream = stream;
    event->queries_left = config.queries_not_ready;
    return done(0);
}

EXPORT CUresult cuEventQuery(CUevent event)
{
    CUresult code;
    if (refused("cuEventQuery", true, &code))
        return code;
    if (!event_known(event))
        return done(misuse(400, "cuEventQuery"));
    if (event->queries_left > 0) {
        event->queries_left--;
        return done(600);
    }
    return done(event->stream ? stream_run(event->stream) : 0);
}

EXPORT CUresult cuEventSynchronize(CUevent event)
{
    CUresult code;
    if (refused("cuEventSynchronize", true, &code))
        return code;
    if (!event_known(event))
        return done(misuse(400, "cuEventSynchronize"));
    event->queries_left = 0;
    return done(event->stream ? stream_run(event->stream) : 0);
}

// --- copies ----------------------------------------------------------------------------------------------

/// What lies behind a device address, or NULL when the range leaves its allocation.
static char *behind(CUdeviceptr address, size_t bytes)
{
    const allocation *slot = slot_find(address);
    if (!slot || bytes > slot->bytes - (address - slot->address))
        return NULL;
    return slot->storage + (address - slot->address);
}

static CUresult job_add(CUstream stream, char *to, const char *from, size_t bytes,
                        unsigned char fill, const char *name)
{
    if (!stream_known(stream))
        return misuse(400, name);
    job *fresh = to && bytes ? malloc(sizeof(*fresh)) : NULL;
    if (!fresh)
        return misuse(1, name);
    *fresh = (job){.to = to, .from = from, .bytes = bytes, .fill = fill};
    if (stream->last)
        stream->last->next = fresh;
    else
        stream->first = fresh;
    stream->last = fresh;
    return 0;
}

static CUresult copy_add(CUstream stream, char *to, const char *from, size_t bytes, const char *name)
{
    return from ? job_add(stream, to, from, bytes, 0, name) : misuse(1, name);
}

EXPORT CUresult cuMemsetD8Async(CUdeviceptr address, unsigned char value, size_t bytes,
                                CUstream stream)
{
    CUresult code;
    if (refused("cuMemsetD8Async", true, &code))
        return code;
    return done(job_add(stream, behind(address, bytes), NULL, bytes, value, "cuMemsetD8Async"));
}

EXPORT CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes, CUstream stream)
{
    CUresult code;
    if (refused("cuMemcpyHtoDAsync_v2", true, &code))
        return code;
    counts.single_copies++;
    return done(copy_add(stream, behind(to, bytes), from, bytes, "cuMemcpyHtoDAsync_v2"));
}

EXPORT CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, CUstream stream)
{
    CUresult code;
    if (refused("cuMemcpyDtoHAsync_v2", true, &code))
        return code;
    counts.single_copies++;
    return done(copy_add(stream, to, behind(from, bytes), bytes, "cuMemcpyDtoHAsync_v2"));
}

EXPORT CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream)
{
    CUresult code;
    if (refused("cuMemcpyDtoDAsync_v2", true, &code))
        return code;
    counts.single_copies++;
    return done(
        copy_add(stream, behind(to, bytes), behind(from, bytes), bytes, "cuMemcpyDtoDAsync_v2"));
}

EXPORT CUresult cuMemcpyPeerAsync(CUdeviceptr to, CUcontext to_context, CUdeviceptr from,
                                  CUcontext from_context, size_t bytes, CUstream stream)
{
    CUresult code;
    if (refused("cuMemcpyPeerAsync", true, &code))
        return code;
    counts.peer_copies++;
    const allocation *a = slot_find(to), *b = slot_find(from);
    if (!a || !b || &contexts[a->device] != to_context || &contexts[b->device] != from_context)
        return done(misuse(201, "cuMemcpyPeerAsync contexts"));
    return done(
        copy_add(stream, behind(to, bytes), behind(from, bytes), bytes, "cuMemcpyPeerAsync"));
}

/// Every end of a batch must be memory that the driver knows: a device's, or locked.
static CUresult batch(const CUdeviceptr *to, const CUdeviceptr *from, const size_t *bytes,
                      size_t count, const CUmemcpyAttributes *attributes, const size_t *starts,
                      size_t attribute_count, size_t *failed, CUstream stream)
{
    if (count == 0 || attribute_count != 1 || starts[0] != 0 || attributes->srcAccessOrder != 1 ||
        attributes->flags != 0)
        return misuse(1, "cuMemcpyBatchAsync attributes");
    counts.batches++;
    for (size_t i = 0; i < count; i++) {
        CUresult code = copy_add(stream, behind(to[i], bytes[i]), behind(from[i], bytes[i]),
                                 bytes[i], "cuMemcpyBatchAsync");
        if (code) {
            if (failed)
                *failed = i;
            return code;
        }
    }
    return 0;
}

EXPORT CUresult cuMemcpyBatchAsync_v2(CUdeviceptr *to, CUdeviceptr *from, size_t *bytes,
                                      size_t count, CUmemcpyAttributes *attributes, size_t *starts,
                                      size_t attribute_count, CUstream stream)
{
    CUresult code;
    if (refused("cuMemcpyBatchAsync_v2", true, &code))
        return code;
    return done(batch(to, from, bytes, count, attributes, starts, attribute_count, NULL, stream));
}

EXPORT CUresult cuMemcpyBatchAsync(CUdeviceptr *to, CUdeviceptr *from, size_t *bytes, size_t count,
                                   CUmemcpyAttributes *attributes, size_t *starts,
                                   size_t attribute_count, size_t *failed, CUstream stream)
{
    CUresult code;
    if (refused("cuMemcpyBatchAsync", true, &code))
        return code;
    return done(batch(to, from, bytes, count, attributes, starts, attribute_count, failed, stream));
}

// --- the inside door ---------------------------------------------------------------------------------------

static void forget_everything(void)
{
    while (streams) {
        struct CUstream_st *stream = streams;
        lost = 1; // its jobs are dropped
        stream_run(stream);
        streams = stream->next;
        free(stream);
    }
    while (events) {
        struct CUevent_st *event = events;
        events = event->next;
        free(event);
    }
    for (int i = 0; i < ALLOCATIONS_MAX; i++) {
        if (allocations[i].kind != FREE && allocations[i].kind != REGISTERED)
            free(allocations[i].storage);
        allocations[i].kind = FREE;
    }
    managed_forget_all();
    memset(contexts, 0, sizeof(contexts));
    memset(used, 0, sizeof(used));
    memset(&counts, 0, sizeof(counts));
}

EXPORT void standin_set(const standin_config *wanted)
{
    pthread_mutex_lock(&lock);
    if (wanted->fresh)
        forget_everything();
    config = *wanted;
    fault_seen = 0;
    lost = 0;
    started = started && wanted->keep;
    counts.calls = counts.hits = counts.misuse = 0;
    counts.batches = counts.single_copies = counts.peer_copies = 0;
    counts.advises = counts.prefetches = counts.prefetch_batches = counts.discard_batches = 0;
    counts.evicted_pages = 0;
    counts.last_misuse[0] = counts.last_hit[0] = '\0';
    pthread_mutex_unlock(&lock);
}

EXPORT void standin_get(standin_counts *out)
{
    pthread_mutex_lock(&lock);
    *out = counts;
    pthread_mutex_unlock(&lock);
}

/// The first driver that had a call; those that are not named are old.
EXPORT bool standin_lacks(const char *symbol)
{
    static const struct {
        const char *symbol;
        int since;
    } calls[] = {
        {"cuMemAdvise_v2", 12020},         {"cuMemPrefetchAsync_v2", 12020},
        {"cuMemcpyBatchAsync", 12080},     {"cuMemcpyBatchAsync_v2", 13000},
        {"cuFuncGetParamInfo", 12040},     {"cuMemPrefetchBatchAsync", 13000},
        {"cuMemDiscardBatchAsync", 13000},
    };
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        if (strcmp(calls[i].symbol, symbol) == 0)
            return config.symbols && config.symbols < calls[i].since;
    }
    return false;
}

// --- for the other files -----------------------------------------------------------------------------

bool inside_refused(const char *name, bool needs_context, CUresult *out_code)
{
    return refused(name, needs_context, out_code);
}

CUresult inside_done(CUresult code)
{
    return done(code);
}

CUresult inside_misuse(CUresult code, const char *what)
{
    return misuse(code, what);
}

int inside_device_count(void)
{
    return device_count();
}

int inside_ordinal(CUdevice device)
{
    return ordinal_of(device);
}

bool inside_find(uint64_t address, inside_allocation *out)
{
    const allocation *slot = slot_find(address);
    if (!slot)
        return false;
    static const int kinds[] = {[FREE] = INSIDE_NOTHING,
                                [DEVICE] = INSIDE_DEVICE,
                                [MANAGED] = INSIDE_MANAGED,
                                [HOST] = INSIDE_HOST,
                                [REGISTERED] = INSIDE_REGISTERED};
    *out =
        (inside_allocation){.address = slot->address, .bytes = slot->bytes, .device = slot->device};
    out->kind = (unsigned)kinds[slot->kind];
    return true;
}

char *inside_behind(uint64_t address, uint64_t bytes)
{
    return behind(address, bytes);
}

uint64_t inside_used(int device)
{
    return used[device];
}

uint64_t inside_capacity(void)
{
    return capacity();
}

int inside_stream_device(CUstream stream)
{
    return stream_known(stream) ? stream->context->device : -1;
}

bool inside_queue(CUstream stream, void (*act)(void *self, bool dropped), void *self)
{
    job *fresh = stream_known(stream) ? calloc(1, sizeof(*fresh)) : NULL;
    if (!fresh)
        return false;
    fresh->act = act;
    fresh->self = self;
    if (stream->last)
        stream->last->next = fresh;
    else
        stream->first = fresh;
    stream->last = fresh;
    return true;
}
