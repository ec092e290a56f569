/// dray/module.h: modules from bytes: functions that arrive in memory, and the registry that finds the
/// loader for them.
///
///     dray_policy policy = {.struct_bytes = sizeof(policy), .trust = DRAY_TRUST_ALLOW};
///     dray_module_options options = {.struct_bytes = sizeof(options), .policy = &policy};
///     dray_module_load_bytes(context, "auto", bytes, byte_count, &options, &module, &error);
///     dray_module_get_function(module, "add_one", false, &function, &error);
///     dray_any argument = dray_any_int(41), result;
///     dray_function_call(context, function, &argument, 1, &result, &error); // 42
///
/// Threads: everything here may be called from any thread; no lock of dray's is held while code of
/// others runs (loaders, constructors, functions, destructors), so all of it may be called from there.
/// Who keeps whom: a function keeps its module, a module its imports, the bytes it lives from, and the
/// provider of its loader. Everything must be released before its context is destroyed.
#ifndef DRAY_MODULE_H
#define DRAY_MODULE_H

#include "dray/context.h"
#include "dray/ffi.h"
#include "dray/memory.h"
#include "dray/trust.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

struct dray_device;

// --- loading --------------------------------------------------------------------------------------

/// Callable functions, by reference count.
typedef struct dray_module dray_module;

/// Where an image comes from: exactly one of bytes, path, fd and region.
typedef struct dray_module_source {
    size_t struct_bytes;
    const void *bytes;   ///< borrowed for the call; needs bytes_count, which may be 0
    uint64_t byte_count; ///< of bytes; of fd and region: 0 means up to the end
    const char *path;    ///< a regular file
    uint32_t use_fd;     ///< 1: `fd` counts; the caller keeps it, dray uses a duplicate
    int fd;
    dray_region *region; ///< any region with host memory or a file behind it; kept while it is needed
    uint64_t offset;     ///< of the image in fd or region
    const char *name;    ///< for messages, memory maps and backtraces; NULL: the path, or "<bytes>"
} dray_module_source;

/// Text that is too long for a dray_error: compiler logs. `text` is terminated, valid for the call.
typedef struct dray_text_sink {
    void (*write)(void *self, const char *text, uint64_t length);
    void *self;
} dray_text_sink;

typedef struct dray_module_options {
    size_t struct_bytes;
    const dray_policy *policy;  ///< NULL: undecided, code from bytes is refused
    struct dray_device *device; ///< for kinds that run on one; kept by the module
    const char *build_options;  ///< for kinds that compile; NULL: none
    dray_text_sink build_log;   ///< gets the compiler's log, on success too
    /// What the image has to be, checked when it is given. A raw opencl-binary needs the digest, here or in
    /// the policy's list: drivers crash on truncated ones.
    const uint8_t *expected_sha256; ///< 32 bytes; NULL: not known
    uint64_t expected_bytes;        ///< 0: not known
} dray_module_options;

/// Loads a serialized module of a kind: the loader is the entry `ffi.Module.load_from_bytes.<kind>`, or,
/// for a kind that is not there, `ffi.Module.create.<kind>`. Kind "auto" (or NULL): what the first 4096
/// bytes look like.
/// DRAY_E_NOTFOUND: no such loader; the message names the kind, its key, the kinds that there are and
/// what the bytes look like. DRAY_E_FORMAT (rule "module.kind"): the bytes are of another kind, both are
/// named. DRAY_E_CORRUPT: digest or signature. DRAY_E_INVALID (rule "module.trust"): the policy refuses,
/// or nobody decided. Whatever else a loader says arrives as it said it.
DRAY_API dray_status dray_module_load(dray_context *context, const char *kind,
                                      const dray_module_source *source,
                                      const dray_module_options *options, dray_module **out_module,
                                      dray_error *error);
/// The same, of bytes in memory. They are borrowed for the call.
DRAY_API dray_status dray_module_load_bytes(dray_context *context, const char *kind,
                                            const void *bytes, uint64_t byte_count,
                                            const dray_module_options *options,
                                            dray_module **out_module, dray_error *error);
