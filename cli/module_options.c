#include "module_options.h"

#include "text.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int digit_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    digit = (char)tolower((unsigned char)digit);
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

static bool read_digest(const char *text, uint8_t out[32])
{
    if (strlen(text) != 64)
        return false;
    for (size_t i = 0; i < 32; i++) {
        int high = digit_value(text[2 * i]), low = digit_value(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high * 16 + low);
    }
    return true;
}

void module_digest_text(const uint8_t digest[32], char out[65])
{
    for (size_t i = 0; i < 32; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

bool module_parse_digest(const char *text, void *field, option_problem *problem)
{
    uint8_t digest[32];
    if (!read_digest(text, digest))
        return option_wrong(problem, "wanted 64 hexadecimal digits, as sha256sum prints them");
    return option_word(text, field, problem);
}

bool module_trust_check(const module_trust *given, option_problem *problem)
{
    if (given->policy && given->allowed.count)
        return option_wrong(problem, "--policy says what is allowed, so --allow-sha256 has no say");
    if (given->signature && !given->policy)
        return option_wrong(problem, "--signature needs the public key of a --policy");
    return true;
}

static dray_status read_signature(const char *path, uint8_t out[64], dray_error *error)
{
    char *bytes = NULL;
    uint64_t count = 0;
    dray_status status = module_read_file(path, &bytes, &count, error);
    if (status == DRAY_OK && count != 64)
        status = dray_fail(error, DRAY_E_FORMAT, "signature %s: %" PRIu64 " bytes, wanted 64", path,
                           count);
    if (status == DRAY_OK)
        memcpy(out, bytes, 64);
    free(bytes);
    return status;
}

dray_status module_policy_make(dray_context *context, const module_trust *given, module_policy *out,
                               dray_error *error)
{
    dray_status status = DRAY_OK;
    *out =
        (module_policy){.policy = {.struct_bytes = sizeof(dray_policy), .trust = DRAY_TRUST_ALLOW}};
    if (given->policy) {
        status = dray_policy_file_open(context, given->policy, &out->file, error);
        if (status == DRAY_OK)
            out->policy = *dray_policy_file_get(out->file);
    }
    if (status == DRAY_OK && given->signature) {
        status = read_signature(given->signature, out->signature, error);
        out->policy.signature = out->signature;
    }
    for (uint32_t i = 0; i < given->allowed.count; i++)
        read_digest(given->allowed.words[i], out->digests[i]);
    if (given->allowed.count) {
        out->policy.trust = DRAY_TRUST_LISTED;
        out->policy.sha256 = (const uint8_t(*)[32])out->digests;
        out->policy.sha256_count = given->allowed.count;
    }
    return status;
}

void module_policy_end(module_policy *policy)
{
    dray_policy_file_destroy(policy->file);
    policy->file = NULL;
}

static dray_status read_all(int fd, const char *path, char *bytes, uint64_t count, dray_error *error)
{
    for (uint64_t done = 0; done < count;) {
        ssize_t got = read(fd, bytes + done, count - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return dray_fail_os(error, errno, "read", "read %s", path);
        if (got == 0)
            return dray_fail(error, DRAY_E_CORRUPT,
                             "read %s: wanted %" PRIu64 " bytes, there are %" PRIu64, path, count,
                             done);
        done += (uint64_t)got;
    }
    return DRAY_OK;
}

dray_status module_read_file(const char *path, char **out, uint64_t *out_bytes, dray_error *error)
{
    struct stat facts;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &facts) != 0) {
        int code = errno;
        if (fd >= 0)
            close(fd);
        return dray_fail_os(error, code, "open", "open %s", path);
    }
    dray_status status = DRAY_OK;
    if (!S_ISREG(facts.st_mode))
        status = dray_fail(error, DRAY_E_INVALID, "%s is not a regular file", path);
    uint64_t count = (uint64_t)facts.st_size;
    char *bytes = status == DRAY_OK ? text_memory(NULL, count + 1) : NULL;
    if (status == DRAY_OK)
        status = read_all(fd, path, bytes, count, error);
    close(fd);
    if (status != DRAY_OK) {
        free(bytes);
        return status;
    }
    *out = bytes;
    *out_bytes = count;
    return DRAY_OK;
}

static dray_status write_all(int fd, const char *path, const void *bytes, uint64_t count,
                             dray_error *error)
{
    for (uint64_t done = 0; done < count;) {
        ssize_t put = write(fd, (const char *)bytes + done, count - done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return dray_fail_os(error, errno, "write", "write %s", path);
        done += (uint64_t)put;
    }
    return DRAY_OK;
}

dray_status module_write_file(const char *path, const void *bytes, uint64_t count, dray_error *error)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0)
        return dray_fail_os(error, errno, "open", "make %s", path);
    dray_status status = write_all(fd, path, bytes, count, error);
    if (close(fd) != 0 && status == DRAY_OK)
        status = dray_fail_os(error, errno, "close", "write %s", path);
    if (status != DRAY_OK)
        unlink(path);
    return status;
}
