/// dray/bundle.h: import trees as bytes: what is in them, and how they are written. Nothing is loaded here.
///
/// A bundle holds the bytes of several modules and who imports whom; dray_module_load() with the kind
/// "bundle" makes the root of it with everything below, or nothing. The same bytes stand in libraries that
/// carry modules of their own (the symbol __tvm_ffi__library_bin of the tvm-ffi ABI).
///
///     dray_bundle_module modules[2] = {
///         {.kind = "elf", .payload = library, .payload_bytes = n, .imports = (uint64_t[]){1},
///          .import_count = 1},
///         {.kind = "opencl-source", .payload = text, .payload_bytes = strlen(text)}};
///     dray_bundle_write(context, modules, 2, &bytes, &error); // a value of type bytes
#ifndef DRAY_BUNDLE_H
#define DRAY_BUNDLE_H

#include "dray/module.h"

#ifdef __cplusplus
extern "C" {
#endif

/// A tree that was read and found sound: numbers inside, no cycle, everything reachable from module 0, at
/// most 65536 modules, 4096 deep. Threads: it never changes.
typedef struct dray_bundle dray_bundle;

typedef struct dray_bundle_module {
    const char *kind;    ///< 1 to 128 bytes of UTF-8
    const void *payload; ///< the bytes that a loader of that kind takes; may be empty
    uint64_t payload_bytes;
    const uint64_t *imports; ///< numbers of modules
    uint64_t import_count;
    uint32_t is_host; ///< 1: the library that the tree stands in ("_lib"); it has no payload here
    uint32_t reserved;
} dray_bundle_module;

/// Of a bundle, or of a library that has a tree inside. DRAY_E_FORMAT with a rule "bundle.*" and the byte;
/// DRAY_E_NOTFOUND: the image is of another kind, or has no tree.
DRAY_API dray_status dray_bundle_open(dray_context *context, const dray_module_source *source,
                                      dray_bundle **out_bundle, dray_error *error);
DRAY_API uint64_t dray_bundle_count(const dray_bundle *bundle); ///< at least 1
DRAY_API uint64_t
dray_bundle_depth(const dray_bundle *bundle); ///< longest way from the root, in modules
/// Valid as long as the bundle; NULL: index >= count.
DRAY_API const dray_bundle_module *dray_bundle_at(const dray_bundle *bundle, uint64_t index);
/// NULL is accepted.
DRAY_API void dray_bundle_destroy(dray_bundle *bundle);

/// The bytes of a bundle, as a value of type bytes that the caller gives back. Module 0 is the root.
/// DRAY_E_INVALID: what dray_bundle_open() would refuse.
DRAY_API dray_status dray_bundle_write(dray_context *context, const dray_bundle_module *modules,
                                       uint64_t count, dray_any *out_bytes, dray_error *error);

#ifdef __cplusplus
}
#endif
#endif