/// A raw artifact (a kernel image, a source text) instead of a serialized module: the loader is the
/// entry `ffi.Module.create.<kind>` and no other. Everything else as dray_module_load().
DRAY_API dray_status dray_module_create(dray_context *context, const char *kind,
                                        const dray_module_source *source,
                                        const dray_module_options *options,
                                        dray_module **out_module, dray_error *error);
/// By path: the entry `ffi.Module.load_from_file.<extension>` says the kind; without such an entry the
/// content does, as "auto".
DRAY_API dray_status dray_module_load_file(dray_context *context, const char *path,
                                           const dray_module_options *options,
                                           dray_module **out_module, dray_error *error);

DRAY_API dray_module *dray_module_retain(dray_module *module);
/// NULL is accepted. The last one ends the module; see dray_module_pinned() for when its code goes.
DRAY_API void dray_module_release(dray_module *module);

// --- what a module can tell -------------------------------------------------------------------------

enum {
    DRAY_MODULE_SERIALIZABLE = 1, ///< dray_module_save() works
    DRAY_MODULE_RUNNABLE = 2,     ///< its functions can be called here
    DRAY_MODULE_EXPORTABLE = 4    ///< can become part of a library
};

DRAY_API const char *dray_module_kind(const dray_module *module); ///< valid as long as the module
DRAY_API const char *dray_module_name(const dray_module *module); ///< as dray_module_source.name
DRAY_API uint32_t dray_module_properties(const dray_module *module); ///< DRAY_MODULE_*

/// A reference to the function of that name; through_imports: also those of its imports, depth first,
/// each module once. DRAY_E_NOTFOUND.
DRAY_API dray_status dray_module_get_function(dray_module *module, const char *name,
                                              bool through_imports,
                                              dray_function_object **out_function,
                                              dray_error *error);
/// Names of its functions, sorted by byte; read from the image, nothing runs. index >= count: NULL.
/// Valid as long as the module.
DRAY_API uint64_t dray_module_function_count(const dray_module *module);
DRAY_API const char *dray_module_function_name(const dray_module *module, uint64_t index);
/// Text about a function, as a value of the caller's; none when there is none (DRAY_OK).
/// Runs code of the module.
DRAY_API dray_status dray_module_function_doc(dray_module *module, const char *name, dray_any *out,
                                              dray_error *error);
DRAY_API dray_status dray_module_function_metadata(dray_module *module, const char *name,
                                                   dray_any *out, dray_error *error);

/// The bytes from which dray_module_load() makes it again, as a value of the caller's.
/// DRAY_E_UNSUPPORTED: this kind does not keep them.
DRAY_API dray_status dray_module_save(dray_module *module, dray_any *out_bytes, dray_error *error);
/// The same in another form; `format` NULL: the kind's own. "opencl-binary" of a module in OpenCL: what its
/// driver compiled, in an envelope that says for which device. DRAY_E_UNSUPPORTED: not this kind.
DRAY_API dray_status dray_module_save_as(dray_module *module, const char *format,
                                         dray_any *out_bytes, dray_error *error);
/// The same into a new file (an existing one is an error).
DRAY_API dray_status dray_module_write_file(dray_module *module, const char *path,
                                            const char *format, dray_error *error);
/// Its source, or a text about it; `format` NULL: the kind's own. "" when it has none.
DRAY_API dray_status dray_module_inspect_source(dray_module *module, const char *format,
                                                dray_any *out_text, dray_error *error);

/// `module` keeps `imported` and finds its functions. DRAY_E_INVALID: a module may not reach itself.
DRAY_API dray_status dray_module_import(dray_module *module, dray_module *imported,
                                        dray_error *error);
DRAY_API void dray_module_clear_imports(dray_module *module);
DRAY_API uint64_t dray_module_import_count(const dray_module *module);
/// A new reference; NULL when index >= count.
DRAY_API dray_module *dray_module_import_at(const dray_module *module, uint64_t index);

/// Why the module's code would stay mapped if the module ended now, or NULL: an object it made is still
/// alive, a callback was handed to it, its library cannot be unloaded. Text of the caller's buffer.
DRAY_API const char *dray_module_pinned(dray_module *module, char *buffer, size_t buffer_bytes);
/// Unmaps the code of ended modules whose last object has gone since, and returns how many are still
/// mapped. Happens by itself whenever a module ends.
DRAY_API uint64_t dray_module_collect(dray_context *context);

