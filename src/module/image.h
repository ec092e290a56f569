/// The bytes that a module is made of, wherever they come from, as loaders see them.
#ifndef DRAY_MODULE_IMAGE_H
#define DRAY_MODULE_IMAGE_H

#include "base/env.h"
#include "dray/module.h"
#include "dray/spi/loader.h"

/// One reference, given back with image->release(). A source in memory is borrowed until its owner is
/// told otherwise: who keeps the image beyond the call that opened it has to map() or seal() it first.
dray_status drayi_image_open(drayi_env *env, const dray_module_source *source, dray_image **out,
                             dray_error *error);

/// Bytes of the source are copied now, so that the image may be kept; no effect on files.
dray_status drayi_image_own(dray_image *image, dray_error *error);

#endif
