/// An OpenCL binary with what a driver should know before it is given one:
///
///     "drayclb\n", u32 version 1, u32 bytes of the text, u64 bytes of the binary, SHA-256 of the binary,
///     the device's description as a text with a NUL behind; then the binary
///
/// All numbers little-endian. The digest stops accidents; it is no signature.
#ifndef DRAY_LOADER_OPENCL_ENVELOPE_H
#define DRAY_LOADER_OPENCL_ENVELOPE_H

#include "loader/kernel_part.h"

typedef struct drayi_envelope {
    uint64_t code_at, code_bytes; // of the binary
    const uint8_t *digest;
    dray_text made_for; // which device and driver; terminated
} drayi_envelope;

bool drayi_is_envelope(const uint8_t *bytes, uint64_t count);
/// Borrows the bytes. DRAY_E_CORRUPT, rule "opencl-binary.envelope": sizes that do not add up.
dray_status drayi_envelope_read(const uint8_t *bytes, uint64_t count, drayi_envelope *out,
                                dray_error *error);
/// DRAY_E_CORRUPT: not the binary that was put into it. DRAY_E_UNSUPPORTED: made for another device or
/// version of its driver, both are named.
dray_status drayi_envelope_check(const dray_load_request *request, const drayi_envelope *envelope,
                                 dray_error *error);
/// The program of a part in an envelope; for dray_part.save_as.
dray_status drayi_envelope_save(dray_part *part, const char *format, dray_any *out_bytes,
                                dray_error *error);

#endif