// --- looking without loading ------------------------------------------------------------------------

/// What an image is, read from its bytes; nothing of it runs.
typedef struct dray_module_facts dray_module_facts;
typedef struct dray_module_facts_view {
    size_t struct_bytes;
    const char *kind; ///< "elf", "opencl-source", ...
    const char *arch; ///< "x86-64", "sm_90", ...; "" not known
    uint64_t bytes;   ///< of the image
    uint8_t sha256[32];
    uint32_t has_sha256; ///< 0: this build has no libcrypto
    uint32_t loadable;   ///< 0: known by sight, but this build or machine does not load it
    uint64_t function_count, needed_count, import_count, note_count;
    const char *const *functions; ///< sorted by byte
    const char *const *needed;    ///< libraries it asks for
    const char *const *imports;   ///< kinds in its import tree
    const char *const *notes;     ///< what a reader should know ("writable and executable segment")
} dray_module_facts_view;

/// `kind` as in dray_module_load(). Needs no policy.
DRAY_API dray_status dray_module_inspect(dray_context *context, const char *kind,
                                         const dray_module_source *source,
                                         dray_module_facts **out_facts, dray_error *error);
/// Valid as long as the facts.
DRAY_API const dray_module_facts_view *dray_module_facts_get(const dray_module_facts *facts);
DRAY_API void dray_module_facts_destroy(dray_module_facts *facts);

// --- functions ---------------------------------------------------------------------------------------

/// Calls and translates: DRAY_E_FAILED when the function failed, with "<kind>: <message>" of the error it
/// raised, or a sentence when it raised none. *out_result is none then. dray_object_retain() and
/// dray_object_release() count `function->head`. The bare call is function->call(function, ...).
DRAY_API dray_status dray_function_call(dray_context *context, dray_function_object *function,
                                        const dray_any *arguments, int32_t count,
                                        dray_any *out_result, dray_error *error);
/// A function of the caller's own. `call` gets `self` as its handle; `destroy` (may be NULL) runs when
/// the last reference has gone.
DRAY_API dray_status dray_function_create(dray_context *context, dray_safe_call call, void *self,
                                          void (*destroy)(void *self),
                                          dray_function_object **out_function, dray_error *error);
/// For a function of the caller's own that fails: raises an error to whoever calls, and returns -1.
DRAY_API int dray_function_raise(dray_context *context, const char *kind, const char *message);
/// The error that a bare call raised last in this thread, as a value of type DRAY_TYPE_ERROR; none when
/// there is none. Taking it clears it.
DRAY_API dray_any dray_function_take_raised(dray_context *context);

/// A module as a value, and back. The value is an object that libtvm_ffi passes through without looking
/// into it. dray_any_get_module() borrows; NULL: it is no module of dray's.
DRAY_API dray_any dray_any_module(dray_module *module);
DRAY_API dray_module *dray_any_get_module(const dray_any *any);

// --- kernels -----------------------------------------------------------------------------------------
//
// Kinds that run on a device (opencl-source, opencl-binary, spirv, cubin, ptx, fatbin) want
// dray_module_options.device; without one the module can be inspected and saved, and its functions say
// that they have no device. A kernel is a function of seven ints and then the kernel's own arguments:
//
//     (global x, y, z, group x, y, z, bytes of local memory, arguments ...) -> none
//
// Work items in all, of one group (0: the driver chooses, where it can), dynamic local memory. Arguments:
// int and float for numbers, checked against the parameter's size and range; bytes for vectors and
// structs of exactly that size; dray_any_region() for memory; an int for the size of a parameter in local
// memory. The call returns when the kernel has ended.

/// A region as a value, which keeps it. none: no memory.
DRAY_API dray_any dray_any_region(dray_context *context, dray_region *region);
/// Borrows; NULL: it is no region of dray's.
DRAY_API dray_region *dray_any_get_region(const dray_any *any);

