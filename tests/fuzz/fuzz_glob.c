/// Patterns against names, and against the plain way to say what a pattern means.
#include "weights/glob.h"
#include "weights/layers.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

/// The pattern and the name are parted by the first zero.
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    const uint8_t *zero = count ? memchr(bytes, 0, count) : NULL;
    if (!zero || zero - bytes > 200)
        return 0;
    dray_text name = {.bytes = (const char *)zero + 1, .length = count - (size_t)(zero - bytes) - 1};
    const char *pattern = (const char *)bytes;
    int64_t layer = drayi_layer_of(name);
    if (layer < -1)
        abort();
    if (drayi_glob_check(pattern, NULL) != DRAY_OK)
        return 0;
    bool matches = drayi_glob_match(pattern, name);
    // A star before and behind can only let more pass.
    char wider[256];
    size_t length = strlen(pattern);
    wider[0] = '*';
    memcpy(wider + 1, pattern, length);
    memcpy(wider + 1 + length, "*", 2);
    if (matches && !drayi_glob_match(wider, name))
        abort();
    // Without anything special, matching is comparing.
    if (!strpbrk(pattern, "*?[\\") &&
        matches != (name.length == length && memcmp(name.bytes, pattern, length) == 0))
        abort();
    return 0;
}
