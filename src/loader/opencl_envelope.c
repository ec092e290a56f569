#include "loader/opencl_envelope.h"

#include "base/checked.h"
#include "base/quote.h"
#include "base/reader.h"
#include "base/sha256.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char magic[8] = {'d', 'r', 'a', 'y', 'c', 'l', 'b', '\n'};

enum { envelope_version = 1, fixed_bytes = 8 + 4 + 4 + 8 + 32, made_for_max = 512 };

bool drayi_is_envelope(const uint8_t *bytes, uint64_t count)
{
    return count >= sizeof(magic) && memcmp(bytes, magic, sizeof(magic)) == 0;
}

dray_status drayi_envelope_read(const uint8_t *bytes, uint64_t count, drayi_envelope *out,
                                dray_error *error)
{
    if (count < fixed_bytes)
        return dray_fail_rule(error, DRAY_E_CORRUPT, "opencl-binary.envelope", count,
                              "envelope: %" PRIu64 " bytes, its head alone has %d", count,
                              fixed_bytes);
    uint32_t version = drayi_load_u32(bytes + 8, false),
             made_for = drayi_load_u32(bytes + 12, false);
    uint64_t code = drayi_load_u64(bytes + 16, false), end;
    if (version != envelope_version)
        return dray_fail_rule(error, DRAY_E_UNSUPPORTED, "opencl-binary.envelope", 8,
                              "envelope: version %u, %d is known", version, envelope_version);
    if (made_for < 1 || made_for > made_for_max ||
        !drayi_add(code, fixed_bytes + (uint64_t)made_for, &end) || end != count)
        return dray_fail_rule(error, DRAY_E_CORRUPT, "opencl-binary.envelope", 12,
                              "envelope: %u and %" PRIu64
                              " bytes behind a head of %d, there are %" PRIu64,
                              made_for, code, fixed_bytes, count);
    if (bytes[fixed_bytes + made_for - 1] != '\0')
        return dray_fail_rule(error, DRAY_E_CORRUPT, "opencl-binary.envelope", fixed_bytes,
                              "envelope: the text about its device has no end");
    *out = (drayi_envelope){.code_at = fixed_bytes + (uint64_t)made_for,
                            .code_bytes = code,
                            .digest = bytes + 24,
                            .made_for = {(const char *)bytes + fixed_bytes, made_for - 1}};
    return DRAY_OK;
}

/// "opencl: <model>, <driver>": binaries are for exactly that.
static dray_status device_text(struct dray_device *device, char *out, size_t bytes,
                               dray_error *error)
{
    dray_device_info info;
    DRAY_TRY(dray_device_get_info(device, &info, error));
    snprintf(out, bytes, "%s: %s, %s", info.family, info.model, info.driver);
    return DRAY_OK;
}

dray_status drayi_envelope_check(const dray_load_request *request, const drayi_envelope *envelope,
                                 dray_error *error)
{
    uint8_t digest[32];
    const uint8_t *code = request->image->bytes + envelope->code_at;
    DRAY_TRY(drayi_sha256(code, envelope->code_bytes, digest, error));
    if (memcmp(digest, envelope->digest, sizeof(digest)) != 0)
        return dray_fail_rule(error, DRAY_E_CORRUPT, "opencl-binary.digest", 24,
                              "envelope: the binary is not the one that was put into it");
    if (!request->device)
        return DRAY_OK;
    char here[made_for_max];
    DRAY_TRY(device_text(request->device, here, sizeof(here), error));
    if (strlen(here) != envelope->made_for.length ||
        memcmp(here, envelope->made_for.bytes, envelope->made_for.length) != 0)
        return dray_fail(error, DRAY_E_UNSUPPORTED, "made for %s, this is %s",
                         drayi_quote(envelope->made_for).text, here);
    return DRAY_OK;
}

// --- saving ----------------------------------------------------------------------------------------------

typedef struct envelope_making {
    dray_part *part;
    dray_any *out;
} envelope_making;

static dray_status envelope_make(void *self, const uint8_t *code, uint64_t count, dray_error *error)
{
    envelope_making *making = self;
    drayi_env *env = making->part->env;
    char made_for[made_for_max];
    DRAY_TRY(device_text(making->part->device, made_for, sizeof(made_for), error));
    uint32_t text_bytes = (uint32_t)strlen(made_for) + 1, version = envelope_version;
    size_t bytes = fixed_bytes + text_bytes + (size_t)count;
    uint8_t *image = drayi_alloc(env, bytes, error);
    if (!image)
        return DRAY_E_NOMEM;
    memcpy(image, magic, 8);
    memcpy(image + 8, &version, 4);
    memcpy(image + 12, &text_bytes, 4);
    memcpy(image + 16, &count, 8);
    memcpy(image + fixed_bytes, made_for, text_bytes);
    memcpy(image + fixed_bytes + text_bytes, code, (size_t)count);
    dray_status status = drayi_sha256(code, count, image + 24, error);
    if (status == DRAY_OK) {
        *making->out = dray_any_string(DRAY_TYPE_BYTES, image, bytes);
        if (making->out->type_index == DRAY_TYPE_NONE)
            status = dray_fail(error, DRAY_E_NOMEM, "no memory for an envelope of %zu bytes", bytes);
    }
    drayi_free(env, image, bytes);
    return status;
}

dray_status drayi_envelope_save(dray_part *part, const char *format, dray_any *out_bytes,
                                dray_error *error)
{
    if (strcmp(format, "opencl-binary") != 0)
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "module %s cannot be saved as \"%s\", only as itself and as opencl-binary",
                         part->name, format);
    if (!part->program)
        return dray_fail(error, DRAY_E_UNSUPPORTED,
                         "module %s was loaded without a device, whose driver would make the binary",
                         part->name);
    envelope_making making = {.part = part, .out = out_bytes};
    return part->ops->binary(part->program, envelope_make, &making, error);
}
