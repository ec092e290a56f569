/// The reader of policy files over any bytes: what it takes is a policy that can be walked.
#include "dray/context.h"
#include "dray/trust.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t touched;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dray_context *context;
    dray_policy_file *file = NULL;
    dray_error error = {.status = DRAY_OK};
    if (dray_context_create(NULL, &context, NULL) != DRAY_OK)
        abort();
    dray_status status =
        dray_policy_file_parse(context, "fuzz", (const char *)data, size, &file, &error);
    if (status == DRAY_OK) {
        const dray_policy *policy = dray_policy_file_get(file);
        for (const char *const *each = policy->kinds; each && *each; each++)
            touched += strlen(*each);
        for (const char *const *each = policy->needed; each && *each; each++)
            touched += strlen(*each);
        for (uint64_t i = 0; i < policy->sha256_count; i++)
            touched += policy->sha256[i][31];
        for (uint64_t i = 0; i < policy->public_key_count; i++)
            touched += policy->public_keys[i][31];
    } else if (!error.rule || !error.message[0]) {
        abort();
    }
    dray_policy_file_destroy(file);
    dray_context_destroy(context);
    return 0;
}
