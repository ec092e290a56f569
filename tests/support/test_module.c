#include "test_module.h"

#include <stdio.h>
#include <stdlib.h>

const char *test_module_path(const char *name)
{
    static _Thread_local char paths[8][512];
    static _Thread_local unsigned next;
    const char *folder = getenv("DRAY_TEST_MODULES");
    if (!folder) {
        fprintf(stderr, "DRAY_TEST_MODULES is not set: run this through ctest\n");
        abort();
    }
    char *path = paths[next++ % 8];
    snprintf(path, sizeof(paths[0]), "%s/%s.so", folder, name);
    return path;
}

test_bytes test_bytes_of_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    test_bytes read = {0};
    if (!file || fseek(file, 0, SEEK_END) != 0) {
        fprintf(stderr, "%s: cannot be read\n", path);
        abort();
    }
    read.count = (uint64_t)ftell(file);
    read.bytes = malloc(read.count ? read.count : 1);
    rewind(file);
    if (!read.bytes || fread(read.bytes, 1, read.count, file) != read.count) {
        fprintf(stderr, "%s: cannot be read\n", path);
        abort();
    }
    fclose(file);
    return read;
}

test_bytes test_module_read(const char *name)
{
    return test_bytes_of_file(test_module_path(name));
}

void test_bytes_free(test_bytes *file)
{
    free(file->bytes);
    *file = (test_bytes){0};
}
