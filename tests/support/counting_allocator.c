/// Each block carries its size in front, so that a free with another size is noticed at once.
#include "counting_allocator.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct block_head {
    _Alignas(max_align_t) uint64_t bytes;
} block_head;

static void *counting_alloc(void *self, size_t bytes)
{
    counting_allocator *counter = self;
    uint64_t call = atomic_fetch_add(&counter->calls, 1) + 1;
    if (call == counter->fail_at) {
        atomic_fetch_add(&counter->failures, 1);
        return NULL;
    }
    block_head *head = malloc(sizeof(*head) + bytes);
    if (!head)
        return NULL;
    head->bytes = bytes;
    atomic_fetch_add(&counter->live_count, 1);
    uint64_t live = atomic_fetch_add(&counter->live_bytes, bytes) + bytes;
    uint64_t peak = atomic_load(&counter->peak_bytes);
    while (live > peak && !atomic_compare_exchange_weak(&counter->peak_bytes, &peak, live))
        continue;
    return head + 1;
}

static void counting_free(void *self, void *pointer, size_t bytes)
{
    counting_allocator *counter = self;
    if (!pointer)
        return;
    block_head *head = (block_head *)pointer - 1;
    if (head->bytes != bytes) {
        fprintf(stderr, "counting allocator: %zu bytes freed, %" PRIu64 " were asked for\n", bytes,
                head->bytes);
        abort();
    }
    atomic_fetch_sub(&counter->live_count, 1);
    atomic_fetch_sub(&counter->live_bytes, bytes);
    free(head);
}

void counting_allocator_init(counting_allocator *counter, uint64_t fail_at)
{
    counter->fail_at = fail_at;
    atomic_init(&counter->calls, 0);
    atomic_init(&counter->failures, 0);
    atomic_init(&counter->live_bytes, 0);
    atomic_init(&counter->live_count, 0);
    atomic_init(&counter->peak_bytes, 0);
}

dray_allocator counting_allocator_interface(counting_allocator *counter)
{
    return (dray_allocator){.alloc = counting_alloc, .free = counting_free, .self = counter};
}

uint64_t counting_allocator_calls(const counting_allocator *counter)
{
    return atomic_load(&counter->calls);
}

bool counting_allocator_failed(const counting_allocator *counter)
{
    return atomic_load(&counter->failures) > 0;
}

uint64_t counting_allocator_live_bytes(const counting_allocator *counter)
{
    return atomic_load(&counter->live_bytes);
}

uint64_t counting_allocator_peak_bytes(const counting_allocator *counter)
{
    return atomic_load(&counter->peak_bytes);
}
