/// NIXL's POSIX plug-in beside us, through the C functions of a libnixl_capi.so that the user names. Prototypes
/// are those a user of it writes down: NIXL installs no header for them.
#include "bench_transfer.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

enum { DRAM = 0, FILES = 4, READ = 0, WRITE = 1, IN_PROGRESS = 1 };

typedef struct nixl_calls {
    bool (*is_stub)(void);
    int (*create_agent)(const char *name, void **agent);
    int (*destroy_agent)(void *agent);
    int (*get_plugin_params)(void *agent, const char *plugin, void **memories, void **params);
    int (*params_add)(void *params, const char *key, const char *value);
    int (*create_backend)(void *agent, const char *plugin, void *params, void **backend);
    int (*create_opt_args)(void **args);
    int (*opt_args_add_backend)(void *args, void *backend);
    int (*create_reg_dlist)(int type, void **list, bool sorted);
    int (*reg_dlist_add_desc)(void *list, uintptr_t address, size_t bytes, uint64_t device,
                              const void *metadata, size_t metadata_bytes);
    int (*register_mem)(void *agent, void *list, void *args);
    int (*deregister_mem)(void *agent, void *list, void *args);
    int (*destroy_reg_dlist)(void *list);
    int (*create_xfer_dlist)(int type, void **list, bool sorted);
    int (*xfer_dlist_add_desc)(void *list, uintptr_t address, size_t bytes, uint64_t device);
    int (*destroy_xfer_dlist)(void *list);
    int (*create_xfer_req)(void *agent, int operation, void *local, void *remote,
                           const char *remote_agent, void **request, void *args);
    int (*post_xfer_req)(void *agent, void *request, void *args);
    int (*get_xfer_status)(void *agent, void *request);
    int (*release_xfer_req)(void *agent, void *request);
} nixl_calls;

struct bench_nixl {
    void *library, *agent, *args;
    nixl_calls calls;
    uint8_t *memory;
    void *file_list, *request, *lists[2];
};

static bool calls_find(bench_nixl *nixl)
{
    const struct {
        const char *name;
        void *at;
    } wanted[] = {
        {"nixl_capi_is_stub", &nixl->calls.is_stub},
        {"nixl_capi_create_agent", &nixl->calls.create_agent},
        {"nixl_capi_destroy_agent", &nixl->calls.destroy_agent},
        {"nixl_capi_get_plugin_params", &nixl->calls.get_plugin_params},
        {"nixl_capi_params_add", &nixl->calls.params_add},
        {"nixl_capi_create_backend", &nixl->calls.create_backend},
        {"nixl_capi_create_opt_args", &nixl->calls.create_opt_args},
        {"nixl_capi_opt_args_add_backend", &nixl->calls.opt_args_add_backend},
        {"nixl_capi_create_reg_dlist", &nixl->calls.create_reg_dlist},
        {"nixl_capi_reg_dlist_add_desc", &nixl->calls.reg_dlist_add_desc},
        {"nixl_capi_register_mem", &nixl->calls.register_mem},
        {"nixl_capi_deregister_mem", &nixl->calls.deregister_mem},
        {"nixl_capi_destroy_reg_dlist", &nixl->calls.destroy_reg_dlist},
        {"nixl_capi_create_xfer_dlist", &nixl->calls.create_xfer_dlist},
        {"nixl_capi_xfer_dlist_add_desc", &nixl->calls.xfer_dlist_add_desc},
        {"nixl_capi_destroy_xfer_dlist", &nixl->calls.destroy_xfer_dlist},
        {"nixl_capi_create_xfer_req", &nixl->calls.create_xfer_req},
        {"nixl_capi_post_xfer_req", &nixl->calls.post_xfer_req},
        {"nixl_capi_get_xfer_status", &nixl->calls.get_xfer_status},
        {"nixl_capi_release_xfer_req", &nixl->calls.release_xfer_req},
    };
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        void *symbol = dlsym(nixl->library, wanted[i].name);
        if (!symbol)
            return false;
        memcpy(wanted[i].at, &symbol, sizeof(symbol));
    }
    return true;
}

static bool region_register(bench_nixl *nixl, int type, uintptr_t address, uint64_t bytes,
                            uint64_t device, void **out_list)
{
    const nixl_calls *calls = &nixl->calls;
    return calls->create_reg_dlist(type, out_list, false) == 0 &&
           calls->reg_dlist_add_desc(*out_list, address, bytes, device, NULL, 0) == 0 &&
           calls->register_mem(nixl->agent, *out_list, nixl->args) == 0;
}

