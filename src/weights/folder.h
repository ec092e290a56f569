/// A folder given instead of a file: which file in it is meant.
#ifndef DRAY_WEIGHTS_FOLDER_H
#define DRAY_WEIGHTS_FOLDER_H

#include "weights/opened.h"

/// The one index.json of the folder, else the one model (by content; of GGUF splits the first).
/// DRAY_E_NOTFOUND: none. DRAY_E_INVALID: several, named.
dray_status drayi_folder_choose(dray_weights *weights, const char *folder, char **out_path,
                                dray_error *error);

#endif
