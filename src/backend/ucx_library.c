/// Opens libucp.so.0 and finds its calls by name.
#include "backend/ucx_library.h"

#ifdef DRAY_HAVE_UCX

#include <string.h>

/// One name and where its address goes.
typedef struct library_call {
    const char *name;
    size_t offset; // in drayi_ucx_calls
} library_call;

static const library_call library_calls[] = {
#define LIBRARY_CALL(name) {#name, offsetof(drayi_ucx_calls, name)},
    DRAYI_UCX_CALLS(LIBRARY_CALL)
#undef LIBRARY_CALL
};

static dray_status version_check(const drayi_ucx_calls *calls, dray_error *error)
{
    unsigned major, minor, release;
    calls->ucp_get_version(&major, &minor, &release);
    if (major == UCP_API_MAJOR && minor >= UCP_API_MINOR)
        return DRAY_OK;
    return dray_fail(error, DRAY_E_UNSUPPORTED,
                     "libucp.so.0 is UCX %u.%u.%u, this build of dray wants %d.%d or a later %d.x",
                     major, minor, release, UCP_API_MAJOR, UCP_API_MINOR, UCP_API_MAJOR);
}

dray_status drayi_ucx_library_open(const drayi_os *os, drayi_ucx_calls *out_calls, dray_error *error)
{
    char why[256] = "";
    void *library = os->library_open("libucp.so.0", why, sizeof(why));
    if (!library)
        return dray_fail(error, DRAY_E_UNSUPPORTED, "UCX cannot be opened: %s", why);
    for (size_t i = 0; i < sizeof(library_calls) / sizeof(library_calls[0]); i++) {
        void *symbol = os->library_symbol(library, library_calls[i].name);
        if (!symbol)
            return dray_fail(error, DRAY_E_UNSUPPORTED, "libucp.so.0 has no %s",
                             library_calls[i].name);
        memcpy((char *)out_calls + library_calls[i].offset, &symbol, sizeof(symbol));
    }
    return version_check(out_calls, error);
}

#endif
