/// What must hold for any bytes that a format reads; a fuzz target for a format is one call.
#ifndef DRAY_TESTS_FUZZ_FORMAT_H
#define DRAY_TESTS_FUZZ_FORMAT_H

#include "dray/spi/format.h"

#include <stddef.h>

/// Ends the program when the format breaks its contract (see format_probe.h), when its verdict depends
/// on how the head grows, or when --lenient refuses or changes what the strict reader accepts.
void fuzz_format(const dray_format_ops *format, const uint8_t *data, size_t size);

#endif
