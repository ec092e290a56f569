/// libucp's calls, looked up at run time.
///
/// libucs installs crash handlers and reads its configuration as soon as it is loaded, so it is opened
/// when an agent asks for the backend and not with every program that links dray. Types and prototypes
/// are those of the headers that we were built with.
#ifndef DRAY_BACKEND_UCX_LIBRARY_H
#define DRAY_BACKEND_UCX_LIBRARY_H

#include "dray/base.h"
#include "os/os.h"

#ifdef DRAY_HAVE_UCX

#include <ucp/api/ucp.h>
#include <ucs/config/types.h>
#include <ucs/debug/log_def.h>

// clang-format off
#define DRAYI_UCX_CALLS(call)        \
    call(ucp_get_version)            \
    call(ucp_config_read)            \
    call(ucp_config_modify)          \
    call(ucp_config_release)         \
    call(ucp_init_version)           \
    call(ucp_cleanup)                \
    call(ucp_worker_create)          \
    call(ucp_worker_destroy)         \
    call(ucp_worker_get_address)     \
    call(ucp_worker_release_address) \
    call(ucp_worker_progress)        \
    call(ucp_worker_get_efd)         \
    call(ucp_worker_arm)             \
    call(ucp_worker_set_am_recv_handler) \
    call(ucp_ep_create)              \
    call(ucp_ep_close_nbx)           \
    call(ucp_ep_flush_nbx)           \
    call(ucp_mem_map)                \
    call(ucp_mem_unmap)              \
    call(ucp_rkey_pack)              \
    call(ucp_rkey_buffer_release)    \
    call(ucp_ep_rkey_unpack)         \
    call(ucp_rkey_destroy)           \
    call(ucp_put_nbx)                \
    call(ucp_get_nbx)                \
    call(ucp_am_send_nbx)            \
    call(ucp_request_check_status)   \
    call(ucp_request_free)           \
    call(ucs_status_string)          \
    call(ucs_log_push_handler)       \
    call(ucs_log_pop_handler)
// clang-format on

typedef struct drayi_ucx_calls {
// NOLINTNEXTLINE(bugprone-macro-parentheses): the name of a function and of a member
#define DRAYI_UCX_MEMBER(name) __typeof__(&name) name;
    DRAYI_UCX_CALLS(DRAYI_UCX_MEMBER)
#undef DRAYI_UCX_MEMBER
} drayi_ucx_calls;

/// DRAY_E_UNSUPPORTED: the library is not there, too old, or lacks a call, which is named.
dray_status drayi_ucx_library_open(const drayi_os *os, drayi_ucx_calls *out_calls,
                                   dray_error *error);

#endif
#endif
