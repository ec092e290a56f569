/// NIXL: files to and from host memory by its POSIX plug-in, and CUDA devices by its GDS_MT plug-in.
///
/// NIXL reports a status and no byte count, and not every version of it reports the truth: of release 1.4.0
/// two of three I/O queues call a short read a success. So the queues are tried at open, with a read that
/// must fail, and one that says it went well is not used; every transfer is held against the size of its
/// file; and files are given through the page cache, where no length is a wrong one.
///
/// Each operation has an engine (an agent of NIXL) of its own while it is in flight: one that failed is made
/// anew. NIXL wakes nobody, so this backend must be polled.
#include "backend/nixl_engine.h"
#include "backend/op_list.h"
#include "base/env.h"
#include "dray/spi/backend.h"
#include "dray/spi/device.h"
#include "os/os.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { ENGINES = 8 };
#define BEST_BYTES (1u << 20)
#define MAX_BYTES (64u << 20)

enum { EDGE_WRITE = 1, EDGE_DEVICE = 2, EDGE_PINNED = 4 }; // bits of dray_edge.id

typedef struct nixl_slot {
    drayi_nixl_engine engine;
    dray_op *op; // NULL: free
    bool write;
    int fd;
    const char *name; // of the file
    uint64_t offset, bytes;
    bool broken; // its engine is to be made anew
} nixl_slot;

/// What every engine is told, and a new one is told again.
typedef struct nixl_known {
    const dray_region *region;
    drayi_nixl_piece piece;
    bool plugins[DRAYI_NIXL_PLUGINS]; // who was told
} nixl_known;

struct dray_backend {
    drayi_env *env;
    const drayi_os *os;
    void *library;
    drayi_nixl_calls calls;
    const dray_device_ops *family; // of the devices; NULL: no GDS_MT
    const char *queue;             // of the POSIX plug-in
    nixl_known *known;
    uint64_t known_count, known_capacity;
    drayi_op_list ended;
    uint64_t renewed; // engines made anew
    nixl_slot slots[ENGINES];
};

// --- opening and closing -----------------------------------------------------------------------------

static bool symbol_find(dray_backend *backend, const char *name, void *out_function)
{
    void *symbol = backend->os->library_symbol(backend->library, name);
    memcpy(out_function, &symbol, sizeof(symbol));
    return symbol != NULL;
}

