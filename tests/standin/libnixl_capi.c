/// The stand-in for libnixl_capi.so: see standin_nixl.h for what it is and what it is not.
///
/// Every object begins with its kind, so that a wrong or late handle is noticed; freed objects are kept,
/// marked, to the end of the process. One caller at a time, as dray calls it.
#include "backend/nixl_calls.h"
#include "device/cuda/cuda_calls.h"
#include "standin_nixl.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

// declared from the library's own list: what is defined below has exactly those prototypes
#define PROTOTYPE(member, parameters) EXPORT int nixl_capi_##member parameters;
DRAYI_NIXL_CALLS(PROTOTYPE)
EXPORT bool nixl_capi_is_stub(void);
EXPORT void standin_nixl_set(const standin_nixl_config *wanted);
EXPORT void standin_nixl_get(standin_nixl_counts *out);

enum { PIECES = 256 };
typedef enum kind { GONE, AGENT, MEMORIES, PARAMS, PLUGIN, OPTIONS, LIST, REQUEST } kind;

typedef struct piece {
    int type; // -1: free
    uint64_t address, bytes, device;
    const struct object *plugin;
} piece;

typedef struct object {
    kind kind;
    struct object *next; // all of them
    struct object *agent, *plugin;
    char text[64];  // AGENT, PLUGIN: name
    unsigned queue; // PARAMS, PLUGIN of POSIX
    bool poisoned;  // PLUGIN
    bool is_transfer;
    piece pieces[PIECES]; // AGENT: registered; LIST: one
    uint32_t piece_count;
    piece local, remote; // REQUEST
    bool write, posted, released;
    uint32_t polls;
} object;

static standin_nixl_config config;
static standin_nixl_counts counts;
static uint64_t fault_seen;
static object *objects;

static int misuse(const char *what)
{
    counts.misuse++;
    snprintf(counts.last_misuse, sizeof(counts.last_misuse), "%s", what);
    return DRAYI_NIXL_INVALID_PARAM;
}

static bool fault_hits(const char *name, int *out_code)
{
    counts.calls++;
    if (!config.call || (config.call[0] && strcmp(config.call, name) != 0))
        return false;
    uint64_t last = config.at + (config.repeat ? config.repeat : 1) - 1;
    if (++fault_seen < config.at || fault_seen > last)
        return false;
    counts.hits++;
    snprintf(counts.last_hit, sizeof(counts.last_hit), "%s", name);
    *out_code = config.code;
    return true;
}

static object *make(kind wanted)
{
    object *made = calloc(1, sizeof(*made));
    if (!made)
        abort();
    made->kind = wanted;
    made->next = objects;
    objects = made;
    *(wanted == AGENT ? &counts.agents : wanted == PLUGIN ? &counts.plugins : &counts.objects) += 1;
    return made;
}

static bool is(const object *given, kind wanted)
{
    return given && given->kind == wanted;
}

static int unmake(object *given, kind wanted, const char *what)
{
    if (!is(given, wanted))
        return misuse(what);
    given->kind = GONE;
    *(wanted == AGENT ? &counts.agents : wanted == PLUGIN ? &counts.plugins : &counts.objects) -= 1;
    return DRAYI_NIXL_SUCCESS;
}

EXPORT bool nixl_capi_is_stub(void)
{
    return config.stub;
}

// --- agents and plug-ins ---------------------------------------------------------------------------------

EXPORT int nixl_capi_create_agent(const char *name, void **agent)
{
    int code;
    if (fault_hits("create_agent", &code))
        return code;
    object *made = make(AGENT);
    snprintf(made->text, sizeof(made->text), "%s", name);
    *agent = made;
    return 0;
}

EXPORT int nixl_capi_destroy_agent(void *agent)
{
    int code = 0;
    fault_hits("destroy_agent", &code); // gives back even when it fails
    object *given = agent;
    for (const object *each = objects; each; each = each->next) {
        if (each->kind == REQUEST && each->agent == given)
            misuse("destroy_agent with a request");
    }
    for (uint32_t i = 0; is(given, AGENT) && i < PIECES; i++)
        counts.registrations -= given->pieces[i].plugin != NULL;
    int gone = unmake(given, AGENT, "destroy_agent");
    return gone ? gone : code;
}

EXPORT int nixl_capi_get_plugin_params(void *agent, const char *plugin, void **memories,
                                       void **params)
{
    int code;
    if (fault_hits("get_plugin_params", &code))
        return code;
    if (!is(agent, AGENT))
        return misuse("get_plugin_params");
    if (strcmp(plugin, "POSIX") != 0 && (strcmp(plugin, "GDS_MT") != 0 || config.no_gds))
        return DRAYI_NIXL_BACKEND;
    *memories = make(MEMORIES);
    *params = make(PARAMS);
    return 0;
}

