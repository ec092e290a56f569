/// An allocator for tests: fails the Nth allocation and knows what has not been given back.
///
/// A fault loop runs its case with fail_at = 1, 2, ... until counting_allocator_failed() says that the
/// case came through without asking that often:
///
///     for (uint64_t n = 1;; n++) {
///         counting_allocator counter;
///         counting_allocator_init(&counter, n);
///         options.allocator = counting_allocator_interface(&counter);
///         ... the case ...
///         assert_int_equal(counting_allocator_live_bytes(&counter), 0);
///         if (!counting_allocator_failed(&counter))
///             break;
///     }
///
/// Threads: any. A free with the wrong number of bytes aborts with a message: the allocator's contract
/// says that free gets the bytes that were asked for.
#ifndef DRAY_TESTS_COUNTING_ALLOCATOR_H
#define DRAY_TESTS_COUNTING_ALLOCATOR_H

#include "dray/base.h"

#include <stdatomic.h>
#include <stdbool.h>

typedef struct counting_allocator {
    uint64_t fail_at; // the Nth allocation from init on fails (1: the first); 0: none
    _Atomic uint64_t calls;
    _Atomic uint64_t failures;
    _Atomic uint64_t live_bytes, live_count;
    _Atomic uint64_t peak_bytes;
} counting_allocator;

void counting_allocator_init(counting_allocator *counter, uint64_t fail_at);
dray_allocator counting_allocator_interface(counting_allocator *counter);
/// How often it was asked, failures included: equal before and after means that nothing allocated.
uint64_t counting_allocator_calls(const counting_allocator *counter);
bool counting_allocator_failed(const counting_allocator *counter); // did the Nth allocation come?
uint64_t counting_allocator_live_bytes(const counting_allocator *counter);
uint64_t counting_allocator_peak_bytes(const counting_allocator *counter);

#endif
