/// Any bytes as a file that nobody takes: there is always a rule and a printable sentence.
#include "format/recognise.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "fuzz_recognise: %s\n", what);
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dray_error error = {0};
    require(drayi_recognise(data, size, size, "file", &error) == DRAY_E_FORMAT,
            "not a format error");
    require(error.rule && strncmp(error.rule, "recognise.", 10) == 0, "no rule");
    require(error.message[0] != '\0', "no message");
    for (const char *at = error.message; *at; at++)
        require(*at >= 0x20 && *at < 0x7F, "an unprintable message");
    return 0;
}
