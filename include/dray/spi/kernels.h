/// dray/spi/kernels.h: what a family of devices does with code: load it, tell its kernels, launch them.
///
/// Loaders check the bytes first (size, architecture, digest), because drivers take them by a bare pointer
/// and some end the process over broken ones. Threads: any, of a program too.
#ifndef DRAY_SPI_KERNELS_H
#define DRAY_SPI_KERNELS_H

#include "dray/spi/device.h"

#ifdef __cplusplus
extern "C" {
#endif

/// What the bytes are. A family takes some of them.
typedef enum dray_code_form {
    DRAY_CODE_OPENCL_SOURCE = 1, ///< text
    DRAY_CODE_OPENCL_BINARY = 2, ///< of this very driver and device
    DRAY_CODE_SPIRV = 3,
    DRAY_CODE_PTX = 4, ///< text
    DRAY_CODE_CUBIN = 5,
    DRAY_CODE_FATBIN = 6
} dray_code_form;

typedef struct dray_code {
    dray_code_form form;
    uint32_t reserved;
    const uint8_t *bytes; ///< borrowed for the call; texts have a NUL behind byte_count
    uint64_t byte_count;
    const char *build_options; ///< or NULL
    /// Kernels that the bytes name, for drivers that do not list them; terminated.
    const char *const *kernels;
    uint64_t kernel_count;
    /// Gets the compiler's log, on success too; may be NULL.
    void (*log)(void *self, const char *text, uint64_t length);
    void *log_self;
} dray_code;

typedef struct dray_program dray_program; // the family's own: code on one device

typedef enum dray_parameter_kind {
    DRAY_PARAMETER_ANY = 0, ///< the driver tells at most the size
    DRAY_PARAMETER_INT = 1,
    DRAY_PARAMETER_UINT = 2,
    DRAY_PARAMETER_FLOAT = 3,
    DRAY_PARAMETER_MEMORY = 4, ///< a region on the device, or none
    DRAY_PARAMETER_LOCAL = 5,  ///< local memory: how many bytes
    DRAY_PARAMETER_OTHER = 6   ///< bytes, as they are: vectors, structs
} dray_parameter_kind;

typedef struct dray_parameter {
    dray_parameter_kind kind;
    uint32_t bytes; ///< 0: not known
} dray_parameter;

/// One argument, ready for the driver: a value at `value`, memory as a handle and an address, or so many
/// bytes of local memory.
typedef struct dray_kernel_argument {
    dray_parameter_kind kind; ///< INT, UINT, FLOAT, OTHER: a value; MEMORY; LOCAL
    uint32_t bytes;
    const void *value;
    void *memory;     ///< see dray_device_block
    uint64_t address; ///< see dray_device_block
} dray_kernel_argument;

typedef struct dray_launch {
    uint32_t kernel; ///< number in the program
    uint32_t argument_count;
    uint64_t global[3];   ///< work items (threads) in all; >= 1
    uint64_t group[3];    ///< of a group (block); 0: the driver chooses, where it can
    uint64_t local_bytes; ///< dynamic shared memory of a group
    const dray_kernel_argument *arguments;
} dray_launch;

typedef struct dray_device_module_ops {
    uint32_t forms; ///< mask of 1 << dray_code_form that this family takes
    uint32_t reserved;
    /// 90 for sm_90; 0: not known, or not that kind of device. May be NULL.
    uint32_t (*architecture)(const dray_device_self *device);
    /// DRAY_E_FORMAT: the compiler or driver refuses the code, with its code; the log has the text.
    /// DRAY_E_UNSUPPORTED: this device takes no such form.
    dray_status (*load)(dray_device_self *device, const dray_code *code, dray_program **out_program,
                        dray_error *error);
    /// Nothing of it runs.
    void (*unload)(dray_program *program);
    uint32_t (*kernel_count)(const dray_program *program);
    const char *(*kernel_name)(const dray_program *program, uint32_t kernel);
    /// *out_known false: this driver does not tell (then any number of arguments is passed on).
    dray_status (*parameters)(dray_program *program, uint32_t kernel, dray_parameter *out,
                              uint32_t room, uint32_t *out_count, bool *out_known,
                              dray_error *error);
    /// Returns when the kernel has ended, with what the driver says of it.
    dray_status (*launch)(dray_program *program, const dray_launch *launch, dray_error *error);
    /// The driver's own image of it, for another load without compiling: `take` is given the bytes. May be
    /// NULL.
    dray_status (*binary)(dray_program *program,
                          dray_status (*take)(void *self, const uint8_t *bytes, uint64_t count,
                                              dray_error *error),
                          void *self, dray_error *error);
} dray_device_module_ops;

#ifdef __cplusplus
}
#endif
#endif