EXPORT int nixl_capi_destroy_mem_list(void *memories)
{
    int code = 0;
    fault_hits("destroy_mem_list", &code);
    unmake(memories, MEMORIES, "destroy_mem_list");
    return code;
}

EXPORT int nixl_capi_params_add(void *params, const char *key, const char *value)
{
    int code;
    if (fault_hits("params_add", &code))
        return code;
    object *given = params;
    if (!is(given, PARAMS) || strcmp(value, "true") != 0)
        return misuse("params_add");
    given->queue = strcmp(key, "use_aio") == 0         ? STANDIN_NIXL_AIO
                   : strcmp(key, "use_uring") == 0     ? STANDIN_NIXL_URING
                   : strcmp(key, "use_posix_aio") == 0 ? STANDIN_NIXL_POSIX_AIO
                                                       : 0;
    return given->queue ? 0 : misuse("params_add of an unknown key");
}

EXPORT int nixl_capi_destroy_params(void *params)
{
    int code = 0;
    fault_hits("destroy_params", &code);
    unmake(params, PARAMS, "destroy_params");
    return code;
}

EXPORT int nixl_capi_create_backend(void *agent, const char *plugin, void *params, void **backend)
{
    int code;
    if (fault_hits("create_backend", &code))
        return code;
    const object *given = params;
    if (!is(agent, AGENT) || !is(given, PARAMS))
        return misuse("create_backend");
    if (given->queue & config.absent)
        return DRAYI_NIXL_BACKEND;
    object *made = make(PLUGIN);
    made->agent = agent;
    made->queue = given->queue;
    counts.queues |= given->queue;
    snprintf(made->text, sizeof(made->text), "%s", plugin);
    *backend = made;
    return 0;
}

EXPORT int nixl_capi_destroy_backend(void *backend)
{
    int code = 0;
    fault_hits("destroy_backend", &code);
    unmake(backend, PLUGIN, "destroy_backend");
    return code;
}

EXPORT int nixl_capi_create_opt_args(void **args)
{
    int code;
    if (fault_hits("create_opt_args", &code))
        return code;
    *args = make(OPTIONS);
    return 0;
}

EXPORT int nixl_capi_opt_args_add_backend(void *args, void *backend)
{
    int code;
    if (fault_hits("opt_args_add_backend", &code))
        return code;
    object *given = args;
    if (!is(given, OPTIONS) || !is(backend, PLUGIN) || given->plugin)
        return misuse("opt_args_add_backend");
    given->plugin = backend;
    return 0;
}

EXPORT int nixl_capi_destroy_opt_args(void *args)
{
    int code = 0;
    fault_hits("destroy_opt_args", &code);
    unmake(args, OPTIONS, "destroy_opt_args");
    return code;
}

// --- lists and registration --------------------------------------------------------------------------------

static int list_create(const char *name, int type, void **list, bool sorted, bool is_transfer)
{
    int code;
    if (fault_hits(name, &code))
        return code;
    if (sorted)
        return misuse("a sorted list");
    object *made = make(LIST);
    made->local.type = type;
    made->is_transfer = is_transfer;
    *list = made;
    return 0;
}

static int list_add(const char *name, object *list, bool is_transfer, uint64_t address,
                    uint64_t bytes, uint64_t device)
{
    int code;
    if (fault_hits(name, &code))
        return code;
    if (!is(list, LIST) || list->is_transfer != is_transfer || list->piece_count == PIECES)
        return misuse(name);
    list->pieces[list->piece_count++] =
        (piece){.type = list->local.type, .address = address, .bytes = bytes, .device = device};
    return 0;
}

EXPORT int nixl_capi_create_reg_dlist(int type, void **list, bool sorted)
{
    return list_create("create_reg_dlist", type, list, sorted, false);
}

EXPORT int nixl_capi_reg_dlist_add_desc(void *list, uintptr_t address, size_t bytes,
                                        uint64_t device, const void *metadata, size_t metadata_bytes)
{
    if (metadata || metadata_bytes)
        return misuse("reg_dlist_add_desc with metadata");
    return list_add("reg_dlist_add_desc", list, false, address, bytes, device);
}

EXPORT int nixl_capi_destroy_reg_dlist(void *list)
{
    int code = 0;
    fault_hits("destroy_reg_dlist", &code);
    unmake(list, LIST, "destroy_reg_dlist");
    return code;
}

EXPORT int nixl_capi_create_xfer_dlist(int type, void **list, bool sorted)
{
    return list_create("create_xfer_dlist", type, list, sorted, true);
}

EXPORT int nixl_capi_xfer_dlist_add_desc(void *list, uintptr_t address, size_t bytes,
                                         uint64_t device)
{
    return list_add("xfer_dlist_add_desc", list, true, address, bytes, device);
}

