/// A seeded sequence of numbers for property tests: small, fast, the same everywhere.
#ifndef DRAY_TESTS_SEQUENCE_H
#define DRAY_TESTS_SEQUENCE_H

#include <stdint.h>

typedef struct random_sequence {
    uint64_t state;
} random_sequence;

/// splitmix64
static inline uint64_t sequence_next(random_sequence *sequence)
{
    uint64_t value = (sequence->state += UINT64_C(0x9e3779b97f4a7c15));
    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

/// 0 .. limit - 1; limit > 0.
static inline uint64_t sequence_below(random_sequence *sequence, uint64_t limit)
{
    return sequence_next(sequence) % limit;
}

static inline int sequence_percent(random_sequence *sequence, uint32_t percent)
{
    return sequence_below(sequence, 100) < percent;
}

#endif
