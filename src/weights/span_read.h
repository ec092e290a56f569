/// Looks at bytes wherever they lie, and never at what was meant to arrive there.
#ifndef DRAY_WEIGHTS_SPAN_READ_H
#define DRAY_WEIGHTS_SPAN_READ_H

#include "base/env.h"
#include "dray/transfer.h"

/// Gets the bytes in order, in pieces.
typedef void (*drayi_take)(void *self, const void *piece, uint64_t bytes);

/// Host memory is shown where it lies, in one piece; a file is read through a buffer; memory of a device,
/// managed memory too, is copied back by the device's driver, so that what is seen is what it holds.
/// DRAY_E_UNSUPPORTED: a null region holds no bytes, a remote one is not read here.
dray_status drayi_span_read(dray_context *context, const dray_span *span, drayi_take take,
                            void *self, dray_error *error);

/// The same with an agent that fetches the bytes: a remote region's, too. Two buffers take turns.
dray_status drayi_agent_read(dray_context *context, dray_agent *agent, const dray_span *span,
                             drayi_take take, void *self, dray_error *error);

#endif