static dray_status library_load(dray_backend *backend, dray_error *error)
{
    char why[200] = "";
    backend->library = backend->os->library_open("libnixl_capi.so", why, sizeof(why));
    if (!backend->library)
        return dray_fail(error, DRAY_E_UNSUPPORTED, "%s", why);
    const char *absent = NULL;
    if (!symbol_find(backend, "nixl_capi_is_stub", &backend->calls.is_stub))
        absent = "nixl_capi_is_stub";
#define FIND(member, parameters)                                                        \
    if (!symbol_find(backend, "nixl_capi_" #member, &backend->calls.member) && !absent) \
        absent = "nixl_capi_" #member;
    DRAYI_NIXL_CALLS(FIND)
#undef FIND
    if (absent)
        return dray_fail(error, DRAY_E_UNSUPPORTED, "libnixl_capi.so has no %s", absent);
    if (backend->calls.is_stub())
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "libnixl_capi.so is NIXL's stub, which moves no bytes; install NIXL itself "
                         "and put its folder in front");
    return DRAY_OK;
}

static dray_status wait_end(drayi_nixl_engine *engine, const drayi_os *os, dray_error *error)
{
    bool done = false;
    for (int64_t give_up = os->now_ns() + INT64_C(5000000000); !done;) {
        DRAY_TRY(drayi_nixl_engine_ask(engine, &done, error));
        if (!done && os->now_ns() > give_up)
            return dray_fail(error, DRAY_E_TIMEOUT, "a read of 8 KiB had no end after 5 s");
    }
    return DRAY_OK;
}

enum { TRIAL_FILE = 4096, TRIAL_MEMORY = 8192 };

/// Reads `bytes` of the file; *out_ok: the queue says that all went well.
static dray_status trial_read(drayi_nixl_engine *engine, const drayi_os *os, int fd, void *memory,
                              uint64_t bytes, bool *out_ok, dray_error *error)
{
    drayi_nixl_piece to = {DRAYI_NIXL_DRAM, (uintptr_t)memory, bytes, 0};
    drayi_nixl_piece from = {DRAYI_NIXL_FILE, 0, bytes, (uint64_t)fd};
    dray_status status = drayi_nixl_engine_post(engine, DRAYI_NIXL_POSIX, false, &to, &from, error);
    if (status == DRAY_OK)
        status = wait_end(engine, os, error);
    *out_ok = status == DRAY_OK;
    return status == DRAY_E_TIMEOUT ? status : DRAY_OK;
}

/// Does this queue tell the truth? A file of one page is read whole, then beyond its end.
static dray_status trial_run(const dray_backend *backend, const char *queue, int fd, void *memory,
                             dray_error *error)
{
    drayi_nixl_engine engine;
    DRAY_TRY(drayi_nixl_engine_open(&engine, &backend->calls, queue, false, error));
    drayi_nixl_piece to = {DRAYI_NIXL_DRAM, (uintptr_t)memory, TRIAL_MEMORY, 0};
    drayi_nixl_piece from = {DRAYI_NIXL_FILE, 0, TRIAL_MEMORY, (uint64_t)fd};
    bool whole = false, beyond = true;
    dray_status status = drayi_nixl_engine_register(&engine, DRAYI_NIXL_POSIX, &to, error);
    if (status == DRAY_OK)
        status = drayi_nixl_engine_register(&engine, DRAYI_NIXL_POSIX, &from, error);
    if (status == DRAY_OK)
        status = trial_read(&engine, backend->os, fd, memory, TRIAL_FILE, &whole, error);
    if (status == DRAY_OK && !whole)
        status = dray_fail(error, DRAY_E_UNSUPPORTED, "%s: a plain read fails", queue);
    if (status == DRAY_OK)
        status = trial_read(&engine, backend->os, fd, memory, TRIAL_MEMORY, &beyond, error);
    if (status == DRAY_OK && beyond)
        status = dray_fail(error, DRAY_E_UNSUPPORTED,
                           "%s: a read beyond the end of a file is called "
                           "a success",
                           queue);
    drayi_nixl_engine_close(&engine);
    return status;
}

/// Takes the first queue that passes; all failed: the last one's reason.
static dray_status queue_choose(dray_backend *backend, dray_error *error)
{
    const drayi_os *os = backend->os;
    int fd = os->memfd("dray-nixl-trial", 0);
    if (fd < 0)
        return dray_fail_os(error, -fd, "memfd_create", "a file to try NIXL's I/O queues with");
    void *memory = drayi_alloc(backend->env, TRIAL_MEMORY, error);
    dray_status status = memory ? DRAY_OK : DRAY_E_NOMEM;
    int code = os->truncate(fd, TRIAL_FILE);
    if (status == DRAY_OK && code < 0)
        status = dray_fail_os(error, -code, "ftruncate", "a file to try NIXL's I/O queues with");
    for (const char *const *queue = drayi_nixl_queues;
         status == DRAY_OK && *queue && !backend->queue; queue++) {
        if (trial_run(backend, *queue, fd, memory, error) == DRAY_OK)
            backend->queue = *queue;
    }
    if (status == DRAY_OK && !backend->queue)
        status =
            dray_fail_within(error, DRAY_E_UNSUPPORTED, "NIXL has no I/O queue that can be used");
    drayi_free(backend->env, memory, TRIAL_MEMORY);
    drayi_close_file(os, fd);
    return status;
}

/// GDS_MT wants CUDA devices, and a GPU in this machine (cuFile hangs without).
static void family_find(dray_backend *backend)
{
    dray_driver *driver;
    for (const dray_device_ops *const *each = backend->env->devices; *each; each++) {
        if (strcmp((*each)->family, "cuda") != 0 ||
            (*each)->load(backend->env, &driver, NULL) != DRAY_OK)
            continue;
        if ((*each)->count(driver) > 0)
            backend->family = *each;
        (*each)->unload(driver);
    }
}

static void nixl_close(dray_backend *backend)
{
    for (uint32_t i = 0; i < ENGINES; i++)
        drayi_nixl_engine_close(&backend->slots[i].engine);
    if (backend->library)
        backend->os->library_close(backend->library);
    drayi_free(backend->env, backend->known, backend->known_capacity * sizeof(*backend->known));
    drayi_free(backend->env, backend, sizeof(*backend));
}

static dray_status nixl_build(dray_backend *backend, dray_error *error)
{
    DRAY_TRY(library_load(backend, error));
    DRAY_TRY(queue_choose(backend, error));
    family_find(backend);
    for (uint32_t i = 0; i < ENGINES; i++) {
        drayi_nixl_engine *engine = &backend->slots[i].engine;
        DRAY_TRY(drayi_nixl_engine_open(engine, &backend->calls, backend->queue,
                                        backend->family != NULL, error));
        if (!engine->options[DRAYI_NIXL_GDS_MT])
            backend->family = NULL; // one without it: none of them will be asked
    }
    return DRAY_OK;
}

static dray_status nixl_open(drayi_env *env, dray_backend **out_backend, dray_error *error)
{
    dray_backend *backend = drayi_new(env, dray_backend, error);
    if (!backend)
        return DRAY_E_NOMEM;
    backend->env = env;
    backend->os = env->os;
    dray_status status = nixl_build(backend, error);
    if (status == DRAY_E_DEVICE) // NIXL failed, not a machine that worked before
        status = dray_fail_within(error, DRAY_E_UNSUPPORTED, "NIXL");
    if (status != DRAY_OK)
        nixl_close(backend);
    else
        *out_backend = backend;
    return status;
}

static uint32_t nixl_edges(dray_backend *backend, dray_edge *out_edges, uint32_t capacity)
{
    uint32_t count = 0;
    for (uint32_t id = 0; id < 6; id++) {
        if (id & EDGE_DEVICE && !backend->family)
            continue;
        dray_storage memory = id & EDGE_DEVICE   ? DRAY_STORAGE_DEVICE
                              : id & EDGE_PINNED ? DRAY_STORAGE_PINNED
                                                 : DRAY_STORAGE_SYSTEM;
        if (count < capacity)
            out_edges[count] = (dray_edge){
                .from = id & EDGE_WRITE ? memory : DRAY_STORAGE_DISK,
                .to = id & EDGE_WRITE ? DRAY_STORAGE_DISK : memory,
                .id = id,
                .max_bytes = MAX_BYTES,
                .max_segments = 1, // of several, nobody could say which one failed
                .best_bytes = BEST_BYTES,
                .best_depth = ENGINES,
                .cost = 300,
                .family = backend->family,
            };
        count++;
    }
    return count;
}

// --- registration -------------------------------------------------------------------------------------

static bool has_plugin(const dray_backend *backend, drayi_nixl_plugin plugin)
{
    return plugin == DRAYI_NIXL_POSIX || backend->family;
}

/// Which plug-ins hear of this kind of memory?
static void plugins_of(const dray_backend *backend, nixl_known *known)
{
    known->plugins[DRAYI_NIXL_POSIX] = known->piece.type != DRAYI_NIXL_VRAM;
    known->plugins[DRAYI_NIXL_GDS_MT] =
        has_plugin(backend, DRAYI_NIXL_GDS_MT) && known->piece.type != DRAYI_NIXL_DRAM;
}

static void engine_forget(drayi_nixl_engine *engine, const nixl_known *known)
{
    for (int i = 0; i < DRAYI_NIXL_PLUGINS; i++) {
        if (known->plugins[i] && engine->agent)
            drayi_nixl_engine_deregister(engine, (drayi_nixl_plugin)i, &known->piece);
    }
}

static dray_status engine_learn(drayi_nixl_engine *engine, const nixl_known *known,
                                dray_error *error)
{
    for (int i = 0; i < DRAYI_NIXL_PLUGINS; i++) {
        if (known->plugins[i])
            DRAY_TRY(drayi_nixl_engine_register(engine, (drayi_nixl_plugin)i, &known->piece, error));
    }
    return DRAY_OK;
}

/// Makes a broken engine anew; while that fails the slot stays broken.
static dray_status slot_renew(dray_backend *backend, nixl_slot *slot, dray_error *error)
{
    drayi_nixl_engine_close(&slot->engine);
    slot->broken = true;
    DRAY_TRY(drayi_nixl_engine_open(&slot->engine, &backend->calls, backend->queue,
                                    backend->family != NULL, error));
    if (backend->family && !slot->engine.options[DRAYI_NIXL_GDS_MT])
        return dray_fail(error, DRAY_E_DEVICE, "the plug-in GDS_MT did not come back");
    for (uint64_t i = 0; i < backend->known_count; i++)
        DRAY_TRY(engine_learn(&slot->engine, &backend->known[i], error));
    slot->broken = false;
    backend->renewed++;
    return DRAY_OK;
}

static dray_status piece_of(const dray_backend *backend, const dray_region_native *native,
                            drayi_nixl_piece *out, dray_error *error)
{
    if (native->storage == DRAY_STORAGE_DISK) {
        *out = (drayi_nixl_piece){DRAYI_NIXL_FILE, native->file_offset, native->bytes,
                                  (uint64_t)native->fd};
    } else if (native->storage == DRAY_STORAGE_DEVICE && native->family == backend->family) {
        dray_device_native device;
        dray_device_get_native(native->device, &device);
        *out = (drayi_nixl_piece){DRAYI_NIXL_VRAM, native->device_address, native->bytes,
                                  device.ordinal};
    } else if (native->pointer) {
        *out = (drayi_nixl_piece){DRAYI_NIXL_DRAM, (uintptr_t)native->pointer, native->bytes, 0};
    } else {
        return dray_fail(error, DRAY_E_UNSUPPORTED, "%s: NIXL is not asked for %s memory",
                         native->name, dray_storage_name(native->storage));
    }
    return DRAY_OK;
}

static dray_status nixl_attach(dray_backend *backend, dray_region *region, dray_error *error)
{
    dray_region_native native;
    dray_region_get_native(region, &native);
    nixl_known known = {.region = region};
    DRAY_TRY(piece_of(backend, &native, &known.piece, error));
    plugins_of(backend, &known);
    DRAY_TRY(drayi_grow(backend->env, (void **)&backend->known, &backend->known_capacity,
                        backend->known_count + 1, sizeof(*backend->known), error));
    for (uint32_t i = 0; i < ENGINES; i++) {
        nixl_slot *slot = &backend->slots[i];
        dray_status status = slot->broken ? DRAY_OK : engine_learn(&slot->engine, &known, error);
        if (status == DRAY_OK)
            continue;
        while (i-- > 0) {
            if (!backend->slots[i].broken)
                engine_forget(&backend->slots[i].engine, &known);
        }
        slot->broken = true; // who knows what it kept
        return dray_fail_within(error, status, "%s", native.name);
    }
    backend->known[backend->known_count++] = known;
    return DRAY_OK;
}

static void nixl_detach(dray_backend *backend, dray_region *region)
{
    for (uint64_t k = 0; k < backend->known_count; k++) {
        if (backend->known[k].region != region)
            continue;
        for (uint32_t i = 0; i < ENGINES; i++) {
            if (!backend->slots[i].broken)
                engine_forget(&backend->slots[i].engine, &backend->known[k]);
        }
        backend->known[k] = backend->known[--backend->known_count];
        return;
    }
}

// --- operations -----------------------------------------------------------------------------------------

static void op_end(dray_backend *backend, dray_op *op)
{
    drayi_op_list_push(&backend->ended, op);
}

/// Frees the slot; its operation carries status and error.
static void slot_end(dray_backend *backend, nixl_slot *slot, dray_status status)
{
    dray_op *op = slot->op;
    slot->op = NULL;
    op->status = status;
    op->bytes_done = status == DRAY_OK ? slot->bytes : 0; // NIXL does not say how far it came
    if (status != DRAY_OK) {
        slot->broken = true;
        drayi_nixl_engine_close(&slot->engine); // nothing of it may come late
        op->error.offset = slot->offset;
        dray_fail_within(&op->error, status, "%s %s: %" PRIu64 " bytes at %" PRIu64,
                         slot->write ? "write" : "read", slot->name, slot->bytes, slot->offset);
    }
    op_end(backend, op);
}

/// NIXL says it went well. A file that ends before the transfer does knows better.
static dray_status size_check(const dray_backend *backend, const nixl_slot *slot, dray_error *error)
{
    drayi_file_facts facts;
    int code = backend->os->facts(slot->fd, &facts);
    if (code < 0)
        return dray_fail_os(error, -code, "statx", "the file's size");
    if ((facts.mode & S_IFMT) != S_IFREG || facts.bytes >= slot->offset + slot->bytes)
        return DRAY_OK;
    return dray_fail(error, DRAY_E_CORRUPT, "file ends at %" PRIu64, facts.bytes);
}

static void slot_ask(dray_backend *backend, nixl_slot *slot)
{
    bool done = false;
    dray_error *error = &slot->op->error;
    dray_status status = drayi_nixl_engine_ask(&slot->engine, &done, error);
    if (!done)
        return;
    dray_error why = {0};
    dray_status size = size_check(backend, slot, &why);
    if (size != DRAY_OK && (status == DRAY_OK || size == DRAY_E_CORRUPT)) {
        status = size; // also the better reason for a failure
        *error = why;
    }
    slot_end(backend, slot, status);
}

static nixl_slot *slot_free(dray_backend *backend)
{
    for (uint32_t i = 0; i < ENGINES; i++) {
        if (!backend->slots[i].op)
            return &backend->slots[i];
    }
    return NULL;
}

/// Fills the slot and the two pieces from its operation.
static dray_status slot_begin(dray_backend *backend, nixl_slot *slot, drayi_nixl_piece *memory,
                              drayi_nixl_piece *file, dray_error *error)
{
    const dray_op *op = slot->op;
    const dray_segment *segment = op->segments;
    dray_region_native disk, other;
    slot->write = op->edge & EDGE_WRITE;
    dray_region_get_native(slot->write ? segment->target : segment->source, &disk);
    dray_region_get_native(slot->write ? segment->source : segment->target, &other);
    slot->fd = disk.fd;
    slot->name = disk.name;
    slot->bytes = segment->run_bytes;
    slot->offset =
        disk.file_offset + (slot->write ? segment->target_offset : segment->source_offset);
    if (op->segment_count != 1 || segment->loop_count > 0 || disk.storage != DRAY_STORAGE_DISK)
        return dray_fail(error, DRAY_E_INTERNAL, "an operation of no file, or not of one plain run");
    DRAY_TRY(piece_of(backend, &other, memory, error));
    memory->address += slot->write ? segment->source_offset : segment->target_offset;
    memory->bytes = slot->bytes;
    *file = (drayi_nixl_piece){DRAYI_NIXL_FILE, slot->offset, slot->bytes, (uint64_t)disk.fd};
    return slot->broken ? slot_renew(backend, slot, error) : DRAY_OK;
}

static void take(dray_backend *backend, nixl_slot *slot, dray_op *op)
{
    drayi_nixl_piece memory, file;
    slot->op = op;
    dray_status status = slot_begin(backend, slot, &memory, &file, &op->error);
    if (status == DRAY_OK && slot->bytes > 0) {
        drayi_nixl_plugin plugin = op->edge & EDGE_DEVICE ? DRAYI_NIXL_GDS_MT : DRAYI_NIXL_POSIX;
        status =
            drayi_nixl_engine_post(&slot->engine, plugin, slot->write, &memory, &file, &op->error);
        if (status == DRAY_OK)
            return;
    }
    slot_end(backend, slot, status);
}

static uint32_t nixl_submit(dray_backend *backend, dray_op **ops, uint32_t count)
{
    uint32_t taken = 0;
    for (nixl_slot *slot; taken < count && (slot = slot_free(backend)); taken++)
        take(backend, slot, ops[taken]);
    return taken;
}

static uint32_t nixl_poll(dray_backend *backend, dray_op **out_ops, uint32_t capacity)
{
    for (uint32_t i = 0; i < ENGINES; i++) {
        if (backend->slots[i].op)
            slot_ask(backend, &backend->slots[i]);
    }
    return drayi_op_list_take(&backend->ended, out_ops, capacity);
}

static void nixl_describe(dray_backend *backend, char *out, size_t capacity)
{
    int used = snprintf(out, capacity, "NIXL, POSIX plug-in with %s%s, %d at a time",
                        backend->queue, backend->family ? ", GDS_MT plug-in" : "", ENGINES);
    if (backend->renewed && used > 0 && (size_t)used < capacity)
        snprintf(out + used, capacity - (size_t)used,
                 "; %" PRIu64 " engines made anew after errors", backend->renewed);
}

const dray_backend_ops drayi_backend_nixl = {
    .abi = DRAY_BACKEND_ABI,
    .flags = DRAY_BACKEND_ON_DEMAND | DRAY_BACKEND_MUST_POLL,
    .name = "nixl",
    .unproven =
        "its tests run on a stand-in, and of NIXL itself only files and host memory were tried",
    .open = nixl_open,
    .close = nixl_close,
    .edges = nixl_edges,
    .submit = nixl_submit,
    .poll = nixl_poll,
    .attach = nixl_attach,
    .detach = nixl_detach,
    .describe = nixl_describe,
};
