/// cuFile, loaded: its calls, the two of the CUDA driver that they need around them, and its codes as
/// errors.
#ifndef DRAY_BACKEND_CUFILE_H
#define DRAY_BACKEND_CUFILE_H

#include "backend/cufile_calls.h"
#include "base/env.h"

#include <stdbool.h>

typedef struct drayi_cufile {
    const struct drayi_os *os; // NULL: never opened
    void *library, *driver;    // libcufile.so.0, libcuda.so.1
    drayi_cufile_calls calls;
    // a thread needs the device's context when it calls cuFile
    unsigned (*context_push)(void *context);
    unsigned (*context_pop)(void **out_context);
    bool driver_open;
} drayi_cufile;

/// Loads both libraries and opens cuFile's driver. DRAY_E_UNSUPPORTED: with the reason.
/// The caller has made sure that there is a GPU: cuFileDriverOpen without one was seen to hang.
dray_status drayi_cufile_open(drayi_cufile *cufile, drayi_env *env, dray_error *error);
/// Accepts zeroed memory and half-opened ones.
void drayi_cufile_close(drayi_cufile *cufile);

/// "CU_FILE_IO_NOT_SUPPORTED (5008)"; never NULL.
const char *drayi_cufile_name(int code);
/// Would the same bytes go another way? Codes that say "not with this file, memory or machine".
bool drayi_cufile_code_is_refusal(int code);
/// Writes "<call> <what>: CU_FILE_... (5008)". `call` is static.
dray_status drayi_cufile_fail(dray_error *error, CUfileError_t code, const char *call,
                              const char *what);

#endif
