/// See secret.h.
#include "secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static dray_status length_check(const secret *of, const char *where, dray_error *error)
{
    if (of->count >= DRAY_SECRET_BYTES_MIN && of->count <= DRAY_SECRET_BYTES_MAX)
        return DRAY_OK;
    bool long_one = of->count > DRAY_SECRET_BYTES_MAX;
    return dray_fail(
        error, DRAY_E_INVALID,
        "the secret in %s has %s%u bytes; %u to %u are wanted: head -c 32 /dev/urandom | "
        "base64 makes one",
        where, long_one ? "more than " : "", long_one ? DRAY_SECRET_BYTES_MAX : of->count,
        DRAY_SECRET_BYTES_MIN, DRAY_SECRET_BYTES_MAX);
}

static dray_status privacy_check(int fd, const char *path, dray_error *error)
{
    struct stat facts;
    if (fstat(fd, &facts) != 0)
        return dray_fail_os(error, errno, "fstat", "look at %s", path);
    if (S_ISREG(facts.st_mode) && facts.st_mode & 077)
        return dray_fail(error, DRAY_E_INVALID,
                         "others than its owner may use the secret in %s (mode %03o): chmod 600 it",
                         path, (unsigned)(facts.st_mode & 0777));
    return DRAY_OK;
}

/// A line: the newline behind it is no part of it.
static dray_status bytes_read(int fd, const char *path, secret *out, dray_error *error)
{
    while (out->count < sizeof(out->bytes)) {
        ssize_t got = read(fd, out->bytes + out->count, sizeof(out->bytes) - out->count);
        if (got == 0)
            break;
        if (got < 0 && errno != EINTR)
            return dray_fail_os(error, errno, "read", "read the secret in %s", path);
        if (got > 0)
            out->count += (uint32_t)got;
    }
    while (out->count && (out->bytes[out->count - 1] == '\n' || out->bytes[out->count - 1] == '\r'))
        out->count--;
    return length_check(out, path, error);
}

static dray_status file_read(const char *path, secret *out, dray_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return dray_fail_os(error, errno, "open", "open the secret %s", path);
    dray_status status = privacy_check(fd, path, error);
    if (status == DRAY_OK)
        status = bytes_read(fd, path, out, error);
    close(fd);
    return status;
}

dray_status secret_read(const char *path, secret *out, dray_error *error)
{
    *out = (secret){.count = 0};
    if (path)
        return file_read(path, out, error);
    const char *value = getenv(SECRET_VARIABLE);
    if (!value)
        return DRAY_OK;
    size_t length = strlen(value);
    out->count = (uint32_t)(length < sizeof(out->bytes) ? length : sizeof(out->bytes));
    memcpy(out->bytes, value, out->count);
    return length_check(out, SECRET_VARIABLE, error);
}

const void *secret_bytes(const secret *of)
{
    return of->count ? of->bytes : NULL;
}

void secret_wipe(secret *of)
{
    explicit_bzero(of, sizeof(*of));
}
