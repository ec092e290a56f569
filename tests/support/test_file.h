/// Files for tests: made in $TMPDIR, filled with bytes that tell their own place.
#ifndef DRAY_TESTS_TEST_FILE_H
#define DRAY_TESTS_TEST_FILE_H

#include <stdbool.h>
#include <stdint.h>

/// The byte that test_file_make() puts at `offset`: a page moved or swapped shows.
uint8_t test_file_byte(uint64_t offset);
/// $TMPDIR, or /tmp.
const char *test_file_folder(void);
/// A path in $TMPDIR (or /tmp) that no other test of this process has. Static memory per call.
const char *test_file_path(const char *name);
/// Writes a file of `bytes` bytes, synced to disk, and returns its path (static memory).
const char *test_file_make(const char *name, uint64_t bytes);
const char *test_file_write(const char *name, const void *content, uint64_t bytes);
/// Are these the bytes of such a file from `offset` on?
bool test_file_same(const uint8_t *bytes, uint64_t offset, uint64_t count);
/// Drops the file's pages from the page cache; false when some stay (tmpfs).
bool test_file_make_cold(const char *path);

#endif
