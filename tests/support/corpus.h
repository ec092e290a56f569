/// Handcrafted files of unit tests as seeds of the fuzz targets.
///
/// With DRAY_WRITE_CORPUS set to a folder the tests leave their files there, one for each named case:
///     DRAY_WRITE_CORPUS=tests/fuzz/corpus/gguf build/dev/tests/unit_test_gguf
#ifndef DRAY_TESTS_CORPUS_H
#define DRAY_TESTS_CORPUS_H

#include <stdint.h>

/// Does nothing without DRAY_WRITE_CORPUS, or for files of more than 4 KiB. What is no letter or digit in
/// `name` becomes '_'.
void corpus_write(const char *name, const void *bytes, uint64_t count);

#endif
