/// Names out of a file, made fit for a message or a terminal.
#ifndef DRAY_BASE_QUOTE_H
#define DRAY_BASE_QUOTE_H

#include "dray/base.h"

typedef struct drayi_quoted {
    char text[80]; // terminated
} drayi_quoted;

/// At most 76 bytes of `text`, "..." when that is not all; control bytes and what is not UTF-8 become
/// '?'. Use it in place: dray_fail(error, ..., "tensor %s: ...", drayi_quote(name).text).
drayi_quoted drayi_quote(dray_text text);

#endif
