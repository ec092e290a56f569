/// The manifest parser. What it takes must come out again byte for byte: there is one way to write it.
#include "core/context.h"
#include "weights/manifest.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

typedef struct copy {
    const char *wanted;
    uint64_t count, at;
} copy;

static dray_status compare(void *self, const char *text, uint64_t count, dray_error *error)
{
    (void)error;
    copy *out = self;
    if (count > out->count - out->at || memcmp(out->wanted + out->at, text, count) != 0)
        abort();
    out->at += count;
    return DRAY_OK;
}

static void try_text(drayi_env *env, const char *text, uint64_t count)
{
    drayi_manifest manifest;
    dray_error error;
    drayi_manifest_init(&manifest, env);
    if (drayi_manifest_parse(&manifest, text, count, &error) == DRAY_OK) {
        copy out = {.wanted = text, .count = count};
        if (drayi_manifest_print(&manifest, compare, &out, &error) != DRAY_OK || out.at != count)
            abort();
    } else if (!error.rule) {
        abort();
    }
    drayi_manifest_free(&manifest);
}

/// Also with a right seal, which no mutation would find.
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    dray_context *context;
    if (dray_context_create(NULL, &context, NULL) != DRAY_OK)
        return 0;
    drayi_env *env = drayi_env_of(context);
    try_text(env, (const char *)bytes, count);
    char *sealed = malloc(count + 4 + drayi_hash_text + 1);
    memcpy(sealed, bytes, count);
    memcpy(sealed + count, "end ", 4);
    drayi_hash_print(drayi_hash_of(bytes, count), sealed + count + 4);
    sealed[count + 4 + drayi_hash_text - 1] = '\n';
    try_text(env, sealed, count + 4 + drayi_hash_text);
    free(sealed);
    dray_context_destroy(context);
    return 0;
}
