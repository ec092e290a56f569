/// XXH3-128 in its canonical form: sixteen bytes, most significant first, as the hash's own tool prints.
#ifndef DRAY_BASE_HASH_H
#define DRAY_BASE_HASH_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define XXH_STATIC_LINKING_ONLY // the state on the stack, not behind the allocator's back
#include <xxhash.h>

typedef struct drayi_hash {
    uint8_t bytes[16];
} drayi_hash;

enum { drayi_hash_text = 33 }; // lower-case hex and a NUL

drayi_hash drayi_hash_of(const void *bytes, uint64_t count);

/// The same, piece by piece: start, add, ..., end. A state wants 64-byte alignment: on the stack, not from
/// an allocator.
typedef XXH3_state_t drayi_hash_state;
void drayi_hash_start(drayi_hash_state *state);
void drayi_hash_add(drayi_hash_state *state, const void *bytes, uint64_t count);
drayi_hash drayi_hash_end(const drayi_hash_state *state);

void drayi_hash_print(drayi_hash hash, char out[drayi_hash_text]);
/// Exactly 32 lower-case hex digits.
bool drayi_hash_read(const char *text, drayi_hash *out);

static inline bool drayi_hash_equal(drayi_hash a, drayi_hash b)
{
    return memcmp(a.bytes, b.bytes, sizeof(a.bytes)) == 0;
}

/// `count` bytes as lower-case hex and a NUL.
void drayi_hex_print(const uint8_t *bytes, uint64_t count, char *out);

#endif
