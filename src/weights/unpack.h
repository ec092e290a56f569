/// Formats that pack their payload inside the file: a raw head, then one compressed stream.
#ifndef DRAY_WEIGHTS_UNPACK_H
#define DRAY_WEIGHTS_UNPACK_H

#include "weights/opened.h"

/// Decodes the file into memory: its raw head as it stands, the rest through the codec, straight behind
/// it. DRAY_E_UNSUPPORTED: this build has no such codec. DRAY_E_NOSPACE: more comes out than
/// decoded_bytes_max allows.
dray_status drayi_unpack(dray_weights *weights, const drayi_model_file *file,
                         const dray_format_packing *packing, dray_model_data **out_data,
                         dray_error *error);

#endif
