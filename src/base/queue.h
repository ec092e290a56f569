/// A queue of things that hold their own link: first in, first out, nothing allocated, no lock.
///
/// The link is the thing's first member, so a link's address is the thing's. A thing is in one queue at
/// a time. A zeroed queue is empty.
#ifndef DRAY_BASE_QUEUE_H
#define DRAY_BASE_QUEUE_H

#include <stddef.h>

typedef struct drayi_link {
    struct drayi_link *next;
} drayi_link;

typedef struct drayi_queue {
    drayi_link *first, *last;
} drayi_queue;

static inline void drayi_queue_push(drayi_queue *queue, drayi_link *link)
{
    link->next = NULL;
    if (queue->first)
        queue->last->next = link;
    else
        queue->first = link;
    queue->last = link;
}

/// The thing that waits longest, still in the queue. NULL: empty.
static inline void *drayi_queue_first(const drayi_queue *queue)
{
    return queue->first;
}

/// Takes it out. NULL: empty.
static inline void *drayi_queue_pop(drayi_queue *queue)
{
    drayi_link *link = queue->first;
    if (link)
        queue->first = link->next;
    return link;
}

#endif