EXPORT int nixl_capi_destroy_xfer_dlist(void *list)
{
    int code = 0;
    fault_hits("destroy_xfer_dlist", &code);
    unmake(list, LIST, "destroy_xfer_dlist");
    return code;
}

static bool serves(const object *plugin, int type)
{
    bool posix = strcmp(plugin->text, "POSIX") == 0;
    return type == DRAYI_NIXL_FILE || (posix ? type == DRAYI_NIXL_DRAM : type == DRAYI_NIXL_VRAM);
}

/// The registered piece that holds `wanted`, or with `exact` is it.
static piece *registered(object *agent, const object *plugin, const piece *wanted, bool exact)
{
    for (uint32_t i = 0; i < PIECES; i++) {
        piece *each = &agent->pieces[i];
        if (each->plugin != plugin || each->type != wanted->type || each->device != wanted->device)
            continue;
        bool same = each->address == wanted->address && each->bytes == wanted->bytes;
        bool inside = wanted->address >= each->address && wanted->bytes <= each->bytes &&
                      wanted->address - each->address <= each->bytes - wanted->bytes;
        if (exact ? same : inside)
            return each;
    }
    return NULL;
}

EXPORT int nixl_capi_register_mem(void *agent, void *list, void *args)
{
    int code;
    if (fault_hits("register_mem", &code))
        return code;
    object *owner = agent, *given = list, *options = args;
    if (!is(owner, AGENT) || !is(given, LIST) || given->is_transfer || !is(options, OPTIONS) ||
        given->piece_count != 1 || options->plugin->agent != owner)
        return misuse("register_mem");
    if (!serves(options->plugin, given->local.type))
        return DRAYI_NIXL_BACKEND;
    for (uint32_t i = 0; i < PIECES; i++) {
        if (owner->pieces[i].plugin)
            continue;
        owner->pieces[i] = given->pieces[0];
        owner->pieces[i].plugin = options->plugin;
        counts.registrations++;
        return 0;
    }
    return DRAYI_NIXL_BACKEND;
}

EXPORT int nixl_capi_deregister_mem(void *agent, void *list, void *args)
{
    int code = 0;
    fault_hits("deregister_mem", &code);
    object *owner = agent, *given = list, *options = args;
    if (!is(owner, AGENT) || !is(given, LIST) || !is(options, OPTIONS))
        return misuse("deregister_mem");
    piece *known = registered(owner, options->plugin, &given->pieces[0], true);
    if (!known)
        return misuse("deregister_mem of what was not registered");
    known->plugin = NULL;
    counts.registrations--;
    return code;
}

// --- requests ------------------------------------------------------------------------------------------------

EXPORT int nixl_capi_create_xfer_req(void *agent, int operation, void *local, void *remote,
                                     const char *remote_agent, void **request, void *args)
{
    int code;
    if (fault_hits("create_xfer_req", &code))
        return code;
    object *owner = agent, *from = local, *to = remote, *options = args;
    if (!is(owner, AGENT) || !is(from, LIST) || !is(to, LIST) || !is(options, OPTIONS) ||
        !from->is_transfer || !to->is_transfer || strcmp(remote_agent, owner->text) != 0 ||
        from->piece_count != 1 || to->piece_count != 1 || to->local.type != DRAYI_NIXL_FILE)
        return misuse("create_xfer_req");
    if (!registered(owner, options->plugin, &from->pieces[0], false) ||
        !registered(owner, options->plugin, &to->pieces[0], false)) {
        misuse("create_xfer_req on what is not registered");
        return DRAYI_NIXL_BACKEND;
    }
    if (from->pieces[0].bytes != to->pieces[0].bytes)
        return misuse("create_xfer_req of two lengths");
    object *made = make(REQUEST);
    made->agent = owner;
    made->plugin = options->plugin;
    made->local = from->pieces[0];
    made->remote = to->pieces[0];
    made->write = operation == DRAYI_NIXL_WRITE;
    counts.requests++;
    *request = made;
    return 0;
}

EXPORT int nixl_capi_post_xfer_req(void *agent, void *request, void *args)
{
    int code;
    object *given = request;
    if (!is(given, REQUEST) || given->agent != agent || given->posted || args)
        return misuse("post_xfer_req");
    if (fault_hits("post_xfer_req", &code)) {
        given->plugin->poisoned = true;
        return code;
    }
    given->posted = true;
    given->polls = config.polls;
    return DRAYI_NIXL_IN_PROGRESS;
}

static void *cuda_call(const char *name)
{
    const char *path = getenv("DRAY_STANDIN_CUDA");
    void *library = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE) : NULL;
    return library ? dlsym(library, name) : NULL;
}

