/// Places for bytes, as people write them. See location.h.
#include "location.h"

#include <stdio.h>
#include <string.h>

/// "opencl:0": letters, a colon, up to four digits. Whether there is such a device is found out later.
static bool is_device(const char *text)
{
    size_t letters = strspn(text, "abcdefghijklmnopqrstuvwxyz_");
    if (letters == 0 || text[letters] != ':')
        return false;
    const char *number = text + letters + 1;
    size_t digits = strspn(number, "0123456789");
    return digits > 0 && digits <= 4 && !number[digits];
}

/// What stands behind "agent://": "HOST:PORT/REGION".
static bool parse_agent(const char *text, location *out)
{
    const char *slash = strchr(text, '/');
    size_t length = slash ? (size_t)(slash - text) : 0;
    if (length == 0 || length >= sizeof(out->address) || !slash[1])
        return false;
    out->storage = DRAY_STORAGE_REMOTE;
    memcpy(out->address, text, length);
    out->region = slash + 1;
    return true;
}

bool location_is_here(const char *address)
{
    static const char *const here[] = {"127.", "localhost:", "[::1]:"};
    for (size_t i = 0; i < sizeof(here) / sizeof(here[0]); i++) {
        if (strncmp(address, here[i], strlen(here[i])) == 0)
            return true;
    }
    return false;
}

bool location_parse(const char *text, location *out)
{
    static const struct {
        const char *word;
        dray_storage storage;
    } words[] = {{"system", DRAY_STORAGE_SYSTEM},
                 {"pinned", DRAY_STORAGE_PINNED},
                 {"null", DRAY_STORAGE_NULL}};
    *out = (location){0};
    if (strncmp(text, "agent://", 8) == 0)
        return parse_agent(text + 8, out);
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(text, words[i].word) == 0)
            out->storage = words[i].storage;
    }
    if (strncmp(text, "disk:", 5) == 0 && text[5]) {
        out->storage = DRAY_STORAGE_DISK;
        out->path = text + 5;
    }
    bool managed = strncmp(text, "managed:", 8) == 0;
    const char *device = managed ? text + 8 : text;
    if (!out->storage && is_device(device) && strlen(device) < sizeof(out->device)) {
        out->storage = managed ? DRAY_STORAGE_MANAGED : DRAY_STORAGE_DEVICE;
        snprintf(out->device, sizeof(out->device), "%s", device);
    }
    return out->storage != 0;
}

const char *location_text(const location *at, char out[LOCATION_TEXT_BYTES])
{
    if (at->storage == DRAY_STORAGE_DEVICE || at->storage == DRAY_STORAGE_MANAGED)
        snprintf(out, LOCATION_TEXT_BYTES, "%s%s",
                 at->storage == DRAY_STORAGE_MANAGED ? "managed:" : "", at->device);
    else
        snprintf(out, LOCATION_TEXT_BYTES, "%s", dray_storage_name(at->storage));
    return out;
}

const char *location_words(const location *at, char out[LOCATION_TEXT_BYTES])
{
    switch (at->storage) {
    case DRAY_STORAGE_DEVICE:
        snprintf(out, LOCATION_TEXT_BYTES, "memory of %s", at->device);
        return out;
    case DRAY_STORAGE_MANAGED:
        snprintf(out, LOCATION_TEXT_BYTES, "managed memory of %s", at->device);
        return out;
    case DRAY_STORAGE_PINNED:
        return "locked memory";
    case DRAY_STORAGE_DISK:
        return "new file";
    case DRAY_STORAGE_NULL:
        return "nowhere (null)";
    case DRAY_STORAGE_REMOTE:
        return "region of an agent";
    default:
        return "ordinary memory";
    }
}

dray_status location_open_device(const location *at, dray_context *context,
                                 dray_device **out_device, dray_error *error)
{
    *out_device = NULL;
    return at->device[0] ? dray_device_open(context, at->device, out_device, error) : DRAY_OK;
}
