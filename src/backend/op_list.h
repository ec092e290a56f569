/// Operations that ended, in their order, linked through backend_next. No lock. Zeroed: empty.
#ifndef DRAY_BACKEND_OP_LIST_H
#define DRAY_BACKEND_OP_LIST_H

#include "dray/spi/backend.h"

typedef struct drayi_op_list {
    dray_op *first, *last;
} drayi_op_list;

static inline void drayi_op_list_push(drayi_op_list *list, dray_op *op)
{
    op->backend_next = NULL;
    if (list->first)
        list->last->backend_next = op;
    else
        list->first = op;
    list->last = op;
}

/// Takes out up to `capacity` of them; returns how many.
static inline uint32_t drayi_op_list_take(drayi_op_list *list, dray_op **out_ops, uint32_t capacity)
{
    uint32_t count = 0;
    for (; list->first && count < capacity; count++) {
        out_ops[count] = list->first;
        list->first = list->first->backend_next;
    }
    return count;
}

#endif
