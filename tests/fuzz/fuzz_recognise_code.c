/// What code looks like, over any bytes and any size that they may be a part of.
#include "loader/recognise_code.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint32_t score;
    char sentence[80];
    uint64_t totals[] = {size, size + 1, UINT64_MAX};
    for (size_t i = 0; i < sizeof(totals) / sizeof(totals[0]); i++) {
        drayi_code code = drayi_recognise_code(data, size, totals[i], &score);
        drayi_describe_code(data, size, totals[i], sentence);
        if (score > 100 || (score == 0) != (code == DRAYI_CODE_UNKNOWN) || !sentence[0] ||
            !drayi_code_name(code))
            abort();
    }
    return 0;
}
