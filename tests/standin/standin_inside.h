/// What the files of the stand-in for libcuda.so.1 share.
///
///     libcuda.c        devices, contexts, memory, streams, copies
///     cuda_modules.c   modules of users
///     cuda_managed.c   managed memory: what is set on its pages, and where they are
///     cuda_kernels.c   modules, functions, launches of dray's own kernels; and libnvrtc
#ifndef DRAY_TESTS_STANDIN_INSIDE_H
#define DRAY_TESTS_STANDIN_INSIDE_H

#include "device/cuda/cuda_calls.h"
#include "standin_cuda.h"

#define EXPORT __attribute__((visibility("default")))

// declared from the library's own list: what is defined below has exactly those prototypes
#define PROTOTYPE(member, symbol, need, parameters) EXPORT CUresult symbol parameters;
DRAYI_CUDA_CALLS(PROTOTYPE)

typedef struct inside_allocation {
    enum { INSIDE_NOTHING, INSIDE_DEVICE, INSIDE_MANAGED, INSIDE_HOST, INSIDE_REGISTERED } kind;
    uint64_t address, bytes;
    int device;
} inside_allocation;

/// What every call does first; the lock is taken when it returns false.
bool inside_refused(const char *name, bool needs_context, CUresult *out_code);
CUresult inside_done(CUresult code); // gives the lock back
CUresult inside_misuse(CUresult code, const char *what);

// all of these with the lock:
extern standin_config inside_config;
extern standin_counts inside_counts;
int inside_device_count(void);
int inside_ordinal(CUdevice device); // -1: no handle of ours
/// The allocation that `address` lies in; false: none.
bool inside_find(uint64_t address, inside_allocation *out);
/// What lies behind an address of the device; NULL: not `bytes` bytes of one allocation.
char *inside_behind(uint64_t address, uint64_t bytes);
/// Bytes that allocations of `device` take, and what it has.
uint64_t inside_used(int device);
uint64_t inside_capacity(void);
/// The device of a stream; -1: no stream of ours.
int inside_stream_device(CUstream stream);
/// Has `act` done when the stream runs; it frees `self`. False: no stream of ours.
bool inside_queue(CUstream stream, void (*act)(void *self, bool dropped), void *self);

/// Modules: dray's own kernels (cuda_kernels.c), or a user's image (cuda_modules.c).
struct CUmod_st {
    bool of_user;
    char *text; // of a user: what it was made from, if that is text
    struct CUfunc_st *functions;
};
struct CUfunc_st {
    unsigned lane_bytes; // 0: a user's
    struct CUfunc_st *next;
    char name[64];
};
void modules_end(CUmodule module);
CUresult modules_function(CUmodule module, const char *name, CUfunction *out);
CUresult modules_launch(const struct CUfunc_st *function, uint64_t threads, CUstream stream,
                        void **parameters);

// cuda_managed.c
void managed_forget(uint64_t address); // an allocation ends
void managed_forget_all(void);

#endif
