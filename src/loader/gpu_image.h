/// Code for GPUs as bytes: cubin, fatbin and PTX, read without a driver.
///
/// Drivers take these by a bare pointer, so whoever hands them one must know before that it is whole
/// and for which architecture it is. Nothing is copied or allocated; all views borrow the bytes.
#ifndef DRAY_LOADER_GPU_IMAGE_H
#define DRAY_LOADER_GPU_IMAGE_H

#include "loader/elf_image.h"

// --- cubin -----------------------------------------------------------------------------------------

typedef struct drayi_cubin {
    drayi_elf elf;
    uint32_t sm;          // 90 for sm_90
    bool family_specific; // sm_90a: runs there and nowhere else (known for CUDA 12 files only)
    uint64_t bytes;       // what belongs to it; more may follow
} drayi_cubin;

/// DRAY_E_FORMAT with a rule "elf.*" or "cubin.*". DRAY_E_UNSUPPORTED: a version of the layout that says its
/// architecture in a way we do not know.
dray_status drayi_cubin_read(const uint8_t *bytes, uint64_t count, drayi_cubin *out,
                             dray_error *error);

/// The kernel of a section (index < elf.header.e_shnum); false: it holds none.
bool drayi_cubin_kernel(const drayi_cubin *cubin, uint64_t index, dray_text *out);

// --- fatbin ----------------------------------------------------------------------------------------

typedef struct drayi_fatbin_entry {
    bool is_ptx;          // otherwise a cubin
    bool compressed;      // `bytes` cannot be looked into
    uint32_t sm;          // 90
    const uint8_t *bytes; // padding included
    uint64_t count;
    uint64_t at; // of its header in the file
} drayi_fatbin_entry;

/// Checks header and sizes of every entry. *out_bytes: what belongs to it; more may follow.
dray_status drayi_fatbin_check(const uint8_t *bytes, uint64_t count, uint64_t *out_bytes,
                               dray_error *error);

/// Entries one after the other, of bytes that were checked: *position begins at 0. False: no more.
bool drayi_fatbin_next(const uint8_t *bytes, uint64_t *position, drayi_fatbin_entry *out);

// --- PTX -------------------------------------------------------------------------------------------

typedef struct drayi_ptx {
    const char *bytes;
    uint64_t count;            // without a NUL at the end
    dray_text version, target; // "9.0", "sm_90a"
} drayi_ptx;

/// DRAY_E_FORMAT with a rule "ptx.*": no text, or no .version and .target in front of everything else.
dray_status drayi_ptx_read(const uint8_t *bytes, uint64_t count, drayi_ptx *out, dray_error *error);

/// Names of the kernels (.entry) one after the other: *position begins at 0. False: no more.
bool drayi_ptx_next_kernel(const drayi_ptx *ptx, uint64_t *position, dray_text *out);

#endif
