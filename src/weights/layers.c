#include "weights/layers.h"

#include <stdbool.h>
#include <string.h>

static bool is_layer_word(dray_text word)
{
    static const char *const words[] = {"blk", "layers", "layer", "h", "blocks", "block"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strlen(words[i]) == word.length &&
            memcmp(words[i], word.bytes, (size_t)word.length) == 0)
            return true;
    }
    return false;
}

/// -1 unless the whole word is a decimal number below 10^18.
static int64_t number_of(dray_text word)
{
    int64_t number = 0;
    if (word.length == 0 || word.length > 18)
        return -1;
    for (uint64_t i = 0; i < word.length; i++) {
        if (word.bytes[i] < '0' || word.bytes[i] > '9')
            return -1;
        number = number * 10 + (word.bytes[i] - '0');
    }
    return number;
}

static dray_text component_at(dray_text name, uint64_t at)
{
    const char *begin = name.bytes + at;
    const char *dot = memchr(begin, '.', (size_t)(name.length - at));
    return (dray_text){.bytes = begin, .length = dot ? (uint64_t)(dot - begin) : name.length - at};
}

int64_t drayi_layer_of(dray_text name)
{
    bool after_word = false;
    for (uint64_t at = 0; at < name.length;) {
        dray_text component = component_at(name, at);
        int64_t number = after_word ? number_of(component) : -1;
        if (number >= 0)
            return number;
        after_word = is_layer_word(component);
        at += component.length + 1;
    }
    return -1;
}
