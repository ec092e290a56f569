#include "support/fuzz_format.h"

#include "support/format_probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void require(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "fuzz_format: %s\n", what);
    abort();
}

static bool same_tensors(const format_probe *one, const format_probe *other)
{
    if (one->tensor_count != other->tensor_count || one->metadata_count != other->metadata_count)
        return false;
    for (uint64_t i = 0; i < one->tensor_count; i++) {
        if (one->tensors[i].offset != other->tensors[i].offset ||
            one->tensors[i].bytes != other->tensors[i].bytes)
            return false;
    }
    return true;
}

static bool same_verdict(dray_status status, const format_probe *one, dray_status other_status,
                         const format_probe *other)
{
    if (status != other_status)
        return false;
    if (status == DRAY_OK)
        return same_tensors(one, other);
    return one->error.rule == other->error.rule ||
           (one->error.rule && other->error.rule && strcmp(one->error.rule, other->error.rule) == 0);
}

void fuzz_format(const dray_format_ops *format, const uint8_t *data, size_t size)
{
    format_probe strict = {0}, creeping = {.head_first = 1, .head_exact = true};
    format_probe lenient = {.flags = DRAY_FORMAT_LENIENT, .head_first = 64};
    format_probe bounds = {.flags = DRAY_FORMAT_LENIENT | DRAY_FORMAT_BOUNDS_ONLY};
    dray_status status = format_probe_read(&strict, format, data, size);
    dray_status creeping_status = format_probe_read(&creeping, format, data, size);
    dray_status lenient_status = format_probe_read(&lenient, format, data, size);
    dray_status bounds_status = format_probe_read(&bounds, format, data, size);
    require(same_verdict(status, &strict, creeping_status, &creeping),
            "the verdict depends on how the head grows");
    require(status != DRAY_OK || (lenient_status == DRAY_OK && same_tensors(&strict, &lenient)),
            "--lenient refuses or changes what is accepted without it");
    require(lenient_status != DRAY_OK ||
                (bounds_status == DRAY_OK && same_tensors(&lenient, &bounds)),
            "looking at bounds only refuses or changes what is accepted otherwise");
    format_probe_free(&strict);
    format_probe_free(&creeping);
    format_probe_free(&lenient);
    format_probe_free(&bounds);
}