#define CUDA_CALL(variable, symbol)                   \
    do {                                              \
        void *found_ = cuda_call(#symbol);            \
        memcpy(&(variable), &found_, sizeof(found_)); \
    } while (0)

static bool device_copy(const piece *device, void *host, size_t bytes, bool to_device)
{
    drayi_cuda_calls cuda = {0};
    CUDA_CALL(cuda.device_get, cuDeviceGet);
    CUDA_CALL(cuda.context_retain, cuDevicePrimaryCtxRetain);
    CUDA_CALL(cuda.context_release, cuDevicePrimaryCtxRelease_v2);
    CUDA_CALL(cuda.context_push, cuCtxPushCurrent_v2);
    CUDA_CALL(cuda.context_pop, cuCtxPopCurrent_v2);
    CUDA_CALL(cuda.stream_create, cuStreamCreate);
    CUDA_CALL(cuda.stream_wait, cuStreamSynchronize);
    CUDA_CALL(cuda.stream_destroy, cuStreamDestroy_v2);
    CUDA_CALL(cuda.copy_to_device, cuMemcpyHtoDAsync_v2);
    CUDA_CALL(cuda.copy_to_host, cuMemcpyDtoHAsync_v2);
    CUdevice number;
    CUcontext context;
    CUstream stream;
    if (!cuda.device_get || cuda.device_get(&number, (int)device->device) != 0 ||
        cuda.context_retain(&context, number) != 0)
        return false;
    cuda.context_push(context);
    cuda.stream_create(&stream, 1);
    CUresult code = to_device ? cuda.copy_to_device(device->address, host, bytes, stream)
                              : cuda.copy_to_host(host, device->address, bytes, stream);
    CUresult waited = cuda.stream_wait(stream);
    cuda.stream_destroy(stream);
    cuda.context_pop(&context);
    cuda.context_release(number);
    return code == 0 && waited == 0;
}

static bool carry_out(const object *request)
{
    const piece *local = &request->local, *remote = &request->remote;
    bool device = local->type == DRAYI_NIXL_VRAM;
    int fd = (int)remote->device;
    char *buffer = device ? calloc(1, local->bytes) : (char *)(uintptr_t)local->address;
    if (!buffer)
        return false;
    bool ok = true;
    ssize_t got;
    if (request->write) {
        if (device)
            ok = device_copy(local, buffer, local->bytes, false);
        got = ok ? pwrite(fd, buffer, remote->bytes, (off_t)remote->address) : -1;
    } else {
        got = pread(fd, buffer, remote->bytes, (off_t)remote->address);
        if (device && got > 0)
            ok = device_copy(local, buffer, (size_t)got, true);
    }
    if (device)
        free(buffer);
    bool all = got == (ssize_t)remote->bytes;
    return ok && (all || request->plugin->queue & config.liars);
}

EXPORT int nixl_capi_get_xfer_status(void *agent, void *request)
{
    int code;
    object *given = request;
    if (!is(given, REQUEST) || given->agent != agent || !given->posted || given->released)
        return misuse("get_xfer_status");
    if (given->polls > 0) {
        given->polls--;
        return DRAYI_NIXL_IN_PROGRESS;
    }
    if (given->plugin->poisoned)
        return DRAYI_NIXL_BACKEND; // whatever became of the bytes
    if (fault_hits("get_xfer_status", &code)) {
        given->plugin->poisoned = code < 0;
        return code;
    }
    if (carry_out(given))
        return 0;
    given->plugin->poisoned = true;
    return DRAYI_NIXL_BACKEND;
}

EXPORT int nixl_capi_release_xfer_req(void *agent, void *request)
{
    int code = 0;
    fault_hits("release_xfer_req", &code);
    object *given = request;
    if (!is(given, REQUEST) || given->agent != agent || given->released)
        return misuse("release_xfer_req");
    given->released = true;
    return code;
}

EXPORT int nixl_capi_destroy_xfer_req(void *request)
{
    int code = 0;
    fault_hits("destroy_xfer_req", &code);
    object *given = request;
    if (!is(given, REQUEST) || !given->released)
        return misuse("destroy_xfer_req before release_xfer_req");
    unmake(given, REQUEST, "destroy_xfer_req");
    return code;
}

// --- the inside door -----------------------------------------------------------------------------------------

EXPORT void standin_nixl_set(const standin_nixl_config *wanted)
{
    config = *wanted;
    fault_seen = 0;
    if (config.fresh) {
        counts = (standin_nixl_counts){0};
        while (objects) {
            object *next = objects->next;
            free(objects);
            objects = next;
        }
    }
    counts = (standin_nixl_counts){.agents = counts.agents,
                                   .plugins = counts.plugins,
                                   .objects = counts.objects,
                                   .registrations = counts.registrations};
}

EXPORT void standin_nixl_get(standin_nixl_counts *out)
{
    *out = counts;
}
