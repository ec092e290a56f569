/// dray/dray.h: all of dray.
#ifndef DRAY_DRAY_H
#define DRAY_DRAY_H

#include "dray/agent.h"
#include "dray/base.h"
#include "dray/bundle.h"
#include "dray/context.h"
#include "dray/device.h"
#include "dray/dtype.h"
#include "dray/ffi.h"
#include "dray/hints.h"
#include "dray/layout.h"
#include "dray/listener.h"
#include "dray/memory.h"
#include "dray/model_data.h"
#include "dray/module.h"
#include "dray/simulate.h"
#include "dray/transfer.h"
#include "dray/trust.h"
#include "dray/weights.h"

#endif
