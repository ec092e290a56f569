/// Code for a device as a module: its kernels are functions, its bytes are kept. Shared by the loaders
/// whose code does not run in this process.
#ifndef DRAY_LOADER_KERNEL_PART_H
#define DRAY_LOADER_KERNEL_PART_H

#include "base/env.h"
#include "dray/spi/kernels.h"
#include "dray/spi/loader.h"
#include "loader/cuda_names.h"

enum { DRAYI_KERNEL_PARAMETERS_MAX = 64 };

typedef struct drayi_kernel {
    dray_part *part;
    const char *name; // of the program
    uint32_t index;   // in the program
    uint32_t parameter_count;
    bool known; // are parameter_count and parameters what the driver said
    dray_parameter parameters[DRAYI_KERNEL_PARAMETERS_MAX];
} drayi_kernel;

struct dray_part {
    drayi_env *env;
    dray_context *context;
    char name[64]; // for messages
    const char *kind;
    uint8_t *bytes; // what was loaded, with a NUL behind; for saving
    uint64_t byte_count;
    bool is_text;
    struct dray_device *device; // kept; NULL: carried only
    const dray_device_module_ops *ops;
    dray_program *program;
    /// Other forms to save it in; NULL: only as it came.
    dray_status (*save_as)(dray_part *part, const char *format, dray_any *out_bytes,
                           dray_error *error);
    const char *saved_as; // the form it is saved in when none is named; NULL: as it came
    drayi_kernel *kernels;
    uint32_t kernel_count;
    drayi_kernel_names carried; // without a device: the kernels that the bytes name
};

/// The code in an image.
typedef struct drayi_kernel_code {
    dray_code_form form;
    uint64_t at, bytes;
    const drayi_kernel_names *names; // of its kernels, for drivers that do not list them; or NULL
} drayi_kernel_code;

/// Copies the image's bytes and, where a device was given, loads `code` of them onto it.
/// DRAY_E_UNSUPPORTED: this device takes no such code.
dray_status drayi_kernel_part_create(const dray_load_request *request, const drayi_kernel_code *code,
                                     dray_loaded_part *out, dray_error *error);

/// The function behind every kernel; its handle is a drayi_kernel.
int drayi_kernel_call(void *handle, const dray_any *arguments, int32_t count, dray_any *result);

#endif
