/// dray/trust.h: what a program is willing to load.
///
/// **Native code from bytes is trust.** A shared object that is loaded runs with every right of the
/// process, from its first constructor on; checks of its structure find damage, not intent. Code for
/// a device reads and writes what the process has there. So dray loads modules only where the caller
/// decided so, in a policy: there is no default that says yes. What stops tampered bytes is a digest
/// or a signature, and nothing else. (Modules of kind "static" are part of the program already.)
///
/// Order: the bytes are copied into memory of our own, sealed, hashed, checked, and loaded from that
/// same memory, so that nothing can change between the check and the use. An image that needs neither
/// digest nor signature, or is fully sealed already, is loaded in place.
///
/// A policy is plain data that the caller owns; it is read during the call and never kept, except that
/// modules which load others later (bundles, import trees) hold a copy.
#ifndef DRAY_TRUST_H
#define DRAY_TRUST_H

#include "dray/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/// What the caller decided about code that will run in this process.
typedef enum dray_trust {
    DRAY_TRUST_UNDECIDED = 0, ///< nothing: code from bytes is refused, with the way to decide
    DRAY_TRUST_ALLOW = 1,     ///< whatever passes the rules below; lists that are given count, too
    DRAY_TRUST_LISTED = 2     ///< only what `sha256` lists or a key has signed
} dray_trust;

/// Rules of shared objects that a policy may loosen or tighten; each is off.
enum {
    DRAY_POLICY_ALLOW_RPATH = 1 << 0,   ///< DT_RPATH and DT_RUNPATH
    DRAY_POLICY_ALLOW_TEXTREL = 1 << 1, ///< relocations in code
    DRAY_POLICY_ALLOW_WX = 1 << 2, ///< segments both writable and executable, executable stacks
    DRAY_POLICY_REQUIRE_SEALS = 1 << 3, ///< the caller's fd is a fully sealed memfd
    DRAY_POLICY_TRIAL =
        1 << 4, ///< load it in a child process first, for at most ten seconds: finds code
                ///< that crashes or hangs at load, and holds nothing that is hostile
    DRAY_POLICY_ALLOW_SONAME =
        1 << 5 ///< a DT_SONAME that a library of the process or system has: who
               ///< opens that library later by name would get this code
};

typedef struct dray_policy {
    size_t struct_bytes;
    dray_trust trust;
    uint32_t rules;           ///< DRAY_POLICY_*
    const char *const *kinds; ///< NULL-terminated; NULL: any kind
    uint64_t bytes_max;       ///< of one image; 0: no limit
    const uint8_t (*sha256)[32];
    uint64_t sha256_count;
    const uint8_t (*public_keys)[32]; ///< Ed25519
    uint64_t public_key_count;
    const uint8_t *signature; ///< 64 bytes over the image, detached; NULL: none
    const char *const *needed; ///< libraries that DT_NEEDED may name, NULL-terminated; NULL: those of the
                               ///< C and C++ run time and libtvm_ffi.so
} dray_policy;

// --- policies as files -----------------------------------------------------------------------------
//
// One JSON object; every member may be missing, and one that is not known is an error:
//
//     {"trust": "listed",                      "allow", "listed", or missing: undecided
//      "kinds": ["elf", "bundle"],             missing: any
//      "bytes_max": 1048576,                   missing: no limit
//      "sha256": ["<64 hex digits>", ...],
//      "public_keys": ["<64 hex digits>", ...],   Ed25519
//      "needed": ["libc.so.6", ...],           missing: those of the C and C++ run time
//      "rules": ["allow-rpath", "allow-textrel", "allow-wx", "allow-soname", "require-seals", "trial"]}

struct dray_context;

/// A policy that was read. Owns everything that its dray_policy points to.
typedef struct dray_policy_file dray_policy_file;

/// At most 1 MiB. DRAY_E_FORMAT with a rule "policy.*" or "json.*" and the byte.
DRAY_API dray_status dray_policy_file_open(struct dray_context *context, const char *path,
                                           dray_policy_file **out_file, dray_error *error);
/// The same, of text in memory; `name` is for messages.
DRAY_API dray_status dray_policy_file_parse(struct dray_context *context, const char *name,
                                            const char *text, uint64_t text_bytes,
                                            dray_policy_file **out_file, dray_error *error);
/// Valid as long as the file. It has no signature: that belongs to an image; copy it and set one.
DRAY_API const dray_policy *dray_policy_file_get(const dray_policy_file *file);
/// NULL is accepted.
DRAY_API void dray_policy_file_destroy(dray_policy_file *file);

#ifdef __cplusplus
}
#endif
#endif
