#include "format/head_reader.h"

#include "base/env.h"

enum { step_bytes = 64 * 1024 };

static dray_status need_more(void *self, uint64_t upto, uint64_t *out_available, dray_error *error)
{
    drayi_head_source *source = self;
    dray_format_input *input = source->input;
    uint64_t wanted = drayi_max(upto, drayi_max(input->head_bytes * 2, step_bytes));
    if (upto > input->head_bytes)
        DRAY_TRY(input->need(input, drayi_min(wanted, input->file_bytes), error));
    *out_available = drayi_min(input->head_bytes, source->limit);
    return DRAY_OK;
}

drayi_reader drayi_head_reader(drayi_head_source *source)
{
    return (drayi_reader){
        .bytes = source->input->head,
        .available = drayi_min(source->input->head_bytes, source->limit),
        .limit = source->limit,
        .need = need_more,
        .self = source,
    };
}