static const char *agent_build(bench_nixl *nixl, const char *engine, uint8_t *memory, uint64_t bytes)
{
    const nixl_calls *calls = &nixl->calls;
    void *memories = NULL, *params = NULL, *backend = NULL, *list = NULL;
    const char *chosen = strcmp(engine, "URING") == 0      ? "use_uring"
                         : strcmp(engine, "POSIXAIO") == 0 ? "use_posix_aio"
                                                           : "use_aio";
    if (calls->is_stub())
        return "it is NIXL's stub";
    if (calls->create_agent("bench", &nixl->agent) != 0)
        return "nixl_capi_create_agent fails";
    if (calls->get_plugin_params(nixl->agent, "POSIX", &memories, &params) != 0)
        return "there is no plug-in POSIX (is NIXL_PLUGIN_DIR set?)";
    if (calls->params_add(params, chosen, "true") != 0 ||
        calls->create_backend(nixl->agent, "POSIX", params, &backend) != 0)
        return "the plug-in POSIX does not take the engine";
    if (calls->create_opt_args(&nixl->args) != 0 ||
        calls->opt_args_add_backend(nixl->args, backend) != 0 ||
        !region_register(nixl, DRAM, (uintptr_t)memory, bytes, 0, &list))
        return "the memory is refused";
    nixl->memory = memory;
    return NULL;
}

bench_nixl *bench_nixl_open(const char *library, const char *engine, uint8_t *memory,
                            uint64_t bytes, const char **out_why)
{
    static char text[256];
    bench_nixl *nixl = calloc(1, sizeof(*nixl));
    *out_why = "no memory";
    if (!nixl)
        return NULL;
    nixl->library = dlopen(library, RTLD_NOW | RTLD_NODELETE);
    if (!nixl->library) {
        const char *why = dlerror();
        snprintf(text, sizeof(text), "%s", why ? why : "it cannot be opened");
        *out_why = text;
    } else {
        *out_why = calls_find(nixl) ? agent_build(nixl, engine, memory, bytes)
                                    : "a function of the C library is missing";
    }
    if (!*out_why)
        return nixl;
    bench_nixl_close(nixl);
    return NULL;
}

bool bench_nixl_prepare(bench_nixl *nixl, const bench_batch *batch, int fd, bool write)
{
    const nixl_calls *calls = &nixl->calls;
    uint64_t bytes = batch->block_bytes * batch->count;
    if (!region_register(nixl, FILES, 0, bytes, (uint64_t)fd, &nixl->file_list) ||
        calls->create_xfer_dlist(DRAM, &nixl->lists[0], false) != 0 ||
        calls->create_xfer_dlist(FILES, &nixl->lists[1], false) != 0)
        return false;
    for (uint32_t i = 0; i < batch->count; i++) {
        uint64_t at = batch->order[i] * batch->block_bytes;
        if (calls->xfer_dlist_add_desc(nixl->lists[0], (uintptr_t)nixl->memory + at,
                                       batch->block_bytes, 0) != 0 ||
            calls->xfer_dlist_add_desc(nixl->lists[1], at, batch->block_bytes, (uint64_t)fd) != 0)
            return false;
    }
    return calls->create_xfer_req(nixl->agent, write ? WRITE : READ, nixl->lists[0], nixl->lists[1],
                                  "bench", &nixl->request, nixl->args) == 0;
}

bool bench_nixl_io(bench_nixl *nixl, uint32_t repeats)
{
    for (uint32_t turn = 0; nixl->request && turn < repeats; turn++) {
        int status = nixl->calls.post_xfer_req(nixl->agent, nixl->request, NULL);
        while (status == IN_PROGRESS)
            status = nixl->calls.get_xfer_status(nixl->agent, nixl->request);
        if (status != 0)
            return false;
    }
    return nixl->request != NULL;
}

void bench_nixl_forget(bench_nixl *nixl)
{
    const nixl_calls *calls = &nixl->calls;
    if (nixl->request)
        calls->release_xfer_req(nixl->agent, nixl->request);
    for (int i = 0; i < 2; i++) {
        if (nixl->lists[i])
            calls->destroy_xfer_dlist(nixl->lists[i]);
        nixl->lists[i] = NULL;
    }
    if (nixl->file_list) {
        calls->deregister_mem(nixl->agent, nixl->file_list, nixl->args);
        calls->destroy_reg_dlist(nixl->file_list);
    }
    nixl->request = nixl->file_list = NULL;
}

void bench_nixl_close(bench_nixl *nixl)
{
    if (!nixl)
        return;
    if (nixl->agent)
        nixl->calls.destroy_agent(nixl->agent);
    if (nixl->library)
        dlclose(nixl->library);
    free(nixl);
}
