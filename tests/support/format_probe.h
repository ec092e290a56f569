/// A test's stand-in for the weights layer: runs a format over bytes in memory and keeps what it says.
///
///     format_probe probe = {.head_first = 16, .flags = DRAY_FORMAT_LENIENT};
///     assert_int_equal(format_probe_read(&probe, &drayi_format_gguf, bytes, count), DRAY_OK);
///     assert_int_equal(probe.tensor_count, 2);
///     format_probe_free(&probe);
///
/// It is as strict as the real one is trusting: the head holds rubbish behind what was asked for
/// (poisoned too, under AddressSanitizer), and a format that breaks its contract (a view outside the
/// head, a span outside the file, a size that is not its dtype's) ends the program with a sentence.
#ifndef DRAY_TESTS_FORMAT_PROBE_H
#define DRAY_TESTS_FORMAT_PROBE_H

#include "base/env.h"
#include "dray/spi/format.h"

typedef struct format_probe_tensor {
    dray_text name;
    dray_dtype dtype;
    uint32_t native_type, rank, size_known;
    uint64_t shape[DRAY_RANK_MAX];
    uint64_t offset, bytes, head_offset;
} format_probe_tensor;

typedef struct format_probe_metadata {
    dray_text key;
    dray_value value;
} format_probe_metadata;

typedef struct format_probe_warning {
    const char *rule;
    uint64_t offset;
    char message[384];
} format_probe_warning;

typedef struct format_probe {
    // Set before the read; zero means default.
    uint64_t head_first; // bytes of the head that are there at the start; 0: the whole file
    bool head_exact;  // `need` gives what was asked for and not a byte more; else up to 4 KiB more
    uint32_t flags;   // DRAY_FORMAT_*
    uint64_t fail_at; // the Nth call of need, sink or allocator fails; 0: none

    // What came of it.
    dray_error error;
    dray_format_facts facts;
    format_probe_tensor *tensors;
    uint64_t tensor_count;
    format_probe_metadata *metadata;
    uint64_t metadata_count;
    format_probe_warning *warnings;
    uint64_t warning_count;
    uint64_t duplicate_count; // keys the format was told are there already
    uint64_t need_count;      // calls of need
    uint64_t call_count;      // calls of need, sink and allocator together
    bool failed;              // fail_at was reached
    uint64_t allocated_bytes; // the allocator's balance: 0 after a read that leaks nothing

    // Its own.
    drayi_env env;
    const uint8_t *file;
    uint64_t file_bytes;
    uint8_t *head;
    uint64_t head_bytes;
    uint64_t tensor_room, metadata_room, warning_room;
    struct format_probe_kept *kept;
} format_probe;

/// Returns what the format returned; `probe->error` holds its error. Read once per probe.
dray_status format_probe_read(format_probe *probe, const dray_format_ops *format, const void *bytes,
                              uint64_t count);
/// A probe that was never read is accepted.
void format_probe_free(format_probe *probe);

/// NULL: not there.
const format_probe_tensor *format_probe_tensor_named(const format_probe *probe, const char *name);
const dray_value *format_probe_value(const format_probe *probe, const char *key);
/// How many warnings carry this rule.
uint64_t format_probe_warned(const format_probe *probe, const char *rule);

/// Whole file into malloc'ed memory; NULL: cannot be read (the caller skips with a sentence).
uint8_t *format_probe_load(const char *directory, const char *name, uint64_t *out_bytes);

#endif
