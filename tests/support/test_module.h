/// The shared objects that the test run builds from tests/modules/*.c.
#ifndef DRAY_TESTS_TEST_MODULE_H
#define DRAY_TESTS_TEST_MODULE_H

#include <stdint.h>

typedef struct test_bytes {
    uint8_t *bytes; // exactly so many, on the heap
    uint64_t count;
} test_bytes;

/// Its path: static memory of the thread, good for eight calls. It fails the test when there is no such module.
const char *test_module_path(const char *name);
test_bytes test_module_read(const char *name);
test_bytes test_bytes_of_file(const char *path);
void test_bytes_free(test_bytes *file);

#endif