// --- the registry --------------------------------------------------------------------------------------
//
// One table per context, from names to functions. Three families of names have a meaning of their own:
// ffi.Module.load_from_bytes.<kind> (Bytes) -> module, ffi.Module.create.<kind> (Bytes) -> module, and
// ffi.Module.load_from_file.<extension> (path, extension) -> module. Loaders stand in it as functions,
// so whatever holds of one holds of the other. In it from the start: ffi.ModuleLoadFromBytes
// (kind, Bytes) -> module, ffi.ModuleLoadFromFile (path) -> module, and the kinds of this build. These
// find their context in their own function object, so there is no table of the process.

enum {
    DRAY_GLOBAL_REPLACE = 1 ///< an entry of that name is replaced, not an error
};

/// `provider` (may be NULL) is the module whose code the function is: the entry keeps it. The entry
/// holds a reference to `function`. DRAY_E_INVALID: the name is taken, or not 1 to 255 bytes.
/// What is replaced ends with the last call that is in it; replacing does not wait for that.
DRAY_API dray_status dray_global_set(dray_context *context, const char *name,
                                     dray_function_object *function, dray_module *provider,
                                     uint32_t flags, dray_error *error);
/// After this nobody finds it, and every call that was made while it was borrowed has returned.
/// DRAY_E_NOTFOUND. DRAY_E_BUSY: after `timeout_ns` (< 0: no limit) calls are still in flight (a call
/// that removes itself waits for itself); the entry is gone all the same, and ends with the last call.
DRAY_API dray_status dray_global_remove(dray_context *context, const char *name, int64_t timeout_ns,
                                        dray_error *error);
/// A new reference, which outlives the entry. DRAY_E_NOTFOUND.
DRAY_API dray_status dray_global_get(dray_context *context, const char *name,
                                     dray_function_object **out_function, dray_error *error);

/// A look-up that counts as a call in flight until it is given back: no reference is taken, so any
/// number of threads do it at once without slowing each other. NULL in `function`: no such name.
typedef struct dray_global_hold {
    dray_function_object *function;
    void *place; ///< dray's
} dray_global_hold;
DRAY_API dray_global_hold dray_global_borrow(dray_context *context, const char *name);
DRAY_API void dray_global_give_back(dray_global_hold *hold); ///< an empty one is fine

/// Calls `each` with every name as it stood when the call began, sorted by byte. `prefix` NULL: all.
DRAY_API dray_status dray_global_list(dray_context *context, const char *prefix,
                                      void (*each)(void *self, const char *name), void *self,
                                      dray_error *error);

/// The policy of calls that come without one: through ffi.ModuleLoadFromBytes and its like. Kept by
/// reference; NULL: undecided, which is how a context begins.
DRAY_API void dray_module_set_policy(dray_context *context, const dray_policy *policy);

/// When libtvm_ffi is loaded in this process (by its Python package, say): registers this context's
/// loaders, ffi.ModuleLoadFromBytes and dray.ModuleGetFunction with it, so that its users reach them.
/// DRAY_E_NOTFOUND: it is not loaded. DRAY_E_UNSUPPORTED: a version that dray does not know, or names
/// that are taken. They stay until dray_bridge_detach() or the end of the context.
DRAY_API dray_status dray_bridge_attach(dray_context *context, dray_error *error);
DRAY_API void dray_bridge_detach(dray_context *context);

// --- static modules --------------------------------------------------------------------------------------

/// A function that is part of the program already.
typedef struct dray_static_function {
    const char *name;
    dray_safe_call call;
    void *handle;         ///< passed to `call`
    const char *doc;      ///< may be NULL
    const char *metadata; ///< may be NULL
} dray_static_function;

/// A module over a table of the program's own: per instance, ended like any other. The table is copied,
/// its texts and handles are not; `release` (may be NULL) runs when nothing uses them any more.
typedef struct dray_static_table {
    size_t struct_bytes;
    const char *name; ///< NULL: "static"
    uint64_t count;
    const dray_static_function *functions;
    void (*release)(void *self);
    void *self;
} dray_static_table;
/// DRAY_E_INVALID: a name twice, or a function that is NULL.
DRAY_API dray_status dray_module_create_static(dray_context *context, const dray_static_table *table,
                                               dray_module **out_module, dray_error *error);

#ifdef __cplusplus
}
#endif
#endif
