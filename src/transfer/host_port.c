/// See host_port.h.
#include "transfer/host_port.h"

#include "base/quote.h"

#include <stdbool.h>
#include <string.h>

/// One to five digits that are a port.
static bool port_read(const char *text, uint16_t *out)
{
    size_t digits = strspn(text, "0123456789");
    uint32_t port = 0;
    if (digits == 0 || digits > 5 || text[digits])
        return false;
    for (; *text; text++)
        port = port * 10 + (uint32_t)(*text - '0');
    *out = (uint16_t)port;
    return port <= UINT16_MAX;
}

/// Where the host begins and how long it is; NULL: there is no colon behind it. Colons inside a host
/// stand in brackets.
static const char *host_find(const char *text, size_t *out_count, const char **out_port)
{
    const char *end = *text == '[' ? strchr(text, ']') : strchr(text, ':');
    const char *colon = end && *end == ']' ? end + 1 : end;
    if (!colon || *colon != ':')
        return NULL;
    const char *host = text + (*text == '[');
    *out_count = (size_t)(end - host);
    *out_port = colon + 1;
    return host;
}

dray_status drayi_host_port_read(const char *text, drayi_host_port *out, dray_error *error)
{
    size_t count = 0;
    const char *port, *host = host_find(text, &count, &port);
    if (!host || count == 0 || count >= sizeof(out->host) || !port_read(port, &out->port))
        return dray_fail(error, DRAY_E_INVALID,
                         "address %s: wanted HOST:PORT with a port up to 65535, like 127.0.0.1:4470 "
                         "or [::1]:4470",
                         drayi_quote((dray_text){text, strlen(text)}).text);
    memcpy(out->host, host, count);
    out->host[count] = '\0';
    return DRAY_OK;
}
