/// dray/spi/loader.h: what a loader is to dray: one table that turns an image into functions.
///
/// The core opens the source, sniffs, applies the policy (size, digest, signature; copying and sealing
/// first where that is asked for) and then calls `load` with an image that cannot change any more, or
/// that the policy lets be used in place. A loader gives back a part: its own state and a table to ask
/// it with. The core makes the module of it, with imports, reference counts and function handles.
///
/// Threads: any number of calls to a loader at once, and to a part, except `destroy`. No lock of the
/// core is held during any of them.
#ifndef DRAY_SPI_LOADER_H
#define DRAY_SPI_LOADER_H

#include "dray/context.h"
#include "dray/ffi.h"
#include "dray/trust.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DRAY_LOADER_ABI 1u
#define DRAY_SNIFF_BYTES 4096 ///< most that `sniff` is given

struct drayi_env; // ours; a plug-in from outside ignores it
struct dray_device;
struct dray_module;
struct dray_module_options; // dray/module.h

// --- images ---------------------------------------------------------------------------------------

enum {
    DRAY_IMAGE_SEALED = 1,  ///< fd is a memfd that nobody can change any more (all four seals)
    DRAY_IMAGE_HASHED = 2,  ///< `sha256` is the digest of exactly these bytes
    DRAY_IMAGE_TRUSTED = 4, ///< a list of digests or a signature vouched for exactly these bytes
    DRAY_IMAGE_PRIVATE = 8  ///< `bytes` is memory that nobody outside dray can write
};

/// The bytes that a module is made of. Borrowed for the call, unless it is retained.
typedef struct dray_image {
    const char *name; ///< for messages; never NULL
    uint64_t byte_count;
    uint32_t flags;       ///< DRAY_IMAGE_*
    int fd;               ///< -1: none. Stays open as long as the image
    uint64_t fd_offset;   ///< of the image's first byte in fd
    const uint8_t *bytes; ///< all of it, or NULL as long as map() was not called
    uint8_t sha256[32];

    /// Reads [offset, offset + count) without mapping: a file that shrank is an error, no SIGBUS.
    dray_status (*read)(struct dray_image *image, uint64_t offset, void *out, uint64_t count,
                        dray_error *error);
    /// Fills `bytes` with memory that lives as long as the image. A file that is not sealed is copied,
    /// so afterwards the bytes are PRIVATE or were the caller's memory from the start.
    dray_status (*map)(struct dray_image *image, dray_error *error);
    /// Makes sure of `fd`, with the image at offset 0 of a sealed memfd (copied there when needed).
    dray_status (*seal)(struct dray_image *image, dray_error *error);
    void (*retain)(struct dray_image *image);
    void (*release)(struct dray_image *image);
} dray_image;

// --- looking ---------------------------------------------------------------------------------------

/// Where `inspect` puts what it finds. Texts are copied. Each call may fail: out of memory.
typedef struct dray_module_report {
    void *self;
    dray_status (*arch)(void *self, const char *arch, dray_error *error);
    dray_status (*function)(void *self, dray_text name, dray_error *error);
    dray_status (*needed)(void *self, dray_text library, dray_error *error);
    dray_status (*import)(void *self, dray_text kind, dray_error *error);
    dray_status (*note)(void *self, const char *text, dray_error *error);
} dray_module_report;

// --- loading ---------------------------------------------------------------------------------------

/// What `load` is asked for, and what the core does for it.
typedef struct dray_load_request {
    dray_context *context;
    struct drayi_env *env;
    dray_image *image;
    const struct dray_loader_ops *loader; ///< the table that was registered
    const char *kind;
    bool raw;                  ///< asked for as create.<kind>, not as load_from_bytes.<kind>
    const dray_policy *policy; ///< never NULL; the core has checked kinds, size and digests already
    const struct dray_module_options *options; ///< the caller's; never NULL
    struct dray_device *device;                ///< NULL: none was given

    /// The address that belongs into a context symbol ("__TVMFFIErrorSetRaisedFromCStr"), or NULL when
    /// dray knows none of that name. A library's symbol of that name is a pointer to be filled.
    void *(*context_symbol)(const struct dray_load_request *request, const char *name);
    /// Makes the C functions of the ABI (TVMFFI*) visible to libraries that are opened next, by a small
    /// library of dray's own where libtvm_ffi is not in the process. DRAY_E_UNSUPPORTED: one of `names`
    /// is not among them.
    dray_status (*provide_symbols)(const struct dray_load_request *request,
                                   const char *const *names, uint64_t count, dray_error *error);
} dray_load_request;

typedef struct dray_part dray_part; // the loader's own: what it loaded

/// One function of a part. The core makes function objects of it.
typedef struct dray_part_function {
    dray_safe_call call;
    void *handle; ///< passed to `call`
} dray_part_function;

