/// What is this file, when no format wants it? The mistakes people really make, each in a sentence.
#ifndef DRAY_FORMAT_RECOGNISE_H
#define DRAY_FORMAT_RECOGNISE_H

#include "dray/base.h"

/// Always fails, with DRAY_E_FORMAT: says what the file is and what to do about it. error.rule tells
/// which ("recognise.lfs", "recognise.html", ...; "recognise.unknown" when it is nothing we know).
/// `head_bytes`: how much of the beginning is readable, at most file_bytes; 4096 are enough for
/// everything. The file's name is the caller's to say. Fits dray_format_ops.explain; `path` is not used.
dray_status drayi_recognise(const uint8_t *head, uint64_t head_bytes, uint64_t file_bytes,
                            const char *path, dray_error *error);

#endif
