/// The C functions of NIXL that we use, looked up in libnixl_capi.so. NIXL installs the library and not
/// its header, so the prototypes here are what a user copies anyway.
///
/// Two traps of its ABI: create_reg_dlist and create_xfer_dlist once had a third parameter (`sorted`), which
/// newer libraries do not look at, so it is always given, as false. And status numbers of the C functions are
/// not those of the C++ ones: -2 is "the plug-in failed" here.
#ifndef DRAY_BACKEND_NIXL_CALLS_H
#define DRAY_BACKEND_NIXL_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    DRAYI_NIXL_SUCCESS = 0,
    DRAYI_NIXL_IN_PROGRESS = 1,
    DRAYI_NIXL_INVALID_PARAM = -1,
    DRAYI_NIXL_BACKEND = -2,
    DRAYI_NIXL_INVALID_STATE = -3,
    DRAYI_NIXL_EXCEPTION = -4,
    DRAYI_NIXL_NO_TELEMETRY = -5,
    DRAYI_NIXL_NOT_FOUND = -6,
};
enum { DRAYI_NIXL_DRAM = 0, DRAYI_NIXL_VRAM = 1, DRAYI_NIXL_FILE = 4 };
enum { DRAYI_NIXL_READ = 0, DRAYI_NIXL_WRITE = 1 };

/// call(member, parameters); the exported name is nixl_capi_<member>. All return a status.
// clang-format off
#define DRAYI_NIXL_CALLS(call)                                                                     \
    call(create_agent, (const char *name, void **agent))                                           \
    call(destroy_agent, (void *agent))                                                             \
    call(get_plugin_params, (void *agent, const char *plugin, void **memories, void **params))     \
    call(destroy_mem_list, (void *memories))                                                       \
    call(params_add, (void *params, const char *key, const char *value))                           \
    call(destroy_params, (void *params))                                                           \
    call(create_backend, (void *agent, const char *plugin, void *params, void **backend))          \
    call(destroy_backend, (void *backend))                                                         \
    call(create_opt_args, (void **args))                                                           \
    call(opt_args_add_backend, (void *args, void *backend))                                        \
    call(destroy_opt_args, (void *args))                                                           \
    call(create_reg_dlist, (int type, void **list, bool sorted))                                   \
    call(reg_dlist_add_desc, (void *list, uintptr_t address, size_t bytes, uint64_t device,        \
                              const void *metadata, size_t metadata_bytes))                        \
    call(destroy_reg_dlist, (void *list))                                                          \
    call(register_mem, (void *agent, void *list, void *args))                                      \
    call(deregister_mem, (void *agent, void *list, void *args))                                    \
    call(create_xfer_dlist, (int type, void **list, bool sorted))                                  \
    call(xfer_dlist_add_desc, (void *list, uintptr_t address, size_t bytes, uint64_t device))      \
    call(destroy_xfer_dlist, (void *list))                                                         \
    call(create_xfer_req, (void *agent, int operation, void *local, void *remote,                  \
                           const char *remote_agent, void **request, void *args))                  \
    call(post_xfer_req, (void *agent, void *request, void *args))                                  \
    call(get_xfer_status, (void *agent, void *request))                                            \
    call(release_xfer_req, (void *agent, void *request))                                           \
    call(destroy_xfer_req, (void *request))
// clang-format on

// NOLINTNEXTLINE(bugprone-macro-parentheses): a name and a parameter list
#define DRAYI_NIXL_MEMBER(member, parameters) int(*member) parameters;
typedef struct drayi_nixl_calls {
    bool (*is_stub)(void);
    DRAYI_NIXL_CALLS(DRAYI_NIXL_MEMBER)
} drayi_nixl_calls;

#endif
