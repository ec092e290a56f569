/// A raw UCP loop with the settings of dray's backend: what its transfers between processes are held against.
///
/// Peer-error mode, shared memory in spite of it, loopback, wake-ups; puts of a batch and one flush, or gets;
/// the caller progresses its worker until they have ended.
#include "bench_transfer.h"

#ifdef DRAY_HAVE_UCX

#include <dlfcn.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <ucp/api/ucp.h>
#include <unistd.h>

#define UCP_CALLS(call)                                                                           \
    call(ucp_config_read) call(ucp_config_modify) call(ucp_config_release) call(ucp_init_version) \
        call(ucp_cleanup) call(ucp_worker_create) call(ucp_worker_destroy)                        \
            call(ucp_worker_get_address) call(ucp_worker_progress) call(ucp_worker_get_efd)       \
                call(ucp_worker_arm) call(ucp_ep_create) call(ucp_ep_close_nbx)                   \
                    call(ucp_ep_flush_nbx) call(ucp_mem_map) call(ucp_mem_unmap)                  \
                        call(ucp_rkey_pack) call(ucp_ep_rkey_unpack) call(ucp_rkey_destroy)       \
                            call(ucp_put_nbx) call(ucp_get_nbx) call(ucp_request_check_status)    \
                                call(ucp_request_free)

typedef struct ucp_calls {
// NOLINTNEXTLINE(bugprone-macro-parentheses): the name of a function and of a member
#define UCP_MEMBER(name) __typeof__(&name) name;
    UCP_CALLS(UCP_MEMBER)
#undef UCP_MEMBER
} ucp_calls;

enum { address_most = 8192, outstanding_most = 256 };

/// What the server tells.
typedef struct report {
    uint64_t memory;
    uint64_t address_bytes, key_bytes;
    char address[address_most], key[address_most];
} report;

struct bench_ucp {
    void *library;
    ucp_calls calls;
    ucp_context_h context;
    ucp_worker_h worker;
    ucp_ep_h endpoint;
    ucp_rkey_h key;
    ucp_mem_h mapped;
    uint64_t memory; // at the peer
};

// --- both sides ----------------------------------------------------------------------------------------

