/// A model on disk whose every tensor byte tells its own place, for tests of loading and verifying.
#ifndef DRAY_TESTS_TEST_MODEL_H
#define DRAY_TESTS_TEST_MODEL_H

#include "dray/weights.h"

#include <stdbool.h>

/// blk.0.w (F32), blk.1.w (BF16), blk.2.q (Q8_0), and so on: `tensor_count` tensors of about
/// `tensor_bytes` bytes, with an odd one of a few bytes and an empty one between. GGUF. Returns the path
/// (static memory, in $TMPDIR); every tensor's data is test_file_byte() of its file offset.
const char *test_model_make(const char *name, uint32_t tensor_count, uint64_t tensor_bytes);
/// Are these the bytes that such a file has for the tensor?
bool test_model_same(const dray_tensor *tensor, const uint8_t *bytes);
/// Flips one bit in the file.
void test_model_flip(const char *path, uint64_t offset);

#endif
