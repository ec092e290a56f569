/// dray/trust.h: what a program is willing to load.
///
/// **Native code from bytes is trust.** A shared object that is loaded runs with every right of the
/// process, from its first constructor on; checks of its structure find damage, not intent. So dray
/// loads code of that kind only where the caller decided so, in a policy: there is no default that
/// says yes. What stops tampered bytes is a digest or a signature, and nothing else.
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
    DRAY_TRUST_UNDECIDED = 0, ///< nothing: native code is refused, with the way to decide
    DRAY_TRUST_ALLOW = 1,     ///< whatever passes the rules below
    DRAY_TRUST_LISTED = 2     ///< only what `sha256` lists or a key has signed
} dray_trust;

/// Rules of shared objects that a policy may loosen or tighten; each is off.
enum {
    DRAY_POLICY_ALLOW_RPATH = 1 << 0,   ///< DT_RPATH and DT_RUNPATH
    DRAY_POLICY_ALLOW_TEXTREL = 1 << 1, ///< relocations in code
    DRAY_POLICY_ALLOW_WX = 1 << 2, ///< segments both writable and executable, executable stacks
    DRAY_POLICY_REQUIRE_SEALS = 1 << 3, ///< the caller's fd is a fully sealed memfd
    DRAY_POLICY_TRIAL = 1 << 4          ///< load it in a child process first
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

#ifdef __cplusplus
}
#endif
#endif
