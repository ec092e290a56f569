/// The part of a policy that holds for every kind; what is about shared objects alone stands with their
/// loader. The order is the promise: decide, size, copy, seal, hash, check, and then load these bytes.
#ifndef DRAY_MODULE_TRUST_H
#define DRAY_MODULE_TRUST_H

#include "base/env.h"
#include "dray/module.h"
#include "dray/spi/loader.h"

/// Is what `options` and `policy` ask for true of this image? After DRAY_OK the image is what may be loaded:
/// sealed and with DRAY_IMAGE_HASHED where a digest or signature counts, with DRAY_IMAGE_TRUSTED where one
/// vouched for it. `native`: its code would run (DRAY_LOADER_NATIVE), so somebody has to have decided.
/// DRAY_E_INVALID (rule "module.trust"): refused; the message says what would have to be decided.
/// DRAY_E_CORRUPT: not the size or digest that the caller expects. DRAY_E_UNSUPPORTED: no libcrypto.
dray_status drayi_trust_admit(drayi_env *env, const dray_policy *policy,
                              const dray_module_options *options, const char *kind, bool native,
                              dray_image *image, dray_error *error);

/// image->sha256, of a copy that nobody can change; sets DRAY_IMAGE_HASHED.
dray_status drayi_trust_hash(dray_image *image, dray_error *error);

#endif
