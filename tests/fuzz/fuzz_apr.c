/// Any bytes as a APR file: see fuzz_format.h for what must hold.
#include "support/fuzz_format.h"

extern const dray_format_ops drayi_format_apr;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_format(&drayi_format_apr, data, size);
    return 0;
}
