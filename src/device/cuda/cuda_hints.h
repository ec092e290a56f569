/// The queue of CUDA's hints (cuda_hint_queue.c), as the table in cuda_hints.c needs it.
#ifndef DRAY_DEVICE_CUDA_CUDA_HINTS_H
#define DRAY_DEVICE_CUDA_CUDA_HINTS_H

#include "device/cuda/cuda.h"
#include "dray/spi/hints.h"

static inline CUdeviceptr drayi_cuda_address_of(const dray_hint_range *range)
{
    return (CUdeviceptr)(uintptr_t)range->pointer;
}

dray_status drayi_cuda_queue_open(dray_device_self *device, dray_hint_queue **out_queue,
                                  dray_error *error);
void drayi_cuda_queue_close(dray_hint_queue *queue);
dray_status drayi_cuda_queue_call(dray_hint_queue *queue, const dray_hint_call *call,
                                  const dray_hint_call_range *ranges, dray_hint_answer *out_answer,
                                  dray_error *error);
dray_status drayi_cuda_queue_mark(dray_hint_queue *queue, dray_error *error);
dray_status drayi_cuda_queue_query(dray_hint_queue *queue, bool *out_done, dray_error *error);
dray_status drayi_cuda_queue_wait(dray_hint_queue *queue, dray_error *error);

#endif