typedef struct dray_part_ops {
    uint32_t abi;        ///< DRAY_LOADER_ABI
    uint32_t properties; ///< DRAY_MODULE_SERIALIZABLE, _RUNNABLE, _EXPORTABLE (dray/module.h)
    /// Nothing uses it any more: no function, no object, nobody inside. Unloads.
    void (*destroy)(dray_part *part);
    /// DRAY_E_NOTFOUND without a message: it has none of that name.
    dray_status (*function)(dray_part *part, const char *name, dray_part_function *out,
                            dray_error *error);
    /// The name at `index` of its functions in any order, or NULL behind the last. Valid as long as the
    /// part. May be NULL: it cannot tell.
    const char *(*name_at)(dray_part *part, uint64_t index);
    // optional:
    /// Getters of text about a function (safe_call without arguments); DRAY_E_NOTFOUND: none.
    dray_status (*doc)(dray_part *part, const char *name, dray_part_function *out,
                       dray_error *error);
    dray_status (*metadata)(dray_part *part, const char *name, dray_part_function *out,
                            dray_error *error);
    /// The bytes that `load` makes it from again; *out_bytes is a value of type BYTES.
    dray_status (*save)(dray_part *part, dray_any *out_bytes, dray_error *error);
    /// The same in a form that has a name of its own; format NULL: its own. Comes before `save`.
    dray_status (*save_as)(dray_part *part, const char *format, dray_any *out_bytes,
                           dray_error *error);
    dray_status (*write)(dray_part *part, const char *path, const char *format, dray_error *error);
    dray_status (*source)(dray_part *part, const char *format, dray_any *out_text,
                          dray_error *error);
    /// Does this address lie in code or data that destroy() would unmap? NULL: it never unmaps.
    /// This is how the core knows which objects the part made.
    bool (*contains)(dray_part *part, const void *address);
    /// Why destroy() could not unmap it (unique symbols, thread-local destructors), or NULL. For people:
    /// it is destroyed all the same.
    const char *(*pinned)(dray_part *part);
    /// Instead of destroy(), when something may still run its code and the context ends: gives back
    /// what it can, and leaves what is mapped mapped for good. NULL: everything is left.
    void (*abandon)(dray_part *part);
} dray_part_ops;

/// What `load` gives back. `part` and `ops` are its own from here on, also when the call fails later.
typedef struct dray_loaded_part {
    dray_part *part;
    const dray_part_ops *ops;
    /// Pointer inside the loaded library that holds its module (__tvm_ffi__library_ctx), or NULL. The
    /// core fills it once the module is complete, and clears it when the module ends.
    void **context_slot;
    /// An import tree that came with the library (__tvm_ffi__library_bin), as a borrowed view with the
    /// bytes that are really there; the core loads it. NULL: none.
    const uint8_t *tree;
    uint64_t tree_bytes;
} dray_loaded_part;

enum {
    DRAY_LOADER_NATIVE = 1,     ///< its code runs, here or on a device: the policy has to say so
    DRAY_LOADER_RAW = 2,        ///< stands as ffi.Module.create.<kind>
    DRAY_LOADER_SERIALIZED = 4, ///< stands as ffi.Module.load_from_bytes.<kind>
    DRAY_LOADER_CONTAINER =
        16, ///< its part is an import tree and nothing else: what is loaded is the root
    DRAY_LOADER_WANTS_SEALED = 8 ///< `load` is given a sealed fd, whatever the source was
};

/// A loader. A file src/loader/loader_<name>.c ends in one const table `drayi_loader_<name>`.
typedef struct dray_loader_ops {
    uint32_t abi;                  ///< DRAY_LOADER_ABI
    uint32_t flags;                ///< DRAY_LOADER_*
    const char *kind;              ///< 1 to 63 bytes of a-z, 0-9, '-', '_'
    const char *const *extensions; ///< NULL-terminated, without dot: load_from_file.<ext>; or NULL
    const char *unproven;          ///< NULL, or what it never ran against
    /// How sure it is that this is its kind, from the first bytes (at most DRAY_SNIFF_BYTES): 0 no, 100
    /// certain (a magic). A declared kind whose loader says 0 while another says >= 50 is refused. NULL:
    /// the bytes do not tell, and "auto" never picks it.
    uint32_t (*sniff)(const uint8_t *head, uint64_t head_bytes, uint64_t byte_count);
    /// Reads and reports, runs nothing. May be NULL.
    dray_status (*inspect)(struct drayi_env *env, dray_image *image,
                           const dray_module_report *report, dray_error *error);
    /// The import tree inside an image, as a view of image->bytes; NULL: it has none. May be NULL.
    dray_status (*tree)(struct drayi_env *env, dray_image *image, const uint8_t **out_tree,
                        uint64_t *out_bytes, dray_error *error);
    /// NULL: recognised and inspected, but not loaded here; `refusal` says why.
    dray_status (*load)(const dray_load_request *request, dray_loaded_part *out, dray_error *error);
    const char *refusal;
    void *self; ///< a run-time loader's own; it finds it in dray_load_request.loader
} dray_loader_ops;

/// Registers under the keys that its flags and extensions name, all or none; `ops` and what it points to
/// stay valid until it is unregistered. `provider` (may be NULL) is the module whose code it is: kept.
/// Flags: DRAY_GLOBAL_REPLACE, which returns when no load is in flight in the loader that was replaced.
/// DRAY_E_INVALID: a key is taken, or the table is not sound. DRAY_E_BUSY: registered, but called from inside
/// a load of the one that it replaces, whose table must stay until that has returned.
DRAY_API dray_status dray_loader_register(dray_context *context, const dray_loader_ops *ops,
                                          struct dray_module *provider, uint32_t flags,
                                          dray_error *error);
/// Takes back every key that still leads to `ops`, and returns when no load is in flight in it.
/// DRAY_E_NOTFOUND: none does. DRAY_E_BUSY: still in flight after `timeout_ns` (< 0: no limit), for
/// example because it was called from inside; then `ops` must stay until those have returned.
DRAY_API dray_status dray_loader_unregister(dray_context *context, const dray_loader_ops *ops,
                                            int64_t timeout_ns, dray_error *error);
/// Calls `each` with every loader, in the order of registration.
DRAY_API dray_status dray_loader_list(dray_context *context,
                                      void (*each)(void *self, const dray_loader_ops *ops),
                                      void *self, dray_error *error);

#ifdef __cplusplus
}
#endif
#endif
