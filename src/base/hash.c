#include "base/hash.h"

static drayi_hash canonical_of(XXH128_hash_t value)
{
    XXH128_canonical_t canonical;
    drayi_hash hash;
    XXH128_canonicalFromHash(&canonical, value);
    memcpy(hash.bytes, canonical.digest, sizeof(hash.bytes));
    return hash;
}

drayi_hash drayi_hash_of(const void *bytes, uint64_t count)
{
    return canonical_of(XXH3_128bits(bytes, (size_t)count));
}

void drayi_hash_start(drayi_hash_state *state)
{
    XXH3_128bits_reset(state);
}

void drayi_hash_add(drayi_hash_state *state, const void *bytes, uint64_t count)
{
    XXH3_128bits_update(state, bytes, (size_t)count);
}

drayi_hash drayi_hash_end(const drayi_hash_state *state)
{
    return canonical_of(XXH3_128bits_digest(state));
}

void drayi_hex_print(const uint8_t *bytes, uint64_t count, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (uint64_t i = 0; i < count; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * count] = '\0';
}

void drayi_hash_print(drayi_hash hash, char out[drayi_hash_text])
{
    drayi_hex_print(hash.bytes, sizeof(hash.bytes), out);
}

static int digit_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

bool drayi_hash_read(const char *text, drayi_hash *out)
{
    for (size_t i = 0; i < sizeof(out->bytes); i++) {
        int high = digit_value(text[2 * i]);
        int low = high < 0 ? -1 : digit_value(text[2 * i + 1]);
        if (low < 0)
            return false;
        out->bytes[i] = (uint8_t)(high * 16 + low);
    }
    return true;
}
