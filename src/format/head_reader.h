/// A bounded reader over the head of a file, which fetches more of it in doubling steps: a header of
/// megabytes costs a handful of reads, and no more of the file is held than twice what was looked at.
#ifndef DRAY_FORMAT_HEAD_READER_H
#define DRAY_FORMAT_HEAD_READER_H

#include "base/reader.h"
#include "dray/spi/format.h"

typedef struct drayi_head_source {
    dray_format_input *input;
    uint64_t limit; // nothing behind it is handed out; at most the file's size
} drayi_head_source;

/// `source` must outlive the reader.
drayi_reader drayi_head_reader(drayi_head_source *source);

#endif
