#include "support/corpus.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

void corpus_write(const char *name, const void *bytes, uint64_t count)
{
    char path[4096];
    const char *folder = getenv("DRAY_WRITE_CORPUS");
    if (!folder || !*folder || count > 4096)
        return;
    size_t at = (size_t)snprintf(path, sizeof(path), "%s/", folder);
    for (; *name && at + 1 < sizeof(path); name++)
        path[at++] = isalnum((unsigned char)*name) ? *name : '_';
    path[at < sizeof(path) ? at : sizeof(path) - 1] = '\0';
    FILE *file = fopen(path, "wb");
    if (!file || (count && fwrite(bytes, 1, count, file) != count) || fclose(file) != 0) {
        fprintf(stderr, "%s: cannot be written\n", path);
        abort();
    }
}
