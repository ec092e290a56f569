/// map_model: maps a file, loads it into the page cache, reads it under the fault guard, and gives
/// the memory back, saying after each step how much of the file is cached.
///
///     map_model FILE
#include <dray/model_data.h>

#include <inttypes.h>
#include <stdio.h>

static void print_cached(const dray_model_data *data, const char *when)
{
    dray_residency residency;
    dray_error error;
    if (dray_model_data_residency(data, 0, 0, &residency, &error) != DRAY_OK)
        printf("%-18s %s\n", when, error.message);
    else if (residency.cached_bytes == DRAY_UNKNOWN)
        printf("%-18s the kernel does not tell what is cached\n", when);
    else
        printf("%-18s %" PRIu64 " of %" PRIu64 " bytes cached\n", when, residency.cached_bytes,
               residency.bytes);
}

typedef struct sum_job {
    const dray_model_data *data;
    uint64_t sum;
} sum_job;

/// Touches every byte. Were the file truncated meanwhile, this would end with an error, not with SIGBUS.
static dray_status sum_bytes(void *self, dray_error *error)
{
    (void)error;
    sum_job *job = self;
    const uint8_t *bytes = dray_model_data_bytes(job->data);
    for (uint64_t i = 0; i < dray_model_data_length(job->data); i++)
        job->sum += bytes[i];
    return DRAY_OK;
}

static dray_status walk_through(dray_model_data *data, dray_error *error)
{
    dray_release_report report;
    sum_job job = {.data = data};
    print_cached(data, "after opening:");
    dray_status status = dray_model_data_prefetch(data, 0, 0, NULL, NULL, NULL, error);
    if (status != DRAY_OK)
        return status;
    print_cached(data, "after prefetching:");
    status = dray_model_data_guarded(data, sum_bytes, &job, error);
    if (status != DRAY_OK)
        return status;
    printf("%-18s %" PRIu64 "\n", "sum of all bytes:", job.sum);
    status = dray_model_data_release(data, 0, 0, DRAY_RELEASE_CACHE, &report, error);
    if (status == DRAY_OK)
        print_cached(data, "after releasing:");
    return status;
}

int main(int count, char **arguments)
{
    dray_context *context = NULL;
    dray_model_data *data = NULL;
    dray_error error;
    if (count != 2) {
        fputs("usage: map_model FILE\n", stderr);
        return 2;
    }
    dray_status status = dray_fault_guard_install(&error);
    if (status == DRAY_OK)
        status = dray_context_create(NULL, &context, &error);
    if (status == DRAY_OK)
        status = dray_model_data_open(context, arguments[1], NULL, &data, &error);
    if (status == DRAY_OK)
        status = walk_through(data, &error);
    if (status != DRAY_OK)
        fprintf(stderr, "map_model: %s\n", error.message);
    dray_model_data_close(data);
    dray_context_destroy(context);
    dray_fault_guard_remove();
    return status == DRAY_OK ? 0 : 1;
}
