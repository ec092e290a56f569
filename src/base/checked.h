/// Arithmetic on numbers that somebody else chose: each returns false and leaves *out alone on overflow.
#ifndef DRAY_BASE_CHECKED_H
#define DRAY_BASE_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

static inline bool drayi_add(uint64_t a, uint64_t b, uint64_t *out)
{
    uint64_t sum;
    if (__builtin_add_overflow(a, b, &sum))
        return false;
    *out = sum;
    return true;
}

static inline bool drayi_mul(uint64_t a, uint64_t b, uint64_t *out)
{
    uint64_t product;
    if (__builtin_mul_overflow(a, b, &product))
        return false;
    *out = product;
    return true;
}

static inline bool drayi_is_power_of_two(uint64_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}

/// Rounds up to a power of two.
static inline bool drayi_round_up(uint64_t value, uint64_t alignment, uint64_t *out)
{
    uint64_t sum;
    if (!drayi_add(value, alignment - 1, &sum))
        return false;
    *out = sum & ~(alignment - 1);
    return true;
}

static inline uint64_t drayi_round_down(uint64_t value, uint64_t alignment)
{
    return value & ~(alignment - 1);
}

/// Is [offset, offset + bytes) inside [0, limit)? Never overflows.
static inline bool drayi_inside(uint64_t offset, uint64_t bytes, uint64_t limit)
{
    return offset <= limit && bytes <= limit - offset;
}

static inline uint64_t drayi_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t drayi_max(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

#endif