static bool calls_find(bench_ucp *ucp)
{
    ucp->library = dlopen("libucp.so.0", RTLD_NOW | RTLD_NODELETE);
    if (!ucp->library)
        return false;
#define UCP_FIND(name)                                     \
    {                                                      \
        void *symbol = dlsym(ucp->library, #name);         \
        if (!symbol)                                       \
            return false;                                  \
        memcpy(&ucp->calls.name, &symbol, sizeof(symbol)); \
    }
    UCP_CALLS(UCP_FIND)
#undef UCP_FIND
    return true;
}

static bool worker_open(bench_ucp *ucp)
{
    const ucp_calls *calls = &ucp->calls;
    ucp_config_t *config;
    const ucp_params_t params = {.field_mask = UCP_PARAM_FIELD_FEATURES,
                                 .features = UCP_FEATURE_RMA | UCP_FEATURE_AM | UCP_FEATURE_WAKEUP};
    const ucp_worker_params_t how = {.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE,
                                     .thread_mode = UCS_THREAD_MODE_SINGLE};
    if (!calls_find(ucp) || calls->ucp_config_read(NULL, NULL, &config) != UCS_OK)
        return false;
    bool set = calls->ucp_config_modify(config, "MM_ERROR_HANDLING", "y") == UCS_OK &&
               calls->ucp_config_modify(config, "NET_DEVICES", "lo") == UCS_OK &&
               calls->ucp_init_version(UCP_API_MAJOR, UCP_API_MINOR, &params, config,
                                       &ucp->context) == UCS_OK;
    calls->ucp_config_release(config);
    return set && calls->ucp_worker_create(ucp->context, &how, &ucp->worker) == UCS_OK;
}

static bool is_done(bench_ucp *ucp, ucs_status_ptr_t request)
{
    if (UCS_PTR_IS_ERR(request))
        return false;
    if (!request)
        return true;
    ucs_status_t code;
    while ((code = ucp->calls.ucp_request_check_status(request)) == UCS_INPROGRESS)
        ucp->calls.ucp_worker_progress(ucp->worker);
    ucp->calls.ucp_request_free(request);
    return code == UCS_OK;
}

void bench_ucp_close(bench_ucp *ucp)
{
    if (!ucp)
        return;
    const ucp_request_param_t force = {.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS,
                                       .flags = UCP_EP_CLOSE_FLAG_FORCE};
    if (ucp->key)
        ucp->calls.ucp_rkey_destroy(ucp->key);
    if (ucp->endpoint)
        (void)is_done(ucp, ucp->calls.ucp_ep_close_nbx(ucp->endpoint, &force));
    if (ucp->mapped)
        ucp->calls.ucp_mem_unmap(ucp->context, ucp->mapped);
    if (ucp->worker)
        ucp->calls.ucp_worker_destroy(ucp->worker);
    if (ucp->context)
        ucp->calls.ucp_cleanup(ucp->context);
    free(ucp);
}

// --- the serving side ----------------------------------------------------------------------------------

static bool server_open(bench_ucp *ucp, uint8_t *memory, uint64_t bytes, report *out)
{
    const ucp_calls *calls = &ucp->calls;
    const ucp_mem_map_params_t params = {.field_mask = UCP_MEM_MAP_PARAM_FIELD_ADDRESS |
                                                       UCP_MEM_MAP_PARAM_FIELD_LENGTH,
                                         .address = memory,
                                         .length = bytes};
    ucp_address_t *address;
    void *key;
    size_t address_bytes, key_bytes;
    if (!worker_open(ucp) || calls->ucp_mem_map(ucp->context, &params, &ucp->mapped) != UCS_OK ||
        calls->ucp_rkey_pack(ucp->context, ucp->mapped, &key, &key_bytes) != UCS_OK ||
        calls->ucp_worker_get_address(ucp->worker, &address, &address_bytes) != UCS_OK ||
        address_bytes > address_most || key_bytes > address_most)
        return false;
    out->memory = (uintptr_t)memory;
    out->address_bytes = address_bytes;
    out->key_bytes = key_bytes;
    memcpy(out->address, address, address_bytes);
    memcpy(out->key, key, key_bytes);
    return true;
}

void bench_ucp_serve(uint8_t *memory, uint64_t bytes, int control_fd, int report_fd)
{
    static report told;
    bench_ucp *ucp = calloc(1, sizeof(*ucp));
    struct pollfd fds[2] = {{.fd = control_fd, .events = POLLIN}, {.events = POLLIN}};
    bool serves = ucp && server_open(ucp, memory, bytes, &told) &&
                  ucp->calls.ucp_worker_get_efd(ucp->worker, &fds[1].fd) == UCS_OK &&
                  write(report_fd, &told, sizeof(told)) == (ssize_t)sizeof(told);
    close(report_fd);
    while (serves && !(fds[0].revents & (POLLIN | POLLHUP))) {
        while (ucp->calls.ucp_worker_progress(ucp->worker) > 0)
            continue;
        if (ucp->calls.ucp_worker_arm(ucp->worker) == UCS_OK)
            poll(fds, 2, -1);
    }
    bench_ucp_close(ucp);
}

// --- the calling side ----------------------------------------------------------------------------------

static void endpoint_failed(void *self, ucp_ep_h endpoint, ucs_status_t code)
{
    (void)self, (void)endpoint, (void)code; // requests fail, and that is seen
}

static bool client_open(bench_ucp *ucp, const report *told)
{
    const ucp_ep_params_t params = {.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS |
                                                  UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE |
                                                  UCP_EP_PARAM_FIELD_ERR_HANDLER,
                                    .address = (const ucp_address_t *)(const void *)told->address,
                                    .err_mode = UCP_ERR_HANDLING_MODE_PEER,
                                    .err_handler = {.cb = endpoint_failed}};
    ucp->memory = told->memory;
    return worker_open(ucp) &&
           ucp->calls.ucp_ep_create(ucp->worker, &params, &ucp->endpoint) == UCS_OK &&
           ucp->calls.ucp_ep_rkey_unpack(ucp->endpoint, told->key, &ucp->key) == UCS_OK;
}

bench_ucp *bench_ucp_connect(int report_fd)
{
    static report told;
    size_t at = 0;
    while (at < sizeof(told)) {
        ssize_t got = read(report_fd, (char *)&told + at, sizeof(told) - at);
        if (got <= 0)
            return NULL;
        at += (size_t)got;
    }
    bench_ucp *ucp = calloc(1, sizeof(*ucp));
    if (ucp && client_open(ucp, &told))
        return ucp;
    bench_ucp_close(ucp);
    return NULL;
}

/// All blocks posted, a flush behind writes, all awaited.
static bool batch_io(bench_ucp *ucp, const bench_batch *batch, uint8_t *memory, bool write_it)
{
    static const ucp_request_param_t plain;
    ucs_status_ptr_t requests[outstanding_most];
    bool well = true;
    for (uint32_t i = 0; i < batch->count; i++) {
        uint64_t at = batch->order[i] * batch->block_bytes;
        requests[i] = write_it
                          ? ucp->calls.ucp_put_nbx(ucp->endpoint, memory + at, batch->block_bytes,
                                                   ucp->memory + at, ucp->key, &plain)
                          : ucp->calls.ucp_get_nbx(ucp->endpoint, memory + at, batch->block_bytes,
                                                   ucp->memory + at, ucp->key, &plain);
    }
    for (uint32_t i = 0; i < batch->count; i++)
        well = is_done(ucp, requests[i]) && well;
    return well && (!write_it || is_done(ucp, ucp->calls.ucp_ep_flush_nbx(ucp->endpoint, &plain)));
}

bool bench_ucp_io(bench_ucp *ucp, const bench_batch *batch, uint8_t *memory, bool write)
{
    for (uint32_t turn = 0; turn < batch->repeats; turn++) {
        if (!batch_io(ucp, batch, memory, write))
            return false;
    }
    return true;
}

#else

void bench_ucp_serve(uint8_t *memory, uint64_t bytes, int control_fd, int report_fd)
{
    (void)memory, (void)bytes, (void)control_fd, (void)report_fd;
}

bench_ucp *bench_ucp_connect(int report_fd)
{
    (void)report_fd;
    return NULL;
}

bool bench_ucp_io(bench_ucp *ucp, const bench_batch *batch, uint8_t *memory, bool write)
{
    (void)ucp, (void)batch, (void)memory, (void)write;
    return false;
}

void bench_ucp_close(bench_ucp *ucp)
{
    (void)ucp;
}

#endif
